//! Copies from and into sealed repositories: what lies there is sealed for those who may read it, or in clear only where somebody made a
//! place for that; and only what is missing is sent. And the proof by restoring, of what is sealed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::fs;
use std::process::Command;

use end_to_end::{Place, dump, has, output, shop};
use serde_json::Value;

/// A sealed repository with a backup of each format, and a second binary one that differs a little; and its identity file.
fn place() -> (Place, String, Vec<String>) {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let identity = place.init_sealed("identity", &[]);
    let mut ids: Vec<_> =
        ["binary", "sql", "compressed"].map(|format| place.backup("shop.db", format)).into();
    let db = rusqlite::Connection::open(place.path("shop.db")).unwrap();
    db.execute_batch("INSERT INTO audit VALUES ('more')").unwrap();
    ids.push(place.backup("shop.db", "binary"));
    (place, identity, ids)
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

fn ids(place: &Place, repository: &str) -> Vec<String> {
    let list: Value = serde_json::from_str(&place.run(&["list", "--repo", repository, "--json"])).unwrap();
    let backups = list["backups"].as_array().unwrap();
    backups.iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
}

/// Restores with another home, so that no host key helps, and lets the shell judge: each as it is restored from the first repository.
fn restores(place: &Place, repository: &str, ids: &[String], identity: Option<&str>) {
    for id in ids {
        let copies = [("backups", Some("identity")), (repository, identity)].map(|(from, identity)| {
            let name = format!("{id}-{}.db", from.replace('/', "-"));
            let target = format!("sqlite:{name}");
            let mut restore =
                vec!["restore", id, "--repo", from, "--target", &target, "--drop-existing", "--yes"];
            restore.extend(identity.iter().flat_map(|identity| ["--identity", identity]));
            let mut command = place.command(&restore);
            output(command.env("XDG_CONFIG_HOME", place.path("nothing")));
            place.path(&name)
        });
        if has("sqlite3") {
            assert_eq!(dump(&copies[0]), dump(&copies[1]), "{id}");
        }
    }
}

/// Whether every object that holds contents is sealed.
fn is_sealed_throughout(place: &Place, repository: &str) -> bool {
    let objects =
        ["chunks", "files"].iter().flat_map(|folder| place.files(&format!("{repository}/{folder}")));
    let sealed: Vec<bool> = objects.map(|(_, bytes)| bytes.starts_with(b"age-encryption.org/v1\n")).collect();
    assert!(!sealed.is_empty());
    assert!(sealed.iter().all(|one| *one) || !sealed.iter().any(|one| *one), "some are and some are not");
    sealed[0]
}

#[test]
fn backups_are_sealed_anew_for_those_who_may_read_the_other_repository() {
    let (place, identity, all) = place();
    let other = place.init_sealed("other-identity", &["--repo", "other"]);
    // The host cannot read what it has sealed, and so cannot copy it either.
    let said = place.fails(12, &["copy", "--to", "other"]);
    assert!(said.contains("no identity was given"), "{said}");
    assert!(ids(&place, "other").is_empty() && place.files("other/chunks").is_empty());
    let report = copy(&place, "other", &["--identity", &identity]);
    assert_eq!((ids(&place, "other"), report["copied"].as_array().unwrap().len()), (all.clone(), 4));
    assert!(is_sealed_throughout(&place, "other"));
    assert!(place.files("other/pending").is_empty(), "what was noted is left over");
    restores(&place, "other", &all, Some(&other));
    let verified = place.run(&["verify", "--all", "--repo", "other", "--identity", &other]);
    assert_eq!(verified.matches(" ok ").count(), 4, "{verified}");
    // That the key of this one is named says nothing of the other.
    let key = place.files("config/lifeboat/keys").into_iter().find(|(path, _)| {
        let text = String::from_utf8(fs::read(path).unwrap()).unwrap();
        text.contains(&place.path("backups").canonicalize().unwrap().display().to_string())
    });
    let key = key.unwrap().0;
    fs::rename(&key, place.path("named.json")).unwrap();
    copy(&place, "other", &["--identity", &identity, "--host-key", "named.json"]);
    fs::rename(place.path("named.json"), key).unwrap();
    // The first repository's identity opens nothing there.
    place.fails(
        12,
        &["restore", &all[0], "--repo", "other", "--target", "sqlite:no.db", "--identity", &identity],
    );
    let again = copy(&place, "other", &[]);
    assert_eq!((sent(&again), again["there"].as_array().unwrap().len()), ((0, 0), 4));
    println!("sealed for others: {:?} sent at first, and then none", sent(&report));
}

#[test]
fn what_the_other_sealed_repository_has_is_not_sent() {
    let (place, identity, all) = place();
    place.init_sealed("other-identity", &["--repo", "other"]);
    place.run(&["backup", "sqlite:shop.db", "--repo", "other", "--format", "binary", "--quiet"]);
    let report = copy(&place, "other", &[&all[3], "--identity", &identity]);
    // Only its part list may differ.
    let chunks = report["copied"][0]["chunks"].as_u64().unwrap();
    assert!(sent(&report).0 <= 1 && chunks > 1, "{report}");
}

#[test]
fn what_is_sealed_comes_into_the_clear_only_where_somebody_made_a_place_for_that() {
    let (place, identity, all) = place();
    for arguments in [&[][..], &["--identity", &identity]] {
        let said = place.fails(10, &[&["copy", "--to", "nowhere"], arguments].concat());
        assert!(said.contains("make it first"), "{said}");
        fs::create_dir_all(place.path("empty")).unwrap();
        place.fails(10, &[&["copy", "--to", "empty"], arguments].concat());
        assert!(!place.path("nowhere").exists() && place.files("empty").is_empty());
    }
    place.run(&["init", "--repo", "plain"]);
    place.fails(12, &["copy", "--to", "plain"]);
    assert_eq!(place.files("plain/chunks").len() + place.files("plain/files").len(), 0);
    let report = copy(&place, "plain", &["--identity", &identity]);
    assert_eq!(ids(&place, "plain"), all);
    assert!(!is_sealed_throughout(&place, "plain"));
    restores(&place, "plain", &all, None);
    place.run(&["check", "--read-data", "--repo", "plain"]);
    let again = copy(&place, "plain", &["--identity", &identity]);
    assert_eq!(sent(&again), (0, 0));
    // Where everything is to be sealed, nothing is copied into the clear.
    let recipient = place.identity("wanted").1;
    fs::write(place.path("wants.toml"), format!("[repository]\nrecipients = [\"{recipient}\"]\n")).unwrap();
    place.run(&["init", "--repo", "plain2"]);
    place.fails(12, &["copy", "--repo", "plain", "--to", "plain2", "--config", "wants.toml"]);
    println!("in clear: {:?} sent", sent(&report));
}

#[test]
fn clear_backups_are_sealed_on_their_way() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let all: Vec<String> =
        ["binary", "sql", "compressed"].map(|format| place.backup("shop.db", format)).into();
    let key = place.path("other-host.json");
    let key = key.to_str().unwrap();
    let other = place.init_sealed("other-identity", &["--repo", "other", "--host-key", key]);
    // Its host key is not where host keys are: it has to be named.
    place.fails(12, &["copy", "--to", "other"]);
    assert!(place.files("other/chunks").is_empty());
    copy(&place, "other", &["--to-host-key", key]);
    assert!(is_sealed_throughout(&place, "other"));
    fs::write(place.path("identity"), fs::read(&other).unwrap()).unwrap();
    for id in &all {
        let target = format!("sqlite:{id}.db");
        let restore = ["restore", id, "--repo", "other", "--target", &target, "--identity", &other];
        output(place.command(&restore).env("XDG_CONFIG_HOME", place.path("nothing")));
        if has("sqlite3") {
            assert_eq!(dump(&place.path(&format!("{id}.db"))), dump(&place.path("shop.db")), "{id}");
        }
    }
    // A named key says what has to be there.
    place.run(&["init", "--repo", "plain"]);
    place.fails(12, &["copy", "--to", "plain", "--to-host-key", key]);
}

