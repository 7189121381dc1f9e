//! Backups into a sealed repository that are cut off, by real kills and by full disks: a rerun sends nothing that is there, although the host
//! cannot read what it has sent.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use end_to_end::{Disk, Place, missing, noise_table, shop};

/// The chunks of a repository, by name, with their sizes.
fn chunks(place: &Place, repo: &str) -> BTreeMap<String, u64> {
    let files = place.files(&format!("{repo}/chunks")).into_iter();
    let named = files
        .map(|(path, bytes)| (path.file_name().unwrap().to_str().unwrap().to_owned(), bytes.len() as u64));
    named.filter(|(name, _)| !name.starts_with('.')).collect()
}

/// How many chunks, and bytes of them, were stored again although they were among those `left`: sealed again, a chunk has another name
/// behind the same id.
fn sent_again(left: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> (usize, u64) {
    let id = |name: &str| name.split_once('.').unwrap().0.to_owned();
    let there: std::collections::BTreeSet<String> = left.keys().map(|name| id(name)).collect();
    let again = after.iter().filter(|(name, _)| !left.contains_key(*name) && there.contains(&id(name)));
    again.fold((0, 0), |(count, bytes), (_, size)| (count + 1, bytes + size))
}

fn copy(place: &Place, from: &str, to: &str) {
    let copied = Command::new("cp").arg("-r").arg(place.path(from)).arg(place.path(to)).status().unwrap();
    assert!(copied.success());
}

fn listed(place: &Place, repo: &str) -> usize {
    let list = place.run(&["list", "--repo", repo, "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    list["backups"].as_array().unwrap().len()
}

#[test]
fn a_sealed_backup_killed_at_any_moment_is_continued_by_a_rerun_that_sends_nothing_twice() {
    let place = Place::new();
    noise_table(&place.path("large.db"), 6 << 20);
    shop(&place.path("shop.db"));
    let identity = place.init_sealed("identity", &["--repo", "first"]);
    place.run(&["backup", "sqlite:shop.db", "--format", "binary", "--repo", "first", "-q"]);
    let backup = |repo: &str, more: &[&str]| {
        let common = ["backup", "sqlite:large.db", "--format", "binary", "--no-verify", "-q", "-j", "2"];
        place.command(&[&common[..], &["--repo", repo], more].concat())
    };
    const SLOWLY: [&str; 2] = ["--limit", "900KiB/s"];
    copy(&place, "first", "whole");
    let began = Instant::now();
    assert!(backup("whole", &SLOWLY).status().unwrap().success());
    let whole = began.elapsed();
    // The last two are killed like the others, and then what was noted is removed: the notes are what it depends on.
    let moments: Vec<(usize, Duration, bool)> = (0..14)
        .map(|n| (n, whole.mul_f64(0.1 + 0.8 * (n as f64 * 0.618_034 + 0.4).fract()), n >= 12))
        .collect();
    let sums = Mutex::new((0, 0, 0, 0, 0));
    let next = Mutex::new(moments.iter());
    std::thread::scope(|scope| {
        for _ in 0..7 {
            scope.spawn(|| {
                loop {
                    let Some((number, moment, forgetting)) = next.lock().unwrap().next() else { return };
                    let repo = format!("killed-{number}");
                    let what = format!("killed after {moment:?}");
                    copy(&place, "first", &repo);
                    let older = chunks(&place, &repo);
                    let mut slow =
                        backup(&repo, &SLOWLY).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                    std::thread::sleep(*moment);
                    slow.kill().unwrap();
                    assert_eq!(slow.wait().unwrap().signal(), Some(9), "{what}: it had ended before");
                    assert_eq!(listed(&place, &repo), 1, "{what}");
                    place.run(&["verify", "--all", "--repo", &repo]);
                    let left = chunks(&place, &repo);
                    if *forgetting {
                        fs::remove_dir_all(place.path(&repo).join("pending")).unwrap();
                    }
                    let rerun = backup(&repo, &[]).output().unwrap();
                    assert!(rerun.status.success(), "{what}: {}", String::from_utf8_lossy(&rerun.stderr));
                    let id = String::from_utf8(rerun.stdout).unwrap();
                    let after = chunks(&place, &repo);
                    let (again, bytes) = sent_again(&left, &after);
                    let mut sums = sums.lock().unwrap();
                    if *forgetting {
                        sums.4 += again;
                    } else {
                        assert_eq!((again, bytes), (0, 0), "{what}");
                        sums.0 += 1;
                        sums.1 += left.len() - older.len();
                        sums.2 += left.values().sum::<u64>() - older.values().sum::<u64>();
                        sums.3 += after.len() - left.len();
                    }
                    drop(sums);
                    // Only what was cut off is noted still, and prune takes it.
                    assert!(place.files(&format!("{repo}/pending")).iter().all(|(path, _)| {
                        !path.file_name().unwrap().to_str().unwrap().starts_with(id.trim())
                    }));
                    let verify = ["verify", id.trim(), "--repo", &repo, "--identity", &identity];
                    assert!(place.run(&verify).contains(" ok "), "{what}");
                    fs::remove_dir_all(place.path(&repo)).unwrap();
                }
            });
        }
    });
    let (kills, kept, bytes, sent, forgotten) = sums.into_inner().unwrap();
    println!(
        "{kills} kills of sealed backups of {whole:?}: {kept} chunks of {bytes} bytes were there and 0 bytes of them were sent again, {sent} chunks sent; without the notes {forgotten} were sent again"
    );
    assert!(kills == 12 && kept > 0 && sent > 0 && forgotten > 0);
}

#[test]
fn prune_collects_what_dead_backups_noted_and_leaves_what_a_running_one_notes() {
    let place = Place::new();
    noise_table(&place.path("large.db"), 3 << 20);
    place.init_sealed("identity", &[]);
    let slowly = |limit: &str| {
        let backup =
            ["backup", "sqlite:large.db", "--format", "binary", "--no-verify", "-q", "--limit", limit];
        let mut command = place.command(&backup);
        command.env("LIFEBOAT_TEST_LEASE", "1").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let noted = || place.files("backups/pending").len();
    let mut killed = slowly("500KiB/s");
    let deadline = Instant::now() + Duration::from_secs(60);
    while chunks(&place, "backups").is_empty() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(noted() > 0, "nothing was noted");
    let prune = || {
        let mut command = place.command(&["prune", "--yes", "--json", "--quiet"]);
        let pruned = end_to_end::output(command.env("LIFEBOAT_TEST_LEASE", "0.2"));
        let pruned: serde_json::Value = serde_json::from_slice(&pruned).unwrap();
        pruned["prune"]["collected"].clone()
    };
    let check: serde_json::Value = serde_json::from_str(&place.run(&["check", "--json"])).unwrap();
    assert_eq!(check["check"]["orphans"]["pending"], 1, "{check}");
    std::thread::sleep(Duration::from_millis(1500));
    let collected = prune();
    assert!(collected["records"]["objects"].as_u64() > Some(0) && noted() == 0, "{collected}");
    // With one that runs, prune waits for it to end, and it ends well.
    let mut running = slowly("2MiB/s");
    while noted() == 0 && running.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    prune();
    assert!(running.wait().unwrap().success());
    assert_eq!(listed(&place, "backups"), 1);
    place.run(&["verify", "--all"]);
    place.run(&["check", "--read-data"]);
}

/// A disk that is really full, page by page: trial 2 for a repository that the host cannot read.
#[test]
fn a_disk_that_is_full_at_any_page_of_a_sealed_backup_leaves_what_is_there_intact() {
    let place = Place::new();
    noise_table(&place.path("small.db"), 30 << 10);
    shop(&place.path("older.db"));
    place.init_sealed("identity", &["--repo", "first"]);
    place.run(&["backup", "sqlite:older.db", "--format", "binary", "--repo", "first", "-q"]);
    let Some(disk) = Disk::mount(place.path("disk"), "size=20m,mode=0700") else {
        missing("mount", "is not allowed here: a full disk could not be tested");
        return;
    };
    let (mut full, mut kept) = (0, 0);
    for format in ["binary", "sql", "compressed"] {
        for pages in 0.. {
            copy(&place, "first", "disk/repo");
            let older = chunks(&place, "disk/repo").len();
            disk.remount(&format!("size={}k", disk.used() + 4 * pages));
            let backup = ["backup", "sqlite:small.db", "--repo", "disk/repo", "--format", format, "-q"];
            let output = place.command(&backup).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("{format} with {pages} free pages: {said}");
            disk.remount("size=20m");
            let done = output.status.success();
            assert_eq!(listed(&place, "disk/repo"), if done { 2 } else { 1 }, "{what}");
            place.run(&["verify", "--all", "--repo", "disk/repo"]);
            if !done {
                assert_eq!(output.status.code(), Some(1), "{what}");
                assert!(said.contains("No space left"), "{what}");
                let left = chunks(&place, "disk/repo");
                place.run(&backup);
                assert_eq!(sent_again(&left, &chunks(&place, "disk/repo")), (0, 0), "{what}");
                full += 1;
                kept += left.len() - older;
            }
            fs::remove_dir_all(place.path("disk/repo")).unwrap();
            if done {
                break;
            }
            assert!(pages < 200, "{what}");
        }
    }
    println!(
        "sealed, full at {full} pages: each an error, nothing half-made, every rerun worked and sent none of {kept} chunks again"
    );
    assert!(full > 10, "{full}");
}
