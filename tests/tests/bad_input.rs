//! Whatever is wrong has an error of its own, with an exit code and advice, and does no harm.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::fs;
use std::path::Path;

use end_to_end::{Disk, Place, dump, has, missing, shop};

fn with_backup(format: &str) -> (Place, String) {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let id = place.backup("shop.db", format);
    (place, id)
}

#[test]
fn an_unknown_scheme_lists_the_engines_there_are() {
    let said = Place::new().fails(2, &["backup", "cobol:payroll"]);
    assert!(said.contains("cobol") && said.contains("sqlite:path/to.db"), "{said}");
}

#[test]
fn a_missing_repository_is_exit_10_and_makes_none() {
    let place = Place::new();
    for arguments in [&["list"][..], &["verify", "latest"], &["restore", "latest", "--target", "sqlite:x.db"]]
    {
        place.fails(10, arguments);
    }
    fs::create_dir(place.path("other")).unwrap();
    fs::write(place.path("other/README"), "precious").unwrap();
    shop(&place.path("shop.db"));
    let said = place.fails(10, &["backup", "sqlite:shop.db", "--repo", "other"]);
    assert!(said.contains("no repository") && said.contains("README"), "{said}");
    assert_eq!(place.files("other").len(), 1);
    assert!(!place.path("backups").exists());
}

#[test]
fn a_wrong_path_names_it_and_leaves_nothing() {
    let place = Place::new();
    let said = place.fails(1, &["backup", "sqlite:nowhere/shop.db"]);
    assert!(said.contains("nowhere/shop.db"), "{said}");
    assert!(!place.path("nowhere").exists());
    let (place, id) = with_backup("binary");
    place.fails(1, &["restore", &id, "--target", "sqlite:nowhere/copy.db"]);
    place.fails(1, &["restore", "20000101", "--target", "sqlite:copy.db"]);
    place.fails(1, &["restore", "./no-such-file.sql", "--target", "sqlite:copy.db"]);
    assert!(!place.path("copy.db").exists());
}

#[test]
fn a_pattern_that_matches_nothing_is_refused_before_anything_is_stored_or_touched() {
    let (place, id) = with_backup("binary");
    let before = place.files("backups");
    let said = place.fails(2, &["backup", "sqlite:shop.db", "--include", "oders"]);
    assert!(said.contains("oders"), "{said}");
    assert_eq!(place.files("backups"), before);
    place.fails(2, &["restore", &id, "--target", "sqlite:copy.db", "--table", "oders"]);
    assert!(!place.path("copy.db").exists());
}

#[test]
fn a_config_with_an_unknown_key_is_refused_by_name() {
    let place = Place::new();
    fs::write(place.path("lifeboat.toml"), "[repository]\nurl = \"backups\"\nulr = \"x\"\n").unwrap();
    let said = place.fails(2, &["list"]);
    assert!(said.contains("ulr"), "{said}");
}

#[test]
fn a_newer_repository_is_refused_with_the_program_that_reads_it() {
    let (place, _) = with_backup("binary");
    let path = place.path("backups/lifeboat.json");
    let newer = fs::read_to_string(&path).unwrap().replace("\"format\": 1", "\"format\": 2");
    fs::write(&path, newer.replace("lifeboat 0.1.0", "lifeboat 7.0")).unwrap();
    let said = place.fails(1, &["list"]);
    assert!(said.contains("lifeboat 7.0"), "{said}");
}

/// Flips bytes all over the stored files, one at a time: each is caught before the target is touched.
#[test]
fn a_flipped_byte_in_any_stored_file_is_caught_before_the_target_is_touched() {
    let mut flips = 0;
    for format in ["binary", "sql", "compressed"] {
        let (place, id) = with_backup(format);
        for (path, contents) in place.files("backups") {
            let name = path.strip_prefix(place.path("backups")).unwrap().to_owned();
            if name.starts_with("marks") {
                continue;
            }
            // A lifeboat.json that is no JSON any more is no repository's.
            let expected = if name == Path::new("lifeboat.json") { &[4, 10][..] } else { &[4] };
            for at in [0, contents.len() / 3, contents.len() - 1] {
                let mut flipped = contents.clone();
                flipped[at] ^= 0x10;
                fs::write(&path, flipped).unwrap();
                // Of a backup that is one file, the part list and its chunk lie outside it.
                let restore = ["restore", &id, "--target", "sqlite:copy.db"];
                for arguments in [&["verify", &id][..], &["verify", "--all"], &restore] {
                    let code = place.code(arguments).unwrap();
                    assert!(expected.contains(&code), "{format}: {} at {at}: {code}", name.display());
                }
                assert!(!place.path("copy.db").exists());
                flips += 1;
            }
            fs::write(&path, contents).unwrap();
        }
        place.run(&["verify", &id]);
    }
    println!("{flips} flips, {flips} caught");
    assert!(flips > 30, "{flips}");
}

