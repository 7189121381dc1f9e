//! Values that a server computes of rows, as it does not always do.

use super::{comes_back_the_same, copied};
use backup_core::Format;

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

on! {
    mariadb: what_is_said_of_expressions_refuses_no_row foreign_keys_that_cascade_to_what_is_stored_come_back;
    mariadb11: what_is_said_of_expressions_refuses_no_row foreign_keys_that_cascade_to_what_is_stored_come_back;
    mysql: what_is_said_of_expressions_refuses_no_row;
}
