//! A database that is nothing but its change log, and its engine: for what needs a log, and no server.
//!
//! A fake database is one file (see [`FakeDatabase`]), so it outlives the process that writes it, and tests can kill that. Its engine does all that
//! an engine can do with a log: full backups at an exact position, segments, confirming, replay to a time or a position. It holds a
//! database in memory whole, which no real engine may.

mod backup;
mod database;
mod log;
mod restore;
mod script;

use std::cmp::Ordering;
use std::sync::Arc;

use backup_core::{
    BackupRequest, BackupSession, Ctx, DatabaseUrl, Engine, EngineFactory, Error, LogInfo, LogSession, Part,
    Position, RestoreRequest, RestoreSession, Result, ServerInfo, async_trait,
};

pub use database::{Change, FakeDatabase, Table, Tables, Transaction};

/// How exact the commit times of a fake database are.
const PRECISION_US: u64 = 1000;

/// The engine of fake databases: `fake:path/to/shop.fake`. It is not registered: a program that wants it on its command line submits it.
pub static ENGINE: EngineFactory = EngineFactory::new("fake", &["fake"], "fake:path/to/shop.fake", from_url)
    .with_script(|| Box::new(script::FakeScript));

fn from_url(url: &DatabaseUrl) -> Result<Arc<dyn Engine>> {
    url.refuse_unknown_options(&[])?;
    if url.path.is_empty() || !url.hosts.is_empty() || url.user.is_some() || url.password.is_some() {
        return Err(Error::usage("a fake database is a file: there is no host and no user")
            .hint("write fake:path/to/shop.fake"));
    }
    Ok(Arc::new(Fake { database: FakeDatabase::at(&url.path) }))
}

#[derive(Debug)]
struct Fake {
    database: FakeDatabase,
}

#[async_trait]
impl Engine for Fake {
    async fn probe(&self, ctx: &Ctx) -> Result<ServerInfo> {
        ctx.check()?;
        let state = self.database.read()?;
        let mut server = ServerInfo::new("Fake", "1", self.database.name());
        server.capabilities.parallel_snapshot = true;
        server.capabilities.concurrent_writers = true;
        server.capabilities.atomic_replace = true;
        server.capabilities.create_database = true;
        server.log = Some(LogInfo::new(state.log(), PRECISION_US));
        Ok(server)
    }

    async fn begin_backup(&self, ctx: &Ctx, request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        ctx.check()?;
        Ok(Box::new(backup::FakeBackup::begin(&self.database, &request)?))
    }

    async fn begin_restore(
        &self,
        ctx: &Ctx,
        request: RestoreRequest,
        parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>> {
        ctx.check()?;
        Ok(Box::new(restore::FakeRestore::begin(&self.database, &request, &parts)?))
    }

    async fn open_log(&self, ctx: &Ctx, from: &Position) -> Result<Box<dyn LogSession>> {
        ctx.check()?;
        Ok(Box::new(log::FakeLog::open(&self.database, from)?))
    }

    fn order(&self, a: &Position, b: &Position) -> Result<Option<Ordering>> {
        let ((log, a), (other, b)) = (log::parse(a)?, log::parse(b)?);
        Ok((log == other).then(|| a.cmp(&b)))
    }
}
