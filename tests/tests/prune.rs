//! `prune`: it frees what nothing needs, and whatever happens to it, every listed backup still verifies.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::large_futures, reason = "each is run once")]

use std::fs;
use std::process::Stdio;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use backup_core::async_trait;
use backup_testkit::faults::{Call, Counting, FailNth, Fault, Faulty, StopNth, keys};
use end_to_end::{Place, dump, has, noise_table, shop};
use lifeboat::storage::{Key, MemoryStorage, PutMode, Storage};
use lifeboat::{
    BackupConfig, BackupManager, BackupRef, Error, ErrorKind, Format, PruneOptions, Retention,
    RetentionPolicy,
};
use serde_json::Value;

/// A lease of half a second, and so a waiting time of three.
const LEASE: (&str, &str) = ("LIFEBOAT_TEST_LEASE", "0.5");
const WAITING_TIME: Duration = Duration::from_millis(3100);

fn prune(place: &Place, arguments: &[&str]) -> Value {
    let arguments = [&["prune", "--json", "--quiet"], arguments].concat();
    let output = place.command(&arguments).env(LEASE.0, LEASE.1).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["prune"].take()
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path} in {value}"))
}

fn chunks(place: &Place) -> usize {
    let chunks = place.files("backups/chunks");
    chunks.iter().filter(|(path, _)| !path.file_name().unwrap().to_string_lossy().starts_with('.')).count()
}

#[test]
fn the_chunks_of_deleted_backups_go_after_the_waiting_time_and_the_others_stay() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    noise_table(&place.path("shop.db"), 3 << 20);
    let first = place.backup("shop.db", "binary");
    let shared = chunks(&place);
    let db = rusqlite::Connection::open(place.path("shop.db")).unwrap();
    db.execute_batch("UPDATE customer SET name = 'somebody else'").unwrap();
    let second = place.backup("shop.db", "binary");
    let script = place.backup("shop.db", "sql");
    let all = chunks(&place);
    place.run(&["delete", &first, "--yes"]);
    place.run(&["delete", &script, "--yes"]);
    fs::write(place.path("backups/chunks/.0123456789abcdef-1"), "cut off").unwrap();

    let early = prune(&place, &["--yes"]);
    assert_eq!(chunks(&place), all, "a chunk went although somebody may be reading it: {early}");
    let waiting = number(&early, "/collected/waiting/objects");
    assert!(waiting > 0, "{early}");

    sleep(WAITING_TIME);
    let would = prune(&place, &["--dry-run"]);
    assert_eq!(chunks(&place), all);
    let done = prune(&place, &["--yes"]);
    assert_eq!(would["collected"], done["collected"], "a dry run foretells what is done");
    let freed = number(&done, "/collected/chunks/objects");
    assert_eq!(chunks(&place) as u64, all as u64 - freed);
    assert!(freed > 0 && (chunks(&place)) < all && chunks(&place) >= shared / 2, "{done}");
    assert_eq!(number(&done, "/collected/temporary/objects"), 1);
    assert_eq!(number(&done, "/collected/waiting/objects"), 0);
    assert!(place.files("backups/deleted").is_empty() && place.files("backups/locks").is_empty());
    let report: Value =
        serde_json::from_str(&place.run(&["check", "--read-data", "--json", "--quiet"])).unwrap();
    assert_eq!(number(&report, "/check/orphans/chunks") + number(&report, "/check/orphans/lists"), 0);
    place.run(&["verify", &second]);
    if has("sqlite3") {
        assert!(dump(&place.restore(&second, "copy.db", &[])) == dump(&place.path("shop.db")));
    }
    println!("{all} chunks, {freed} freed, {} kept", chunks(&place));
}