#[test]
fn between_two_copies_of_one_sealed_repository_bytes_go_over_as_they_are_and_nobody_needs_a_key() {
    let (place, identity, mut all) = place();
    output(Command::new("cp").arg("-r").arg(place.path("backups")).arg(place.path("twin")));
    let db = rusqlite::Connection::open(place.path("shop.db")).unwrap();
    db.execute_batch("INSERT INTO audit VALUES ('and more')").unwrap();
    let before = place.files("backups/chunks").len();
    for format in ["binary", "sql", "compressed"] {
        all.push(place.backup("shop.db", format));
    }
    let new = (place.files("backups/chunks").len() - before) as u64;
    // Whoever only knows whose signatures count.
    let list: Value = serde_json::from_str(&place.run(&["list", "--json"])).unwrap();
    let signer = list["backups"][0]["signer"].as_str().unwrap().to_owned();
    let run = |arguments: &[&str]| {
        let copy = [&["copy", "--to", "twin", "--json", "--quiet"], arguments].concat();
        place.command(&copy).env("XDG_CONFIG_HOME", place.path("nothing")).output().unwrap()
    };
    let unknown = run(&[]);
    assert!(ids(&place, "twin").len() == 4, "{}", String::from_utf8_lossy(&unknown.stderr));
    let known = run(&["--signer", &signer]);
    assert!(known.status.success(), "{}", String::from_utf8_lossy(&known.stderr));
    let report = serde_json::from_slice::<Value>(&known.stdout).unwrap()["copy"].take();
    assert_eq!((sent(&report).0, report["copied"].as_array().unwrap().len()), (new, 3), "{report}");
    for folder in ["manifests", "lists", "chunks", "files"] {
        let contents = |repository: &str| -> Vec<Vec<u8>> {
            place.files(&format!("{repository}/{folder}")).into_iter().map(|(_, bytes)| bytes).collect()
        };
        assert_eq!(contents("backups"), contents("twin"), "{folder}");
    }
    restores(&place, "twin", &all, Some(&identity));
    // The host goes on with it.
    let next = place.run(&["backup", "sqlite:shop.db", "--repo", "twin", "--format", "binary", "-q"]);
    let back = copy(&place, "backups", &["--repo", "twin", next.trim()]);
    assert_eq!(sent(&back).0, 0, "{back}");
    println!("as it is: {} chunks sent of {}", sent(&report).0, place.files("twin/chunks").len());
}

