//! Restores into MySQL and MariaDB that are killed: the target says that it is incomplete, and the next restore needs no help.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::process::Stdio;
use std::time::{Duration, Instant};

use end_to_end::Place;

#[path = "../../crates/backup-mysql/tests/server/mod.rs"]
mod server;

use server::Server;

const KINDS: [&str; 3] = ["mariadb", "mariadb11", "mysql"];

/// The table that a database has while it is being restored.
const MARKER: &str = "lifeboat_restore_is_incomplete";

fn servers() -> Vec<Server> {
    KINDS.iter().filter_map(|kind| Server::find(kind)).collect()
}

/// Rows enough for a restore to be met at work, and one of every kind that comes behind them.
fn source(server: &Server) -> String {
    let source = server.empty().path;
    let more = if server.is_mariadb() { "max_recursive_iterations" } else { "cte_max_recursion_depth" };
    server.run(
        Some(&source),
        &[
            format!("SET SESSION {more} = 1000000"),
            "CREATE TABLE noise (id INT PRIMARY KEY, text VARCHAR(100), KEY (text))".to_owned(),
            "INSERT INTO noise WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
             SELECT i, SHA2(i, 256) FROM n"
                .to_owned(),
            "CREATE TABLE child (id INT PRIMARY KEY, CONSTRAINT to_noise FOREIGN KEY (id) REFERENCES noise (id))"
                .to_owned(),
            "INSERT INTO child VALUES (1), (2)".to_owned(),
            "CREATE VIEW seen AS SELECT COUNT(*) FROM noise".to_owned(),
            "CREATE TRIGGER counted BEFORE INSERT ON child FOR EACH ROW SET @n = 1".to_owned(),
            "CREATE EVENT later ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01' DISABLE DO SELECT 1".to_owned(),
        ],
    );
    source
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn sessions(server: &Server, target: &str) -> String {
    // One that has no database yet says in which it works.
    let sql = format!(
        "SELECT ID FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID() AND (DB = '{target}' OR INFO LIKE '%{target}%')"
    );
    server.ask(None, &sql)
}

/// The moments at which to kill: each is a question that the server answers with 1 when it has come.
fn moments(target: &str) -> [String; 4] {
    let has_table = |table: &str| {
        format!(
            "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{target}' AND TABLE_NAME = '{table}'"
        )
    };
    let does = |what: &str| {
        format!(
            "SELECT COUNT(*) > 0 FROM information_schema.PROCESSLIST WHERE DB = '{target}' AND INFO LIKE '{what}%'"
        )
    };
    [has_table(MARKER), has_table("noise"), does("LOAD DATA"), does("ALTER TABLE")]
}

#[test]
fn a_restore_killed_at_any_moment_leaves_a_marked_target_that_the_next_clears_up() {
    for server in servers() {
        let (source, place) = (source(&server), Place::new());
        let id = place.run(&["backup", &server.url_text(&source), "--format", "binary", "--quiet"]);
        let (id, whole) = (id.trim(), server.dump(&source));
        let mut killed = 0;
        for replaces in [false, true] {
            for number in 0..4 {
                let target = server.empty().path;
                if replaces {
                    server.run(Some(&target), &["CREATE TABLE precious (x INT)".to_owned()]);
                }
                let (url, before) = (server.url_text(&target), server.dump(&target));
                let restore = ["restore", id, "--target", &url, "-j", "2"];
                let replacing = [&restore[..], &["--drop-existing", "--yes"]].concat();
                let arguments = if replaces { &replacing } else { &restore[..] };
                let moment = &moments(&target)[number];
                let mut child =
                    place.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                wait_until(moment, || {
                    child.try_wait().unwrap().is_some() || server.ask(None, moment).trim() == "1"
                });
                child.kill().unwrap();
                let ended_well = child.wait().unwrap().success();
                wait_until("the server notices that its client is gone", || {
                    sessions(&server, &target).is_empty()
                });
                let found = server.dump(&target);
                if ended_well {
                    assert!(found == whole);
                } else if found != before && found != whole {
                    killed += 1;
                    let marker = &moments(&target)[0];
                    assert_eq!(server.ask(None, marker).trim(), "1", "{moment}: half of it, and unmarked");
                    // Other people's backups do not take it for a database.
                    let said = place.fails(1, &["backup", &url, "--format", "binary"]);
                    assert!(said.contains("incomplete"), "{said}");
                    // No help is needed, nor asked for.
                    let said = place.command(&restore).output().unwrap();
                    let said = String::from_utf8_lossy(&said.stderr).into_owned();
                    assert!(said.contains("an earlier restore left incomplete"), "{said}");
                    assert!(server.dump(&target) == whole, "{moment}");
                }
            }
        }
        assert!(killed > 2, "no restore was met at work");
        println!("{killed} restores killed half-way, marked, and done by a rerun");
    }
}

#[test]
fn a_backup_that_is_killed_lets_go_of_its_locks() {
    for server in servers() {
        let (source, place) = (source(&server), Place::new());
        server.run(Some(&source), &["CREATE TABLE held (x INT) ENGINE=MyISAM".to_owned()]);
        let url = server.url_text(&source);
        for signal in ["-TERM", "-KILL"] {
            let mut child = place
                .command(&["backup", &url, "--format", "binary", "--limit", "20KiB/s"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let reading = format!(
                "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{source}' AND INFO LIKE '%FROM `noise`%'"
            );
            wait_until("rows", || {
                child.try_wait().unwrap().is_some() || server.ask(None, &reading).trim() != "0"
            });
            let pid = child.id().to_string();
            assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
            let ended = child.wait().unwrap();
            assert!(signal == "-KILL" || ended.code() == Some(130), "{ended}");
            wait_until("the end of its sessions", || sessions(&server, &source).is_empty());
            // Nobody waits for what it had locked.
            server.run(
                Some(&source),
                &[
                    "SET SESSION lock_wait_timeout = 5",
                    "INSERT INTO held VALUES (1)",
                    "ALTER TABLE held ADD COLUMN c_TERM INT"
                        .replace("_TERM", &signal.replace('-', "_"))
                        .as_str(),
                ]
                .map(str::to_owned),
            );
        }
        assert_eq!(place.run(&["list", "--quiet"]).matches(&source).count(), 0);
    }
}
