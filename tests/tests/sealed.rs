//! Sealed repositories, as their users and their enemies meet them: the host cannot read, stock age can, and whoever may write to the store and
//! holds every public key gets nothing believed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use end_to_end::{Place, dump, has, output, shop};
use serde_json::Value;

mod forger;
use forger::Forger;

fn json(place: &Place, arguments: &[&str]) -> Value {
    serde_json::from_str(&place.run(&[arguments, &["--json"]].concat())).unwrap()
}

/// A sealed repository of a shop, and the identity file, which vouches for the host.
fn sealed_shop(place: &Place) -> String {
    shop(&place.path("source.db"));
    place.init_sealed("identity", &[])
}

/// Runs the program on some host; its exit code, and what it said.
type Run<'a> = dyn Fn(&[&str]) -> (Option<i32>, String) + 'a;

/// Runs with another home: a host that has no host key.
fn elsewhere(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = place.command(arguments);
    let output = command.env("XDG_CONFIG_HOME", place.path("nothing")).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_host_backs_up_lists_and_deletes_what_only_the_identity_can_read() {
    let place = Place::new();
    let identity = sealed_shop(&place);
    let mut ids = Vec::new();
    for format in ["binary", "binary", "sql", "compressed"] {
        ids.push(place.backup("source.db", format));
    }
    let listed = json(&place, &["list"]);
    let listed = listed["backups"].as_array().unwrap();
    assert_eq!(listed.len(), 4);
    assert!(listed.iter().all(|backup| backup["trusted"] == true && backup["decoded"].is_null()));
    assert_eq!(listed[1]["new-size"], 0, "the second backup stored chunks again");

    // The host itself cannot read, and says so; nothing appears at the target.
    for id in &ids {
        let said = place.fails(12, &["restore", id, "--target", "sqlite:copy.db"]);
        assert!(said.contains("no identity was given"), "{said}");
        assert!(!place.path("copy.db").exists());
        let verified = place.run(&["verify", id]);
        assert!(verified.contains("not read back") && !verified.contains(" ok "), "{verified}");
    }
    // Who has nothing but the identity restores, since its file says whose signatures count.
    for (n, id) in ids.iter().enumerate() {
        let copy = format!("copy{n}.db");
        let target = format!("sqlite:{copy}");
        let (code, said) = elsewhere(&place, &["restore", id, "--target", &target, "--identity", &identity]);
        assert_eq!(code, Some(0), "{said}");
        if has("sqlite3") {
            assert!(dump(&place.path(&copy)) == dump(&place.path("source.db")), "{id}");
        }
    }
    let verified = place.run(&["verify", "--all", "--identity", &identity]);
    assert_eq!(verified.matches(" ok ").count(), 4, "{verified}");
    place.run(&["check", "--read-data"]);
    place.run(&["delete", &ids[2], "--yes"]);
    assert_eq!(json(&place, &["list"])["backups"].as_array().unwrap().len(), 3);
}

#[test]
fn what_is_exported_of_a_sealed_repository_is_whole_and_restored_without_a_key() {
    let place = Place::new();
    let identity = sealed_shop(&place);
    let id = place.backup("source.db", "binary");
    for (format, file) in [("sql", "shop.sql"), ("compressed", "shop.tar.zst")] {
        place.run(&["export", &id, "-o", file, "--format", format, "--identity", &identity]);
        let target = format!("sqlite:{file}.db");
        let (code, said) = elsewhere(&place, &["restore", &format!("./{file}"), "--target", &target]);
        assert_eq!(code, Some(0), "{said}");
        if has("sqlite3") {
            assert!(dump(&place.path(&format!("{file}.db"))) == dump(&place.path("source.db")));
        }
    }
}

#[test]
fn stock_age_opens_every_sealed_object_and_the_recovery_script_reads_on() {
    if !(has("age") && has("python3") && has("zstd") && has("sqlite3")) {
        return;
    }
    let place = Place::new();
    let identity = sealed_shop(&place);
    let id = place.backup("source.db", "binary");
    place.backup("source.db", "sql");
    let mut opened = 0;
    for (path, contents) in place.files("backups") {
        let sealed = contents.starts_with(b"age-encryption.org/v1\n");
        let holds_contents = ["/chunks/", "/files/"].iter().any(|part| path.to_str().unwrap().contains(part));
        assert_eq!(sealed, holds_contents, "{}", path.display());
        if sealed {
            let clear = output(Command::new("age").args(["-d", "-i", &identity]).arg(&path));
            assert!(clear.starts_with(b"LBC") || clear.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
            opened += 1;
        }
    }
    println!("stock age opened {opened} objects");
    assert!(opened >= 2);
    let recover = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recover.py");
    let directory = place.path("recovered");
    output(
        Command::new("python3")
            .arg(&recover)
            .arg(place.path("backups"))
            .arg(&id)
            .arg(&directory)
            .env("AGE_IDENTITY", &identity),
    );
    let sql: usize = std::fs::read_dir(&directory).unwrap().count();
    assert!(sql > 5, "{sql} files");
}

#[test]
fn the_wrong_key_gives_no_output_and_each_lack_has_its_own_error() {
    let place = Place::new();
    let identity = sealed_shop(&place);
    let id = place.backup("source.db", "binary");
    let (wrong, _) = place.identity("wrong");
    let refused = |arguments: &[&str], words: &str| {
        let (code, said) = elsewhere(&place, arguments);
        assert_eq!(code, Some(12), "{arguments:?}: {said}");
        assert!(said.contains(words) && said.contains("hint: "), "{arguments:?}: {said}");
        for made in ["copy.db", "copy.sql"] {
            assert!(!place.path(made).exists(), "{arguments:?} made {made}");
        }
    };
    let signer = json(&place, &["list"])["backups"][0]["signer"].as_str().unwrap().to_owned();
    let restore = ["restore", &id, "--target", "sqlite:copy.db"];
    refused(&[&restore[..], &["--signer", &signer]].concat(), "no identity was given");
    refused(&[&restore[..], &["--identity", &wrong, "--signer", &signer]].concat(), "not sealed for");
    refused(&[&restore[..], &["--identity", &wrong]].concat(), "nothing here says");
    refused(&["export", &id, "-o", "copy.sql", "--identity", &wrong, "--signer", &signer], "not sealed for");
    let another = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let clear: String = std::fs::read_to_string(&identity).unwrap().lines().last().unwrap().to_owned();
    std::fs::write(place.path("bare"), clear).unwrap();
    refused(&[&restore[..], &["--identity", "bare", "--signer", another]].concat(), "not signed by anybody");
    refused(&["backup", "sqlite:source.db"], "this host has no key");
    // With the word for it, an unknown signer is taken.
    let (code, said) =
        elsewhere(&place, &[&restore[..], &["--identity", "bare", "--trust-unsigned"]].concat());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_passphrase_opens_the_identity_that_the_repository_stores() {
    let place = Place::new();
    shop(&place.path("source.db"));
    std::fs::write(place.path("passphrase"), "correct horse battery staple\n").unwrap();
    place.run(&["init", "--passphrase-file", "passphrase"]);
    let id = place.backup("source.db", "binary");
    let restore = |name: &str, value: &str, copy: &str| {
        let target = format!("sqlite:{copy}");
        let mut command = place.command(&["restore", &id, "--target", &target]);
        command.env("XDG_CONFIG_HOME", place.path("nothing")).env(name, value).output().unwrap()
    };
    let wrong = restore("LIFEBOAT_PASSPHRASE", "wrong", "copy.db");
    assert_eq!(wrong.status.code(), Some(12));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("passphrase opens none"));
    assert!(!place.path("copy.db").exists());
    // The stored identity also says whose signatures count.
    let right = restore("LIFEBOAT_PASSPHRASE_COMMAND", "cat passphrase", "copy.db");
    assert!(right.status.success(), "{}", String::from_utf8_lossy(&right.stderr));
    if has("sqlite3") {
        assert!(dump(&place.path("copy.db")) == dump(&place.path("source.db")));
    }
}

#[test]
fn secrets_are_in_no_output_and_in_no_object() {
    let place = Place::new();
    let identity = sealed_shop(&place);
    place.backup("source.db", "binary");
    place.backup("source.db", "compressed");
    let host: PathBuf = place.files("config/lifeboat/keys").remove(0).0;
    let host: Value = serde_json::from_slice(&std::fs::read(host).unwrap()).unwrap();
    let secret = std::fs::read_to_string(&identity).unwrap();
    let identity_line = secret.lines().last().unwrap().to_owned();
    let secrets = [
        host["chunk-key"].as_str().unwrap().to_owned(),
        host["signing-key"].as_str().unwrap().to_owned(),
        identity_line,
    ];
    let mut said = String::new();
    for arguments in
        [&["list"][..], &["show", "latest"], &["key", "show"], &["verify", "--all"], &["list", "-v"]]
    {
        let output = place.command(&[arguments, &["-v"]].concat()).output().unwrap();
        said += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
    }
    let objects = place.files("backups");
    for secret in &secrets {
        assert!(!said.contains(secret.as_str()));
        for (path, contents) in &objects {
            let found = contents.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a secret is in {}", path.display());
        }
    }
}

#[test]
fn nothing_is_stored_in_clear_where_a_sealed_repository_was() {
    let place = Place::new();
    sealed_shop(&place);
    let _ = place.backup("source.db", "binary");
    let description = place.path("backups/lifeboat.json");
    let sealed = std::fs::read(&description).unwrap();
    let before = place.files("backups").len();
    let mut tried = 0;
    // One that is not sealed is put in its place: made elsewhere, with another id, and with the same.
    place.run(&["init", "--repo", "plain"]);
    let plain = std::fs::read_to_string(place.path("plain/lifeboat.json")).unwrap();
    std::fs::write(&description, &plain).unwrap();
    let said = place.fails(12, &["backup", "sqlite:source.db"]);
    assert!(said.contains("not sealed"), "{said}");
    tried += 1;
    let forger = Forger::new(&place.path("backups"));
    let same: Value = serde_json::from_slice(&sealed).unwrap();
    let mut unsealed: Value = serde_json::from_str(&plain).unwrap();
    unsealed["id"] = same["id"].clone();
    forger.write_description(&unsealed);
    place.fails(12, &["backup", "sqlite:source.db"]);
    tried += 1;
    // Everything is gone.
    std::fs::write(&description, &sealed).unwrap();
    std::fs::rename(place.path("backups"), place.path("away")).unwrap();
    let said = place.fails(10, &["backup", "sqlite:source.db"]);
    assert!(said.contains("sealed repository"), "{said}");
    tried += 1;
    std::fs::remove_dir_all(place.path("backups")).unwrap_or_default();
    std::fs::rename(place.path("away"), place.path("backups")).unwrap();
    assert_eq!(place.files("backups").len(), before, "something was stored");
    place.backup("source.db", "binary");
    // What the configuration asks for goes for every place.
    let (_, recipient) = place.identity("other");
    std::fs::write(place.path("wants.toml"), format!("[repository]\nrecipients = [\"{recipient}\"]\n"))
        .unwrap();
    for repo in ["plain", "new", "backups"] {
        let code = place.code(&["backup", "sqlite:source.db", "--repo", repo, "--config", "wants.toml"]);
        assert!(matches!(code, Some(10 | 12)), "{repo}: {code:?}");
        tried += 1;
    }
    assert!(place.files("new").is_empty() && place.files("plain").len() == 1);
    println!("{tried} of {tried} ways to have a backup stored in clear were refused");
}

/// Somebody who may write to the store puts another repository in the place of a sealed one: nobody has to sign anything in it.
#[test]
fn what_is_not_sealed_is_not_believed_by_who_counts_on_signatures() {
    let place = Place::new();
    let identity = sealed_shop(&place);
    let true_id = place.backup("source.db", "binary");
    let signer = json(&place, &["list"])["backups"][0]["signer"].as_str().unwrap().to_owned();
    let id = json(&place, &["key", "show"])["keys"]["repository"].clone();
    let text = std::fs::read_to_string(&identity).unwrap();
    std::fs::write(place.path("bare"), text.lines().last().unwrap()).unwrap();
    std::fs::write(
        place.path("signers.toml"),
        format!("[repository]\nurl = \"backups\"\nsigners = [\"{signer}\"]\n"),
    )
    .unwrap();
    // His is made elsewhere.
    let evil = rusqlite::Connection::open(place.path("evil.db")).unwrap();
    evil.execute_batch("CREATE TABLE evil (x)").unwrap();
    place.run(&["backup", "sqlite:evil.db", "--repo", "evil", "--format", "sql"]);
    std::fs::rename(place.path("backups"), place.path("sealed")).unwrap();
    std::fs::rename(place.path("evil"), place.path("backups")).unwrap();
    let restore = ["restore", "latest", "--target", "sqlite:copy.db"];
    let ways: [&[&str]; 5] = [
        &["--identity", &identity],
        &["--identity", "bare"],
        &["--signer", &signer],
        &["--identity", "bare", "--signer", &signer],
        &["--config", "signers.toml"],
    ];
    for way in ways {
        let (code, said) = elsewhere(&place, &[&restore[..], way].concat());
        assert_eq!(code, Some(12), "{way:?}: {said}");
        assert!(said.contains("not sealed") && said.contains("--trust-unsigned"), "{way:?}: {said}");
        assert!(!place.path("copy.db").exists(), "{way:?}");
        for command in
            [&["verify", "latest"][..], &["show", "latest"], &["check"], &["export", "latest", "-o", "x"]]
        {
            let (code, said) = elsewhere(&place, &[command, way].concat());
            assert_eq!(code, Some(12), "{command:?} {way:?}: {said}");
        }
    }
    let mut with_passphrase = place.command(&restore);
    with_passphrase.env("XDG_CONFIG_HOME", place.path("nothing")).env("LIFEBOAT_PASSPHRASE", "correct horse");
    assert_eq!(with_passphrase.output().unwrap().status.code(), Some(12));
    let backup = ["backup", "sqlite:source.db", "--config", "signers.toml"];
    assert_eq!(elsewhere(&place, &backup).0, Some(12));
    let nowhere = [&backup[..], &["--repo", "nowhere"]].concat();
    assert_eq!(elsewhere(&place, &nowhere).0, Some(10));
    assert!(place.files("nowhere").is_empty());
    // With the word for it, it is taken.
    let (code, said) =
        elsewhere(&place, &[&restore[..], &["--identity", &identity, "--trust-unsigned"]].concat());
    assert_eq!(code, Some(0), "{said}");
    // Under the true id, for a host that has its key, in a place that it never saw.
    let mut unsealed: Value =
        serde_json::from_slice(&std::fs::read(place.path("backups/lifeboat.json")).unwrap()).unwrap();
    unsealed["id"] = id;
    std::fs::rename(place.path("backups"), place.path("moved")).unwrap();
    Forger::new(&place.path("moved")).write_description(&unsealed);
    for command in [&["list"][..], &["backup", "sqlite:source.db"], &["verify", "--all", "--trust-unsigned"]]
    {
        let said = place.fails(12, &[command, &["--repo", "moved"]].concat());
        assert!(said.contains("this host has the key"), "{said}");
    }
    // The true one is believed as ever.
    let restore =
        ["restore", &true_id, "--repo", "sealed", "--target", "sqlite:true.db", "--identity", &identity];
    assert_eq!(elsewhere(&place, &restore).0, Some(0));
}

#[test]
fn a_host_knows_every_place_in_which_it_opened_a_sealed_repository() {
    let place = Place::new();
    shop(&place.path("source.db"));
    std::fs::create_dir_all(place.path("disk/deep")).unwrap();
    std::os::unix::fs::symlink(place.path("disk/deep"), place.path("link")).unwrap();
    // Named before it is there, by a way that the shell would walk otherwise.
    let repo = ["--repo", "link/../backups"];
    place.init_sealed("identity", &repo);
    let gone = |run: &Run<'_>| {
        std::fs::rename(place.path("disk/backups"), place.path("away")).unwrap();
        let (code, said) = run(&[&["backup", "sqlite:source.db"], &repo[..]].concat());
        assert_eq!(code, Some(10), "{said}");
        assert!(said.contains("sealed repository"), "{said}");
        assert!(place.files("disk/backups").is_empty());
        place.run(&["init", "--repo", "plain"]);
        std::fs::remove_dir(place.path("disk/backups")).unwrap_or_default();
        std::fs::rename(place.path("plain"), place.path("disk/backups")).unwrap();
        let (code, said) = run(&[&["backup", "sqlite:source.db"], &repo[..]].concat());
        assert_eq!(code, Some(12), "{said}");
        assert_eq!(place.files("disk/backups").len(), 1);
        std::fs::remove_dir_all(place.path("disk/backups")).unwrap();
        std::fs::rename(place.path("away"), place.path("disk/backups")).unwrap();
    };
    let own = |arguments: &[&str]| {
        let output = place.command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    gone(&own);
    // Another host, whose key was carried to where host keys are.
    place.run(&[&["key", "add", "--new-host", "other.json"], &repo[..]].concat());
    std::fs::create_dir_all(place.path("other/lifeboat/keys")).unwrap();
    std::fs::rename(place.path("other.json"), place.path("other/lifeboat/keys/key.json")).unwrap();
    let other = |arguments: &[&str]| {
        let output = place.command(arguments).env("XDG_CONFIG_HOME", place.path("other")).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Before it has seen the repository it does not make another of itself.
    let (code, said) = other(&["backup", "sqlite:source.db", "--repo", "not-mounted"]);
    assert_eq!(code, Some(10), "{said}");
    assert!(said.contains("has not seen it yet") && place.files("not-mounted").is_empty(), "{said}");
    assert_eq!(other(&["list", "--repo", "disk/backups"]).0, Some(0));
    gone(&other);
    // What is known of keys is kept when they are changed, and a key that cannot be written is said.
    let (_, recipient) = place.identity("second");
    place.run(&[&["key", "add", "--recipient", &recipient], &repo[..]].concat());
    gone(&own);
    // Elsewhere the host makes one that is not sealed, as ever.
    assert_eq!(other(&["backup", "sqlite:source.db", "--repo", "elsewhere"]).0, Some(0));
}

#[test]
fn keys_are_changed_only_where_somebody_typed_it() {
    let place = Place::new();
    let first = sealed_shop(&place);
    let old = place.backup("source.db", "binary");
    place.run(&["key", "add", "--new-host", "other-host.json"]);
    // The other host writes, and both believe each other.
    let other = |arguments: &[&str]| {
        let mut command = place.command(&[arguments, &["--host-key", "other-host.json"]].concat());
        let output = command.env("XDG_CONFIG_HOME", place.path("nothing")).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    let (code, said) = other(&["backup", "sqlite:source.db", "--format", "binary", "-q"]);
    assert_eq!(code, Some(0), "{said}");
    let listed = json(&place, &["list"]);
    assert_eq!(listed["backups"][1]["trusted"], true);
    assert_ne!(listed["backups"][0]["signer"], listed["backups"][1]["signer"]);
    assert_eq!(listed["backups"][1]["new-size"], 0, "chunks of the first host were sent again");

    let (second, recipient) = place.identity("second");
    place.run(&["key", "add", "--recipient", &recipient]);
    let new = place.backup("source.db", "binary");
    // The new recipient reads what was made for it, all of it, and not what was there before.
    let signer = listed["backups"][0]["signer"].as_str().unwrap().to_owned();
    let verify = |id: &str, identity: &str| {
        elsewhere(&place, &["verify", id, "--identity", identity, "--signer", &signer]).0
    };
    assert_eq!((verify(&new, &second), verify(&new, &first)), (Some(0), Some(0)));
    assert_eq!((verify(&old, &second), verify(&old, &first)), (Some(12), Some(0)));
    // A check reads what it can, and hashes the rest: of who holds a host key, and of who holds an identity alone.
    let report = |command: &mut Command| -> (u64, u64) {
        let report: Value = serde_json::from_slice(&output(command)).unwrap();
        let count = |name: &str| report["check"][name].as_u64().unwrap();
        (count("chunks-read"), count("chunks-decoded"))
    };
    let check = ["check", "--read-data", "--json", "--signer", &signer, "--identity"];
    for identity in [&first, &second] {
        let arguments = [&check[..], &[identity.as_str()]].concat();
        let here = report(&mut place.command(&arguments));
        let alone = report(place.command(&arguments).env("XDG_CONFIG_HOME", place.path("nothing")));
        assert_eq!(here, alone);
        assert!(here.1 > 0 && (here.0 == here.1) == (identity == &first), "{here:?}");
    }
    // Nobody told the other host: it stores nothing for somebody whom it does not know.
    let (code, said) = other(&["backup", "sqlite:source.db"]);
    assert_eq!(code, Some(12), "{said}");
    assert!(said.contains("also sealed for") && said.contains("key add --recipient"), "{said}");
    let (code, said) = other(&["key", "add", "--recipient", &recipient]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(other(&["backup", "sqlite:source.db", "-q"]).0, Some(0));
    // The last recipient, and the host's own signer, stay.
    place.run(&["key", "remove", "--recipient", &recipient]);
    let last = json(&place, &["key", "show"])["keys"]["recipients"][0].as_str().unwrap().to_owned();
    place.fails(2, &["key", "remove", "--recipient", &last]);
    place.fails(2, &["key", "remove", "--signer", &signer]);
    place.backup("source.db", "binary");
}

/// Trial 17: somebody who may write to the store and knows every public key.
#[test]
fn whatever_a_forger_writes_is_refused() {
    let place = Place::new();
    let identity = sealed_shop(&place);
    let id = place.backup("source.db", "binary");
    let file = place.backup("source.db", "sql");
    let forger = Forger::new(&place.path("backups"));
    let mut forgeries = 0;
    let mut caught = 0;
    let mut check = |what: &str, was_caught: bool| {
        forgeries += 1;
        caught += usize::from(was_caught);
        if !was_caught {
            println!("NOT CAUGHT: {what}");
        }
    };
    let restores = |id: &str| {
        let (code, said) =
            elsewhere(&place, &["restore", id, "--target", "sqlite:copy.db", "--identity", &identity]);
        let made = place.path("copy.db").exists();
        let _ = std::fs::remove_file(place.path("copy.db"));
        assert!(!made || code == Some(0), "a restore that failed left something: {said}");
        code
    };
    for (what, restored, forge) in forger.forgeries(&id, &file) {
        let saved = place.files("backups");
        forge(&forger);
        let code = restores(&restored);
        check(&format!("{what} (restore: {code:?})"), matches!(code, Some(4 | 12 | 1 | 10)));
        // The host neither believes it nor builds on it.
        let listed = place.command(&["list", "--json"]).output().unwrap();
        let listed: Option<Value> = serde_json::from_slice(&listed.stdout).ok();
        let believed = listed.is_some_and(|listed| {
            let backups = listed["backups"].as_array().cloned().unwrap_or_default();
            backups.iter().any(|backup| {
                backup["trusted"] == true
                    && ![id.as_str(), file.as_str()].contains(&backup["id"].as_str().unwrap())
            })
        });
        check(&format!("{what} (list)"), !believed);
        // Back to what it was.
        std::fs::remove_dir_all(place.path("backups")).unwrap();
        for (path, contents) in saved {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, contents).unwrap();
        }
    }
    // Marks: a forged one counts as none, and one of another backup too.
    let mark = place.path(&format!("backups/marks/{id}"));
    let good = std::fs::read(&mark).unwrap();
    for forged in forger.marks(&id, &file) {
        std::fs::write(&mark, forged).unwrap();
        check("a mark", json(&place, &["list"])["backups"][0]["verified"].is_null());
    }
    std::fs::write(&mark, good).unwrap();
    assert!(!json(&place, &["list"])["backups"][0]["verified"].is_null());
    assert_eq!(restores(&id), Some(0), "what was not forged is not restored");
    // Descriptions: recipients and signers that nobody here knows.
    let description = place.path("backups/lifeboat.json");
    let good = std::fs::read(&description).unwrap();
    for (what, forged) in forger.descriptions() {
        std::fs::write(&description, forged).unwrap();
        let before = place.files("backups").len();
        let code = place.code(&["backup", "sqlite:source.db"]);
        check(
            &format!("{what} (backup: {code:?})"),
            !matches!(code, Some(0)) && place.files("backups").len() == before,
        );
        let code = restores(&id);
        check(&format!("{what} (restore: {code:?})"), code != Some(0));
    }
    std::fs::write(&description, good).unwrap();
    assert_eq!(restores(&id), Some(0));
    println!("{caught} of {forgeries} forgeries were refused");
    assert_eq!(caught, forgeries);
}

/// An archive has a manifest of its own, which nobody signs.
#[test]
fn an_archive_that_a_forger_made_is_refused_however_it_is_read() {
    let place = Place::new();
    let identity = sealed_shop(&place);
    let archive = |place: &Place, source: &str| {
        let source = format!("sqlite:{source}");
        let said = place.run(&["backup", &source, "--format", "compressed", "--codec", "none", "--json"]);
        serde_json::from_str::<Value>(&said).unwrap()["backup"]["id"].as_str().unwrap().to_owned()
    };
    let id = archive(&place, "source.db");
    let his = Place::new();
    shop(&his.path("his.db"));
    rusqlite::Connection::open(his.path("his.db")).unwrap().execute_batch("CREATE TABLE his (a)").unwrap();
    let his_id = archive(&his, "his.db");
    let tar = std::fs::read(his.path(&format!("backups/files/{his_id}.tar"))).unwrap();
    let kept = std::fs::read(place.path(&format!("backups/files/{id}.tar"))).unwrap();
    Forger::new(&place.path("backups")).replace_archive(&id, tar, &his_id);
    let tries: [&[&str]; 6] = [
        &["restore", &id, "--target", "sqlite:copy.db"],
        &["restore", &id, "--target", "sqlite:copy.db", "--skip-verification"],
        &["export", &id, "-o", "copy.db", "--format", "sql"],
        &["export", &id, "-o", "copy.db", "--format", "compressed"],
        &["show", &id],
        &["verify", &id],
    ];
    let codes = |expected: i32| {
        for arguments in tries {
            let (code, said) = elsewhere(&place, &[arguments, &["--identity", &identity]].concat());
            assert_eq!(code, Some(expected), "{arguments:?}: {said}");
            let made = std::fs::remove_file(place.path("copy.db")).is_ok();
            assert_eq!(made, expected == 0 && ["restore", "export"].contains(&arguments[0]), "{arguments:?}");
        }
    };
    codes(4);
    std::fs::write(place.path(&format!("backups/files/{id}.tar")), kept).unwrap();
    codes(0);
}

#[test]
fn prune_frees_sealed_chunks_and_a_forged_backup_costs_no_real_one() {
    let place = Place::new();
    let identity = sealed_shop(&place);
    let prune = || {
        let mut command = place.command(&["prune", "--yes", "--json", "--quiet"]);
        // A short lease, and so a short waiting time.
        let pruned: Value =
            serde_json::from_slice(&output(command.env("LIFEBOAT_TEST_LEASE", "0.5"))).unwrap();
        pruned["prune"]["collected"]["chunks"]["objects"].as_u64().unwrap()
    };
    std::fs::write(
        place.path("lifeboat.toml"),
        "[repository]\nurl = \"backups\"\n[retention]\nmax-backups = 1\nmin-good = 0\n",
    )
    .unwrap();
    let first = place.backup("source.db", "binary");
    let db = rusqlite::Connection::open(place.path("source.db")).unwrap();
    db.execute_batch("UPDATE customer SET name = 'somebody else'").unwrap();
    let second = place.backup("source.db", "binary");
    let forger = Forger::new(&place.path("backups"));
    let forgeries = forger.forgeries(&second, &second);
    let (_, forged, forge) = forgeries.iter().find(|(what, ..)| what.contains("newer than all")).unwrap();
    forge(&forger);

    assert_eq!(prune(), 0, "chunks went although somebody may be reading them");
    let listed = json(&place, &["list"]);
    let ids: Vec<_> =
        listed["backups"].as_array().unwrap().iter().map(|backup| backup["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&second.as_str()) && !ids.contains(&first.as_str()), "{ids:?}");
    assert!(place.path(&format!("backups/manifests/{forged}")).exists());
    std::thread::sleep(std::time::Duration::from_millis(3100));
    assert!(prune() > 0, "the chunks of a deleted backup are still there");
    let (code, said) =
        elsewhere(&place, &["restore", &second, "--target", "sqlite:copy.db", "--identity", &identity]);
    assert_eq!(code, Some(0), "{said}");
}
