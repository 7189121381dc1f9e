//! Leases: who uses a repository is waited for, who is dead is not, and who has lost it commits nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use end_to_end::{Place, noise_table, shop};
use rustix::fs::FlockOperation;
use serde_json::Value;

const LEASE: (&str, &str) = ("LIFEBOAT_TEST_LEASE", "0.5");
const WAITING_TIME: Duration = Duration::from_millis(3200);

fn place(noise: usize) -> Place {
    let place = Place::new();
    shop(&place.path("shop.db"));
    noise_table(&place.path("shop.db"), noise);
    place
}

fn start(place: &Place, arguments: &[&str]) -> Child {
    let mut command = place.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn run(place: &Place, arguments: &[&str]) -> Output {
    start(place, arguments).wait_with_output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A backup that takes many seconds.
const SLOW: [&str; 8] =
    ["backup", "sqlite:shop.db", "--format", "binary", "--limit", "1MiB/s", "--no-verify", "--json"];

fn slow_backup(place: &Place) -> Child {
    start(place, &SLOW)
}

/// The same with a lease that is soon stale.
fn slow_backup_with_short_lease(place: &Place) -> Child {
    let mut command = place.command(&SLOW);
    command.env(LEASE.0, LEASE.1).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn stored(place: &Place) -> (usize, u64) {
    let chunks = place.files("backups/chunks");
    let whole =
        chunks.iter().filter(|(path, _)| !path.file_name().unwrap().to_string_lossy().starts_with('.'));
    whole.fold((0, 0), |(number, bytes), (_, chunk)| (number + 1, bytes + chunk.len() as u64))
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what} did not happen");
        sleep(Duration::from_millis(10));
    }
}

fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Suspends it, but not amid the renewal of its lease: it holds the directory then, and all others say so and
/// give up.
fn suspend(child: &Child, place: &Place) {
    let is_stopped = || {
        let threads = fs::read_dir(format!("/proc/{}/task", child.id())).unwrap();
        threads.map(|thread| thread.unwrap().path().join("status")).all(|status| {
            // A thread that has ended meanwhile has none.
            fs::read_to_string(status).map_or(true, |status| status.contains("State:\tT"))
        })
    };
    loop {
        signal(child, "-STOP");
        wait_until("suspending", is_stopped);
        let locks = fs::File::open(place.path("backups/locks")).unwrap();
        if rustix::fs::flock(&locks, FlockOperation::NonBlockingLockExclusive).is_ok() {
            return;
        }
        signal(child, "-CONT");
        sleep(Duration::from_millis(10));
    }
}

fn leases(place: &Place) -> usize {
    let locks = place.files("backups/locks");
    locks.iter().filter(|(path, _)| !path.file_name().unwrap().to_string_lossy().starts_with('.')).count()
}

#[test]
fn a_backup_that_was_suspended_past_its_lease_while_prune_ran_fails_or_is_whole() {
    let place = place(6 << 20);
    let (mut failed, mut whole) = (0, 0);
    for more in [0, 1, 2] {
        // Its chunks are garbage that the next backup uses again.
        let first = place.backup("shop.db", "binary");
        place.run(&["delete", &first, "--yes"]);
        let before = stored(&place).0;
        rusqlite::Connection::open(place.path("shop.db"))
            .unwrap()
            .execute_batch(&format!("UPDATE customer SET name = 'changed {more} ' || id"))
            .unwrap();
        noise_table(&place.path("shop.db"), 8 << 20);
        let backup = slow_backup_with_short_lease(&place);
        wait_until("a new chunk", || stored(&place).0 > before + more);
        suspend(&backup, &place);
        sleep(WAITING_TIME);
        let pruned = place.command(&["prune", "--yes"]).env(LEASE.0, LEASE.1).output().unwrap();
        let said = stderr(&pruned);
        assert!(pruned.status.success() && said.contains("took over the lease of backup"), "{said}");
        assert_eq!(stored(&place).0, 0, "garbage stayed");
        signal(&backup, "-CONT");
        let output = backup.wait_with_output().unwrap();
        match output.status.code() {
            Some(0) => whole += 1,
            Some(11) => {
                assert!(stderr(&output).contains("lease"), "{}", stderr(&output));
                failed += 1;
            }
            other => panic!("{other:?}: {}", stderr(&output)),
        }
        assert_eq!(place.run(&["list", "--quiet", "--json"]).matches("\"id\"").count(), whole);
        if whole > 0 {
            place.run(&["verify", "--all"]);
        }
        place.run(&["check", "--read-data"]);
    }
    let again = place.backup("shop.db", "binary");
    place.run(&["verify", &again]);
    println!("3 backups suspended past their lease while prune ran: {failed} failed, {whole} whole");
}

#[test]
fn a_backup_that_was_suspended_while_nobody_deleted_goes_on() {
    let place = place(3 << 20);
    let backup = slow_backup_with_short_lease(&place);
    wait_until("a chunk", || stored(&place).0 > 0);
    suspend(&backup, &place);
    sleep(Duration::from_millis(1500));
    // It shares.
    let other = place.backup("shop.db", "sql");
    signal(&backup, "-CONT");
    let output = backup.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    place.run(&["verify", "--all"]);
    place.run(&["verify", &other]);
    assert_eq!(leases(&place), 0);
}

#[test]
fn prune_waits_for_readers_and_gives_up_in_time_naming_them() {
    let place = place(6 << 20);
    let id = place.backup("shop.db", "binary");
    let limited = ["--lock-wait", "0"];
    // A backup with --limit reads itself back as slowly.
    let mut reader =
        start(&place, &["backup", "sqlite:shop.db", "--format", "binary", "--limit", "1MiB/s", "--quiet"]);
    wait_until("a lease", || leases(&place) > 0);
    for command in [&["prune", "--yes"][..], &["delete", &id, "--yes"]] {
        let refused = run(&place, &[command, &limited].concat());
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(11), "{said}");
        assert!(said.contains(&format!("process {}", reader.id())) && said.contains("hint: "), "{said}");
    }
    let pruned = start(&place, &["prune", "--yes", "--lock-wait", "120"]).wait_with_output().unwrap();
    assert!(pruned.status.success(), "{}", stderr(&pruned));
    assert!(reader.try_wait().unwrap().is_some(), "prune did not wait");
    assert!(reader.wait().unwrap().success());
    place.run(&["verify", "--all"]);
    println!("2 refused at once, 1 waited");
}

