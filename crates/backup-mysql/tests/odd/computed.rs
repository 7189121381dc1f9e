//! Values that a server computes of rows, as it does not always do.

use backup_core::{BackupRef, DatabaseUrl, Format};

use super::{comes_back_the_same, copied, manager};
use crate::server::Server;

/// What it complained of when they were stored, it does again.
async fn what_is_said_of_expressions_refuses_no_row(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let mut statements = vec![
        "SET sql_mode = ''",
        "CREATE TABLE not_null (id INT PRIMARY KEY, a INT, s INT AS (a + 1) STORED NOT NULL, v INT AS (a * 2) VIRTUAL NOT NULL)",
        "CREATE TABLE packed (id INT PRIMARY KEY, b VARCHAR(50), u BLOB AS (UNCOMPRESS(b)) STORED)",
        "INSERT INTO packed (id, b) VALUES (1, 'abcdefgh')",
        "CREATE TABLE repeated (id INT PRIMARY KEY, b INT, r LONGTEXT AS (REPEAT('x', b)) STORED)",
        "INSERT INTO repeated (id, b) VALUES (1, 2000000000), (2, 3)",
    ];
    if server.is_mariadb() {
        statements.remove(1);
    } else {
        statements.extend([
            "INSERT INTO not_null (id, a) VALUES (1, 1), (2, NULL)",
            "CREATE TABLE keyed (id INT PRIMARY KEY, k VARCHAR(20), KEY c ((CAST(k AS CHAR(2)))), KEY n ((CAST(k AS SIGNED))))",
            "INSERT INTO keyed VALUES (1, 'abc')",
            "CREATE TABLE documents (id INT PRIMARY KEY, j JSON, a INT AS (j->'$.a') STORED, KEY m ((CAST(j->'$.a' AS SIGNED))))",
            "INSERT INTO documents (id, j) VALUES (1, '{\"a\": \"x\"}')",
            "CREATE TABLE logarithms (id INT PRIMARY KEY, a INT, l DOUBLE AS (LOG(a)) STORED, CHECK (LOG(a) IS NULL OR a > 0))",
            "INSERT INTO logarithms (id, a) VALUES (1, -1), (2, 1)",
        ]);
    }
    comes_back_the_same(&server, &statements).await;
}

/// MariaDB makes such a key with its table, and adds it to none.
async fn foreign_keys_that_cascade_to_what_is_stored_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let statements = [
        "CREATE TABLE parents (id INT PRIMARY KEY)",
        "INSERT INTO parents VALUES (1), (2)",
        "SET foreign_key_checks = 0",
        "CREATE TABLE children (id INT PRIMARY KEY, p INT, o INT, r INT AS (p + 2) STORED, \
         CONSTRAINT deletes FOREIGN KEY (p) REFERENCES parents (id) ON DELETE CASCADE, CONSTRAINT plain FOREIGN KEY (o) REFERENCES others (id))",
        "CREATE TABLE others (id INT PRIMARY KEY, c INT, d INT AS (c * 2) STORED, CONSTRAINT `back` FOREIGN KEY (c) REFERENCES children (id) ON DELETE CASCADE)",
        "INSERT INTO children (id, p, o) VALUES (1, 1, 5), (2, 2, NULL)",
        "INSERT INTO others (id, c) VALUES (5, 1)",
        "CREATE TABLE trees (id INT PRIMARY KEY, up INT, d INT AS (up + 1) STORED, CONSTRAINT of_itself FOREIGN KEY (up) REFERENCES trees (id) ON DELETE CASCADE)",
        "INSERT INTO trees (id, up) VALUES (1, 2), (2, NULL)",
    ];
    comes_back_the_same(&server, &statements).await;
    let source = server.empty();
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let target = copied(&server, &source, Format::Binary).await;
    server.run(Some(&target.path), &["DELETE FROM parents WHERE id = 2".to_owned()]);
    assert_eq!(server.ask(Some(&target.path), "SELECT id, r FROM children"), "1\t3\n");
}

