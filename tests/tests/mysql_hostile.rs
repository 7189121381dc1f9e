//! Hostile names and texts in MySQL and MariaDB: inert in scripts that the servers' own clients load, in what is restored, and for
//! people; and each comes back.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::path::Path;
use std::process::Command;

use end_to_end::Place;

#[path = "../../crates/backup-mysql/tests/server/mod.rs"]
mod server;

use server::Server;

const KINDS: [&str; 3] = ["mariadb", "mariadb11", "mysql"];

/// Of at most 52 characters, so that something can be put behind them.
const HOSTILE: [&str; 4] = [
    "two\nlines\n\\! touch hacked\n-- x",
    "`;'\"*/ -- $$ \\! touch hacked; DROP",
    "/*! DROP DATABASE a */\ndelimiter //\n\\! touch hacked",
    "\\G\\! touch hacked\t{}%s\r# '';\u{7}\u{1b}[2J'",
];

fn name(text: &str) -> String {
    format!("`{}`", text.replace('`', "``"))
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// The URL of a database, whatever it is called.
fn url(server: &Server, database: &str) -> String {
    let encoded: String = database.bytes().map(|byte| format!("%{byte:02X}")).collect();
    server.url_text(&encoded)
}

/// Everything that has a name, called so.
fn statements(server: &Server, hostile: &str, definer: &str) -> Vec<String> {
    let (id, said) = (name(hostile), text(hostile));
    let child = name(&format!("{hostile} child"));
    // Files have both its name and the table's, and that of each character that is no letter is five long.
    let part = name(&hostile.chars().take(12).collect::<String>());
    let mut all = vec![
        format!(
            "CREATE TABLE {id} ({id} INT NOT NULL COMMENT {said}, e ENUM({said}, 'b') DEFAULT {said}, s SET({said}) COMMENT {said}, t TEXT, \
             g VARCHAR(200) GENERATED ALWAYS AS (CONCAT(t, {said})) VIRTUAL, PRIMARY KEY ({id}), KEY {id} (e) COMMENT {said}, \
             CONSTRAINT {id} CHECK (t <> {said})) COMMENT {said} PARTITION BY RANGE ({id}) (PARTITION {part} VALUES LESS THAN (10) COMMENT {said}, PARTITION b VALUES LESS THAN MAXVALUE)"
        ),
        format!(
            "INSERT INTO {id} ({id}, e, s, t) VALUES (1, {said}, {said}, CONCAT({said}, 'x')), (20, 'b', '', NULL)"
        ),
        "CREATE TABLE parent (id INT PRIMARY KEY)".to_owned(),
        format!("CREATE TABLE {child} (a INT, CONSTRAINT {id} FOREIGN KEY (a) REFERENCES parent (id))"),
        format!(
            "CREATE DEFINER = {definer} VIEW {} AS SELECT {id} AS {id}, {said} AS said FROM {id}",
            name(&format!("{hostile} view"))
        ),
        format!(
            "CREATE DEFINER = {definer} TRIGGER {id} BEFORE INSERT ON {id} FOR EACH ROW SET NEW.t = {said}"
        ),
        format!(
            "CREATE DEFINER = {definer} PROCEDURE {id}({id} INT) COMMENT {said} BEGIN DECLARE {child} INT; SELECT {said}; SELECT {id}; END"
        ),
        format!(
            "CREATE DEFINER = {definer} FUNCTION {id}() RETURNS TEXT DETERMINISTIC COMMENT {said} RETURN {said}"
        ),
        format!(
            "CREATE DEFINER = {definer} EVENT {id} ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DISABLE COMMENT {said} DO SELECT {said}"
        ),
    ];
    if server.is_mariadb() {
        let sequence = name(&format!("{hostile} counts"));
        all.push(format!("CREATE SEQUENCE {sequence}"));
        all.push(format!("CREATE TABLE counted (a BIGINT DEFAULT NEXT VALUE FOR {sequence})"));
        all.push(format!("ALTER DATABASE COMMENT {said}"));
    }
    all
}

/// What is shown to people has nothing in it that moves a cursor, and no line that a name began.
fn is_inert(said: &str) {
    let moves = |c: char| c.is_control() && c != '\n';
    assert!(!said.contains(moves), "{said:?}");
    assert!(!said.lines().any(|line| line.starts_with("\\!") || line.starts_with("delimiter")), "{said}");
}

#[test]
fn hostile_names_come_back_and_are_inert() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        for (i, hostile) in HOSTILE.iter().enumerate() {
            let place = Place::new();
            // Accounts have no more than 32 characters on MySQL.
            let account: String = format!("{}{i}{hostile}", std::process::id()).chars().take(32).collect();
            let definer = format!("{}@'%'", text(&account));
            server.run(None, &[format!("CREATE USER {definer}")]);
            let source = server.empty().path;
            server.run(Some(&source), &statements(&server, hostile, &definer));
            let expected = server.dump(&source);
            assert!(expected.contains("touch hacked"), "{expected}");
            for format in ["binary", "sql"] {
                let made = place.command(&["backup", &server.url_text(&source), "--format", format]);
                let said = said(made);
                is_inert(&said);
                is_inert(&place.run(&["show", "latest"]));
                let copy = server.empty().path;
                let to = server.url_text(&copy);
                place.run(&["restore", "latest", "--target", &to]);
                assert_eq!(server.dump(&copy), expected, "{hostile:?} by way of {format}");
                is_inert(&place.fails(1, &["restore", "latest", "--target", &to]));
            }
            let script = place.path("script.sql");
            let _ = std::fs::remove_file(&script);
            place.run(&["export", "latest", "--output", script.to_str().unwrap()]);
            let copy = server.empty().path;
            server.feed(Some(&copy), &std::fs::read(&script).unwrap(), &["--comments"]);
            assert_eq!(server.dump(&copy), expected, "{hostile:?} loaded by the server's own client");
            assert!(!Path::new("hacked").exists() && !place.path("hacked").exists());
            server.run(None, &[format!("DROP USER {definer}")]);
        }
    }
}