#[test]
fn damage_is_not_copied_out_of_a_sealed_repository() {
    let (place, identity, all) = place();
    place.run(&["init", "--repo", "plain"]);
    output(Command::new("cp").arg("-r").arg(place.path("backups")).arg(place.path("whole")));
    output(Command::new("cp").arg("-r").arg(place.path("backups")).arg(place.path("twin")));
    for id in &all {
        fs::remove_file(place.path(&format!("twin/manifests/{id}"))).unwrap();
    }
    fs::remove_dir_all(place.path("twin/files")).unwrap();
    let mut refused = 0;
    for id in &all[1..3] {
        let files = place.files("backups/files");
        let (file, whole) = files.into_iter().find(|(path, _)| path.to_str().unwrap().contains(id)).unwrap();
        // In the head, in the middle, at the end; cut off; and more behind it.
        let mut damaged: Vec<Vec<u8>> = [30, whole.len() / 2, whole.len() - 1]
            .map(|at| {
                let mut flipped = whole.clone();
                flipped[at] ^= 1;
                flipped
            })
            .into();
        damaged.push(whole[..whole.len() - 1].to_vec());
        damaged.push([&whole[..], b"\n"].concat());
        for bytes in damaged {
            fs::write(&file, bytes).unwrap();
            for to in ["plain", "twin"] {
                place.fails(4, &["copy", "--to", to, id, "--identity", &identity]);
                let name = file.file_name().unwrap();
                assert!(ids(&place, to).is_empty());
                assert!(!place.path(to).join("files").join(name).exists(), "{to}");
                refused += 1;
            }
        }
        fs::write(&file, whole).unwrap();
    }
    copy(&place, "plain", &["--identity", &identity]);
    copy(&place, "twin", &[]);
    restores(&place, "plain", &all, None);
    restores(&place, "twin", &all, Some(&identity));
    println!("{refused} damaged files were not copied");
}

/// Whoever makes up a repository must not write over what others keep.
#[test]
fn a_manifest_that_names_a_file_elsewhere_is_not_copied() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let id = place.backup("shop.db", "sql");
    place.run(&["init", "--repo", "other"]);
    let before = place.files("other");
    let path = place.path(&format!("backups/manifests/{id}"));
    let file = fs::read(&path).unwrap();
    let mut parts = file.splitn(3, |byte| *byte == b'\n');
    let mut header: Value = serde_json::from_slice(parts.next().unwrap()).unwrap();
    let body = parts.nth(1).unwrap();
    for key in ["lifeboat.json", "manifests/x", "files/another.sql.zst", "files"] {
        let hostile = fs::read(place.path("backups/lifeboat.json")).unwrap();
        header["file"] = serde_json::json!({
            "key": key, "size": hostile.len(), "hash": hex::encode(blake3::hash(&hostile).as_bytes()),
        });
        let line = serde_json::to_vec(&header).unwrap();
        let hash = hex::encode(blake3::hash(&line).as_bytes());
        let proof = format!("{{\"hash\":\"{hash}\",\"signature\":null}}");
        fs::write(&path, [&line[..], b"\n", proof.as_bytes(), b"\n", body].concat()).unwrap();
        let said = place.fails(4, &["copy", "--to", "other", &id]);
        assert!(said.contains("no place of a file"), "{key}: {said}");
        let untouched = ["lifeboat.json"].iter().all(|name| {
            before.contains(&(
                place.path("other").join(name),
                fs::read(place.path("other").join(name)).unwrap(),
            ))
        });
        assert!(untouched && ids(&place, "other").is_empty(), "{key}");
    }
}

#[test]
fn a_sealed_backup_is_proven_by_restoring_it_with_an_identity() {
    let (place, identity, all) = place();
    let beside = || fs::read_dir(place.path("")).unwrap().count();
    let before = beside();
    for id in &all[..3] {
        let verify = ["verify", id, "--restore", "--target", "sqlite:shop.db"];
        let said = place.fails(12, &verify);
        assert!(said.contains("no identity was given"), "{said}");
        let said = place.run(&[&verify[..], &["--identity", &identity]].concat());
        assert!(said.contains("tables equal") && !said.contains("DIFFERENT"), "{said}");
        assert_eq!(beside(), before);
    }
}
