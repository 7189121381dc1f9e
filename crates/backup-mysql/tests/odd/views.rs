//! Views that no statement makes as they are, and those that read what is not there any more.

use backup_core::{BackupRef, Format, RestoreOptions};

use super::{comes_back_the_same, copied, manager};
use crate::server::{Account, Server};

/// Of a view that reads a table as a sequence MariaDB says no more than its definition.
async fn a_view_that_the_server_cannot_open_comes_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE SEQUENCE s",
        "CREATE VIEW counts AS SELECT NEXTVAL(s) AS n",
        "DROP SEQUENCE s",
        "CREATE TABLE s (a INT)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let manager = manager();
    let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    let details = manager.get_backup(&backup).await.unwrap();
    assert!(
        details.warnings.iter().any(|warning| warning.contains("view counts ")),
        "{:?}",
        details.warnings
    );
    let target = server.empty();
    manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.ask(Some(&target.path), "SHOW TABLES"), "counts\ns\n");
    assert_eq!(definitions(&server, &target.path), definitions(&server, &source.path));
}

/// A server makes no view that stands on what acts as somebody who is not there.
async fn views_on_what_acts_as_nobody_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let other = Account::new(&server, "gone", &[format!("ALL ON `{}`.*", source.path)]);
    let name = &other.name;
    let statements = [
        "CREATE TABLE t (a INT)".to_owned(),
        format!("CREATE DEFINER='{name}'@'%' FUNCTION f() RETURNS INT DETERMINISTIC RETURN 5"),
        format!("CREATE DEFINER='{name}'@'%' VIEW low AS SELECT a, f() AS f FROM t"),
        format!("CREATE DEFINER='{name}'@'%' VIEW middle AS SELECT a FROM low"),
        "CREATE VIEW high AS SELECT middle.a, f() AS f FROM middle".to_owned(),
    ];
    server.run(Some(&source.path), &statements);
    // MySQL notes that a view is invalid when what it stands on is made anew, and its dump program believes that.
    let said = |database: &str| {
        if server.is_mariadb() {
            return server.dump(database);
        }
        let show =
            |what: &&str| server.ask(Some(database), &format!("SHOW CREATE {what}")).replace(database, "");
        let shown: String = ["FUNCTION f", "VIEW low", "VIEW middle", "VIEW high"].iter().map(show).collect();
        shown + &server.ask(Some(database), "SELECT * FROM high")
    };
    let (before, manager) = (said(&source.path), manager());
    let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    let account = other.name.clone();
    drop(other);
    let target = server.empty();
    manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
    // Without it nobody can read that.
    let grant = format!("GRANT ALL ON `{}`.* TO '{account}'@'%'", target.path);
    server.run(None, &[format!("CREATE USER '{account}'@'%'"), grant]);
    let after = said(&target.path);
    server.run(None, &[format!("DROP USER '{account}'@'%'")]);
    assert_eq!(before, after);
}

