//! Backups that lie in memory.

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, BackupRef, Format, Registry};

use crate::server::Server;

/// A new backup, and who made it.
pub(crate) async fn backed_up(server: &Server, source: &str) -> (BackupManager, BackupRef) {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (Format::Binary, 2);
    let manager = BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()));
    let backup = manager.backup(&server.url(source)).await.unwrap();
    (manager, BackupRef::from(&backup.id))
}
