//! Objects that are damaged on purpose.

use std::collections::BTreeSet;

use backup_core::storage::{Key, PutMode, Storage};
use bytes::Bytes;
use futures::stream::TryStreamExt;

/// Everything below `prefix` ([`Key::ROOT`] for all), sorted.
pub async fn keys(storage: &dyn Storage, prefix: &Key) -> BTreeSet<Key> {
    storage.list(prefix).map_ok(|meta| meta.key).try_collect().await.expect("the storage lists its objects")
}

/// Flips one bit of the byte at `at` of an object. Doing it again mends it.
pub async fn flip(storage: &dyn Storage, key: &Key, at: usize) {
    let mut bytes = read(storage, key).await.to_vec();
    bytes[at] ^= 0x20;
    replace(storage, key, bytes).await;
}

/// Cuts an object off behind its first `length` bytes.
pub async fn truncate(storage: &dyn Storage, key: &Key, length: usize) {
    let mut bytes = read(storage, key).await.to_vec();
    bytes.truncate(length);
    replace(storage, key, bytes).await;
}

/// Gives two objects each other's contents.
pub async fn swap(storage: &dyn Storage, one: &Key, other: &Key) {
    let (first, second) = (read(storage, one).await, read(storage, other).await);
    replace(storage, one, second).await;
    replace(storage, other, first).await;
}

/// Gives `other`, whether it is there or not, the contents of `one`.
pub async fn duplicate(storage: &dyn Storage, one: &Key, other: &Key) {
    replace(storage, other, read(storage, one).await).await;
}

/// Removes an object that is there.
pub async fn remove(storage: &dyn Storage, key: &Key) {
    assert!(
        storage.head(key).await.expect("the storage answers").is_some(),
        "{key} is not there to be removed"
    );
    storage.delete(key).await.expect("the object goes");
}

async fn read(storage: &dyn Storage, key: &Key) -> Bytes {
    storage.get(key, None).await.expect("the object is there")
}

async fn replace(storage: &dyn Storage, key: &Key, bytes: impl Into<Bytes>) {
    storage.put(key, bytes.into(), PutMode::Overwrite).await.expect("the object is replaced");
}