#[test]
fn a_truncated_or_missing_stored_file_is_caught_before_the_target_is_touched() {
    for format in ["binary", "sql", "compressed"] {
        let (place, id) = with_backup(format);
        for (path, contents) in place.files("backups") {
            if path.starts_with(place.path("backups/marks")) {
                continue;
            }
            let restore = ["restore", &id, "--target", "sqlite:copy.db"];
            for length in [0, contents.len() / 2, contents.len() - 1] {
                fs::write(&path, &contents[..length]).unwrap();
                assert_ne!(place.code(&restore), Some(0), "{format}: {} cut to {length}", path.display());
                assert!(!place.path("copy.db").exists());
            }
            fs::remove_file(&path).unwrap();
            assert_ne!(place.code(&restore), Some(0), "{}", path.display());
            assert!(!place.path("copy.db").exists());
            fs::write(&path, contents).unwrap();
        }
    }
}

/// An object that was made larger than any memory is damage like any other: its size is looked at before it is read.
#[test]
fn an_object_made_huge_is_not_read_into_memory() {
    let (place, id) = with_backup("binary");
    let mut made = 0;
    for (path, contents) in place.files("backups") {
        let name = path.strip_prefix(place.path("backups")).unwrap().to_owned();
        // Whoever has found damage has taken the mark back.
        fs::write(&path, &contents).unwrap();
        // Sparse: it takes no room on the disk.
        fs::File::options().write(true).open(&path).unwrap().set_len(1 << 43).unwrap();
        // A mark only says when a backup was last verified.
        let is_mark = name.starts_with("marks");
        let expected = if name == Path::new("lifeboat.json") { 10 } else { 4 };
        for arguments in
            [&["verify", &id][..], &["check", "--read-data"], &["restore", &id, "--target", "sqlite:copy.db"]]
        {
            let code = place.code(arguments).unwrap();
            assert_eq!(code, if is_mark { 0 } else { expected }, "{}: {arguments:?}", name.display());
        }
        if is_mark {
            fs::remove_file(place.path("copy.db")).unwrap();
        }
        assert!(!place.path("copy.db").exists(), "{}", name.display());
        fs::write(&path, contents).unwrap();
        made += 1;
    }
    place.run(&["verify", &id]);
    println!("{made} objects made huge, {made} caught");
    assert!(made >= 5, "{made}");
}

#[test]
fn a_damaged_or_truncated_file_carried_from_elsewhere_is_refused() {
    for (format, file) in
        [("sql", "carried.sql.zst"), ("compressed", "carried.tar.zst"), ("sql", "carried.sql")]
    {
        let (place, id) = with_backup("binary");
        place.run(&["export", &id, "-o", file, "--format", format]);
        let contents = fs::read(place.path(file)).unwrap();
        for at in (0..contents.len()).step_by(contents.len() / 25) {
            let mut flipped = contents.clone();
            flipped[at] ^= 1;
            let cut = &contents[..at];
            for damaged in [&flipped[..], cut] {
                fs::write(place.path(file), damaged).unwrap();
                let restore =
                    place.command(&["restore", file, "--target", "sqlite:copy.db"]).output().unwrap();
                let said = String::from_utf8_lossy(&restore.stderr).into_owned();
                assert!(matches!(restore.status.code(), Some(1 | 4 | 10)), "{file} at {at}: {said}");
                assert!(!place.path("copy.db").exists(), "{file} at {at}");
            }
        }
    }
}

