//! What the server says itself and does not read again.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::{BackupConfig, BackupManager, BackupRef, ErrorKind, Registry, RestoreOptions};

mod backups;
mod server;

use backups::backed_up;

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_foreign_tables_are_compressed_as_their_definitions_say() {
    const HELD: &str =
        "SELECT attrelid::regclass::text, attname, attcompression FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
                        WHERE relkind = 'f' AND attnum > 0 AND attrelid <> 'later'::regclass ORDER BY 1, 2";
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;
             CREATE FOREIGN TABLE own (a text COMPRESSION pglz COLLATE \"C\" NOT NULL, b int) SERVER s;
             CREATE TABLE parted (a text COMPRESSION pglz, b int) PARTITION BY LIST (b);
             CREATE FOREIGN TABLE part PARTITION OF parted FOR VALUES IN (1) SERVER s;
             CREATE TABLE old (a text COMPRESSION pglz); CREATE FOREIGN TABLE child (a text COMPRESSION pglz, c int) INHERITS (old) SERVER s;
             CREATE TABLE parent (a text); CREATE FOREIGN TABLE later () INHERITS (parent) SERVER s; ALTER TABLE parent ALTER a SET COMPRESSION pglz",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = server.create();
        manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(&copy, HELD), server.ask(&source, HELD));
        let said = |line: &&str| !line.contains("later") && !line.contains("SET COMPRESSION");
        let (found, expected) = (server.schema(&copy), server.schema(&source));
        assert_eq!(
            found.lines().filter(said).collect::<Vec<_>>(),
            expected.lines().filter(said).collect::<Vec<_>>()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_without_names_in_bodies_of_sql_are_said_by_their_numbers_or_refused() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE t (a int);
             CREATE FUNCTION one(int, OUT x int) LANGUAGE sql BEGIN ATOMIC SELECT $1; END;
             CREATE FUNCTION second(a int, int, OUT x text) LANGUAGE sql BEGIN ATOMIC SELECT $2 * a || '\"\"' || $2 AS \"a\"\"b\"; END;
             CREATE FUNCTION unused(int, int, int) RETURNS TABLE (x int) LANGUAGE sql BEGIN ATOMIC SELECT $2; END;
             CREATE FUNCTION nameless(int, int) RETURNS int LANGUAGE sql RETURN $1 - $2;
             CREATE PROCEDURE put(int, INOUT y int) LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES ($1); SELECT $1 + y; END",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = server.create();
        manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        for database in [&source, &copy] {
            let answers =
                "SELECT one(7), second(2, 5), unused(1, 2, 3), nameless(1, 2); CALL put(4, 5); TABLE t";
            assert_eq!(server.ask(database, answers), "7|10\"\"5|2|-1\n9\n4\n");
        }
        server.psql(
            &source,
            "CREATE FUNCTION two(int, int, OUT x int) LANGUAGE sql BEGIN ATOMIC SELECT $1 - $2; END",
        );
        let manager = BackupManager::new(BackupConfig::default())
            .with_registry(Registry::new().with(&backup_postgres::ENGINE))
            .with_storage(std::sync::Arc::new(backup_core::storage::MemoryStorage::new()));
        let refused = manager.backup(&server.url(&source)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        assert!(refused.to_string().contains("public.two"), "{refused}");
        // As it says, this helps.
        server.psql(&source, "CREATE OR REPLACE FUNCTION two(a int, b int, OUT x int) LANGUAGE sql BEGIN ATOMIC SELECT $1 - $2; END");
        manager.backup(&server.url(&source)).await.unwrap();
    }
}

/// Somebody has kept what a catalog said.
#[tokio::test(flavor = "multi_thread")]
async fn values_that_no_server_takes_back_keep_nothing_else_from_coming_back() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE parted (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parted FOR VALUES IN (1); INSERT INTO parted VALUES (1);
             CREATE TABLE kept AS SELECT relname, relpartbound FROM pg_class WHERE relname = 'part';
             CREATE TABLE kept_nothing AS SELECT relname, relpartbound FROM pg_class WHERE relname = 'parted'",
        );
        let (manager, _) = backed_up(&server, &source).await;
        let made = manager.backup(&server.url(&source)).await.unwrap();
        assert_eq!(made.left_out, ["table public.kept"]);
        let backup = BackupRef::from(&made.id);
        let info = manager.get_backup(&backup).await.unwrap();
        assert!(info.warnings.iter().any(|told| told.contains("a copy of a catalog")), "{:?}", info.warnings);
        let copy = server.create();
        manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.schema(&copy), server.schema(&source));
        let counts = "SELECT (SELECT count(*) FROM parted), (SELECT count(*) FROM kept), (SELECT count(*) FROM kept_nothing)";
        assert_eq!(server.ask(&copy, counts), "1|0|1\n");
    }
}
