//! Trials of the real binary with MySQL and MariaDB: targets that are somebody's, what may not be read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use end_to_end::Place;

#[path = "../../crates/backup-mysql/tests/server/mod.rs"]
mod server;

use server::{Account, Server};

const KINDS: [&str; 3] = ["mariadb", "mariadb11", "mysql"];

fn shop(server: &Server) -> String {
    let name = server.empty().path;
    let statements = [
        "CREATE TABLE orders (id INT PRIMARY KEY, note TEXT)",
        "INSERT INTO orders VALUES (1, 'one'), (2, 'two')",
        "CREATE TABLE customer (id INT PRIMARY KEY)",
        "CREATE VIEW large AS SELECT id FROM orders WHERE id > 1",
        "CREATE PROCEDURE count_them() SELECT COUNT(*) FROM orders",
    ];
    server.run(Some(&name), &statements.map(str::to_owned));
    name
}

#[test]
fn a_target_that_is_somebodys_is_refused_before_anything_is_touched() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let (source, place) = (shop(&server), Place::new());
        let url = server.url_text(&source);
        let ids = ["binary", "sql"]
            .map(|format| place.run(&["backup", &url, "--quiet", "--format", format]).trim().to_owned());
        let mut things = vec![
            vec!["CREATE TABLE precious (x INT)", "INSERT INTO precious VALUES (1)"],
            // Of the same shape, and of other rows.
            vec![
                "CREATE TABLE orders (id INT PRIMARY KEY, note TEXT)",
                "INSERT INTO orders VALUES (3, 'three')",
            ],
            vec!["CREATE VIEW precious AS SELECT 1 AS x"],
            vec!["CREATE PROCEDURE precious() SELECT 1"],
            vec!["CREATE FUNCTION precious() RETURNS INT DETERMINISTIC RETURN 1"],
            vec![
                "CREATE EVENT precious ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DISABLE DO SELECT 1",
            ],
        ];
        if server.is_mariadb() {
            things.push(vec!["CREATE SEQUENCE precious"]);
        }
        for thing in &things {
            let target = server.empty().path;
            let made: Vec<_> = thing.iter().map(|sql| (*sql).to_owned()).collect();
            server.run(Some(&target), &made);
            let before = server.dump(&target);
            for id in &ids {
                let said = place.fails(1, &["restore", id, "--target", &server.url_text(&target)]);
                let name = if thing[0].contains("orders") { "orders" } else { "precious" };
                assert!(said.contains(name) && said.contains("--drop-existing"), "{thing:?}: {said}");
                assert!(server.dump(&target) == before, "{thing:?}");
            }
        }
        // Beside what is there, and into its tables: only where nothing is in the way.
        let target = server.empty().path;
        let statements =
            ["CREATE TABLE orders (id INT PRIMARY KEY, note TEXT)", "INSERT INTO orders VALUES (3, 'three')"];
        server.run(Some(&target), &statements.map(str::to_owned));
        let before = server.dump(&target);
        let to = server.url_text(&target);
        for half in [
            &["--table", "orders"][..],
            &["--table", "customer", "--table", "orders"],
            &["--data-only", "--table", "orders"],
        ] {
            let said = place.fails(1, &[&["restore", &ids[0], "--target", &to], half].concat());
            assert!(said.contains("orders"), "{said}");
            assert!(server.dump(&target) == before, "{half:?}");
        }
        place.run(&["restore", &ids[0], "--target", &to, "--table", "customer"]);
        // Another name than was meant.
        let absent = format!("{source}_absent");
        let said = place.fails(1, &["restore", &ids[0], "--target", &server.url_text(&absent)]);
        assert!(said.contains(&absent) && said.contains("--create-database"), "{said}");
        assert!(!server.databases().contains(&absent));
        // And the server's own are nobody's to replace.
        for name in ["mysql", "MySQL", "information_schema", "performance_schema", "sys"] {
            let to = server.url_text(name);
            for id in &ids {
                let said = place.fails(
                    1,
                    &["restore", id, "--target", &to, "--drop-existing", "--create-database", "--yes"],
                );
                assert!(said.contains("server's own"), "{said}");
                place.fails(
                    1,
                    &["restore", id, "--target", &to, "--table", "orders", "--drop-existing", "--yes"],
                );
            }
        }
        assert_ne!(server.ask(None, "SELECT COUNT(*) FROM mysql.user"), "0\n");
        assert!(!server.dump(&source).contains("three") && server.dump(&target).contains("three"));
    }
}

#[test]
fn what_may_not_be_read_is_named_and_the_exit_code_says_that_it_is_missing() {
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let (source, place) = (shop(&server), Place::new());
        let grants = [
            format!("SELECT, SHOW VIEW, TRIGGER ON `{source}`.customer"),
            format!("INSERT ON `{source}`.orders"),
        ];
        let account = Account::new(&server, "limited", &grants);
        let host = server.url_text(&source).rsplit_once('@').unwrap().1.to_owned();
        let limited = format!("mysql://{}:secret@{host}", account.name);
        let said = place.fails(1, &["backup", &limited, "--format", "binary"]);
        assert!(said.contains(&format!("{source}.orders")) && said.contains("may not see"), "{said}");
        let said = place.fails(1, &["backup", &limited, "--include", "orders"]);
        assert!(said.contains("orders") && said.contains("1142"), "{said}");
        assert_eq!(place.run(&["list", "--quiet"]), "");
        let output =
            place.command(&["backup", &limited, "--format", "binary", "--skip-unreadable"]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains(&format!("{source}.orders")) && said.contains("hidden part"), "{said}");
        assert!(!output.stdout.is_empty());
        place.run(&["verify", "latest"]);
        let shown = place.run(&["show", "latest"]);
        assert!(shown.contains(&format!("{source}.orders")), "{shown}");
        place.run(&["backup", &limited, "--include", "customer"]);
    }
}
