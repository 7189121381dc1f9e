//! Chains at the command line: the real one, with the fake engine beside it.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::process::Command;

use end_to_end::Chain;
use serde_json::Value;

#[test]
fn a_chain_is_made_shown_restored_to_a_point_and_deleted_from_its_end() {
    let place = Chain::new();
    place.fails(1, &["backup", "fake:shop.fake", "--type", "incremental"]);
    let full = place.backup(&["--type", "incremental", "--or-full", "--format", "sql"]);
    place.insert("2026-11-24T02:00:00Z", 1);
    place.insert("2026-11-24T03:00:00Z", 2);
    let one = place.backup(&["--type", "incremental"]);
    place.insert("2026-11-24T04:00:00Z", 3);
    let two = place.backup(&["--type", "incremental"]);
    place.insert("2026-11-24T05:00:00Z", 4);
    let three = place.backup(&["--type", "differential"]);
    place.fails(2, &["backup", "fake:shop.fake", "--type", "incremental", "--exclude", "account"]);

    let shown = place.good(&["show", &two]);
    assert!(shown.contains(&format!("from {full}, then the log in {one}, {two}")), "{shown}");
    assert!(
        shown.contains("from 2026-11-24T01:00:00Z until before 2026-11-24T05:00:00Z, exact to 1 ms"),
        "{shown}"
    );
    let details = &place.show(&three)["backup"];
    let id = |id: &str| Value::from(id);
    assert_eq!(
        (&details["type"], &details["parent"], &details["transactions"]),
        (&id("differential"), &id(&full), &4.into())
    );
    assert_eq!(details["chain"]["path"], Value::from(vec![full.clone(), three.clone()]));
    assert_eq!(details["chain"]["members"].as_array().unwrap().len(), 4);
    assert_eq!(details["chain"]["reach"]["before"], "2026-11-24T05:00:00Z");
    let listed = place.good(&["list"]);
    let line = listed.lines().find(|line| line.starts_with(&two)).unwrap();
    assert!(line.contains("incremental") && line.ends_with(&one), "{listed}");

    let restore = |arguments: &[&str]| {
        let all =
            [&["restore"], arguments, &["--target", "fake:copy.fake", "--drop-existing", "--yes"]].concat();
        place.good(&all);
        place.rows("copy")
    };
    assert_eq!(restore(&[&full]), [0; 0]);
    assert_eq!(restore(&[&two]), [1, 2, 3]);
    assert_eq!(restore(&["latest"]), [1, 2, 3, 4]);
    assert_eq!(restore(&["latest", "--point-in-time", "2026-11-24T03:59:59Z"]), [1, 2]);
    assert_eq!(restore(&[&full, "--point-in-time", "2026-11-24T03:00:00+01:00"]), [1]);
    let position = place.show(&one)["backup"]["position"].as_str().unwrap().to_owned();
    assert_eq!(restore(&["latest", "--until", &position]), [1, 2]);
    let within = position.replace("/3", "/2");
    assert_ne!(within, position);
    assert_eq!(restore(&["latest", "--until", &within]), [1]);

    let target = ["--target", "fake:copy.fake", "--drop-existing", "--yes"];
    let before = std::fs::read(place.path("copy")).unwrap();
    for point in [
        ["--point-in-time", "2026-11-24T00:59:59Z"],
        ["--point-in-time", "2026-11-24T05:00:00Z"],
        ["--until", &position.replace("/3", "/9")],
        ["--until", "another/3"],
    ] {
        let said = place.fails(5, &[&["restore", "latest"], &point[..], &target].concat());
        assert!(said.contains(&full), "{said}");
    }
    place.fails(2, &[&["restore", "latest", "--until", "nowhere"], &target[..]].concat());
    place.fails(1, &[&["restore", &two, "--table", "account"], &target[..]].concat());
    place.fails(1, &["export", &two, "-o", "two.sql"]);
    assert_eq!(std::fs::read(place.path("copy")).unwrap(), before);

    place.good(&["verify", "--all"]);
    for needed in [&full, &one] {
        place.fails(11, &["delete", needed, "--yes"]);
    }
    place.good(&["delete", &two, "--yes"]);
    place.good(&["delete", &one, "--yes"]);
    assert_eq!(restore(&["latest"]), [1, 2, 3, 4]);
}

