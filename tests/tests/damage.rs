//! Every byte of a stored or carried backup counts: whichever is flipped, cut off or added, a restore refuses before it
//! touches its target.
//!
//! In one process, for speed: the same library that the binary is a thin face of.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]
#![allow(clippy::large_futures, reason = "each is run once")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use backup_testkit::faults;
use lifeboat::storage::{Key, MemoryStorage, PutMode, Storage};
use lifeboat::{BackupConfig, BackupManager, BackupRef, DatabaseUrl, ErrorKind, Format, RestoreOptions};

/// A database of a few hundred bytes.
fn tiny(path: &Path) -> DatabaseUrl {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);
         INSERT INTO t VALUES (1, 'one'), (2, 'two'), (3, NULL);",
    )
    .unwrap();
    format!("sqlite:{}", path.display()).parse().unwrap()
}

fn manager(format: Format, codec: &str) -> (BackupManager, Arc<dyn Storage>) {
    let mut config = BackupConfig::default();
    config.format = format;
    codec.clone_into(&mut config.codec);
    config.jobs = 1;
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    (BackupManager::new(config).with_storage(Arc::clone(&storage)), storage)
}

/// Fails unless a restore refuses `backup` for what it is, and makes no target.
async fn is_refused(manager: &BackupManager, backup: &BackupRef, directory: &Path, what: &str) {
    let copy = directory.join("copy.db");
    let target = format!("sqlite:{}", copy.display()).parse().unwrap();
    let restored = manager.restore(backup, &target, RestoreOptions::default()).await;
    let Err(error) = restored else { panic!("{what}: it was restored all the same") };
    let damaged = [ErrorKind::Damaged, ErrorKind::Foreign, ErrorKind::NewerFormat, ErrorKind::NoRepository];
    let named = [ErrorKind::Unsupported, ErrorKind::NotFound];
    assert!(damaged.contains(&error.kind()) || named.contains(&error.kind()), "{what}: {error:?}");
    assert!(!copy.exists(), "{what}: the target was touched");
}

/// A bit of each byte of a file that was exported; each length; more bytes behind it.
async fn carried(format: Format, codec: &str) {
    let place = tempfile::tempdir().unwrap();
    let source = tiny(&place.path().join("tiny.db"));
    let (manager, _) = manager(Format::Binary, codec);
    let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    let path = place.path().join("carried");
    manager.export(&backup, &path, format).await.unwrap();
    let whole = fs::read(&path).unwrap();
    let carried = BackupRef::File(path.clone());
    let mut flips = 0;
    for at in 0..whole.len() {
        // The bit of upper and lower case where there is one, and of other bytes each in turn.
        let bit = if whole[at].is_ascii_alphabetic() { 5 } else { at % 8 };
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << bit;
        fs::write(&path, flipped).unwrap();
        let what = format!("{format:?} {codec}: bit {bit} of byte {at} of {} flipped", whole.len());
        is_refused(&manager, &carried, place.path(), &what).await;
        flips += 1;
    }
    // A tar file is mostly zeros, and long.
    let lengths = (0..whole.len()).step_by(if whole.len() > 5000 { 8 } else { 1 });
    for length in lengths.clone() {
        fs::write(&path, &whole[..length]).unwrap();
        let what = format!("{format:?} {codec}: cut off behind {length} of {} bytes", whole.len());
        is_refused(&manager, &carried, place.path(), &what).await;
    }
    let twice = whole.clone();
    let added: [&[u8]; 5] = [b"\0", b"\n", &[0; 512], &[0; 10240], &twice];
    for more in added {
        fs::write(&path, [&whole, more].concat()).unwrap();
        let what = format!("{format:?} {codec}: {} bytes behind its end", more.len());
        is_refused(&manager, &carried, place.path(), &what).await;
    }
    // It was the damage that was refused.
    fs::write(&path, &whole).unwrap();
    let target = format!("sqlite:{}", place.path().join("whole.db").display()).parse().unwrap();
    manager.restore(&carried, &target, RestoreOptions::default()).await.unwrap();
    println!(
        "{format:?} {codec}: {flips} flips, {} cuts, {} additions: all refused",
        whole.len(),
        added.len()
    );
}

