//! Variants of tables and programs that few databases have.

use super::comes_back_the_same;
use crate::server::Server;

const TABLES: [&str; 27] = [
    "CREATE TABLE heap (a INT, b VARCHAR(10), KEY h (a) USING HASH, KEY t (b) USING BTREE, UNIQUE KEY u (a, b) USING BTREE) ENGINE=MEMORY MAX_ROWS=1000",
    "INSERT INTO heap VALUES (1, 'x'), (2, NULL)",
    "CREATE TABLE ranges (a INT, b DATE, c VARCHAR(10), KEY (b)) PARTITION BY RANGE COLUMNS (a, b, c) (PARTITION p0 VALUES LESS THAN (1, '2020-01-01', 'm'), \
     PARTITION p1 VALUES LESS THAN (10, MAXVALUE, 'a') COMMENT='it''s', PARTITION p2 VALUES LESS THAN (MAXVALUE, MAXVALUE, MAXVALUE))",
    "INSERT INTO ranges VALUES (0, '2000-01-01', 'a'), (10, '2020-01-01', 'z'), (99, NULL, NULL), (NULL, NULL, NULL)",
    "CREATE TABLE lists (a INT, b VARCHAR(3)) PARTITION BY LIST COLUMNS (a, b) (PARTITION p0 VALUES IN ((1, 'a'), (NULL, NULL)), PARTITION p1 VALUES IN ((2, 'b')))",
    "INSERT INTO lists VALUES (1, 'a'), (NULL, NULL), (2, 'b')",
    "CREATE TABLE linear_hash (a INT) PARTITION BY LINEAR HASH (a) PARTITIONS 5",
    "INSERT INTO linear_hash VALUES (1), (2), (3), (-7), (NULL)",
    "CREATE TABLE linear_key (a INT PRIMARY KEY, b INT) PARTITION BY LINEAR KEY ALGORITHM = 2 () PARTITIONS 3",
    "INSERT INTO linear_key VALUES (1, 1), (2, 2), (30, 3)",
    "CREATE TABLE key_of_old (a VARCHAR(10) PRIMARY KEY, b INT) PARTITION BY KEY ALGORITHM = 1 (a) PARTITIONS 3",
    "INSERT INTO key_of_old VALUES ('x', 1), ('y', 2)",
    "CREATE TABLE under (a INT, d DATE) PARTITION BY LIST (a) SUBPARTITION BY LINEAR KEY (d) SUBPARTITIONS 2 (PARTITION p VALUES IN (1, 2), PARTITION q VALUES IN (NULL))",
    "INSERT INTO under VALUES (1, '2020-01-01'), (NULL, '2021-01-01')",
    "CREATE TABLE redundant (a INT PRIMARY KEY, b VARCHAR(300) CHARACTER SET utf8mb4, c TEXT, KEY (b(100))) ROW_FORMAT=REDUNDANT",
    "INSERT INTO redundant VALUES (1, REPEAT('é', 300), 'x')",
    "CREATE TABLE compact (a INT PRIMARY KEY, b TEXT) ROW_FORMAT=COMPACT STATS_PERSISTENT=1 STATS_SAMPLE_PAGES=7 AVG_ROW_LENGTH=100",
    "INSERT INTO compact VALUES (1, 'x')",
    "CREATE TABLE fixed (a INT PRIMARY KEY, b CHAR(3)) ENGINE=MyISAM ROW_FORMAT=FIXED PACK_KEYS=1 CHECKSUM=1 DELAY_KEY_WRITE=1 MIN_ROWS=3",
    "INSERT INTO fixed VALUES (1, 'x')",
    "SET time_zone = '+02:00'",
    "CREATE EVENT bounded ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2037-01-01 00:00:00' ENDS '2037-06-01 00:00:00' ON COMPLETION PRESERVE COMMENT 'b' DO SELECT 1",
    "CREATE EVENT bounded_and_off ON SCHEDULE EVERY 1 MONTH STARTS '2037-01-01 00:00:00' ENDS '2037-06-01 00:00:00' DISABLE DO SELECT 1",
    "CREATE EVENT soon ON SCHEDULE EVERY 2 QUARTER STARTS '2037-01-01 00:00:00' DO SELECT 1",
    "CREATE EVENT once ON SCHEDULE AT '2037-01-01 00:00:00' DO SELECT 1",
    "CREATE EVENT once_and_kept ON SCHEDULE AT '2037-01-01 00:00:00' ON COMPLETION PRESERVE DO SELECT 1",
    "CREATE EVENT on_replicas ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DISABLE ON SLAVE DO SELECT 1",
];

