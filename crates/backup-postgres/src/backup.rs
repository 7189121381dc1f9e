//! One running backup: sessions that share one snapshot, and what they found in it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use backup_core::{
    BackupRequest, BackupSession, Ctx, Error, ErrorKind, LogPoint, Part, PartKind, PartWriter, Result,
    async_trait,
};
use tokio::sync::Semaphore;

use crate::catalog::{self, Plan, Reader};
use crate::config::Config;
use crate::connect::{Session, column};
use crate::rows;

/// How often the backup begins anew because objects changed between its snapshot and its reading of them.
const ATTEMPTS: usize = 5;

/// Whatever is locked from here on is let go of again: the server's lock table has room for some thousand locks, and all databases use it.
const SAVEPOINT: &str = "SAVEPOINT part";
pub(crate) const RELEASE: &str = "ROLLBACK TO SAVEPOINT part";

/// A table that was swapped for a view in the meantime is not read: whoever did so would choose what we execute. A restore has to read
/// views, for the contents of materialized ones.
const RESTRICT: &str =
    "SELECT pg_catalog.set_config(name, 'view, foreign-table', false) FROM pg_catalog.pg_settings
 WHERE name = 'restrict_nonsystem_relation_kind'";

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The snapshot, and the plan that was made in it.
#[derive(Debug)]
pub(crate) struct Backup {
    idle: Mutex<Vec<Session>>,
    free: Semaphore,
    plan: Plan,
    /// If there was no room to lock all tables: what they were like in the snapshot, and how to look again.
    unlocked: Option<(HashMap<u32, i64>, Config)>,
}

impl Backup {
    /// Opens all sessions, takes the snapshot, locks the tables and reads the catalogs. Whatever the server's functions say of an
    /// object is as of now and not as of the snapshot, so it begins anew if anything changed in between.
    pub(crate) async fn begin(ctx: &Ctx, config: &Config, request: BackupRequest) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            if let Some(backup) = Self::attempt(ctx, config, &request).await? {
                return Ok(backup);
            }
        }
        Err(Error::new(ErrorKind::Locked, "the database's objects changed all the while the backup began")
            .hint("run it again when nobody makes or alters tables"))
    }

    async fn attempt(ctx: &Ctx, config: &Config, request: &BackupRequest) -> Result<Option<Self>> {
        let main = Session::open(ctx, config).await?;
        main.execute(ctx, RESTRICT).await?;
        main.execute(ctx, BEGIN).await?;
        let snapshot = main.rows(ctx, "SELECT pg_catalog.pg_export_snapshot() AS id", &[]).await?;
        let snapshot =
            snapshot.first().map(|row| column::<String>(row, "id")).transpose()?.unwrap_or_default();
        let mut sessions = Vec::with_capacity(request.jobs);
        for _ in 1..request.jobs.max(1) {
            let session = Session::open(ctx, config).await?;
            session.execute(ctx, RESTRICT).await?;
            let sql = format!(
                "{BEGIN}; SET TRANSACTION SNAPSHOT {}; {SAVEPOINT}",
                crate::ddl::quote::literal(&snapshot)
            );
            session.execute(ctx, &sql).await?;
            sessions.push(session);
        }
        let reader = Reader { ctx, session: &main, version: main.version };
        let relations = catalog::relations(reader).await?;
        let locked = catalog::lock(reader, &relations, request, &config.database).await?;
        main.execute(ctx, SAVEPOINT).await?;
        let unlocked = if locked { None } else { Some((catalog::shapes(reader).await?, config.clone())) };
        let before = catalog::fingerprint(reader).await?;
        let plan = catalog::read(ctx, &main, &relations, request).await;
        // An object that went away meanwhile can be the reason of an error too.
        if let Err(error) = &plan
            && error.kind() != ErrorKind::Database
        {
            return plan.map(|_| None);
        }
        let fresh = Session::open(ctx, config).await?;
        let now = catalog::fingerprint(Reader { ctx, session: &fresh, version: fresh.version }).await?;
        if before != now {
            return Ok(None);
        }
        main.execute(ctx, RELEASE).await?;
        sessions.push(main);
        let free = Semaphore::new(sessions.len());
        Ok(Some(Self { idle: Mutex::new(sessions), free, plan: plan?, unlocked }))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error that names the tables of the backup that are not what they were in the snapshot.
    async fn refuse_changed(&self, ctx: &Ctx, shapes: &HashMap<u32, i64>, config: &Config) -> Result<()> {
        let fresh = Session::open(ctx, config).await?;
        let now = catalog::shapes(Reader { ctx, session: &fresh, version: fresh.version }).await?;
        let is_changed =
            |part: &&Part| self.plan.tables.get(&part.id).is_some_and(|oid| shapes.get(oid) != now.get(oid));
        let mut names: Vec<String> = self.plan.parts.iter().filter(is_changed).map(rows::table).collect();
        names.dedup();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() { Ok(()) } else { Err(catalog::changed(&names)) }
    }

    fn lost() -> Error {
        Error::new(ErrorKind::Connect, "a session with the server was lost, and its snapshot with it")
            .hint("run the backup again")
    }
}

#[async_trait]
impl BackupSession for Backup {
    fn position(&self) -> Option<&LogPoint> {
        // An exported snapshot has no exact place in the log unless a replication slot made it.
        None
    }

    async fn plan(&self, ctx: &Ctx) -> Result<Vec<Part>> {
        ctx.check()?;
        Ok(self.plan.parts.clone())
    }

    async fn dump(&self, ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        let PartKind::Rows { columns, .. } = &part.kind else {
            for statement in self.plan.statements.get(&part.id).into_iter().flatten() {
                out.statement(statement).await?;
            }
            return Ok(());
        };
        let permit = self.free.acquire();
        let permit = ctx.run(async { permit.await.map_err(|_| Self::lost()) }).await?;
        let session = self.idle().pop().ok_or_else(Self::lost)?;
        // A session that failed is not used again: its transaction is over.
        if let (Some(_), Some(oid)) = (&self.unlocked, self.plan.tables.get(&part.id)) {
            let reader = Reader { ctx, session: &session, version: session.version };
            catalog::lock_one(reader, *oid, &rows::table(part)).await?;
        }
        rows::dump(ctx, &session, part, columns, out).await?;
        session.execute(ctx, RELEASE).await?;
        self.idle().push(session);
        drop(permit);
        Ok(())
    }

    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        // Locks kept the tables as they were, or it is looked at now; what else changed was found out before the first part.
        if let Some((shapes, config)) = &self.unlocked {
            self.refuse_changed(ctx, shapes, config).await?;
        }
        let sessions = std::mem::take(&mut *self.idle());
        for session in sessions {
            session.execute(ctx, "COMMIT").await?;
        }
        Ok(())
    }
}
