//! Sequences, and defaults that count by what is none.

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, BackupRef, Ctx, Format, Progress, Registry, RestoreOptions};
use backup_testkit::told::Told;

use super::{copied, manager, manager_of};
use crate::server::Server;

/// Of which the server says no more than its name.
async fn a_sequence_without_a_tablespace_comes_back_as_one(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE SEQUENCE emptied",
        "CREATE SEQUENCE kept START 7",
        "CREATE TABLE t (a INT, b INT DEFAULT NEXT VALUE FOR emptied, c INT DEFAULT NEXT VALUE FOR kept)",
        "INSERT INTO t (a) VALUES (1)",
        "ALTER TABLE emptied DISCARD TABLESPACE",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(format);
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let warnings = manager.get_backup(&backup).await.unwrap().warnings.join("\n");
        assert!(warnings.contains("the tablespace of sequence emptied was discarded"), "{warnings}");
        let target = server.empty();
        manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
        // The source had a thousand numbers in its cache.
        assert_eq!(server.ask(Some(&target.path), "SELECT *, NEXTVAL(kept) FROM t"), "1\t1\t7\t1007\n");
        let shown = |database: &str| server.ask(Some(database), "SHOW CREATE TABLE t").replace(database, "");
        assert_eq!(shown(&target.path), shown(&source.path));
        let there = "SELECT TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'emptied'";
        assert_eq!(server.ask(Some(&target.path), there), "SEQUENCE\n");
        let state = "SELECT COUNT(*) FROM information_schema.INNODB_SYS_TABLES WHERE NAME = CONCAT(DATABASE(), '/emptied') AND SPACE IS NULL OR NAME = '?'";
        let states = [&source, &target].map(|database| server.ask(Some(&database.path), state));
        assert_eq!(states[0], states[1]);
    }
}

/// Be it that the database is there and lacks it, or is not there.
async fn defaults_that_count_by_what_another_database_lacks_come_back_or_are_named(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let (source, other) = (server.empty(), server.empty());
    let other = other.path.as_str();
    let statements = [
        format!("CREATE SEQUENCE `{other}`.one"),
        format!("CREATE SEQUENCE `{other}`.two"),
        "CREATE SEQUENCE renamed".to_owned(),
        "CREATE SEQUENCE became_a_table".to_owned(),
        format!(
            "CREATE TABLE a (a INT, b INT DEFAULT (NEXT VALUE FOR `{other}`.one + NEXT VALUE FOR `{other}`.two))"
        ),
        format!("CREATE TABLE b (a INT, b INT DEFAULT NEXT VALUE FOR `{other}`.two)"),
        "CREATE TABLE c (a INT, b INT DEFAULT NEXT VALUE FOR renamed COMMENT 'kept', d INT DEFAULT 4)"
            .to_owned(),
        "INSERT INTO a (a) VALUES (1)".to_owned(),
        "INSERT INTO b (a) VALUES (1)".to_owned(),
        "INSERT INTO c (a) VALUES (1)".to_owned(),
        "RENAME TABLE renamed TO counts".to_owned(),
        format!("DROP DATABASE `{other}`"),
    ];
    server.run(Some(&source.path), &statements);
    for format in [Format::Binary, Format::Sql] {
        let target = copied(&server, &source, format).await;
        assert_eq!(server.dump(&target.path), server.dump(&source.path), "{format:?}");
        assert!(!server.databases().iter().any(|name| name == other));
    }
    // What is there is let alone.
    server.run(None, &[format!("CREATE DATABASE `{other}`"), format!("CREATE SEQUENCE `{other}`.two")]);
    let told = Arc::<Told>::default();
    let loud = BackupManager::new(BackupConfig::default())
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::clone(&told) as Arc<dyn Progress>));
    let backup = loud.backup(&source).await.unwrap();
    let target = server.empty();
    loud.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert!(told.has("table `a` has no defaults of `b` any more"));
    assert!(!told.has("table `b` has no defaults"));
    assert_eq!(server.ask(Some(&target.path), "SELECT * FROM a"), "1\t2\n");
    assert_eq!(server.ask(Some(other), "SHOW TABLES"), "two\n");
    // A table that has the name of a sequence now.
    let statements = [
        "DROP TABLE a".to_owned(),
        "DROP TABLE b".to_owned(),
        "CREATE TABLE renamed (a INT)".to_owned(),
        "INSERT INTO renamed VALUES (9)".to_owned(),
    ];
    server.run(Some(&source.path), &statements);
    let backup = loud.backup(&source).await.unwrap();
    let target = server.empty();
    loud.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert!(told.has("table `c` has no defaults of `b` any more"));
    assert_eq!(server.ask(Some(&target.path), "SELECT c.*, renamed.a FROM c JOIN renamed"), "1\t1\t4\t9\n");
}

/// Beside a database of that name one table alone is as it was, and nothing else is touched.
async fn one_table_that_counts_by_a_lost_database_comes_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let (source, other) = (server.empty(), server.empty());
    let other = other.path.as_str();
    let statements = [
        format!("CREATE SEQUENCE `{other}`.one"),
        format!("CREATE TABLE a (a INT, b INT DEFAULT NEXT VALUE FOR `{other}`.one)"),
        "CREATE TABLE b (a INT)".to_owned(),
        format!("DROP DATABASE `{other}`"),
    ];
    server.run(Some(&source.path), &statements);
    let manager = manager();
    let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    let target = server.empty();
    let mut options = RestoreOptions::default();
    options.tables = vec!["a".parse().unwrap()];
    manager.restore(&backup, &target, options).await.unwrap();
    let shown = |database: &str| server.ask(Some(database), "SHOW CREATE TABLE a");
    assert_eq!(shown(&target.path), shown(&source.path));
    assert!(!server.databases().iter().any(|name| name == other));
}

on! {
    mariadb: a_sequence_without_a_tablespace_comes_back_as_one defaults_that_count_by_what_another_database_lacks_come_back_or_are_named one_table_that_counts_by_a_lost_database_comes_back;
    mariadb11: a_sequence_without_a_tablespace_comes_back_as_one defaults_that_count_by_what_another_database_lacks_come_back_or_are_named one_table_that_counts_by_a_lost_database_comes_back;
}
