//! Restores into PostgreSQL that are killed: whatever the moment, one whole database is there, and the next restore needs no help.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use end_to_end::Place;

#[path = "../../crates/backup-postgres/tests/server/mod.rs"]
mod server;

use server::Server;

/// The connection limit of databases that a restore may drop.
const MARK: i32 = 0x6c69_6665;

/// A database with a comment, and rows enough for a restore to be met at work.
fn source(server: &Server) -> String {
    let name = server.create();
    server.psql(
        &name,
        &format!(
            "CREATE TABLE noise (id int PRIMARY KEY, text text); COMMENT ON DATABASE {name} IS 'of the source';
             INSERT INTO noise SELECT i, md5(i::text) FROM generate_series(1, 100000) i;
             CREATE INDEX ON noise (text)"
        ),
    );
    name
}

/// A database that is to be replaced.
fn target(server: &Server) -> String {
    let name = server.create();
    server.psql(&name, "CREATE TABLE precious (x int); INSERT INTO precious VALUES (1)");
    server.psql("postgres", &format!("ALTER DATABASE {name} CONNECTION LIMIT 17"));
    for suffix in ["restoring", "replaced"] {
        server.expect(&format!("{name}-lifeboat-{suffix}"));
    }
    name
}

fn arguments<'a>(id: &'a str, url: &'a str) -> [&'a str; 8] {
    ["restore", id, "--target", url, "--drop-existing", "--yes", "-j", "2"]
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_killed_restore_has_left_at_any_step_is_dropped_by_the_next_and_nothing_else_is() {
    for server in server::servers() {
        let (source, target, place) = (source(&server), target(&server), Place::new());
        let id = place.run(&["backup", &server.url_text(&source), "--format", "binary", "--quiet"]);
        let (id, url) = (id.trim(), server.url_text(&target));
        let restoring = format!("{target}-lifeboat-restoring");
        let replaced = format!("{target}-lifeboat-replaced");
        let limit = format!("SELECT datconnlimit FROM pg_database WHERE datname = '{target}'");
        let restores = |left: &str| {
            let said = place.command(&arguments(id, &url)).output().unwrap();
            let said = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(said.contains("left by a restore that did not end"), "{left}: {said}");
            assert_eq!(server.dump(&target), server.dump(&source), "{left}");
            assert_eq!(server.databases(&target), [target.as_str()], "{left}");
            assert_eq!(server.ask("postgres", &limit).trim(), "17", "{left}");
        };
        // As CREATE DATABASE leaves it, before anything is in it.
        server.psql("postgres", &format!("CREATE DATABASE \"{restoring}\" CONNECTION LIMIT {MARK}"));
        restores("a new database");
        // What was replaced and not dropped any more.
        server.psql("postgres", &format!("CREATE DATABASE \"{replaced}\" CONNECTION LIMIT {MARK}"));
        restores("a replaced database");
        // Dropping it was begun: the server lets nobody in.
        server.psql("postgres", &format!("CREATE DATABASE \"{restoring}\""));
        let begun = format!("UPDATE pg_database SET datconnlimit = -2 WHERE datname = '{restoring}'");
        server.psql("postgres", &begun);
        restores("a database half dropped");
        // Whoever made this one, it was no restore.
        for name in [&restoring, &replaced] {
            server.psql("postgres", &format!("CREATE DATABASE \"{name}\" CONNECTION LIMIT 16"));
            server.psql(name, "CREATE TABLE precious (x int)");
            let before = server.dump(name);
            let said = place.fails(1, &arguments(id, &url));
            assert!(said.contains(name), "{said}");
            assert_eq!(server.dump(name), before);
            server.psql("postgres", &format!("DROP DATABASE \"{name}\""));
        }
    }
}

#[test]
fn a_restore_killed_at_any_moment_leaves_one_whole_database_and_is_done_by_a_rerun() {
    for server in server::servers() {
        let (source, target, place) = (source(&server), target(&server), Place::new());
        let id = place.run(&["backup", &server.url_text(&source), "--format", "binary", "--quiet"]);
        let url = format!("{}?application_name={target}", server.url_text(&target));
        let (old, new) = (server.dump(&target), server.dump(&source));
        let asked = |sql: &str| server.ask("postgres", sql).trim() == "t";
        let restoring =
            format!("(SELECT oid FROM pg_database WHERE datname = '{target}-lifeboat-restoring')");
        let moments = [
            // From the moment on that it exists, ...
            format!("SELECT {restoring} IS NOT NULL"),
            // ... when its comment is the backup's, ...
            format!("SELECT shobj_description({restoring}, 'pg_database') = 'of the source'"),
            // ... and when the rows come.
            format!(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datid = {restoring} AND query ~ 'COPY')"
            ),
        ];
        let mut killed = 0;
        for moment in &moments {
            let mut child: Child = place
                .command(&arguments(id.trim(), &url))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            wait_until(moment, || child.try_wait().unwrap().is_some() || asked(moment));
            child.kill().unwrap();
            let whole = child.wait().unwrap().success();
            killed += u32::from(!whole);
            let gone = format!(
                "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{target}')"
            );
            wait_until("the server notices that its client is gone", || asked(&gone));
            let is = server.dump(&target);
            assert!(is == new || is == old, "{moment} on {}: neither the old nor the new", server.major());
            assert!(!whole || is == new);
        }
        assert!(killed > 0, "no restore was met at work");
        place.run(&arguments(id.trim(), &url));
        assert_eq!(server.dump(&target), new);
        assert_eq!(server.databases(&target), [target.as_str()]);
    }
}