#[test]
fn the_lease_of_a_killed_backup_is_taken_over_at_once_and_that_is_said() {
    let place = place(6 << 20);
    let mut backup = slow_backup(&place);
    wait_until("a chunk", || stored(&place).0 > 0);
    let pid = backup.id();
    backup.kill().unwrap();
    backup.wait().unwrap();
    assert_eq!(leases(&place), 1);
    let shown: Value = serde_json::from_str(&place.run(&["unlock", "--json"])).unwrap();
    let lease = &shown["leases"][0];
    assert!(lease["pid"] == pid && lease["removed"] == true && lease["ended"] == true, "{shown}");
    assert_eq!(leases(&place), 0);

    let mut backup = slow_backup(&place);
    wait_until("a lease", || leases(&place) > 0);
    let pid = backup.id();
    backup.kill().unwrap();
    backup.wait().unwrap();
    let output = place.command(&["prune", "--lock-wait", "0"]).output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success() && said.contains(&format!("process {pid}")), "{said}");
    assert!(said.contains("that process has ended"), "{said}");
    assert_eq!(leases(&place), 0);
}

#[test]
fn sigterm_leaves_no_lease() {
    let place = place(6 << 20);
    let backup = slow_backup(&place);
    wait_until("a chunk", || stored(&place).0 > 0);
    signal(&backup, "-TERM");
    let output = backup.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    assert_eq!(leases(&place), 0);
}

#[test]
fn unlock_asks_before_it_removes_a_good_lease_and_who_loses_it_commits_nothing() {
    let place = place(6 << 20);
    let backup = slow_backup(&place);
    wait_until("a chunk", || stored(&place).0 > 0);
    assert!(place.run(&["unlock"]).contains("in use"));
    place.fails(2, &["unlock", "--all"]);
    assert_eq!(leases(&place), 1);
    assert!(place.run(&["unlock", "--all", "--yes"]).contains("REMOVED"));
    let output = backup.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
    assert_eq!(place.run(&["list", "--json"]).matches("\"id\"").count(), 0);
}

