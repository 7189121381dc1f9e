//! What a [`Storage`] promises, case by case.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use backup_core::ErrorKind;
use backup_core::storage::{Key, ObjectMeta, ObjectWriter, PutMode, Storage};
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{self, StreamExt};

use crate::faults::keys;

/// What the suite has to be given to test a storage.
#[async_trait]
pub trait StorageFixture: Send + Sync {
    /// A storage without objects. Called for each case; what must outlive the storage (a directory) is the fixture's.
    async fn empty(&self) -> Arc<dyn Storage>;

    /// Cuts the power of what is behind the last storage that [`Self::empty`] gave, and restores it: what was not durable is lost. `false` where
    /// nobody can, as most cannot.
    async fn cut_power(&self) -> bool {
        false
    }
}

/// Expands to one test for each promise of a storage. The expression makes a [`StorageFixture`].
///
/// ```
/// # use std::sync::Arc;
/// # use backup_core::storage::{MemoryStorage, Storage};
/// # use backup_testkit::storage::StorageFixture;
/// struct Memory;
///
/// #[backup_core::async_trait]
/// impl StorageFixture for Memory {
///     async fn empty(&self) -> Arc<dyn Storage> {
///         Arc::new(MemoryStorage::new())
///     }
/// }
///
/// backup_testkit::storage_conformance!(Memory);
/// ```
#[macro_export]
macro_rules! storage_conformance {
    ($fixture:expr) => {
        $crate::cases! { $fixture, storage,
            what_was_put_is_read
            an_empty_object_is_an_object
            overwriting_replaces_the_whole_object
            a_range_is_read_and_one_outside_is_refused
            an_object_larger_than_expected_is_not_read
            a_missing_object_is_not_found
            head_knows_what_put_returned
            every_put_makes_another_version
            create_refuses_what_is_there
            of_many_creating_at_once_one_succeeds
            update_refuses_another_version
            of_many_updating_at_once_one_succeeds
            a_writer_is_invisible_until_it_is_finished
            a_dropped_writer_leaves_what_was_there
            deleting_removes_and_deleting_nothing_is_no_error
            listing_has_the_prefix_and_what_is_below_it
            listing_names_every_one_of_many_objects
            a_large_object_comes_back
            the_longest_key_is_a_key
            objects_put_at_once_are_whole_and_not_mixed
            a_put_that_is_dropped_leaves_no_half_object
            what_has_returned_survives_a_power_cut
        }
    };
}

fn key(text: &str) -> Key {
    text.parse().expect("the suite's keys are keys")
}

/// Bytes that no codec makes smaller, the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

async fn put(storage: &dyn Storage, name: &str, bytes: &[u8]) -> ObjectMeta {
    let put = storage.put(&key(name), Bytes::copy_from_slice(bytes), PutMode::Overwrite).await;
    put.unwrap_or_else(|error| panic!("cannot put {name}: {error}"))
}

async fn get(storage: &dyn Storage, name: &str) -> Bytes {
    storage.get(&key(name), None).await.unwrap_or_else(|error| panic!("cannot get {name}: {error}"))
}

#[allow(missing_docs, reason = "each case is called what it promises")]
mod cases {
    use super::*;

    pub async fn what_was_put_is_read(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        assert!(keys(&*storage, &Key::ROOT).await.is_empty(), "the fixture's storage is not empty");
        let bytes = noise(1, 100_000);
        put(&*storage, "chunks/ab/one", &bytes).await;
        put(&*storage, "two", b"other").await;
        assert_eq!(get(&*storage, "chunks/ab/one").await, bytes);
        assert_eq!(get(&*storage, "two").await, "other");
    }

    pub async fn an_empty_object_is_an_object(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        put(&*storage, "a/empty", b"").await;
        assert!(get(&*storage, "a/empty").await.is_empty());
        assert_eq!(storage.head(&key("a/empty")).await.unwrap().map(|meta| meta.size), Some(0));
        assert_eq!(storage.get(&key("a/empty"), Some(0..0)).await.unwrap(), "");
        let writer = storage.writer(&key("b/empty")).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(keys(&*storage, &Key::ROOT).await, BTreeSet::from([key("a/empty"), key("b/empty")]));
    }

    pub async fn overwriting_replaces_the_whole_object(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        put(&*storage, "a/x", &noise(1, 5000)).await;
        put(&*storage, "a/x", b"short").await;
        assert_eq!(get(&*storage, "a/x").await, "short");
        let mut writer = storage.writer(&key("a/x")).await.unwrap();
        writer.write(Bytes::from_static(b"written")).await.unwrap();
        writer.finish().await.unwrap();
        assert_eq!(get(&*storage, "a/x").await, "written");
    }

