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

#[test]
fn what_is_wrong_has_an_error_of_its_own_and_nothing_is_stored_or_touched() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let source = server.empty().path;
        server.run(
            Some(&source),
            &["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"].map(str::to_owned),
        );
        let place = Place::new();
        let url = server.url_text(&source);
        let id = place.run(&["backup", &url, "--quiet", "--format", "binary"]);
        let (id, stored, whole) = (id.trim(), place.files("backups"), server.dump(&source));
        let absent = server.url_text("lb_no_such_database");
        let said = place.fails(1, &["backup", &absent]);
        assert!(said.contains("lb_no_such_database") && said.contains("1049"), "{said}");
        let said = place.fails(1, &["restore", id, "--target", &absent]);
        assert!(said.contains("--create-database"), "{said}");
        // Whatever the password is, it is not repeated.
        let (scheme, rest) = url.split_once("://").unwrap();
        let (account, host) = rest.rsplit_once('@').unwrap();
        let user = account.split(':').next().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (place_of_server, expected) in
            [(host, "1045"), (&format!("{closed}/{source}"), &closed.port().to_string())]
        {
            let wrong = format!("{scheme}://{user}:canary-password@{place_of_server}");
            for arguments in [&["backup", &wrong][..], &["restore", id, "--target", &wrong]] {
                let said = place.fails(20, arguments);
                assert!(said.contains(expected) && !said.contains("canary-password"), "{said}");
            }
        }
        place.fails(2, &["backup", &format!("{url}?sslmod=require")]);
        place.fails(2, &["backup", &url, "--include", "no_such_table"]);
        // A target that has something is replaced when that is asked for, and off a terminal it has to be meant twice.
        let target = server.empty().path;
        server.run(Some(&target), &["CREATE TABLE precious (x INT)".to_owned()]);
        let (there, before) = (server.url_text(&target), server.dump(&target));
        let said = place.fails(1, &["restore", id, "--target", &there]);
        assert!(said.contains("precious") && said.contains("--drop-existing"), "{said}");
        place.fails(2, &["restore", id, "--target", &there, "--drop-existing"]);
        assert_eq!(server.dump(&target), before);
        assert_eq!(place.files("backups"), stored);
        place.run(&["restore", id, "--target", &there, "--drop-existing", "--yes"]);
        assert_eq!(server.dump(&target), whole);
        let known = server.ask(None, "SHOW DATABASES LIKE 'lb\\_no\\_such%'");
        assert_eq!(known, "");
    }
}

#[test]
fn what_the_url_leaves_out_comes_from_my_cnf() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let source = server.empty().path;
        server.run(
            Some(&source),
            &["CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)"].map(str::to_owned),
        );
        let variables = server.ask(None, "SELECT @@datadir, @@socket, @@port");
        let variables: Vec<_> = variables.trim_end().split('\t').collect();
        let socket = std::path::Path::new(variables[0]).join(variables[1]);
        let url: backup_core::DatabaseUrl = server.url_text(&source).parse().unwrap();
        let (user, password) = (url.user.clone().unwrap(), url.password.clone().unwrap());
        let account = format!("user={user}\npassword = \"{}\"\n", password.expose());
        let at = format!("host = 127.0.0.1\nport={}\n", variables[2]);
        let place = Place::new();
        let cases = [
            (format!("[client]\n{account}{at}"), format!("mysql:///{source}")),
            (format!("[client]\n{account}port=1\n"), format!("mysql://127.0.0.1:{}/{source}", variables[2])),
            (
                format!("[client]\npassword='{}'\n{at}user=nobody", password.expose()),
                format!("mysql://{user}@/{source}"),
            ),
            (
                format!("# all\n[mysqld]\nuser=x\n[client]\n{account}\nsocket={}\n", socket.display()),
                format!("mysql:///{source}"),
            ),
            (format!("[client]\n{account}"), format!("mysql:///{source}?socket={}", socket.display())),
        ];
        for (file, url) in cases {
            if file.contains("socket") && !socket.exists() {
                missing("sockets", "the server is on another machine");
                continue;
            }
            std::fs::write(place.path(".my.cnf"), &file).unwrap();
            let mut command = place.command(&["backup", &url, "--quiet"]);
            let made = command.env("HOME", place.path("")).output().unwrap();
            let said = String::from_utf8_lossy(&made.stderr);
            assert!(made.status.success(), "{url}: {said}");
        }
        // Without it nobody is let in.
        std::fs::remove_file(place.path(".my.cnf")).unwrap();
        let url = format!("mysql://{user}@127.0.0.1:{}/{source}", variables[2]);
        let made = place.command(&["backup", &url]).env("HOME", place.path("")).output().unwrap();
        assert_eq!(made.status.code(), Some(20));
    }
}

#[test]
fn a_row_that_is_larger_than_any_packet_comes_back_in_little_memory() {
    for server in ["mariadb", "mysql"].iter().filter_map(|kind| Server::find(kind)) {
        let source = server.empty().path;
        // No value that the server makes is larger than its packets.
        let half = "REPEAT(UNHEX('000A095C27FF'), 10000000)";
        server.run(
            Some(&source),
            &[
                "CREATE TABLE t (id INT PRIMARY KEY, a LONGBLOB, b LONGBLOB, c LONGTEXT CHARACTER SET latin1)".to_owned(),
                format!("INSERT INTO t VALUES (1, {half}, {half}, NULL)"),
                "UPDATE t SET c = a".to_owned(),
                "INSERT INTO t VALUES (2, 'small', NULL, '')".to_owned(),
            ],
        );
        let place = Place::new();
        let backup =
            place.peak(&["backup", &server.url_text(&source), "--quiet", "--format", "binary", "-j", "2"]);
        let target = server.empty().path;
        let restore = place.peak(&["restore", "latest", "--target", &server.url_text(&target), "-j", "2"]);
        let digests =
            "SELECT id, SHA2(a, 256), SHA2(b, 256), SHA2(c, 256), LENGTH(a), LENGTH(c) FROM t ORDER BY id";
        let expected = server.ask(Some(&source), digests);
        assert!(expected.contains("60000000"), "{expected}");
        assert_eq!(server.ask(Some(&target), digests), expected);
        println!("a row of 180 MB: backup {backup} MiB, restore {restore} MiB");
        assert!(backup < 200 && restore < 200, "backup {backup} MiB, restore {restore} MiB");
    }
}
