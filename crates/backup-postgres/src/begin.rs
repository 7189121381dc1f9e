//! How a backup begins: sessions that share one snapshot, and what is in it. Whatever the server's functions say of an object is as of now
//! and not as of the snapshot, so it begins anew if something of the backup changed in between.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use backup_core::{BackupRequest, Ctx, Error, ErrorKind, LogPoint, Object, Result};

use crate::backup::{RELEASE, SAVEPOINT};
use crate::catalog::{self, Change, DEADLOCK, Locked, Plan, Reader};
use crate::config::Config;
use crate::connect::{NEWEST, Session};
use crate::ddl::quote::literal;
use crate::error::sql_state;
use crate::snapshot::{BEGIN, Snapshot};

/// How often the backup begins at least, if objects change between its snapshot and its reading of them. It is tried for as long as a lock is
/// waited for.
const ATTEMPTS: usize = 5;

/// For how long it is tried again where reading fails and something changes, be it the reason or not.
const ERROR: Duration = Duration::from_secs(60);

/// A table that was swapped for a view in the meantime is not read: whoever did so would choose what we execute. A restore has to read
/// views, for the contents of materialized ones.
const RESTRICT: &str =
    "SELECT pg_catalog.set_config(name, 'view, foreign-table', false) FROM pg_catalog.pg_settings
 WHERE name = 'restrict_nonsystem_relation_kind'";

/// What a backup begins with.
pub(crate) struct Begun {
    /// The session that took the snapshot and holds the locks.
    pub(crate) main: Session,
    pub(crate) workers: Vec<Session>,
    /// Whether the main one reads only what is left to it.
    pub(crate) spares_main: bool,
    pub(crate) place: Option<LogPoint>,
    pub(crate) plan: Plan,
    pub(crate) left_out: Vec<Object>,
    /// If there was no room to lock all tables: what they were like in the snapshot, and how to look again.
    pub(crate) unlocked: Option<(HashMap<u32, i64>, Config)>,
}

/// Opens all sessions, takes the snapshot, locks the tables and reads the catalogs.
pub(crate) async fn begin(ctx: &Ctx, config: &Config, request: &BackupRequest) -> Result<Begun> {
    let sessions = Sessions::open(ctx, config, request).await?;
    let major = sessions.main.version / 10_000;
    if major > NEWEST {
        ctx.warn(format!(
            "PostgreSQL {major} is newer than this program, which knows versions up to {NEWEST}: what only a newer one has may not be in the backup"
        ));
    }
    let patience = match config.lock_timeout {
        0 => Duration::MAX,
        milliseconds => Duration::from_millis(milliseconds.into()),
    };
    let (began, mut attempts) = (Instant::now(), 0);
    let found = loop {
        attempts += 1;
        match Box::pin(sessions.attempt(ctx, config, request)).await? {
            Attempt::Found(found) => break found,
            Attempt::Changed(_, Some(error))
                if attempts >= ATTEMPTS && began.elapsed() >= patience.min(ERROR) =>
            {
                return Err(error);
            }
            Attempt::Changed(names, None) if attempts >= ATTEMPTS && began.elapsed() >= patience => {
                return Err(changed_all_the_while(&names));
            }
            Attempt::Changed(..) => sessions.roll_back(ctx).await?,
        }
    };
    sessions.main.execute(ctx, RELEASE).await?;
    let Sessions { main, workers, spares_main, .. } = sessions;
    let Found { place, plan, left_out, unlocked } = *found;
    Ok(Begun { main, workers, spares_main, place, plan, left_out, unlocked })
}

/// The sessions of a backup that begins.
struct Sessions {
    main: Session,
    workers: Vec<Session>,
    /// Outside of the snapshot.
    other: Session,
    spares_main: bool,
}

/// What was found in the snapshot.
struct Found {
    place: Option<LogPoint>,
    plan: Plan,
    left_out: Vec<Object>,
    unlocked: Option<(HashMap<u32, i64>, Config)>,
}

/// What came of trying to begin.
enum Attempt {
    Found(Box<Found>),
    /// Nothing, because these objects changed; with the error, if there was one.
    Changed(Vec<String>, Option<Error>),
}

