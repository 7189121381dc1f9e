//! Real kills of the real binary: whatever the moment, nothing half-made is ever taken for whole.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use end_to_end::{Place, shop};

/// How many backups or restores run at once: most of their time they sleep.
const AT_ONCE: usize = 16;

/// `megabytes` that nothing makes smaller, and a few rows more.
fn large(path: &Path, megabytes: u32) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA journal_mode=WAL;
         CREATE TABLE noise (id INTEGER PRIMARY KEY, bytes BLOB);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {megabytes} * 1000)
         INSERT INTO noise SELECT i, randomblob(1000) FROM n;
         CREATE INDEX by_start ON noise (substr(bytes, 1, 8));"
    ))
    .unwrap();
}

/// The rows of such a database, in short.
fn digest(path: &Path) -> Vec<u8> {
    let db = rusqlite::Connection::open(path).unwrap();
    let mut rows = db.prepare("SELECT id, bytes FROM noise ORDER BY id").unwrap();
    let rows: Vec<(i64, Vec<u8>)> =
        rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let whole: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(whole, "ok", "{}", path.display());
    rows.into_iter().flat_map(|(id, bytes)| [id.to_le_bytes().to_vec(), bytes].concat()).collect()
}

fn start(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Ends a process as nobody can prevent.
fn kill(mut child: Child) {
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "it had ended before it was killed: {status}");
}

/// Moments between 5% and 95% of `whole`, spread evenly and in no order.
fn moments(count: u32, whole: Duration) -> Vec<Duration> {
    (0..count).map(|i| whole.mul_f64(0.05 + 0.9 * (f64::from(i) * 0.618_034 + 0.3).fract())).collect()
}

/// Does `work` for each item, several at once.
fn for_each<T: Sync>(items: &[T], work: impl Fn(usize, &T) + Sync) {
    let next = Mutex::new(items.iter().enumerate());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((number, item)) = next.lock().unwrap().next() else { return };
                    work(number, item);
                }
            });
        }
    });
}

/// The files below a directory, each with what tells whether it was written again.
fn inodes(place: &Place, below: &str) -> BTreeMap<PathBuf, u64> {
    let files = place.files(below).into_iter();
    files.map(|(path, _)| (path.clone(), fs::metadata(&path).unwrap().ino())).collect()
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().unwrap().to_string_lossy().starts_with('.')
}

