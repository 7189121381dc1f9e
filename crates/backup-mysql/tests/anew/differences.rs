//! Differences of unsigned numbers that are below zero: the server makes and computes such in one of its modes alone.

use backup_core::{BackupOptions, BackupRef, Content, DatabaseUrl, RestoreOptions};

use super::{FORMATS, fresh, script};
use crate::on;
use crate::server::Server;

on! {
    differences_below_zero_come_back: mariadb mariadb11 mysql;
    partitions_below_zero_come_back: mariadb mariadb11 mysql;
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
    come_back(&server, &source, &all).await;
}

/// Their server opens them in that mode alone.
async fn partitions_below_zero_come_back(server: Server) {
    let source = server.empty();
    let statements = [
        "SET sql_mode = 'NO_UNSIGNED_SUBTRACTION'",
        "CREATE TABLE ranges (a INT UNSIGNED) PARTITION BY RANGE (a - 10) (PARTITION p VALUES LESS THAN (-5), PARTITION q VALUES LESS THAN MAXVALUE)",
        "INSERT INTO ranges VALUES (1), (7), (30)",
        "CREATE TABLE lists (a INT UNSIGNED) ENGINE=MyISAM PARTITION BY LIST (a - 10) (PARTITION p VALUES IN (-5, 4), PARTITION q VALUES IN (-4))",
        "INSERT INTO lists VALUES (5), (14), (6)",
        "CREATE TABLE beside (a INT UNSIGNED, d INT AS (a - 1) VIRTUAL)",
        "INSERT INTO beside (a) VALUES (2)",
        "FLUSH TABLES ranges, lists, beside",
    ];
    // MySQL has none of that engine.
    let of = |sql: &str| if server.is_mariadb() { sql.to_owned() } else { sql.replace(" ENGINE=MyISAM", "") };
    server.run(Some(&source.path), &statements.map(of));
    let all: Vec<_> = ["ranges", "lists", "beside"]
        .iter()
        .map(|table| {
            format!("SELECT * FROM {table} ORDER BY a; SHOW CREATE TABLE {table}; FLUSH TABLES {table}")
        })
        .collect();
    come_back(&server, &source, &all).await;
}

/// In every format, by ours and by the server's client; and without rows.
async fn come_back(server: &Server, source: &DatabaseUrl, all: &[String]) {
    let all = format!("SET sql_mode = 'NO_UNSIGNED_SUBTRACTION'; {}", all.join("; "));
    let expected = server.ask(Some(&source.path), &all);
    for format in FORMATS {
        let manager = fresh(format);
        let backup = BackupRef::from(&manager.backup(source).await.unwrap().id);
        let warnings = manager.get_backup(&backup).await.unwrap().warnings;
        // Those of an engine without snapshots are locked.
        assert!(warnings.iter().all(|told| told.contains("writers of lists")), "{warnings:?}");
        let restored = server.empty();
        manager.restore(&backup, &restored, RestoreOptions::default()).await.unwrap();
        let loaded = server.empty();
        server.feed(Some(&loaded.path), &script(&manager, &backup).await, &["--comments"]);
        for target in [restored, loaded] {
            assert_eq!(server.ask(Some(&target.path), &all), expected, "{format:?}");
        }
    }
    let manager = fresh(FORMATS[0]);
    let mut options = BackupOptions::default();
    options.content = Content::SchemaOnly;
    let backup = BackupRef::from(&manager.backup_with(source, options).await.unwrap().id);
    manager.restore(&backup, &server.empty(), RestoreOptions::default()).await.unwrap();
}
