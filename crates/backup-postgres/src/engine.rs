//! The engine bound to one database of one server.

use std::sync::Arc;

use backup_core::{
    BackupRequest, BackupSession, Capabilities, Ctx, Engine, Part, RestoreRequest, RestoreSession, Result,
    Scratch, ServerInfo, async_trait,
};

use crate::backup::Backup;
use crate::catalog::{shared, utf8};
use crate::config::Config;
use crate::connect::{Session, choose, column};
use crate::restore;
use crate::scratch::ScratchDatabase;

/// A PostgreSQL database.
#[derive(Debug)]
pub(crate) struct Postgres {
    config: Config,
}

impl Postgres {
    pub(crate) fn new(config: Config) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Engine for Postgres {
    async fn probe(&self, ctx: &Ctx) -> Result<ServerInfo> {
        let session = Session::open(ctx, &choose(ctx, &self.config, &[]).await?).await?;
        let sql = format!(
            "SELECT pg_catalog.current_setting('server_version') AS version,
                          ARRAY(SELECT {} FROM pg_catalog.pg_database d WHERE d.datallowconn AND NOT d.datistemplate ORDER BY d.datname) AS databases,
                          (SELECT r.rolsuper OR r.rolcreatedb FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) AS creates",
            shared("d.datname")
        );
        let rows = session.rows(ctx, &sql, &[]).await?;
        let row =
            rows.first().ok_or_else(|| backup_core::Error::internal("a server says nothing of itself"))?;
        let mut info = ServerInfo::new("PostgreSQL", column::<&str>(row, "version")?, &self.config.database);
        // No URL can name the others.
        let databases = column::<Vec<&[u8]>>(row, "databases")?.into_iter();
        info.databases = databases.filter_map(|name| utf8(name).ok().map(str::to_owned)).collect();
        let mut capabilities = Capabilities::default();
        capabilities.parallel_snapshot = true;
        capabilities.concurrent_writers = true;
        capabilities.atomic_replace = true;
        capabilities.globals = true;
        capabilities.create_database = column::<Option<bool>>(row, "creates")?.unwrap_or_default();
        info.capabilities = capabilities;
        Ok(info)
    }

    async fn begin_backup(&self, ctx: &Ctx, request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        Ok(Box::new(Backup::begin(ctx, &choose(ctx, &self.config, &[]).await?, request).await?))
    }

    async fn begin_restore(
        &self,
        ctx: &Ctx,
        request: RestoreRequest,
        parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>> {
        let config = match &request.target_database {
            None => self.config.clone(),
            Some(name) => self.config.with_database(name),
        };
        let config = choose(ctx, &config, &restore::ADMINISTERED_FROM).await?;
        Ok(Box::new(Box::pin(restore::Restore::begin(ctx, config, request, parts)).await?))
    }

    async fn scratch(&self, ctx: &Ctx) -> Result<Box<dyn Scratch>> {
        let config = choose(ctx, &self.config, &restore::ADMINISTERED_FROM).await?;
        Ok(Box::new(ScratchDatabase::beside(ctx, &config).await?))
    }
}
