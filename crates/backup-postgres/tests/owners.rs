//! An account that owns its database and is no superuser, as those that host databases give: it restores what is its own, and is told the rest.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::{Content, ErrorKind, RestoreOptions};

mod backups;
mod owner;
mod server;

use backups::backed_up;
use owner::Owner;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_superuser_has_set_or_made_beside_keeps_nothing_from_coming_back() {
    for server in &server::servers() {
        let owner = Owner::new(server, "hosted");
        let source = owner.database("CREATE TABLE own (a int PRIMARY KEY); INSERT INTO own VALUES (1)");
        server.psql(
            &source,
            &format!(
                "ALTER DATABASE {source} SET log_min_duration_statement = 5; ALTER DATABASE {source} SET app.secret = 'hush'; ALTER DATABASE {source} SET work_mem = '7MB';
                 ALTER ROLE CURRENT_USER IN DATABASE {source} SET work_mem = '8MB';
                 CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; ALTER FUNCTION noted() OWNER TO {0};
                 CREATE EVENT TRIGGER noted ON ddl_command_end EXECUTE FUNCTION noted(); COMMENT ON EVENT TRIGGER noted IS 'noted';
                 CREATE PUBLICATION everything FOR ALL TABLES; COMMENT ON PUBLICATION everything IS 'all of it'",
                owner.name
            ),
        );
        let (manager, backup) = backed_up(server, &source).await;
        let target = owner.database("");
        let mut options = RestoreOptions::default();
        options.no_owner = true;
        let restored = manager.restore(&backup, &owner.url(&target), options).await;
        let settings = format!(
            "SELECT setconfig FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase AND datname = '{target}'"
        );
        let found = server.ask(&target, &format!("SELECT (SELECT a FROM own), (SELECT count(*) FROM pg_event_trigger), (SELECT count(*) FROM pg_publication); {settings}"));
        server.psql(&source, "DROP EVENT TRIGGER noted");
        owner.gives_away(&[&source, &target]);
        restored.unwrap();
        assert_eq!(found, "1|0|0\n{work_mem=7MB}\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_extension_that_is_there_is_left_alone() {
    for server in &server::servers() {
        let owner = Owner::new(server, "extended");
        let source = owner.database("");
        server.psql(&source, "CREATE EXTENSION hstore; COMMENT ON EXTENSION hstore IS 'of the source'");
        server.psql(&source, &format!("SET ROLE {}; CREATE TABLE own (a int PRIMARY KEY, h hstore); INSERT INTO own VALUES (1, 'a=>1')", owner.name));
        let (manager, backup) = backed_up(server, &source).await;
        let (mut databases, mut found) = (vec![source], Vec::new());
        for pattern in ["public.own", "*"] {
            let target = owner.database("");
            server.psql(&target, "CREATE EXTENSION hstore; COMMENT ON EXTENSION hstore IS 'of the target'");
            let mut options = RestoreOptions::default();
            options.tables = vec![pattern.parse().unwrap()];
            let restored = manager.restore(&backup, &owner.url(&target), options).await;
            let state = "SELECT a, h FROM own; SELECT obj_description(oid) FROM pg_extension WHERE extname = 'hstore'";
            found.push(restored.map(|_| server.ask(&target, state)));
            databases.push(target);
        }
        owner.gives_away(&databases.iter().map(String::as_str).collect::<Vec<_>>());
        for found in found {
            assert_eq!(found.unwrap(), "1|\"a\"=>\"1\"\nof the target\n");
        }
    }
}

/// Types and what else cannot be replaced stay, whoever it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_is_replaced_by_its_tables() {
    for server in &server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE PUBLICATION p; CREATE EXTENSION hstore; CREATE TYPE public.sh AS ENUM ('x'); CREATE CAST (public.sh AS hstore) WITH INOUT;
             CREATE SCHEMA s; CREATE TYPE s.e AS ENUM ('a', 'b'); CREATE DOMAIN s.d AS int CHECK (VALUE > 0); CREATE FUNCTION s.f(s.d) RETURNS int LANGUAGE sql AS 'SELECT 1';
             CREATE TABLE s.t (a s.e, b s.d, c int GENERATED ALWAYS AS (b + 1) STORED); INSERT INTO s.t VALUES ('a', 1); CREATE VIEW s.v AS SELECT a FROM s.t; CREATE TABLE other (a int)",
        );
        let (manager, backup) = backed_up(server, &source).await;
        let target = server.create();
        manager.restore(&backup, &server.url(&target), RestoreOptions::default()).await.unwrap();
        server.psql(&target, "INSERT INTO s.t VALUES ('b', 2); INSERT INTO other VALUES (1)");
        let mut options = RestoreOptions::default();
        options.tables = vec!["s.*".parse().unwrap()];
        let refused = manager.restore(&backup, &server.url(&target), options.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("the target has a"), "{refused}");
        options.drop_existing = true;
        manager.restore(&backup, &server.url(&target), options).await.unwrap();
        assert_eq!(server.schema(&target), server.schema(&source));
        assert_eq!(server.ask(&target, "SELECT * FROM s.t; SELECT a FROM other"), "a|1|2\n1\n");
        // All of it, with what is in no schema.
        let mut options = RestoreOptions::default();
        (options.tables, options.drop_existing) = (vec!["*".parse().unwrap()], true);
        manager.restore(&backup, &server.url(&target), options).await.unwrap();
        assert_eq!(server.schema(&target), server.schema(&source));
        assert_eq!(server.ask(&target, "SELECT * FROM s.t; SELECT a FROM other"), "a|1|2\n");
    }
}

