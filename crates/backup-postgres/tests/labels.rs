//! Security labels, with a provider made here, as far as a server's headers are there, and where nobody has loaded one.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use backup_core::{Ctx, Format, RestoreOptions};
use backup_testkit::told::Told;

mod backups;
mod server;

use backups::backed_up;
use server::Server;

/// It takes every label.
const PROVIDER: &str = "
#include \"postgres.h\"
#include \"fmgr.h\"
#include \"commands/seclabel.h\"
PG_MODULE_MAGIC;
static void take(const ObjectAddress *object, const char *label) { }
void _PG_init(void) { register_label_provider(\"lb\", take); register_label_provider(\"l \\\"b\\\"\", take); }
";

const OBJECTS: &str = r#"
CREATE SCHEMA s; CREATE TABLE s."T" (a int PRIMARY KEY, "b'" text); INSERT INTO s."T" VALUES (1, 'one');
CREATE TABLE parts (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);
CREATE VIEW v AS SELECT * FROM s."T"; CREATE MATERIALIZED VIEW mv AS SELECT 1 AS x;
CREATE FUNCTION f(int, OUT x text) LANGUAGE sql AS 'SELECT 1::text'; CREATE PROCEDURE p(int) LANGUAGE sql AS ''; CREATE AGGREGATE agg(int) (SFUNC = int4pl, STYPE = int);
CREATE TYPE comp AS (a int); CREATE TYPE en AS ENUM ('x'); CREATE DOMAIN dom AS int; CREATE TYPE rng AS RANGE (subtype = float8);
CREATE SEQUENCE sq; CREATE EXTENSION postgres_fdw; CREATE SERVER sv FOREIGN DATA WRAPPER postgres_fdw; CREATE FOREIGN TABLE ft (a int) SERVER sv;
CREATE FUNCTION event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION event();
CREATE PUBLICATION pb FOR TABLE s."T"; SELECT FROM lo_create(4711);
"#;

/// What has a label, as SECURITY LABEL calls it. (Of two labels of one thing pg_dump prints either first.)
const LABELLED: [&str; 27] = [
    "SCHEMA s",
    "SCHEMA public",
    "TABLE s.\"T\"",
    "COLUMN s.\"T\".\"b'\"",
    "TYPE s.\"T\"",
    "TABLE parts",
    "TABLE part",
    "COLUMN part.a",
    "VIEW v",
    "COLUMN v.a",
    "MATERIALIZED VIEW mv",
    "COLUMN mv.x",
    "FUNCTION f(int)",
    "PROCEDURE p(int)",
    "AGGREGATE agg(int)",
    "TYPE comp",
    "COLUMN comp.a",
    "TYPE en",
    "DOMAIN dom",
    "TYPE rng",
    "SEQUENCE sq",
    "FOREIGN TABLE ft",
    "COLUMN ft.a",
    "LANGUAGE plpgsql",
    "EVENT TRIGGER et",
    "PUBLICATION pb",
    "LARGE OBJECT 4711",
];

const LABELS: &str = "SELECT objtype, objname, provider, label FROM pg_seclabels WHERE objtype NOT IN ('role', 'tablespace', 'database') ORDER BY 1, 2, 3;
SELECT l.provider, l.label FROM pg_shseclabel l JOIN pg_database d ON d.oid = l.objoid AND datname = current_database() WHERE classoid = 'pg_database'::regclass";

/// The provider of labels, built for the server, if its headers are there.
fn provider(server: &Server, directory: &Path) -> Option<PathBuf> {
    let headers = server.headers()?;
    // The server is somebody else.
    std::fs::set_permissions(directory, PermissionsExt::from_mode(0o755)).unwrap();
    let (source, library) = (directory.join("provider.c"), directory.join("provider.so"));
    std::fs::write(&source, PROVIDER).unwrap();
    let mut cc = Command::new("cc");
    let output = cc
        .args(["-shared", "-fPIC", "-I"])
        .arg(headers)
        .arg("-o")
        .args([&library, &source])
        .output()
        .unwrap();
    assert!(output.status.success(), "cc: {}", String::from_utf8_lossy(&output.stderr));
    Some(library)
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_every_kind_come_back_where_their_provider_is() {
    let mut was_tested = false;
    for server in server::servers() {
        let directory = tempfile::tempdir().unwrap();
        let Some(library) = provider(&server, directory.path()) else { continue };
        was_tested = true;
        let (source, copy, by_script) = (server.create(), server.create(), server.create());
        // Sessions with the source have it, and nobody else.
        let preload = |database: &str| {
            let library = library.display();
            server.psql(
                "postgres",
                &format!("ALTER DATABASE {database} SET session_preload_libraries = '{library}'"),
            );
        };
        preload(&source);
        let labels = LABELLED.map(|what| {
            format!("SECURITY LABEL FOR lb ON {what} IS E'it''s \\\\ {}';", what.replace('\'', ""))
        });
        let more = format!(
            "SECURITY LABEL FOR \"l \"\"b\"\"\" ON FUNCTION event() IS 'other'; SECURITY LABEL FOR lb ON DATABASE {source} IS '100%';"
        );
        server.psql(&source, &[OBJECTS, &labels.concat(), &more].concat());
        assert_eq!(server.ask(&source, LABELS).lines().count(), LABELLED.len() + 2);

        let (manager, backup) = backed_up(&server, &source).await;
        let told = Arc::new(Told::default());
        let watched = manager.clone().with_context(Ctx::new().with_progress(told.clone()));
        watched.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(told.warnings(), [""; 0]);
        assert_eq!(server.ask(&copy, LABELS), server.ask(&source, LABELS));
        assert_eq!(server.dump(&copy), server.dump(&source));

        preload(&by_script);
        let script = directory.path().join("backup.sql");
        manager.export(&backup, &script, Format::Sql).await.unwrap();
        server.load(&by_script, &script);
        assert_eq!(server.ask(&by_script, LABELS), server.ask(&source, LABELS));
    }
    if !was_tested {
        server::missing("no server has its headers, to build a provider of labels with");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_whose_provider_is_not_there_are_left_out_with_warnings() {
    for server in server::servers() {
        let (source, copy) = (server.create(), server.create());
        // As a provider would have them.
        server.psql(
            &source,
            "CREATE TABLE t (a int PRIMARY KEY); INSERT INTO t VALUES (1), (2); COMMENT ON TABLE t IS 'it is there';
             CREATE FUNCTION event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER et ON ddl_command_end EXECUTE FUNCTION event();
             COMMENT ON EVENT TRIGGER et IS 'too';
             INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label) VALUES ('t'::regclass, 'pg_class'::regclass, 0, 'gone', 'x'), ('t'::regclass, 'pg_class'::regclass, 1, 'gone', 'y');
             INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label) SELECT oid, 'pg_event_trigger'::regclass, 0, 'gone', 'z' FROM pg_event_trigger;
             INSERT INTO pg_shseclabel (objoid, classoid, provider, label) SELECT oid, 'pg_database'::regclass, 'gone', 'd' FROM pg_database WHERE datname = current_database()",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        server.psql(&source, "DELETE FROM pg_seclabel WHERE provider = 'gone'; DELETE FROM pg_shseclabel WHERE provider = 'gone'");
        let told = Arc::new(Told::default());
        let watched = manager.with_context(Ctx::new().with_progress(told.clone()));
        watched.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source));
        let left_out =
            told.warnings().into_iter().filter(|warning| warning.starts_with("a security label of ")).count();
        assert_eq!(left_out, 4, "{:?}", told.warnings());
    }
}
