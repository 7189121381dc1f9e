//! What was taken out of an extension, which makes it on the target too.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, BackupRef, Ctx, Format, Registry, RestoreOptions};
use backup_testkit::told::Told;

mod backups;
mod server;

use backups::backed_up;
use server::Server;

/// An extension, what was done with it, and what a copy must answer as the source does.
const TAKEN_OUT: [(&str, &str, &str); 5] = [
    (
        "hstore",
        "ALTER EXTENSION hstore DROP FUNCTION akeys(hstore); CREATE OR REPLACE FUNCTION akeys(hstore) RETURNS text[] LANGUAGE sql AS $$ SELECT ARRAY['mine'] $$",
        "SELECT akeys('a=>1')",
    ),
    // The extension's operators need this one.
    (
        "hstore",
        "ALTER EXTENSION hstore DROP FUNCTION exist(hstore, text); CREATE OR REPLACE FUNCTION exist(hstore, text) RETURNS bool LANGUAGE sql AS 'SELECT true'; GRANT EXECUTE ON FUNCTION exist TO lb_reader",
        "SELECT ''::hstore ? 'a'",
    ),
    (
        "pg_buffercache",
        "ALTER EXTENSION pg_buffercache DROP VIEW pg_buffercache; COMMENT ON VIEW pg_buffercache IS 'own'",
        "SELECT count(*) > 0 FROM pg_buffercache",
    ),
    (
        "citext",
        "ALTER EXTENSION citext DROP CAST (citext AS text); ALTER EXTENSION citext DROP AGGREGATE min(citext); ALTER EXTENSION citext DROP OPERATOR !~ (citext, citext)",
        "SELECT min('a'::citext)",
    ),
    // This one uses nothing of the extension's.
    (
        "fuzzystrmatch",
        "ALTER EXTENSION fuzzystrmatch DROP FUNCTION soundex(text); DROP FUNCTION soundex; CREATE FUNCTION soundex(t text) RETURNS int LANGUAGE sql AS 'SELECT 7';
         ALTER EXTENSION fuzzystrmatch DROP FUNCTION difference(text, text)",
        "SELECT soundex('a'), difference('a', 'b'), (SELECT count(*) FROM pg_proc WHERE proname = 'soundex')",
    ),
];

async fn restored(server: &Server, source: &str) -> String {
    let (manager, backup) = backed_up(server, source).await;
    let told = Arc::new(Told::default());
    let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
    let copy = server.create();
    manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
    assert_eq!(told.warnings(), [""; 0]);
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_out_of_an_extension_is_out_of_it_in_a_copy_and_in_that_ones_copy() {
    for server in server::servers() {
        server.psql("postgres", "DO $$ BEGIN CREATE ROLE lb_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$");
        for (extension, done, asked) in TAKEN_OUT {
            let source = server.create();
            server.psql(&source, &format!("CREATE EXTENSION {extension}; {done}"));
            let copy = restored(&server, &source).await;
            assert_eq!(server.dump(&copy), server.dump(&source), "{done}");
            assert_eq!(server.ask(&copy, asked), server.ask(&source, asked));
            let second = restored(&server, &copy).await;
            assert_eq!(server.dump(&second), server.dump(&source), "{done}");
            assert_eq!(server.ask(&second, asked), server.ask(&source, asked));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_extension_adds_to_a_family_that_was_taken_out_of_it_is_told_and_keeps_nothing_back() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE EXTENSION hstore; ALTER EXTENSION hstore DROP OPERATOR FAMILY gin_hstore_ops USING gin; CREATE TABLE t (a hstore); CREATE INDEX i ON t USING gin (a)",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let told = Arc::new(Told::default());
        let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
        let copy = server.create();
        manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        let warnings = told.warnings();
        assert!(warnings.len() == 1 && told.has("are as an extension makes them"), "{warnings:?}");
        assert!(server.schema(&copy).contains("USING gin (a)"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_never_makes_a_function_of_ones_own_an_extensions() {
    for server in server::servers() {
        let (_, done, _) = TAKEN_OUT[0];
        let source = server.create();
        server.psql(&source, &format!("CREATE EXTENSION hstore; {done}"));
        let mut config = BackupConfig::default();
        "none".clone_into(&mut config.codec);
        let manager = BackupManager::new(config)
            .with_registry(Registry::new().with(&backup_postgres::ENGINE))
            .with_storage(Arc::new(MemoryStorage::new()));
        manager.backup(&server.url(&source)).await.unwrap();
        let backup = BackupRef::Latest;
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script.sql");
        manager.export(&backup, &script, Format::Sql).await.unwrap();
        // To psql it is an error that the extension has made one, and who reads the script ourselves takes that out.
        let text = std::fs::read_to_string(&script).unwrap();
        assert!(text.contains("\nCREATE FUNCTION public.akeys(") && !text.contains("OR REPLACE"), "{text}");
        let copy = server.create();
        manager
            .restore(&BackupRef::File(script), &server.url(&copy), RestoreOptions::default())
            .await
            .unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source));
    }
}
