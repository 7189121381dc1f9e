//! What is no table, and what a database holds that pg_dump does not tell: schemas, extensions, subscriptions, event triggers, functions in circles.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::{BackupManager, BackupOptions, BackupRef, Content, Ctx, ErrorKind, Format, RestoreOptions};
use backup_testkit::told::Told;

mod backups;
mod server;
mod wicked;

use backups::backed_up;
use server::Server;

async fn restored(server: &Server, manager: &BackupManager, backup: &BackupRef) -> String {
    let copy = server.create();
    manager.restore(backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_schema_comes_back_as_it_is_whoever_made_it() {
    const HELD: &str = "SELECT nspname, nspowner::regrole, nspacl, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1";
    let trials = [
        "CREATE TABLE public.t (a int)",
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE public.t (a int)",
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public; GRANT USAGE ON SCHEMA public TO PUBLIC, lb_reader; COMMENT ON SCHEMA public IS 'ours'",
        "DROP SCHEMA public CASCADE; CREATE SCHEMA public AUTHORIZATION pg_database_owner; COMMENT ON SCHEMA public IS 'standard public schema'",
        "ALTER SCHEMA public OWNER TO \"lb WRITER\"; COMMENT ON SCHEMA public IS NULL",
        "REVOKE ALL ON SCHEMA public FROM PUBLIC",
        "GRANT CREATE ON SCHEMA public TO PUBLIC; REVOKE USAGE ON SCHEMA public FROM pg_database_owner",
    ];
    for server in server::servers() {
        wicked::roles(&server);
        for trial in trials {
            let source = server.create();
            server.psql(&source, trial);
            let (manager, backup) = backed_up(&server, &source).await;
            let copy = restored(&server, &manager, &backup).await;
            let plain = "UPDATE pg_namespace SET nspacl = acldefault('n', nspowner) WHERE nspname = 'public' AND nspacl IS NULL";
            server.psql(&source, plain);
            assert_eq!(server.ask(&copy, HELD), server.ask(&source, HELD), "{trial}");
            assert_eq!(server.dump(&copy), server.dump(&source), "{trial}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_public_schema_is_gone_or_called_otherwise_comes_back() {
    for server in server::servers() {
        for (trial, count) in [
            ("DROP SCHEMA public", "1"),
            (
                "ALTER SCHEMA public RENAME TO old; CREATE TABLE old.t (a int); COMMENT ON TABLE old.t IS 'old'",
                "2",
            ),
        ] {
            let source = server.create();
            server.psql(&source, trial);
            let (manager, backup) = backed_up(&server, &source).await;
            let copy = restored(&server, &manager, &backup).await;
            assert_eq!(server.contents(&copy), server.contents(&source), "{trial}");
            let held = "SELECT nspowner::regrole, nspacl, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'old'";
            assert_eq!(server.ask(&copy, held), server.ask(&source, held), "{trial}");
            let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname IN ('public', 'old')";
            assert_eq!(server.ask(&copy, schemas).trim(), count);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_on_tables_of_extensions_are_in_a_backup_and_keys_between_theirs_and_ours_are_no_surprise() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE m (a int PRIMARY KEY); ALTER EXTENSION plpgsql ADD TABLE m; CREATE POLICY p ON m USING (a > 1); COMMENT ON POLICY p ON m IS 'ours';
             ALTER TABLE m ENABLE ROW LEVEL SECURITY; CREATE TABLE ours (a int PRIMARY KEY); CREATE TABLE n (a int REFERENCES ours); ALTER EXTENSION plpgsql ADD TABLE n;",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("backup.sql");
        manager.export(&backup, &script, Format::Sql).await.unwrap();
        let script = std::fs::read_to_string(&script).unwrap();
        for said in [
            "DROP POLICY IF EXISTS \"p\" ON \"public\".\"m\";\nCREATE POLICY \"p\" ON \"public\".\"m\" AS PERMISSIVE FOR ALL TO PUBLIC USING ((a > 1));",
            "ALTER TABLE \"public\".\"m\" ENABLE ROW LEVEL SECURITY;",
        ] {
            assert!(script.contains(said), "{script}");
        }
        // This extension does not make the table, which must not keep the rest from being restored.
        let told = Arc::new(Told::default());
        let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
        let copy = restored(&server, &manager, &backup).await;
        assert_eq!(server.ask(&copy, "SELECT count(*) FROM ours").trim(), "0");
        let warnings = told.warnings();
        assert!(
            warnings.len() == 2 && warnings.iter().all(|warning| warning.contains("public.m")),
            "{warnings:?}"
        );
        // A key of ours is no key of the extension's.
        server.psql(&source, "CREATE TABLE refers (a int CONSTRAINT to_m REFERENCES m)");
        let (manager, backup) = backed_up(&server, &source).await;
        let warnings = manager.get_backup(&backup).await.unwrap().warnings;
        assert!(!warnings.iter().any(|warning| warning.contains("RI_ConstraintTrigger")), "{warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_configure_an_extension_come_behind_those_that_they_refer_to() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE z (id int PRIMARY KEY); CREATE TABLE a (z int REFERENCES z, a int); CREATE TABLE parts (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parts DEFAULT;
             INSERT INTO z VALUES (1); INSERT INTO a VALUES (1, 1); INSERT INTO part VALUES (1);
             ALTER EXTENSION plpgsql ADD TABLE a; ALTER EXTENSION plpgsql ADD TABLE z; ALTER EXTENSION plpgsql ADD TABLE parts; ALTER EXTENSION plpgsql ADD TABLE part;
             UPDATE pg_extension SET extconfig = ARRAY['a'::regclass, 'z'::regclass, 'parts'::regclass, 'part'::regclass]::oid[], extcondition = ARRAY['', '', '', '']",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let parts = manager.get_backup(&backup).await.unwrap().parts;
        let of = |name: &str| parts.iter().map(|record| &record.part).find(|part| part.object.name == name);
        assert!(of("a").unwrap().after.contains(&of("z").unwrap().id));
        assert!(of("part").is_some() && of("parts").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_replaced_stays_in_its_tablespace() {
    for server in server::servers() {
        server.psql(
            "postgres",
            "SET allow_in_place_tablespaces = on; SET client_min_messages = error;
             SELECT 'CREATE TABLESPACE lb_space LOCATION ''''' WHERE NOT EXISTS (SELECT FROM pg_tablespace WHERE spcname = 'lb_space') \\gexec",
        );
        let (source, copy) = (server.create(), server.create());
        server.psql(&source, "CREATE TABLE t (a int)");
        server.psql("postgres", &format!("ALTER DATABASE {copy} SET TABLESPACE lb_space"));
        let (manager, backup) = backed_up(&server, &source).await;
        manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        let found = "SELECT count(*) FROM t; SELECT spcname FROM pg_database d JOIN pg_tablespace s ON s.oid = dattablespace WHERE datname = current_database()";
        assert_eq!(server.ask(&copy, found), "0\nlb_space\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn security_labels_on_what_is_an_extensions_and_on_subscriptions_are_in_a_backup() {
    for server in server::servers() {
        let source = server.create();
        // As a provider would have them, of which these servers have none.
        server.psql(
            &source,
            "CREATE TABLE m (\"a b\" int); CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER EXTENSION plpgsql ADD TABLE m; ALTER EXTENSION plpgsql ADD FUNCTION f(int);
             INSERT INTO pg_seclabel (objoid, classoid, objsubid, provider, label) VALUES ('m'::regclass, 'pg_class'::regclass, 0, 'p', 'it''s'), ('m'::regclass, 'pg_class'::regclass, 1, 'p', 'c'), ('f'::regproc, 'pg_proc'::regclass, 0, 'p', 'f');
             SET client_min_messages = error; CREATE SUBSCRIPTION labelled CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE);
             INSERT INTO pg_shseclabel (objoid, classoid, provider, label) SELECT oid, 'pg_subscription'::regclass, 'p', 's' FROM pg_subscription WHERE subname = 'labelled'",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        server.psql(&source, "DELETE FROM pg_shseclabel WHERE provider = 'p'; DROP SUBSCRIPTION labelled");
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("backup.sql");
        manager.export(&backup, &script, Format::Sql).await.unwrap();
        let script = std::fs::read_to_string(&script).unwrap();
        for said in [
            "TABLE public.m IS 'it''s'",
            "COLUMN public.m.\"a b\" IS 'c'",
            "FUNCTION public.f(integer) IS 'f'",
            "SUBSCRIPTION \"labelled\" IS 's'",
        ] {
            assert!(script.contains(&format!("SECURITY LABEL FOR \"p\" ON {said};")), "{said}: {script}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn children_that_take_nulls_where_their_parents_do_not_come_into_version_18() {
    let (newer, older): (Vec<_>, Vec<_>) =
        server::servers().into_iter().partition(|server| server.major() >= 18);
    for older in &older {
        let source = older.create();
        older.psql(
            &source,
            "CREATE TABLE g (a int NOT NULL, id int PRIMARY KEY); CREATE TABLE p (b int NOT NULL) INHERITS (g); CREATE TABLE c () INHERITS (p); CREATE TABLE d (own int) INHERITS (p);
             ALTER TABLE c ALTER a DROP NOT NULL; ALTER TABLE c ALTER b DROP NOT NULL; ALTER TABLE d ALTER id DROP NOT NULL;
             INSERT INTO c VALUES (NULL, 1, NULL); INSERT INTO d VALUES (1, 2, 3, 4)",
        );
        let (manager, backup) = backed_up(older, &source).await;
        let same = restored(older, &manager, &backup).await;
        assert_eq!(older.dump(&same), older.dump(&source));
        for newer in &newer {
            let told = Arc::new(Told::default());
            let manager = manager.clone().with_context(Ctx::new().with_progress(told.clone()));
            let copy = restored(newer, &manager, &backup).await;
            let warnings = told.warnings();
            assert!(
                warnings.len() == 1 && warnings[0].contains("a column of table public.d stays NOT NULL"),
                "{warnings:?}"
            );
            let columns = "SELECT attrelid::regclass, attname FROM pg_attribute JOIN pg_class c ON c.oid = attrelid AND relnamespace = 'public'::regnamespace AND relkind = 'r'
                           WHERE attnum > 0 AND attnotnull ORDER BY 1, 2";
            let expected = older.ask(&source, columns);
            assert_eq!(newer.ask(&copy, columns).replace("d|id\n", ""), expected);
            assert_eq!(newer.contents(&copy), older.contents(&source));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_definitions_that_are_no_utf_8_are_named() {
    for server in server::servers() {
        for (made, named) in [
            (
                "CREATE TABLE fine (a int); EXECUTE format('CREATE TABLE %I (a int)', 't' || odd)",
                "table public.\"t\\351\"",
            ),
            ("EXECUTE format('COMMENT ON FUNCTION f() IS %L', odd)", "function public.f()"),
            ("EXECUTE format('CREATE TYPE e AS ENUM (%L)', odd)", "type public.e"),
        ] {
            let source = server.create();
            server.psql("postgres", &format!("DROP DATABASE {source}"));
            server.psql("postgres", &format!("CREATE DATABASE {source} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"));
            let made = format!(
                "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'; DO $$ DECLARE odd text := convert_from('\\xe9', 'SQL_ASCII'); BEGIN {made}; END $$"
            );
            server.psql(&source, &made);
            let error = backups::manager().backup(&server.url(&source)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            assert!(error.to_string().contains(named), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_without_its_comment_comes_back_so() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, "CREATE EXTENSION lo; COMMENT ON EXTENSION lo IS NULL; CREATE EXTENSION citext");
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = restored(&server, &manager, &backup).await;
        assert_eq!(server.dump(&copy), server.dump(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn event_triggers_act_on_nothing_that_is_restored() {
    for server in server::servers() {
        wicked::roles(&server);
        let source = server.create();
        server.psql(
            &source,
            "CREATE SCHEMA s; CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$;
             ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC; SET client_min_messages = error;
             CREATE SUBSCRIPTION streams CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE, streaming = on); COMMENT ON SUBSCRIPTION streams IS 's';
             CREATE EVENT TRIGGER a ON ddl_command_start EXECUTE FUNCTION refuse(); CREATE EVENT TRIGGER z ON ddl_command_end EXECUTE FUNCTION refuse();
             COMMENT ON EVENT TRIGGER a IS 'all'",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let told = Arc::new(Told::default());
        let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
        let copy = restored(&server, &manager, &backup).await;
        let (expected, found) = (server.dump(&source), server.dump(&copy));
        for database in [&source, &copy] {
            server.psql(
                database,
                "ALTER EVENT TRIGGER a DISABLE; ALTER EVENT TRIGGER z DISABLE; DROP SUBSCRIPTION streams",
            );
        }
        assert_eq!(found, expected);
        assert!(expected.contains("streaming = "), "{expected}");
        assert_eq!(told.warnings(), [""; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_that_need_each_other_come_along_whole_and_replace_none_that_is_there() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE FUNCTION is_even(n int) RETURNS bool LANGUAGE sql IMMUTABLE RETURN true; CREATE FUNCTION is_odd(n int) RETURNS bool LANGUAGE sql IMMUTABLE RETURN n <> 0 AND is_even(n - 1);
             CREATE OR REPLACE FUNCTION is_even(n int) RETURNS bool LANGUAGE sql IMMUTABLE RETURN n = 0 OR is_odd(n - 1); CREATE TABLE t (n int, odd bool GENERATED ALWAYS AS (is_odd(n)) STORED);
             INSERT INTO t VALUES (2), (3)",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        for (there, expected) in [
            ("CREATE TABLE other (a int)", "f t t f"),
            ("CREATE FUNCTION is_even(n int) RETURNS bool LANGUAGE sql IMMUTABLE RETURN false", "f f f f"),
        ] {
            let target = server.create();
            server.psql(&target, there);
            let mut options = RestoreOptions::default();
            options.tables = vec!["t".parse().unwrap()];
            manager.restore(&backup, &server.url(&target), options).await.unwrap();
            let found = "SELECT string_agg(odd::text, ' ' ORDER BY n), is_even(2), is_even(3) FROM t";
            let found = server
                .ask(&target, found)
                .trim()
                .replace("true", "t")
                .replace("false", "f")
                .replace('|', " ");
            assert_eq!(found, expected, "{there}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cast_comes_along_with_what_uses_it_and_with_nothing_else() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE CAST (date AS int) WITHOUT FUNCTION; CREATE TYPE mood AS ENUM ('sad'); CREATE CAST (mood AS bytea) WITH INOUT; CREATE CAST (text AS mood) WITH INOUT AS IMPLICIT;
             CREATE TABLE t (a text DEFAULT 'x', d date CHECK (d > '2020-01-01')); CREATE TABLE u (a int DEFAULT '2020-01-01'::date::int);
             CREATE TABLE m (m mood); CREATE VIEW v AS SELECT m::bytea FROM m; CREATE TABLE w (m mood DEFAULT 'sad'::text)",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        for (asked, casts) in [
            ("t", ""),
            ("u", "date integer"),
            ("m", "text mood"),
            ("v", "mood bytea,text mood"),
            ("w", "text mood"),
        ] {
            for there in ["", "CREATE TABLE other (a int)"] {
                let target = server.create();
                server.psql(&target, there);
                let mut options = RestoreOptions::default();
                options.tables = vec![asked.parse().unwrap()];
                manager.restore(&backup, &server.url(&target), options).await.unwrap();
                let found = "SELECT string_agg(format('%s %s', castsource::regtype, casttarget::regtype), ',' ORDER BY castsource::regtype::text) FROM pg_cast WHERE oid >= 16384";
                assert_eq!(server.ask(&target, found).trim(), casts, "{asked}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_pg_dump_does_not_say_of_sequences_comes_back() {
    const HELD: &str = "SELECT seqrelid::regclass, seqtypid::regtype, seqstart, seqmin, seqmax, seqincrement FROM pg_sequence ORDER BY seqrelid::regclass::text";
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY, b smallint GENERATED BY DEFAULT AS IDENTITY (MINVALUE 5)); ALTER SEQUENCE t_id_seq AS bigint; ALTER SEQUENCE t_b_seq AS int;
             INSERT INTO t DEFAULT VALUES; CREATE TABLE other (id int GENERATED ALWAYS AS IDENTITY)",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = restored(&server, &manager, &backup).await;
        assert_eq!(server.ask(&copy, HELD), server.ask(&source, HELD));
        assert_eq!(server.dump(&copy), server.dump(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_in_arrays_stay_nulls_whatever_the_account_has_set() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE t (a text[] DEFAULT '{NULL}'); INSERT INTO t VALUES ('{1,NULL}'), ('{\"NULL\"}');
             DO $$ BEGIN CREATE ROLE lb_odd SUPERUSER LOGIN PASSWORD 'only for tests'; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$; ALTER ROLE lb_odd SET array_nulls = off",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = server.create();
        let url = server.url_text(&copy);
        let (_, place) = url.rsplit_once('@').unwrap();
        let url = format!("postgres://lb_odd:only%20for%20tests@{place}").parse().unwrap();
        manager.restore(&backup, &url, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_materialized_view_whose_owner_sees_some_rows_is_filled_with_these() {
    for server in server::servers() {
        wicked::roles(&server);
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2), (3); ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON t USING (a > 1);
             GRANT SELECT ON t TO lb_owner; CREATE MATERIALIZED VIEW m AS SELECT a FROM t; GRANT CREATE ON SCHEMA public TO lb_owner; ALTER MATERIALIZED VIEW m OWNER TO lb_owner; REFRESH MATERIALIZED VIEW m",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let told = Arc::new(Told::default());
        let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
        let copy = restored(&server, &manager, &backup).await;
        assert_eq!(server.dump(&copy), server.dump(&source));
        assert_eq!(
            (server.ask(&copy, "SELECT a FROM m ORDER BY 1").as_str(), told.warnings()),
            ("2\n3\n", vec![])
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_has_a_default_only_if_it_has_one_whatever_the_type_below_it_got_later() {
    const HELD: &str = "SELECT typname, typdefault FROM pg_type WHERE typtype = 'd' AND typnamespace = 'public'::regnamespace ORDER BY 1";
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE DOMAIN a AS int; CREATE DOMAIN \"b c\" AS a CHECK (VALUE > 0); CREATE DOMAIN own AS a DEFAULT 7; CREATE DOMAIN above AS own; ALTER DOMAIN above DROP DEFAULT;
             ALTER DOMAIN a SET DEFAULT 5; CREATE DOMAIN copied AS a; CREATE TABLE t (x \"b c\", o own, u above, c copied, y int); INSERT INTO t (y) VALUES (1)",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = restored(&server, &manager, &backup).await;
        assert_eq!(server.ask(&source, HELD), "a|5\nabove|\nb c|\ncopied|5\nown|7\n");
        assert_eq!(server.ask(&copy, HELD), server.ask(&source, HELD));
        assert_eq!(server.dump(&copy), server.dump(&source));
        assert_eq!(server.ask(&copy, "INSERT INTO t (y) VALUES (2) RETURNING x, o, u, c"), "|7||5\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extensions_table_stays_in_its_publication_if_the_extension_makes_it() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE made (a int PRIMARY KEY, b int); CREATE TABLE own (a int); ALTER EXTENSION plpgsql ADD TABLE made; CREATE PUBLICATION p FOR TABLE made, own",
        );
        server.psql(&source, "CREATE PUBLICATION once FOR TABLE made");
        let (manager, backup) = backed_up(&server, &source).await;
        let told = Arc::new(Told::default());
        let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
        // Here the extension does not make it: that is told, and all else comes.
        let copy = restored(&server, &manager, &backup).await;
        let held = "SELECT p.pubname, r.prrelid::regclass FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid ORDER BY 1, 2";
        assert_eq!(server.ask(&copy, held), "p|own\n");
        let warnings = told.warnings();
        assert!(
            warnings.len() == 2 && told.has("publication public.p ") && told.has("publication public.once "),
            "{warnings:?}"
        );
        // Here it is there already.
        let target = server.create();
        server.psql(&target, "CREATE TABLE made (a int PRIMARY KEY, b int)");
        let mut options = RestoreOptions::default();
        options.tables = vec!["own".parse().unwrap(), "made".parse().unwrap()];
        manager.restore(&backup, &server.url(&target), options).await.unwrap();
        assert_eq!(server.ask(&target, held), "once|made\np|made\np|own\n");
    }
}

/// Nobody takes a view of rows that are not there for one of none.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_alone_has_no_materialized_view_that_counts_as_filled() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, "CREATE TABLE t (a int); INSERT INTO t VALUES (1); CREATE MATERIALIZED VIEW m AS SELECT a FROM t; CREATE UNIQUE INDEX ON m (a)");
        let (manager, backup) = backed_up(&server, &source).await;
        let mut restored = RestoreOptions::default();
        restored.content = Content::SchemaOnly;
        let mut made = BackupOptions::default();
        made.content = Content::SchemaOnly;
        let alone = manager.backup_with(&server.url(&source), made).await.unwrap();
        for (backup, options) in [(backup, restored), (BackupRef::from(&alone.id), RestoreOptions::default())]
        {
            let copy = server.create();
            manager.restore(&backup, &server.url(&copy), options).await.unwrap();
            assert_eq!(server.schema(&copy), server.schema(&source));
            assert_eq!(server.ask(&copy, "SELECT relispopulated FROM pg_class WHERE relname = 'm'"), "f\n");
        }
    }
}