impl Sessions {
    async fn open(ctx: &Ctx, config: &Config, request: &BackupRequest) -> Result<Self> {
        let main = Session::open(ctx, config).await?;
        main.execute(ctx, RESTRICT).await?;
        let other = Session::open(ctx, config).await?;
        let jobs = request.jobs.max(1);
        let spares_main = request.in_order && jobs > 1;
        let mut workers = Vec::with_capacity(jobs);
        for _ in 0..if spares_main { jobs } else { jobs - 1 } {
            let session = Session::open(ctx, config).await?;
            session.execute(ctx, RESTRICT).await?;
            workers.push(session);
        }
        let sessions: Vec<&Session> = [&main, &other].into_iter().chain(&workers).collect();
        catalog::quote_new(ctx, &sessions).await?;
        Ok(Self { main, workers, other, spares_main })
    }

    /// Lets go of a snapshot, and of what was locked.
    async fn roll_back(&self, ctx: &Ctx) -> Result<()> {
        for session in self.workers.iter().chain([&self.main]) {
            session.execute(ctx, "ROLLBACK").await?;
        }
        Ok(())
    }

    /// Between the snapshot and the locks nothing is done that could wait: what is dropped then is not to be had.
    async fn attempt(&self, ctx: &Ctx, config: &Config, request: &BackupRequest) -> Result<Attempt> {
        let main = &self.main;
        let snapshot = Snapshot::take(ctx, main, &self.other).await?;
        let reader = Reader::new(ctx, main);
        let relations = catalog::relations(reader).await?;
        let (mut request, mut left_out) = (request.clone(), Vec::new());
        if request.skip_unreadable {
            let selects = |(schema, name): &(String, String)| {
                request.filter.selects(Some(&config.database), Some(schema), name)
            };
            let unreadable = catalog::unreadable(reader, &relations).await?;
            let unreadable: Vec<_> = unreadable.into_iter().filter(selects).collect();
            let object = |(schema, name): &(String, String)| Object::new("table", name).in_schema(schema);
            left_out.extend(unreadable.iter().map(object));
            let names = unreadable.into_iter().map(|(schema, name)| (Some(schema), name));
            request.filter = request.filter.without(names);
        }
        let locked = match catalog::lock(reader, &relations, &request, &config.database).await? {
            Locked::All => true,
            Locked::NoRoom => false,
            Locked::Changed(names) => return Ok(Attempt::Changed(names, None)),
        };
        for session in &self.workers {
            let snapshot = literal(&snapshot.id);
            let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT {snapshot}; {SAVEPOINT}");
            session.execute(ctx, &sql).await?;
        }
        main.execute(ctx, SAVEPOINT).await?;
        let unlocked = if locked { None } else { Some((catalog::shapes(reader).await?, config.clone())) };
        let plan = match catalog::read(ctx, main, self.workers.first(), &relations, &request).await {
            // An object that went away meanwhile can be the reason of an error too.
            Err(error) if error.kind() == ErrorKind::Database || sql_state(&error) == Some(DEADLOCK) => {
                main.execute(ctx, RELEASE).await?;
                Err(error)
            }
            plan => Ok(plan?),
        };
        let is_of_backup = |change: &&Change| plan.as_ref().map_or(true, |plan| plan.has(change.of));
        let changes = catalog::changes(reader, Reader::new(ctx, &self.other)).await?;
        let changed = catalog::named(changes.iter().filter(is_of_backup));
        let mut plan = match plan {
            // Who was in the way has done something by now, or not; but for that, nothing is wrong.
            Err(error) if !changed.is_empty() || sql_state(&error) == Some(DEADLOCK) => {
                return Ok(Attempt::Changed(changed, Some(error)));
            }
            plan => plan?,
        };
        if !changed.is_empty() {
            return Ok(Attempt::Changed(changed, None));
        }
        left_out.append(&mut plan.left_out);
        Ok(Attempt::Found(Box::new(Found { place: snapshot.place, plan, left_out, unlocked })))
    }
}

/// The error that names what changed the last time.
fn changed_all_the_while(names: &[String]) -> Error {
    let message = format!("objects of the backup changed all the while it began: {}", catalog::listed(names));
    Error::new(ErrorKind::Locked, message)
        .hint("run it again when nobody alters or drops them, or leave them out (--exclude)")
}