#[tokio::test]
async fn no_byte_of_a_carried_script_can_be_flipped_or_be_missing() {
    for codec in ["zstd", "gzip", "none"] {
        carried(Format::Sql, codec).await;
    }
}

#[tokio::test]
async fn no_byte_of_a_carried_archive_can_be_flipped_or_be_missing() {
    for codec in ["zstd", "gzip", "none"] {
        carried(Format::Compressed, codec).await;
    }
}

/// The objects that a backup is made of. A mark is none of them: one that is damaged counts as none.
async fn objects(storage: &dyn Storage) -> Vec<(Key, Vec<u8>)> {
    let mut objects = Vec::new();
    for key in faults::keys(storage, &Key::ROOT).await {
        if !key.as_str().starts_with("marks/") {
            let bytes = storage.get(&key, None).await.unwrap().to_vec();
            objects.push((key, bytes));
        }
    }
    objects
}

#[tokio::test]
async fn no_byte_of_a_small_repository_can_be_flipped() {
    let place = tempfile::tempdir().unwrap();
    let source = tiny(&place.path().join("tiny.db"));
    for (format, codecs) in [
        (Format::Binary, &["zstd", "gzip", "none"][..]),
        (Format::Sql, &["zstd"]),
        (Format::Compressed, &["gzip"]),
    ] {
        let mut flips = 0;
        for codec in codecs {
            let (manager, storage) = manager(format, codec);
            let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
            for (key, whole) in objects(&*storage).await {
                for at in 0..whole.len() {
                    let mut flipped = whole.clone();
                    flipped[at] ^= 1 << (at % 8);
                    storage.put(&key, flipped.into(), PutMode::Overwrite).await.unwrap();
                    let what = format!("{format:?} {codec}: byte {at} of {key} flipped");
                    is_refused(&manager, &backup, place.path(), &what).await;
                    flips += 1;
                }
                storage.put(&key, whole.into(), PutMode::Overwrite).await.unwrap();
            }
            manager.verify(&backup).await.unwrap();
        }
        println!("{format:?}: {flips} flips: all refused");
    }
}

/// A database of about `megabytes`, of which nothing can be made smaller.
fn large(path: &Path, megabytes: u32) -> DatabaseUrl {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "CREATE TABLE noise (id INTEGER PRIMARY KEY, bytes BLOB);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {megabytes} * 1000)
         INSERT INTO noise SELECT i, randomblob(1000) FROM n;"
    ))
    .unwrap();
    format!("sqlite:{}", path.display()).parse().unwrap()
}

#[tokio::test]
async fn of_a_thousand_flips_all_over_a_large_backup_each_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let source = large(&place.path().join("large.db"), 10);
    for (format, flips) in [(Format::Binary, 500), (Format::Sql, 250), (Format::Compressed, 250)] {
        let (manager, storage) = manager(format, "zstd");
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let objects = objects(&*storage).await;
        let all: usize = objects.iter().map(|(_, bytes)| bytes.len()).sum();
        for n in 0..flips {
            // Spread over all bytes of all objects, in no order.
            let mut at = (all as f64 * (f64::from(n) * 0.618_034).fract()) as usize;
            let hit = objects.iter().find(|(_, bytes)| {
                let here = at < bytes.len();
                at -= if here { 0 } else { bytes.len() };
                here
            });
            let (key, whole) = hit.unwrap();
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (n % 8);
            storage.put(key, flipped.into(), PutMode::Overwrite).await.unwrap();
            let what = format!("{format:?}: byte {at} of {key} flipped");
            is_refused(&manager, &backup, place.path(), &what).await;
            storage.put(key, whole.clone().into(), PutMode::Overwrite).await.unwrap();
        }
        manager.verify(&backup).await.unwrap();
        println!("{format:?}: {flips} flips over {all} bytes: all refused");
    }
}

