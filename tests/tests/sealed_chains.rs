//! Chains in a sealed repository, by a host that has no identity: it backs up the log, lists, verifies what is stored and prunes; and only
//! who has the identity restores, to any point.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::fs;
use std::ops::Deref;
use std::time::Duration;

use end_to_end::Chain;
use serde_json::Value;

struct Place {
    chain: Chain,
    identity: String,
}

impl Deref for Place {
    type Target = Chain;

    fn deref(&self) -> &Chain {
        &self.chain
    }
}

impl Place {
    /// A database, and a sealed repository for it.
    fn new() -> Self {
        let chain = Chain::new();
        let identity = chain.directory.init_sealed("identity", &[]);
        Self { chain, identity }
    }

    /// What a restore by somebody with the identity, and no host key, brings back.
    fn restore(&self, arguments: &[&str]) -> Vec<i64> {
        let target = ["--target", "fake:copy.fake", "--drop-existing", "--yes", "--identity", &self.identity];
        let mut command = self.command(&[&["restore"], arguments, &target].concat());
        end_to_end::output(command.env("XDG_CONFIG_HOME", self.directory.path("nothing")));
        self.rows("copy")
    }

    fn listed(&self) -> Vec<(String, String)> {
        let list: Value = serde_json::from_str(&self.good(&["list", "--json"])).unwrap();
        let backup =
            |backup: &Value| ["id", "type"].map(|key| backup[key].as_str().unwrap().to_owned()).into();
        list["backups"].as_array().unwrap().iter().map(backup).collect()
    }
}