#[test]
fn a_verified_backup_is_all_that_a_restore_would_need() {
    let place = Chain::new();
    let full = place.backup(&["--format", "binary"]);
    let of_full = place.directory.files("backups/chunks");
    place.insert("2026-11-24T02:00:00Z", 1);
    let one = place.backup(&["--type", "incremental"]);
    place.insert("2026-11-24T03:00:00Z", 2);
    let two = place.backup(&["--type", "incremental"]);
    let verified = |arguments: &[&str]| -> u64 {
        let report: Value = serde_json::from_str(&place.good(&[arguments, &["--json"]].concat())).unwrap();
        let verified = report["verified"].as_array().unwrap();
        verified.iter().map(|backup| backup["report"]["chunks"].as_u64().unwrap()).sum()
    };
    let (path, all) = (verified(&["verify", &two]), verified(&["verify", "--all"]));
    assert_eq!(path, all, "each was read once, and all of them are needed");
    assert!(path > verified(&["verify", &full]));
    for (chunk, bytes) in &of_full {
        std::fs::write(chunk, &bytes[..bytes.len() - 1]).unwrap();
        for id in [&two, &one] {
            let (code, _, said) = place.run(&["verify", id]);
            assert_eq!(code, Some(4), "{said}");
            assert!(said.contains(id.as_str()) && said.contains(full.as_str()), "{said}");
        }
        let (code, all, _) = place.run(&["verify", "--all"]);
        assert_eq!((code, all.matches("FAILED").count()), (Some(4), 3), "{all}");
        std::fs::write(chunk, bytes).unwrap();
    }
    // The one that is damaged is not good any more, and what continues it is not because of that.
    let listed: Value = serde_json::from_str(&place.good(&["list", "--json"])).unwrap();
    let marked: Vec<bool> =
        listed["backups"].as_array().unwrap().iter().map(|it| !it["verified"].is_null()).collect();
    assert_eq!(marked, [false, true, true]);
    place.good(&["verify", &two]);
}

#[test]
fn a_log_that_the_server_has_forgotten_is_said_and_a_full_backup_can_take_its_place() {
    let place = Chain::new();
    let full = place.backup(&["--format", "binary"]);
    place.insert("2026-11-24T02:00:00Z", 1);
    place.database("shop").forget(2).unwrap();
    let said = place.fails(5, &["backup", "fake:shop.fake", "--type", "incremental"]);
    assert!(said.contains(&full) && said.contains("--or-full"), "{said}");
    let (code, id, said) = place.run(&[
        "backup",
        "fake:shop.fake",
        "--type",
        "incremental",
        "--or-full",
        "--format",
        "binary",
        "--quiet",
    ]);
    assert!(code == Some(0) && said.contains("forgotten"), "{said}");
    assert_eq!(place.show(id.trim())["backup"]["type"], "full");
    place.insert("2026-11-24T03:00:00Z", 2);
    let next = place.backup(&["--type", "incremental"]);
    assert_eq!(place.show(&next)["backup"]["parent"], id.trim());
}

/// Kills `prune` after `after` deletions of manifests, if there are so many; whether it was killed.
fn prune_and_kill(place: &Chain, arguments: &[&str], after: u32) -> Option<bool> {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=unlinkat"]);
    strace.args(["-e", &format!("inject=unlinkat:signal=KILL:when={after}")]);
    strace.arg(env!("CARGO_BIN_EXE_lifeboat-fake")).args(arguments).current_dir(place.directory.path(""));
    let output = strace.env("LIFEBOAT_TEST_LEASE", "0.1").output().ok()?;
    Some(!output.status.success())
}

/// A chain is kept or dropped as a whole, and a prune that is killed anywhere leaves no backup without what it continues.
#[test]
fn retention_keeps_and_drops_chains_as_a_whole_also_when_prune_is_killed() {
    let place = Chain::new();
    std::fs::write(place.directory.path("lifeboat.toml"), "[retention]\nmax-backups = 1\nmin-good = 0\n")
        .unwrap();
    let mut old = vec![place.backup(&[])];
    for (n, kind) in ["incremental", "incremental", "differential", "incremental"].into_iter().enumerate() {
        place.insert(&format!("2026-11-24T0{}:00:00Z", n + 2), n as i64);
        old.push(place.backup(&["--type", kind]));
    }
    // The newest keeps the whole chain, the base before all.
    let said = place.good(&["prune", "--dry-run"]);
    for id in &old {
        let line = said.lines().find(|line| line.starts_with(id.as_str())).unwrap();
        assert!(line.contains("keep"), "{said}");
    }
    place.good(&["prune", "--yes"]);
    let listed = |place: &Chain| -> Vec<String> {
        let list: Value = serde_json::from_str(&place.good(&["list", "--json"])).unwrap();
        let backups = list["backups"].as_array().unwrap();
        backups.iter().map(|backup| backup["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed(&place), old);
    // Another chain is begun, and the old one goes, from its end.
    place.insert("2026-11-24T08:00:00Z", 8);
    let new = place.backup(&[]);
    let (mut kills, mut states) = (0, std::collections::BTreeSet::new());
    for after in 1..60 {
        match prune_and_kill(&place, &["prune", "--yes", "--quiet"], after) {
            Some(true) => kills += 1,
            Some(false) => break,
            None => {
                end_to_end::missing("strace", "is not installed: prune was not killed");
                break;
            }
        }
        let left = listed(&place);
        assert!(left.contains(&new), "{left:?}");
        place.good(&["verify", "--all", "--quiet"]);
        for id in &left {
            place.good(&["show", id]);
        }
        states.insert(left.len());
    }
    place.good(&["prune", "--yes"]);
    assert_eq!(listed(&place), [new]);
    let copy = ["restore", "latest", "--target", "fake:copy.fake", "--create-database", "--quiet"];
    place.good(&copy);
    assert_eq!(place.rows("copy"), place.rows("shop"));
    println!(
        "{kills} kills of a prune that drops a chain of {}: {states:?} backups left, all verified",
        old.len()
    );
}
