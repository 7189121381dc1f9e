//! Kinds that need something of the server beyond a database, and what an account may not read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Content, DatabaseUrl, ErrorKind, Format, Registry, RestoreOptions,
};

mod server;

use server::Server;

fn manager() -> BackupManager {
    let mut config = BackupConfig::default();
    config.format = Format::Binary;
    config.jobs = 2;
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
}

/// The source as `role` sees it, who may connect and nothing else.
fn seen_by(server: &Server, source: &str, role: &str) -> DatabaseUrl {
    server.psql(
        "postgres",
        &format!("DO $$ BEGIN CREATE ROLE {role} LOGIN PASSWORD 'only for tests'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"),
    );
    let url = server.url_text(source);
    let (_, place) = url.rsplit_once('@').unwrap();
    format!("postgres://{role}:only%20for%20tests@{place}").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_may_not_be_read_is_named_and_unreadable_options_are_warned_of() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE open (a int); CREATE TABLE closed (a int); INSERT INTO open VALUES (1);
             CREATE FOREIGN DATA WRAPPER w; CREATE SERVER far FOREIGN DATA WRAPPER w;
             CREATE USER MAPPING FOR CURRENT_USER SERVER far OPTIONS (password 'hidden')",
        );
        let url = seen_by(&server, &source, "lb_curious");
        server.psql(&source, "GRANT SELECT ON open TO lb_curious");
        let manager = manager();
        let error = manager.backup(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("closed"), "{error}");
        assert!(manager.list_backups().await.unwrap().is_empty());
        server.psql(&source, "GRANT SELECT ON closed TO lb_curious");
        let backup = manager.backup(&url).await.unwrap();
        let warnings = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.contains("user mapping")), "{warnings:?}");
        server.psql(&source, "DROP OWNED BY lb_curious");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_breaks_the_reading_is_named() {
    let Some(server) = server::server() else { return };
    let source = server.create();
    server.psql(
        &source,
        "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE fine (m mood); CREATE TABLE broken (m mood); INSERT INTO broken VALUES ('b');
         DELETE FROM pg_enum WHERE enumlabel = 'b'",
    );
    let manager = manager();
    let error = manager.backup(&server.url(&source)).await.unwrap_err();
    assert!(error.to_string().contains("broken"), "{error}");
    assert!(manager.list_backups().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn privileges_of_the_system_are_in_a_backup_only_if_they_were_changed() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, "CREATE TABLE t (a int)");
        let manager = manager();
        let granted = async || {
            let backup = manager.backup(&server.url(&source)).await.unwrap();
            let parts = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().parts;
            let named = parts.iter().map(|record| &record.part.object).filter(|of| of.kind == "privileges");
            named.map(|object| object.name.clone()).collect::<Vec<_>>()
        };
        assert!(granted().await.is_empty(), "{:?}", granted().await);
        server.psql(&source, "GRANT SELECT ON pg_catalog.pg_statistic TO PUBLIC");
        assert_eq!(granted().await, ["TABLE \"pg_catalog\".\"pg_statistic\""]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subscriptions_and_tablespaces_come_back() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            "postgres",
            "SET allow_in_place_tablespaces = on; SET client_min_messages = error;
             SELECT 'CREATE TABLESPACE lb_space LOCATION ''''' WHERE NOT EXISTS (SELECT FROM pg_tablespace WHERE spcname = 'lb_space') \\gexec",
        );
        server.psql(
            &source,
            "CREATE TABLE there (a int PRIMARY KEY USING INDEX TABLESPACE lb_space, b int) TABLESPACE lb_space;
             CREATE INDEX ON there (b) TABLESPACE lb_space; CREATE TABLE here (a int);
             CREATE MATERIALIZED VIEW m TABLESPACE lb_space AS SELECT 1 AS x;
             SET client_min_messages = error;
             CREATE SUBSCRIPTION \"odd sub\" CONNECTION 'host=nowhere password=''x y''' PUBLICATION \"p 1\", p2 WITH (connect = false, slot_name = 'other', binary, disable_on_error)",
        );
        let manager = manager();
        manager.backup(&server.url(&source)).await.unwrap();
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        let (expected, found) = (server.dump(&source), server.dump(&copy));
        for database in [&source, &copy] {
            server.psql(
                database,
                "ALTER SUBSCRIPTION \"odd sub\" DISABLE; ALTER SUBSCRIPTION \"odd sub\" SET (slot_name = NONE); DROP SUBSCRIPTION \"odd sub\"",
            );
        }
        assert!(expected.contains("CREATE SUBSCRIPTION") && expected.contains("lb_space"));
        assert_eq!(expected, found);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_fires_while_rows_are_loaded_and_a_view_that_cannot_be_filled_is_left_empty() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2);
             CREATE MATERIALIZED VIEW quotient AS SELECT 1 / a AS q FROM t;
             INSERT INTO t VALUES (0);
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fired'; END $$;
             CREATE FUNCTION refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'fired'; END $$;
             CREATE TRIGGER always BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE t ENABLE ALWAYS TRIGGER always;
             CREATE TRIGGER replica BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE t ENABLE REPLICA TRIGGER replica;
             CREATE RULE nothing AS ON INSERT TO t DO INSTEAD NOTHING;
             CREATE EVENT TRIGGER ddl ON ddl_command_end EXECUTE FUNCTION refuse_ddl()",
        );
        let manager = manager();
        manager.backup(&server.url(&source)).await.unwrap();
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(&copy, "SELECT count(*) FROM t").trim(), "3");
        assert_eq!(
            server.ask(&copy, "SELECT relispopulated FROM pg_class WHERE relname = 'quotient'").trim(),
            "f"
        );
        // Rows alone, into tables that have their triggers already.
        server.psql(&copy, "ALTER EVENT TRIGGER ddl DISABLE; TRUNCATE t");
        let expected = server.schema(&copy);
        let mut options = RestoreOptions::default();
        options.content = Content::DataOnly;
        manager.restore(&BackupRef::Latest, &server.url(&copy), options).await.unwrap();
        assert_eq!(server.ask(&copy, "SELECT count(*) FROM t").trim(), "3");
        assert_eq!(server.schema(&copy), expected);
    }
}
