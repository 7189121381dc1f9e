//! Copies of one backup that run at once, as a job does that takes longer than the time between two of it; and copies after one that was not
//! verified.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]
#![allow(clippy::large_futures, reason = "each is run once")]

use std::sync::Arc;
use std::time::Duration;

use backup_testkit::faults::{Call, Faulty, Slow};
use lifeboat::storage::{MemoryStorage, Storage};
use lifeboat::{
    BackupConfig, BackupManager, BackupRef, DatabaseUrl, Format, HostKey, Identity, Keys, RestoreOptions,
};

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
    for chunk in backup_testkit::faults::keys(&*place.there, &"chunks".parse().unwrap()).await {
        place.there.delete(&chunk).await.unwrap();
    }
    let error = place.source.copy(&place.to(Arc::clone(&place.there), true), &[]).await.unwrap_err();
    assert_eq!(error.kind(), lifeboat::ErrorKind::Damaged, "{error}");
}