#[test]
fn retention_is_applied_and_said_for_every_backup_and_asks_for_yes() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    fs::write(place.path("lifeboat.toml"), "[retention]\nmax-backups = 2\n").unwrap();
    let ids: Vec<_> = (0..4).map(|_| place.backup("shop.db", "binary")).collect();
    let said = place.run(&["prune", "--dry-run"]);
    for (id, verdict) in ids.iter().zip(["drop", "drop", "keep", "keep"]) {
        let line = said.lines().find(|line| line.starts_with(id.as_str())).unwrap();
        assert!(line.contains(verdict) && line.contains("max-backups"), "{line}");
    }
    place.fails(2, &["prune"]);
    assert_eq!(place.run(&["list", "--json"]).matches("\"id\"").count(), 4);
    let done = prune(&place, &["--yes"]);
    let dropped = done["decisions"].as_array().unwrap().iter().filter(|d| d["keep"] == false).count();
    assert_eq!(dropped, 2, "{done}");
    place.run(&["verify", "--all"]);
    for id in &ids[..2] {
        place.fails(1, &["show", id]);
    }
    println!("4 backups, 2 dropped, 2 kept and verified");
}

#[test]
fn a_backup_that_was_found_damaged_is_no_good_one_any_more() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    fs::write(place.path("lifeboat.toml"), "[retention]\nmax-backups = 1\n").unwrap();
    let first = place.backup("shop.db", "binary");
    let shared: Vec<_> = place.files("backups/chunks").into_iter().map(|(path, _)| path).collect();
    noise_table(&place.path("shop.db"), 64 << 10);
    let second = place.backup("shop.db", "binary");
    let own = place.files("backups/chunks").into_iter().find(|(path, _)| !shared.contains(path)).unwrap();
    let kept = || -> Vec<String> {
        let plan = prune(&place, &["--dry-run"]);
        let kept = plan["decisions"].as_array().unwrap().iter().filter(|decision| decision["keep"] == true);
        kept.map(|decision| decision["id"].as_str().unwrap().to_owned()).collect()
    };
    let mark = place.path(&format!("backups/marks/{second}"));
    for found in [&["verify", &second][..], &["check", "--read-data"]] {
        assert_eq!(kept(), [second.as_str()]);
        let mut damaged = own.1.clone();
        damaged[own.1.len() / 2] ^= 1;
        fs::write(&own.0, damaged).unwrap();
        assert_eq!(place.code(found), Some(4), "{found:?}");
        assert!(!mark.exists(), "{found:?}");
        assert_eq!(kept(), [first.as_str(), second.as_str()], "{found:?}");
        fs::write(&own.0, &own.1).unwrap();
        place.run(&["verify", &second]);
    }
    assert!(place.path(&format!("backups/marks/{first}")).exists());
}

#[test]
fn nothing_is_deleted_while_it_is_not_known_what_a_backup_needs() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let ids = [place.backup("shop.db", "binary"), place.backup("shop.db", "binary")];
    place.run(&["delete", &ids[0], "--yes"]);
    sleep(WAITING_TIME);
    let lists: Vec<_> = place.files("backups/lists").into_iter().map(|(path, _)| path).collect();
    let manifest = place.path(&format!("backups/manifests/{}", ids[1]));
    let mut damaged = 0;
    for path in lists.iter().chain([&manifest]) {
        let before = fs::read(path).unwrap();
        for damage in [&before[..before.len() / 2], b"", b"{}"] {
            fs::write(path, damage).unwrap();
            let everything = chunks(&place);
            let output = place.command(&["prune", "--yes"]).env(LEASE.0, LEASE.1).output().unwrap();
            // Of the two lists, one may be that of the deleted backup alone.
            if output.status.code() != Some(4) {
                assert!(path != &manifest);
                place.run(&["verify", &ids[1]]);
                continue;
            }
            damaged += 1;
            assert_eq!(chunks(&place), everything);
        }
        fs::write(path, before).unwrap();
    }
    assert!(damaged >= 6, "{damaged}");
    place.run(&["verify", "--all"]);
    println!("{damaged} damages of what backups are named by, refused each time");
}

