//! Repositories of every format version and variant, as they were written then, are restored for ever. See tests/golden/README.md.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::Place;

/// A database as text: its schema, and every value as SQLite itself writes it.
fn text(path: &Path) -> String {
    let db = rusqlite::Connection::open(path).unwrap();
    let mut text = String::new();
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    writeln!(text, "user_version {version}").unwrap();
    let mut schema = db
        .prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
        .unwrap();
    let schema = schema.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    let schema: Vec<(String, String, String)> = schema.map(Result::unwrap).collect();
    for (_, _, sql) in &schema {
        writeln!(text, "{sql};").unwrap();
    }
    for (_, table, _) in schema.iter().filter(|(kind, ..)| kind == "table") {
        let table = table.replace('"', "\"\"");
        let columns: Vec<String> = db
            .prepare(&format!("SELECT * FROM \"{table}\""))
            .unwrap()
            .column_names()
            .iter()
            .map(|name| format!("quote(\"{}\")", name.replace('"', "\"\"")))
            .collect();
        let select = format!("SELECT {} FROM \"{table}\"", columns.join(" || ', ' || "));
        let mut rows: Vec<String> = db
            .prepare(&select)
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        rows.sort();
        for row in rows {
            writeln!(text, "{table}: {row}").unwrap();
        }
    }
    text
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

#[test]
fn every_golden_repository_is_verified_and_restored() {
    let expected = fs::read_to_string(golden().join("expected.txt")).unwrap();
    let place = Place::new();
    // The source itself, made again, is what is expected: the file was not made up.
    let db = rusqlite::Connection::open(place.path("source.db")).unwrap();
    db.execute_batch(&fs::read_to_string(golden().join("golden.sql")).unwrap()).unwrap();
    drop(db);
    let source = text(&place.path("source.db"));
    assert!(source == expected, "golden.sql makes:\n{source}");
    let mut restored = 0;
    for repository in
        fs::read_dir(golden()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        let name = repository.file_name().unwrap().to_str().unwrap();
        if name.ends_with("-sealed") {
            continue;
        }
        // A copy, since verifying leaves a mark.
        assert!(
            Command::new("cp").arg("-r").arg(&repository).arg(place.path(name)).status().unwrap().success()
        );
        place.run(&["list", "--repo", name]);
        place.run(&["verify", "--all", "--repo", name]);
        let copy = place.restore("latest", &format!("{name}.db"), &["--repo", name]);
        assert!(text(&copy) == expected, "{name}:\n{}", text(&copy));
        let check = place.command(&["check", "--read-data", "--repo", name]).output().unwrap();
        assert!(check.status.success(), "{name}: {}", String::from_utf8_lossy(&check.stderr));
        restored += 1;
    }
    println!("{restored} golden repositories restored");
    assert!(restored >= 9, "only {restored} are there");
}

/// Sealed ones take their identity, whose file says whose signatures count; and nothing else.
#[test]
fn every_backup_of_the_golden_sealed_repositories_is_verified_and_restored() {
    let expected = fs::read_to_string(golden().join("expected.txt")).unwrap();
    let place = Place::new();
    let mut restored = 0;
    for name in ["v1-sealed"] {
        let copied =
            Command::new("cp").arg("-r").arg(golden().join(name)).arg(place.path(name)).status().unwrap();
        assert!(copied.success());
        let identity = golden().join(format!("{name}.identity.txt"));
        let identity = identity.to_str().unwrap();
        let list = place.run(&["list", "--repo", name, "--json"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let backups = list["backups"].as_array().unwrap();
        let mut variants = std::collections::BTreeSet::new();
        for backup in backups {
            let id = backup["id"].as_str().unwrap();
            let said = place.fails(12, &["restore", id, "--target", "sqlite:none.db", "--repo", name]);
            assert!(said.contains("hint: "), "{said}");
            let copy = place.restore(id, &format!("{id}.db"), &["--repo", name, "--identity", identity]);
            assert!(text(&copy) == expected, "{name} {backup}:\n{}", text(&copy));
            variants.insert((backup["format"].to_string(), backup["codec"].to_string()));
            restored += 1;
        }
        let verified = place.run(&["verify", "--all", "--repo", name, "--identity", identity]);
        assert_eq!(verified.matches(" ok ").count(), backups.len(), "{verified}");
        place.run(&["check", "--read-data", "--repo", name, "--identity", identity]);
        assert_eq!(variants.len(), 9, "{variants:?}");
        assert!(!place.path("config").exists(), "a host key came from somewhere");
    }
    println!("{restored} backups of golden sealed repositories restored");
    assert!(restored >= 9, "only {restored} are there");
}