/// The servers' own dump programs do not find databases with such names, so the rows are asked for.
#[test]
fn databases_may_have_hostile_names() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        for hostile in HOSTILE {
            let place = Place::new();
            let source = format!("{hostile}{}", std::process::id());
            let copy = format!("{source}copy");
            for database in [&source, &copy] {
                server.run(None, &[format!("DROP DATABASE IF EXISTS {}", name(database))]);
            }
            let of = |database: &str, table: &str| format!("{}.{table}", name(database));
            server.run(
                None,
                &[
                    format!("CREATE DATABASE {}", name(&source)),
                    format!("CREATE TABLE {} (a INT PRIMARY KEY, b TEXT)", of(&source, "t")),
                    format!("INSERT INTO {} VALUES (1, {})", of(&source, "t"), text(hostile)),
                    format!("CREATE VIEW {} AS SELECT b FROM {}", of(&source, "v"), of(&source, "t")),
                ],
            );
            for format in ["binary", "sql"] {
                is_inert(&said(place.command(&["backup", &url(&server, &source), "--format", format])));
                is_inert(&place.run(&["show", "latest"]));
                is_inert(&place.run(&["list"]));
                place.run(&["restore", "latest", "--target", &url(&server, &copy), "--create-database"]);
                let rows = |database: &str| {
                    server.ask(
                        None,
                        &format!("SELECT t.*, v.b FROM {}, {}", of(database, "t"), of(database, "v")),
                    )
                };
                assert_eq!(rows(&copy), rows(&source), "{hostile:?} by way of {format}");
                server.run(None, &[format!("DROP DATABASE {}", name(&copy))]);
            }
            server.run(None, &[format!("DROP DATABASE {}", name(&source))]);
        }
    }
}

/// All that a command says, which has to succeed.
fn said(mut command: Command) -> String {
    let made = command.output().unwrap();
    let said = String::from_utf8(made.stderr).unwrap() + &String::from_utf8(made.stdout).unwrap();
    assert!(made.status.success(), "{said}");
    said
}
