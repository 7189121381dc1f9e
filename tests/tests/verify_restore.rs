//! `verify --restore`: the proof of a backup is a restore, and nothing is left of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use end_to_end::{Place, has, shop};

#[path = "../../crates/backup-sqlite/tests/wicked/mod.rs"]
mod wicked;

/// What lies in a directory, but for what is always there.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_backup_of_every_format_is_restored_beside_its_target_and_found_equal() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    wicked::wicked(&place.path("wicked.db"));
    for database in ["shop.db", "wicked.db"] {
        for format in ["sql", "binary", "compressed"] {
            let id = place.backup(database, format);
            let before = names(&place.path(""));
            let target = format!("sqlite:{database}");
            let said = place.run(&["verify", &id, "--restore", "--target", &target]);
            assert!(said.contains("tables equal") && !said.contains("DIFFERENT"), "{said}");
            assert_eq!(names(&place.path("")), before);
        }
    }
}

#[test]
fn what_cannot_be_compared_is_never_called_equal() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let id = place.run(&["backup", "sqlite:shop.db", "--data-only", "--format", "binary", "--quiet"]);
    let before = names(&place.path(""));
    let said =
        place.command(&["verify", id.trim(), "--restore", "--target", "sqlite:shop.db"]).output().unwrap();
    assert_eq!(said.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&said.stdout).contains("NOT COMPARABLE"));
    assert_eq!(names(&place.path("")), before);
    // A damaged one does not come so far.
    let id = place.backup("shop.db", "binary");
    for (path, bytes) in place.files("backups/chunks") {
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    }
    let damaged = place.code(&["verify", &id, "--restore", "--target", "sqlite:shop.db"]);
    assert_eq!((damaged, names(&place.path(""))), (Some(4), before));
}

#[test]
fn a_run_that_is_killed_leaves_what_the_next_one_removes_and_one_that_is_told_to_end_leaves_nothing() {
    let place = Place::new();
    let db = rusqlite::Connection::open(place.path("shop.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400000)
         INSERT INTO t SELECT i, hex(randomblob(20)) FROM n;",
    )
    .unwrap();
    drop(db);
    let id = place.backup("shop.db", "binary");
    let before = names(&place.path(""));
    let arguments = ["verify", &id, "--restore", "--target", "sqlite:shop.db", "--quiet"];
    let scratch = || -> Vec<String> {
        let names = names(&place.path("")).into_iter();
        names.filter(|name| name.starts_with(".lifeboat-scratch-") && !name.ends_with(".new")).collect()
    };
    let (mut killed, mut ended) = (0, 0);
    for signal in ["-KILL", "-TERM", "-KILL"] {
        let left = scratch();
        let mut child = place.command(&arguments).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(120);
        while scratch().iter().all(|name| left.contains(name))
            && child.try_wait().unwrap().is_none()
            && Instant::now() < deadline
        {
            std::thread::sleep(Duration::from_millis(2));
        }
        let sent =
            std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        let status = child.wait().unwrap();
        if signal == "-TERM" {
            // Unless it was done already.
            assert!(status.code() == Some(130) || !sent.success() || status.success(), "{status}");
            assert_eq!(names(&place.path("")), before, "nothing of this run or the one before it is left");
            ended += 1;
        } else {
            killed += usize::from(!scratch().is_empty());
        }
    }
    place.run(&arguments);
    assert_eq!(names(&place.path("")), before);
    assert!(killed > 0, "no run was killed while it had a scratch database");
    println!("{killed} killed with a scratch database, {ended} told to end, nothing left");
}

/// Killed exactly where it makes its scratch directory, locks it, names it, and removes what is in it.
#[test]
fn a_run_that_is_killed_at_any_step_of_its_scratch_directory_leaves_nothing_to_the_next_one() {
    if !has("strace") {
        return;
    }
    let place = Place::new();
    shop(&place.path("shop.db"));
    let id = place.backup("shop.db", "binary");
    let before = names(&place.path(""));
    let verify = ["verify", &id, "--restore", "--target", "sqlite:shop.db", "--quiet"];
    let (mut kills, mut left) = (0, std::collections::BTreeSet::new());
    for call in ["mkdir", "flock", "rename", "unlink", "unlinkat", "rmdir"] {
        for n in 1.. {
            let lifeboat = place.command(&verify);
            let mut strace = std::process::Command::new("strace");
            strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            strace.args(["-e", &format!("inject={call}:signal=KILL:when={n}")]);
            strace.arg(lifeboat.get_program()).args(lifeboat.get_args());
            strace.env("XDG_CONFIG_HOME", place.path("config"));
            let output = strace.current_dir(lifeboat.get_current_dir().unwrap()).output().unwrap();
            if output.status.success() {
                break;
            }
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            let killed = std::os::unix::process::ExitStatusExt::signal(&output.status);
            assert_eq!(killed, Some(9), "{call} {n}: {said}");
            kills += 1;
            let beside = names(&place.path("")).into_iter().filter(|name| !before.contains(name));
            left.extend(beside.map(|name| (call, name.ends_with(".new"))));
            place.run(&verify);
            assert_eq!(names(&place.path("")), before, "after a kill at {call} {n}");
        }
    }
    assert!(left.iter().any(|(_, new)| *new) && left.iter().any(|(_, new)| !new), "{left:?}");
    println!(
        "{kills} kills at exact calls; what was left (where, whether not named yet): {left:?}; all removed"
    );
}
