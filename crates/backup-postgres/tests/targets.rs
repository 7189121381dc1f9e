//! Targets that hold something: refused unless they are to be replaced, before anything is dropped or made.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::{Content, ErrorKind, RestoreOptions};

mod backups;
mod server;

use backups::backed_up;
use server::Server;

/// Of every kind that can be alone in a database, one.
const ALONE: [&str; 26] = [
    "CREATE TABLE t ()",
    "CREATE VIEW v AS SELECT 1 AS x",
    "CREATE MATERIALIZED VIEW m AS SELECT 1 AS x",
    "CREATE SEQUENCE s",
    "CREATE SCHEMA empty",
    "CREATE TYPE shell",
    "CREATE TYPE mood AS ENUM ('sad')",
    "CREATE DOMAIN d AS int",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE AGGREGATE a (int) (SFUNC = int4pl, STYPE = int)",
    "CREATE OPERATOR === (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int)",
    "CREATE OPERATOR FAMILY f USING btree",
    "CREATE CAST (int AS point) WITH INOUT",
    "CREATE COLLATION c (lc_collate = 'C', lc_ctype = 'C')",
    "CREATE CONVERSION c FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8",
    "CREATE LANGUAGE l HANDLER plpgsql_call_handler",
    "CREATE TRANSFORM FOR varchar LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal))",
    "CREATE ACCESS METHOD a TYPE TABLE HANDLER heap_tableam_handler",
    "CREATE TEXT SEARCH DICTIONARY d (TEMPLATE = simple)",
    "CREATE TEXT SEARCH CONFIGURATION c (PARSER = \"default\")",
    "CREATE TEXT SEARCH PARSER p (START = prsd_start, GETTOKEN = prsd_nexttoken, END = prsd_end, LEXTYPES = prsd_lextype)",
    "CREATE TEXT SEARCH TEMPLATE t (LEXIZE = dsimple_lexize)",
    "CREATE FOREIGN DATA WRAPPER w",
    "CREATE PUBLICATION p",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    "SELECT lo_create(17)",
];

fn sample(server: &Server) -> String {
    let source = server.create();
    server.psql(
        &source,
        "CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders VALUES (1, 'backed up');
         CREATE VIEW notes AS SELECT note FROM orders; CREATE TABLE items (id int REFERENCES orders); INSERT INTO items VALUES (1)",
    );
    source
}

