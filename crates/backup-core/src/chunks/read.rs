//! Reading the chunks of a backup.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::damaged;
use crate::block::{RawChunk, decode_chunk};
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::reader::{PartReader, Piece};
use crate::repository::{ChunkEntry, Hash32, PartRecord, Repository, Unsealer};
use crate::storage::Storage;

/// How many chunks ahead of the reader are fetched and decoded.
const READ_AHEAD: usize = 2;
/// How many chunks are kept decoded: those that are being loaded, and those that hold several parts.
const KEPT: usize = 8;

/// The chunks of one backup, to be read.
#[derive(Clone)]
pub(crate) struct ChunkReader(Arc<Reading>);

/// A chunk that is decoded once, however many wait for it.
type Decoded = Arc<OnceCell<Arc<RawChunk>>>;

struct Reading {
    storage: Arc<dyn Storage>,
    /// The key of chunk ids. Without it stored bytes can be checked, and not read.
    key: Option<[u8; 32]>,
    sealed: bool,
    unsealer: Option<Unsealer>,
    entries: Vec<ChunkEntry>,
    kept: Mutex<VecDeque<(u32, Decoded)>>,
}

impl ChunkReader {
    pub(crate) fn new(repository: &Repository, key: Option<[u8; 32]>, entries: Vec<ChunkEntry>) -> Self {
        Self(Arc::new(Reading {
            storage: Arc::clone(repository.storage()),
            key,
            sealed: repository.is_sealed(),
            unsealer: repository.access().unsealer.clone(),
            entries,
            kept: Mutex::default(),
        }))
    }

    pub(crate) fn entries(&self) -> &[ChunkEntry] {
        &self.0.entries
    }

    /// The entries, once nothing is read any more.
    pub(crate) fn into_entries(self) -> Vec<ChunkEntry> {
        Arc::try_unwrap(self.0).map_or_else(|shared| shared.entries.clone(), |reading| reading.entries)
    }

