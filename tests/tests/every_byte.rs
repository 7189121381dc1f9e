//! Every byte of every kind of object that a repository holds: whichever is flipped, a restore refuses before it touches its target, or it is
//! shown that the byte cannot matter. docs/format.md has the table; tests/damage.rs does the same for what a plain backup is made of.
//!
//! In one process, for speed: the same library that the binary is a thin face of.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]
#![allow(clippy::large_futures, reason = "each is run once")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use backup_testkit::faults;
use lifeboat::storage::{Key, MemoryStorage, PutMode, Storage};
use lifeboat::{
    BackupConfig, BackupManager, BackupRef, DatabaseUrl, ErrorKind, Format, HostKey, Identity, Keys,
    PruneOptions, RestoreOptions,
};

/// A database of a few hundred bytes.
fn tiny(path: &Path) -> DatabaseUrl {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(
        "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, name TEXT);
         INSERT INTO t (name) VALUES ('one'), ('two'), (NULL);",
    )
    .unwrap();
    format!("sqlite:{}", path.display()).parse().unwrap()
}

/// The managers of whoever writes, and of whoever reads, and what they share.
struct Place {
    host: HostKey,
    writer: BackupManager,
    reader: BackupManager,
    storage: Arc<dyn Storage>,
    directory: tempfile::TempDir,
}

impl Place {
    async fn new(sealed: bool, format: Format, codec: &str) -> Self {
        let mut config = BackupConfig::default();
        config.format = format;
        codec.clone_into(&mut config.codec);
        config.jobs = 1;
        config.verify = false;
        // Prune waits six times as long.
        config.lease = Duration::from_millis(100);
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let identity = Identity::generate();
        let host = HostKey::generate(vec![identity.recipient()]).unwrap();
        let manager = BackupManager::new(config).with_storage(Arc::clone(&storage));
        let (mut writes, mut reads) = (Keys::default(), Keys::default());
        if sealed {
            writes.hosts = vec![host.clone()];
            reads.identities = vec![identity];
            reads.signers = vec![host.signer()];
            manager.init_sealed(&host, None).await.unwrap();
        }
        let writer = manager.clone().with_keys(writes);
        let reader = manager.with_keys(reads);
        Self { host, writer, reader, storage, directory: tempfile::tempdir().unwrap() }
    }

    async fn backup(&self) -> BackupRef {
        let source = tiny(&self.directory.path().join("tiny.db"));
        BackupRef::from(&self.writer.backup(&source).await.unwrap().id)
    }

    async fn objects(&self) -> Vec<(Key, Vec<u8>)> {
        let mut objects = Vec::new();
        for key in faults::keys(&*self.storage, &Key::ROOT).await {
            let bytes = self.storage.get(&key, None).await.unwrap().to_vec();
            objects.push((key, bytes));
        }
        objects
    }

    async fn put(&self, key: &Key, bytes: Vec<u8>) {
        self.storage.put(key, bytes.into(), PutMode::Overwrite).await.unwrap();
    }

    /// Restores a backup, and removes what comes of it.
    async fn restore(&self, backup: &BackupRef) -> lifeboat::Result<()> {
        let copy = self.directory.path().join("copy.db");
        let target = format!("sqlite:{}", copy.display()).parse().unwrap();
        let restored = self.reader.restore(backup, &target, RestoreOptions::default()).await.map(drop);
        assert_eq!(copy.exists(), restored.is_ok(), "the target was touched: {restored:?}");
        let _ = fs::remove_file(copy);
        restored
    }
}

#[tokio::test]
async fn no_byte_of_a_small_sealed_repository_can_be_flipped() {
    for (format, codec) in [
        (Format::Binary, "zstd"),
        (Format::Binary, "none"),
        (Format::Sql, "gzip"),
        (Format::Compressed, "zstd"),
    ] {
        let place = Place::new(true, format, codec).await;
        let backup = place.backup().await;
        let mut kinds: Vec<(String, usize)> = Vec::new();
        for (key, whole) in place.objects().await {
            for at in 0..whole.len() {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << (at % 8);
                place.put(&key, flipped).await;
                let what = format!("{format:?} {codec}: byte {at} of {key}");
                let Err(error) = place.restore(&backup).await else { panic!("{what} was not noticed") };
                let expected = [
                    ErrorKind::Damaged,
                    ErrorKind::NoRepository,
                    ErrorKind::NewerFormat,
                    ErrorKind::UnknownSigner,
                    ErrorKind::WrongKey,
                    ErrorKind::Unsupported,
                    ErrorKind::NotFound,
                ];
                assert!(expected.contains(&error.kind()), "{what}: {error:?}");
            }
            place.put(&key, whole.clone()).await;
            let kind = key.as_str().split('/').next().unwrap().to_owned();
            match kinds.last_mut().filter(|(last, _)| *last == kind) {
                Some((_, count)) => *count += whole.len(),
                None => kinds.push((kind, whole.len())),
            }
        }
        place.restore(&backup).await.unwrap();
        println!("sealed {format:?} {codec}: flips refused, by kind of object: {kinds:?}");
        assert!(kinds.len() >= 4, "{kinds:?}");
    }
}

