//! One running backup: sessions that share one snapshot, and what they found in it.

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

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The snapshot, and the plan that was made in it.
#[derive(Debug)]
pub(crate) struct Backup {
    idle: Mutex<Vec<Session>>,
    free: Semaphore,
    plan: Plan,
}

impl Backup {
    /// Opens all sessions, takes the snapshot, locks the tables and reads the catalogs. Whatever the server's functions say of an
    /// object is as of now and not as of the snapshot, so it begins anew if anything changed in between.
    pub(crate) async fn begin(ctx: &Ctx, config: &Config, request: BackupRequest) -> Result<Self> {
        if request.globals {
            return Err(Error::unsupported("roles and tablespaces cannot be backed up yet").hint(
                "leave out --globals, and keep the output of pg_dumpall --globals-only beside the backup",
            ));
        }
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
        main.execute(ctx, BEGIN).await?;
        let snapshot = main.rows(ctx, "SELECT pg_catalog.pg_export_snapshot() AS id", &[]).await?;
        let snapshot =
            snapshot.first().map(|row| column::<String>(row, "id")).transpose()?.unwrap_or_default();
        let mut sessions = Vec::with_capacity(request.jobs);
        for _ in 1..request.jobs.max(1) {
            let session = Session::open(ctx, config).await?;
            let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT {}", crate::ddl::quote::literal(&snapshot));
            session.execute(ctx, &sql).await?;
            sessions.push(session);
        }
        let reader = Reader { ctx, session: &main, version: main.version };
        let relations = catalog::relations(reader).await?;
        catalog::lock(reader, &relations, request, &config.database).await?;
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
        sessions.push(main);
        let free = Semaphore::new(sessions.len());
        Ok(Some(Self { idle: Mutex::new(sessions), free, plan: plan? }))
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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
        rows::dump(ctx, &session, part, columns, out).await?;
        self.idle().push(session);
        drop(permit);
        Ok(())
    }

    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        // The locks kept the tables as they were; what else changed was found out before the first part.
        let sessions = std::mem::take(&mut *self.idle());
        for session in sessions {
            session.execute(ctx, "COMMIT").await?;
        }
        Ok(())
    }
}
