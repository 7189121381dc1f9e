//! An engine with fewer connections than jobs, whose parts get one in any order, writes scripts all the same.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

use std::sync::Arc;
use std::time::Duration;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRequest, BackupSession, Ctx, DatabaseUrl, Engine, EngineFactory,
    Error, Format, LogPoint, Object, Part, PartWriter, Phase, Registry, RestoreRequest, RestoreSession,
    Result, ServerInfo, async_trait,
};
use tokio::sync::Semaphore;

mod statements;
use statements::Statements;

static NARROW: EngineFactory = EngineFactory::new("narrow", &["narrow"], "narrow:", |_| Ok(Arc::new(Narrow)))
    .with_script(|| Box::new(Statements));

const PARTS: u32 = 4;
/// More than is ever on its way.
const STATEMENTS: usize = 64;

#[derive(Debug)]
struct Narrow;

#[async_trait]
impl Engine for Narrow {
    async fn probe(&self, _ctx: &Ctx) -> Result<ServerInfo> {
        Ok(ServerInfo::new("Narrow", "1", "narrow"))
    }

    async fn begin_backup(&self, _ctx: &Ctx, _request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        Ok(Box::new(Session(Semaphore::new(1))))
    }

    async fn begin_restore(
        &self,
        _ctx: &Ctx,
        _request: RestoreRequest,
        _parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>> {
        Err(Error::unsupported("nothing is restored here"))
    }
}

/// One connection.
struct Session(Semaphore);

#[async_trait]
impl BackupSession for Session {
    fn position(&self) -> Option<&LogPoint> {
        None
    }

    fn readers(&self) -> usize {
        self.0.available_permits()
    }

    async fn plan(&self, _ctx: &Ctx) -> Result<Vec<Part>> {
        let part = |id| Part::sql(id, Phase::PreData, Object::new("table", format!("t{id}")));
        Ok((0..PARTS).map(part).collect())
    }

    async fn dump(&self, _ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        // The last in the plan is the first to get the connection.
        tokio::time::sleep(Duration::from_millis(u64::from(50 * (PARTS - part.id.0)))).await;
        let _connection = self.0.acquire().await.map_err(|_| Error::cancelled())?;
        let statement = "x".repeat(1 << 20);
        for _ in 0..STATEMENTS {
            out.statement(&statement).await?;
        }
        Ok(())
    }

    async fn finish(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        Ok(())
    }
}

#[test]
fn one_connection_for_many_jobs_does_not_hold_up_a_script() {
    backup_testkit::run(async {
        let mut config = BackupConfig::default();
        config.format = Format::Sql;
        config.jobs = PARTS as usize;
        config.verify = false;
        let manager = BackupManager::new(config)
            .with_registry(Registry::new().with(&NARROW))
            .with_storage(Arc::new(MemoryStorage::new()));
        let url: DatabaseUrl = "narrow:".parse().unwrap();
        let backup = tokio::time::timeout(Duration::from_secs(120), manager.backup(&url)).await;
        let backup = backup.unwrap_or_else(|_| panic!("parts wait for each other")).unwrap();
        assert!(backup.raw_size >= u64::from(PARTS) * STATEMENTS as u64 * (1 << 20), "{backup:?}");
    });
}