/// Who is no superuser cannot have a session set off nothing, but may hold off what tables of his own do.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_loads_rows_alone_and_what_tables_set_off_is_as_it_was() {
    const TABLES: &str = "
        CREATE TABLE hen (id int PRIMARY KEY, egg int NOT NULL); CREATE TABLE egg (id int PRIMARY KEY, hen int NOT NULL REFERENCES hen DEFERRABLE);
        INSERT INTO hen VALUES (1, 2), (2, 1); INSERT INTO egg VALUES (1, 2), (2, 1); ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg;
        CREATE TABLE a_chick (id int PRIMARY KEY, mother int REFERENCES hen DEFERRABLE INITIALLY DEFERRED, sister int REFERENCES a_chick);
        INSERT INTO a_chick VALUES (1, 2, 2), (2, 1, NULL);
        CREATE TABLE laid (id serial, hen int REFERENCES hen ON DELETE CASCADE) PARTITION BY LIST (hen); CREATE TABLE laid_1 PARTITION OF laid FOR VALUES IN (1);
        CREATE TABLE laid_2 PARTITION OF laid DEFAULT; INSERT INTO laid (hen) VALUES (1), (2), (2);
        CREATE TABLE astray (hen int); INSERT INTO astray VALUES (77); ALTER TABLE astray ADD CONSTRAINT not_yet FOREIGN KEY (hen) REFERENCES hen NOT VALID;
        COMMENT ON CONSTRAINT not_yet ON astray IS 'it will';
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'fired'; END $$;
        CREATE TRIGGER usual BEFORE INSERT ON hen FOR EACH ROW EXECUTE FUNCTION refuse();
        CREATE TRIGGER always BEFORE INSERT ON hen FOR EACH STATEMENT EXECUTE FUNCTION refuse(); ALTER TABLE hen ENABLE ALWAYS TRIGGER always;
        CREATE TRIGGER off AFTER INSERT ON egg FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE egg DISABLE TRIGGER off;
        CREATE TRIGGER remote AFTER INSERT ON egg FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE egg ENABLE REPLICA TRIGGER remote;
        CREATE TRIGGER of_parts AFTER INSERT ON laid FOR EACH ROW EXECUTE FUNCTION refuse(); ALTER TABLE laid_1 ENABLE ALWAYS TRIGGER of_parts;";
    for server in &server::servers() {
        let owner = Owner::new(server, "rows");
        let source = owner.database(&format!("CREATE SCHEMA own; SET search_path = own; {TABLES}"));
        let (manager, backup) = backed_up(server, &source).await;
        let target = server.create();
        manager.restore(&backup, &server.url(&target), RestoreOptions::default()).await.unwrap();
        server.psql(&target, "SET session_replication_role = replica; DELETE FROM own.egg; DELETE FROM own.laid; UPDATE own.a_chick SET sister = NULL");
        let mut options = RestoreOptions::default();
        (options.content, options.drop_existing) = (Content::DataOnly, true);
        let restored = manager.restore(&backup, &owner.url(&target), options.clone()).await;
        let found = server.dump(&target);
        // What others have is not his to hold off.
        server.psql(&target, "ALTER TABLE own.hen OWNER TO CURRENT_USER");
        server.psql(&target, &format!("GRANT ALL ON own.hen TO {}", owner.name));
        let refused = manager.restore(&backup, &owner.url(&target), options).await;
        let expected = server.dump(&source);
        owner.gives_away(&[&source, &target]);
        restored.unwrap();
        assert_eq!(found, expected, "on {}", server.major());
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied, "{refused}");
        assert!(refused.to_string().contains("keep rows from setting off triggers"), "{refused}");
    }
}
