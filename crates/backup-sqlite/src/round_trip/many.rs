//! Databases with many objects.

use std::path::Path;

use backup_core::{BackupRequest, Existing, RestoreRequest};
use rusqlite::Connection;

use super::{back_up, every_way, restore, shell};

/// Twelve objects a time: what SQLite makes indexes and counters for by itself, what it does not accept any more, and rows of modules.
const GROUP: &str = "
    CREATE TABLE plain#(a, b);
    INSERT INTO plain# VALUES (#, 'x'), (NULL, x'00');
    CREATE INDEX plain#_b ON plain#(b);
    CREATE VIEW good# AS SELECT * FROM plain#;
    CREATE VIEW invalid# AS SELECT gone FROM nowhere#;
    CREATE TABLE counted#(id INTEGER PRIMARY KEY AUTOINCREMENT, x UNIQUE, y UNIQUE);
    INSERT INTO counted#(x, y) VALUES ('x', #), ('y', NULL);
    CREATE TRIGGER fires# AFTER INSERT ON counted# BEGIN DELETE FROM plain#; END;
    CREATE TRIGGER broken# AFTER UPDATE ON counted# BEGIN SELECT gone FROM nowhere#; END;
    CREATE TABLE keyed#(k PRIMARY KEY, v REFERENCES plain#(a)) WITHOUT ROWID;
    INSERT INTO keyed# VALUES (#, #);
    CREATE UNIQUE INDEX counted#_x ON counted#(y DESC, x);";

/// What no CREATE makes: a virtual table without its module, and an object with a text that SQLite would have written differently.
const ODD: &str = "
    INSERT INTO sqlite_schema VALUES
      ('table', 'alien#', 'alien#', 0, 'CREATE VIRTUAL TABLE alien# USING no_such_module(a)'),
      ('view', 'odd#', 'odd#', 0, 'create /* odd */ view odd# as select * from alien#');";

fn groups(path: &Path, start: &str, count: u32) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(start).unwrap();
    connection.execute_batch("PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF; BEGIN").unwrap();
    for i in 0..count {
        connection.execute_batch(&GROUP.replace('#', &i.to_string())).unwrap();
    }
    connection.execute_batch("COMMIT").unwrap();
}

fn order(path: &Path) -> String {
    shell(path, "SELECT type, name, tbl_name, sql, rootpage > 0 FROM sqlite_schema ORDER BY rowid")
}

#[test]
fn a_thousand_objects_come_back_in_the_order_of_the_source() {
    for settings in ["PRAGMA auto_vacuum=FULL", "PRAGMA encoding='UTF-16le'"] {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("source.db");
        groups(&source, settings, 100);
        every_way(&source, directory.path());
        let copy = directory.path().join("copy.db");
        assert_eq!(order(&source), order(&copy));
        assert_eq!(shell(&copy, "PRAGMA integrity_check").trim(), "ok");
    }
}

#[test]
fn objects_that_are_only_rows_of_the_schema_come_back_among_many_others() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("source.db");
    groups(&source, "PRAGMA page_size=512", 20);
    let connection = Connection::open(&source).unwrap();
    connection.execute_batch("PRAGMA writable_schema=ON").unwrap();
    for i in 0..100 {
        connection.execute_batch(&ODD.replace('#', &i.to_string())).unwrap();
    }
    drop(connection);
    shell(&source, "CREATE TABLE last(a UNIQUE)");
    every_way(&source, directory.path());
    assert_eq!(order(&source), order(&directory.path().join("copy.db")));
}

#[test]
fn some_of_many_tables_go_into_a_database_of_many_others() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    groups(&source, "", 100);
    groups(&target, "CREATE TABLE mine(a UNIQUE); INSERT INTO mine VALUES (5)", 10);
    let mut backup = BackupRequest::new(1);
    backup.filter = backup_core::Filter::new(["counted*".parse().unwrap(), "keyed*".parse().unwrap()], []);
    let kit = back_up(&source, &backup);
    let mut request = RestoreRequest::new(1);
    (request.partial, request.existing) = (true, Existing::Replace);
    restore(&target, &request, &kit).unwrap();
    assert_eq!(shell(&target, "PRAGMA integrity_check").trim(), "ok");
    let names = |path: &Path, pattern: &str| {
        let sql = format!(
            "SELECT name FROM sqlite_schema WHERE tbl_name GLOB '{pattern}' AND type <> 'view' ORDER BY rowid"
        );
        shell(path, &sql)
    };
    for pattern in ["counted*", "keyed*"] {
        assert_eq!(names(&source, pattern), names(&target, pattern));
    }
    assert_eq!(names(&target, "plain*").lines().count(), 20);
    assert_eq!(shell(&target, "SELECT a FROM mine; SELECT y FROM counted99 WHERE id = 1").trim(), "5\n99");
}

#[test]
fn a_failure_among_many_objects_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    groups(&source, "", 30);
    shell(&source, "PRAGMA writable_schema=ON;
        UPDATE sqlite_schema SET sql = 'CREATE TABLE plain20(a CHECK (of_the_application(a)), b)' WHERE name = 'plain20'");
    let kit = back_up(&source, &BackupRequest::new(1));
    let error = restore(&target, &RestoreRequest::new(1), &kit).unwrap_err().to_string();
    assert!(error.contains("plain20"), "{error}");
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}
