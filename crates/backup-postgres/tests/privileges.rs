//! Privileges that objects to come will have, and those that extensions' objects have had from the beginning.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, BackupRef, Format, Registry, RestoreOptions};

mod server;
mod wicked;

use server::Server;

fn manager(format: Format) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (format, 2);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
}

/// A copy, by way of this format.
async fn copy(server: &Server, source: &str, format: Format) -> String {
    let manager = manager(format);
    manager.backup(&server.url(source)).await.unwrap();
    let copy = server.create();
    manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
    copy
}

/// Global ones take away what objects begin with, of others and of the owner itself, down to nothing; those of a schema only add.
const DEFAULTS: &str = "
CREATE SCHEMA s; CREATE SCHEMA \"Odd, s\"; GRANT USAGE, CREATE ON SCHEMA s TO lb_owner;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON ROUTINES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO lb_reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE ALL ON SEQUENCES FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO PUBLIC;
ALTER DEFAULT PRIVILEGES REVOKE CREATE ON SCHEMAS FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner REVOKE DELETE, TRUNCATE ON TABLES FROM lb_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner GRANT SELECT ON TABLES TO lb_owner WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner GRANT ALL ON TABLES TO lb_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner REVOKE ALL ON FUNCTIONS FROM PUBLIC, lb_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner REVOKE ALL ON TYPES FROM lb_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner GRANT ALL ON SCHEMAS TO lb_reader, \"lb WRITER\" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE \"lb WRITER\" REVOKE ALL ON TABLES FROM \"lb WRITER\";
ALTER DEFAULT PRIVILEGES FOR ROLE \"lb WRITER\" GRANT ALL ON SEQUENCES TO lb_reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE \"lb WRITER\" REVOKE GRANT OPTION FOR USAGE ON SEQUENCES FROM lb_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE \"lb WRITER\" REVOKE ALL ON SCHEMAS FROM \"lb WRITER\";
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner, \"lb WRITER\" IN SCHEMA s, \"Odd, s\" GRANT INSERT, UPDATE ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner IN SCHEMA s GRANT DELETE ON TABLES TO lb_reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner IN SCHEMA s GRANT SELECT ON TABLES TO lb_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner IN SCHEMA s GRANT EXECUTE ON ROUTINES TO lb_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner IN SCHEMA \"Odd, s\" GRANT USAGE ON TYPES TO \"lb WRITER\" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO lb_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE UPDATE ON SEQUENCES FROM lb_reader;
CREATE TABLE before (a serial); CREATE FUNCTION s.before() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE \"Odd, s\".before AS ENUM ();
SET ROLE lb_owner; CREATE TABLE s.of_owner (a serial);
";

const DEFAULTS_SINCE_18: &str = "
ALTER DEFAULT PRIVILEGES REVOKE ALL ON LARGE OBJECTS FROM CURRENT_USER;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner GRANT SELECT, UPDATE ON LARGE OBJECTS TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner GRANT SELECT ON LARGE OBJECTS TO lb_reader WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE lb_owner REVOKE MAINTAIN ON TABLES FROM lb_owner;
ALTER DEFAULT PRIVILEGES FOR ROLE \"lb WRITER\" IN SCHEMA s GRANT MAINTAIN ON TABLES TO lb_reader WITH GRANT OPTION;
SELECT lo_create(17);
";

#[tokio::test(flavor = "multi_thread")]
async fn default_privileges_of_every_form_come_back_and_what_is_restored_does_not_get_them() {
    for server in server::servers() {
        wicked::roles(&server);
        let source = server.create();
        server.psql(&source, DEFAULTS);
        if server.major() >= 18 {
            server.psql(&source, DEFAULTS_SINCE_18);
        }
        let all = "SELECT defaclrole::regrole::text, defaclnamespace::regnamespace::text, defaclobjtype,
                          ARRAY(SELECT i FROM unnest(defaclacl) AS i ORDER BY i::text) FROM pg_default_acl ORDER BY 1, 2, 3";
        let expected = server.ask(&source, all);
        assert!(expected.lines().count() >= 18, "{expected}");
        // The owner may be left with nothing.
        let nothing = if server.major() >= 18 { 4 } else { 3 };
        assert_eq!(expected.lines().filter(|line| line.ends_with("|{}")).count(), nothing, "{expected}");
        for format in [Format::Binary, Format::Sql] {
            let copy = copy(&server, &source, format).await;
            assert_eq!(server.ask(&copy, all), expected);
            assert_eq!(server.dump(&copy), server.dump(&source), "{format:?} on {}", server.major());
        }
    }
}

