//! More tables than one connection keeps.

use std::fmt::Write as _;
use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, BackupRef, Registry, RestoreOptions};

use crate::server::Server;

/// A database of tiny tables, each of two columns and of two rows, of which every tenth refers to the one before it.
async fn many_tables_come_back(server: &Server, count: usize) {
    let source = server.empty();
    let mut statements = vec!["SET foreign_key_checks = 0".to_owned()];
    for i in 0..count {
        let refers = match i % 10 {
            9 => format!(", FOREIGN KEY (id) REFERENCES t{} (id)", i - 1),
            _ => String::new(),
        };
        statements.push(format!(
            "CREATE TABLE t{i} (id INT PRIMARY KEY, v VARCHAR({}){refers}) ENGINE=InnoDB",
            20 + i % 7
        ));
        statements.push(format!("INSERT INTO t{i} VALUES (1, 'row {i}'), (2, NULL)"));
    }
    server.run(Some(&source.path), &statements);
    let mut config = BackupConfig::default();
    config.jobs = 2;
    let manager = BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()));
    let backup = manager.backup(&source).await.unwrap();
    assert_eq!(backup.rows, 2 * count as u64);
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    let (expected, copied) = (all(server, &source.path, count), all(server, &target.path, count));
    assert_eq!(expected.lines().count(), 2 * count + 2 * count + count / 10);
    assert!(copied == expected, "{count} tables did not come back the same");
}

/// All columns, foreign keys and rows: by queries, since the dump program takes minutes for so many tables.
fn all(server: &Server, database: &str, count: usize) -> String {
    let mut said = server.ask(
        Some(database),
        "SELECT TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, COLUMN_KEY, IS_NULLABLE, COLUMN_DEFAULT FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1, 2",
    );
    said += &server.ask(
        Some(database),
        "SELECT TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = DATABASE() ORDER BY 1",
    );
    for some in (0..count).collect::<Vec<_>>().chunks(100) {
        let mut query = String::new();
        for i in some {
            let all = if query.is_empty() { "" } else { " UNION ALL " };
            let _ = write!(query, "{all}SELECT {i} AS i, id, v FROM t{i}");
        }
        said += &server.ask(Some(database), &format!("{query} ORDER BY 1, 2"));
    }
    said
}

/// A thousand are kept by one connection.
async fn tables_that_two_connections_keep_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    many_tables_come_back(&server, 1010).await;
}

/// Takes minutes where other tests run beside it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes"]
async fn five_thousand_tables_come_back() {
    for kind in ["mariadb", "mariadb11", "mysql"] {
        if let Some(server) = Server::find(kind) {
            many_tables_come_back(&server, 5000).await;
        }
    }
}

on! {
    mariadb: tables_that_two_connections_keep_come_back;
}
