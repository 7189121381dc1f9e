//! A sealed backup that dies, or finds no space, at its N-th call to the storage, for every N: nothing new is listed, and a rerun sends no chunk
//! that is there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]
#![allow(clippy::large_futures, reason = "each is run once")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use backup_testkit::faults::{Call, FailNth, Faulty, StopNth, keys};
use lifeboat::storage::{Key, MemoryStorage, Storage};
use lifeboat::{BackupConfig, BackupManager, DatabaseUrl, ErrorKind, Format, HostKey, Identity, Keys};

/// Several chunks that nothing makes smaller.
fn database(path: &Path) -> DatabaseUrl {
    end_to_end::noise_table(path, 4 << 20);
    format!("sqlite:{}", path.display()).parse().unwrap()
}

struct Sealed {
    host: HostKey,
    identity: Identity,
    storage: Arc<dyn Storage>,
}

impl Sealed {
    async fn new() -> Self {
        let identity = Identity::generate();
        let host = HostKey::generate(vec![identity.recipient()]).unwrap();
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let it = Self { host, identity, storage };
        it.manager(Arc::clone(&it.storage)).init_sealed(&it.host, None).await.unwrap();
        it
    }

    fn manager(&self, storage: Arc<dyn Storage>) -> BackupManager {
        let mut config = BackupConfig::default();
        config.format = Format::Binary;
        "none".clone_into(&mut config.codec);
        config.jobs = 2;
        config.verify = false;
        let mut keys = Keys::default();
        keys.hosts = vec![self.host.clone()];
        BackupManager::new(config).with_storage(storage).with_keys(keys)
    }

    async fn chunks(&self) -> BTreeSet<Key> {
        keys(&*self.storage, &"chunks".parse().unwrap()).await
    }

    /// Runs it again; returns how many chunks were there, and how many of them were sent again.
    async fn rerun(&self, source: &DatabaseUrl, what: &str) -> (usize, usize) {
        let left = self.chunks().await;
        assert!(self.manager(Arc::clone(&self.storage)).list_backups().await.unwrap().is_empty(), "{what}");
        let manager = self.manager(Arc::clone(&self.storage));
        let made = manager.backup(source).await.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let id = |key: &Key| key.name().split_once('.').unwrap().0.to_owned();
        let there: BTreeSet<String> = left.iter().map(id).collect();
        let after = self.chunks().await;
        let again = after.iter().filter(|key| !left.contains(*key) && there.contains(&id(key))).count();
        let mut reading = Keys::default();
        reading.identities = vec![self.identity.clone()];
        reading.signers = vec![self.host.signer()];
        let verified = manager.with_keys(reading).verify(&(&made.id).into()).await;
        assert!(verified.unwrap_or_else(|error| panic!("{what}: {error:?}")).decoded, "{what}");
        (left.len(), again)
    }
}

#[tokio::test]
async fn a_sealed_backup_that_dies_at_any_call_is_continued_and_nothing_is_sent_twice() {
    let directory = tempfile::tempdir().unwrap();
    let source = database(&directory.path().join("noise.db"));
    let (mut deaths, mut kept, mut sent_again) = (0, 0, 0);
    for arrives in [false, true] {
        for n in 1.. {
            let sealed = Sealed::new().await;
            let stop = Arc::new(StopNth::new(n, arrives));
            let manager = sealed.manager(Faulty::around(Arc::clone(&sealed.storage), stop.clone()));
            let done = stop.until(manager.backup(&source)).await;
            drop(manager);
            // Committed, perhaps without anybody hearing of it.
            let manager = sealed.manager(Arc::clone(&sealed.storage));
            let committed = !manager.list_backups().await.unwrap().is_empty();
            if done.is_some() || committed {
                assert!(done.is_none_or(|done| done.is_ok()));
                if n > 1 && deaths > 0 && committed {
                    break;
                }
            }
            let (left, again) = sealed.rerun(&source, &format!("dead at call {n} ({arrives})")).await;
            (deaths, kept, sent_again) = (deaths + 1, kept + left, sent_again + again);
        }
    }
    println!(
        "{deaths} deaths of sealed backups: {kept} chunks were there, {sent_again} of them were sent again"
    );
    assert!(deaths > 20 && kept > 20, "{deaths} deaths, {kept} chunks");
    assert_eq!(sent_again, 0);
}

#[tokio::test]
async fn a_sealed_backup_without_space_at_any_write_fails_and_is_continued_and_nothing_is_sent_twice() {
    let directory = tempfile::tempdir().unwrap();
    let source = database(&directory.path().join("noise.db"));
    let (mut full, mut kept, mut sent_again) = (0, 0, 0);
    for n in 1.. {
        let sealed = Sealed::new().await;
        let fault = Arc::new(FailNth::with_kind(&[Call::Put, Call::Write], n, ErrorKind::NoSpace));
        let manager = sealed.manager(Faulty::around(Arc::clone(&sealed.storage), fault.clone()));
        let made = manager.backup(&source).await;
        if !fault.has_failed() {
            made.unwrap();
            break;
        }
        assert_eq!(made.unwrap_err().kind(), ErrorKind::NoSpace, "write {n}");
        let (left, again) = sealed.rerun(&source, &format!("no space at write {n}")).await;
        (full, kept, sent_again) = (full + 1, kept + left, sent_again + again);
    }
    println!(
        "no space at {full} writes of sealed backups: {kept} chunks were there, {sent_again} of them were sent again"
    );
    assert!(full > 5 && kept > 5, "{full} writes, {kept} chunks");
    assert_eq!(sent_again, 0);
}