#[test]
fn a_host_without_an_identity_makes_and_keeps_chains_that_only_the_identity_restores() {
    for format in ["binary", "sql", "compressed"] {
        let place = Place::new();
        let full = place.backup(&["--format", format]);
        place.insert("2026-11-24T02:00:00Z", 1);
        place.insert("2026-11-24T03:00:00Z", 2);
        let one = place.backup(&["--type", "incremental"]);
        place.insert("2026-11-24T04:00:00Z", 3);
        let two = place.backup(&["--type", "incremental"]);
        place.insert("2026-11-24T05:00:00Z", 4);
        place.insert("2026-11-24T06:00:00Z", 5);
        let three = place.backup(&["--type", "incremental"]);

        let kinds: Vec<_> = place.listed().into_iter().map(|(_, kind)| kind).collect();
        assert_eq!(kinds, ["full", "incremental", "incremental", "incremental"]);
        place.good(&["verify", "--all"]);
        place.good(&["check", "--read-data"]);
        for id in [&full, &two, &three] {
            let target = ["--target", "fake:copy.fake"];
            let said = place.fails(12, &[&["restore", id], &target[..]].concat());
            assert!(said.contains("no identity was given"), "{said}");
            // What its header says can be shown, and no more.
            let (code, shown, _) = place.run(&["show", id]);
            assert!(code == Some(12) && shown.contains(id.as_str()), "{shown}");
        }
        assert!(!place.path("copy").exists());

        assert_eq!(place.restore(&[&full]), [0; 0]);
        assert_eq!(place.restore(&[&one]), [1, 2]);
        assert_eq!(place.restore(&[&two]), [1, 2, 3]);
        assert_eq!(place.restore(&["latest"]), [1, 2, 3, 4, 5]);
        assert_eq!(place.restore(&["latest", "--point-in-time", "2026-11-24T03:59:59Z"]), [1, 2]);
        assert_eq!(place.restore(&[&full, "--point-in-time", "2026-11-24T03:00:00+01:00"]), [1]);
        let shown = place.good(&["show", &one, "--json", "--identity", &place.identity]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        let position = shown["backup"]["position"].as_str().unwrap().to_owned();
        assert_eq!(place.restore(&["latest", "--until", &position]), [1, 2]);
        assert_eq!(place.restore(&["latest", "--until", &position.replace("/3", "/2")]), [1]);
        let target =
            ["--target", "fake:copy.fake", "--drop-existing", "--yes", "--identity", &place.identity];
        for point in [["--point-in-time", "2026-11-24T00:59:59Z"], ["--until", "another/3"]] {
            place.fails(5, &[&["restore", "latest"], &point[..], &target].concat());
        }
        // A chain is deleted from its end, and one of its manifests that cannot be read keeps its base.
        place.fails(11, &["delete", &full, "--yes"]);
        let manifest = place.directory.path(&format!("backups/manifests/{three}"));
        let whole = fs::read(&manifest).unwrap();
        fs::write(&manifest, &whole[..whole.len() / 8]).unwrap();
        let said = place.fails(4, &["delete", &two, "--yes"]);
        assert!(said.contains(&three) && said.contains("nothing was deleted"), "{said}");
        fs::write(&manifest, whole).unwrap();
        for id in [&three, &two] {
            place.good(&["delete", id, "--yes"]);
        }
        let check: Value = serde_json::from_str(&place.good(&["check", "--json"])).unwrap();
        assert_eq!(check["check"]["orphans"]["deleted"], 2, "{check}");
        assert_eq!(place.restore(&["latest"]), [1, 2]);
    }
}

/// It cannot take over what earlier ones have, and reads the log again: so the server is not told to forget that.
#[test]
fn a_host_without_an_identity_makes_one_differential_backup_after_another() {
    let place = Place::new();
    let full = place.backup(&["--format", "binary"]);
    let mut made = Vec::new();
    for id in 1..=3 {
        place.insert(&format!("2026-11-24T0{}:00:00Z", id + 1), id);
        made.push(place.backup(&["--type", "differential"]));
    }
    for (number, id) in made.iter().enumerate() {
        let expected: Vec<i64> = (1..=number as i64 + 1).collect();
        assert_eq!(place.restore(&[id]), expected);
        let shown = place.good(&["show", id, "--json", "--identity", &place.identity]);
        let shown: Value = serde_json::from_str(&shown).unwrap();
        assert_eq!(shown["backup"]["parent"], full.as_str());
        assert_eq!(shown["backup"]["transactions"], number as u64 + 1);
    }
    place.insert("2026-11-24T06:00:00Z", 4);
    let next = place.backup(&["--type", "incremental"]);
    assert_eq!(place.restore(&[&next]), [1, 2, 3, 4]);
    place.good(&["verify", "--all"]);

    // An incremental one lets the server forget. Then there cannot be a differential one any more, which is said.
    place.insert("2026-11-24T07:00:00Z", 5);
    let said = place.fails(5, &["backup", "fake:shop.fake", "--type", "differential"]);
    assert!(said.contains(&full) && said.contains("--or-full"), "{said}");
    place.backup(&["--type", "incremental"]);
    assert_eq!(place.restore(&["latest"]), [1, 2, 3, 4, 5]);
    let (code, id, said) =
        place.run(&["backup", "fake:shop.fake", "--type", "differential", "--or-full", "--quiet"]);
    assert!(code == Some(0) && said.contains("this is a full backup"), "{said}");
    assert_eq!(place.listed().last().unwrap(), &(id.trim().to_owned(), "full".to_owned()));
}

#[test]
fn a_host_without_an_identity_prunes_chains_as_wholes() {
    let place = Place::new();
    fs::write(
        place.directory.path("lifeboat.toml"),
        "[repository]\nurl = \"backups\"\n[retention]\nmax-backups = 2\nmin-good = 0\n",
    )
    .unwrap();
    let mut chains = Vec::new();
    for chain in 0..3 {
        let full = place.backup(&["--format", "binary"]);
        place.insert(&format!("2026-11-24T0{}:00:00Z", chain + 2), chain);
        let next = place.backup(&["--type", "incremental"]);
        chains.push([full, next]);
    }
    let prune = || {
        let mut command = place.command(&["prune", "--yes", "--quiet"]);
        end_to_end::output(command.env("LIFEBOAT_TEST_LEASE", "0.2"));
    };
    prune();
    std::thread::sleep(Duration::from_millis(1500));
    prune();
    let left: Vec<_> = place.listed().into_iter().map(|(id, _)| id).collect();
    assert!(chains[2].iter().all(|id| left.contains(id)) && !left.contains(&chains[0][0]), "{left:?}");
    place.good(&["verify", "--all"]);
    assert_eq!(place.restore(&["latest"]), [0, 1, 2]);
    place.good(&["check", "--read-data"]);
}

#[test]
fn a_sealed_chain_is_copied_whole_and_continued_where_it_was_copied_to() {
    let place = Place::new();
    place.backup(&["--format", "sql"]);
    place.insert("2026-11-24T02:00:00Z", 1);
    let last = place.backup(&["--type", "incremental"]);
    let other = place.directory.init_sealed("other-identity", &["--repo", "other"]);
    place.good(&["copy", "--to", "other", &last, "--identity", &place.identity, "--quiet"]);
    place.insert("2026-11-24T03:00:00Z", 2);
    place.backup(&["--repo", "other", "--type", "incremental"]);
    place.good(&["verify", "--all", "--repo", "other", "--identity", &other]);
    place.good(&[
        "restore",
        "latest",
        "--repo",
        "other",
        "--target",
        "fake:copy.fake",
        "--drop-existing",
        "--yes",
        "--identity",
        &other,
    ]);
    assert_eq!(place.rows("copy"), [1, 2]);
}
