//! The database itself: whose it is, and what is said of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::{Ctx, ErrorKind, RestoreOptions};
use backup_testkit::told::Told;

mod backups;
mod server;
mod wicked;

use backups::backed_up;
use server::Server;

/// Whose it is, who may do what there, and where it lies.
fn place(server: &Server, database: &str) -> String {
    let sql = format!(
        "SELECT pg_get_userbyid(datdba), ARRAY(SELECT a::text FROM unnest(datacl) a ORDER BY 1), datconnlimit, spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = dattablespace WHERE datname = '{database}'"
    );
    server.ask("postgres", &sql)
}

/// What sessions with it begin with, and its comment.
fn said(server: &Server, database: &str) -> String {
    let sql = "SELECT coalesce(r.rolname, ''), s FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase AND datname = current_database()
               LEFT JOIN pg_roles r ON r.oid = setrole, unnest(setconfig) s
               UNION ALL SELECT 'comment', shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database() ORDER BY 1, 2";
    server.ask(database, sql)
}

fn anew() -> RestoreOptions {
    let mut options = RestoreOptions::default();
    options.create_database = true;
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_made_anew_belongs_to_whom_it_belonged() {
    for server in server::servers() {
        wicked::roles(&server);
        server.psql(
            "postgres",
            "SET allow_in_place_tablespaces = on; SET client_min_messages = error;
             SELECT 'CREATE TABLESPACE lb_space LOCATION ''''' WHERE NOT EXISTS (SELECT FROM pg_tablespace WHERE spcname = 'lb_space') \\gexec",
        );
        let source = server.create();
        server.psql(&source, "CREATE TABLE t (a int)");
        for statement in [
            "ALTER DATABASE # OWNER TO lb_owner",
            "REVOKE CONNECT, TEMPORARY ON DATABASE # FROM PUBLIC",
            "GRANT CONNECT ON DATABASE # TO lb_reader WITH GRANT OPTION",
            "SET SESSION AUTHORIZATION lb_reader; GRANT CONNECT ON DATABASE # TO \"lb WRITER\"",
            "ALTER DATABASE # CONNECTION LIMIT 17",
            "ALTER DATABASE # SET TABLESPACE lb_space",
        ] {
            server.psql("postgres", &statement.replace('#', &source));
        }
        let (manager, backup) = backed_up(&server, &source).await;
        let (copy, other) = (format!("{source}_anew"), format!("{source}_other"));
        server.expect(&copy);
        server.expect(&other);
        manager.restore(&backup, &server.url(&copy), anew()).await.unwrap();
        let expected = place(&server, &source);
        assert_eq!(
            expected,
            "lb_owner|{\"\\\"lb WRITER\\\"=c/lb_reader\",lb_owner=CTc/lb_owner,lb_reader=c*/lb_owner}|17|lb_space\n"
        );
        assert_eq!(place(&server, &copy), expected);
        assert_eq!(server.dump(&copy), server.dump(&source));
        let mut options = anew();
        options.no_owner = true;
        manager.restore(&backup, &server.url(&other), options).await.unwrap();
        assert_eq!(place(&server, &other), "lifeboat|{}|17|lb_space\n");
        // One that was there keeps what it has.
        let there = server.create();
        server.psql("postgres", &format!("REVOKE TEMPORARY ON DATABASE {there} FROM PUBLIC"));
        let before = place(&server, &there);
        manager.restore(&backup, &server.url(&there), anew()).await.unwrap();
        assert_eq!(place(&server, &there), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_that_a_database_belongs_to_are_missed_before_it_is_made() {
    for server in server::servers() {
        let (owner, reader) = (format!("lb_gone_{}", server.major()), format!("lb_away_{}", server.major()));
        let source = server.create();
        server.psql(
            "postgres",
            &format!(
                "CREATE ROLE {owner}; CREATE ROLE {reader}; ALTER DATABASE {source} OWNER TO {owner}; GRANT CREATE ON DATABASE {source} TO {reader}"
            ),
        );
        let backed_up = backed_up(&server, &source).await;
        server.psql(
            "postgres",
            &format!("REVOKE ALL ON DATABASE {source} FROM {reader}; ALTER DATABASE {source} OWNER TO CURRENT_USER; DROP ROLE {owner}, {reader}"),
        );
        let (manager, backup) = backed_up;
        let copy = format!("{source}_anew");
        server.expect(&copy);
        let refused = manager.restore(&backup, &server.url(&copy), anew()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::NotFound, "{refused}");
        let told = refused.to_string();
        assert!(told.contains(&owner) && told.contains(&reader), "{told}");
        assert_eq!(server.databases(&copy), [""; 0]);
        // Into one that is there, or for nobody, they are not needed.
        let there = server.create();
        manager.restore(&backup, &server.url(&there), RestoreOptions::default()).await.unwrap();
        let mut options = anew();
        options.no_owner = true;
        manager.restore(&backup, &server.url(&copy), options).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_target_stays_and_what_only_the_backup_says_comes_with_it() {
    for server in server::servers() {
        wicked::roles(&server);
        let source = server.create();
        let say = |database: &str, statements: &[&str]| {
            for statement in statements {
                server.psql("postgres", &statement.replace('#', database));
            }
        };
        server.psql(&source, "CREATE TABLE t (a int)");
        say(
            &source,
            &[
                "ALTER DATABASE # SET timezone = 'Europe/Berlin'",
                "ALTER DATABASE # SET work_mem = '7MB'",
                "ALTER ROLE lb_reader IN DATABASE # SET search_path = a, b",
                "COMMENT ON DATABASE # IS 'source'",
            ],
        );
        let (manager, backup) = backed_up(&server, &source).await;
        for full in ["", "CREATE TABLE old (a int)"] {
            let target = server.create();
            server.psql(&target, full);
            say(
                &target,
                &[
                    "ALTER DATABASE # SET timezone = 'UTC'",
                    "ALTER DATABASE # SET \"odd.name\" = '100%s'",
                    "ALTER ROLE lb_reader IN DATABASE # SET statement_timeout = 5000",
                    "ALTER ROLE lb_owner IN DATABASE # SET search_path = \"a b\", public",
                    "COMMENT ON DATABASE # IS 'target'",
                ],
            );
            let told = Arc::new(Told::default());
            let manager = manager.clone().with_context(Ctx::new().with_progress(told.clone()));
            let mut options = RestoreOptions::default();
            options.drop_existing = !full.is_empty();
            manager.restore(&backup, &server.url(&target), options).await.unwrap();
            assert_eq!(
                said(&server, &target),
                "|TimeZone=UTC\n|odd.name=100%s\n|work_mem=7MB\ncomment|target\nlb_owner|search_path=\"a b\", public\nlb_reader|search_path=a, b\nlb_reader|statement_timeout=5000\n"
            );
            let warnings = told.warnings();
            assert!(
                warnings.len() == 2
                    && told.has("the setting TimeZone of database")
                    && told.has("the comment of database"),
                "{warnings:?}"
            );
        }
    }
}
