//! Kinds that need something of the server beyond a database, and what an account may not read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupOptions, BackupRef, Content, Ctx, DatabaseUrl, ErrorKind, Format,
    Registry, RestoreOptions,
};
use backup_testkit::told::Told;

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

/// A copy by way of a backup of which nothing is to be told, and what the restore tells.
async fn copied(server: &Server, source: &str) -> (String, Vec<String>) {
    let told = Arc::new(Told::default());
    let manager = manager().with_context(Ctx::new().with_progress(told.clone()));
    manager.backup(&server.url(source)).await.unwrap();
    assert_eq!(told.warnings(), [""; 0]);
    let copy = server.create();
    manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
    (copy, told.warnings())
}

/// The database as somebody has it who may make databases and no more.
fn restorer(server: &Server, database: &str) -> DatabaseUrl {
    let url = seen_by(server, database, "lb_restorer");
    server.psql(
        "postgres",
        &format!("ALTER ROLE lb_restorer CREATEDB; ALTER DATABASE {database} OWNER TO lb_restorer"),
    );
    url
}

/// A new database, into which somebody restored what was backed up last who may make databases and no more.
async fn restored_by_no_superuser(server: &Server, manager: &BackupManager) -> String {
    let copy = server.create();
    let url = restorer(server, &copy);
    let mut options = RestoreOptions::default();
    options.no_owner = true;
    manager.restore(&BackupRef::Latest, &url, options).await.unwrap();
    copy
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
async fn what_may_not_be_read_is_left_out_where_that_is_asked_for_and_named() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE SCHEMA away; CREATE TABLE away.t (a int); CREATE TABLE open (a int PRIMARY KEY); INSERT INTO open VALUES (1);
             CREATE TABLE closed (a int PRIMARY KEY); CREATE TABLE refers (a int REFERENCES closed, b int REFERENCES open);
             CREATE TABLE parts (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);
             CREATE TABLE secured (a int); ALTER TABLE secured ENABLE ROW LEVEL SECURITY; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';
             CREATE SEQUENCE counts; SELECT setval('counts', 41); CREATE SEQUENCE hidden; SELECT setval('hidden', 41); CREATE TABLE counted (a int DEFAULT nextval('hidden'));
             SELECT lo_from_bytea(n, 'x') FROM unnest(ARRAY[4710, 4711, 4712, 4713]) n;",
        );
        let url = seen_by(&server, &source, "lb_forbidden");
        server.psql(
            &source,
            "GRANT SELECT ON open, refers, parts, secured, away.t, counts, counted TO lb_forbidden; GRANT SELECT ON LARGE OBJECT 4710, 4712, 4713 TO lb_forbidden",
        );
        let mut options = BackupOptions::default();
        options.skip_unreadable = true;
        let manager = manager();
        let backup = manager.backup_with(&url, options).await.unwrap();
        let named = [
            "table away.t",
            "table public.closed",
            "table public.parts",
            "table public.secured",
            "large object 4711",
            "sequence public.hidden",
        ];
        assert_eq!(backup.left_out, named);
        assert!(backup.partial);
        let details = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
        let tables: Vec<_> = details.tables.iter().map(|table| table.table.name.as_str()).collect();
        assert_eq!(tables, ["counted", "open", "refers", "counts", "4710", "4712", "4713"]);
        for name in named.into_iter().chain(["refers_a_fkey"]) {
            assert!(details.warnings.iter().any(|warning| warning.contains(name)), "{name}: {details:?}");
        }
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        let found = server.ask(
            &copy,
            "SELECT f() + a, (SELECT count(*) FROM pg_constraint WHERE conname ~ 'refers_.*_fkey') FROM open",
        );
        assert_eq!(found.trim(), "2|1");
        let found = "SELECT nextval('counts'), nextval('hidden'), string_agg(oid::text, ' ' ORDER BY oid) FROM pg_largeobject_metadata";
        assert_eq!(server.ask(&copy, found).trim(), "42|1|4710 4712 4713");
        // The rows alone leave out the same.
        let mut options = BackupOptions::default();
        (options.skip_unreadable, options.content) = (true, Content::DataOnly);
        let mut rows = manager.backup_with(&url, options).await.unwrap().left_out;
        let mut named = named.to_vec();
        named.sort_unstable();
        rows.sort_unstable();
        assert_eq!(rows, named);
        server.psql(&source, "DROP OWNED BY lb_forbidden");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_leave_out_tables_and_whole_schemas_and_ask_for_what_is_no_table() {
    let Some(server) = server::server() else { return };
    let source = server.create();
    server.psql(
        &source,
        "CREATE SCHEMA audit; CREATE TYPE audit.level AS ENUM ('low'); CREATE TABLE audit.log (l audit.level, x int); INSERT INTO audit.log VALUES ('low', 1);
         CREATE FUNCTION audit.now() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION reads(audit.log) RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE TYPE mood AS ENUM ('sad'); CREATE FUNCTION twice(x int) RETURNS int LANGUAGE sql AS 'SELECT 2 * x';
         CREATE SEQUENCE loose; SELECT setval('loose', 41); CREATE TABLE kept (id int DEFAULT nextval('loose'), m mood, y int DEFAULT twice(2));
         CREATE TABLE _kept (x int); CREATE TABLE cache_a (x int); INSERT INTO cache_a VALUES (1); CREATE VIEW cached AS SELECT * FROM cache_a; CREATE EXTENSION IF NOT EXISTS plpgsql;",
    );
    let has = |database: &str| {
        let sql = "SELECT string_agg(name, ' ' ORDER BY name COLLATE \"C\") FROM (
             SELECT c.oid::regclass::text AS name FROM pg_class c WHERE c.relkind IN ('r', 'v', 'S') AND c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace
             UNION ALL SELECT p.oid::regproc::text FROM pg_proc p WHERE p.oid >= 16384
             UNION ALL SELECT t.oid::regtype::text FROM pg_type t WHERE t.oid >= 16384 AND t.typtype = 'e'
             UNION ALL SELECT nspname || '.' FROM pg_namespace WHERE oid >= 16384 AND nspname !~ '^pg_') AS x";
        server.ask(database, sql).trim().to_owned()
    };
    let backed_up = async |include: &[&str], exclude: &[&str]| {
        let mut options = BackupOptions::default();
        options.include = include.iter().map(|pattern| pattern.parse().unwrap()).collect();
        options.exclude = exclude.iter().map(|pattern| pattern.parse().unwrap()).collect();
        let manager = manager();
        manager.backup_with(&server.url(&source), options).await.unwrap();
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        copy
    };
    let all = "_kept audit. audit.level audit.log audit.now cache_a cached kept loose mood reads twice";
    assert_eq!(has(&source), all);
    // Without tables of that name, and with all else. A view brings along what it reads, without rows.
    let copy = backed_up(&[], &["cache_*"]).await;
    assert_eq!(has(&copy), all);
    assert_eq!(server.ask(&copy, "SELECT count(*), nextval('loose') FROM cached").trim(), "0|42");
    let copy = backed_up(&[], &["cache*"]).await;
    assert_eq!(has(&copy), "_kept audit. audit.level audit.log audit.now kept loose mood reads twice");
    // Without all of a schema, and what needs it.
    let copy = backed_up(&[], &["audit.*"]).await;
    assert_eq!(has(&copy), "_kept cache_a cached kept loose mood twice");
    // What is asked for, with what it needs. (What its arrays are called is the name of another table.)
    let copy = backed_up(&["kept"], &[]).await;
    assert_eq!(has(&copy), "kept loose mood twice");
    assert_eq!(server.ask(&copy, "SELECT nextval('loose')").trim(), "42");
    assert_eq!(has(&backed_up(&["public.twice"], &[]).await), "twice");
    assert_eq!(has(&backed_up(&["cached"], &[]).await), "cache_a cached");
    assert_eq!(has(&backed_up(&["audit.*"], &["audit.now"]).await), "audit. audit.level audit.log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_breaks_the_reading_is_named() {
    for server in server::servers() {
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
        // What is revoked of the table is revoked of its columns.
        server.psql(&source, "REVOKE SELECT ON pg_catalog.pg_proc FROM PUBLIC; GRANT SELECT (oid, proname) ON pg_catalog.pg_proc TO PUBLIC");
        assert_eq!(granted().await.len(), 4);
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_comes_back_before_what_is_of_its_types_and_with_what_belongs_to_it() {
    for server in server::servers() {
        let source = server.create();
        let there = "SELECT count(*) FROM pg_available_extensions WHERE name IN ('ltree', 'tablefunc')";
        if server.ask("postgres", there).trim() != "2" {
            server::missing("the server has not the extensions ltree and tablefunc");
            continue;
        }
        // Of the arrays of an extension's type, and of what is behind a composite one, it is not said that they are members.
        server.psql(
            &source,
            "CREATE EXTENSION ltree; CREATE EXTENSION tablefunc; CREATE TABLE paths (p ltree[]); INSERT INTO paths VALUES ('{a.b,c}');
             CREATE TABLE \"_paths\" (p ltree[]); CREATE FUNCTION f() RETURNS SETOF tablefunc_crosstab_2 LANGUAGE sql AS 'SELECT NULL, NULL, NULL'",
        );
        let manager = manager();
        manager.backup(&server.url(&source)).await.unwrap();
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source));
        // As of tables that an extension makes with their constraints; these were not made together with it.
        server.psql(
            &source,
            "CREATE TABLE member (a int PRIMARY KEY CHECK (a > 0)); ALTER EXTENSION ltree ADD TABLE member; CREATE INDEX own ON member (a)",
        );
        let backup = manager.backup(&server.url(&source)).await.unwrap();
        let warnings = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().warnings;
        for name in ["index public.member_pkey", "member_a_check", "index public.own"] {
            assert!(warnings.iter().any(|warning| warning.contains(name)), "{name}: {warnings:?}");
        }
        // The extension does not make the table, which must not keep the rest from being restored.
        server.psql(
            &source,
            "GRANT SELECT ON member TO PUBLIC; GRANT EXECUTE ON FUNCTION ltree_in(cstring) TO pg_monitor",
        );
        manager.backup(&server.url(&source)).await.unwrap();
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        let found = "SELECT to_regclass('member') IS NULL, proacl::text LIKE '%pg_monitor=X%' FROM pg_proc WHERE proname = 'ltree_in'";
        assert_eq!(server.ask(&copy, found).trim(), "t|t");
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
             CREATE TABLE parted (k int, x int, PRIMARY KEY (k) USING INDEX TABLESPACE lb_space) PARTITION BY RANGE (k) TABLESPACE lb_space;
             CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10);
             CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (k);
             CREATE TABLE parted_3 PARTITION OF parted_2 FOR VALUES FROM (10) TO (15);
             CREATE INDEX parted_x ON parted (x) TABLESPACE lb_space; CREATE INDEX ON parted (k, x);
             CREATE TABLE moved (x int); CREATE INDEX moved_x ON moved (x); ALTER TABLE moved SET TABLESPACE lb_space;
             CREATE UNIQUE INDEX for_key ON moved (x) TABLESPACE lb_space; ALTER TABLE moved ADD PRIMARY KEY USING INDEX for_key;
             INSERT INTO parted SELECT i, i FROM generate_series(1, 14) i",
        );
        let options = match server.major() {
            18.. => "two_phase, origin = none, failover, run_as_owner, password_required = false",
            15.. => "two_phase",
            _ => "binary",
        };
        server.psql(
            &source,
            &format!(
                "SET client_min_messages = error;
                 CREATE SUBSCRIPTION \"odd sub\" CONNECTION 'host=nowhere password=''x y''' PUBLICATION \"p 1\", p2 WITH (connect = false, slot_name = 'other', binary, disable_on_error);
                 CREATE SUBSCRIPTION more CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = 'more', {options})"
            ),
        );
        const PLACES: &str = "SELECT c.relname, s.spcname FROM pg_class c LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
                              WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'i', 'I', 'm') AND c.relname !~ '^pg_' ORDER BY 1";
        const SUBSCRIPTIONS: &str = "SELECT to_jsonb(s) - '{oid,subdbid}'::text[] FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid AND d.datname = current_database() ORDER BY subname";
        let manager = manager();
        manager.backup(&server.url(&source)).await.unwrap();
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        let state = |database: &str| {
            server.dump(database) + &server.ask(database, PLACES) + &server.ask(database, SUBSCRIPTIONS)
        };
        let (expected, found) = (state(&source), state(&copy));
        for database in [&source, &copy] {
            for name in ["\"odd sub\"", "more"] {
                server.psql(
                    database,
                    &format!("ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE); DROP SUBSCRIPTION {name}"),
                );
            }
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

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_watched_over_stay_so_whatever_their_triggers_are_called() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a, u int UNIQUE DEFERRABLE, c int CONSTRAINT \"it's\" REFERENCES a);
             CREATE TABLE p (a int REFERENCES a) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF p DEFAULT;
             CREATE TABLE q (id int PRIMARY KEY, u int, UNIQUE (id, u) DEFERRABLE) PARTITION BY LIST (id); CREATE TABLE q1 PARTITION OF q FOR VALUES IN (1);
             CREATE TABLE of_q (q int REFERENCES q (id));
             ALTER TABLE b DISABLE TRIGGER ALL; ALTER TABLE p2 DISABLE TRIGGER ALL; ALTER TABLE q1 DISABLE TRIGGER ALL;
             ALTER TABLE p2 RENAME CONSTRAINT p_a_fkey TO its_own; ALTER TABLE q1 RENAME CONSTRAINT q1_id_u_key TO its_key;
             DO $$ DECLARE name name; BEGIN
               SELECT tgname INTO STRICT name FROM pg_trigger WHERE tgrelid = 'a'::regclass AND tgfoid = '\"RI_FKey_noaction_del\"'::regproc
                 AND tgconstraint = (SELECT oid FROM pg_constraint WHERE conname = 'b_a_fkey');
               EXECUTE format('ALTER TABLE a ENABLE ALWAYS TRIGGER %I', name);
             END $$",
        );
        let states = "SELECT tgrelid::regclass::text, k.conname, tgfoid::regproc::text, tgenabled FROM pg_trigger t JOIN pg_constraint k ON k.oid = tgconstraint
                      WHERE tgisinternal ORDER BY 1, 2, 3";
        // The name that a partition has given to its key is not in a backup, as with pg_dump.
        let expected = server.ask(&source, states).replace("|its_own|", "|p_a_fkey|");
        assert!(
            expected.matches("|D\n").count() == 10 && expected.matches("|A\n").count() == 1,
            "{expected}"
        );
        let manager = manager();
        let backup = manager.backup(&server.url(&source)).await.unwrap();
        let backup = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
        assert_eq!(backup.warnings, [""; 0]);
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(&copy, states), expected);
        // Who is no superuser cannot: one warning for each table.
        let told = Arc::new(Told::default());
        let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
        let copy = restored_by_no_superuser(&server, &manager).await;
        let warnings = told.warnings();
        assert_eq!(warnings.len(), 4, "{warnings:?}");
        for table in ["public.a", "public.b", "public.p2", "public.q1"] {
            assert_eq!(warnings.iter().filter(|warning| warning.contains(table)).count(), 1, "{warnings:?}");
        }
        assert_eq!(server.ask(&copy, states), expected.replace("|D\n", "|O\n").replace("|A\n", "|O\n"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_trigger_fires_that_a_copy_does_not_have_is_told() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a); ALTER TABLE b DISABLE TRIGGER ALL;
             UPDATE pg_trigger SET tgfoid = '\"RI_FKey_setnull_upd\"'::regproc WHERE tgrelid = 'b'::regclass AND tgfoid = '\"RI_FKey_check_upd\"'::regproc",
        );
        let (copy, warnings) = copied(&server, &source).await;
        assert!(
            warnings.len() == 1 && warnings[0].contains("public.b") && warnings[0].contains("setnull_upd"),
            "{warnings:?}"
        );
        // The other is as it was.
        let watched =
            "SELECT tgfoid::regproc FROM pg_trigger WHERE tgrelid = 'b'::regclass AND tgenabled = 'O'";
        assert_eq!(server.ask(&copy, watched), "\"RI_FKey_check_upd\"\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_indexes_that_rows_break_are_told_and_do_not_keep_all_else_from_coming_back() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (a int REFERENCES a); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1);
             SET session_replication_role = replica; INSERT INTO b VALUES (7); CREATE VIEW of_b AS SELECT a FROM b;
             CREATE TABLE c (x int); INSERT INTO c VALUES (1); CREATE MATERIALIZED VIEW old AS SELECT x FROM c; CREATE UNIQUE INDEX once ON old (x);
             ALTER MATERIALIZED VIEW old CLUSTER ON once; COMMENT ON INDEX once IS 'once'; INSERT INTO c VALUES (1)",
        );
        let (copy, warnings) = copied(&server, &source).await;
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        for (name, row) in [("b_a_fkey", "(a)=(7)"), ("public.once", "(x)=(1)")] {
            assert!(
                warnings.iter().any(|warning| warning.contains(name) && warning.contains(row)),
                "{warnings:?}"
            );
        }
        assert_eq!(server.ask(&copy, "SELECT x FROM old"), "1\n1\n");
        assert_eq!(server.ask(&copy, "SELECT a FROM of_b ORDER BY 1"), "1\n7\n");
        // What comes from now on is watched over.
        let insert = "INSERT INTO b VALUES (1); DO $$ BEGIN INSERT INTO b VALUES (8); RAISE 'taken'; EXCEPTION WHEN foreign_key_violation THEN NULL; END $$;
                      SELECT convalidated FROM pg_constraint WHERE conname = 'b_a_fkey'";
        assert_eq!(server.ask(&copy, insert), "f\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_operator_families_that_only_a_superuser_may_add_are_told() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "ALTER OPERATOR FAMILY text_ops USING hash ADD FUNCTION 1 (text, int4) hashtext(text); CREATE TABLE t (a int)",
        );
        let told = Arc::new(Told::default());
        let manager = manager().with_context(Ctx::new().with_progress(told.clone()));
        manager.backup(&server.url(&source)).await.unwrap();
        let copy = restored_by_no_superuser(&server, &manager).await;
        let warnings = told.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains("text_ops"), "{warnings:?}");
        assert_eq!(server.ask(&copy, "SELECT count(*) FROM t").trim(), "0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_a_validator_refuses_which_came_after_them_come_back() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE FOREIGN DATA WRAPPER w OPTIONS (any 'x'); CREATE SERVER s FOREIGN DATA WRAPPER w OPTIONS (\"no such\" 'x', host 'h');
             CREATE SERVER other FOREIGN DATA WRAPPER w OPTIONS (\"no such\" 'y'); CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (colour 'hidden');
             CREATE FOREIGN TABLE f (a int OPTIONS (of 'column')) SERVER s OPTIONS (of 'table');
             CREATE FOREIGN TABLE g (a int) SERVER other OPTIONS (of 'table');
             SET client_min_messages = error; ALTER FOREIGN DATA WRAPPER w VALIDATOR postgresql_fdw_validator",
        );
        let (copy, warnings) = copied(&server, &source).await;
        for name in ["server s ", "server other ", "user mapping public s ", "public.f ", "public.g "] {
            assert!(warnings.iter().any(|warning| warning.contains(name)), "{name}: {warnings:?}");
        }
        // It could be a password.
        assert!(warnings.iter().all(|warning| !warning.contains("hidden")), "{warnings:?}");
        assert_eq!(server.dump(&copy), server.dump(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_fails_is_told_without_the_password_in_it() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "SET client_min_messages = error; CREATE SUBSCRIPTION s CONNECTION 'password=hidden' PUBLICATION p WITH (connect = false, slot_name = NONE)",
        );
        let told = Arc::<Told>::default();
        let manager = manager().with_context(Ctx::new().with_progress(told.clone()));
        let backup = manager.backup(&server.url(&source)).await;
        server.psql(&source, "DROP SUBSCRIPTION s");
        backup.unwrap();
        let copy = server.create();
        let url = restorer(&server, &copy);
        let mut options = RestoreOptions::default();
        options.no_owner = true;
        manager.restore(&BackupRef::Latest, &url, options).await.unwrap();
        let warnings = told.warnings();
        assert!(warnings.iter().any(|warning| warning.contains("CREATE SUBSCRIPTION")), "{warnings:?}");
        assert!(warnings.iter().all(|warning| !warning.contains("hidden")), "{warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_configures_an_extension_and_may_not_be_read_is_left_out_where_that_is_asked_for() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE open (a int); INSERT INTO open VALUES (1); CREATE TABLE closed (a int); INSERT INTO closed VALUES (1); CREATE SEQUENCE counts; CREATE TABLE no_matter (a int);
             ALTER EXTENSION plpgsql ADD TABLE open; ALTER EXTENSION plpgsql ADD TABLE closed; ALTER EXTENSION plpgsql ADD SEQUENCE counts; ALTER EXTENSION plpgsql ADD TABLE no_matter;
             UPDATE pg_extension SET extconfig = ARRAY['open'::regclass, 'closed'::regclass, 'counts'::regclass]::oid[], extcondition = ARRAY['', '', ''] WHERE extname = 'plpgsql'",
        );
        let url = seen_by(&server, &source, "lb_unconfigured");
        server.psql(&source, "GRANT SELECT ON open TO lb_unconfigured");
        let manager = manager();
        let refused = manager.backup(&url).await.unwrap_err();
        let mut options = BackupOptions::default();
        options.skip_unreadable = true;
        let backup = manager.backup_with(&url, options).await;
        server.psql(&source, "DROP OWNED BY lb_unconfigured");
        assert!(
            refused.kind() == ErrorKind::PermissionDenied && refused.to_string().contains("closed"),
            "{refused}"
        );
        let backup = backup.unwrap();
        assert_eq!(backup.left_out, ["table public.closed", "sequence public.counts"]);
        let details = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
        let tables: Vec<_> = details.tables.iter().map(|table| table.table.name.as_str()).collect();
        assert_eq!(tables, ["open"]);
    }
}
