//! Differences of unsigned numbers that are below zero: the server makes and computes such in one of its modes alone.

use backup_core::{BackupOptions, BackupRef, Content, RestoreOptions};

use super::{FORMATS, fresh, script};
use crate::on;
use crate::server::Server;

on! {
    differences_below_zero_come_back: mariadb mariadb11 mysql;
}

/// Of columns that are stored and that are not, in keys, in constraints and in partitions.
async fn differences_below_zero_come_back(server: Server) {
    let source = server.empty();
    let mut statements = vec![
        "SET sql_mode = 'NO_UNSIGNED_SUBTRACTION'",
        "CREATE TABLE held (a INT UNSIGNED, d BIGINT AS (a - 5) STORED, KEY (d))",
        "INSERT INTO held (a) VALUES (1), (7)",
        "CREATE TABLE above (a INT UNSIGNED, d BIGINT AS (a - 1) STORED)",
        "INSERT INTO above (a) VALUES (1), (7)",
        "CREATE TABLE years (a YEAR, d BIGINT AS (a - 2050) STORED)",
        "INSERT INTO years (a) VALUES (2000), (2051)",
        "CREATE TABLE signed_columns (a INT, d BIGINT AS (2 - CAST(a AS UNSIGNED)) STORED)",
        "INSERT INTO signed_columns (a) VALUES (1), (7)",
        "CREATE TABLE keyed (a INT UNSIGNED, d BIGINT AS (a - 5) VIRTUAL, KEY (d))",
        "INSERT INTO keyed (a) VALUES (1), (7)",
    ];
    let mut tables = vec!["held", "above", "years", "signed_columns", "keyed"];
    if !server.is_mariadb() {
        statements.extend([
            "CREATE TABLE functional (a INT UNSIGNED, KEY k ((a - 10)), KEY n (a))",
            "INSERT INTO functional VALUES (3)",
            "CREATE TABLE checked (a INT UNSIGNED, CHECK (a - 5 > -100))",
            "INSERT INTO checked VALUES (1)",
            "CREATE TABLE parted (a INT UNSIGNED) PARTITION BY HASH (a - 10) PARTITIONS 3",
            "INSERT INTO parted VALUES (1), (11)",
        ]);
        tables.extend(["functional", "checked", "parted"]);
    }
    server.run(Some(&source.path), &statements.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let all: Vec<_> = tables
        .iter()
        .map(|table| format!("SELECT * FROM {table} ORDER BY a; SHOW CREATE TABLE {table}"))
        .collect();
    let all = format!("SET sql_mode = 'NO_UNSIGNED_SUBTRACTION'; {}", all.join("; "));
    let expected = server.ask(Some(&source.path), &all);
    for format in FORMATS {
        let manager = fresh(format);
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let warnings = manager.get_backup(&backup).await.unwrap().warnings;
        assert!(warnings.is_empty(), "{warnings:?}");
        let restored = server.empty();
        manager.restore(&backup, &restored, RestoreOptions::default()).await.unwrap();
        let loaded = server.empty();
        server.feed(Some(&loaded.path), &script(&manager, &backup).await, &["--comments"]);
        for target in [restored, loaded] {
            assert_eq!(server.ask(Some(&target.path), &all), expected, "{format:?}");
        }
    }
    // Without rows, too.
    if server.is_mariadb() {
        let manager = fresh(FORMATS[0]);
        let mut options = BackupOptions::default();
        options.content = Content::SchemaOnly;
        let backup = BackupRef::from(&manager.backup_with(&source, options).await.unwrap().id);
        manager.restore(&backup, &server.empty(), RestoreOptions::default()).await.unwrap();
    }
}
