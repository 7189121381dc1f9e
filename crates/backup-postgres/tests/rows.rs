//! Rows alone, into tables that stay: nothing fires, and what refers to nothing in the end is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::{Content, DatabaseUrl, ErrorKind, RestoreOptions};

mod backups;
mod server;

use backups::backed_up;
use server::Server;

/// Keys of every form.
const SHOP: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN number AS int;
CREATE TABLE customers (id bigint PRIMARY KEY, code text COLLATE \"C\" UNIQUE);
CREATE TABLE orders (id number PRIMARY KEY, customer int REFERENCES customers, above int REFERENCES orders);
CREATE TABLE codes (code varchar(9) COLLATE \"POSIX\" REFERENCES customers (code));
CREATE TABLE places (x int, y int, PRIMARY KEY (x, y));
CREATE TABLE stays (\"x \" int, y smallint, FOREIGN KEY (\"x \", y) REFERENCES places MATCH FULL);
CREATE TABLE moods (m mood PRIMARY KEY, a int[] UNIQUE);
CREATE TABLE felt (m mood REFERENCES moods, a int[] REFERENCES moods (a));
CREATE TABLE days (at date, n int, PRIMARY KEY (at, n)) PARTITION BY RANGE (at);
CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE hours (h int, at date, n int, FOREIGN KEY (at, n) REFERENCES days) PARTITION BY LIST (h);
CREATE TABLE hours_1 PARTITION OF hours FOR VALUES IN (1);
CREATE TABLE hours_2 PARTITION OF hours FOR VALUES IN (2);
INSERT INTO customers SELECT i, 'c' || i FROM generate_series(1, 10) i;
INSERT INTO orders SELECT i, nullif(i % 10, 0), nullif(i / 2, 0) FROM generate_series(1, 50) i;
INSERT INTO codes SELECT code FROM customers; INSERT INTO codes VALUES (NULL);
INSERT INTO places SELECT i, i FROM generate_series(1, 5) i;
INSERT INTO stays SELECT i, i FROM generate_series(1, 5) i; INSERT INTO stays VALUES (NULL, NULL);
INSERT INTO moods VALUES ('sad', '{1,2}'), ('ok', '{}'); INSERT INTO felt SELECT m, a FROM moods; INSERT INTO felt VALUES ('ok', NULL);
INSERT INTO days SELECT date '2024-12-25' + i, i FROM generate_series(1, 10) i;
INSERT INTO hours SELECT 1 + n % 2, at, n FROM days;
";

/// Time that has to be covered, by several rows together.
const ROOMS: &str = "
CREATE TABLE rooms (id int4range, during daterange, PRIMARY KEY (id, during WITHOUT OVERLAPS));
CREATE TABLE bookings (room int4range, during daterange, FOREIGN KEY (room, PERIOD during) REFERENCES rooms (id, PERIOD during));
INSERT INTO rooms VALUES ('[1,2)', '[2024-01-01,2024-02-01)'), ('[1,2)', '[2024-02-01,2024-03-01)'), ('[2,3)', '[2024-01-01,2024-03-01)');
INSERT INTO bookings VALUES ('[1,2)', '[2024-01-15,2024-02-15)'), ('[2,3)', '[2024-02-01,2024-02-02)'), (NULL, '[2024-01-01,2024-02-01)');
";

fn source(server: &Server) -> String {
    let source = server.create();
    server.psql(&source, SHOP);
    if server.major() >= 18 {
        server.psql(&source, ROOMS);
    }
    source
}

fn copy(server: &Server, source: &str) -> String {
    let name = server.create();
    server.psql("postgres", &format!("DROP DATABASE {name}"));
    server.psql("postgres", &format!("CREATE DATABASE {name} TEMPLATE {source}"));
    name
}

fn replacing_rows(tables: &[&str]) -> RestoreOptions {
    let mut options = RestoreOptions::default();
    (options.drop_existing, options.content) = (true, Content::DataOnly);
    options.tables = tables.iter().map(|table| table.parse().unwrap()).collect();
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_refer_to_nothing_in_the_target_are_refused_by_key_and_everything_stays() {
    let trials = [
        (
            "orders",
            "TRUNCATE orders, codes; DELETE FROM customers WHERE id = 7",
            "orders_customer_fkey of public.orders",
            "(7)",
        ),
        (
            "codes",
            "TRUNCATE orders, codes; DELETE FROM customers WHERE id = 7",
            "codes_code_fkey of public.codes",
            "(c7)",
        ),
        (
            "stays",
            "TRUNCATE stays; DELETE FROM places WHERE x = 2",
            "stays_x _y_fkey of public.stays",
            "(2, 2)",
        ),
        ("felt", "TRUNCATE felt; DELETE FROM moods WHERE m = 'sad'", "felt_a_fkey of public.felt", "({1,2})"),
        (
            "hours",
            "TRUNCATE hours; DELETE FROM days WHERE n = 8",
            "hours_at_n_fkey of public.hours",
            "(2025-01-02, 8)",
        ),
        (
            "bookings",
            "TRUNCATE bookings; DELETE FROM rooms WHERE during = '[2024-02-01,2024-03-01)'",
            "bookings_room_during_fkey of public.bookings",
            "([1,2), [2024-01-15,2024-02-15))",
        ),
    ];
    for server in server::servers() {
        let source = source(&server);
        let (manager, backup) = backed_up(&server, &source).await;
        for (table, damage, key, row) in trials {
            if table == "bookings" && server.major() < 18 {
                continue;
            }
            let target = copy(&server, &source);
            server.psql(&target, damage);
            let before = server.dump(&target);
            let refused = manager.restore(&backup, &server.url(&target), replacing_rows(&[table])).await;
            let refused = refused.err().unwrap_or_else(|| panic!("{table}: taken on {}", server.major()));
            let told = refused.to_string();
            assert!(told.contains(key) && told.contains(row), "{table} on {}: {told}", server.major());
            assert_eq!(server.dump(&target), before, "{table}");
            // Together with what they refer to they come.
            let all = manager.restore(&backup, &server.url(&target), replacing_rows(&[])).await;
            all.unwrap_or_else(|error| panic!("{table} on {}: {error}", server.major()));
            assert_eq!(server.dump(&target), server.dump(&source), "{table}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_says_nothing_of_the_rows_keeps_none_out() {
    for server in server::servers() {
        let source = source(&server);
        let (manager, backup) = backed_up(&server, &source).await;
        for how in [
            "ALTER TABLE orders DISABLE TRIGGER ALL",
            "ALTER TABLE orders DROP CONSTRAINT orders_customer_fkey, ADD CONSTRAINT orders_customer_fkey FOREIGN KEY (customer) REFERENCES customers NOT VALID",
        ] {
            let target = copy(&server, &source);
            server
                .psql(&target, &format!("TRUNCATE orders, codes; DELETE FROM customers WHERE id = 7; {how}"));
            let schema = server.schema(&target);
            manager.restore(&backup, &server.url(&target), replacing_rows(&["orders"])).await.unwrap();
            assert_eq!(server.ask(&target, "SELECT count(*) FROM orders WHERE customer = 7").trim(), "5");
            assert_eq!(server.schema(&target), schema);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_see_whether_a_key_holds_is_told_so_beforehand() {
    // Before, only a superuser loads rows alone.
    for server in server::servers().into_iter().filter(|server| server.major() >= 15) {
        let source = source(&server);
        let (manager, backup) = backed_up(&server, &source).await;
        let target = copy(&server, &source);
        let role = format!("lb_keyless_{}", server.major());
        server.psql(
            &target,
            &format!(
                "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD 'only for tests'; GRANT SET ON PARAMETER session_replication_role TO {role};
                 GRANT SELECT, INSERT, TRUNCATE ON codes TO {role}"
            ),
        );
        let text = server.url_text(&target);
        let (_, place) = text.rsplit_once('@').unwrap();
        let url: DatabaseUrl = format!("postgres://{role}:only%20for%20tests@{place}").parse().unwrap();
        let refused = manager.restore(&backup, &url, replacing_rows(&["codes"])).await;
        server.psql(&target, &format!("GRANT SELECT, UPDATE ON customers TO {role}"));
        let taken = manager.restore(&backup, &url, replacing_rows(&["codes"])).await;
        server.psql(&target, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
        let told = refused.to_string();
        assert!(told.contains("codes_code_fkey") && told.contains("read public.customers"), "{told}");
        taken.unwrap();
        assert_eq!(server.dump(&target), server.dump(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_trigger_of_a_root_fires_whose_rows_the_server_puts_into_partitions() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'fine'); CREATE TABLE hashed (m mood, n int) PARTITION BY HASH (m);
             CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             INSERT INTO hashed SELECT (ARRAY['sad', 'ok', 'fine']::mood[])[1 + i % 3], i FROM generate_series(1, 100) i;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
             CREATE TRIGGER each_statement BEFORE INSERT ON hashed FOR EACH STATEMENT EXECUTE FUNCTION refuse(); ALTER TABLE hashed ENABLE ALWAYS TRIGGER each_statement;
             CREATE TRIGGER behind AFTER INSERT ON hashed FOR EACH STATEMENT EXECUTE FUNCTION refuse(); ALTER TABLE hashed ENABLE REPLICA TRIGGER behind;
             CREATE TRIGGER each_row AFTER INSERT ON hashed FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE hashed ENABLE ALWAYS TRIGGER each_row",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let target = copy(&server, &source);
        server.psql(&target, "TRUNCATE hashed");
        let restored = manager.restore(&backup, &server.url(&target), replacing_rows(&["hashed"])).await;
        restored.unwrap_or_else(|error| panic!("on {}: {error}", server.major()));
        assert_eq!(server.dump(&target), server.dump(&source), "on {}", server.major());
    }
}
