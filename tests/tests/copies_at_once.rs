//! Copies of one backup that run at once, as a job does that takes longer than the time between two of it; and copies after one that was not
//! verified.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]
#![allow(clippy::large_futures, reason = "each is run once")]

use std::sync::Arc;
use std::time::Duration;

use backup_core::async_trait;
use backup_testkit::faults::{Call, Fault, Faulty, Slow, keys};
use lifeboat::storage::{Key, MemoryStorage, Storage};
use lifeboat::{
    BackupConfig, BackupManager, BackupRef, DatabaseUrl, ErrorKind, Format, HostKey, Identity, Keys,
    RestoreOptions,
};
use tokio::sync::Notify;

/// A source with a backup in `format`, an empty repository, and who may copy into it and read it.
struct Place {
    source: BackupManager,
    backup: BackupRef,
    there: Arc<dyn Storage>,
    keys: Keys,
    directory: tempfile::TempDir,
}

fn config() -> BackupConfig {
    let mut config = BackupConfig::default();
    config.jobs = 2;
    config.lock_wait = Duration::from_secs(60);
    config
}

impl Place {
    async fn new(format: Format, sealed: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.db");
        end_to_end::shop(&path);
        let mut writing = config();
        writing.format = format;
        let source = BackupManager::new(writing).with_storage(Arc::new(MemoryStorage::new()));
        let url: DatabaseUrl = format!("sqlite:{}", path.display()).parse().unwrap();
        let backup = BackupRef::from(&source.backup(&url).await.unwrap().id);
        let there: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let mut keys = Keys::default();
        let manager = BackupManager::new(config()).with_storage(Arc::clone(&there));
        if sealed {
            let identity = Identity::generate();
            let host = HostKey::generate(vec![identity.recipient()]).unwrap();
            manager.init_sealed(&host, None).await.unwrap();
            keys.signers = vec![host.signer()];
            keys.hosts = vec![host];
            keys.identities = vec![identity];
        } else {
            manager.init().await.unwrap();
        }
        Self { source, backup, there, keys, directory }
    }

    fn to(&self, storage: Arc<dyn Storage>, verify: bool) -> BackupManager {
        let mut config = config();
        config.verify = verify;
        BackupManager::new(config).with_storage(storage).with_keys(self.keys.clone())
    }
}

#[tokio::test]
async fn a_backup_that_two_copy_at_once_is_whole() {
    let mut runs = 0;
    for format in [Format::Binary, Format::Sql, Format::Compressed] {
        for sealed in [false, true] {
            let place = Place::new(format, sealed).await;
            // Whoever is slow finds out that the backup is missing before anybody has it.
            let slow = || -> Arc<dyn Storage> {
                let slow = Slow::new(&[Call::Put], Duration::from_millis(20));
                Faulty::around(Arc::clone(&place.there), Arc::new(slow))
            };
            let (first, second) = (place.to(slow(), true), place.to(slow(), true));
            let (first, second) =
                tokio::join!(place.source.copy(&first, &[]), place.source.copy(&second, &[]));
            let (first, second) = (first.unwrap(), second.unwrap());
            let what = format!("{format:?}, sealed: {sealed}: {first:?}, {second:?}");
            assert_eq!(first.copied.len() + second.copied.len(), 1, "{what}");
            assert_eq!(first.there.len() + second.there.len(), 1, "{what}");
            let there = place.to(Arc::clone(&place.there), true);
            there.verify(&place.backup).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            let copy = place.directory.path().join("copy.db");
            let target = format!("sqlite:{}", copy.display()).parse().unwrap();
            there.restore(&place.backup, &target, RestoreOptions::default()).await.unwrap();
            runs += 1;
        }
    }
    println!("{runs} pairs of copies at once: one copy each, whole");
}

/// Holds a call up until it is let go on, like a process that is suspended.
#[derive(Debug, Default)]
struct Suspended {
    reached: Notify,
    wake: Notify,
}

#[async_trait]
impl Fault for Suspended {
    async fn before(&self, call: Call, key: &Key) -> lifeboat::Result<()> {
        if call == Call::Finish && key.is_below(&"files".parse()?) {
            self.reached.notify_one();
            self.wake.notified().await;
        }
        Ok(())
    }
}

/// Whoever copies is suspended with a file all but written, its lease ends and is taken away, and somebody else makes the copy.
#[tokio::test]
async fn a_copy_that_wakes_up_too_late_leaves_the_copy_of_another_whole() {
    let mut runs = 0;
    for format in [Format::Sql, Format::Compressed] {
        for sealed in [false, true] {
            let place = Place::new(format, sealed).await;
            let suspended = Arc::new(Suspended::default());
            let late = place.to(Faulty::around(Arc::clone(&place.there), suspended.clone()), false);
            let (source, backups) = (place.source.clone(), [place.backup.clone()]);
            let late = tokio::spawn(async move { source.copy(&late, &backups).await });
            suspended.reached.notified().await;
            for lease in keys(&*place.there, &"locks".parse().unwrap()).await {
                place.there.delete(&lease).await.unwrap();
            }
            let there = place.to(Arc::clone(&place.there), true);
            let what = format!("{format:?}, sealed: {sealed}");
            assert_eq!(place.source.copy(&there, &[]).await.unwrap().copied.len(), 1, "{what}");
            suspended.wake.notify_one();
            let late = late.await.unwrap();
            assert_eq!(late.map(|_| ()).map_err(|error| error.kind()), Err(ErrorKind::Locked), "{what}");
            there.verify(&place.backup).await.unwrap_or_else(|error| panic!("{what}: {error}"));
            runs += 1;
        }
    }
    println!("{runs} copies that woke up too late: the other's whole each time");
}

#[tokio::test]
async fn a_copy_that_was_not_verified_is_when_it_is_asked_for_again() {
    let place = Place::new(Format::Binary, false).await;
    place.source.copy(&place.to(Arc::clone(&place.there), false), &[]).await.unwrap();
    let there = place.to(Arc::clone(&place.there), true);
    assert!(there.list_backups().await.unwrap()[0].verified.is_none());
    let report = place.source.copy(&there, &[]).await.unwrap();
    assert_eq!((report.copied.len(), report.there.len()), (0, 1));
    assert!(there.list_backups().await.unwrap()[0].verified.is_some());

    // One that is damaged is not called there.
    let place = Place::new(Format::Binary, false).await;
    place.source.copy(&place.to(Arc::clone(&place.there), false), &[]).await.unwrap();
    for chunk in keys(&*place.there, &"chunks".parse().unwrap()).await {
        place.there.delete(&chunk).await.unwrap();
    }
    let error = place.source.copy(&place.to(Arc::clone(&place.there), true), &[]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}
