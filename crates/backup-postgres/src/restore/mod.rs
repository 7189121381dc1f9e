//! One running restore: a new database that takes the target's place when it is complete, loaded by many sessions; or, where rows or
//! tables are added to a database that stays, one transaction in it.

mod defaults;
mod filled;
mod gates;
mod globals;
mod keys;
mod labels;
mod largeobjects;
mod members;
mod preflight;
mod publish;
mod replace;
mod sequences;
mod shortfalls;
mod staging;
mod triggers;
mod turns;
mod validators;
mod within;

use std::sync::{Arc, Mutex, PoisonError};

use backup_core::{
    Content, Ctx, Error, ErrorKind, Existing, Part, PartKind, PartReader, RestoreRequest, RestoreSession,
    Result, async_trait,
};
use tokio::sync::Semaphore;

use crate::catalog::{self, Reader};
use crate::config::Config;
use crate::connect::{Session, first_error};
use crate::ddl::quote::ident;
use crate::rows;
use crate::scratch::is_scratch;
use crate::spec::{SqlSpec, read};
use gates::Gates;
use globals::Globals;
use publish::Unpublished;
use turns::Turns;
use within::Within;

pub(crate) use staging::{ADMINISTERED_FROM, RESTORING, Staging, administer, is_marked};

/// What makes loading quick, for one of so many sessions. Nothing of what they commit has to be safe before the database takes its place, which is a
/// commit of its own, behind all of theirs in the log. Indexes are sorted in more memory where the server was given much.
fn loading(jobs: usize) -> String {
    format!(
        "SET synchronous_commit = off;
         SELECT pg_catalog.set_config('maintenance_work_mem', greatest(pg_catalog.pg_size_bytes(pg_catalog.current_setting('maintenance_work_mem')),
             least(pg_catalog.pg_size_bytes(pg_catalog.current_setting('shared_buffers')) / {jobs}, 1073741824)) / 1024 || 'kB', false)"
    )
}

/// Whether so many sessions fill the cores of the server, as far as can be told: it may be another machine.
fn fills_cores(config: &Config, jobs: usize) -> bool {
    config.host.is_this_machine()
        && std::thread::available_parallelism().is_ok_and(|cores| cores.get() <= jobs)
}

/// The sessions that load, and where they load into.
#[derive(Debug)]
pub(crate) struct Restore {
    gates: Gates,
    turns: Turns,
    idle: Mutex<Vec<Session>>,
    free: Semaphore,
    no_owner: bool,
    /// No rows come, and so nothing that is made of them.
    schema_only: bool,
    /// Whether sessions that are all at work leave no core of the server idle.
    fills_cores: bool,
    globals: Globals,
    place: Place,
}

/// Where parts are loaded into.
#[derive(Debug)]
enum Place {
    /// A new database.
    Staging(Box<Staging>),
    /// The target itself, in one transaction.
    Within(Within),
    /// None any more.
    Left,
}