/// MySQL neither prints such a view nor says that it is invalid.
#[tokio::test(flavor = "multi_thread")]
async fn views_on_functions_of_somebody_who_is_gone_are_kept() {
    let Some(server) = Server::find("mysql") else { return };
    let source = server.empty();
    let other = Account::new(&server, "left", &[format!("ALL ON `{}`.*", source.path)]);
    let name = &other.name;
    let statements = [
        "CREATE TABLE t (a INT)".to_owned(),
        "INSERT INTO t VALUES (3)".to_owned(),
        format!("CREATE DEFINER='{name}'@'%' FUNCTION f() RETURNS INT DETERMINISTIC RETURN 5"),
        "CREATE VIEW low AS SELECT a, f() AS f FROM t".to_owned(),
        format!("CREATE DEFINER='{name}'@'%' VIEW middle AS SELECT a FROM low"),
        "CREATE SQL SECURITY INVOKER VIEW high AS SELECT (SELECT MAX(a) FROM t WHERE a < f()) AS x FROM middle".to_owned(),
    ];
    server.run(Some(&source.path), &statements);
    let account = other.name.clone();
    drop(other);
    let before = definitions(&server, &source.path);
    let manager = manager();
    let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    let warnings = manager.get_backup(&backup).await.unwrap().warnings.join("\n");
    assert!(warnings.contains("view low refers to"), "{warnings}");
    let target = server.empty();
    manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(definitions(&server, &target.path), before);
    let grant = format!("GRANT ALL ON `{}`.* TO '{account}'@'%'", target.path);
    server.run(None, &[format!("CREATE USER '{account}'@'%'"), grant]);
    let read = server.ask(Some(&target.path), "SELECT * FROM high");
    server.run(None, &[format!("DROP USER '{account}'@'%'")]);
    assert_eq!(read, "3\n");
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

/// Of which one is there again, with what the view reads.
async fn a_view_of_two_lost_databases_leaves_nothing_behind(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let (source, one, other) = (server.empty(), server.empty(), server.empty());
    let (one, other) = (one.path.as_str(), other.path.as_str());
    let statements = [
        format!("CREATE TABLE `{one}`.t (a INT)"),
        format!("CREATE TABLE `{other}`.t (b INT)"),
        "CREATE TABLE here (c INT, d INT)".to_owned(),
        format!(
            "CREATE VIEW of_both AS SELECT x.a, y.b, here.c FROM `{one}`.t x JOIN `{other}`.t y JOIN here"
        ),
        "ALTER TABLE here DROP c".to_owned(),
        format!("DROP DATABASE `{one}`"),
        format!("DROP DATABASE `{other}`"),
    ];
    server.run(Some(&source.path), &statements);
    let manager = manager();
    let backup = manager.backup(&source).await.unwrap();
    server.run(None, &[format!("CREATE DATABASE `{other}`"), format!("CREATE TABLE `{other}`.t (b INT)")]);
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    let view = "SELECT COUNT(*) FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()";
    assert_eq!(server.ask(Some(&target.path), view), "1\n");
    assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*) FROM here"), "0\n");
    assert_eq!(server.ask(Some(other), "SHOW TABLES"), "t\n");
    assert!(!server.databases().iter().any(|name| name == one));
}

/// As names that were given to others afterwards make them do. Nobody can read from such a view, and each is there.
async fn views_that_read_each_other_in_a_circle_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE t (a INT, b TEXT)",
        "CREATE VIEW one AS SELECT a, UPPER(b) AS b FROM t",
        "CREATE VIEW other AS SELECT a, b FROM one WHERE b > 'x'",
        "CREATE VIEW above AS SELECT x.a FROM one x JOIN other",
        "RENAME TABLE t TO kept",
        "RENAME TABLE other TO t",
        "CREATE VIEW third AS SELECT a AS `it``s` FROM kept",
        "CREATE VIEW fourth (c) AS SELECT `it``s` FROM third",
        "CREATE VIEW fifth AS SELECT c FROM fourth",
        "DROP VIEW third",
        "CREATE TABLE third (`it``s` INT)",
        "CREATE VIEW sixth AS SELECT c AS `it``s` FROM fifth",
        "DROP TABLE third",
        "RENAME TABLE sixth TO third",
        "CREATE VIEW itself AS SELECT a AS z FROM kept",
        "CREATE VIEW of_itself AS SELECT z FROM itself",
        "DROP VIEW itself",
        "RENAME TABLE of_itself TO itself",
        "INSERT INTO kept VALUES (1, 'row')",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let target = copied(&server, &source, format).await;
        assert_eq!(definitions(&server, &target.path), definitions(&server, &source.path), "{format:?}");
        assert_eq!(server.ask(Some(&target.path), "SELECT * FROM kept"), "1\trow\n");
    }
    assert_eq!(definitions(&server, &source.path).lines().count(), 7);
}

/// What the server remembers of views.
fn definitions(server: &Server, database: &str) -> String {
    let query = "SELECT TABLE_NAME, VIEW_DEFINITION, DEFINER, SECURITY_TYPE, CHECK_OPTION, CHARACTER_SET_CLIENT, COLLATION_CONNECTION \
                 FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1";
    server.ask(Some(database), query).replace(database, "here")
}