/// Their values are of the day, the mode or the settings of who stored them, which a restore has not.
async fn stored_values_of_other_sessions_are_told(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let mut statements = vec![
        "SET sql_mode = ''",
        "CREATE TABLE times (id INT PRIMARY KEY, d TIME, g DATETIME AS (CAST(d AS DATETIME)) STORED)",
        "INSERT INTO times (id, d) VALUES (1, '10:00:00')",
        "CREATE TABLE dates (id INT PRIMARY KEY, v VARCHAR(20), g DATE AS (CAST(v AS DATE)) STORED)",
        "INSERT INTO dates (id, v) VALUES (1, '2020-02-30')",
        "CREATE TABLE same (id INT PRIMARY KEY, v VARCHAR(20) CHARACTER SET latin1, b VARBINARY(9), dt DATETIME(3), n DECIMAL(9,3), \
         c VARCHAR(9) AS (CONCAT(v, '\u{e4}')) STORED, f CHAR(9) AS (TRIM(v)) STORED, d DATE AS (DATE(dt)) STORED, y YEAR AS (YEAR(dt)) STORED, s INT AS (id - 2) STORED, \
         m DECIMAL(9,2) AS (n * 2 - 1) STORED, x DOUBLE AS (SQRT(n)) STORED, e ENUM('a','b') AS (IF(id > 1, 'a', 'b')) STORED, r BINARY(4) AS (LEFT(b, 2)) STORED, \
         h VARBINARY(20) AS (UNHEX(HEX(b))) STORED, t TEXT AS (REPLACE(v, 'a', ' ')) STORED, l FLOAT AS (n / 3) VIRTUAL)",
        "INSERT INTO same (id, v, b, dt, n) VALUES (1, ' Ma\u{df} ', x'00ff', '2020-02-28 23:59:59.999', 1.005), (2, NULL, NULL, NULL, NULL), (3, '', '', '0000-00-00', 0)",
    ];
    if server.is_mariadb() {
        statements.extend([
            "SET default_regex_flags = 'DOTALL'",
            "CREATE TABLE settings (id INT PRIMARY KEY, v VARCHAR(20), g INT AS (v REGEXP 'a.b') STORED)",
            "INSERT INTO settings (id, v) VALUES (1, 'a\\nb')",
        ]);
    } else {
        statements.extend([
            "SET sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'",
            "CREATE TABLE settings (id INT PRIMARY KEY, c CHAR(10), g INT AS (CHAR_LENGTH(c)) STORED)",
            "INSERT INTO settings (id, c) VALUES (1, 'ab')",
            "SET block_encryption_mode = 'aes-256-ecb'",
            "CREATE TABLE secrets (id INT PRIMARY KEY, v VARCHAR(20), g VARBINARY(64) AS (AES_ENCRYPT(v, 'k')) STORED)",
            "INSERT INTO secrets (id, v) VALUES (1, 'x')",
        ]);
    }
    server.run(Some(&source.path), &statements.into_iter().map(str::to_owned).collect::<Vec<_>>());
    let warnings = warnings(&source).await;
    let told = ["column g of table dates", "column g of table settings", "column g of table times"];
    let secrets = (!server.is_mariadb()).then_some("column g of table secrets");
    for told in told.into_iter().chain(secrets) {
        assert!(warnings.contains(told), "{told}: {warnings}");
    }
    assert!(!warnings.contains("table same"), "{warnings}");
}

/// Whatever they are of.
async fn checks_that_rows_violate_are_not_enforced(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE times (id INT PRIMARY KEY, d TIME, CONSTRAINT of_old CHECK (CAST(d AS DATETIME) < '2018-01-01'), CONSTRAINT holds CHECK (id < 5))",
        "SET timestamp = 1500000000",
        "INSERT INTO times VALUES (1, '10:00:00')",
        "CREATE TABLE padded (id INT PRIMARY KEY, c CHAR(10), CONSTRAINT of_ten CHECK (CHAR_LENGTH(c) = 10))",
        "SET sql_mode = 'PAD_CHAR_TO_FULL_LENGTH'",
        "INSERT INTO padded VALUES (1, 'ab')",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let warnings = warnings(&source).await;
    assert!(warnings.contains("constraint of_old") && warnings.contains("constraint of_ten"), "{warnings}");
    for format in [Format::Binary, Format::Sql] {
        let target = copied(&server, &source, format).await;
        assert_eq!(server.ask(Some(&target.path), "SELECT d, c FROM times JOIN padded"), "10:00:00\tab\n");
        let enforced = "SELECT CONSTRAINT_NAME FROM information_schema.TABLE_CONSTRAINTS WHERE TABLE_SCHEMA = DATABASE() AND CONSTRAINT_TYPE = 'CHECK' AND ENFORCED = 'YES'";
        assert_eq!(server.ask(Some(&target.path), enforced), "holds\n");
    }
}

async fn warnings(source: &DatabaseUrl) -> String {
    let manager = manager();
    let backup = manager.backup(source).await.unwrap();
    manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().warnings.join("\n")
}

on! {
    mariadb: what_is_said_of_expressions_refuses_no_row stored_values_of_other_sessions_are_told foreign_keys_that_cascade_to_what_is_stored_come_back;
    mariadb11: what_is_said_of_expressions_refuses_no_row stored_values_of_other_sessions_are_told foreign_keys_that_cascade_to_what_is_stored_come_back;
    mysql: what_is_said_of_expressions_refuses_no_row stored_values_of_other_sessions_are_told checks_that_rows_violate_are_not_enforced;
}
