//! Tables of which not everything can be had.

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, BackupRef, Format, Registry, RestoreOptions};

use crate::server::Server;

fn manager() -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (Format::Binary, 2);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
}

async fn a_table_without_a_tablespace_comes_back_as_one(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE emptied (id INT PRIMARY KEY)",
        "CREATE TABLE of_it (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES emptied (id))",
        "INSERT INTO emptied VALUES (1)",
        "INSERT INTO of_it VALUES (1)",
        "SET foreign_key_checks = 0",
        "ALTER TABLE emptied DISCARD TABLESPACE",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let manager = manager();
    let backup = manager.backup(&source).await.unwrap();
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.ask(Some(&target.path), "SELECT id FROM of_it"), "1\n");
    for database in [&source, &target] {
        let state = server.ask(Some(&database.path), "CHECK TABLE emptied");
        assert!(state.contains("discarded"), "{state}");
    }
}

/// MariaDB keeps the number of the transaction that ended a version, and takes none from anybody.
async fn a_history_by_transactions_is_refused(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE kept (a INT, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, \
         PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
        "INSERT INTO kept (a) VALUES (1)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let manager = manager();
    let backup = manager.backup(&source).await.unwrap();
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.ask(Some(&target.path), "SELECT a FROM kept FOR SYSTEM_TIME ALL"), "1\n");
    server.run(Some(&source.path), &["UPDATE kept SET a = 2".to_owned()]);
    let refused = manager.backup(&source).await.unwrap_err().to_string();
    assert!(refused.contains("kept") && refused.contains("history"), "{refused}");
}

macro_rules! on {
    ($($server:ident: $($test:ident)*;)*) => {$(
        mod $server {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(stringify!($server)).await;
            }
        )*}
    )*};
}

async fn keys_that_are_not_kept_are_not_kept(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE idle (id INT PRIMARY KEY, a INT, KEY (a)) ENGINE=MyISAM",
        "CREATE TABLE busy (id INT PRIMARY KEY, a INT, KEY (a)) ENGINE=MyISAM",
        "INSERT INTO idle VALUES (1, 1)",
        "ALTER TABLE idle DISABLE KEYS",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let manager = manager();
    let backup = manager.backup(&source).await.unwrap();
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    let disabled = "SELECT TABLE_NAME, INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND COMMENT = 'disabled'";
    assert_eq!(server.ask(Some(&target.path), disabled), "idle\ta\n");
}

/// A view of a database that is not there any more.
async fn a_view_of_a_lost_database_comes_back_as_lost(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let (source, other) = (server.empty(), server.empty());
    let lost = other.path.as_str();
    let statements = [
        format!("CREATE TABLE `{lost}`.t (a INT, b TEXT)"),
        format!("CREATE VIEW `{lost}`.v AS SELECT a FROM `{lost}`.t"),
        format!("CREATE FUNCTION `{lost}`.f(x INT) RETURNS INT DETERMINISTIC RETURN x"),
        format!("CREATE VIEW of_lost AS SELECT x.b, `{lost}`.f(v.a) AS f FROM `{lost}`.t x JOIN `{lost}`.v"),
        "CREATE VIEW of_that AS SELECT b FROM of_lost".to_owned(),
        format!("DROP DATABASE `{lost}`"),
    ];
    server.run(Some(&source.path), &statements);
    let manager = manager();
    let backup = manager.backup(&source).await.unwrap();
    let views = |database: &str| {
        let query = "SELECT TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1";
        server.ask(Some(database), query).replace(database, "here")
    };
    // Of columns that are not there a server does not always say the database.
    let unsaid = |definitions: String| definitions.replace(&format!("`{lost}`.`v`.`a`"), "`v`.`a`");
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert!(views(&target.path).contains(&format!("`{lost}`.`t`")));
    assert_eq!(unsaid(views(&source.path)), unsaid(views(&target.path)));
    assert!(!server.databases().iter().any(|name| name == lost));
    // Where there is one of its name, that is let alone.
    server.run(None, &[format!("CREATE DATABASE `{lost}`"), format!("CREATE TABLE `{lost}`.t (a INT)")]);
    let target = server.empty();
    let failed = manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await;
    assert!(failed.unwrap_err().to_string().contains("of_lost"));
    assert_eq!(server.ask(Some(lost), "SHOW TABLES"), "t\n");
}

on! {
    mariadb: keys_that_are_not_kept_are_not_kept a_view_of_a_lost_database_comes_back_as_lost a_table_without_a_tablespace_comes_back_as_one a_history_by_transactions_is_refused;
    mariadb11: keys_that_are_not_kept_are_not_kept a_view_of_a_lost_database_comes_back_as_lost a_table_without_a_tablespace_comes_back_as_one a_history_by_transactions_is_refused;
    mysql: keys_that_are_not_kept_are_not_kept a_view_of_a_lost_database_comes_back_as_lost a_table_without_a_tablespace_comes_back_as_one;
}
