//! Names, comments and settings that a database of another encoding gave to what all databases share.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupOptions, BackupRef, Ctx, ErrorKind, Format, Registry, RestoreOptions,
};
use backup_testkit::told::Told;

mod private;
mod server;

use private::Private;
use server::Server;

/// A role, a database and a tablespace with names in LATIN1, and what is said in LATIN1 of others.
const IN_LATIN1: &str = "
SELECT format('CREATE DATABASE %I', 'd' || chr(233)) \\gexec
SET allow_in_place_tablespaces = on;
DO $$ DECLARE odd text := chr(246); BEGIN
  EXECUTE format('CREATE ROLE %I', 'r' || odd);
  EXECUTE format('GRANT %I TO plain; GRANT other TO %1$I', 'r' || odd);
  EXECUTE format('ALTER ROLE %I IN DATABASE shop SET work_mem = 777', 'r' || odd);
  EXECUTE format('GRANT SET ON PARAMETER work_mem TO %I', 'r' || odd);
  EXECUTE format('ALTER ROLE plain SET \"my.own\" = %L', odd);
  EXECUTE format('ALTER DATABASE shop SET \"my.own\" = %L', odd);
  EXECUTE format('COMMENT ON ROLE plain IS %L', odd);
  EXECUTE format('COMMENT ON DATABASE shop IS %L', odd);
END $$;
SELECT format('CREATE TABLESPACE %I LOCATION ''''', 's' || chr(246)) \\gexec";

#[tokio::test(flavor = "multi_thread")]
async fn names_in_another_encoding_than_utf_8_are_in_nobodys_way_who_does_not_need_them() {
    for bin in Private::programs() {
        let private = Private::start(&bin, "host all all 127.0.0.1/32 trust", "", &[]);
        let server = Server::new(&format!("postgres://owner@127.0.0.1:{}/postgres", private.port));
        server.psql(
            "postgres",
            "CREATE ROLE plain; CREATE ROLE other; CREATE DATABASE western TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'",
        );
        for (round, encoding) in ["UTF8", "SQL_ASCII"].into_iter().enumerate() {
            server.psql("postgres", &format!("CREATE DATABASE shop TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"));
            server.psql(
                "shop",
                "CREATE TABLE t (a text); INSERT INTO t VALUES ('x'); ALTER TABLE t OWNER TO plain",
            );
            if round == 0 {
                server.psql("western", IN_LATIN1);
            } else {
                server.psql("western", "ALTER DATABASE shop SET work_mem = 888; DO $$ BEGIN EXECUTE format('ALTER ROLE %I IN DATABASE shop SET work_mem = 777', 'r' || chr(246)); END $$");
            }
            let told = Arc::new(Told::default());
            let mut config = BackupConfig::default();
            (config.format, config.jobs) = (Format::Binary, 2);
            let manager = BackupManager::new(config)
                .with_registry(Registry::new().with(&backup_postgres::ENGINE))
                .with_storage(Arc::new(MemoryStorage::new()))
                .with_context(Ctx::new().with_progress(told.clone()));
            let source = server.url("shop");
            let databases = manager.probe(&source).await.unwrap().databases;
            assert_eq!(databases, ["postgres", "shop", "western"]);
            manager.backup(&source).await.unwrap();
            let warnings = told.warnings();
            assert!(told.has("the setting work_mem of role r\\xf6 is left out"), "{encoding}: {warnings:?}");
            if round == 0 {
                assert!(told.has("the comment of the database is left out"), "{warnings:?}");
                assert!(told.has("a setting of the database is left out"), "{warnings:?}");
            }
            let report = manager.verify_restore(&BackupRef::Latest, &source).await.unwrap();
            assert_eq!((report.equal, report.different.len()), (1, 0));
            let mut options = BackupOptions::default();
            options.globals = true;
            manager.backup_with(&source, options).await.unwrap();
            let warnings = told.warnings();
            for left_out in [
                "role r\\xf6 is left out",
                "a setting of role plain is left out",
                "the comment of role plain is left out",
                "a privilege on parameter work_mem is left out",
                "a tablespace is left out",
            ] {
                assert!(told.has(left_out), "{left_out}: {warnings:?}");
            }
            for globals in [false, true] {
                let mut options = RestoreOptions::default();
                (options.create_database, options.globals) = (true, globals);
                options.target_database = Some("copy".to_owned());
                manager.restore(&BackupRef::Latest, &source, options).await.unwrap();
                assert_eq!(server.ask("copy", "TABLE t"), "x\n");
                server.psql("postgres", "DROP DATABASE copy");
            }
            // What belongs to such a role cannot be given to it, and is not given to anybody else.
            server.psql("shop", &format!("CREATE ROLE owner{round}; ALTER TABLE t OWNER TO owner{round}"));
            server.psql("western", &format!("DO $$ BEGIN EXECUTE format('ALTER ROLE owner{round} RENAME TO %I', '{round}' || chr(228)); END $$"));
            let refused = manager.backup(&source).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
            assert!(refused.to_string().contains(&format!("role {round}\\xe4")), "{refused}");
            server.psql("postgres", "DROP DATABASE shop");
        }
    }
}
