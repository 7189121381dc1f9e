//! Reading the chunks of a backup.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::{OnceCell, mpsc};
use tokio_util::task::AbortOnDropHandle;

use super::{STORED_MAX, damaged};
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
        let key = entry.key(self.0.sealed)?;
        let most = u64::from(entry.stored_size).min(STORED_MAX);
        let stored = match ctx.run(self.0.storage.get_at_most(&key, most)).await {
            Ok(stored) => stored,
            Err(error) => {
                return Err(match error.kind() {
                    ErrorKind::NotFound => damaged(&entry, "is missing").because(error),
                    ErrorKind::Damaged => damaged(&entry, "is not what was stored").because(error),
                    _ => error,
                });
            }
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