#[test]
fn a_backup_killed_at_any_moment_leaves_nothing_to_be_taken_for_a_backup_and_is_continued_by_a_rerun() {
    let place = Place::new();
    large(&place.path("large.db"), 5);
    shop(&place.path("shop.db"));
    let backup = |format: &'static str, repo: &str| {
        let [format, repo] = [format.to_owned(), repo.to_owned()];
        move |more: &[&'static str]| {
            let common =
                ["backup", "sqlite:large.db", "--format", &format, "--repo", &repo, "--no-verify", "-j", "2"];
            place_arguments(&common, more)
        }
    };
    const SLOWLY: [&str; 2] = ["--limit", "450KiB/s"];
    // How long each takes when nobody kills it.
    let formats = ["binary", "sql", "compressed"];
    let took = Mutex::new(BTreeMap::new());
    for_each(&formats, |_, format| {
        let began = Instant::now();
        place.run(&words(&backup(format, &format!("whole-{format}"))(&SLOWLY)));
        took.lock().unwrap().insert(*format, began.elapsed());
    });
    let took = took.into_inner().unwrap();
    assert!(took.values().all(|took| *took >= Duration::from_secs(10)), "too fast for a trial: {took:?}");
    let points: Vec<(&str, Duration)> = formats
        .iter()
        .zip([20, 15, 15])
        .flat_map(|(format, count)| moments(count, took[format]).into_iter().map(|moment| (*format, moment)))
        .collect();
    let older = place.run(&["backup", "sqlite:shop.db", "--format", "binary", "--repo", "first", "-q"]);
    let copy = |to: &str| {
        let copied = Command::new("cp").arg("-r").arg(place.path("first")).arg(place.path(to)).status();
        assert!(copied.unwrap().success());
    };
    // What a repository with both backups holds, if nobody is ever killed: with the same key, the same names.
    let mut fresh = BTreeMap::new();
    for format in formats {
        let repo = format!("fresh-{format}");
        copy(&repo);
        place.run(&words(&backup(format, &repo)(&["-q"])));
        fresh.insert(format, holdings(&place, &repo));
    }
    let (kept, again, orphans) = (Mutex::new(0), Mutex::new(0), Mutex::new((0, 0)));
    for_each(&points, |number, (format, moment)| {
        let repo = format!("killed-{number}");
        let what = format!("{format} killed after {moment:?}");
        copy(&repo);
        let before = inodes(&place, &repo);
        let slow = start(&place, &words(&backup(format, &repo)(&SLOWLY)));
        std::thread::sleep(*moment);
        kill(slow);
        let list = place.run(&["list", "--repo", &repo, "--json"]);
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        let listed = list["backups"].as_array().unwrap();
        assert_eq!(listed.len(), 1, "{what}: {list}");
        assert_eq!(listed[0]["id"], older.trim(), "{what}");
        place.run(&["verify", "--all", "--repo", &repo]);
        let left = inodes(&place, &repo);
        let chunks = |path: &PathBuf| {
            !is_temporary(path)
                && path.starts_with(place.path(&repo).join("chunks"))
                && !before.contains_key(path)
        };
        let id = place.run(&words(&backup(format, &repo)(&["-q"])));
        let after = inodes(&place, &repo);
        for (path, inode) in left.iter().filter(|(path, _)| chunks(path)) {
            assert_eq!(after.get(path), Some(inode), "{what}: {} was sent again", path.display());
        }
        *kept.lock().unwrap() += left.keys().filter(|path| chunks(path)).count();
        *again.lock().unwrap() +=
            after.keys().filter(|path| chunks(path) && !left.contains_key(*path)).count();
        place.run(&["verify", id.trim(), "--repo", &repo]);
        place.run(&["verify", older.trim(), "--repo", &repo]);
        if number % 10 == 0 {
            let copy = place.restore(id.trim(), &format!("copy-{number}.db"), &["--repo", &repo]);
            assert!(digest(&copy) == digest(&place.path("large.db")), "{what}");
        }
        // Orphans of the killed one go when the waiting time, six times the lease, is over.
        std::thread::sleep(Duration::from_millis(700));
        let mut prune = place.command(&["prune", "--yes", "--json", "--repo", &repo]);
        let pruned = prune.env("LIFEBOAT_TEST_LEASE", "0.1").output().unwrap();
        assert!(pruned.status.success(), "{what}: {}", String::from_utf8_lossy(&pruned.stderr));
        let pruned: serde_json::Value = serde_json::from_slice(&pruned.stdout).unwrap();
        let collected = |kind: &str| {
            pruned.pointer(&format!("/prune/collected/{kind}/objects")).and_then(|n| n.as_u64()).unwrap()
        };
        assert_eq!(holdings(&place, &repo), fresh[format], "{what}: {pruned}");
        {
            let mut orphans = orphans.lock().unwrap();
            orphans.0 += collected("chunks") + collected("lists") + collected("files");
            orphans.1 += collected("temporary");
        }
        place.run(&["verify", "--all", "--repo", &repo]);
        fs::remove_dir_all(place.path(&repo)).unwrap();
    });
    let (kept, again) = (kept.into_inner().unwrap(), again.into_inner().unwrap());
    let (orphans, temporary) = orphans.into_inner().unwrap();
    println!(
        "{orphans} orphans and {temporary} temporary files of the killed ones were collected; what is left is what a repository holds in which nobody was killed"
    );
    println!(
        "{} kills of backups of {:?}: nothing new listed, all else verified, {} reruns; chunks used again {kept}, sent {again}",
        points.len(),
        took,
        points.len(),
    );
    assert!(points.len() >= 50 && kept > 0);
}

/// The names of a repository's chunks and lists, how many single files it has, and the temporary files that are left.
fn holdings(place: &Place, repo: &str) -> (Vec<String>, usize, Vec<PathBuf>) {
    let names = |folder: &str| -> Vec<PathBuf> {
        place.files(&format!("{repo}/{folder}")).into_iter().map(|(path, _)| path).collect()
    };
    let (temporary, objects): (Vec<_>, Vec<_>) =
        names("chunks").into_iter().chain(names("lists")).partition(|path| is_temporary(path));
    let objects = objects.iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned());
    (objects.collect(), names("files").len(), temporary)
}

fn place_arguments(common: &[&str], more: &[&str]) -> Vec<String> {
    common.iter().chain(more).map(|word| (*word).to_owned()).collect()
}