const OF_MARIADB: [&str; 16] = [
    "CREATE TABLE long_unique (id INT PRIMARY KEY, t TEXT, b LONGBLOB, v VARCHAR(2000) CHARACTER SET utf8mb4, UNIQUE (t), UNIQUE KEY u (b, v), UNIQUE KEY h (id) USING HASH)",
    "INSERT INTO long_unique VALUES (1, REPEAT('x', 5000), 'b', 'v'), (2, NULL, NULL, NULL), (3, NULL, NULL, NULL)",
    "CREATE TABLE long_unique_and_not_null (id INT NOT NULL, n INT, t TEXT, x TEXT NOT NULL, UNIQUE (t), UNIQUE (x), UNIQUE h (id) USING HASH, UNIQUE (n), UNIQUE (id))",
    "INSERT INTO long_unique_and_not_null VALUES (1, NULL, NULL, 'x'), (2, NULL, NULL, 'y')",
    "CREATE TABLE long_unique_too (t TEXT, UNIQUE (t)) ENGINE=MyISAM",
    "INSERT INTO long_unique_too VALUES ('a'), ('b')",
    "CREATE TABLE by_interval (a INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME INTERVAL 1 MONTH STARTS '2020-01-01 00:00:00' \
     (PARTITION p0 HISTORY, PARTITION p1 HISTORY, PARTITION pn CURRENT)",
    "INSERT INTO by_interval VALUES (1), (2)",
    "UPDATE by_interval SET a = a + 10",
    "CREATE TABLE by_limit (a INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME LIMIT 2 (PARTITION p0 HISTORY, PARTITION p1 HISTORY, PARTITION pn CURRENT)",
    "INSERT INTO by_limit VALUES (1), (2), (3), (4)",
    "DELETE FROM by_limit WHERE a < 4",
    "CREATE TABLE with_the_others (a INT) PARTITION BY LIST (a) (PARTITION p VALUES IN (1), PARTITION pd DEFAULT)",
    "INSERT INTO with_the_others VALUES (1), (7), (NULL)",
    "CREATE AGGREGATE FUNCTION sums(x INT) RETURNS INT DETERMINISTIC \
     BEGIN DECLARE s INT DEFAULT 0; DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN s; LOOP FETCH GROUP NEXT ROW; SET s = s + x; END LOOP; END",
    "CREATE VIEW of_sums AS SELECT sums(a) AS s FROM heap",
];

/// Since 10.9 the server adds partitions of itself.
const AUTO: [&str; 4] = [
    "CREATE TABLE by_years (a INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME INTERVAL 1 YEAR STARTS '2020-01-01 00:00:00' AUTO",
    "INSERT INTO by_years VALUES (1), (2)",
    "DELETE FROM by_years WHERE a = 1",
    "CREATE TABLE by_thousands (a INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME LIMIT 1000 AUTO PARTITIONS 3",
];

async fn variants_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let mut statements = TABLES.to_vec();
    if server.is_mariadb() {
        statements.extend(OF_MARIADB);
        statements.extend(AUTO);
    }
    comes_back_the_same(&server, &statements).await;
}

/// Views of MySQL that show rows as JSON, and take rows as such.
async fn views_of_json_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    if server.version() < (9, 4) {
        return;
    }
    let statements = [
        "CREATE TABLE customers (id INT PRIMARY KEY, name VARCHAR(20))",
        "CREATE TABLE orders (id INT PRIMARY KEY, customer INT, what VARCHAR(20), FOREIGN KEY (customer) REFERENCES customers (id))",
        "INSERT INTO customers VALUES (1, 'ä')",
        "INSERT INTO orders VALUES (1, 1, 'x')",
        "CREATE JSON RELATIONAL DUALITY VIEW a_of_both AS SELECT JSON_DUALITY_OBJECT(WITH (INSERT, UPDATE) '_id': id, 'name': name, \
         'orders': (SELECT JSON_ARRAYAGG(JSON_DUALITY_OBJECT(WITH (INSERT, DELETE) 'oid': id, 'what': what)) FROM orders WHERE orders.customer = customers.id)) FROM customers",
    ];
    comes_back_the_same(&server, &statements).await;
}

on! {
    mariadb: variants_come_back;
    mariadb11: variants_come_back;
    mysql: variants_come_back views_of_json_come_back;
}