    pub async fn a_range_is_read_and_one_outside_is_refused(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let bytes = noise(3, 10_000);
        put(&*storage, "a/x", &bytes).await;
        for range in [0..10_000u64, 0..1, 9_999..10_000, 100..5000, 77..77, 10_000..10_000] {
            let read = storage.get(&key("a/x"), Some(range.clone())).await.unwrap();
            assert_eq!(read, bytes[range.start as usize..range.end as usize], "{range:?}");
        }
        for range in [0..10_001u64, 10_000..10_001, 20_000..20_001, 9_000..u64::MAX] {
            let read = storage.get(&key("a/x"), Some(range.clone())).await;
            assert!(
                read.is_err(),
                "{range:?} of 10,000 bytes gave {:?} bytes",
                read.map(|bytes| bytes.len())
            );
        }
    }

    pub async fn an_object_larger_than_expected_is_not_read(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let bytes = noise(4, 10_000);
        put(&*storage, "a/x", &bytes).await;
        assert_eq!(storage.get_at_most(&key("a/x"), 10_000).await.unwrap(), bytes);
        assert_eq!(storage.get_at_most(&key("a/x"), u64::MAX).await.unwrap(), bytes);
        let larger = storage.get_at_most(&key("a/x"), 9_999).await.unwrap_err();
        assert_eq!(larger.kind(), ErrorKind::Damaged, "{larger}");
        let missing = storage.get_at_most(&key("a/y"), 10_000).await.unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    }

