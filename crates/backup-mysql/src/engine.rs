//! The engine bound to one database of one server.

use std::sync::Arc;

use backup_core::{
    BackupRequest, BackupSession, Ctx, Engine, Error, ErrorKind, Part, RestoreRequest, RestoreSession,
    Result, ServerInfo, async_trait,
};

use crate::backup::Backup;
use crate::catalog::readable::LeftOut;
use crate::catalog::{Reading, below_zero, is_of_the_server};
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::SUBTRACTING;
use crate::restore::{Restore, is_incomplete};
use crate::snapshot::{Snapshot, enter, reader};

/// A database of a MySQL or MariaDB server.
#[derive(Debug)]
pub(crate) struct MySql {
    config: Config,
}

impl MySql {
    pub(crate) fn new(config: Config) -> Self {
        Self { config }
    }
}

#[async_trait]
impl Engine for MySql {
    async fn probe(&self, ctx: &Ctx) -> Result<ServerInfo> {
        let mut connection = Connection::open(ctx, &self.config, false).await?;
        let version = connection.version.clone();
        let mut info = ServerInfo::new(version.product(), version.text, &self.config.database);
        let databases = connection.rows(ctx, "SHOW DATABASES").await?;
        let databases: Vec<String> =
            databases.into_iter().map(|row| Reading::new(row).text()).collect::<Result<_>>()?;
        info.databases = databases.into_iter().filter(|name| !is_of_the_server(name)).collect();
        let reload =
            "SELECT COUNT(*) FROM information_schema.USER_PRIVILEGES WHERE PRIVILEGE_TYPE = 'RELOAD'";
        let reload = Reading::new(connection.row(ctx, reload).await?).number()?;
        info.capabilities.parallel_snapshot = reload > 0;
        info.capabilities.concurrent_writers = true;
        info.capabilities.create_database = true;
        info.capabilities.globals = true;
        connection.close().await;
        Ok(info)
    }

    async fn begin_backup(&self, ctx: &Ctx, request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        let mut reader = reader(ctx, &self.config, false).await?;
        let database = enter(ctx, &mut reader, &self.config.database).await?;
        if is_incomplete(ctx, &mut reader, &database).await? {
            let incomplete = format!(
                "the database {} is incomplete: a restore into it did not end",
                database.escape_debug()
            );
            return Err(Error::new(ErrorKind::Incomplete, incomplete)
                .hint("restore into it again, and back it up then"));
        }
        let subtracts = below_zero::is_any(ctx, &mut reader).await?;
        if subtracts {
            reader.execute(ctx, SUBTRACTING).await?;
        }
        let left_out = LeftOut::look(ctx, &mut reader, &database, &request).await?;
        reader.close().await;
        let selects = |name: &str| left_out.reads(&request.filter, &database, name);
        let jobs = request.jobs.max(1);
        let snapshot = Snapshot::take(ctx, &self.config, jobs, &selects, subtracts).await?;
        Ok(Box::new(Backup::new(snapshot, self.config.clone(), database, request, left_out)))
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
        Ok(Box::new(Restore::begin(ctx, config, &request, &parts).await?))
    }
}
