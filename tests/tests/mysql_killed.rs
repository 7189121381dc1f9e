//! Restores into MySQL and MariaDB that are killed: whatever the moment, the target is what it was or marked as incomplete, is no source of backups
//! while it is, and the next restore needs no help.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use end_to_end::Place;

#[path = "../../crates/backup-mysql/tests/server/mod.rs"]
mod server;

use server::Server;

const KINDS: [&str; 3] = ["mariadb", "mariadb11", "mysql"];

/// A database with some of everything that is made at another moment, and rows enough for a restore to be met at work.
fn source(server: &Server) -> String {
    let name = server.empty().path;
    let numbers = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 150000)";
    let depth = if server.is_mariadb() { "max_recursive_iterations" } else { "cte_max_recursion_depth" };
    let statements = [
        &format!("SET SESSION {depth} = 1000000"),
        "CREATE TABLE noise (id INT PRIMARY KEY, text VARCHAR(100), other VARCHAR(100), KEY by_text (text), KEY by_other (other))",
        &format!("INSERT INTO noise {numbers} SELECT i, SHA2(i, 256), SHA2(-i, 256) FROM n"),
        "CREATE TABLE child (id INT PRIMARY KEY, noise INT, FOREIGN KEY (noise) REFERENCES noise (id))",
        "INSERT INTO child VALUES (1, 1), (2, 150000)",
        "CREATE VIEW seen AS SELECT COUNT(*) FROM noise",
        "CREATE PROCEDURE p() BEGIN SELECT 1; SELECT 2; END",
        "CREATE TRIGGER t BEFORE INSERT ON child FOR EACH ROW SET NEW.id = NEW.id",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DISABLE DO SELECT 1",
    ];
    server.run(Some(&name), &statements.map(|sql| sql.to_owned()));
    name
}

/// A database that is to be replaced.
fn target(server: &Server) -> String {
    let name = server.empty().path;
    fill(server, &name);
    name
}

fn fill(server: &Server, name: &str) {
    let statements = [
        "CREATE TABLE precious (x INT)",
        "INSERT INTO precious VALUES (1)",
        "CREATE VIEW seen AS SELECT x FROM precious",
        "CREATE PROCEDURE ours() SELECT 1",
    ];
    server.run(Some(name), &statements.map(str::to_owned));
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Kills a restore as soon as the server is at something, if it is met at that; returns whether it had ended well.
fn kill_at(place: &Place, server: &Server, target: &str, arguments: &[&str], moment: &str) -> bool {
    let mut child: Child =
        place.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let asked = format!("SELECT EXISTS ({moment})");
    wait_until(moment, || child.try_wait().unwrap().is_some() || server.ask(None, &asked) == "1\n");
    child.kill().unwrap();
    let whole = child.wait().unwrap().success();
    server.wait_until_left(target);
    whole
}

fn is_marked(server: &Server, target: &str) -> bool {
    let marked = format!(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{target}' AND TABLE_NAME LIKE 'lifeboat%incomplete'"
    );
    server.ask(None, &marked) == "1\n"
}

/// What the server is at for somebody in that database.
fn at(target: &str, what: &str) -> String {
    format!("SELECT 1 FROM information_schema.PROCESSLIST WHERE DB = '{target}' AND INFO LIKE '{what}'")
}

fn moments(target: &str) -> Vec<String> {
    let has = |table: &str| {
        format!(
            "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{target}' AND TABLE_NAME = '{table}'"
        )
    };
    vec![
        // From the moment on that it is begun, ...
        has("lifeboat_restore_is_incomplete"),
        // ... when the first table is there, ...
        has("noise"),
        // ... when the rows come, when keys are made, ...
        at(target, "LOAD DATA%"),
        at(target, "ALTER TABLE%ADD KEY%"),
        // ... and when what comes last is there.
        has("seen"),
        format!("SELECT 1 FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{target}'"),
    ]
}

#[test]
fn a_restore_killed_at_any_moment_is_marked_and_done_by_a_rerun() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let (source, target, place) = (source(&server), target(&server), Place::new());
        let id = place.run(&["backup", &server.url_text(&source), "--format", "binary", "--quiet"]);
        let url = server.url_text(&target);
        let restore = ["restore", id.trim(), "--target", &url, "--yes", "-j", "2"];
        let replace = [&restore[..], &["--drop-existing"]].concat();
        let (old, new) = (server.dump(&target), server.dump(&source));
        let (mut killed, mut marked) = (0, 0);
        for moment in moments(&target) {
            let was_whole = kill_at(&place, &server, &target, &replace, &moment);
            killed += u32::from(!was_whole);
            let is = server.dump(&target);
            assert!(!was_whole || is == new, "{moment}");
            if is_marked(&server, &target) {
                marked += 1;
                let said = place.fails(3, &["backup", &url]);
                assert!(said.contains(&target) && said.contains("incomplete"), "{said}");
                // It is replaced as if it were not there: what it held is lost already.
                let again = if killed % 2 == 0 { &restore[..] } else { &replace[..] };
                place.run(again);
                assert!(server.dump(&target) == new, "{moment}");
            } else {
                assert!(is == new || is == old, "{moment}: neither the old nor the new, and not marked");
            }
            server.run(None, &[format!("DROP DATABASE `{target}`"), format!("CREATE DATABASE `{target}`")]);
            fill(&server, &target);
        }
        println!("{killed} restores killed, {marked} left the target marked");
        assert!(killed > 3 && marked > 2, "{killed} restores were met at work, {marked} had begun");
        place.run(&replace);
        assert!(server.dump(&target) == new);
    }
}

