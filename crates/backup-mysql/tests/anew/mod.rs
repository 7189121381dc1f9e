//! What a server reads, computes and checks anew when it comes back, and would then find otherwise.

mod charsets;
mod differences;
mod events;
mod zones;

use backup_core::{BackupConfig, BackupManager, BackupRef, Format, Registry, RestoreOptions};

use crate::server::Server;
use crate::storage;

const FORMATS: [Format; 2] = [Format::Binary, Format::Sql];

/// A manager of a repository of its own.
fn fresh(format: Format) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs, config.codec) = (format, 2, "none".to_owned());
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(storage())
}

/// A backup as a script for the server's own client.
async fn script(manager: &BackupManager, backup: &BackupRef) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("script.sql");
    manager.export(backup, &path, Format::Sql).await.unwrap();
    std::fs::read(&path).unwrap()
}

/// By a restore, and by the server's own client.
async fn comes_back_the_same(server: &Server, statements: &[&str]) {
    let source = server.empty();
    server.run(Some(&source.path), &statements.iter().map(|sql| (*sql).to_owned()).collect::<Vec<_>>());
    is_copied(server, &source.path).await;
}

/// The same of a database that is there.
async fn is_copied(server: &Server, source: &str) {
    let expected = server.dump(source);
    for format in FORMATS {
        let manager = fresh(format);
        let backup = BackupRef::from(&manager.backup(&server.database(source)).await.unwrap().id);
        let restored = server.empty();
        manager.restore(&backup, &restored, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&restored.path), expected, "by way of {format:?}");
        let loaded = server.empty();
        server.feed(Some(&loaded.path), &script(&manager, &backup).await, &["--comments"]);
        assert_eq!(server.dump(&loaded.path), expected, "by the client, by way of {format:?}");
    }
}
