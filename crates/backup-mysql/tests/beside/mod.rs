//! What is restored beside other things leaves them alone, and what is asked for alone comes alone.

use backup_core::{BackupOptions, Content, ErrorKind, Format, RestoreOptions};

use super::server::Server;
use super::{backup, manager, manager_of, on, replacing, storage};

/// Of a table named like something that comes along.
async fn only_what_takes_the_same_name_is_replaced(server: Server) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE orders (id INT PRIMARY KEY)".to_owned(),
            "CREATE TABLE audit (id INT)".to_owned(),
            "CREATE TRIGGER audit AFTER INSERT ON orders FOR EACH ROW INSERT INTO audit VALUES (NEW.id)"
                .to_owned(),
            "INSERT INTO orders VALUES (1)".to_owned(),
            "CREATE PROCEDURE orders() SELECT 1".to_owned(),
        ],
    );
    let (storage, made) = backup(&source).await;
    server.run(Some(&source.path), &["DELETE FROM orders".to_owned()]);
    let mut options = replacing();
    options.tables = vec!["orders".parse().unwrap()];
    manager(&storage).restore(&made, &source, options).await.unwrap();
    let rows = "SELECT (SELECT COUNT(*) FROM orders), (SELECT COUNT(*) FROM audit)";
    assert_eq!(server.ask(Some(&source.path), rows).trim(), "1\t1");
}

/// Routines are called the same however they are written.
async fn what_was_there_is_not_dropped_when_taken_back(server: Server) {
    let (source, target) = (server.empty(), server.empty());
    server.run(Some(&source.path), &["CREATE PROCEDURE Count_Them() SELECT 1".to_owned()]);
    server.run(Some(&target.path), &["CREATE PROCEDURE count_them() SELECT 2".to_owned()]);
    let (storage, made) = backup(&source).await;
    let mut options = RestoreOptions::default();
    options.tables = vec!["*ount*".parse().unwrap()];
    let refused = manager(&storage).restore(&made, &target, options).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::TargetNotEmpty, "{refused}");
    assert_eq!(server.ask(Some(&target.path), "CALL count_them()").trim(), "2");
}

/// Rows that no load would bring back come as statements, and not with a schema alone.
async fn a_schema_alone_has_no_rows(server: Server) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE t (n TINYINT NULL AUTO_INCREMENT, KEY (n))".to_owned(),
            "INSERT INTO t VALUES (127)".to_owned(),
            "ALTER TABLE t MODIFY n TINYINT NULL".to_owned(),
            "INSERT INTO t VALUES (NULL)".to_owned(),
            "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'".to_owned(),
            "ALTER TABLE t MODIFY n TINYINT NULL AUTO_INCREMENT".to_owned(),
        ],
    );
    let rows = |database: &str| server.ask(Some(database), "SELECT n FROM t ORDER BY n");
    let expected = rows(&source.path);
    for format in [Format::Binary, Format::Sql] {
        let storage = storage();
        let made = manager_of(&storage, format).backup(&source).await.unwrap();
        for (content, expected) in [(Content::SchemaOnly, ""), (Content::All, expected.as_str())] {
            let target = server.empty();
            let mut options = RestoreOptions::default();
            options.content = content;
            manager(&storage).restore(&(&made.id).into(), &target, options).await.unwrap();
            assert_eq!(rows(&target.path), expected, "{content:?} by way of {format:?}");
        }
    }
}

/// Of triggers that say which database they are for, which was that of the source.
async fn triggers_come_into_the_copy_and_not_into_the_source(server: Server) {
    let source = server.empty();
    let name = &source.path;
    let statements = [
        "CREATE TABLE orders (id INT PRIMARY KEY)".to_owned(),
        "CREATE TABLE seen (what VARCHAR(9))".to_owned(),
        format!(
            "CREATE TRIGGER {name}.t1 BEFORE INSERT ON {name}.orders FOR EACH ROW INSERT INTO seen VALUES ('t1')"
        ),
        format!(
            "CREATE TRIGGER IF NOT EXISTS `{name}` . `t2` AFTER INSERT ON /* . */ `{name}`.`orders`\nFOR EACH ROW INSERT INTO seen VALUES ('t2')"
        ),
        "CREATE TRIGGER IF NOT EXISTS t3 BEFORE DELETE ON orders FOR EACH ROW INSERT INTO seen VALUES ('t3')"
            .to_owned(),
        "SET sql_mode = 'ANSI_QUOTES'".to_owned(),
        format!(
            "CREATE TRIGGER \"{name}\".\"t4\" AFTER DELETE ON \"{name}\".\"orders\" FOR EACH ROW INSERT INTO seen VALUES ('t4')"
        ),
    ];
    server.run(Some(name), &statements);
    // Names that the session's character set says otherwise than ours.
    let latin1 = b"SET NAMES latin1; CREATE TABLE `t\xf6l` (a INT); CREATE TRIGGER `t5\xe4` BEFORE INSERT ON `t\xf6l` FOR EACH ROW INSERT INTO seen VALUES ('\xe4');";
    server.feed(Some(name), latin1, &["--binary-mode"]);
    let used = "INSERT INTO orders VALUES (1); DELETE FROM orders; INSERT INTO töl VALUES (1);";
    let seen = "SELECT GROUP_CONCAT(HEX(CONVERT(what USING utf8mb4)) ORDER BY HEX(CONVERT(what USING utf8mb4))) FROM seen";
    for format in [Format::Binary, Format::Sql] {
        let storage = storage();
        let made = manager_of(&storage, format).backup(&source).await.unwrap();
        let target = server.empty();
        manager(&storage).restore(&(&made.id).into(), &target, RestoreOptions::default()).await.unwrap();
        server.feed(Some(&target.path), used.as_bytes(), &["--binary-mode"]);
        assert_eq!(server.ask(Some(&target.path), seen), "7431,7432,7433,7434,C3A4\n", "{format:?}");
        assert_eq!(server.ask(Some(name), "SELECT COUNT(*) FROM seen"), "0\n");
    }
}

