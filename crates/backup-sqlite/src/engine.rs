//! The engine bound to one file.

use std::sync::Arc;

use backup_core::{
    BackupRequest, BackupSession, Capabilities, Ctx, Engine, Part, RestoreRequest, RestoreSession, Result,
    Scratch, ServerInfo, async_trait,
};

use crate::backup::Backup;
use crate::config::Config;
use crate::connect::{Readers, journal_mode, open_reader};
use crate::restore::Restore;
use crate::scratch::ScratchFile;

/// A SQLite database file.
#[derive(Debug)]
pub(crate) struct Sqlite {
    config: Config,
}

impl Sqlite {
    pub(crate) fn new(config: Config) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Engine for Sqlite {
    async fn probe(&self, ctx: &Ctx) -> Result<ServerInfo> {
        let config = self.config.clone();
        ctx.blocking(move || {
            let mut info = ServerInfo::new("SQLite", rusqlite::version(), config.database());
            let connection = open_reader(&config)?;
            info.capabilities = capabilities(&journal_mode(&connection)?);
            Ok(info)
        })
        .await
    }

    async fn begin_backup(&self, ctx: &Ctx, request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        let (config, inner) = (self.config.clone(), ctx.clone());
        let jobs = request.jobs;
        let readers = ctx.blocking(move || Readers::open(&inner, &config, jobs)).await?;
        Ok(Box::new(Backup::new(readers, request)))
    }

    async fn begin_restore(
        &self,
        ctx: &Ctx,
        request: RestoreRequest,
        parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>> {
        let config = match &request.target_database {
            None => self.config.clone(),
            Some(name) => self.config.under_name(name)?,
        };
        let inner = ctx.clone();
        Ok(Box::new(ctx.blocking(move || Restore::begin(&inner, &config, &request, &parts)).await?))
    }

    async fn scratch(&self, ctx: &Ctx) -> Result<Box<dyn Scratch>> {
        let (config, inner) = (self.config.clone(), ctx.clone());
        Ok(Box::new(ctx.blocking(move || ScratchFile::beside(&inner, &config)).await?))
    }
}

fn capabilities(journal_mode: &str) -> Capabilities {
    let mut capabilities = Capabilities::default();
    // With a rollback journal a writer waits to commit until the last reader is done.
    capabilities.concurrent_writers = journal_mode == "wal";
    capabilities.parallel_snapshot = true;
    capabilities.atomic_replace = true;
    capabilities.create_database = true;
    capabilities
}