impl Restore {
    /// Checks everything that can be checked, and creates the new database.
    pub(crate) async fn begin(
        ctx: &Ctx,
        config: Config,
        request: RestoreRequest,
        parts: Arc<[Part]>,
    ) -> Result<Self> {
        let mut wanted = preflight::wanted(&parts, &request)?;
        let target = config.database.clone();
        let (admin, admin_config) = administer(ctx, &config, &target).await?;
        let existing = match Session::open(ctx, &config).await {
            Ok(session) => Some(session),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if !request.create_database || request.content == Content::DataOnly {
                    return Err(error);
                }
                None
            }
            Err(error) => return Err(error),
        };
        if existing.is_none() && !request.no_owner && !is_scratch(&target) {
            wanted.want_owners()?;
        }
        wanted.check(ctx, &admin).await?;
        let globals = Globals::look(ctx, &admin).await?;
        wanted.warn_of_tablespaces(ctx, &globals);
        let (mut spec, mut there) = (wanted.database.clone(), None);
        let preload = spec.as_ref().map(|spec| spec.preload.clone()).unwrap_or_default();
        if let Some(session) = existing {
            let is_empty = preflight::is_empty(ctx, &session).await?;
            if request.content == Content::DataOnly || request.partial && !is_empty {
                return Self::within(ctx, session, &request, &parts, globals).await;
            }
            if !is_empty && request.existing == Existing::Refuse {
                return Err(preflight::not_empty(&target));
            }
            preflight::refuse_held(ctx, &admin, &target, &target).await?;
            if is_empty {
                // Somebody made it as it should be.
                spec = Some(catalog::created(Reader::new(ctx, &session)).await?);
            }
            there = Some(request.existing);
        }
        let staging = Staging::create(ctx, &admin, admin_config, &target, there, spec.as_ref()).await?;
        let mut restore = Self {
            gates: Gates::new(&parts)?,
            turns: Turns::new(&parts)?,
            idle: Mutex::new(Vec::new()),
            free: Semaphore::new(request.jobs.max(1)),
            no_owner: request.no_owner,
            schema_only: request.content == Content::SchemaOnly,
            fills_cores: fills_cores(&staging.config(), request.jobs),
            globals,
            place: Place::Staging(Box::new(staging)),
        };
        let begun = async {
            restore.rehearse(ctx, &admin).await?;
            restore.connect(ctx, request.jobs.max(1), &preload).await
        };
        if let Err(error) = begun.await {
            return Err(restore.give_up_after(error).await);
        }
        Ok(restore)
    }

    /// Rows, or some tables, into a database that stays as it is otherwise.
    async fn within(
        ctx: &Ctx,
        session: Session,
        request: &RestoreRequest,
        parts: &[Part],
        globals: Globals,
    ) -> Result<Self> {
        if request.globals {
            return Err(Error::unsupported("roles and tablespaces come with a whole database")
                .hint("leave out --globals, or restore into a new database"));
        }
        let within = Within::begin(ctx, &session, request, parts).await?;
        Ok(Self {
            gates: Gates::new(parts)?,
            turns: Turns::new(parts)?,
            idle: Mutex::new(vec![session]),
            free: Semaphore::new(1),
            no_owner: request.no_owner,
            schema_only: request.content == Content::SchemaOnly,
            fills_cores: false,
            globals,
            place: Place::Within(within),
        })
    }

    async fn rehearse(&self, ctx: &Ctx, admin: &Session) -> Result<()> {
        let Place::Staging(staging) = &self.place else { return Ok(()) };
        staging.rehearse(ctx, admin).await
    }

    async fn connect(&self, ctx: &Ctx, jobs: usize, preload: &[String]) -> Result<()> {
        let Place::Staging(staging) = &self.place else { return Ok(()) };
        let config = staging.config();
        for _ in 0..jobs {
            let session = Session::open(ctx, &config).await?;
            session.execute(ctx, &loading(jobs)).await?;
            labels::load_providers(ctx, &session, preload).await?;
            self.idle().push(session);
        }
        Ok(())
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lost() -> Error {
        Error::new(ErrorKind::Connect, "a session with the server was lost").hint("run the restore again")
    }

    /// Lets an index of a large table be made by several processes where cores are idle. Where none is they take them from each other, and
    /// need twice as much of them.
    async fn share_cores(&self, ctx: &Ctx, session: &Session, part: &Part) -> Result<()> {
        if !self.fills_cores || !self.turns.is_of_large(part) {
            return Ok(());
        }
        let all_at_work = self.free.available_permits() == 0;
        let by_one = "SET max_parallel_maintenance_workers = 0";
        session
            .execute(ctx, if all_at_work { by_one } else { "RESET max_parallel_maintenance_workers" })
            .await
    }

    /// Executes the statements of a part.
    async fn statements(
        &self,
        ctx: &Ctx,
        session: &Session,
        part: &Part,
        input: &mut PartReader,
    ) -> Result<()> {
        // Rows that a script says in statements are nobody's.
        let spec = read::<SqlSpec>(part).ok();
        let owners_from = spec.as_ref().filter(|_| self.no_owner).map_or(usize::MAX, |spec| spec.owners_from);
        let within = if let Place::Within(within) = &self.place { Some(within) } else { None };
        // Settings and comment of a database that stays are its own.
        let is_database = spec.as_ref().is_some_and(|spec| spec.database.is_some());
        let mut skip = within.is_some_and(|within| is_database || within.keeps(part));
        let global = spec.as_ref().and_then(|spec| spec.global.clone());
        skip |= self.schema_only && part.object.kind == shortfalls::CONTENTS;
        skip |= global.as_ref().is_some_and(|global| self.globals.stays(ctx, part, global));
        let mut number = 0;
        let tablespace =
            spec.and_then(|spec| spec.tablespace).filter(|name| self.globals.has_tablespace(name));
        if let Some(tablespace) = &tablespace {
            session.execute(ctx, &format!("SET default_tablespace = {}", ident(tablespace))).await?;
        }
        while let Some(sql) = input.statement().await? {
            if !skip && number < owners_from {
                match (within, &global) {
                    (None, Some(global)) if number == 0 => {
                        skip = !self.globals.make(ctx, session, part, global, &sql).await?;
                    }
                    (None, _) => skip = !shortfalls::statement(ctx, session, part, &sql).await?,
                    (Some(within), _) if number == 0 => {
                        skip = !within.make(ctx, session, part, &sql).await?;
                    }
                    (Some(_), _) => session.statement(ctx, &sql).await?,
                }
            }
            number += 1;
        }
        if tablespace.is_some() {
            session.execute(ctx, "SET default_tablespace = ''").await?;
        }
        match &self.place {
            // Here, where the roles are that the backup brings along, and before anything takes its time.
            Place::Staging(staging) if is_database && !self.no_owner => staging.give(ctx, session).await,
            _ => Ok(()),
        }
    }

    /// Leaves the target as it was. If that fails, the error that was the reason says so too.
    async fn give_up_after(&mut self, error: Error) -> Error {
        match self.give_up().await {
            Ok(()) => error,
            Err(state) => error.afterwards(&state),
        }
    }

    /// Leaves the target as it was.
    async fn give_up(&mut self) -> Result<()> {
        let sessions = std::mem::take(&mut *self.idle());
        match std::mem::replace(&mut self.place, Place::Left) {
            Place::Staging(staging) => {
                drop(sessions);
                staging.drop_database(&self.globals).await
            }
            _ => {
                let ctx = Ctx::new();
                for session in sessions {
                    // If it does not hear it, it finds the connection closed, which comes to the same.
                    let rollback = session.execute(&ctx, "ROLLBACK");
                    let _ = tokio::time::timeout(std::time::Duration::from_secs(30), rollback).await;
                }
                Ok(())
            }
        }
    }
}