#[test]
fn backups_at_once_also_the_first_into_an_empty_place_are_all_good() {
    let mut made = 0;
    for round in 0..3 {
        let place = place(0);
        let formats = ["binary", "sql", "compressed", "binary"];
        let backups: Vec<_> = formats
            .iter()
            .map(|format| start(&place, &["backup", "sqlite:shop.db", "--format", format, "--quiet"]))
            .collect();
        for backup in backups {
            let output = backup.wait_with_output().unwrap();
            assert!(output.status.success(), "round {round}: {}", stderr(&output));
            made += 1;
        }
        place.run(&["verify", "--all"]);
        place.run(&["check", "--read-data"]);
        assert_eq!(place.run(&["list", "--json"]).matches("\"id\"").count(), 4);
        assert_eq!(leases(&place), 0);
    }
    println!("{made} backups, four at a time into an empty place, all good");
}

#[test]
fn a_backup_that_was_killed_and_is_run_again_sends_nothing_that_is_there() {
    let place = place(8 << 20);
    let mut kills = 0;
    for least in [1, 3, 5] {
        let mut backup = slow_backup(&place);
        wait_until("more chunks", || stored(&place).0 >= least);
        backup.kill().unwrap();
        backup.wait().unwrap();
        kills += 1;
        assert_eq!(place.run(&["list", "--json"]).matches("\"id\"").count(), 0);
    }
    let there = stored(&place);
    let output = run(&place, &["backup", "sqlite:shop.db", "--format", "binary", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let backup = serde_json::from_slice::<Value>(&output.stdout).unwrap()["backup"].take();
    let (whole, sent) = (backup["size"].as_u64().unwrap(), backup["new-size"].as_u64().unwrap());
    assert_eq!(there.1 + sent, whole, "{} bytes of {} chunks were there", there.1, there.0);
    assert_eq!(stored(&place).1, whole);
    assert!(there.0 >= 5 && sent < whole);
    println!("{kills} kills; {} bytes were there + {sent} sent = {whole}", there.1);
}

#[test]
fn a_repository_that_may_only_be_read_is_read_without_a_lease() {
    let place = place(0);
    let id = place.backup("shop.db", "binary");
    let status = Command::new("chmod").args(["-R", "a-w", "backups"]).current_dir(place.path("")).status();
    assert!(status.unwrap().success());
    // For root, modes are no obstacle.
    let restored = place.code(&["restore", &id, "--target", "sqlite:copy.db"]);
    assert_eq!((restored, place.code(&["verify", &id])), (Some(0), Some(0)));
    let status = Command::new("chmod").args(["-R", "u+w", "backups"]).current_dir(place.path("")).status();
    assert!(status.unwrap().success());
    assert!(fs::read_dir(place.path("backups/locks")).map_or(0, Iterator::count) == 0);
}

/// Both find nothing and store the same chunks, each encoded in its own way: the first to come stands, and the other one names that.
#[tokio::test(flavor = "multi_thread")]
async fn two_backups_that_store_the_same_chunks_otherwise_encoded_at_once_are_both_good() {
    use backup_testkit::faults::{Call, Faulty, Slow};
    use lifeboat::storage::{MemoryStorage, Storage};
    use lifeboat::{BackupConfig, BackupManager, BackupRef, Format};

    let place = Place::new();
    shop(&place.path("shop.db"));
    let source = format!("sqlite:{}", place.path("shop.db").display()).parse().unwrap();
    let storage: std::sync::Arc<dyn Storage> = std::sync::Arc::new(MemoryStorage::new());
    let manager = |codec: &str| {
        let mut config = BackupConfig::default();
        config.format = Format::Binary;
        codec.clone_into(&mut config.codec);
        let slow = std::sync::Arc::new(Slow::new(&[Call::Put], Duration::from_millis(200)));
        BackupManager::new(config).with_storage(Faulty::around(std::sync::Arc::clone(&storage), slow))
    };
    let (zstd, none) = (manager("zstd"), manager("none"));
    zstd.init().await.unwrap();
    let (one, other) = tokio::join!(zstd.backup(&source), none.backup(&source));
    for backup in [one.unwrap(), other.unwrap()] {
        zstd.verify(&BackupRef::from(&backup.id)).await.unwrap();
    }
}