/// Extensions whose scripts grant and revoke, and what somebody has changed afterwards.
const EXTENSIONS: [(&str, &str); 7] = [
    ("plpgsql", "REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC; GRANT USAGE ON LANGUAGE plpgsql TO lb_reader WITH GRANT OPTION"),
    (
        "pg_stat_statements",
        "REVOKE SELECT ON s.pg_stat_statements FROM PUBLIC; GRANT SELECT (query, calls) ON s.pg_stat_statements TO lb_reader;
         GRANT EXECUTE ON FUNCTION s.pg_stat_statements_reset TO lb_reader WITH GRANT OPTION; REVOKE SELECT ON s.pg_stat_statements_info FROM CURRENT_USER",
    ),
    (
        "pgstattuple",
        "REVOKE EXECUTE ON FUNCTION s.pgstattuple(text) FROM pg_stat_scan_tables; GRANT EXECUTE ON FUNCTION s.pgstattuple(text) TO PUBLIC",
    ),
    (
        "dblink",
        "GRANT EXECUTE ON FUNCTION s.dblink_connect_u(text) TO lb_reader; REVOKE ALL ON FUNCTION s.dblink_connect(text) FROM PUBLIC;
         GRANT USAGE ON FOREIGN DATA WRAPPER dblink_fdw TO lb_reader; REVOKE USAGE ON TYPE s.dblink_pkey_results FROM PUBLIC",
    ),
    ("pg_buffercache", "GRANT SELECT ON s.pg_buffercache TO lb_reader; REVOKE SELECT ON s.pg_buffercache FROM pg_monitor"),
    ("hstore", "REVOKE USAGE ON TYPE s.hstore FROM PUBLIC; REVOKE ALL ON FUNCTION s.akeys(s.hstore) FROM PUBLIC, CURRENT_USER"),
    ("pg_visibility", ""),
];

#[tokio::test(flavor = "multi_thread")]
async fn privileges_that_an_extension_has_granted_are_its_own_and_changes_of_them_come_back() {
    for server in server::servers() {
        wicked::roles(&server);
        let there = |name: &str| {
            let sql = format!("SELECT count(*) FROM pg_available_extensions WHERE name = '{name}'");
            server.ask("postgres", &sql).trim() == "1"
        };
        let source = server.create();
        server.psql(&source, "CREATE SCHEMA s");
        let available: Vec<_> = EXTENSIONS.iter().filter(|(name, _)| there(name)).collect();
        for (name, _) in available.iter().filter(|(name, _)| *name != "plpgsql") {
            server.psql(&source, &format!("CREATE EXTENSION {name} WITH SCHEMA s"));
        }
        let manager = manager(Format::Binary);
        let changed = async || {
            let backup = manager.backup(&server.url(&source)).await.unwrap();
            let parts = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().parts;
            parts.iter().filter(|record| record.part.object.kind == "privileges").count()
        };
        assert_eq!(changed().await, 0, "the extensions' own were taken for somebody's");
        for (_, changes) in &available {
            server.psql(&source, changes);
        }
        assert!(changed().await > 0);
        for format in [Format::Binary, Format::Sql] {
            let copy = copy(&server, &source, format).await;
            assert_eq!(server.schema(&copy), server.schema(&source), "{format:?} on {}", server.major());
            // What they began with is what it was, so that the next backup knows the changes.
            let began = "SELECT pg_describe_object(classoid, objoid, objsubid), privtype, ARRAY(SELECT i FROM unnest(initprivs) AS i ORDER BY i::text)
                         FROM pg_init_privs WHERE privtype = 'e' ORDER BY 1";
            assert_eq!(server.ask(&copy, began), server.ask(&source, began));
        }
    }
}

/// What is made in a database that stays is as the backup has it, whatever else would be granted there to what is made.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_beside_others_does_not_get_the_targets_default_privileges() {
    for server in server::servers() {
        wicked::roles(&server);
        let source = server.create();
        server.psql(
            &source,
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO lb_reader; ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO PUBLIC;
             ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC; ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO lb_reader WITH GRANT OPTION;
             CREATE FUNCTION checks(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 > 0'; GRANT EXECUTE ON FUNCTION checks TO PUBLIC; REVOKE ALL ON FUNCTION checks FROM lb_reader;
             CREATE TABLE secret (id serial PRIMARY KEY, a int CHECK (checks(a))); REVOKE ALL ON secret FROM lb_reader; REVOKE ALL ON secret_id_seq FROM PUBLIC; INSERT INTO secret (a) VALUES (1)",
        );
        let manager = manager(Format::Binary);
        manager.backup(&server.url(&source)).await.unwrap();
        let before = server.dump(&source);
        let mut options = RestoreOptions::default();
        options.tables = vec!["public.secret".parse().unwrap()];
        options.drop_existing = true;
        manager.restore(&BackupRef::Latest, &server.url(&source), options.clone()).await.unwrap();
        assert_eq!(server.dump(&source), before);
        server.psql(&source, "DROP TABLE secret; DROP FUNCTION checks");
        manager.restore(&BackupRef::Latest, &server.url(&source), options).await.unwrap();
        assert_eq!(server.dump(&source), before);
    }
}
