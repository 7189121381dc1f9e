//! What the server computes and checks anew of rows, by the time zone of who writes them.

use backup_core::{BackupRef, Format, RestoreOptions};

use super::{FORMATS, comes_back_the_same, fresh, script};
use crate::on;
use crate::server::Server;

on! {
    stored_columns_of_times_come_back: mariadb mariadb11 mysql;
    stored_columns_that_no_zone_explains_are_told: mariadb mariadb11 mysql;
    checks_of_times_hold_again: mariadb mariadb11 mysql;
    what_depends_by_way_of_other_columns_comes_back: mariadb mariadb11 mysql;
    rows_that_come_as_statements_are_of_no_zone: mariadb mariadb11 mysql;
    keys_of_times_are_told: mariadb mariadb11 mysql;
}

/// Where all rows are of one zone; else it is told.
async fn stored_columns_of_times_come_back(server: Server) {
    let table = "CREATE TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, ts TIMESTAMP(3) NULL, d DATE AS (DATE(ts)) STORED, h INT AS (HOUR(ts)) STORED, s VARCHAR(40) AS (CONCAT(ts, '!')) STORED, KEY (d))";
    let insert = "INSERT INTO t (ts) VALUES (NULL), ('2020-01-01 00:30'), ('2020-07-01 23:30:00.125')";
    let many = "INSERT INTO t (ts) SELECT a.ts + INTERVAL b.id HOUR FROM t a JOIN t b";
    for (zone, others) in [("+03:00", None), ("-09:30", None), ("+05:45", Some("+01:00"))] {
        let source = server.empty();
        let zone = format!("SET time_zone = '{zone}'");
        let mut statements = vec![zone.as_str(), table, insert, many, many];
        let other = others.map(|zone| format!("SET time_zone = '{zone}'"));
        statements.extend(other.as_deref().into_iter().chain(other.as_ref().map(|_| insert)));
        server.run(Some(&source.path), &statements.iter().map(|sql| (*sql).to_owned()).collect::<Vec<_>>());
        let rows = |database: &str, columns: &str| {
            server.ask(
                Some(database),
                &format!("SET time_zone = '+00:00'; SELECT {columns} FROM t ORDER BY id"),
            )
        };
        for format in FORMATS {
            let manager = fresh(format);
            let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
            let restored = server.empty();
            manager.restore(&backup, &restored, RestoreOptions::default()).await.unwrap();
            let loaded = server.empty();
            server.feed(Some(&loaded.path), &script(&manager, &backup).await, &["--comments"]);
            let warnings = manager.get_backup(&backup).await.unwrap().warnings.join("\n");
            for target in [restored, loaded] {
                let columns = if others.is_some() { "id, ts" } else { "*" };
                assert_eq!(rows(&target.path, columns), rows(&source.path, columns), "{format:?}");
            }
            let told = "column d of table t holds values that depend on the sessions that stored them";
            assert_eq!(warnings.contains(told), others.is_some(), "{warnings}");
        }
    }
}

/// By names of days as another language has them, and quotients of more digits.
async fn stored_columns_that_no_zone_explains_are_told(server: Server) {
    let source = server.empty();
    let mut statements = vec![
        "SET lc_time_names = 'de_DE', div_precision_increment = 12",
        "CREATE TABLE quotients (a INT, q DECIMAL(20,12) AS (a / 3) STORED, p DECIMAL(20,2) AS (a / 3) STORED)",
        "INSERT INTO quotients (a) VALUES (1)",
    ];
    if !server.is_mariadb() {
        statements.push("CREATE TABLE days (a DATE, d VARCHAR(20) AS (DAYNAME(a)) STORED)");
        statements.push("INSERT INTO days (a) VALUES ('2020-01-01')");
    }
    server.run(Some(&source.path), &statements.iter().map(|sql| (*sql).to_owned()).collect::<Vec<_>>());
    let manager = fresh(Format::Binary);
    let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    let warnings = manager.get_backup(&backup).await.unwrap().warnings.join("\n");
    assert!(warnings.contains("column q of table quotients") && !warnings.contains("column p"), "{warnings}");
    assert_eq!(warnings.contains("column d of table days"), !server.is_mariadb(), "{warnings}");
    manager.restore(&backup, &server.empty(), RestoreOptions::default()).await.unwrap();
}

/// Which are not looked at again, or in the zone in which they hold.
async fn checks_of_times_hold_again(server: Server) {
    let mut statements = vec![
        "SET time_zone = '+03:00'",
        "CREATE TABLE large (id INT PRIMARY KEY, ts TIMESTAMP NULL, CONSTRAINT of_the_night CHECK (HOUR(ts) < 2), CONSTRAINT positive CHECK (id > 0))",
        "INSERT INTO large VALUES (1, '2020-01-01 00:30'), (2, '2020-01-02 01:59:59')",
        "INSERT INTO large SELECT a.id + 2 * b.id, a.ts FROM large a JOIN large b",
        "INSERT INTO large SELECT a.id + 10 * b.id, a.ts FROM large a JOIN large b",
        "INSERT INTO large SELECT a.id + 100 * b.id, a.ts FROM large a JOIN large b",
    ];
    // Which MariaDB prints as the session says that opened the table first.
    if !server.is_mariadb() {
        statements.push("CREATE TABLE t (ts TIMESTAMP NULL, CONSTRAINT early CHECK (ts >= '2020-01-01'))");
        statements.push("INSERT INTO t VALUES ('2020-01-01 00:30'), (NULL)");
    }
    comes_back_the_same(&server, &statements).await;
    // As in no zone at all.
    statements.push("SET time_zone = '+09:00'");
    statements.push("INSERT INTO large VALUES (100000, '2020-01-01 00:30')");
    let source = server.empty();
    server.run(Some(&source.path), &statements.iter().map(|sql| (*sql).to_owned()).collect::<Vec<_>>());
    for format in FORMATS {
        let manager = fresh(format);
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let warnings = manager.get_backup(&backup).await.unwrap().warnings.join("\n");
        assert_eq!(
            warnings.contains("constraint of_the_night of table large"),
            !server.is_mariadb(),
            "{warnings}"
        );
        let target = server.empty();
        manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
        let expected = server.dump(&source.path);
        let expected = match server.is_mariadb() {
            true => expected,
            false => expected.replace("(`ts`) < 2))", "(`ts`) < 2)) /*!80016 NOT ENFORCED */"),
        };
        assert_eq!(server.dump(&target.path), expected);
    }
}

