//! A toy database, `kv`, and its lifeboat engine: what docs/writing-an-engine.md walks through.
//!
//! A kv database is one text file of statements (see [`statement`]). The engine has the files that every engine has:
//!
//! - this one: the engine itself, and how it is found
//! - `database.rs`: connecting, which for kv is opening a file
//! - `statement.rs`: the database's language
//! - `catalog.rs`: what is in a database, and the plan of a backup
//! - `rows.rs`: reading and writing rows; the backup session
//! - `restore.rs`: the restore session
//! - `script.rs`: how parts are said as a script

mod catalog;
mod database;
mod restore;
mod rows;
mod script;
pub mod statement;

use std::sync::Arc;

use backup_core::{
    BackupRequest, BackupSession, Capabilities, Ctx, DatabaseUrl, Engine, EngineFactory, Error, Part,
    Registration, RestoreRequest, RestoreSession, Result, ServerInfo, async_trait,
};

use database::Database;

/// The engine of kv databases: `kv:path/to/shop.kv`.
pub static ENGINE: EngineFactory = EngineFactory::new("kv", &["kv"], "kv:path/to/shop.kv", from_url)
    .with_script(|| Box::new(script::KvScript));

backup_core::inventory::submit!(Registration(&ENGINE));

/// Binds the engine to a URL. Nothing is opened yet.
fn from_url(url: &DatabaseUrl) -> Result<Arc<dyn Engine>> {
    url.refuse_unknown_options(&[])?;
    if url.path.is_empty() || !url.hosts.is_empty() || url.user.is_some() || url.password.is_some() {
        return Err(Error::usage("a kv database is a file: there is no host and no user")
            .hint("write kv:path/to/shop.kv"));
    }
    Ok(Arc::new(Kv { database: Database::new(&url.path) }))
}

/// One kv database, as a source or as a target.
#[derive(Debug)]
struct Kv {
    database: Database,
}

#[async_trait]
impl Engine for Kv {
    async fn probe(&self, ctx: &Ctx) -> Result<ServerInfo> {
        let database = self.database.clone();
        ctx.blocking(move || {
            database.open()?;
            Ok(server_info(&database))
        })
        .await
    }

    async fn begin_backup(&self, ctx: &Ctx, request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        let database = self.database.clone();
        let session = ctx.blocking(move || rows::KvBackup::begin(&database, request)).await?;
        Ok(Box::new(session))
    }

    async fn begin_restore(
        &self,
        ctx: &Ctx,
        request: RestoreRequest,
        parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>> {
        let database = self.database.clone();
        let session = ctx.blocking(move || restore::KvRestore::begin(&database, &request, &parts)).await?;
        Ok(Box::new(session))
    }
}

fn server_info(database: &Database) -> ServerInfo {
    let mut server = ServerInfo::new("kv", "1", database.name());
    // What a capability says is what holds: kv has no log, no accounts, and no servers to create databases on.
    let mut capabilities = Capabilities::default();
    capabilities.parallel_snapshot = true;
    capabilities.concurrent_writers = true;
    capabilities.atomic_replace = true;
    capabilities.create_database = true;
    server.capabilities = capabilities;
    server
}
