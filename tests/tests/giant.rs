//! A value as large as SQLite holds one, there and back by the real binary, in memory that does not know of its size.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::io::{Read, Write};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use end_to_end::Place;
use rusqlite::Connection;
use rusqlite::blob::Blob;

/// SQLite's rows have at most 1,000,000,000 bytes.
const SIZE: usize = 999_999_000;
const PIECE: usize = 1 << 20;
/// The most memory that a backup or a restore may take, in KiB.
const BOUND: u64 = 400 << 10;

fn blob(connection: &Connection, read_only: bool) -> Blob<'_> {
    connection.blob_open("main", "giants", "value", 1, read_only).unwrap()
}

/// Bytes that are compressed, but not to nothing, and of which no two pieces are alike.
fn giant(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA synchronous=OFF; CREATE TABLE giants(id INTEGER PRIMARY KEY, value BLOB)")
        .unwrap();
    connection.execute("INSERT INTO giants VALUES (1, zeroblob(?1)), (2, x'00')", [SIZE as i64]).unwrap();
    let mut blob = blob(&connection, false);
    let mut state = 1u64;
    for start in (0..SIZE).step_by(PIECE) {
        let piece: Vec<u8> = (0..PIECE.min(SIZE - start))
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                b'a' + (state >> 33) as u8 % 16
            })
            .collect();
        blob.write_all(&piece).unwrap();
    }
}

fn assert_same(source: &Path, copy: &Path) {
    let (source, copy) = (Connection::open(source).unwrap(), Connection::open(copy).unwrap());
    let (mut source, mut copy) = (blob(&source, true), blob(&copy, true));
    assert_eq!((source.len(), copy.len()), (SIZE, SIZE));
    let (mut expected, mut came) = (vec![0; PIECE], vec![0; PIECE]);
    for start in (0..SIZE).step_by(PIECE) {
        let length = PIECE.min(SIZE - start);
        source.read_exact(&mut expected[..length]).unwrap();
        copy.read_exact(&mut came[..length]).unwrap();
        assert!(expected == came, "other bytes from {start} on");
    }
}

/// Runs `lifeboat`, which must succeed, and returns what it printed and the most memory that it was seen to take, in KiB.
fn run(place: &Place, arguments: &[&str]) -> (String, u64) {
    let mut child = place.command(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let said = std::fs::read_to_string(&status).unwrap_or_default();
        let line = said.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    (String::from_utf8(output.stdout).unwrap().trim().to_owned(), peak)
}

#[test]
fn the_largest_value_of_sqlite_is_whole_in_bounded_memory() {
    let place = Place::new();
    let source = place.path("giants.db");
    giant(&source);
    for format in ["binary", "compressed"] {
        let (id, backup) = run(&place, &["backup", "sqlite:giants.db", "--format", format, "-q"]);
        let target = format!("sqlite:{format}.db");
        let (_, restore) = run(&place, &["restore", &id, "--target", &target, "-q"]);
        let copy = place.path(&format!("{format}.db"));
        assert_same(&source, &copy);
        std::fs::remove_file(copy).unwrap();
        println!("{SIZE} bytes as {format}: whole; a backup took {backup} KiB, a restore {restore}");
        assert!((1..BOUND).contains(&backup) && (1..BOUND).contains(&restore), "{format}");
    }
    // A statement of SQLite's cannot hold it: that is said, and nothing is called done.
    let said = place.fails(1, &["backup", "sqlite:giants.db", "--format", "sql", "-q"]);
    assert!(said.contains("giants"), "{said}");
    let listed: serde_json::Value = serde_json::from_str(&place.run(&["list", "--json"])).unwrap();
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(2), "{listed}");
}