fn words(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// What lies beside databases, by name.
fn beside(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_restore_killed_at_any_moment_leaves_the_old_target_or_none_and_a_rerun_names_what_is_left() {
    let place = Place::new();
    large(&place.path("large.db"), 25);
    shop(&place.path("shop.db"));
    let id = place.run(&["backup", "sqlite:large.db", "--format", "binary", "--no-verify", "-q"]);
    let expected = digest(&place.path("large.db"));
    let old = fs::read(place.path("shop.db")).unwrap();
    let restore = |target: &str| {
        place_arguments(
            &["restore", id.trim(), "--target", &format!("sqlite:{target}"), "--drop-existing", "--yes"],
            &[],
        )
    };
    let began = Instant::now();
    place.run(&words(&restore("whole.db")));
    let whole = began.elapsed();
    let (mut kills, mut in_time, mut named) = (0, 0, 0);
    for (number, moment) in moments(20, whole).into_iter().enumerate() {
        let directory = format!("target-{number}");
        fs::create_dir(place.path(&directory)).unwrap();
        let target = format!("{directory}/target.db");
        let replaces = number % 2 == 0;
        if replaces {
            fs::copy(place.path("shop.db"), place.path(&target)).unwrap();
        }
        let mut child = start(&place, &words(&restore(&target)));
        std::thread::sleep(moment);
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            in_time += 1; // It was faster than the first.
            continue;
        }
        kills += 1;
        let what = format!("killed after {moment:?} of {whole:?}: {:?}", beside(&place.path(&directory)));
        match fs::read(place.path(&target)) {
            Ok(bytes) if replaces && bytes == old => {}
            Ok(_) => assert!(digest(&place.path(&target)) == expected, "{what}"),
            Err(_) => assert!(!replaces, "{what}"),
        }
        let left: Vec<_> =
            beside(&place.path(&directory)).into_iter().filter(|name| name.starts_with('.')).collect();
        let rerun = place.command(&words(&restore(&target))).output().unwrap();
        let said = String::from_utf8(rerun.stderr).unwrap();
        assert!(rerun.status.success(), "{what}: {said}");
        assert!(digest(&place.path(&target)) == expected, "{what}");
        for name in left.iter().filter(|name| name.ends_with(".tmp")) {
            assert!(said.contains(name.as_str()), "{what}: {said}");
            named += 1;
        }
    }
    println!(
        "{kills} kills of restores ({in_time} had ended before): the target was the old one or none; {named} leftovers named"
    );
    assert!(kills >= 10, "{kills}");
}

/// SIGTERM and Ctrl-C, to a backup and to a restore.
#[test]
fn a_signal_ends_with_130_and_leaves_no_file_and_no_lock() {
    let place = Place::new();
    large(&place.path("large.db"), 30);
    place.run(&["init"]);
    let id = place.run(&[
        "backup",
        "sqlite:large.db",
        "--format",
        "binary",
        "--no-verify",
        "-q",
        "--repo",
        "other",
    ]);
    let before = place.files("backups").len();
    let mut signals = 0;
    for signal in ["-TERM", "-INT"] {
        for format in ["binary", "sql", "compressed"] {
            let arguments =
                ["backup", "sqlite:large.db", "--format", format, "--limit", "300KiB/s", "-j", "2"];
            let mut child = start(&place, &arguments);
            std::thread::sleep(Duration::from_millis(700));
            send(signal, &child);
            assert_eq!(ended(&mut child).code(), Some(130), "{signal} {format}");
            let temporary: Vec<_> =
                place.files("backups").into_iter().filter(|(path, _)| is_temporary(path)).collect();
            assert!(temporary.is_empty(), "{signal} {format}: {temporary:?}");
            assert!(place.run(&["list", "--json"]).contains("[]"), "{signal} {format}");
            // Nobody holds the database.
            let db = rusqlite::Connection::open(place.path("large.db")).unwrap();
            db.execute_batch(
                "BEGIN EXCLUSIVE; DELETE FROM noise WHERE id = 1; COMMIT; PRAGMA wal_checkpoint(TRUNCATE)",
            )
            .unwrap();
            signals += 1;
        }
        fs::create_dir(place.path("restored")).unwrap();
        let target = "sqlite:restored/copy.db";
        let mut child = start(&place, &["restore", id.trim(), "--repo", "other", "--target", target]);
        // Once it has begun to load.
        let deadline = Instant::now() + Duration::from_secs(60);
        while beside(&place.path("restored")).is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        send(signal, &child);
        let status = ended(&mut child);
        if status.code() == Some(130) {
            assert!(
                beside(&place.path("restored")).is_empty(),
                "{signal}: {:?}",
                beside(&place.path("restored"))
            );
        } else {
            assert!(status.success(), "{signal}: {status}");
        }
        signals += 1;
        fs::remove_dir_all(place.path("restored")).unwrap();
    }
    assert!(place.files("backups").len() >= before);
    println!("{signals} signals: all ended in good order");
}

fn send(signal: &str, child: &Child) {
    assert!(Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap().success());
}

/// Waits for the end, but not for ever.
fn ended(child: &mut Child) -> std::process::ExitStatus {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it did not end when it was told to");
}
