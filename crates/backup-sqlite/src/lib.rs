//! The SQLite engine of lifeboat, and the worked example of an engine: it uses nothing of the core that a
//! third party could not use.
//!
//! | where | what |
//! |---|---|
//! | `config` | what a `sqlite:` URL says |
//! | `connect` | opening databases; the snapshot that several readers share |
//! | `catalog` | what is in a database, and the parts that it is backed up as |
//! | `backup` | one running backup |
//! | `rows` | rows out of tables and into tables |
//! | `restore` | one running restore: a new file beside the target, put in its place when finished |
//! | `scratch` | databases that are made only to be compared with |
//! | `ddl` | SQL: quoting, settings, and the script for the `sqlite3` shell |
//! | `error` | SQLite's errors in the words of the core |
//!
//! There is no `log`: SQLite keeps no change log, so there are only full backups.

mod backup;
mod catalog;
mod config;
mod connect;
mod ddl;
mod engine;
mod error;
mod restore;
#[cfg(test)]
mod round_trip;
mod rows;
mod scratch;

use std::sync::Arc;

use backup_core::{EngineFactory, Registration, inventory};

/// How the engine is made: from URLs like `sqlite:shop.db`.
pub static ENGINE: EngineFactory =
    EngineFactory::new("sqlite", &["sqlite", "sqlite3"], "sqlite:path/to.db", |url| {
        Ok(Arc::new(engine::Sqlite::new(config::Config::from_url(url)?)))
    })
    .with_script(|| Box::new(ddl::script::SqliteScript));

inventory::submit!(Registration(&ENGINE));
