//! Backups that lie in memory.

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, BackupRef, Format, Registry};

use crate::server::Server;

/// Who makes them.
pub(crate) fn manager() -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (Format::Binary, 2);
    // So that psql takes a script as it is.
    "none".clone_into(&mut config.codec);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
}

/// A new backup, and who made it.
pub(crate) async fn backed_up(server: &Server, source: &str) -> (BackupManager, BackupRef) {
    let manager = manager();
    let backup = manager.backup(&server.url(source)).await.unwrap();
    (manager, BackupRef::from(&backup.id))
}