/// On MySQL also what is checked, of columns that are not stored, and where none is a TIMESTAMP.
async fn what_depends_by_way_of_other_columns_comes_back(server: Server) {
    let source = server.empty();
    let mut statements = vec![
        "SET time_zone = '+03:00'",
        "CREATE TABLE t (id INT PRIMARY KEY, h INT AS (HOUR(ts)) VIRTUAL, m INT AS (h * 2) STORED, ts TIMESTAMP NULL)",
        "INSERT INTO t (id, ts) VALUES (1, '2020-01-01 08:30'), (2, '2020-01-01 20:30')",
    ];
    let mut rows = "SET time_zone = '+00:00'; SELECT id, ts, m FROM t ORDER BY id".to_owned();
    if server.is_mariadb() {
        // Where no row has to keep to a CHECK again, none has a say.
        statements.extend([
            "SET check_constraint_checks = 0",
            "CREATE TABLE u (ts TIMESTAMP NULL, d DATE AS (DATE(ts)) STORED, CHECK (HOUR(ts) >= 8))",
            "INSERT INTO u (ts) VALUES ('2020-01-01 00:30')",
        ]);
        rows.push_str("; SELECT * FROM u");
    } else {
        statements.extend([
            "CREATE TABLE u (a INT, CHECK (HOUR(FROM_UNIXTIME(a)) >= 8))",
            "INSERT INTO u VALUES (UNIX_TIMESTAMP('2020-01-01 08:30'))",
            "CREATE TABLE v (ts TIMESTAMP NULL, h INT AS (HOUR(ts)) VIRTUAL, CHECK (h >= 8))",
            "INSERT INTO v (ts) VALUES ('2020-01-01 08:30')",
        ]);
        rows.push_str("; SELECT * FROM u; SELECT ts FROM v; SHOW CREATE TABLE v");
    }
    let statements: Vec<_> = statements.into_iter().map(str::to_owned).collect();
    server.run(Some(&source.path), &statements);
    for format in FORMATS {
        let manager = fresh(format);
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        assert!(manager.get_backup(&backup).await.unwrap().warnings.is_empty());
        let target = server.empty();
        manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
        assert_eq!(
            server.ask(Some(&target.path), &rows),
            server.ask(Some(&source.path), &rows),
            "{format:?}"
        );
    }
}

/// They are written in UTC.
async fn rows_that_come_as_statements_are_of_no_zone(server: Server) {
    let source = server.empty();
    let statements = [
        "SET time_zone = '+03:00'",
        "CREATE TABLE t (n INT AUTO_INCREMENT NULL UNIQUE, ts TIMESTAMP NULL, d DATE AS (DATE(ts)) STORED)",
        "INSERT INTO t (n, ts) VALUES (1, '2020-01-01 00:30'), (2, '2020-01-02 00:30')",
        "UPDATE t SET n = NULL WHERE n = 2",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let rows = "SET time_zone = '+00:00'; SELECT n, ts FROM t ORDER BY ts";
    for format in FORMATS {
        let manager = fresh(format);
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let warnings = manager.get_backup(&backup).await.unwrap().warnings.join("\n");
        assert!(warnings.contains("column d of table t holds values that depend"), "{warnings}");
        let target = server.empty();
        manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(Some(&target.path), rows), server.ask(Some(&source.path), rows), "{format:?}");
        let days = "SET time_zone = '+00:00'; SELECT COUNT(*) FROM t WHERE d = DATE(ts)";
        assert_eq!(server.ask(Some(&target.path), days), "2\n");
    }
}

/// Their entries are made anew, and nothing says what they were.
async fn keys_of_times_are_told(server: Server) {
    let source = server.empty();
    let functional = if server.is_mariadb() { "" } else { ", KEY functional ((HOUR(ts)))" };
    let statements = [
        format!(
            "CREATE TABLE t (ts TIMESTAMP NULL, a INT, h INT AS (HOUR(ts)) VIRTUAL, b INT AS (a * 2) VIRTUAL, KEY of_hours (h), KEY plain (b, ts){functional})"
        ),
        "CREATE TABLE quotients (a INT, q DECIMAL(9,2) AS (a / 3) VIRTUAL, KEY of_quotients (q))".to_owned(),
    ];
    server.run(Some(&source.path), &statements);
    let manager = fresh(Format::Binary);
    let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    let warnings = manager.get_backup(&backup).await.unwrap().warnings.join("\n");
    assert!(warnings.contains("key of_hours of table t is of values that depend"), "{warnings}");
    assert_eq!(warnings.contains("key functional of table t"), !server.is_mariadb(), "{warnings}");
    assert!(!warnings.contains("key plain") && !warnings.contains("quotients"), "{warnings}");
}