#[async_trait]
impl RestoreSession for Restore {
    fn turn(&self, part: &Part) -> u64 {
        self.turns.of(part)
    }

    async fn load(&self, ctx: &Ctx, part: &Part, input: &mut PartReader) -> Result<()> {
        self.gates.wait(ctx, part).await?;
        let permit = ctx.run(async { self.free.acquire().await.map_err(|_| Self::lost()) }).await?;
        let Some(session) = self.idle().pop() else {
            first_error(ctx).await;
            return Err(Self::lost());
        };
        // A session that failed is not used again.
        let is_kept = matches!(&self.place, Place::Within(within) if within.keeps(part));
        match &part.kind {
            PartKind::Rows { .. } if is_kept => while input.next().await?.is_some() {},
            PartKind::Rows { columns, .. } => rows::load(ctx, &session, part, columns, input).await?,
            _ => {
                self.share_cores(ctx, &session, part).await?;
                self.statements(ctx, &session, part, input).await?;
            }
        }
        self.idle().push(session);
        drop(permit);
        self.gates.done(part)
    }

    async fn finish(mut self: Box<Self>, ctx: &Ctx) -> Result<()> {
        let sessions = std::mem::take(&mut *self.idle());
        // Whoever does not wait for the end does not know what it was, and is to clean nothing up.
        match std::mem::replace(&mut self.place, Place::Left) {
            Place::Left => Ok(()),
            Place::Within(within) => {
                for session in &sessions {
                    if let Err(error) = within.commit(ctx, session).await {
                        *self.idle() = sessions;
                        return Err(self.give_up_after(error).await);
                    }
                }
                Ok(())
            }
            Place::Staging(staging) => {
                drop(sessions);
                match staging.publish(ctx).await {
                    Ok(()) => Ok(()),
                    Err(Unpublished { error, is_as_it_was: false }) => Err(error),
                    Err(Unpublished { error, is_as_it_was: true }) => {
                        self.place = Place::Staging(staging);
                        Err(self.give_up_after(error).await)
                    }
                }
            }
        }
    }

    async fn abort(mut self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        self.give_up().await
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        // Neither finished nor aborted: what can be done without waiting for it.
        let place = std::mem::replace(&mut self.place, Place::Left);
        if let (Place::Staging(staging), Ok(runtime)) = (place, tokio::runtime::Handle::try_current()) {
            self.idle().clear();
            let globals = std::mem::take(&mut self.globals);
            runtime.spawn(async move {
                // If it cannot be dropped now, the next restore drops it.
                let _ = staging.drop_database(&globals).await;
            });
        }
    }
}
