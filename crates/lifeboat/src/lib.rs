//! Back up and restore databases over their own protocols.
//!
//! This crate is the whole of lifeboat behind one name: [`backup_core`] (the traits, the repository, the
//! manager), the engines that its cargo features link in, and the configuration file.
//!
//! ```no_run
//! # async fn example() -> lifeboat::Result<()> {
//! use lifeboat::{BackupConfig, BackupManager};
//!
//! let manager = BackupManager::new(BackupConfig::default());
//! let backup = manager.backup(&"sqlite:shop.db".parse()?).await?;
//! println!("{} holds {} rows", backup.id, backup.rows);
//! # Ok(())
//! # }
//! ```

pub mod config;
pub mod keys;
mod place;

pub use backup_core::*;
// An engine crate that is never named is not linked, and then registers nothing.
#[cfg(feature = "mysql")]
pub use backup_mysql as mysql;
#[cfg(feature = "postgres")]
pub use backup_postgres as postgres;
#[cfg(feature = "sqlite")]
pub use backup_sqlite as sqlite;
pub use config::{ConfigFile, MAX_JOBS, SourceConfig};
pub use place::repository_directory;