/// Of which there is none any more, be it that something else has its name.
async fn views_that_count_by_what_is_no_sequence_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let (source, other) = (server.empty(), server.empty());
    let lost = other.path.as_str();
    let statements = [
        "CREATE SEQUENCE dropped".to_owned(),
        "CREATE SEQUENCE became_a_table".to_owned(),
        "CREATE SEQUENCE kept".to_owned(),
        format!("CREATE SEQUENCE `{lost}`.s"),
        "CREATE TABLE t (a INT, b INT)".to_owned(),
        "CREATE VIEW counts AS SELECT NEXTVAL(dropped) AS n, LASTVAL(kept) AS l FROM t".to_owned(),
        "CREATE VIEW counts_by_a_table AS SELECT SETVAL(became_a_table, 7) AS n, a FROM t".to_owned(),
        "CREATE VIEW counts_and_lacks AS SELECT NEXTVAL(kept) AS n, b FROM t".to_owned(),
        format!("CREATE VIEW counts_by_others AS SELECT NEXTVAL(`{lost}`.s) AS n"),
        "DROP SEQUENCE dropped".to_owned(),
        "DROP SEQUENCE became_a_table".to_owned(),
        "CREATE TABLE became_a_table (a INT)".to_owned(),
        "INSERT INTO became_a_table VALUES (5)".to_owned(),
        "ALTER TABLE t DROP b".to_owned(),
        format!("DROP DATABASE `{lost}`"),
    ];
    server.run(Some(&source.path), &statements);
    let target = copied(&server, &source, Format::Binary).await;
    assert_eq!(definitions(&server, &target.path), definitions(&server, &source.path));
    assert_eq!(server.ask(Some(&target.path), "SELECT * FROM became_a_table"), "5\n");
    assert!(!server.databases().iter().any(|name| name == lost));
}

/// Which MariaDB prints as if it were something else.
async fn an_invalid_view_keeps_its_order(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE fading (a INT, b INT)",
        "CREATE VIEW ordered AS SELECT b + 1 FROM fading ORDER BY 1 DESC LIMIT 2",
        "CREATE VIEW ordered_twice AS SELECT a, b FROM fading UNION SELECT b, '' FROM fading ORDER BY b, 1",
        "CREATE TABLE remembering (a INT) WITH SYSTEM VERSIONING",
        "CREATE VIEW back_then AS SELECT a FROM remembering FOR SYSTEM_TIME AS OF TIMESTAMP'2020-01-01 00:00:00'",
        "CREATE OR REPLACE TABLE remembering (a INT)",
        "ALTER TABLE fading DROP COLUMN b",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let target = copied(&server, &source, Format::Binary).await;
    let of = |database: &str| definitions(&server, database);
    assert!(of(&source.path).contains("order by 1 desc"), "{}", of(&source.path));
    assert_eq!(of(&target.path), of(&source.path));
}

/// Of a table that is gone, and of one that has other partitions and keys now.
async fn views_that_name_partitions_and_keys_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let by = "PARTITION BY LIST (a) (PARTITION p0 VALUES IN (0), PARTITION `p 1` VALUES IN (1))";
    let statements = [
        format!("CREATE TABLE gone (a INT, b TEXT) {by}"),
        format!("CREATE TABLE parted (a INT, b TEXT) {by}"),
        "ALTER TABLE gone ADD KEY `k 1` (a)".to_owned(),
        "ALTER TABLE parted ADD KEY k (a)".to_owned(),
        "CREATE TABLE many (a INT, KEY `made late` (a))".to_owned(),
        "INSERT INTO many VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)".to_owned(),
        "INSERT INTO many SELECT x.a FROM many x JOIN many y JOIN many z".to_owned(),
        "CREATE VIEW of_a_key AS SELECT a FROM many USE INDEX (`made late`) WHERE a < 5".to_owned(),
        "CREATE VIEW of_keys AS SELECT x.a FROM gone x FORCE INDEX FOR JOIN (`k 1`) JOIN parted USE INDEX (k)".to_owned(),
        "CREATE VIEW of_some AS SELECT x.b FROM gone PARTITION (`p 1`, p0) x".to_owned(),
        "CREATE VIEW of_one AS SELECT a FROM parted PARTITION (p0)".to_owned(),
        "DROP TABLE gone".to_owned(),
        "ALTER TABLE parted REMOVE PARTITIONING".to_owned(),
        "ALTER TABLE parted DROP KEY k".to_owned(),
        "INSERT INTO parted VALUES (1, 'kept')".to_owned(),
    ];
    server.run(Some(&source.path), &statements);
    let target = copied(&server, &source, Format::Binary).await;
    let of = |database: &str| definitions(&server, database);
    assert!(of(&source.path).contains("`p 1`"), "{}", of(&source.path));
    assert_eq!(of(&target.path), of(&source.path));
    assert_eq!(server.ask(Some(&target.path), "SELECT * FROM parted"), "1\tkept\n");
}