/// Which need not be there for them.
async fn triggers_of_one_table_come_without_an_invalid_view(server: Server) {
    let source = server.empty();
    let statements = [
        "CREATE TABLE orders (id INT PRIMARY KEY, gone INT)",
        "CREATE TABLE seen (id INT)",
        "CREATE VIEW broken AS SELECT orders.id, gone FROM orders JOIN seen ON seen.id = orders.id",
        "CREATE TRIGGER see AFTER INSERT ON orders FOR EACH ROW INSERT INTO seen VALUES (NEW.id)",
        "CREATE TRIGGER see_again AFTER INSERT ON orders FOR EACH ROW INSERT INTO seen VALUES (-NEW.id)",
        "ALTER TABLE orders DROP COLUMN gone",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let (storage, made) = backup(&source).await;
    // With everything they come behind it.
    let target = server.empty();
    manager(&storage).restore(&made, &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.dump(&target.path), server.dump(&source.path));
    let target = server.empty();
    let mut options = RestoreOptions::default();
    options.tables = vec!["orders".parse().unwrap()];
    let report = manager(&storage).restore(&made, &target, options).await.unwrap();
    assert_eq!(report.left_out, Vec::<String>::new());
    let triggers = "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = DATABASE() ORDER BY ACTION_ORDER";
    assert_eq!(server.ask(Some(&target.path), triggers), "see\nsee_again\n");
}

/// What a table counts by goes on from where it was; and one that is there never goes back.
async fn a_sequence_comes_with_the_table_that_counts_by_it(server: Server) {
    let source = server.empty();
    let statements = [
        "CREATE SEQUENCE s INCREMENT 2 CACHE 5",
        "CREATE TABLE orders (id INT PRIMARY KEY DEFAULT NEXT VALUE FOR s, a INT)",
        "INSERT INTO orders (a) VALUES (1), (2), (3)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let (good, made) = backup(&source).await;
    let mut options = RestoreOptions::default();
    options.tables = vec!["orders".parse().unwrap()];
    let next = |database: &str| {
        server.run(Some(database), &["INSERT INTO orders (a) VALUES (4)".to_owned()]);
        server.ask(Some(database), "SELECT id FROM orders WHERE a = 4").trim().parse::<i32>().unwrap()
    };
    // Of an empty database.
    let target = server.empty();
    manager(&good).restore(&made, &target, options.clone()).await.unwrap();
    assert_eq!(next(&target.path), 11, "behind those that the server has taken aside");
    // Where others count by one of the name that is ahead, or behind.
    options.drop_existing = true;
    for (start, expected) in [(1001, 1001), (1, 11)] {
        let target = server.empty();
        let statements = [
            format!("CREATE SEQUENCE s START {start} INCREMENT 2 MAXVALUE 5000"),
            "CREATE TABLE others (id INT PRIMARY KEY DEFAULT NEXT VALUE FOR s)".to_owned(),
            "CREATE TABLE orders (id INT)".to_owned(),
        ];
        server.run(Some(&target.path), &statements);
        manager(&good).restore(&made, &target, options.clone()).await.unwrap();
        assert_eq!(next(&target.path), expected);
        assert_eq!(server.ask(Some(&target.path), "SELECT maximum_value FROM s"), "5000\n");
    }
    // Which was asked for itself is as it was.
    let target = server.empty();
    server.run(Some(&target.path), &["CREATE SEQUENCE s START 1001 MAXVALUE 5000".to_owned()]);
    options.tables.push("s".parse().unwrap());
    manager(&good).restore(&made, &target, options).await.unwrap();
    assert_eq!(next(&target.path), 11);
    // And one that was not selected is said to be missing.
    let mut only = BackupOptions::default();
    only.include = vec!["orders".parse().unwrap()];
    let storage = storage();
    let manager = manager(&storage);
    let made = manager.backup_with(&source, only).await.unwrap();
    let warnings = manager.get_backup(&(&made.id).into()).await.unwrap().warnings.join("\n");
    assert!(warnings.contains("table orders counts by sequence s, which was not selected"), "{warnings}");
}

on! {
    triggers_come_into_the_copy_and_not_into_the_source: mariadb mariadb11 mysql;
    triggers_of_one_table_come_without_an_invalid_view: mariadb mysql;
    a_sequence_comes_with_the_table_that_counts_by_it: mariadb mariadb11;
    only_what_takes_the_same_name_is_replaced: mariadb mysql;
    what_was_there_is_not_dropped_when_taken_back: mariadb mysql;
    a_schema_alone_has_no_rows: mariadb mariadb11;
}