#[test]
fn one_table_that_is_replaced_is_the_old_or_the_new_whatever_the_moment() {
    for server in server::servers() {
        let (source, target, place) = (source(&server), target(&server), Place::new());
        let id = place.run(&["backup", &server.url_text(&source), "--format", "binary", "--quiet"]);
        let url = format!("{}?application_name={target}", server.url_text(&target));
        server.psql(&target, "CREATE TABLE noise (old int); INSERT INTO noise VALUES (1)");
        let old = server.dump(&target);
        let restore = || {
            let only = ["--table", "noise", "--drop-existing", "--yes"];
            place.command(&[&["restore", id.trim(), "--target", &url][..], &only].concat())
        };
        let asked = |sql: &str| server.ask("postgres", sql).trim() == "t";
        let active = |what: &str| {
            format!(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE application_name = '{target}' AND datname = '{target}' {what})"
            )
        };
        let mut killed = 0;
        for query in ["", "AND query ~ 'DROP TABLE'", "AND query ~ 'COPY'", "AND query ~ 'INDEX'"] {
            let mut child = restore().stderr(Stdio::null()).spawn().unwrap();
            wait_until(query, || child.try_wait().unwrap().is_some() || asked(&active(query)));
            child.kill().unwrap();
            let whole = child.wait().unwrap().success();
            wait_until("the server notices that its client is gone", || !asked(&active("")));
            if whole {
                server.psql(
                    &target,
                    "DROP TABLE noise; CREATE TABLE noise (old int); INSERT INTO noise VALUES (1)",
                );
            }
            killed += u32::from(!whole);
            assert_eq!(server.dump(&target), old, "{query}");
        }
        assert!(killed > 0, "no restore was met at work");
        assert!(restore().output().unwrap().status.success());
        let rows = "SELECT md5(string_agg(noise::text, '' ORDER BY id)) FROM noise";
        assert_eq!(server.ask(&target, rows), server.ask(&source, rows));
        assert_eq!(server.ask(&target, "SELECT x FROM precious").trim(), "1");
    }
}

#[test]
fn a_backup_is_proven_by_a_restore_of_which_nothing_is_left_however_it_ends() {
    for server in server::servers() {
        let (source, target, place) = (source(&server), target(&server), Place::new());
        server.psql(
            &source,
            "CREATE VIEW seen AS SELECT count(*) FROM noise; CREATE SEQUENCE counted START 7;
             CREATE TABLE parts (a int) PARTITION BY LIST (a); CREATE TABLE part PARTITION OF parts FOR VALUES IN (1);
             INSERT INTO parts VALUES (1)",
        );
        let before = server.dump(&target);
        let id = place.run(&["backup", &server.url_text(&source), "--format", "binary", "--quiet"]);
        let url = server.url_text(&target);
        let arguments = ["verify", id.trim(), "--restore", "--target", &url];
        let scratch = format!("{}-scratch-", target.get(..19).unwrap_or(&target));
        let left = || server.databases(&scratch);
        let said = place.run(&arguments);
        assert!(said.contains("equal"), "{said}");
        assert!(left().is_empty(), "{:?}", left());
        // While it is there, others leave it alone.
        let mut stopped =
            place.command(&arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        wait_until("a scratch database", || !left().is_empty());
        place.run(&arguments);
        assert!(stopped.wait().unwrap().success());
        for signal in ["-TERM", "-KILL"] {
            let mut child =
                place.command(&arguments).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
            wait_until("a scratch database", || !left().is_empty());
            let pid = child.id().to_string();
            assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
            let status = child.wait().unwrap();
            if signal == "-TERM" {
                assert_eq!(status.code(), Some(130));
                assert!(left().is_empty(), "{:?}", left());
            }
        }
        // The server may still be making the database of the one that was killed, or hear only now that it has gone.
        wait_until("the end of what was left behind", || {
            place.run(&arguments);
            left().is_empty()
        });
        // Whatever is not marked is somebody's.
        let precious = format!("{scratch}0123456789abcdef");
        server.psql("postgres", &format!("CREATE DATABASE \"{precious}\""));
        place.run(&arguments);
        assert_eq!(left(), [precious.as_str()]);
        server.psql("postgres", &format!("DROP DATABASE \"{precious}\""));
        assert_eq!(server.dump(&target), before);
    }
}
