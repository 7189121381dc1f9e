//! Geometries.

use super::comes_back_the_same;
use crate::server::Server;

/// As ALTER TABLE makes them of the rows that are there.
async fn geometries_that_are_nothing_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let statements = [
        "CREATE TABLE places (id INT PRIMARY KEY, f FLOAT, t TEXT CHARACTER SET latin2)",
        "INSERT INTO places VALUES (1, 0.1, 'ő'), (2, NULL, 'it''s')",
        "ALTER TABLE places ADD p POINT NOT NULL AFTER id",
        "INSERT INTO places VALUES (3, POINT(1, 2), 3, NULL)",
        "ALTER TABLE places ADD g GEOMETRY NOT NULL",
        "INSERT INTO places VALUES (4, POINT(1, 2), 3, NULL, POINT(3, 4))",
        "CREATE TABLE alone (g LINESTRING NULL)",
        "INSERT INTO alone VALUES (NULL)",
        "CREATE TABLE many (id INT PRIMARY KEY, KEY (id))",
        "INSERT INTO many WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 900) SELECT i FROM n",
        "ALTER TABLE many ADD g GEOMETRY NOT NULL",
        "UPDATE many SET g = POINT(id, 1) WHERE id > 10",
    ];
    comes_back_the_same(&server, &statements).await;
}

on! {
    mariadb: geometries_that_are_nothing_come_back;
    mariadb11: geometries_that_are_nothing_come_back;
}