#[test]
fn a_manifest_that_is_a_link_is_not_taken_for_gone() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let id = place.backup("shop.db", "binary");
    let manifest = place.path(&format!("backups/manifests/{id}"));
    fs::rename(&manifest, place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink(place.path("elsewhere"), &manifest).unwrap();
    let before = chunks(&place);
    sleep(WAITING_TIME);
    let output = place.command(&["prune", "--yes"]).env(LEASE.0, LEASE.1).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains(&id), "{said}");
    assert_eq!(chunks(&place), before);
    let listed = place.command(&["list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&listed.stderr).contains(&id));
    fs::remove_file(&manifest).unwrap();
    fs::rename(place.path("elsewhere"), &manifest).unwrap();
    place.run(&["verify", &id]);
}

#[tokio::test]
async fn nothing_is_deleted_if_anything_would_go_that_nobody_confirmed() {
    let place = Place::new();
    let (storage, config) = history(&place.path("shop.db")).await;
    let manager = BackupManager::new(config).with_storage(storage);
    let mut options = PruneOptions::default();
    options.dry_run = true;
    let plan = manager.prune(options.clone()).await.unwrap().plan;
    let dropped: Vec<_> = plan.dropped().iter().map(|backup| backup.id.clone()).collect();
    assert!(!dropped.is_empty());
    options.dry_run = false;
    let before = manager.list_backups().await.unwrap().len();
    for confirmed in [&[][..], &dropped[1..]] {
        options.confirmed = Some(confirmed.to_vec());
        let error = manager.prune(options.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert_eq!(manager.list_backups().await.unwrap().len(), before);
    }
    options.confirmed = Some(dropped.clone());
    manager.prune(options).await.unwrap();
    assert_eq!(manager.list_backups().await.unwrap().len(), before - dropped.len());
}

/// Backups of a database that changes, kept in memory, of which some are garbage already.
async fn history(database: &std::path::Path) -> (Arc<MemoryStorage>, BackupConfig) {
    shop(database);
    let mut config = BackupConfig::default();
    config.format = Format::Binary;
    config.jobs = 2;
    // The shortest that there is: a waiting time of 0.6 s.
    config.lease = Duration::from_millis(100);
    config.retention = Retention::all(RetentionPolicy::window(2, 30));
    let storage = Arc::new(MemoryStorage::new());
    let manager = BackupManager::new(config.clone()).with_storage(storage.clone());
    let source = format!("sqlite:{}", database.display()).parse().unwrap();
    for round in 0..5 {
        let db = rusqlite::Connection::open(database).unwrap();
        db.execute_batch(&format!("UPDATE customer SET name = 'in round {round} ' || id")).unwrap();
        let backup = manager.backup(&source).await.unwrap();
        if round == 0 {
            manager.delete_backup(&BackupRef::from(&backup.id)).await.unwrap();
        }
    }
    (storage, config)
}

async fn copy(storage: &MemoryStorage) -> Arc<MemoryStorage> {
    let copy = MemoryStorage::new();
    for key in keys(storage, &Key::ROOT).await {
        copy.put(&key, storage.get(&key, None).await.unwrap(), PutMode::Create).await.unwrap();
    }
    Arc::new(copy)
}

async fn all_verify(manager: &BackupManager) -> usize {
    let listed = manager.list_backups().await.unwrap();
    for backup in &listed {
        manager.verify(&BackupRef::from(&backup.id)).await.unwrap();
    }
    assert!(manager.unreadable_backups().await.unwrap().is_empty());
    listed.len()
}

#[tokio::test]
async fn a_prune_that_fails_at_any_call_leaves_every_listed_backup_whole() {
    let place = Place::new();
    let (storage, config) = history(&place.path("shop.db")).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let manager = |storage: Arc<dyn Storage>| BackupManager::new(config.clone()).with_storage(storage);
    let counting = Arc::new(Counting::default());
    let whole = copy(&storage).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let report =
        manager(Faulty::around(whole.clone(), counting.clone())).prune(PruneOptions::default()).await;
    let report = report.unwrap();
    assert!(report.collected.chunks.objects > 0 && report.plan.dropped().len() == 2, "{report:?}");
    let calls: u64 = Call::ALL.into_iter().map(|call| counting.of(call)).sum();
    // The listing of empty prefixes is all alike: every call that is no list, and of these some.
    let mut copies = Vec::new();
    for n in (1..=calls).filter(|n| *n <= 40 || *n + 60 > calls || n % 9 == 0) {
        copies.push((n, copy(&storage).await));
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (mut failed, mut points) = (0, 0);
    for (n, storage) in &copies {
        let fault = Arc::new(FailNth::new(&Call::ALL, *n));
        let faulty = Faulty::around(storage.clone(), fault.clone());
        let done = manager(faulty).prune(PruneOptions::default()).await;
        assert!(
            done.is_err() || !fault.has_failed() || *n + 1 >= calls,
            "call {n} of {calls} failed unnoticed"
        );
        failed += u64::from(done.is_err());
        points += 1;
        let good = manager(storage.clone());
        // What the failed one holds cannot be removed by it any more.
        good.unlock(true).await.unwrap();
        let listed = all_verify(&good).await;
        assert!((2..=4).contains(&listed), "{listed} listed after call {n}");
    }
    for (_, storage) in &copies {
        manager(storage.clone()).prune(PruneOptions::default()).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(700)).await;
    for (_, storage) in &copies {
        let good = manager(storage.clone());
        good.prune(PruneOptions::default()).await.unwrap();
        assert_eq!(all_verify(&good).await, 2);
        let report = good.check(true).await.unwrap();
        assert_eq!((report.orphans.chunks, report.orphans.lists), (0, 0));
    }
    println!(
        "{points} of {calls} calls failed on purpose, {failed} prunes failed, every listed backup verified each time"
    );
}

/// Does not find one object that it lists, as a store does whose copies do not agree yet.
#[derive(Debug)]
struct Behind(Key);

#[async_trait]
impl Fault for Behind {
    async fn before(&self, call: Call, key: &Key) -> lifeboat::Result<()> {
        let missing = call == Call::Get && *key == self.0;
        if missing { Err(Error::new(ErrorKind::NotFound, "it is not there yet")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_manifest_that_is_listed_and_cannot_be_found_keeps_prune_from_deleting_anything() {
    let place = Place::new();
    let (storage, config) = history(&place.path("shop.db")).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    let manager = |storage: Arc<dyn Storage>| BackupManager::new(config.clone()).with_storage(storage);
    let manifests = keys(&*storage, &"manifests".parse().unwrap()).await;
    let before = keys(&*storage, &Key::ROOT).await;
    for manifest in &manifests {
        let behind = Faulty::around(storage.clone(), Arc::new(Behind(manifest.clone())));
        let refused = manager(behind).prune(PruneOptions::default()).await.unwrap_err();
        assert!(refused.to_string().contains(manifest.as_str()), "{refused}");
        assert_eq!(keys(&*storage, &Key::ROOT).await, before);
    }
    // What kept it was that alone.
    let report = manager(storage).prune(PruneOptions::default()).await.unwrap();
    assert!(report.collected.chunks.objects > 0 && report.plan.dropped().len() == 2, "{report:?}");
    println!("{} manifests not found, nothing deleted each time", manifests.len());
}

#[test]
fn a_prune_that_is_killed_leaves_every_listed_backup_whole() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    fs::write(place.path("lifeboat.toml"), "[retention]\nmax-backups = 2\n").unwrap();
    let db = rusqlite::Connection::open(place.path("shop.db")).unwrap();
    let quick = ("LIFEBOAT_TEST_LEASE", "0.1");
    let mut took = Duration::from_millis(300);
    let (mut killed, mut ended) = (0, 0);
    for round in 0..20u32 {
        db.execute_batch(&format!("UPDATE customer SET name = 'in round {round} ' || id")).unwrap();
        place.backup("shop.db", "binary");
        let mut command = place.command(&["prune", "--yes", "--quiet"]);
        command.env(quick.0, quick.1).stdout(Stdio::null()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        if round % 4 == 3 {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            took = start.elapsed();
            ended += 1;
        } else {
            sleep(took.mul_f64(f64::from(round % 7 + 1) / 8.0));
            let had_ended = child.try_wait().unwrap().is_some();
            child.kill().unwrap();
            child.wait().unwrap();
            killed += u32::from(!had_ended);
        }
        place.run(&["verify", "--all"]);
    }
    sleep(Duration::from_millis(700));
    for _ in 0..2 {
        let mut command = place.command(&["prune", "--yes"]);
        assert!(command.env(quick.0, quick.1).output().unwrap().status.success());
        sleep(Duration::from_millis(700));
    }
    let report: Value =
        serde_json::from_str(&place.run(&["check", "--read-data", "--json", "--quiet"])).unwrap();
    assert_eq!((number(&report, "/check/backups"), number(&report, "/check/orphans/chunks")), (2, 0));
    assert!(killed > 0);
    println!("20 prunes: {killed} killed at work, {ended} left alone; all listed backups verified 20 times");
}

/// The names of chunks and lists, and how many single files there are, with the bytes of all chunks and lists.
async fn holdings(storage: &dyn Storage) -> (Vec<Key>, usize, u64) {
    let mut names = Vec::new();
    let mut bytes = 0;
    for folder in ["chunks", "lists"] {
        for key in keys(storage, &folder.parse().unwrap()).await {
            bytes += storage.head(&key).await.unwrap().unwrap().size;
            names.push(key);
        }
    }
    (names, keys(storage, &"files".parse().unwrap()).await.len(), bytes)
}

/// A backup that stops at every call to its storage, whether that call arrives or not; a rerun, and a prune: what is left is what a repository
/// holds in which nothing ever stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orphans_of_backups_that_stopped_anywhere_are_collected_and_nothing_else() {
    let place = Place::new();
    shop(&place.path("older.db"));
    let db = rusqlite::Connection::open(place.path("small.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE one (id INTEGER PRIMARY KEY, bytes BLOB);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
         INSERT INTO one SELECT i, randomblob(1000) FROM n;",
    )
    .unwrap();
    drop(db);
    // What changes until the rerun leaves chunks that nobody needs, and others that are used again.
    fs::copy(place.path("small.db"), place.path("later.db")).unwrap();
    let db = rusqlite::Connection::open(place.path("later.db")).unwrap();
    db.execute_batch("UPDATE one SET bytes = randomblob(1000) WHERE id > 2000").unwrap();
    let url = |name: &str| format!("sqlite:{}", place.path(name).display()).parse().unwrap();
    let (older, small, later) = (url("older.db"), url("small.db"), url("later.db"));
    let config = |format: Format| {
        let mut config = BackupConfig::default();
        (config.format, config.verify, config.jobs) = (format, false, 2);
        config.lease = Duration::from_millis(100);
        config
    };
    let first: Arc<MemoryStorage> = Arc::new(MemoryStorage::new());
    let manager =
        |format: Format, storage: Arc<dyn Storage>| BackupManager::new(config(format)).with_storage(storage);
    manager(Format::Binary, first.clone()).backup(&older).await.unwrap();
    for format in [Format::Binary, Format::Compressed, Format::Sql] {
        // The same key, and so the same names.
        let fresh = copy(&first).await;
        manager(format, fresh.clone()).backup(&later).await.unwrap();
        let expected = holdings(&*fresh).await;
        let (mut stopped, mut committed) = (Vec::new(), 0);
        for arrives in [false, true] {
            for n in 1.. {
                let storage = copy(&first).await;
                let stop = Arc::new(StopNth::new(n, arrives));
                let dying = manager(format, Faulty::around(storage.clone(), stop.clone()));
                if stop.until(dying.backup(&small)).await.is_some() {
                    break;
                }
                let good = manager(format, storage.clone());
                // The lease of one that is dead.
                good.unlock(true).await.unwrap();
                let listed = good.list_backups().await.unwrap();
                committed += listed.len() - 1;
                if let Some(twice) = listed.get(1) {
                    good.delete_backup(&BackupRef::from(&twice.id)).await.unwrap();
                }
                good.backup(&later).await.unwrap();
                stopped.push((n, arrives, storage));
            }
        }
        tokio::time::sleep(Duration::from_millis(700)).await;
        let (points, mut orphans, mut bytes) = (stopped.len(), 0, 0);
        for (n, arrives, storage) in stopped {
            let what = format!("{format:?}, stopped at call {n}, which arrives: {arrives}");
            let good = manager(format, storage.clone());
            let report = good.prune(PruneOptions::default()).await.unwrap();
            for tally in [report.collected.chunks, report.collected.lists, report.collected.files] {
                orphans += tally.objects;
                bytes += tally.bytes;
            }
            assert_eq!(holdings(&*storage).await, expected, "{what}: {:?}", report.collected);
            assert_eq!(all_verify(&good).await, 2, "{what}");
        }
        assert!(
            points > 20 && committed > 0 && orphans > 0,
            "{format:?}: {points} points, {committed} committed"
        );
        println!(
            "{format:?}: stopped at {points} points ({committed} behind the commit, deleted again): {orphans} orphans of {bytes} bytes collected, {} bytes kept each time as in a repository where nothing stopped",
            expected.2
        );
    }
}

/// Backups that nobody could verify, however many and however new, do not cost the last good one.
#[test]
fn failed_recent_backups_do_not_cost_the_last_good_one() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    fs::write(place.path("lifeboat.toml"), "[retention]\nmax-backups = 2\n").unwrap();
    let good = [place.backup("shop.db", "binary"), place.backup("shop.db", "binary")];
    let unverified: Vec<_> = (0..4)
        .map(|_| place.run(&["backup", "sqlite:shop.db", "--format", "binary", "--no-verify", "-q"]))
        .collect();
    let said = place.run(&["prune", "--dry-run"]);
    let line = |id: &str| said.lines().find(|line| line.starts_with(id)).unwrap();
    assert!(line(&good[1]).contains("keep") && line(&good[1]).contains("min-good"), "{said}");
    prune(&place, &["--yes"]);
    let list = place.run(&["list", "--json"]);
    assert!(list.contains(&good[1]) && !list.contains(&good[0]), "{list}");
    assert_eq!(list.matches("\"id\"").count(), 3, "{list}");
    assert!(unverified[2..].iter().all(|id| list.contains(id.trim())), "{list}");
    place.run(&["verify", &good[1]]);
    println!("4 backups that nobody verified, 2 dropped with the older good one; the last good one stays");
}

/// What a backup needs is not known: it is said of which, what to do, and what to do helps.
#[test]
fn a_backup_whose_list_is_missing_is_named_by_prune_with_what_to_do_and_that_helps() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let good = place.backup("shop.db", "binary");
    noise_table(&place.path("shop.db"), 1 << 20);
    let lost = place.backup("shop.db", "binary");
    let list = |id: &str| {
        let manifest = fs::read(place.path(&format!("backups/manifests/{id}"))).unwrap();
        let line = manifest.split(|byte| *byte == b'\n').next().unwrap();
        let header: Value = serde_json::from_slice(line).unwrap();
        let id = header["lists"][0]["id"].as_str().unwrap().to_owned();
        place.path(&format!("backups/lists/{}/{id}", &id[..2]))
    };
    fs::remove_file(list(&lost)).unwrap();
    let everything = chunks(&place);
    for words in [&["prune", "--yes"][..], &["prune", "--dry-run"]] {
        let said = place.fails(4, words);
        assert!(said.contains("nothing was deleted") && said.contains(&lost), "{said}");
        assert!(said.contains(&format!("lifeboat delete {lost}")) && !said.contains(&good), "{said}");
    }
    assert_eq!(chunks(&place), everything);
    place.run(&["delete", &lost, "--yes"]);
    sleep(WAITING_TIME);
    let done = prune(&place, &["--yes"]);
    assert!(number(&done, "/collected/chunks/objects") > 0, "{done}");
    place.run(&["verify", "--all"]);
    // One that cannot be read at all has to be moved away by hand.
    let manifest = place.path(&format!("backups/manifests/{good}"));
    let bytes = fs::read(&manifest).unwrap();
    fs::write(place.path("backups/manifests/20200101-000000-00000000"), &bytes[..bytes.len() / 2]).unwrap();
    let said = place.fails(4, &["prune", "--yes"]);
    assert!(said.contains("move manifests/20200101-000000-00000000 out"), "{said}");
    fs::remove_file(place.path("backups/manifests/20200101-000000-00000000")).unwrap();
    prune(&place, &["--yes"]);
    place.run(&["verify", "--all"]);
    println!(
        "2 prunes refused for a missing list and 1 for a manifest, each naming what to do, which helped"
    );
}