    /// A reader of the part `record`. Every chunk is checked before anything of it is given out.
    pub(crate) fn open(&self, ctx: &Ctx, record: &PartRecord) -> PartReader {
        let (sender, receiver) = mpsc::channel(1);
        let (reader, ctx_, spans) = (self.clone(), ctx.clone(), record.spans.clone());
        tokio::spawn(async move {
            let mut spans = spans.into_iter();
            let mut ahead = FuturesOrdered::new();
            loop {
                while ahead.len() < READ_AHEAD
                    && let Some(span) = spans.next()
                {
                    let (reader, ctx) = (reader.clone(), ctx_.clone());
                    // A task of its own: others may wait for this chunk, while nobody takes what this part has.
                    ahead.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
                        let segments = span.1 as usize..span.1 as usize + span.2 as usize;
                        let chunk = reader.chunk(&ctx, span.0, segments.len()).await?;
                        if segments.end > chunk.segments.len() {
                            return Err(Error::damaged("a part lies outside its chunk"));
                        }
                        Ok(Piece { chunk, segments })
                    })));
                }
                let Some(piece) = ahead.next().await else { return };
                let piece = piece.unwrap_or_else(|error| {
                    Err(Error::internal("reading a chunk did not end").because(error))
                });
                // Nobody listens any more: the part was dropped.
                if sender.send(piece).await.is_err() {
                    return;
                }
            }
        });
        PartReader::new(ctx, receiver, Some(record.digest))
    }

    /// The chunk at `place` of the lists, of which `wanted` segments are needed now.
    async fn chunk(&self, ctx: &Ctx, place: u32, wanted: usize) -> Result<Arc<RawChunk>> {
        let kept = || self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Shared from the start, so that parts of one chunk that are opened at once load it once.
        let cell = {
            let mut kept = kept();
            let found = kept.iter().find(|(kept, _)| *kept == place).map(|(_, cell)| Arc::clone(cell));
            found.unwrap_or_else(|| {
                let cell = Decoded::default();
                kept.push_back((place, Arc::clone(&cell)));
                if kept.len() > KEPT {
                    kept.pop_front();
                }
                cell
            })
        };
        let chunk = cell.get_or_try_init(|| async { self.load(ctx, place).await.map(Arc::new) }).await?;
        if wanted == chunk.segments.len() {
            kept().retain(|(kept, _)| *kept != place);
        }
        Ok(Arc::clone(chunk))
    }

    /// Fetches, checks, unseals and decodes the chunk at `place` of the lists.
    pub(crate) async fn load(&self, ctx: &Ctx, place: u32) -> Result<RawChunk> {
        let stored = self.fetch(ctx, place).await?;
        let entry = *self.entry(place)?;
        let locked = || Error::new(ErrorKind::MissingKey, format!("chunk {} cannot be read here", entry.id));
        let key = self.0.key.ok_or_else(locked)?;
        let unsealer = match (self.0.sealed, &self.0.unsealer) {
            (false, _) => None,
            (true, Some(unsealer)) => Some(unsealer.clone()),
            (true, None) => return Err(locked()),
        };
        ctx.blocking(move || {
            let unsealed =
                unsealer.map(|it| it.unseal(&stored, &format!("chunk {}", entry.id))).transpose()?;
            let chunk = decode_chunk(unsealed.as_deref().unwrap_or(&stored))
                .during(|| format!("decode chunk {}", entry.id))?;
            if chunk.hash(&key) != entry.id.0 {
                return Err(damaged(&entry, "does not hold what its name says"));
            }
            Ok(chunk)
        })
        .await
    }

    /// Fetches the chunk at `place` of the lists and checks the hash of its stored bytes.
    pub(crate) async fn fetch(&self, ctx: &Ctx, place: u32) -> Result<Bytes> {
        let entry = *self.entry(place)?;
        let stored = match ctx.run(self.0.storage.get(&entry.key(self.0.sealed)?, None)).await {
            Ok(stored) => stored,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(damaged(&entry, "is missing").because(error));
            }
            Err(error) => return Err(error),
        };
        ctx.blocking(move || {
            if stored.len() != entry.stored_size as usize || Hash32::of(&stored) != entry.stored_hash {
                return Err(damaged(&entry, "is not what was stored"));
            }
            Ok(stored)
        })
        .await
    }

    fn entry(&self, place: u32) -> Result<&ChunkEntry> {
        self.0
            .entries
            .get(place as usize)
            .ok_or_else(|| Error::damaged("a part names a chunk that is in no list"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::block::{ChunkEncoder, Segment, SegmentKind};
    use crate::chunks::ChunkStore;
    use crate::codec::{Level, NoCompression};
    use crate::part::{Object, Part, Phase};
    use crate::reader::Item;
    use crate::repository::{BackupId, Keys, Known, Span};
    use crate::rows::RowDigest;
    use crate::storage::{MemoryStorage, Throttled};

    const SIZE: usize = 10_000;

    fn part(number: u32, spans: Vec<Span>) -> PartRecord {
        let part = Part::bytes(number, Phase::Data, Object::new("table", number.to_string()));
        PartRecord { spans, ..PartRecord::new(part, RowDigest::default(), 0) }
    }

    /// A loader that takes one part at a time is among those who read: SQLite's.
    #[tokio::test(start_paused = true)]
    async fn a_part_that_nobody_takes_holds_up_no_other_part_of_its_chunks() {
        let (memory, ctx) = (Arc::new(MemoryStorage::new()), Ctx::new());
        Repository::init(memory.clone(), None, &[]).await.unwrap();
        // Each chunk takes a second, so that the third is under way when the second is there.
        let slow = Arc::new(Throttled::new(memory, SIZE as u64));
        let repository = Repository::open(slow, &Keys::default()).await.unwrap();
        let encoder = ChunkEncoder { codec: Arc::new(NoCompression), level: Level::default() };
        let id = BackupId::new(chrono::Utc::now()).unwrap();
        let store = ChunkStore::new(&repository, &id, Known::default(), encoder, 1).unwrap();
        let mut entries = Vec::new();
        for byte in 0..3 {
            let pieces = [0..SIZE / 2, SIZE / 2..SIZE];
            let segments = pieces.map(|bytes| Segment { kind: SegmentKind::Bytes, bytes, rows: 0..0 });
            let chunk = RawChunk { bytes: vec![byte; SIZE], ends: Vec::new(), segments: segments.to_vec() };
            entries.push(store.put(&ctx, chunk, vec![Arc::default(); 2]).await.unwrap());
        }
        let reader = ChunkReader::new(&repository, Some(*store.key()), entries);
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
        let (memory, ctx) = (Arc::new(MemoryStorage::new()), Ctx::new());
        Repository::init(memory.clone(), None, &[]).await.unwrap();
        let repository = Repository::open(memory.clone(), &Keys::default()).await.unwrap();
        let encoder = ChunkEncoder { codec: Arc::new(NoCompression), level: Level::default() };
        let id = BackupId::new(chrono::Utc::now()).unwrap();
        let store = ChunkStore::new(&repository, &id, Known::default(), encoder, 1).unwrap();
        let put = async || {
            let segment = Segment { kind: SegmentKind::Bytes, bytes: 0..SIZE, rows: 0..0 };
            let chunk = RawChunk { bytes: vec![7; SIZE], ends: Vec::new(), segments: vec![segment] };
            store.put(&ctx, chunk, vec![Arc::default()]).await.unwrap()
        };
        let key = put().await.key(false).unwrap();
        store.look_again();
        put().await;
        let (_, new) = store.sizes();
        memory.delete(&key).await.unwrap();
        store.look_again();
        put().await;
        assert!(memory.head(&key).await.unwrap().is_some(), "it is relied on and not there");
        assert_eq!(store.sizes().1, 2 * new, "what is there was stored again");
    }
    #[cfg(feature = "zstd")]
    #[tokio::test]
    async fn two_that_mend_one_chunk_have_the_same() {
        let (memory, ctx) = (Arc::new(MemoryStorage::new()), Ctx::new());
        Repository::init(memory.clone(), None, &[]).await.unwrap();
        let repository = Repository::open(memory.clone(), &Keys::default()).await.unwrap();
        let put = async |codec: Arc<dyn crate::codec::Codec>| {
            let id = BackupId::new(chrono::Utc::now()).unwrap();
            let encoder = ChunkEncoder { codec, level: Level::default() };
            let store = ChunkStore::new(&repository, &id, Known::default(), encoder, 1).unwrap();
            let segment = Segment { kind: SegmentKind::Bytes, bytes: 0..SIZE, rows: 0..0 };
            let chunk = RawChunk { bytes: vec![7; SIZE], ends: Vec::new(), segments: vec![segment] };
            store.put(&ctx, chunk, vec![Arc::default()]).await.unwrap()
        };
        let zstd = || crate::codec::codec("zstd").unwrap();
        let key = put(Arc::new(NoCompression)).await.key(false).unwrap();
        for _ in 0..50 {
            memory.put(&key, "damaged".into(), crate::storage::PutMode::Overwrite).await.unwrap();
            let (one, other) = tokio::join!(put(Arc::new(NoCompression)), put(zstd()));
            assert_eq!(one, other, "one of the two has a chunk that is not there");
            let stored = memory.get(&key, None).await.unwrap();
            assert_eq!(Hash32::of(&stored), one.stored_hash);
        }
    }
}
