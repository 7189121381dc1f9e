//! Some tables of a database that stays: they are replaced whole, and nothing else is touched.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::{Content, Error, RestoreOptions};

mod backups;
mod server;

use backups::backed_up;
use server::Server;

const SHOP: &str = "
CREATE SCHEMA archive;
CREATE TYPE state AS ENUM ('open', 'paid');
CREATE TABLE customers (id int PRIMARY KEY, name text);
CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers, state state DEFAULT 'open', at date);
CREATE INDEX ON orders (at);
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.at := NULL; RETURN NEW; END';
CREATE TRIGGER noted BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION noted();
CREATE TABLE items (\"order\" int REFERENCES orders, n int, PRIMARY KEY (\"order\", n));
CREATE TABLE sales (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE sales_1 PARTITION OF sales FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE sales_2 PARTITION OF sales FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE archive.sales_0 PARTITION OF sales FOR VALUES FROM ('2023-01-01') TO ('2024-01-01');
CREATE TABLE parent (x int);
CREATE TABLE child (y int) INHERITS (parent);
CREATE VIEW open_orders AS SELECT * FROM orders WHERE state = 'open';
CREATE MATERIALIZED VIEW totals AS SELECT customer, count(*) FROM open_orders GROUP BY customer;
CREATE VIEW best AS SELECT * FROM totals WHERE count > 1;
INSERT INTO customers SELECT i, 'c' || i FROM generate_series(1, 100) i;
INSERT INTO orders (customer, state) SELECT 1 + i % 100, (ARRAY['open', 'paid'])[1 + i % 2]::state FROM generate_series(1, 1000) i;
INSERT INTO items SELECT i, 1 FROM generate_series(1, 1000) i;
INSERT INTO sales SELECT i, date '2023-01-01' + i FROM generate_series(0, 1000) i;
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2, 3);
REFRESH MATERIALIZED VIEW totals;
";

/// Changes of what is not restored.
const ELSEWHERE: &str = "
UPDATE customers SET name = 'later'; ALTER TABLE customers ADD note text;
DELETE FROM parent WHERE x = 1;
CREATE TABLE newer (x int); INSERT INTO newer VALUES (7);
";

fn copy(server: &Server, source: &str) -> String {
    let name = server.create();
    server.psql("postgres", &format!("DROP DATABASE {name}"));
    server.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {source}"));
    name
}

fn assert_same(found: &str, expected: &str, tables: &[&str]) {
    let lacks = |of: &str, in_: &str| -> Vec<String> {
        of.lines().filter(|line| !in_.lines().any(|l| l == *line)).map(str::to_owned).collect()
    };
    let (lost, new) = (lacks(expected, found), lacks(found, expected));
    assert!(found == expected, "{tables:?}: lost {lost:#?}, and new is {new:#?}");
}

fn replacing(tables: &[&str]) -> RestoreOptions {
    let mut options = RestoreOptions::default();
    options.drop_existing = true;
    options.tables = tables.iter().map(|table| table.parse().unwrap()).collect();
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_replaced_and_nothing_else_is() {
    let trials = [
        (
            &["orders", "items", "open_orders", "totals", "best"][..],
            "DROP VIEW best; DROP TABLE items; DELETE FROM orders WHERE id % 3 = 0; ALTER TABLE orders ADD junk int; DROP TRIGGER noted ON orders; REFRESH MATERIALIZED VIEW totals",
        ),
        (&["items"], "DELETE FROM items; ALTER TABLE items DROP CONSTRAINT items_pkey"),
        (&["child"], "DELETE FROM child; ALTER TABLE child ADD junk int"),
        (&["sales", "sales_0"], "DROP TABLE sales_2; DELETE FROM archive.sales_0"),
        (&["sales*"], "DROP TABLE sales; CREATE TABLE sales (other text); CREATE TABLE sales_1 (other text)"),
        (&["best"], "CREATE OR REPLACE VIEW best AS SELECT * FROM totals"),
    ];
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, SHOP);
        let (manager, backup) = backed_up(&server, &source).await;
        for (tables, damage) in trials {
            let (target, expected) = (copy(&server, &source), copy(&server, &source));
            server.psql(&expected, ELSEWHERE);
            server.psql(&target, &format!("{ELSEWHERE}; {damage}"));
            let restored = manager.restore(&backup, &server.url(&target), replacing(tables)).await;
            restored.unwrap_or_else(|error| panic!("{tables:?}: {error}"));
            assert_same(&server.dump(&target), &server.dump(&expected), tables);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_need_of_a_table_is_refused_by_name_and_everything_stays() {
    let trials = [
        (&["orders"][..], "", "items_order_fkey"),
        (&["open_orders"], "", "totals"),
        (&["sales"], "", "archive.sales_0"),
        (&["parent"], "", "child"),
        (&["best"], "DROP VIEW best; CREATE TABLE best (x int)", "public.best is a table"),
    ];
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, SHOP);
        let (manager, backup) = backed_up(&server, &source).await;
        for (tables, change, named) in trials {
            let target = copy(&server, &source);
            server.psql(&target, &format!("{ELSEWHERE}; {change}"));
            let before = server.dump(&target);
            let refused = manager.restore(&backup, &server.url(&target), replacing(tables)).await;
            let refused = refused.map_err(|error: Error| error.to_string()).unwrap_err();
            assert!(refused.contains(named), "{tables:?}: {refused}");
            assert_eq!(server.dump(&target), before, "{tables:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_alone_are_replaced_in_tables_that_stay() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, SHOP);
        let (manager, backup) = backed_up(&server, &source).await;
        let target = copy(&server, &source);
        server.psql(&target, "DELETE FROM items; UPDATE orders SET at = '2000-01-01' WHERE id < 100");
        let mut options = replacing(&["orders", "items"]);
        options.content = Content::DataOnly;
        manager.restore(&backup, &server.url(&target), options).await.unwrap();
        assert_eq!(server.dump(&target), server.dump(&source));
        // Emptying one that another refers to would leave that with rows of nothing.
        let mut options = replacing(&["orders"]);
        options.content = Content::DataOnly;
        let refused = manager.restore(&backup, &server.url(&target), options).await.unwrap_err();
        assert!(refused.to_string().contains("items"), "{refused}");
        assert_eq!(server.dump(&target), server.dump(&source));
    }
}

/// Who waited for the session that failed does not know why, and says nothing before that is known.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_a_restore_of_tables_is_told_and_not_what_comes_of_it() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE DOMAIN small AS int; CREATE TABLE a (a small); CREATE TABLE b (b small); CREATE TABLE c (c small);
             INSERT INTO a VALUES (7); INSERT INTO b VALUES (7); INSERT INTO c VALUES (7)",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        for _ in 0..10 {
            let target = server.create();
            server.psql(&target, "CREATE DOMAIN small AS int CHECK (VALUE < 5)");
            let mut options = RestoreOptions::default();
            (options.jobs, options.tables) = (Some(4), vec!["public.*".parse().unwrap()]);
            let refused = manager.restore(&backup, &server.url(&target), options).await.unwrap_err();
            assert!(refused.to_string().contains("small_check"), "{refused}");
        }
    }
}
