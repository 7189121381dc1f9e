//! Versions that not all tests look at: what is different there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::{BackupRef, Content, RestoreOptions};

mod backups;
mod owner;
mod server;

use backups::backed_up;
use owner::Owner;

/// What every version knows, of many kinds.
const OBJECTS: &str = "
CREATE TYPE mood AS ENUM ('a', 'b'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE pair AS (a int, b text);
CREATE FUNCTION twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 2 * $1'; CREATE PROCEDURE nothing() LANGUAGE sql AS '';
CREATE TABLE t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, m mood DEFAULT 'a', p positive, d int GENERATED ALWAYS AS (id * 2) STORED, x pair[], CONSTRAINT c CHECK (twice(p) < 100));
INSERT INTO t (p, x) VALUES (1, '{\"(1,x)\"}'), (2, NULL);
CREATE TABLE parts (a int, b text COLLATE \"C\", PRIMARY KEY (a)) PARTITION BY RANGE (a); CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (10); CREATE TABLE rest PARTITION OF parts DEFAULT;
INSERT INTO parts SELECT i, repeat('x', i) FROM generate_series(1, 30) i; CREATE INDEX ON parts (b DESC) WHERE a > 3;
CREATE TABLE child (c int REFERENCES parts) INHERITS (t); CREATE VIEW v WITH (security_barrier) AS SELECT id, twice(id) AS y FROM t; CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM parts;
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER fires BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION fires();
ALTER TABLE t ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON t FOR SELECT USING (id > 0); CREATE RULE r AS ON DELETE TO v DO INSTEAD NOTHING; CREATE STATISTICS st ON m, p FROM t;
CREATE PUBLICATION pub FOR TABLE t; CREATE AGGREGATE total(int) (SFUNC = int4pl, STYPE = int); CREATE SEQUENCE sq START 7; SELECT nextval('sq'); SELECT FROM lo_from_bytea(4711, 'x');
CREATE TEXT SEARCH CONFIGURATION ts (COPY = simple); COMMENT ON TABLE t IS 'it''s'; GRANT SELECT (id) ON t TO PUBLIC;";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_comes_back_in_its_own_version_and_in_the_newest() {
    let newest = server::servers().pop();
    for server in server::others() {
        let source = server.create();
        server.psql(&source, OBJECTS);
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = server.create();
        manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source), "on {}", server.major());
        let Some(newest) = &newest else { continue };
        let copy = newest.create();
        manager.restore(&backup, &newest.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(newest.contents(&copy), server.contents(&source), "from {}", server.major());
    }
}

/// Before version 14 not even the oid of a subscription is for everybody to read.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_of_few_privileges_backs_up() {
    for server in server::others() {
        let (source, copy) = (server.create(), server.create());
        let few = Owner::new(&server, "few");
        let made =
            format!("CREATE TABLE t (a int); INSERT INTO t VALUES (1); GRANT SELECT ON t TO {}", few.name);
        server.psql(&source, &made);
        let manager = backups::manager();
        manager.backup(&few.url(&source)).await.unwrap();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source));
        few.gives_away(&[&source, &copy]);
    }
}

/// Since version 15 nobody but its owner may create anything in a new database's.
#[tokio::test(flavor = "multi_thread")]
async fn everybody_creates_in_the_public_schema_who_did() {
    let Some(newest) = server::servers().pop() else { return };
    for server in server::others() {
        let source = server.create();
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = newest.create();
        manager.restore(&backup, &newest.url(&copy), RestoreOptions::default()).await.unwrap();
        let ask = "SELECT has_schema_privilege('pg_monitor', 'public', 'CREATE')";
        assert_eq!(newest.ask(&copy, ask), server.ask(&source, ask), "from {}", server.major());
    }
}

/// Up to version 14 they are said to be the server's own; before 14 nobody but a superuser can switch them off, so rows do not come.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_partitions_do_not_fire_for_rows_alone() {
    for server in server::others() {
        let owner = Owner::new(&server, "fires");
        let made = "CREATE SCHEMA s; CREATE TABLE s.fired (what text); CREATE TABLE s.p (a int) PARTITION BY RANGE (a); CREATE TABLE s.p1 PARTITION OF s.p FOR VALUES FROM (0) TO (100);
            CREATE FUNCTION s.log() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO s.fired VALUES (TG_TABLE_NAME); RETURN NEW; END $$;
            CREATE TRIGGER t AFTER INSERT ON s.p FOR EACH ROW EXECUTE FUNCTION s.log(); INSERT INTO s.p VALUES (1), (2); TRUNCATE s.fired";
        let source = owner.database(made);
        let (manager, backup) = backed_up(&server, &source).await;
        let mut options = RestoreOptions::default();
        (options.content, options.drop_existing) = (Content::DataOnly, true);
        let before = server.contents(&source);
        let restored = manager.restore(&backup, &owner.url(&source), options).await;
        assert_eq!(restored.is_ok(), server.major() >= 14, "on {}: {restored:?}", server.major());
        assert_eq!(server.contents(&source), before, "on {}", server.major());
        owner.gives_away(&[&source]);
    }
}

/// The server of version 17 cannot attach such an index.
#[tokio::test(flavor = "multi_thread")]
async fn exclusion_constraints_of_partitioned_tables_come_back() {
    for server in server::others().into_iter().chain(server::servers()).filter(|server| server.major() >= 17)
    {
        let (source, copy) = (server.create(), server.create());
        server.psql(
            &source,
            r#"CREATE EXTENSION btree_gist; CREATE TABLE p (a int, r int4range, CONSTRAINT "no two" EXCLUDE USING gist (a WITH =, r WITH &&)) PARTITION BY RANGE (a);
               CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10); CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (a); CREATE TABLE p21 PARTITION OF p2 DEFAULT;
               ALTER TABLE p1 RENAME CONSTRAINT p1_a_r_excl TO "odd 'one"; COMMENT ON CONSTRAINT "odd 'one" ON p1 IS 'c'; ALTER TABLE p21 CLUSTER ON p21_a_r_excl;
               INSERT INTO p VALUES (1, '[1,3)'), (1, '[3,5)'), (11, '[1,2)')"#,
        );
        let (manager, backup) = backed_up(&server, &source).await;
        manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source), "on {}", server.major());
    }
}

/// Since version 18 a NOT NULL has a name, and goes with that of the parent.
#[tokio::test(flavor = "multi_thread")]
async fn children_have_not_null_from_their_parents_in_a_version_that_names_it() {
    let Some(newest) = server::servers().pop() else { return };
    for server in server::others() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE top (f int NOT NULL); CREATE TABLE middle () INHERITS (top); CREATE TABLE child (g text) INHERITS (middle);
             ALTER TABLE top ADD a int NOT NULL DEFAULT 1; ALTER TABLE middle ADD b int NOT NULL DEFAULT 2",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = newest.create();
        manager.restore(&backup, &newest.url(&copy), RestoreOptions::default()).await.unwrap();
        let found = newest.ask(&copy, "SELECT conname, conislocal FROM pg_constraint WHERE contype = 'n' AND conrelid = 'child'::regclass ORDER BY 1");
        assert_eq!(
            found,
            "middle_b_not_null|f\ntop_a_not_null|f\ntop_f_not_null|f\n",
            "from {}",
            server.major()
        );
        newest.psql(&copy, "ALTER TABLE top ALTER a DROP NOT NULL");
        let free = "SELECT attnotnull FROM pg_attribute WHERE attrelid = 'child'::regclass AND attname = 'a'";
        assert_eq!(newest.ask(&copy, free), "f\n");
    }
}
