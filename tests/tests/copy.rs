//! Copies of backups and of whole repositories: only what is missing is sent, and everything can be restored from them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::fs;
use std::process::Command;

use end_to_end::{Place, dump, has, output, shop};
use serde_json::Value;

/// A backup of each format, and two binary ones that differ a little.
fn place() -> (Place, Vec<String>) {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let mut ids: Vec<_> =
        ["binary", "sql", "compressed"].map(|format| place.backup("shop.db", format)).into();
    let db = rusqlite::Connection::open(place.path("shop.db")).unwrap();
    db.execute_batch("INSERT INTO audit VALUES ('more')").unwrap();
    ids.push(place.backup("shop.db", "binary"));
    (place, ids)
}

fn copy(place: &Place, to: &str, arguments: &[&str]) -> Value {
    let output = place.run(&[&["copy", "--to", to, "--json", "--quiet"], arguments].concat());
    serde_json::from_str::<Value>(&output).unwrap()["copy"].take()
}

/// Chunks and bytes that were sent.
fn sent(report: &Value) -> (u64, u64) {
    let copied = report["copied"].as_array().unwrap();
    let sum = |key: &str| copied.iter().map(|copied| copied[key].as_u64().unwrap()).sum();
    (sum("chunks-sent"), sum("bytes-sent"))
}

fn list(place: &Place, repository: &str) -> Vec<(String, u64, bool)> {
    let list: Value = serde_json::from_str(&place.run(&["list", "--repo", repository, "--json"])).unwrap();
    let backups = list["backups"].as_array().unwrap();
    let backup = |backup: &Value| {
        let text = backup["id"].as_str().unwrap().to_owned();
        (text, backup["ordinal"].as_u64().unwrap(), !backup["verified"].is_null())
    };
    backups.iter().map(backup).collect()
}

/// Restores all of `ids` out of a repository, and lets the shell judge.
fn restores(place: &Place, repository: &str, ids: &[String]) {
    for id in ids {
        let [ours, copied] = ["backups", repository].map(|from| {
            let name = format!("{id}-{}.db", from.replace('/', "-"));
            place.run(&[
                "restore",
                id,
                "--repo",
                from,
                "--target",
                &format!("sqlite:{name}"),
                "--drop-existing",
                "--yes",
            ]);
            place.path(&name)
        });
        if has("sqlite3") {
            assert_eq!(dump(&ours), dump(&copied), "{id}");
        }
    }
}

#[test]
fn everything_is_copied_once_and_can_be_restored_from_the_copy() {
    let (place, ids) = place();
    let first = copy(&place, "other", &[]);
    let (chunks, bytes) = sent(&first);
    assert_eq!(first["copied"].as_array().unwrap().len(), 4);
    assert_eq!(list(&place, "other"), list(&place, "backups"), "ids, order and verification are the same");
    let stored: usize = ["other/chunks", "other/files"]
        .iter()
        .flat_map(|below| place.files(below))
        .map(|(_, bytes)| bytes.len())
        .sum();
    assert_eq!(
        (chunks as usize, bytes as usize),
        (place.files("other/chunks").len(), stored),
        "what was sent is what is there"
    );
    restores(&place, "other", &ids);
    place.run(&["check", "--repo", "other", "--read-data"]);
    let again = copy(&place, "other", &[]);
    assert_eq!((sent(&again), again["there"].as_array().unwrap().len()), ((0, 0), 4));
    println!("{chunks} chunks and {bytes} bytes sent at first, and then none");
}

#[test]
fn what_the_other_repository_has_is_not_sent_even_if_its_own_backups_brought_it() {
    let (place, ids) = place();
    // Its own key names chunks otherwise: that they are the same shows only when they are read.
    place.run(&["backup", "sqlite:shop.db", "--repo", "other", "--format", "binary", "--quiet"]);
    let report = copy(&place, "other", &[&ids[3]]);
    let chunks = report["copied"][0]["chunks"].as_u64().unwrap();
    // Only its part list may differ.
    assert!(sent(&report).0 <= 1 && chunks > 1, "{report}");
    restores(&place, "other", &ids[3..]);
}

#[test]
fn a_copy_of_another_codec_is_decoded_and_encoded_anew() {
    let (place, ids) = place();
    copy(&place, "plain", &["--codec", "none", &ids[0], &ids[1]]);
    let show: Value =
        serde_json::from_str(&place.run(&["show", &ids[0], "--repo", "plain", "--json"])).unwrap();
    assert_eq!(show["backup"]["codec"], "none");
    restores(&place, "plain", &ids[..2]);
}

#[test]
fn a_repository_that_was_copied_packed_or_renamed_with_file_tools_is_still_one() {
    let (place, ids) = place();
    output(Command::new("cp").arg("-r").arg(place.path("backups")).arg(place.path("cp")));
    output(
        Command::new("tar").arg("-cf").arg(place.path("repo.tar")).arg("-C").arg(place.path("cp")).arg("."),
    );
    fs::create_dir(place.path("tar")).unwrap();
    output(Command::new("tar").arg("-xf").arg(place.path("repo.tar")).arg("-C").arg(place.path("tar")));
    fs::rename(place.path("cp"), place.path("moved")).unwrap();
    for repository in ["tar", "moved"] {
        place.run(&["check", "--repo", repository, "--read-data"]);
        restores(&place, repository, &ids);
        assert_eq!(list(&place, repository), list(&place, "backups"));
        place.run(&["backup", "sqlite:shop.db", "--repo", repository, "--format", "binary", "--quiet"]);
    }
    // Both name chunks alike: a copy between them sends stored bytes as they are, and none that are there.
    let report = copy(&place, "moved", &[]);
    assert_eq!(report["there"].as_array().unwrap().len(), 4);
    let newest = place.backup("shop.db", "binary");
    let report = copy(&place, "moved", &[&newest]);
    assert_eq!(sent(&report).0, 0, "{report}");
    let db = rusqlite::Connection::open(place.path("shop.db")).unwrap();
    db.execute_batch("INSERT INTO audit VALUES ('and more')").unwrap();
    let newest = place.backup("shop.db", "binary");
    let report = copy(&place, "moved", &[&newest]);
    assert!((1..=3).contains(&sent(&report).0), "{report}");
    restores(&place, "moved", &[newest]);
}

#[test]
fn damage_is_not_copied_and_another_backup_of_the_same_id_is_not_replaced() {
    let (place, ids) = place();
    let (file, whole) = place.files("backups/files").swap_remove(0);
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    fs::write(&file, flipped).unwrap();
    let id = ids.iter().find(|id| file.to_str().unwrap().contains(id.as_str())).unwrap();
    place.fails(4, &["copy", "--to", "other", id]);
    assert!(list(&place, "other").is_empty() && place.files("other/files").is_empty());
    fs::write(&file, whole).unwrap();
    copy(&place, "other", &[id]);
    let (chunk, bytes) =
        place.files("backups/chunks").into_iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    fs::write(&chunk, &bytes[1..]).unwrap();
    place.fails(4, &["copy", "--to", "other", &ids[3]]);
    assert_eq!(list(&place, "other").len(), 1);
    fs::write(&chunk, bytes).unwrap();
    copy(&place, "other", &[&ids[3]]);
    restores(&place, "other", &ids[3..]);
}