#[test]
fn a_foreign_script_is_refused_with_the_client_that_loads_it() {
    let place = Place::new();
    for (text, client) in [
        ("PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n", "sqlite3"),
        ("--\n-- PostgreSQL database dump\n--\n", "psql"),
        ("-- MySQL dump 10.13  Distrib 8.4\n", "mysql"),
        ("/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump 10.19\n", "mariadb"),
        ("USE [master]\nGO\n", "sqlcmd"),
        ("PGDMP\x01\x0e", "pg_restore"),
        ("SQLite format 3\0 and more", "SQLite database"),
        ("", "client"),
    ] {
        fs::write(place.path("foreign.sql"), text).unwrap();
        let said = place.fails(1, &["restore", "foreign.sql", "--target", "sqlite:copy.db"]);
        assert!(said.contains("not written by lifeboat") && said.contains(client), "{client}: {said}");
        assert!(!place.path("copy.db").exists());
    }
}

#[test]
fn a_target_that_is_not_empty_is_refused_and_stays_as_it_is() {
    let (place, id) = with_backup("binary");
    fs::copy(place.path("shop.db"), place.path("other.db")).unwrap();
    let db = rusqlite::Connection::open(place.path("other.db")).unwrap();
    db.execute_batch("DELETE FROM orders WHERE id > 10").unwrap();
    drop(db);
    let before = fs::read(place.path("other.db")).unwrap();
    let said = place.fails(1, &["restore", &id, "--target", "sqlite:other.db"]);
    assert!(said.contains("--drop-existing") || said.contains("drop"), "{said}");
    assert!(fs::read(place.path("other.db")).unwrap() == before);
    let elsewhere = ["--target", "sqlite:some.db", "--target-database", "other.db"];
    let said = place.fails(2, &[&["restore", &id, "--drop-existing"][..], &elsewhere].concat());
    assert!(said.contains("sqlite:other.db") && !said.contains("some.db"), "{said}");
    place.fails(2, &["restore", &id, "--target", "sqlite:other.db", "--drop-existing"]);
    assert!(fs::read(place.path("other.db")).unwrap() == before);
    place.restore(&id, "other.db", &["--drop-existing", "--yes"]);
    if has("sqlite3") {
        assert!(dump(&place.path("other.db")) == dump(&place.path("shop.db")));
    }
}

#[test]
fn what_sqlite_cannot_do_is_said_so() {
    let (place, id) = with_backup("binary");
    for kind in ["incremental", "differential"] {
        let said = place.fails(1, &["backup", "sqlite:shop.db", "--type", kind]);
        assert!(said.contains("change log") && said.contains("--type full"), "{said}");
    }
    let time = "2026-01-01T00:00:00Z";
    place.fails(5, &["restore", &id, "--target", "sqlite:copy.db", "--point-in-time", time]);
    assert!(!place.path("copy.db").exists());
}

/// A file system of its own that is full, and one that is read-only: as root only, since nobody else may mount.
#[test]
fn a_full_disk_and_a_read_only_directory_are_told_and_lose_nothing() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let Some(disk) = Disk::mount(place.path("disk"), "size=60k") else {
        missing("mount", "is not allowed here: a full disk could not be tested");
        return;
    };
    for format in ["binary", "sql", "compressed"] {
        let said = place.fails(1, &["backup", "sqlite:shop.db", "--repo", "disk", "--format", format]);
        assert!(said.contains("No space left"), "{said}");
        assert!(place.run(&["list", "--repo", "disk", "--json"]).contains("[]"), "nothing is listed");
    }
    // What is there stays usable when there is room again.
    disk.remount("size=50m");
    let id = place.run(&["backup", "sqlite:shop.db", "--repo", "disk", "--format", "binary", "-q"]);
    disk.remount("ro");
    let said = place.fails(1, &["backup", "sqlite:shop.db", "--repo", "disk"]);
    assert!(said.to_lowercase().contains("read-only"), "{said}");
    place.restore(id.trim(), "copy.db", &["--repo", "disk"]);
    let said = place.fails(1, &["restore", id.trim(), "--repo", "disk", "--target", "sqlite:disk/copy.db"]);
    assert!(said.to_lowercase().contains("read-only"), "{said}");
    drop(disk);
}