    pub async fn a_missing_object_is_not_found(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        put(&*storage, "a/present", b"1").await;
        for missing in ["a/missing", "missing/too", "missing"] {
            assert_eq!(storage.get(&key(missing), None).await.unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(storage.get(&key(missing), Some(0..1)).await.unwrap_err().kind(), ErrorKind::NotFound);
            assert_eq!(storage.head(&key(missing)).await.unwrap(), None);
        }
    }

    pub async fn head_knows_what_put_returned(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let before = put(&*storage, "clock", b"").await.modified;
        let meta = put(&*storage, "a/x", b"12345").await;
        assert_eq!((meta.key.as_str(), meta.size), ("a/x", 5));
        assert!(meta.modified >= before, "the store's clock went back: {} after {before}", meta.modified);
        assert_eq!(storage.head(&key("a/x")).await.unwrap(), Some(meta.clone()));
        let listed: Vec<_> = storage.list(&key("a")).collect().await;
        assert_eq!(listed.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [meta]);
    }

    pub async fn every_put_makes_another_version(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let mut versions = BTreeSet::new();
        for _ in 0..20 {
            // The bytes are the same: a version is one of a put, not of a content.
            versions.insert(put(&*storage, "locks/x", b"same").await.version.0);
        }
        assert_eq!(versions.len(), 20, "{versions:?}");
    }

    pub async fn create_refuses_what_is_there(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let create = |bytes: &'static [u8]| {
            let storage = Arc::clone(&storage);
            async move { storage.put(&key("a/x"), Bytes::from_static(bytes), PutMode::Create).await }
        };
        create(b"first").await.unwrap();
        assert_eq!(create(b"second").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(get(&*storage, "a/x").await, "first");
        storage.delete(&key("a/x")).await.unwrap();
        create(b"third").await.unwrap();
        assert_eq!(get(&*storage, "a/x").await, "third");
    }

    pub async fn of_many_creating_at_once_one_succeeds(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        for round in 0..10 {
            let name = format!("locks/{round}");
            let won = at_once(&storage, &name, |_| PutMode::Create).await;
            let [winner] = won.as_slice() else { panic!("{} of 16 created {name}", won.len()) };
            assert_eq!(get(&*storage, &name).await, noise(*winner, 1000));
        }
    }

    pub async fn update_refuses_another_version(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let update = |bytes: &'static [u8], meta: &ObjectMeta| {
            let (storage, version) = (Arc::clone(&storage), meta.version.clone());
            async move { storage.put(&key("locks/x"), Bytes::from_static(bytes), PutMode::Update(version)).await }
        };
        let first = put(&*storage, "locks/x", b"first").await;
        let second = update(b"second", &first).await.unwrap();
        assert_eq!(update(b"stale", &first).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(get(&*storage, "locks/x").await, "second");
        storage.delete(&key("locks/x")).await.unwrap();
        assert_eq!(update(b"gone", &second).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(storage.head(&key("locks/x")).await.unwrap(), None);
    }

    pub async fn of_many_updating_at_once_one_succeeds(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let mut version = put(&*storage, "locks/x", b"first").await.version;
        for _ in 0..10 {
            let won = at_once(&storage, "locks/x", |_| PutMode::Update(version.clone())).await;
            let [winner] = won.as_slice() else { panic!("{} of 16 updated one version", won.len()) };
            assert_eq!(get(&*storage, "locks/x").await, noise(*winner, 1000));
            version = storage.head(&key("locks/x")).await.unwrap().unwrap().version;
        }
    }

    /// Puts 16 objects of one name at once, and returns which succeeded.
    async fn at_once(storage: &Arc<dyn Storage>, name: &str, mode: impl Fn(u64) -> PutMode) -> Vec<u64> {
        let puts = (0..16).map(|i| {
            let (storage, key, mode) = (Arc::clone(storage), key(name), mode(i));
            tokio::spawn(async move { (i, storage.put(&key, noise(i, 1000).into(), mode).await) })
        });
        let mut won = Vec::new();
        for put in join_all(puts).await {
            match put.expect("a put does not panic") {
                (i, Ok(_)) => won.push(i),
                (_, Err(error)) => assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}"),
            }
        }
        won
    }

    pub async fn a_writer_is_invisible_until_it_is_finished(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let mut writer = storage.writer(&key("files/x")).await.unwrap();
        let mut expected = Vec::new();
        for seed in 0..10 {
            let piece = noise(seed, 100_000 * seed as usize);
            expected.extend_from_slice(&piece);
            writer.write(piece.into()).await.unwrap();
            assert_eq!(storage.head(&key("files/x")).await.unwrap(), None);
        }
        assert!(keys(&*storage, &Key::ROOT).await.is_empty());
        let meta = writer.finish().await.unwrap();
        assert_eq!((meta.key, meta.size), (key("files/x"), expected.len() as u64));
        assert_eq!(get(&*storage, "files/x").await, expected);
    }

    pub async fn a_dropped_writer_leaves_what_was_there(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let before = put(&*storage, "files/old", b"old").await;
        for name in ["files/new", "files/old"] {
            let mut writer = storage.writer(&key(name)).await.unwrap();
            writer.write(noise(1, 10_000).into()).await.unwrap();
            drop(writer);
        }
        assert_eq!(keys(&*storage, &Key::ROOT).await, BTreeSet::from([key("files/old")]));
        assert_eq!(storage.head(&key("files/old")).await.unwrap(), Some(before));
        assert_eq!(get(&*storage, "files/old").await, "old");
    }

    pub async fn deleting_removes_and_deleting_nothing_is_no_error(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        put(&*storage, "a/x", b"1").await;
        put(&*storage, "a/y", b"2").await;
        storage.delete(&key("a/x")).await.unwrap();
        for missing in ["a/x", "a/never", "nowhere/x"] {
            storage.delete(&key(missing)).await.unwrap();
        }
        assert_eq!(keys(&*storage, &Key::ROOT).await, BTreeSet::from([key("a/y")]));
    }

    pub async fn listing_has_the_prefix_and_what_is_below_it(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        for name in ["a", "ab/x", "b/c/d/e", "b/c/f", "b/cc/g", "b.c"] {
            put(&*storage, name, name.as_bytes()).await;
        }
        let listed = |prefix: Key| {
            let storage = Arc::clone(&storage);
            async move { keys(&*storage, &prefix).await.iter().map(ToString::to_string).collect::<Vec<_>>() }
        };
        assert_eq!(listed(Key::ROOT).await, ["a", "ab/x", "b.c", "b/c/d/e", "b/c/f", "b/cc/g"]);
        assert_eq!(listed(key("b")).await, ["b/c/d/e", "b/c/f", "b/cc/g"]);
        assert_eq!(listed(key("b/c")).await, ["b/c/d/e", "b/c/f"]);
        assert_eq!(listed(key("a")).await, ["a"]);
        assert_eq!(listed(key("b/c/f")).await, ["b/c/f"]);
        assert!(listed(key("nothing")).await.is_empty());
    }

    pub async fn listing_names_every_one_of_many_objects(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        // More than stores give in one answer.
        let names: Vec<String> = (0..1200).map(|i| format!("chunks/{:02x}/{i:04}", i % 7)).collect();
        let puts =
            stream::iter(&names).map(|name| put(&*storage, name, name.as_bytes())).buffer_unordered(16);
        puts.collect::<Vec<_>>().await;
        let mut listed: Vec<_> =
            storage.list(&Key::ROOT).map(|meta| meta.unwrap().key.to_string()).collect().await;
        listed.sort();
        let mut names = names;
        names.sort();
        assert_eq!(listed, names);
    }

    pub async fn a_large_object_comes_back(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let bytes = noise(9, 24 << 20);
        let mut writer = storage.writer(&key("files/large")).await.unwrap();
        for piece in bytes.chunks(1_234_567) {
            writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        }
        writer.finish().await.unwrap();
        put(&*storage, "chunks/large", &bytes).await;
        for name in ["files/large", "chunks/large"] {
            assert!(get(&*storage, name).await == bytes, "{name} is not what was written");
        }
    }

    pub async fn the_longest_key_is_a_key(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        // Words stay below what file systems allow for one name.
        let longest = [127, 127, 127, 128].map(|length| "w".repeat(length)).join("/");
        assert_eq!(longest.len(), Key::MAX_LENGTH);
        let longest = longest.as_str();
        put(&*storage, longest, b"1").await;
        assert_eq!(get(&*storage, longest).await, "1");
        assert_eq!(keys(&*storage, &Key::ROOT).await, BTreeSet::from([key(longest)]));
        for odd in ["0", "a.b-c_d", "-", "_", "lifeboat.json", "x."] {
            put(&*storage, &format!("odd/{odd}"), odd.as_bytes()).await;
            assert_eq!(get(&*storage, &format!("odd/{odd}")).await, odd);
        }
    }

    pub async fn objects_put_at_once_are_whole_and_not_mixed(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let candidates: Vec<Vec<u8>> = (0..8).map(|i| noise(i, 300_000 + 1000 * i as usize)).collect();
        let puts = candidates.iter().enumerate().map(|(i, bytes)| {
            let (storage, bytes) = (Arc::clone(&storage), Bytes::copy_from_slice(bytes));
            tokio::spawn(async move {
                if i % 2 == 0 {
                    return storage.put(&key("a/x"), bytes, PutMode::Overwrite).await.map(drop);
                }
                let mut writer: Box<dyn ObjectWriter> = storage.writer(&key("a/x")).await?;
                for start in (0..bytes.len()).step_by(50_000) {
                    writer.write(bytes.slice(start..bytes.len().min(start + 50_000))).await?;
                }
                writer.finish().await.map(drop)
            })
        });
        let puts: Vec<_> = puts.collect();
        let is_whole = |read: &Bytes| candidates.iter().any(|bytes| read == bytes);
        // Whoever reads meanwhile sees one of them, or none yet.
        while puts.iter().any(|put| !put.is_finished()) {
            match storage.get(&key("a/x"), None).await {
                Ok(read) => assert!(is_whole(&read), "read half of an object"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error}"),
            }
            tokio::task::yield_now().await;
        }
        for put in join_all(puts).await {
            put.expect("a put does not panic").unwrap();
        }
        assert!(is_whole(&get(&*storage, "a/x").await), "objects were mixed");
    }

    pub async fn a_put_that_is_dropped_leaves_no_half_object(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let (old, new) = (noise(1, 2_000_000), noise(2, 2_000_000));
        for micros in [0, 50, 200, 500, 1000, 2000, 5000] {
            put(&*storage, "a/x", &old).await;
            let name = key("a/x");
            let replace = storage.put(&name, Bytes::copy_from_slice(&new), PutMode::Overwrite);
            let _ = tokio::time::timeout(std::time::Duration::from_micros(micros), replace).await;
            let read = get(&*storage, "a/x").await;
            assert!(read == old || read == new, "half an object after {micros} microseconds");
            assert_eq!(keys(&*storage, &Key::ROOT).await, BTreeSet::from([key("a/x")]));
            // A put that goes on unseen is over before the next round.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }

    pub async fn what_has_returned_survives_a_power_cut(fixture: &dyn StorageFixture) {
        let storage = fixture.empty().await;
        let expect = async |what: &str, expected: &[(&str, &[u8])]| {
            if !fixture.cut_power().await {
                eprintln!("NOT TESTED: nobody can cut the power of this storage");
                return false;
            }
            let there: BTreeSet<Key> = expected.iter().map(|(name, _)| key(name)).collect();
            assert_eq!(keys(&*storage, &Key::ROOT).await, there, "after {what}");
            for (name, bytes) in expected {
                assert_eq!(get(&*storage, name).await, *bytes, "{name} after {what}");
            }
            true
        };
        put(&*storage, "a/x", b"first").await;
        if !expect("a put", &[("a/x", b"first")]).await {
            return;
        }
        put(&*storage, "a/x", b"second").await;
        expect("a put over another", &[("a/x", b"second")]).await;
        let mut writer = storage.writer(&key("b/y")).await.unwrap();
        writer.write(Bytes::from_static(b"written")).await.unwrap();
        writer.finish().await.unwrap();
        expect("the end of a writer", &[("a/x", b"second"), ("b/y", b"written")]).await;
        storage.delete(&key("a/x")).await.unwrap();
        expect("a delete", &[("b/y", b"written")]).await;
    }
}

pub use cases::*;
