//! `check`: what is damaged is found by name, with the backups that it affects and what of them can still be restored.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::PathBuf;

use end_to_end::{Place, dump, has, shop};
use serde_json::Value;

/// Two binary backups that share most chunks, and one of each other format.
fn place() -> (Place, Vec<String>) {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let mut ids = vec![place.backup("shop.db", "binary")];
    let db = rusqlite::Connection::open(place.path("shop.db")).unwrap();
    db.execute_batch("INSERT INTO customer (name) VALUES ('one more')").unwrap();
    ids.extend(["binary", "sql", "compressed"].map(|format| place.backup("shop.db", format)));
    (place, ids)
}

/// Runs `check`, which must end with this exit code, and returns its document.
fn check(place: &Place, code: i32, arguments: &[&str]) -> Value {
    let arguments = [&["check", "--json", "--quiet"], arguments].concat();
    let output = place.command(&arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn chunks(place: &Place) -> Vec<PathBuf> {
    let mut chunks: Vec<_> = place.files("backups/chunks").into_iter().collect();
    chunks.sort_by_key(|(_, bytes)| bytes.len());
    chunks.into_iter().map(|(path, _)| path).collect()
}

fn affected(report: &Value) -> Vec<&str> {
    let affected = report["check"]["affected"].as_array().unwrap();
    affected.iter().map(|affected| affected["backup"].as_str().unwrap()).collect()
}

#[test]
fn a_good_repository_is_found_good_and_every_chunk_is_read_once() {
    let (place, _) = place();
    let report = &check(&place, 0, &[])["check"];
    let stored = chunks(&place).len();
    assert_eq!((report["backups"].as_u64(), report["chunks-read"].as_u64()), (Some(4), Some(0)));
    let report = &check(&place, 0, &["--read-data"])["check"];
    assert_eq!(report["chunks"], stored);
    assert_eq!((&report["chunks-read"], &report["chunks-decoded"]), (&stored.into(), &stored.into()));
    assert_eq!((&report["files"], &report["orphans"]["chunks"]), (&2.into(), &0.into()));
    println!("{stored} chunks of 4 backups, each read once");
}

#[test]
fn orphans_are_counted_and_are_no_damage() {
    let (place, ids) = place();
    place.run(&["delete", &ids[1], "--yes"]);
    fs::write(place.path("backups/files/gone.sql"), "orphan").unwrap();
    let orphans = &check(&place, 0, &["--read-data"])["check"]["orphans"];
    assert!(orphans["chunks"].as_u64() > Some(0) && orphans["lists"].as_u64() > Some(0), "{orphans}");
    assert_eq!((&orphans["files"], &orphans["marks"]), (&1.into(), &0.into()));
}

#[test]
fn every_missing_truncated_or_flipped_object_is_named_with_the_backups_that_need_it() {
    let (place, ids) = place();
    let mut caught = [0, 0, 0];
    let files: Vec<_> = place.files("backups").into_iter().map(|(path, _)| path).collect();
    let objects = files.iter().filter(|path| {
        let folder = path.strip_prefix(place.path("backups")).unwrap().iter().next().unwrap();
        ["chunks", "lists", "manifests", "files"].iter().any(|name| *name == folder)
    });
    for path in objects {
        let name = path.strip_prefix(place.path("backups")).unwrap().to_str().unwrap();
        let whole = fs::read(path).unwrap();
        // A manifest that is gone is a backup that is gone: nothing else names it.
        if !name.starts_with("manifests") {
            fs::remove_file(path).unwrap();
            let report = check(&place, 4, &[]);
            assert!(report["check"]["damage"].to_string().contains(name), "{name}: {report}");
            assert!(!affected(&report).is_empty());
            caught[0] += 1;
        }
        fs::write(path, &whole[..whole.len() - 1]).unwrap();
        let report = check(&place, 4, &[]);
        assert!(report["check"]["damage"].to_string().contains(name), "{name}: {report}");
        caught[1] += 1;
        let mut flipped = whole.clone();
        flipped[whole.len() / 2] ^= 1;
        fs::write(path, flipped).unwrap();
        let report = check(&place, 4, &["--read-data"]);
        assert!(report["check"]["damage"].to_string().contains(name), "{name}: {report}");
        assert!(affected(&report).iter().all(|id| ids.iter().any(|known| known == id)));
        caught[2] += 1;
        fs::write(path, whole).unwrap();
    }
    check(&place, 0, &["--read-data"]);
    println!(
        "caught {} removed, {} truncated, {} flipped objects: all of them",
        caught[0], caught[1], caught[2]
    );
}

#[test]
fn a_manifest_that_says_odd_things_does_not_end_a_check() {
    let (place, ids) = place();
    let path = place.path(&format!("backups/manifests/{}", ids[0]));
    let manifest = fs::read(&path).unwrap();
    let mut lines = manifest.splitn(3, |byte| *byte == b'\n');
    let (header, _, body) = (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
    for (key, value) in [("sealed", "age"), ("codec", "brotli")] {
        let mut odd: Value = serde_json::from_slice(header).unwrap();
        odd["body"][key] = value.into();
        let odd = odd.to_string();
        let proof = format!("{{\"hash\":\"{}\",\"signature\":null}}", lifeboat::Hash32::of(odd.as_bytes()));
        fs::write(&path, [odd.as_bytes(), b"\n", proof.as_bytes(), b"\n", body].concat()).unwrap();
        // What is wrong with the other one is found too.
        let chunk = chunks(&place).pop().unwrap();
        let whole = fs::read(&chunk).unwrap();
        fs::write(&chunk, &whole[1..]).unwrap();
        let report = check(&place, 4, &[]);
        assert!(affected(&report).contains(&ids[0].as_str()), "{key}: {report}");
        assert!(affected(&report).contains(&ids[1].as_str()), "{key}: {report}");
        fs::write(&chunk, whole).unwrap();
    }
}

#[test]
fn what_a_damaged_backup_still_has_is_named_and_can_be_restored() {
    let (place, ids) = place();
    // The largest chunk holds orders, and both binary backups have it.
    let largest = chunks(&place).pop().unwrap();
    let mut bytes = fs::read(&largest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&largest, bytes).unwrap();
    check(&place, 0, &[]);
    let report = check(&place, 4, &["--read-data"]);
    let bad = affected(&report);
    assert_eq!(bad, ids[..2].iter().collect::<Vec<_>>());
    let lost: Vec<_> = report["check"]["affected"][0]["lost"].as_array().unwrap().iter().collect();
    let whole: Vec<_> = report["check"]["affected"][0]["restorable"].as_array().unwrap().iter().collect();
    assert!(!lost.is_empty() && !whole.is_empty(), "{report}");
    println!("lost {lost:?}, whole {whole:?}");
    for table in whole {
        let copy = format!("{}.db", table.as_str().unwrap());
        place.run(&[
            "restore",
            &ids[0],
            "--target",
            &format!("sqlite:{copy}"),
            "--table",
            table.as_str().unwrap(),
        ]);
    }
    place.fails(4, &["restore", &ids[0], "--target", "sqlite:all.db"]);
    // The others need none of it.
    for id in &ids[2..] {
        let copy = place.restore(id, &format!("{id}.db"), &[]);
        if has("sqlite3") {
            assert_eq!(dump(&copy), dump(&place.path("shop.db")));
        }
    }
    let said = place.command(&["check", "--read-data"]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("AFFECTED") && said.contains("can be restored with --table"), "{said}");
}