#[test]
fn a_database_that_a_killed_restore_made_is_marked_and_one_that_is_empty_is_as_good_as_new() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let (source, place) = (source(&server), Place::new());
        let id = place.run(&["backup", &server.url_text(&source), "--format", "compressed", "--quiet"]);
        let target = format!("{source}_new");
        server.database(&target);
        let url = server.url_text(&target);
        let restore = ["restore", id.trim(), "--target", &url, "--create-database", "-j", "2"];
        let made = format!("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = '{target}'");
        for moment in [&made, &at(&target, "LOAD DATA%")] {
            kill_at(&place, &server, &target, &restore, moment);
            place.run(&restore);
            assert!(server.dump(&target) == server.dump(&source), "{moment}");
            server.run(None, &[format!("DROP DATABASE `{target}`")]);
        }
    }
}

/// What goes in beside what is there: all of a table, and rows alone.
#[test]
fn a_restore_of_some_that_is_killed_is_marked_and_done_by_a_rerun_and_touches_nothing_else() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let (source, place) = (source(&server), Place::new());
        let id = place.run(&["backup", &server.url_text(&source), "--format", "binary", "--quiet"]);
        for more in [&["--table", "noise"][..], &["--table", "noise", "--data-only"]] {
            let target = target(&server);
            let url = server.url_text(&target);
            let restore = [&["restore", id.trim(), "--target", &url, "--yes", "-j", "2"], more].concat();
            // Rows alone need their table, which rows that were there make one to replace.
            let make = "CREATE TABLE noise (id INT PRIMARY KEY, text VARCHAR(100), other VARCHAR(100), KEY by_text (text))";
            let prepare = || {
                let statements =
                    ["DROP TABLE IF EXISTS noise", make, "INSERT INTO noise VALUES (0, 'old', 'old')"];
                server.run(Some(&target), &statements.map(str::to_owned));
            };
            let replace = [&restore[..], &["--drop-existing"]].concat();
            prepare();
            let old = server.dump(&target);
            place.run(&replace);
            let new = server.dump(&target);
            let (mut killed, mut marked) = (0, 0);
            let has_marker = format!(
                "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{target}' AND TABLE_NAME LIKE 'lifeboat%incomplete'"
            );
            for moment in [has_marker, at(&target, "LOAD DATA%"), at(&target, "ALTER TABLE%ADD KEY%")] {
                prepare();
                let was_whole = kill_at(&place, &server, &target, &replace, &moment);
                killed += u32::from(!was_whole);
                if is_marked(&server, &target) {
                    marked += 1;
                    let said = place.fails(3, &["backup", &url]);
                    assert!(said.contains(&target) && said.contains("incomplete"), "{said}");
                    place.run(&restore);
                    assert!(server.dump(&target) == new, "{more:?} {moment}");
                } else {
                    let is = server.dump(&target);
                    assert!(
                        is == new || is == old,
                        "{more:?} {moment}: neither the old nor the new, and not marked"
                    );
                }
            }
            println!("{more:?}: {killed} restores killed, {marked} left the target marked");
            assert!(
                killed > 1 && marked > 1,
                "{more:?}: {killed} restores were met at work, {marked} had begun"
            );
        }
    }
}
