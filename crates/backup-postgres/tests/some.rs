//! Some tables into a new database, and beside others: what they need comes along, and what would want others is left out, by name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::{Ctx, RestoreOptions};
use backup_testkit::told::Told;

mod backups;
mod server;

use backups::backed_up;

const SOURCE: &str = "
CREATE TABLE a (id int PRIMARY KEY);
CREATE TABLE b (id int PRIMARY KEY, above int);
CREATE TABLE refers (id int PRIMARY KEY, a int CONSTRAINT to_a REFERENCES a, b int CONSTRAINT to_b REFERENCES b, c int CONSTRAINT to_b_too REFERENCES b,
  self int CONSTRAINT to_self REFERENCES refers);
CREATE FUNCTION mine(int) RETURNS bool LANGUAGE sql AS 'SELECT $1 > 0';
CREATE POLICY asks ON refers FOR SELECT USING (mine(id));
CREATE POLICY reads_a ON refers USING (id IN (SELECT id FROM a));
CREATE POLICY walks ON refers AS RESTRICTIVE FOR UPDATE USING (id = 1) WITH CHECK (b IN (
  WITH RECURSIVE up AS (SELECT id, above FROM b UNION ALL SELECT b.id, b.above FROM b JOIN up ON b.id = up.above)
  CYCLE id SET seen TO 'Y' DEFAULT 'N' USING path SELECT id FROM up WHERE seen = 'N'));
ALTER TABLE refers ENABLE ROW LEVEL SECURITY;
INSERT INTO a VALUES (1); INSERT INTO b VALUES (1, NULL), (2, 1); INSERT INTO refers VALUES (1, 1, 1, 2, 1);
";

/// The keys and policies of the table, as the server says them.
const HELD: &str = "
SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'f' UNION ALL
SELECT polname, concat_ws(' ', polcmd, polpermissive, replace(pg_get_expr(polqual, polrelid), chr(10), ''), replace(pg_get_expr(polwithcheck, polrelid), chr(10), '')) FROM pg_policy ORDER BY 1";

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_policies_that_want_tables_which_were_not_chosen_are_left_out_by_name_and_no_others() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, SOURCE);
        let (manager, backup) = backed_up(&server, &source).await;
        let told = Arc::new(Told::default());
        let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
        // A table of that name that is there is another one.
        for there in ["", "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE other ()"] {
            let target = server.create();
            server.psql(&target, there);
            let before = told.warnings().len();
            let mut options = RestoreOptions::default();
            options.tables = ["refers", "b"].map(|table| table.parse().unwrap()).into();
            manager.restore(&backup, &server.url(&target), options).await.unwrap();
            let warnings = told.warnings().split_off(before);
            assert_eq!(warnings.len(), 2, "{there}: {warnings:?}");
            for name in ["to_a ", "reads_a "] {
                assert!(warnings.iter().any(|warning| warning.contains(name)), "{there}: {warnings:?}");
            }
            let expected = server.ask(&source, HELD);
            let (left_out, kept): (Vec<_>, Vec<_>) =
                expected.lines().partition(|line| line.starts_with("to_a|") || line.starts_with("reads_a|"));
            assert_eq!((left_out.len(), kept.len()), (2, 5), "{expected}");
            assert_eq!(server.ask(&target, HELD).lines().collect::<Vec<_>>(), kept, "on {}", server.major());
            let found =
                "SELECT mine(id), a, b, c, relrowsecurity FROM refers, pg_class WHERE relname = 'refers'";
            assert_eq!(server.ask(&target, found), "t|1|1|2|t\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_brings_along_no_other_that_is_called_like_the_type_of_its_arrays() {
    for server in server::servers() {
        let source = server.create();
        // Each of them wants a name that its neighbour's arrays have or had.
        let pairs: String = (0..40)
            .map(|i| format!("CREATE TABLE __x{i} (a int); CREATE TABLE x{i} (a int); CREATE TYPE _x{i} AS ENUM ('a'); CREATE TABLE y{i} (a x{i}[]);"))
            .collect();
        let owners: String = (0..40).map(|i| format!("ALTER TABLE x{i} OWNER TO pg_monitor;")).collect();
        server.psql(&source, &(pairs + &owners));
        let (manager, backup) = backed_up(&server, &source).await;
        let copy = server.create();
        let mut options = RestoreOptions::default();
        options.tables = vec!["x7".parse().unwrap()];
        manager.restore(&backup, &server.url(&copy), options).await.unwrap();
        let made = "SELECT relname FROM pg_class WHERE oid >= 16384 AND relkind = 'r'
                    UNION ALL SELECT typname FROM pg_type WHERE oid >= 16384 AND typtype = 'e'";
        assert_eq!(server.ask(&copy, made), "x7\n");
        // Where all are made at once, none is in the way of another for long.
        let copy = server.create();
        let mut options = RestoreOptions::default();
        options.jobs = Some(8);
        manager.restore(&backup, &server.url(&copy), options).await.unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_like_a_table_that_is_there_comes_along_all_the_same() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE FUNCTION there(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1'; CREATE COLLATION there FROM \"C\"; CREATE TABLE t (a int DEFAULT there(1), x text COLLATE there); INSERT INTO t VALUES (DEFAULT, 'x')",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let target = server.create();
        server.psql(&target, "CREATE TABLE there (kept int); INSERT INTO there VALUES (1)");
        let mut options = RestoreOptions::default();
        options.tables = vec!["t".parse().unwrap()];
        manager.restore(&backup, &server.url(&target), options.clone()).await.unwrap();
        let found = "INSERT INTO t (x) VALUES ('y') RETURNING a; SELECT kept FROM there";
        assert_eq!(server.ask(&target, found), "2\n1\n", "on {}", server.major());
        // What is called like it and is a relation is the one that is there.
        server.psql(&source, "CREATE SEQUENCE \"there too\"; SELECT nextval('\"there too\"'); CREATE TABLE u (a int DEFAULT nextval('\"there too\"'))");
        let (manager, backup) = backed_up(&server, &source).await;
        server.psql(&target, "CREATE SEQUENCE \"there too\" START 70");
        options.tables = vec!["u".parse().unwrap()];
        manager.restore(&backup, &server.url(&target), options).await.unwrap();
        assert_eq!(server.ask(&target, "INSERT INTO u DEFAULT VALUES RETURNING a"), "70\n");
    }
}