/// The server would not make them as they are: they had a check before what they read was made anew.
async fn checked_views_of_what_cannot_be_updated_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let statements = [
        "CREATE TABLE t (a INT)",
        "CREATE VIEW below AS SELECT a FROM t",
        "CREATE VIEW checked AS SELECT a FROM below WHERE a > 1 WITH CASCADED CHECK OPTION",
        "CREATE OR REPLACE VIEW below AS SELECT DISTINCT a FROM t",
        "CREATE VIEW above AS SELECT a FROM checked",
    ];
    comes_back_the_same(&server, &statements).await;
}

/// Nothing needs to stand in for what these read: the server makes them as they are.
async fn checked_views_that_only_seem_not_to_be_updatable_are_valid(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE t (a INT, j JSON)",
        "CREATE VIEW of_nothing AS SELECT a + 1 AS b FROM t WITH LOCAL CHECK OPTION",
        "CREATE VIEW of_that AS SELECT b FROM of_nothing WHERE b > 2 WITH CHECK OPTION",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let manager = manager();
    let backup = manager.backup(&source).await.unwrap();
    let warnings = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().warnings.join("\n");
    assert!(!warnings.contains("view"), "{warnings}");
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.dump(&target.path), server.dump(&source.path));
}

/// Which the server prints in a way that it does not read.
async fn a_view_with_a_nameless_column_comes_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let statements = [
        "CREATE TABLE t (a INT, b INT)",
        "CREATE VIEW nameless (``, `c`) AS SELECT a, b FROM t UNION SELECT 1, ''",
        "CREATE VIEW of_it AS SELECT c FROM nameless",
    ];
    comes_back_the_same(&server, &statements).await;
}

on! {
    mariadb: views_that_read_each_other_in_a_circle_come_back views_that_count_by_what_is_no_sequence_come_back views_on_what_acts_as_nobody_come_back a_view_that_the_server_cannot_open_comes_back a_view_with_a_nameless_column_comes_back checked_views_of_what_cannot_be_updated_come_back checked_views_that_only_seem_not_to_be_updatable_are_valid views_that_name_partitions_and_keys_come_back an_invalid_view_keeps_its_order a_view_of_a_lost_database_comes_back_as_lost a_view_of_two_lost_databases_leaves_nothing_behind;
    mariadb11: views_that_read_each_other_in_a_circle_come_back views_that_count_by_what_is_no_sequence_come_back views_on_what_acts_as_nobody_come_back a_view_that_the_server_cannot_open_comes_back a_view_with_a_nameless_column_comes_back checked_views_of_what_cannot_be_updated_come_back checked_views_that_only_seem_not_to_be_updatable_are_valid views_that_name_partitions_and_keys_come_back an_invalid_view_keeps_its_order a_view_of_a_lost_database_comes_back_as_lost a_view_of_two_lost_databases_leaves_nothing_behind;
    mysql: views_that_read_each_other_in_a_circle_come_back views_on_what_acts_as_nobody_come_back checked_views_of_what_cannot_be_updated_come_back views_that_name_partitions_and_keys_come_back a_view_of_a_lost_database_comes_back_as_lost a_view_of_two_lost_databases_leaves_nothing_behind;
}