/// What would be another if the database were: its number, what it holds, and the databases that are beside it.
fn state(server: &Server, database: &str) -> String {
    let number = format!("SELECT oid FROM pg_database WHERE datname = '{database}'");
    let beside = server.databases(database).join(" ");
    format!("{} {beside} {}", server.ask("postgres", &number), server.dump(database))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_holds_anything_is_refused_and_stays_as_it_is() {
    for server in server::servers() {
        let (manager, backup) = backed_up(&server, &sample(&server)).await;
        for alone in ALONE {
            let target = server.create();
            server.psql(&target, &format!("SET client_min_messages = error; {alone}"));
            let before = state(&server, &target);
            for content in [Content::All, Content::SchemaOnly] {
                let mut options = RestoreOptions::default();
                options.content = content;
                // It is there, so this is no leave to make another.
                options.create_database = true;
                let refused = manager.restore(&backup, &server.url(&target), options).await;
                let error = refused.err().unwrap_or_else(|| panic!("{alone}: it was replaced"));
                assert_eq!(error.kind(), ErrorKind::TargetNotEmpty, "{alone}: {error}");
                assert!(error.to_string().contains(&target), "{alone}: {error}");
                assert_eq!(
                    error.advice(),
                    Some("add --drop-existing to replace it when the restore is complete")
                );
            }
            assert_eq!(state(&server, &target), before, "{alone}");
        }
        let empty = server.create();
        manager.restore(&backup, &server.url(&empty), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(&empty, "SELECT note FROM notes").trim(), "backed up");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_that_is_meant_is_the_one_that_is_looked_at() {
    for server in server::servers() {
        let source = sample(&server);
        let (manager, backup) = backed_up(&server, &source).await;
        // The source itself, which the URL names by mistake.
        let before = state(&server, &source);
        let refused = manager.restore(&backup, &server.url(&source), RestoreOptions::default()).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::TargetNotEmpty);
        let (full, absent) = (server.create(), format!("{source}_absent"));
        server.psql(&full, "CREATE TABLE precious (x int)");
        let held = state(&server, &full);
        let empty = server.create();
        let renamed = |name: &str| {
            let mut options = RestoreOptions::default();
            options.target_database = Some(name.to_owned());
            options
        };
        // That the URL's database is empty is no leave to replace the one that is meant, or to make it.
        let refused = manager.restore(&backup, &server.url(&empty), renamed(&full)).await.unwrap_err();
        assert!(
            refused.kind() == ErrorKind::TargetNotEmpty && refused.to_string().contains(&full),
            "{refused}"
        );
        let refused = manager.restore(&backup, &server.url(&empty), renamed(&absent)).await.unwrap_err();
        assert!(refused.kind() == ErrorKind::NotFound && refused.to_string().contains(&absent), "{refused}");
        let mut replacing = renamed(&absent);
        replacing.drop_existing = true;
        let refused = manager.restore(&backup, &server.url(&empty), replacing).await.unwrap_err();
        assert!(refused.kind() == ErrorKind::NotFound, "{refused}");
        assert_eq!(server.databases(&absent), [""; 0]);
        // What others connect to in order to make databases is nobody's target by mistake.
        let mut replacing = renamed("template1");
        replacing.drop_existing = true;
        let refused = manager.restore(&backup, &server.url(&empty), replacing).await.unwrap_err();
        assert!(refused.to_string().contains("template"), "{refused}");
        assert_eq!(state(&server, &full), held);
        assert_eq!(state(&server, &source), before);
        manager.restore(&backup, &server.url(&full), renamed(&empty)).await.unwrap();
        assert_eq!(state(&server, &full), held);
        assert_eq!(server.dump(&empty), server.dump(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_rows_that_are_there_already_are_refused_and_stay() {
    for server in server::servers() {
        let source = sample(&server);
        let (manager, backup) = backed_up(&server, &source).await;
        let target = server.create();
        server.psql(
            &target,
            "CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders VALUES (2, 'precious'); CREATE TABLE notes (x int)",
        );
        let before = state(&server, &target);
        let only = |table: &str, content: Content| {
            let mut options = RestoreOptions::default();
            options.tables = vec![table.parse().unwrap()];
            options.content = content;
            options
        };
        // A view in the place of a table is in the way too; rows of other keys would come beside those that are there.
        for (table, content, named) in [
            ("orders", Content::All, "table public.orders"),
            ("orders", Content::SchemaOnly, "table public.orders"),
            ("notes", Content::All, "table public.notes"),
            ("orders", Content::DataOnly, "public.orders of the target has rows"),
        ] {
            let refused =
                manager.restore(&backup, &server.url(&target), only(table, content)).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::TargetNotEmpty, "{table}: {refused}");
            assert!(refused.to_string().contains(named), "{table}: {refused}");
            assert_eq!(state(&server, &target), before, "{table} {content:?}");
        }
        // What is not in the way comes beside it, and what it needs that is there is kept.
        server.psql(&target, "INSERT INTO orders VALUES (1, 'kept')");
        manager.restore(&backup, &server.url(&target), only("items", Content::All)).await.unwrap();
        assert_eq!(
            server.ask(&target, "SELECT id FROM items; SELECT note FROM orders WHERE id = 1"),
            "1\nkept\n"
        );
        server.psql(&target, "DELETE FROM items; DELETE FROM orders");
        manager.restore(&backup, &server.url(&target), only("orders", Content::DataOnly)).await.unwrap();
        assert_eq!(server.ask(&target, "SELECT note FROM orders"), "backed up\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_are_written_over_only_where_that_is_asked_for_and_then_wholly() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "SELECT lo_from_bytea(71, 'new'); SELECT lo_create(72); SELECT lo_from_bytea(73, 'more')",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let rows = |drop_existing: bool| {
            let mut options = RestoreOptions::default();
            (options.content, options.drop_existing) = (Content::DataOnly, drop_existing);
            options
        };
        let target = server.create();
        let there = "SELECT lo_from_bytea(71, 'old, and longer than what comes'); SELECT lo_from_bytea(72, 'old'); SELECT lo_from_bytea(74, 'other');
                     COMMENT ON LARGE OBJECT 71 IS 'stays'; GRANT SELECT ON LARGE OBJECT 71 TO PUBLIC";
        server.psql(&target, there);
        let before = state(&server, &target);
        let refused = manager.restore(&backup, &server.url(&target), rows(false)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TargetNotEmpty, "{refused}");
        assert!(refused.to_string().contains("large object 71 "), "{refused}");
        assert_eq!(state(&server, &target), before);
        manager.restore(&backup, &server.url(&target), rows(true)).await.unwrap();
        let held = "SELECT oid, convert_from(lo_get(oid), 'UTF8'), obj_description(oid, 'pg_largeobject'), lomacl IS NULL FROM pg_largeobject_metadata ORDER BY 1";
        assert_eq!(server.ask(&target, held), "71|new|stays|f\n72|||t\n73|more||t\n74|other||t\n");
        // Empty ones are not in the way.
        let target = server.create();
        let mut options = RestoreOptions::default();
        options.content = Content::SchemaOnly;
        manager.restore(&backup, &server.url(&target), options).await.unwrap();
        manager.restore(&backup, &server.url(&target), rows(false)).await.unwrap();
        assert_eq!(server.dump(&target), server.dump(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_somebody_holds_on_to_is_refused_and_stays_as_it_is() {
    for server in server::servers() {
        let (manager, backup) = backed_up(&server, &sample(&server)).await;
        for drop_existing in [false, true] {
            let target = server.create();
            let holds = [
                (
                    format!("SELECT pg_create_logical_replication_slot('{target}_slot', 'pgoutput')"),
                    format!("SELECT pg_drop_replication_slot('{target}_slot')"),
                    format!("replication slot {target}_slot"),
                ),
                (
                    format!("BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'of {target}'"),
                    format!("ROLLBACK PREPARED 'of {target}'"),
                    format!("prepared transaction of {target}"),
                ),
            ];
            let mut options = RestoreOptions::default();
            options.drop_existing = drop_existing;
            for (hold, let_go, told) in holds {
                server.psql(&target, &hold);
                let before = state(&server, &target);
                let refused = manager.restore(&backup, &server.url(&target), options.clone()).await;
                let after = state(&server, &target);
                server.psql(&target, &let_go);
                let error = refused.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
                assert!(error.to_string().contains(&told), "{error} does not say {told}");
                assert_eq!(after, before);
            }
            manager.restore(&backup, &server.url(&target), options).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_that_the_server_lacks_are_listed_before_anything_is_touched() {
    for server in server::servers() {
        let source = sample(&server);
        // As of a server that has another.
        server.psql(
            &source,
            "CREATE EXTENSION hstore; UPDATE pg_extension SET extname = 'lb_absent' WHERE extname = 'hstore'",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let target = server.create();
        server.psql(&target, "CREATE TABLE precious (x int)");
        let before = state(&server, &target);
        let mut options = RestoreOptions::default();
        options.drop_existing = true;
        let error = manager.restore(&backup, &server.url(&target), options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains("lacks the extensions lb_absent"), "{error}");
        assert_eq!(error.advice(), Some("install the extensions' packages on the server"));
        assert_eq!(state(&server, &target), before);
    }
}