/// What prune does not understand, it does not touch; nor what that may need.
#[tokio::test]
async fn prune_deletes_nothing_that_a_flipped_manifest_or_list_may_need() {
    let mut flips = 0;
    for sealed in [false, true] {
        let place = Place::new(sealed, Format::Binary, "zstd").await;
        let backups = [place.backup().await, place.backup().await];
        tokio::time::sleep(Duration::from_millis(700)).await;
        let all = place.objects().await;
        for (key, whole) in all
            .iter()
            .filter(|(key, _)| key.as_str().starts_with("manifests/") || key.as_str().starts_with("lists/"))
        {
            for at in (0..whole.len()).step_by(5) {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << (at % 8);
                place.put(key, flipped).await;
                // Of a body that is damaged the header still says what it needs: then there is nothing to be said.
                let _ = place.writer.prune(PruneOptions::default()).await;
                let left = faults::keys(&*place.storage, &Key::ROOT).await;
                let missing: Vec<_> = all.iter().filter(|(key, _)| !left.contains(key)).collect();
                assert!(missing.is_empty(), "byte {at} of {key}: {missing:?} is gone");
                flips += 1;
            }
            place.put(key, whole.clone()).await;
        }
        for backup in &backups {
            place.restore(backup).await.unwrap();
        }
    }
    println!("{flips} flips: prune deleted nothing");
}

#[tokio::test]
async fn a_flipped_record_of_a_deleted_backup_keeps_everything_until_it_is_old() {
    let (mut flips, mut caught) = (0, 0);
    for sealed in [false, true] {
        let place = Place::new(sealed, Format::Binary, "zstd").await;
        let (kept, gone) = (place.backup().await, place.backup().await);
        place.writer.delete_backup(&gone).await.unwrap();
        let key = faults::keys(&*place.storage, &"deleted".parse().unwrap()).await.pop_first().unwrap();
        let whole = place.storage.get(&key, None).await.unwrap();
        let mut line_ends = whole.iter().enumerate().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at);
        let head = line_ends.nth(1).unwrap();
        let stored = |folder: &str| {
            let folder = folder.parse().unwrap();
            let storage = &place.storage;
            async move { faults::keys(&**storage, &folder).await }
        };
        let before = (stored("chunks").await, stored("lists").await);
        for at in 0..whole.len() {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1 << (at % 8);
            place.put(&key, flipped).await;
            let pruned = place.writer.prune(PruneOptions::default()).await;
            // What it names is in its head.
            assert_eq!(pruned.is_err(), at <= head, "byte {at} of {}: {pruned:?}", whole.len());
            if let Err(error) = pruned {
                assert!(error.to_string().contains("nothing was deleted"), "{error}");
                caught += 1;
            }
            place.writer.verify(&kept).await.unwrap();
            flips += 1;
        }
        assert_eq!(before, (stored("chunks").await, stored("lists").await));
        place.restore(&kept).await.unwrap();
        assert_eq!(place.writer.list_backups().await.unwrap().len(), 1);
    }
    println!("{flips} flips of records of deleted backups, {caught} in what they say: nothing was deleted");
}

#[tokio::test]
async fn what_keeps_a_backup_from_being_committed_is_never_taken_for_one() {
    let place = Place::new(false, Format::Binary, "zstd").await;
    let kept = place.backup().await;
    let id = "20261124-010203-00000000";
    let key: Key = format!("manifests/{id}").parse().unwrap();
    let whole = format!("{{\"lifeboat\":1,\"void\":\"{id}\"}}\n").into_bytes();
    let (mut unreadable, mut still) = (0, 0);
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            place.put(&key, flipped).await;
            assert_eq!(place.writer.list_backups().await.unwrap().len(), 1, "bit {bit} of byte {at}");
            match place.writer.unreadable_backups().await.unwrap().len() {
                0 => still += 1,
                _ => {
                    unreadable += 1;
                    place.writer.prune(PruneOptions::default()).await.unwrap_err();
                }
            }
        }
    }
    place.put(&key, whole).await;
    place.writer.prune(PruneOptions::default()).await.unwrap();
    place.writer.verify(&kept).await.unwrap();
    println!("{unreadable} flips make it a manifest that cannot be read, {still} say the same");
}

/// The host key is no part of the repository, and has no hash. With one that is flipped nothing is stored, or what can be restored.
#[tokio::test]
async fn with_a_flipped_host_key_nothing_is_stored_that_cannot_be_restored() {
    let place = Place::new(true, Format::Binary, "none").await;
    place.backup().await;
    let path = place.directory.path().join("host.json");
    place.host.save(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    let source = tiny(&place.directory.path().join("tiny.db"));
    let (mut unreadable, mut refused, mut restored) = (0, 0, 0);
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        fs::write(&path, flipped).unwrap();
        let Ok(host) = HostKey::load(&path) else {
            unreadable += 1;
            continue;
        };
        let before = place.objects().await;
        let mut keys = Keys::default();
        keys.hosts = vec![host];
        match place.writer.clone().with_keys(keys).backup(&source).await {
            Err(_) => {
                assert_eq!(place.objects().await, before, "byte {at}: something was stored");
                refused += 1;
            }
            Ok(made) => {
                let backup = BackupRef::from(&made.id);
                place.restore(&backup).await.unwrap_or_else(|error| panic!("byte {at}: {error:?}"));
                place.writer.delete_backup(&backup).await.unwrap();
                restored += 1;
            }
        }
    }
    println!(
        "host key: {unreadable} flips make it unreadable, {refused} are refused, with {restored} backups are good"
    );
    assert!(unreadable > 0 && refused > 0 && restored > 0);
}
