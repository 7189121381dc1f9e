//! Servers that make something else of the same statement: older ones, and those that are set otherwise. A proxy lets a server seem to be one.

use std::sync::Arc;

use backup_core::{BackupRef, Content, DatabaseUrl, ErrorKind, Format, RestoreOptions};
use backup_testkit::proxy::{From, Proxy, Then};

use crate::server::Server;
use crate::{address, backup, by_way_of, changing, manager_of, on, storage};

on! {
    a_backup_of_mysql_5_7_comes_back_with_its_collations_and_without_its_modes: mysql;
    tables_are_made_as_they_were_whatever_the_server_adds: mariadb mariadb11 mysql;
    a_primary_key_that_the_server_made_is_in_the_backup: mysql;
    values_that_do_not_fit_are_refused_whatever_the_format: mariadb mariadb11 mysql;
    values_that_are_no_members_come_back_whatever_the_format: mariadb mariadb11 mysql;
    the_encryption_of_a_database_comes_back: mysql;
}

fn replace(said: &mut [u8], what: &[u8], instead: &[u8]) {
    assert_eq!(what.len(), instead.len());
    let mut at = 0;
    while let Some(found) = said[at..].windows(what.len()).position(|bytes| bytes == what) {
        said[at + found..at + found + what.len()].copy_from_slice(instead);
        at += found + what.len();
    }
}

/// A server whose sessions begin with these settings.
fn set_to(server: &Server, settings: &'static str) -> Proxy {
    const SAID: &str = "wait_timeout = 604800, net_write_timeout = 604800, net_read_timeout = 604800";
    let instead = format!("{settings:<width$}", width = SAID.len());
    Proxy::start(address(server), move |_| {
        let instead = instead.clone();
        Box::new(move |from, said| {
            if from == From::Client {
                replace(said, SAID.as_bytes(), instead.as_bytes());
            }
            Then::Pass
        })
    })
}

async fn comes_back_by_way_of(server: &Server, source: &DatabaseUrl, proxy: &Proxy) {
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(&storage(), format);
        let made = manager.backup(&by_way_of(proxy, server, &source.path, "")).await.unwrap();
        let target = server.empty();
        let url = by_way_of(proxy, server, &target.path, "");
        manager.restore(&BackupRef::from(&made.id), &url, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&target.path), server.dump(&source.path), "by way of {format:?}");
    }
}

/// Which prints no collation that a character set has there by default, and has modes that are no more.
async fn a_backup_of_mysql_5_7_comes_back_with_its_collations_and_without_its_modes(server: Server) {
    let source = server.empty();
    let statements = [
        "SET sql_mode = 'HIGH_NOT_PRECEDENCE,ANSI_QUOTES'",
        "CREATE TABLE t (a VARCHAR(9) PRIMARY KEY, b VARCHAR(9) CHARACTER SET latin1) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_general_ci",
        "INSERT INTO t VALUES ('ss', 'a'), ('\u{df}', 'b')",
        "CREATE FUNCTION f (a CHAR(1) CHARACTER SET utf8mb4) RETURNS INT DETERMINISTIC RETURN 1",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let (major, minor) = server.version();
    let version = format!("{major}.{minor}.").into_bytes();
    let proxy = changing(address(&server), move |said| {
        replace(said, &version, b"5.7.");
        replace(said, b"HIGH_NOT_PRECEDENCE", b"NO_AUTO_CREATE_USER");
        replace(said, b" COLLATE=utf8mb4_general_ci", b"                           ");
        replace(said, b" COLLATE utf8mb4_general_ci", b"                           ");
    });
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(&storage(), format);
        let made = manager.backup(&by_way_of(&proxy, &server, &source.path, "")).await.unwrap();
        let target = server.empty();
        manager.restore(&BackupRef::from(&made.id), &target, RestoreOptions::default()).await.unwrap();
        let collations = "SELECT COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
                          UNION ALL SELECT COLLATION_NAME FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA = DATABASE() AND PARAMETER_NAME = 'a' ORDER BY 1";
        let expected = "latin1_swedish_ci\nutf8mb4_general_ci\nutf8mb4_general_ci\n";
        assert_eq!(server.ask(Some(&target.path), collations), expected);
        let modes = "SELECT SQL_MODE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()";
        assert_eq!(server.ask(Some(&target.path), modes), "ANSI_QUOTES\n");
        assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*) FROM t"), "2\n");
    }
}

