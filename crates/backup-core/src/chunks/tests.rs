use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::block::{Segment, SegmentKind};
use crate::codec::{Codec, Level, NoCompression};
use crate::part::{Object, Part, Phase};
use crate::reader::Item;
use crate::repository::{Keys, PartRecord, Span};
use crate::rows::RowDigest;
use crate::storage::{MemoryStorage, Throttled};

const SIZE: usize = 10_000;

/// A new repository, as `through` shows its storage.
async fn repository<S: Storage>(through: impl FnOnce(Arc<MemoryStorage>) -> Arc<S>) -> Repository {
    let memory = Arc::new(MemoryStorage::new());
    Repository::init(memory.clone(), None, &[]).await.unwrap();
    Repository::open(through(memory), &Keys::default()).await.unwrap()
}

/// That of a backup which knows of no other.
fn store(repository: &Repository, codec: Arc<dyn Codec>) -> ChunkStore {
    let id = BackupId::new(chrono::Utc::now()).unwrap();
    let encoder = ChunkEncoder { codec, level: Level::default() };
    ChunkStore::new(repository, &id, Known::default(), encoder, 1).unwrap()
}

/// Stores a chunk of two segments, all of whose bytes are `byte`.
async fn put(store: &ChunkStore, byte: u8) -> ChunkEntry {
    let pieces = [0..SIZE / 2, SIZE / 2..SIZE];
    let segments = pieces.map(|bytes| Segment { kind: SegmentKind::Bytes, bytes, rows: 0..0 });
    let chunk = RawChunk { bytes: vec![byte; SIZE], ends: Vec::new(), segments: segments.to_vec() };
    store.put(&Ctx::new(), chunk, vec![Arc::default(); 2]).await.unwrap()
}

fn part(number: u32, spans: Vec<Span>) -> PartRecord {
    let part = Part::bytes(number, Phase::Data, Object::new("table", number.to_string()));
    PartRecord { spans, ..PartRecord::new(part, RowDigest::default(), 0) }
}

/// A loader that takes one part at a time is among those who read: SQLite's.
#[tokio::test(start_paused = true)]
async fn a_part_that_nobody_takes_holds_up_no_other_part_of_its_chunks() {
    // Each chunk takes a second, so that the third is under way when the second is there.
    let repository = repository(|memory| Arc::new(Throttled::new(memory, SIZE as u64))).await;
    let store = store(&repository, Arc::new(NoCompression));
    let mut entries = Vec::new();
    for byte in 0..3 {
        entries.push(put(&store, byte).await);
    }
    let (reader, ctx) = (ChunkReader::new(&repository, Some(*store.key()), entries), Ctx::new());
    let waiting = reader.open(&ctx, &part(1, vec![Span(0, 0, 2), Span(1, 0, 2), Span(2, 0, 1)]));
    tokio::time::sleep(Duration::from_millis(2500)).await;
    let mut read = reader.open(&ctx, &part(2, vec![Span(2, 1, 1)]));
    let item = tokio::time::timeout(Duration::from_secs(3600), read.next()).await;
    let expected = vec![2; SIZE / 2];
    assert_eq!(item.expect("it does not wait for the other part").unwrap(), Some(Item::Bytes(&expected)));
    drop(waiting);
}

/// Between two leases prune may have taken it.
#[tokio::test]
async fn what_was_stored_under_another_lease_is_looked_for_again() {
    let repository = repository(|memory| memory).await;
    let (storage, store) = (repository.storage(), store(&repository, Arc::new(NoCompression)));
    let key = put(&store, 7).await.key(false).unwrap();
    store.look_again();
    put(&store, 7).await;
    let (_, new) = store.sizes();
    storage.delete(&key).await.unwrap();
    store.look_again();
    put(&store, 7).await;
    assert!(storage.head(&key).await.unwrap().is_some(), "it is relied on and not there");
    assert_eq!(store.sizes().1, 2 * new, "what is there was stored again");
}

#[cfg(feature = "zstd")]
#[tokio::test]
async fn two_that_mend_one_chunk_have_the_same() {
    let repository = repository(|memory| memory).await;
    let storage = repository.storage();
    let stores = || {
        let zstd = crate::codec::codec("zstd").unwrap();
        (store(&repository, Arc::new(NoCompression)), store(&repository, zstd))
    };
    let key = put(&stores().0, 7).await.key(false).unwrap();
    for _ in 0..50 {
        storage.put(&key, "damaged".into(), PutMode::Overwrite).await.unwrap();
        let (plain, zstd) = stores();
        let (one, other) = tokio::join!(put(&plain, 7), put(&zstd, 7));
        assert_eq!(one, other, "one of the two has a chunk that is not there");
        let stored = storage.get(&key, None).await.unwrap();
        assert_eq!(Hash32::of(&stored), one.stored_hash);
    }
}
