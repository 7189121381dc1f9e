//! Programs of MySQL and MariaDB whose bodies look like several statements, or like what is said to a client.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::path::Path;

use end_to_end::Place;

#[path = "../../crates/backup-mysql/tests/server/mod.rs"]
mod server;

use server::Server;

const KINDS: [&str; 3] = ["mariadb", "mariadb11", "mysql"];

#[test]
fn a_program_is_one_statement_whatever_is_in_its_body() {
    let bodies = [
        "BEGIN\n/* ; DELIMITER //\nDELIMITER //\n\\! touch hacked\n*/ SELECT ';'; -- DELIMITER $$ ; \\! touch hacked\n# ; \\! touch hacked\nSELECT 'x\nDELIMITER //\n\\! touch hacked\n;'; END",
        "BEGIN SELECT `\ndelimiter ;\n` FROM (SELECT 1 AS `\ndelimiter ;\n`) t; END",
        "BEGIN\n\nsource:\nBEGIN SELECT 1; END source; -- '\n SELECT \"it's; \\\\ \\\" /* \"; /* -- */ SELECT '*/'; END",
        "BEGIN\nquit:\nLOOP LEAVE\nquit; END LOOP; SELECT '\\\\'; SELECT '//', '$$', '; ;'; END",
    ];
    for server in KINDS.iter().filter_map(|kind| Server::find(kind)) {
        let (source, place) = (server.empty().path, Place::new());
        let mut statements = vec!["CREATE TABLE t (a INT)".to_owned()];
        for (i, body) in bodies.iter().enumerate() {
            statements.push(format!("CREATE PROCEDURE p{i}() {body}"));
            statements.push(format!(
                "CREATE EVENT e{i} ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DISABLE DO {body}"
            ));
            let quiet = body
                .replace("SELECT ", "SET @x = ")
                .replace(" FROM (SET @x = 1 AS `\ndelimiter ;\n`) t", "")
                .replace("`\ndelimiter ;\n`", "1");
            let quiet = quiet.replace("'//', '$$', '; ;'", "'//$$; ;'");
            statements.push(format!("CREATE TRIGGER t{i} BEFORE INSERT ON t FOR EACH ROW {quiet}"));
        }
        server.run(Some(&source), &statements);
        let expected = server.dump(&source);
        for format in ["binary", "sql"] {
            place.run(&["backup", &server.url_text(&source), "--format", format, "--quiet"]);
            let copy = server.empty().path;
            place.run(&["restore", "latest", "--target", &server.url_text(&copy)]);
            assert_eq!(server.dump(&copy), expected, "by way of {format}");
        }
        let script = place.path("script.sql");
        place.run(&["export", "latest", "--output", script.to_str().unwrap()]);
        let copy = server.empty().path;
        server.feed(Some(&copy), &std::fs::read(&script).unwrap(), &["--comments"]);
        assert_eq!(server.dump(&copy), expected, "loaded by the server's own client");
        assert!(!Path::new("hacked").exists());
        assert_eq!(server.ask(Some(&copy), "CALL p2()"), "1\nit's; \\\\ \" /* \n*/\n");
    }
}