/// A default where none is said, and a primary key where there is none.
async fn tables_are_made_as_they_were_whatever_the_server_adds(server: Server) {
    let source = server.empty();
    let statements = [
        "SET explicit_defaults_for_timestamp = 1",
        "CREATE TABLE t (a INT, b TIMESTAMP NOT NULL, c TIMESTAMP NULL)",
        "INSERT INTO t VALUES (1, '2020-01-01', NULL)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let settings = if server.is_mariadb() {
        "explicit_defaults_for_timestamp = 0"
    } else {
        "explicit_defaults_for_timestamp = 0,sql_generate_invisible_primary_key = 1"
    };
    comes_back_by_way_of(&server, &source, &set_to(&server, settings)).await;
}

async fn a_primary_key_that_the_server_made_is_in_the_backup(server: Server) {
    let source = server.empty();
    let statements = [
        "SET sql_generate_invisible_primary_key = 1",
        "CREATE TABLE t (a INT)",
        "INSERT INTO t VALUES (1), (2)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let proxy = set_to(&server, "show_gipk_in_create_table_and_information_schema = 0");
    comes_back_by_way_of(&server, &source, &proxy).await;
}

async fn values_that_do_not_fit_are_refused_whatever_the_format(server: Server) {
    let source = server.empty();
    let statements = ["CREATE TABLE t (a VARCHAR(9), b INT)", "INSERT INTO t VALUES ('abcdefghi', 7)"];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let storage = storage();
        let made = manager_of(&storage, format).backup(&source).await.unwrap();
        let target = server.empty();
        server.run(Some(&target.path), &["CREATE TABLE t (a VARCHAR(3), b INT)".to_owned()]);
        let mut options = RestoreOptions::default();
        options.content = Content::DataOnly;
        let refused = manager_of(&storage, format)
            .restore(&BackupRef::from(&made.id), &target, options)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Database, "{refused}");
        assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*) FROM t"), "0\n", "{format:?}");
    }
}

async fn values_that_are_no_members_come_back_whatever_the_format(server: Server) {
    let source = server.empty();
    let statements = [
        "SET sql_mode = ''",
        "CREATE TABLE t (e ENUM('x','y'), n ENUM('','y'), s SET('x'), g INT AS (e + 'z') VIRTUAL)",
        "INSERT INTO t (e, n, s) VALUES ('none', 'none', 'none'), ('x', '', 'x'), (NULL, NULL, NULL)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let expected = server.ask(Some(&source.path), "SELECT e + 0, n + 0, s + 0 FROM t");
    assert!(expected.starts_with("0\t0\t0\n"), "{expected}");
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(&storage(), format);
        let made = manager.backup(&source).await.unwrap();
        let target = server.empty();
        manager.restore(&BackupRef::from(&made.id), &target, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(Some(&target.path), "SELECT e + 0, n + 0, s + 0 FROM t"), expected);
    }
}

async fn the_encryption_of_a_database_comes_back(server: Server) {
    let source = server.empty();
    server.run(Some(&source.path), &["ALTER DATABASE DEFAULT ENCRYPTION = 'Y'".to_owned()]);
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    let manager = manager_of(&Arc::clone(&storage), Format::Binary);
    manager.restore(&made, &target, RestoreOptions::default()).await.unwrap();
    let encryption =
        "SELECT DEFAULT_ENCRYPTION FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = DATABASE()";
    assert_eq!(server.ask(Some(&target.path), encryption), "YES\n");
}
