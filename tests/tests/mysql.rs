//! MySQL and MariaDB by the real binary, and their own dump programs as the judges.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::path::PathBuf;

use end_to_end::{Place, missing};

#[path = "../../crates/backup-mysql/tests/server/mod.rs"]
mod server;

use server::Server;

const KINDS: [&str; 3] = ["mariadb", "mariadb11", "mysql"];

/// A file of the sample databases, if they are there.
fn corpus(path: &str) -> Option<PathBuf> {
    let above = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut files = above.map(|directory| directory.join("shared/corpora").join(path));
    let found = files.find(|file| file.exists());
    if found.is_none() {
        missing("corpora", &format!("has no {path}"));
    }
    found
}

/// The name of a new database with Chinook in it.
fn chinook(server: &Server) -> Option<String> {
    let script = std::fs::read_to_string(corpus("chinook/Chinook_MySql.sql")?).unwrap();
    let source = server.empty().path;
    let of_database = |line: &&str| {
        let line = line.to_ascii_uppercase();
        line.starts_with("DROP DATABASE") || line.starts_with("CREATE DATABASE") || line.starts_with("USE ")
    };
    let script: String =
        script.lines().filter(|line| !of_database(line)).map(|line| format!("{line}\n")).collect();
    server.feed(Some(&source), script.as_bytes(), &[]);
    Some(source)
}

#[test]
fn a_sample_database_comes_back_from_every_format_under_another_name() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let Some(source) = chinook(&server) else { return };
        let expected = server.dump(&source);
        assert!(expected.contains("INSERT INTO `Track`"));
        let place = Place::new();
        for format in ["binary", "sql", "compressed"] {
            let url = server.url_text(&source);
            let id = place.run(&["backup", &url, "--quiet", "-j", "2", "--format", format]);
            let id = id.trim();
            place.run(&["verify", id]);
            let shown = place.run(&["show", id]);
            assert!(shown.contains(&source), "{shown}");
            let copy = format!("{source}_{format}");
            server.database(&copy);
            let arguments = ["--target-database", &copy, "--create-database"];
            place.run(&[&["restore", id, "--target", &url], &arguments[..]].concat());
            assert!(server.dump(&copy) == expected, "by way of {format}");
        }
    }
}

#[test]
fn a_script_is_loaded_by_the_servers_own_client() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let Some(source) = chinook(&server) else { return };
        let place = Place::new();
        let url = server.url_text(&source);
        let id = place.run(&["backup", &url, "--quiet", "--format", "compressed"]);
        let script = place.path("exported.sql");
        place.run(&["export", id.trim(), "--output", script.to_str().unwrap()]);
        let copy = server.empty().path;
        server.feed(Some(&copy), &std::fs::read(&script).unwrap(), &["--comments"]);
        assert!(server.dump(&copy) == server.dump(&source));
    }
}

#[test]
fn the_lock_that_a_backup_takes_is_said() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let source = server.empty().path;
        server.run(Some(&source), &["CREATE TABLE t (id INT PRIMARY KEY)".to_owned()]);
        let place = Place::new();
        let output = place.command(&["backup", &server.url_text(&source)]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("the snapshot was taken under"), "{said}");
    }
}
