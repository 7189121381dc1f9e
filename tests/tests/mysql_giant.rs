//! A value as large as MariaDB sends one, there and back by the real binary, in memory that does not know of its size.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use end_to_end::Place;

#[path = "../../crates/backup-mysql/tests/private/mod.rs"]
mod private;
#[path = "../../crates/backup-mysql/tests/server/mod.rs"]
mod server;

use private::Private;
use server::Server;

/// The largest that the server makes, and one that it reads by LOAD DATA in less than minutes.
const LARGEST: u64 = 1 << 30;
const LARGE: u64 = 256 << 20;
/// The most memory that a backup or a restore may take, in MiB.
const BOUND: u64 = 200;

#[test]
fn the_largest_values_of_mariadb_are_whole_in_bounded_memory_or_an_error() {
    let Some(program) = Private::program() else { return };
    let accounts = "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n";
    let mut server = Private::new(accounts, &[]);
    let settings = ["--max-allowed-packet=1G", "--innodb-log-file-size=2G", "--local-infile=1"];
    server.start(&program, &settings);
    let url =
        |server: &Private, name: &str| server.text(&format!("mariadb://me:secret@127.0.0.1:PORT/{name}"));
    let database = Server::at(&url(&server, "mysql"));
    let value = |size: u64| format!("REPEAT(SHA2('x', 512), {})", size / 128);
    let statements = [
        "CREATE DATABASE large".to_owned(),
        "CREATE DATABASE giant".to_owned(),
        "CREATE DATABASE copy".to_owned(),
        "CREATE TABLE large.t (id INT PRIMARY KEY, value LONGBLOB, other INT)".to_owned(),
        "CREATE TABLE giant.t LIKE large.t".to_owned(),
        format!("INSERT INTO large.t VALUES (1, {}, 7), (2, 'small', 8)", value(LARGE)),
        format!("INSERT INTO giant.t VALUES (1, {}, 7)", value(LARGEST)),
    ];
    database.run(None, &statements);
    let digest = |name: &str| {
        database.ask(Some(name), "SELECT id, LENGTH(value), MD5(value), other FROM t ORDER BY id")
    };
    let expected = digest("large");
    assert!(expected.contains(&LARGE.to_string()) && digest("giant").contains(&LARGEST.to_string()));
    let (place, giant) = (Place::new(), Place::new());
    let backup = |place: &Place, name: &str| {
        place.peak(&["backup", &url(&server, name), "--format", "binary", "--quiet"])
    };
    let (largest, large) = (backup(&giant, "giant"), backup(&place, "large"));
    let restore = place.peak(&["restore", "latest", "--target", &url(&server, "copy")]);
    assert_eq!(digest("copy"), expected);
    println!(
        "a backup of {LARGEST} bytes took {largest} MiB, one of {LARGE} took {large}, its restore {restore}"
    );
    assert!(largest < BOUND && large < BOUND && restore < BOUND, "{largest}, {large}, {restore} MiB");
    // Where rows go in by statements there is none that holds it: that is said, and nothing is left.
    database.run(
        None,
        &["SET GLOBAL local_infile = 0", "DROP DATABASE copy", "CREATE DATABASE copy"].map(str::to_owned),
    );
    let said = giant.fails(1, &["restore", "latest", "--target", &url(&server, "copy")]);
    assert!(said.contains("table t") && said.contains("max_allowed_packet"), "{said}");
    assert_eq!(database.ask(Some("copy"), "SHOW TABLES"), "");
}
