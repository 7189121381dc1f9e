//! Roles and tablespaces, which a backup has and a restore makes only where that was asked for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupOptions, BackupRef, Ctx, Format, Progress, Registry, RestoreOptions,
};
use backup_testkit::told::Told;

mod server;

use server::Server;

/// Roles are all databases', so that these tests would make and drop each other's: one at a time, in whatever process it runs, while this is
/// held.
async fn alone() -> Option<tokio_postgres::Client> {
    let server = server::server()?;
    let (client, connection) =
        tokio_postgres::connect(&server.url_text("postgres"), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("SELECT pg_advisory_lock(4711)").await.unwrap();
    Some(client)
}

fn manager(told: &Arc<Told>, format: Format) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (format, 2);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::clone(told) as Arc<dyn Progress>))
}

fn globals() -> RestoreOptions {
    let mut options = RestoreOptions::default();
    (options.globals, options.create_database) = (true, true);
    options
}

/// What pg_dumpall says of roles that begin like this.
fn roles(server: &Server, prefix: &str) -> String {
    let text = server.dump_roles();
    text.lines().filter(|line| line.contains(prefix)).fold(String::new(), |text, line| text + line + "\n")
}

fn drop_roles(server: &Server, prefix: &str) {
    // What they may do with the server's parameters keeps them from being dropped.
    server.psql(
        "postgres",
        &format!("SELECT format(x, string_agg(quote_ident(rolname), ', ')) FROM pg_roles, unnest(ARRAY['DROP OWNED BY %s', 'DROP ROLE %s']) WITH ORDINALITY AS y (x, n)
                  WHERE starts_with(rolname, '{prefix}') GROUP BY x, n ORDER BY n \\gexec"),
    );
}

/// Roles whose names begin like `prefix`, and a database that needs them. `broken` lets its index be built nowhere else.
fn source(server: &Server, prefix: &str, broken: bool) -> String {
    let source = server.create();
    let newer = if server.major() >= 16 {
        format!(
            "GRANT \"{prefix} b\" TO \"{prefix} c\" WITH INHERIT FALSE, SET FALSE GRANTED BY \"{prefix} a\";"
        )
    } else {
        String::new()
    };
    let parameters = if server.major() >= 15 {
        format!(
            "GRANT SET ON PARAMETER log_min_duration_statement TO \"{prefix} b\", \"{prefix} a\"; GRANT ALTER SYSTEM ON PARAMETER \"odd.One\" TO \"{prefix} a\" WITH GRANT OPTION;"
        )
    } else {
        String::new()
    };
    server.psql(
        &source,
        &format!(
            "CREATE ROLE \"{prefix} a\" LOGIN CREATEDB PASSWORD 'it''s' CONNECTION LIMIT 3 VALID UNTIL '2040-01-01 00:00:00+00';
             CREATE ROLE \"{prefix} b\" NOINHERIT; CREATE ROLE \"{prefix} c\" BYPASSRLS REPLICATION;
             ALTER ROLE \"{prefix} a\" SET search_path = public, \"odd 'path\"; ALTER ROLE \"{prefix} a\" SET work_mem = '3MB';
             COMMENT ON ROLE \"{prefix} b\" IS 'it''s a group';
             GRANT \"{prefix} b\" TO \"{prefix} a\" WITH ADMIN OPTION; GRANT pg_read_all_data TO \"{prefix} c\"; {newer} {parameters}
             CREATE TABLE t (x int); ALTER TABLE t OWNER TO \"{prefix} a\"; GRANT SELECT ON t TO \"{prefix} b\";
             INSERT INTO t VALUES (1); ALTER DATABASE {source} OWNER TO \"{prefix} a\"; GRANT CREATE ON DATABASE {source} TO \"{prefix} b\""
        ),
    );
    if broken {
        server.psql(
            &source,
            &format!("CREATE FUNCTION here(int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS
                      'BEGIN IF current_database() <> ''{source}'' THEN RAISE ''not here''; END IF; RETURN 1; END';
                      CREATE INDEX ON t (here(x))"),
        );
    }
    source
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_come_back_where_that_is_asked_for_and_those_that_are_there_stay() {
    let _alone = alone().await;
    for server in server::servers() {
        for format in [Format::Binary, Format::Sql] {
            let prefix = format!("lb_role_{}", std::process::id());
            let source = source(&server, &prefix, false);
            let (expected, content) = (roles(&server, &prefix), server.dump(&source));
            let told = Arc::new(Told::default());
            let manager = manager(&told, format);
            let mut options = BackupOptions::default();
            options.globals = true;
            manager.backup_with(&server.url(&source), options).await.unwrap();
            server.psql("postgres", &format!("DROP DATABASE {source}"));
            drop_roles(&server, &prefix);
            let target = server.url(&source);
            let mut without = globals();
            without.globals = false;
            let refused = manager.restore(&BackupRef::Latest, &target, without).await.unwrap_err();
            assert!(refused.to_string().contains(&prefix), "{refused}");
            assert_eq!(roles(&server, &prefix), "");
            manager.restore(&BackupRef::Latest, &target, globals()).await.unwrap();
            assert_eq!(roles(&server, &prefix), expected);
            assert_eq!(server.dump(&source), content);
            // The database itself is theirs too.
            let owner = format!(
                "SELECT pg_get_userbyid(datdba), datacl::text ~ '{prefix} b' FROM pg_database WHERE datname = '{source}'"
            );
            assert_eq!(server.ask("postgres", &owner), format!("{prefix} a|t\n"));
            // Once more, where one of them is another meanwhile.
            server.psql(
                "postgres",
                &format!("ALTER ROLE \"{prefix} b\" LOGIN; ALTER ROLE \"{prefix} b\" SET work_mem = '4MB'"),
            );
            let expected = roles(&server, &prefix);
            let copy = server.create();
            manager.restore(&BackupRef::Latest, &server.url(&copy), globals()).await.unwrap();
            assert_eq!(roles(&server, &prefix), expected);
            let said = format!("role {prefix} b is there already");
            assert!(told.has(&said));
            for database in [source, copy] {
                server.psql("postgres", &format!("DROP DATABASE {database}"));
            }
            drop_roles(&server, &prefix);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_not_read_passwords_backs_up_roles_without_them_and_says_so() {
    let _alone = alone().await;
    for server in server::servers() {
        let prefix = format!("lb_unseen_{}", std::process::id());
        let source = source(&server, &prefix, false);
        server.psql(
            &source,
            &format!("CREATE ROLE \"{prefix}_reader\" LOGIN PASSWORD 'only'; GRANT SELECT ON t TO \"{prefix}_reader\""),
        );
        let (_, place) =
            server.url_text(&source).rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let told = Arc::new(Told::default());
        let manager = manager(&told, Format::Binary);
        let mut options = BackupOptions::default();
        options.globals = true;
        let url = format!("postgres://{prefix}_reader:only@{place}").parse().unwrap();
        let backup = manager.backup_with(&url, options).await.unwrap();
        let warnings = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().warnings;
        assert!(warnings.iter().any(|warning| warning.contains("password")), "{warnings:?}");
        server.psql("postgres", &format!("DROP DATABASE {source}"));
        drop_roles(&server, &prefix);
        manager.restore(&BackupRef::Latest, &server.url(&source), globals()).await.unwrap();
        let password =
            format!("SELECT rolcanlogin, rolpassword IS NULL FROM pg_authid WHERE rolname = '{prefix} a'");
        assert_eq!(server.ask("postgres", &password).trim(), "t|t");
        server.psql("postgres", &format!("DROP DATABASE {source}"));
        drop_roles(&server, &prefix);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_fails_takes_its_roles_back() {
    let _alone = alone().await;
    for server in server::servers() {
        let prefix = format!("lb_gone_{}", std::process::id());
        let source = source(&server, &prefix, true);
        let manager = manager(&Arc::default(), Format::Binary);
        let mut options = BackupOptions::default();
        options.globals = true;
        manager.backup_with(&server.url(&source), options).await.unwrap();
        server.psql("postgres", &format!("DROP DATABASE {source}"));
        drop_roles(&server, &prefix);
        let copy = server.create();
        let failed = manager.restore(&BackupRef::Latest, &server.url(&copy), globals()).await.unwrap_err();
        assert!(failed.to_string().contains("not here"), "{failed}");
        assert_eq!(roles(&server, &prefix), "");
        assert_eq!(server.databases(&copy), [copy.as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tablespaces_come_back_with_what_lies_in_them_or_it_comes_into_the_default_one() {
    let _alone = alone().await;
    for server in server::servers() {
        if server.major() < 15 {
            continue;
        }
        let prefix = format!("lb_space_{}", std::process::id());
        let source = server.create();
        // Only who asks for it may have tablespaces within the data directory.
        server.psql(
            "postgres",
            &format!("SET allow_in_place_tablespaces = on; SET client_min_messages = error; CREATE TABLESPACE {prefix} LOCATION '';
                      CREATE ROLE {prefix} SUPERUSER LOGIN PASSWORD 'only'; ALTER ROLE {prefix} SET allow_in_place_tablespaces = on;
                      ALTER TABLESPACE {prefix} SET (random_page_cost = 1.5); COMMENT ON TABLESPACE {prefix} IS 'it''s fast'; GRANT CREATE ON TABLESPACE {prefix} TO {prefix}"),
        );
        server
            .psql(&source, &format!("CREATE TABLE t (x int) TABLESPACE {prefix}; INSERT INTO t VALUES (1)"));
        let looks = format!(
            "SELECT spcoptions, spcacl, shobj_description(oid, 'pg_tablespace') FROM pg_tablespace WHERE spcname = '{prefix}'"
        );
        let (expected, content) = (server.ask("postgres", &looks), server.dump(&source));
        assert!(expected.contains("it's fast") && content.contains(&prefix), "{expected}");
        let told = Arc::new(Told::default());
        let manager = manager(&told, Format::Binary);
        let mut options = BackupOptions::default();
        options.globals = true;
        manager.backup_with(&server.url(&source), options).await.unwrap();
        server.psql("postgres", &format!("DROP DATABASE {source}"));
        server.psql("postgres", &format!("DROP TABLESPACE {prefix}"));
        let url = server.url_text(&source);
        let (_, place) = url.rsplit_once('@').unwrap();
        let url = format!("postgres://{prefix}:only@{place}").parse().unwrap();
        manager.restore(&BackupRef::Latest, &url, globals()).await.unwrap();
        assert_eq!(server.ask("postgres", &looks), expected);
        assert_eq!(server.dump(&source), content);
        server.psql("postgres", &format!("DROP DATABASE {source}"));
        server.psql("postgres", &format!("DROP TABLESPACE {prefix}"));
        // Where it cannot be made, the rows are there all the same.
        manager.restore(&BackupRef::Latest, &server.url(&source), globals()).await.unwrap();
        assert_eq!(server.ask("postgres", &looks), "");
        assert_eq!(server.ask(&source, "SELECT x FROM t").trim(), "1");
        assert!(told.has("could not be made"));
        server.psql("postgres", &format!("DROP DATABASE {source}"));
        server.psql("postgres", &format!("DROP ROLE {prefix}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_without_them_has_none_to_restore() {
    let _alone = alone().await;
    let Some(server) = server::server() else { return };
    let source = server.create();
    let manager = manager(&Arc::default(), Format::Binary);
    let backup = manager.backup(&server.url(&source)).await.unwrap();
    let parts = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().parts;
    assert!(parts.iter().all(|record| record.part.object.kind != "role"));
    let copy = server.create();
    let refused = manager.restore(&BackupRef::Latest, &server.url(&copy), globals()).await.unwrap_err();
    assert_eq!(refused.kind(), backup_core::ErrorKind::Usage);
}
