//! Programs that no server makes as they are, since what they name is not there any more.

use backup_core::{BackupRef, Format, RestoreOptions};

use super::{comes_back_the_same, copied, manager};
use crate::server::Server;

/// Of any table, whatever it takes to give it the column again.
async fn triggers_of_lost_columns_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let mut statements = vec![
        "CREATE TABLE plain (id INT PRIMARY KEY, `a``b` INT, c INT)",
        "CREATE TRIGGER quoted BEFORE INSERT ON plain FOR EACH ROW SET NEW.`a``b` = 1, NEW.id = NEW.id + 1",
        "SET sql_mode = 'ANSI_QUOTES'",
        "CREATE TRIGGER ansi BEFORE UPDATE ON plain FOR EACH ROW SET NEW.\"c\" = \"OLD\".\"c\"",
        "SET sql_mode = DEFAULT",
        "CREATE TABLE separated (id INT NOT NULL, b INT NOT NULL) ENGINE=CSV",
        "CREATE TRIGGER of_separated BEFORE INSERT ON separated FOR EACH ROW SET NEW.b = 1",
        "ALTER TABLE plain DROP COLUMN `a``b`, DROP COLUMN c",
        "ALTER TABLE separated DROP COLUMN b",
    ];
    let versioned = [
        "CREATE TABLE remembering (id INT, b INT) WITH SYSTEM VERSIONING",
        "SET timestamp = 1600000000",
        "INSERT INTO remembering VALUES (1, 1)",
        "SET timestamp = 1600000001",
        "UPDATE remembering SET id = 2",
        "SET timestamp = DEFAULT",
        "CREATE TRIGGER of_history BEFORE INSERT ON remembering FOR EACH ROW SET NEW.b = 1",
        "SET system_versioning_alter_history = KEEP",
        "ALTER TABLE remembering DROP COLUMN b",
    ];
    if server.is_mariadb() {
        statements.extend(versioned);
    }
    comes_back_the_same(&server, &statements).await;
}

/// As the server leaves them when a library is dropped; and in languages whose names are not one word.
#[tokio::test(flavor = "multi_thread")]
async fn routines_of_lost_libraries_come_back() {
    let Some(server) = Server::find("mysql") else { return };
    let source = server.empty();
    let statements = [
        "CREATE LIBRARY lost LANGUAGE JAVASCRIPT AS $$ export function f(n) { return n } $$",
        "CREATE LIBRARY kept LANGUAGE `py-thon 3` AS $$ def f(n): return n $$",
        "CREATE FUNCTION of_lost(n INT) RETURNS INT DETERMINISTIC LANGUAGE JAVASCRIPT USING (lost AS l) AS $$ return l.f(n) $$",
        "CREATE FUNCTION of_lost_too(n INT) RETURNS INT DETERMINISTIC LANGUAGE JAVASCRIPT USING (lost) AS $$ return lost.f(n) $$",
        "CREATE FUNCTION said(n INT) RETURNS INT DETERMINISTIC LANGUAGE `py-thon 3` USING (kept) COMMENT 'LANGUAGE x' AS $$ return n $$",
        "CREATE PROCEDURE reserved(n INT) LANGUAGE `select` AS $$ n $$",
        "CREATE PROCEDURE language(language INT) COMMENT 'a' SELECT language\n    LANGUAGE FROM (SELECT 1 AS language) t",
        "DROP LIBRARY lost",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let said = |database: &str| {
        let show = |what: &str| server.ask(Some(database), &format!("SHOW CREATE {what}"));
        let routines = [
            "FUNCTION of_lost",
            "FUNCTION of_lost_too",
            "FUNCTION said",
            "PROCEDURE reserved",
            "PROCEDURE language",
            "LIBRARY kept",
        ];
        let libraries = server.ask(
            Some(database),
            "SELECT LIBRARY_NAME FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA = DATABASE()",
        );
        (routines.map(show).concat() + &libraries).replace(database, "here")
    };
    let before = said(&source.path);
    for format in [Format::Binary, Format::Sql] {
        let target = copied(&server, &source, format).await;
        assert_eq!(said(&target.path), before, "{format:?}");
    }
    // One of its name is somebody's.
    let manager = manager();
    let backup = manager.backup(&source).await.unwrap();
    let target = server.empty();
    server.run(Some(&target.path), &["CREATE LIBRARY lost LANGUAGE JAVASCRIPT AS $$ theirs $$".to_owned()]);
    let mut options = RestoreOptions::default();
    options.tables = vec!["of_lost".parse().unwrap()];
    manager.restore(&BackupRef::from(&backup.id), &target, options).await.unwrap();
    assert!(server.ask(Some(&target.path), "SHOW CREATE LIBRARY lost").contains("theirs"));
}

/// In sessions that gave utf8mb4 the collation of older versions.
#[tokio::test(flavor = "multi_thread")]
async fn parameters_keep_a_collation_that_is_not_said() {
    let Some(server) = Server::find("mysql") else { return };
    let source = server.empty();
    let statements = [
        "SET default_collation_for_utf8mb4 = utf8mb4_general_ci",
        "CREATE FUNCTION older(a VARCHAR(10) CHARSET utf8mb4, b TEXT CHARSET utf8mb4 COLLATE utf8mb4_bin, c VARCHAR(3)) RETURNS VARCHAR(200) CHARSET utf8mb4 DETERMINISTIC \
         BEGIN DECLARE x VARCHAR(10) CHARSET utf8mb4; RETURN CONCAT_WS(' ', COLLATION(a), COLLATION(b), COLLATION(c), COLLATION(x)); END",
        "SET default_collation_for_utf8mb4 = utf8mb4_0900_ai_ci",
        "CREATE FUNCTION newer(a VARCHAR(10) CHARSET utf8mb4, b VARCHAR(10) CHARSET utf8mb4 COLLATE utf8mb4_general_ci) RETURNS VARCHAR(200) DETERMINISTIC \
         RETURN CONCAT_WS(' ', COLLATION(a), COLLATION(b))",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let said = |database: &str| {
        let parameters = "SELECT SPECIFIC_NAME, PARAMETER_NAME, COLLATION_NAME FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA = DATABASE() ORDER BY 1, ORDINAL_POSITION";
        server.ask(Some(database), parameters)
            + &server.ask(Some(database), "SELECT older('', '', ''), newer('', '')")
    };
    let before = said(&source.path);
    assert!(before.contains("utf8mb4_general_ci utf8mb4_bin"), "{before}");
    for format in [Format::Binary, Format::Sql] {
        let target = copied(&server, &source, format).await;
        assert_eq!(said(&target.path), before, "{format:?}");
    }
}

on! {
    mariadb: triggers_of_lost_columns_come_back;
    mariadb11: triggers_of_lost_columns_come_back;
    mysql: triggers_of_lost_columns_come_back;
}