#[tokio::test]
async fn chunks_cut_off_swapped_doubled_or_removed_are_refused() {
    let place = tempfile::tempdir().unwrap();
    let source = large(&place.path().join("large.db"), 16);
    for codec in ["zstd", "gzip", "none"] {
        let (manager, storage) = manager(Format::Binary, codec);
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let chunks: Vec<_> = objects(&*storage)
            .await
            .into_iter()
            .filter(|(key, _)| key.as_str().starts_with("chunks/"))
            .collect();
        let (mut cuts, mut swaps, mut doubles, mut removals) = (0, 0, 0, 0);
        let refused = |what: String| is_refused_owned(&manager, &backup, place.path(), what);
        for (number, (key, whole)) in chunks.iter().enumerate() {
            for length in [0, 1, whole.len() / 2, whole.len() - 1] {
                faults::truncate(&*storage, key, length).await;
                refused(format!("{codec}: {key} cut off behind {length} bytes")).await;
                storage.put(key, whole.clone().into(), PutMode::Overwrite).await.unwrap();
                cuts += 1;
            }
            let (other, others) = &chunks[(number + 1) % chunks.len()];
            faults::swap(&*storage, key, other).await;
            refused(format!("{codec}: {key} and {other} swapped")).await;
            faults::swap(&*storage, key, other).await;
            swaps += 1;
            faults::duplicate(&*storage, key, other).await;
            refused(format!("{codec}: {key} in place of {other}")).await;
            storage.put(other, others.clone().into(), PutMode::Overwrite).await.unwrap();
            doubles += 1;
            faults::remove(&*storage, key).await;
            refused(format!("{codec}: {key} removed")).await;
            storage.put(key, whole.clone().into(), PutMode::Overwrite).await.unwrap();
            removals += 1;
        }
        manager.verify(&backup).await.unwrap();
        println!("{codec}: {cuts} cuts, {swaps} swaps, {doubles} doubles, {removals} removals: all refused");
        assert!(chunks.len() > 5, "{}", chunks.len());
    }
}

async fn is_refused_owned(manager: &BackupManager, backup: &BackupRef, directory: &Path, what: String) {
    is_refused(manager, backup, directory, &what).await;
}

#[tokio::test]
async fn a_damaged_script_is_not_loaded_though_nothing_was_to_be_checked_before() {
    let directory = tempfile::tempdir().unwrap();
    let source = tiny(&directory.path().join("tiny.db"));
    let (manager, storage) = manager(Format::Sql, "none");
    let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    let file = faults::keys(&*storage, &"files".parse::<Key>().unwrap()).await.pop_first().unwrap();
    let whole = storage.get(&file, None).await.unwrap();
    let at = whole.windows(3).position(|text| text == b"two").unwrap();
    let mut damaged = whole.to_vec();
    damaged[at] = b'T';
    storage.put(&file, damaged.into(), PutMode::Overwrite).await.unwrap();
    let copy = directory.path().join("copy.db");
    let target = format!("sqlite:{}", copy.display()).parse().unwrap();
    let mut options = RestoreOptions::default();
    options.skip_verification = true;
    let error = manager.restore(&backup, &target, options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(!copy.exists());
    storage.put(&file, whole, PutMode::Overwrite).await.unwrap();
    manager.restore(&backup, &target, options).await.unwrap();
}

/// The disk is full to the last byte when a backup has been made and verified.
#[derive(Debug)]
struct NoRoomForMarks;

#[backup_core::async_trait]
impl faults::Fault for NoRoomForMarks {
    async fn before(&self, call: faults::Call, key: &Key) -> backup_core::Result<()> {
        let is_mark = call == faults::Call::Put && key.words().next() == Some("marks");
        if is_mark { Err(backup_core::Error::new(ErrorKind::NoSpace, "the disk is full")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn a_backup_is_no_worse_for_want_of_room_to_note_that_it_is_good() {
    let directory = tempfile::tempdir().unwrap();
    let source = tiny(&directory.path().join("tiny.db"));
    let (manager, storage) = manager(Format::Binary, "none");
    let full = manager.with_storage(faults::Faulty::around(storage, Arc::new(NoRoomForMarks)));
    let backup = full.backup(&source).await.unwrap();
    assert_eq!(backup.verified, None);
    full.verify(&BackupRef::from(&backup.id)).await.unwrap();
}
