//! Chunks on their way into a repository (or an archive). The way back is [`read`].

mod read;

pub(crate) use read::ChunkReader;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit};

use crate::block::{ChunkEncoder, MAX_CHUNK_BYTES, RawChunk, TableHints, decode_chunk};
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::pool::Pool;
use crate::progress::Event;
use crate::repository::{BackupId, ChunkEntry, Hash32, Known, Pending, Repository, Sealer};
use crate::storage::{PutMode, Storage};

/// Where a [`ChunkStore`] puts chunks.
#[async_trait]
pub(crate) trait ChunkSink: Send + Sync {
    /// The chunk `id`, if it is there already and can be relied on.
    async fn find(&self, ctx: &Ctx, id: &Hash32) -> Result<Option<ChunkEntry>>;

    /// Makes a chunk durable, unless another backup has just stored it: encoded otherwise perhaps, and already named by a manifest.
    /// Returns what is there.
    async fn put(&self, ctx: &Ctx, entry: &ChunkEntry, stored: Bytes) -> Result<ChunkEntry>;

    /// Tidies up when a manifest names what was put.
    async fn committed(&self) -> Result<()>;

    /// Takes `entries` for known: backups vouch for them. They are looked for before they are relied on.
    fn learn(&self, entries: Vec<ChunkEntry>);
}

/// Turns chunks into stored objects: names them, leaves out what is there, encodes, proves by decoding, seals, stores.
pub(crate) struct ChunkStore {
    sink: Arc<dyn ChunkSink>,
    key: [u8; 32],
    encoder: Arc<ChunkEncoder>,
    sealer: Option<Sealer>,
    /// Who may encode: as many at once as there are jobs, which bounds time and memory. Storing is not counted.
    encoding: Semaphore,
    /// Every chunk of this backup, so that none is stored twice however often it occurs.
    chunks: Mutex<HashMap<Hash32, Arc<OnceCell<ChunkEntry>>>>,
    stored_size: AtomicU64,
    new_size: AtomicU64,
}

impl ChunkStore {
    /// A store of the chunks of `backup` in `repository`, named and sealed as its chunks are.
    pub(crate) fn new(
        repository: &Repository,
        backup: &BackupId,
        known: Known,
        encoder: ChunkEncoder,
        jobs: usize,
    ) -> Result<Self> {
        let key = repository.chunk_key()?;
        let seal = repository.seal()?;
        let sealer = seal.as_ref().map(|seal| seal.sealer.clone());
        let pending = seal.map(|seal| Pending::new(repository, backup, seal));
        let storage = Arc::clone(repository.storage());
        Ok(Self {
            sink: Arc::new(RepositorySink { storage, key, pending, known: RwLock::new(known) }),
            key,
            encoder: Arc::new(encoder),
            sealer,
            // One more, since each waits in between for what the storage says.
            encoding: Semaphore::new(jobs.max(1) + 1),
            chunks: Mutex::default(),
            stored_size: AtomicU64::new(0),
            new_size: AtomicU64::new(0),
        })
    }

    /// Forgets what was found to be there, and looks for it again before it is relied on: between two leases it may go.
    pub(crate) fn look_again(&self) {
        let found = std::mem::take(&mut *self.chunks.lock().unwrap_or_else(PoisonError::into_inner));
        self.sink.learn(found.into_values().filter_map(|cell| cell.get().copied()).collect());
    }

    /// The key of chunk ids and cuts.
    pub(crate) fn key(&self) -> &[u8; 32] {
        &self.key
    }

    /// The stored size of all chunks so far, and of those that were new.
    pub(crate) fn sizes(&self) -> (u64, u64) {
        (self.stored_size.load(Ordering::Relaxed), self.new_size.load(Ordering::Relaxed))
    }

    /// Stores a chunk, unless it is there. `hints` are those of the table of each segment.
    pub(crate) async fn put(
        &self,
        ctx: &Ctx,
        chunk: RawChunk,
        hints: Vec<Arc<TableHints>>,
    ) -> Result<ChunkEntry> {
        let turn = ctx.run(async { self.encoding.acquire().await.map_err(|_| Error::cancelled()) }).await?;
        let key = self.key;
        let (chunk, id) = ctx
            .blocking(move || {
                let id = Hash32(chunk.hash(&key));
                Ok((chunk, id))
            })
            .await?;
        let cell = {
            let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(chunks.entry(id).or_default())
        };
        cell.get_or_try_init(|| self.put_first(ctx, turn, id, chunk, hints)).await.copied()
    }

    /// Tidies up when a manifest names what was put. The backup stands whatever comes of it.
    pub(crate) async fn committed(&self, ctx: &Ctx) {
        if let Err(error) = ctx.run(self.sink.committed()).await {
            ctx.warn(format!("a record of what was stored stays until it is pruned: {error}"));
        }
    }

    /// Makes a chunk of another backup one of this one too. Errors: `Damaged` if it is not there any more.
    pub(crate) async fn keep(&self, ctx: &Ctx, entry: &ChunkEntry) -> Result<()> {
        let found = ctx.run(self.sink.find(ctx, &entry.id)).await?;
        if found.is_none_or(|found| found != *entry) {
            return Err(damaged(entry, "is missing, or not what was stored"));
        }
        let stored = u64::from(entry.stored_size);
        self.stored_size.fetch_add(stored, Ordering::Relaxed);
        ctx.emit(Event::ChunkStored { raw: u64::from(entry.raw_size), stored, new: false });
        Ok(())
    }

    /// Stores a chunk as another repository that names it alike has it, unless it is there. `fetch` reads and checks its stored bytes.
    pub(crate) async fn put_stored(
        &self,
        ctx: &Ctx,
        entry: &ChunkEntry,
        fetch: impl Future<Output = Result<Bytes>>,
    ) -> Result<ChunkEntry> {
        let cell = {
            let mut chunks = self.chunks.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(chunks.entry(entry.id).or_default())
        };
        let put = async {
            let found = ctx.run(self.sink.find(ctx, &entry.id)).await?;
            let new = found.is_none();
            let entry = match found {
                Some(entry) => entry,
                None => {
                    let put = self.sink.put(ctx, entry, fetch.await?);
                    ctx.run(put).await.during(|| format!("store chunk {}", entry.id))?
                }
            };
            let (raw, stored) = (u64::from(entry.raw_size), u64::from(entry.stored_size));
            ctx.emit(Event::ChunkStored { raw, stored, new });
            Ok(entry)
        };
        cell.get_or_try_init(|| put).await.copied()
    }

    async fn put_first(
        &self,
        ctx: &Ctx,
        turn: SemaphorePermit<'_>,
        id: Hash32,
        chunk: RawChunk,
        hints: Vec<Arc<TableHints>>,
    ) -> Result<ChunkEntry> {
        let raw = chunk.bytes.len() as u64;
        let found = ctx.run(self.sink.find(ctx, &id)).await?;
        let new = found.is_none();
        let entry = match found {
            Some(entry) => entry,
            None => {
                let (encoder, sealer) = (Arc::clone(&self.encoder), self.sealer.clone());
                let encode = move || encode(&encoder, sealer.as_ref(), id, chunk, &hints);
                let (entry, stored) = ctx.blocking(encode).await?;
                drop(turn);
                ctx.run(self.sink.put(ctx, &entry, stored)).await.during(|| format!("store chunk {id}"))?
            }
        };
        let stored = u64::from(entry.stored_size);
        self.stored_size.fetch_add(stored, Ordering::Relaxed);
        self.new_size.fetch_add(if new { stored } else { 0 }, Ordering::Relaxed);
        ctx.emit(Event::ChunkStored { raw, stored, new });
        Ok(entry)
    }
}

/// Encodes a chunk and decodes it again: what does not come back is not stored. Then seals it, if it is to be sealed.
fn encode(
    encoder: &ChunkEncoder,
    sealer: Option<&Sealer>,
    id: Hash32,
    chunk: RawChunk,
    hints: &[Arc<TableHints>],
) -> Result<(ChunkEntry, Bytes)> {
    let mut stored = Stored(STORED.take().unwrap_or_default());
    encoder.encode(&chunk, hints, &mut stored.0)?;
    let again = decode_chunk(&stored.0)?;
    let comes_back = again == chunk;
    again.recycle();
    if !comes_back {
        return Err(Error::internal(format!(
            "chunk {id} was encoded to something that does not decode to it"
        )));
    }
    if let Some(sealer) = sealer {
        let sealed = sealer.seal(&stored.0)?;
        stored.0 = sealed;
    }
    let size = |bytes: usize| {
        u32::try_from(bytes).map_err(|_| Error::internal(format!("chunk {id} is larger than 4 GiB")))
    };
    let entry = ChunkEntry {
        id,
        stored_hash: Hash32::of(&stored.0),
        stored_size: size(stored.0.len())?,
        raw_size: size(chunk.bytes.len())?,
    };
    chunk.recycle();
    Ok((entry, Bytes::from_owner(stored)))
}

/// Memory of stored chunks, used again once the storage is done with one.
static STORED: Pool<Vec<u8>> = Pool::new();

struct Stored(Vec<u8>);

impl AsRef<[u8]> for Stored {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.0.clear();
        STORED.give(std::mem::take(&mut self.0));
    }
}

/// A chunk is stored in fewer bytes than this, whatever is in it.
const STORED_MAX: u64 = 4 * MAX_CHUNK_BYTES as u64;
/// How often a damaged chunk is tried to be mended, when others do so too.
const MENDS: usize = 5;

/// Chunks in a repository, of which some are known from the backups that have them.
pub(crate) struct RepositorySink {
    storage: Arc<dyn Storage>,
    key: [u8; 32],
    known: RwLock<Known>,
    /// What is about to be stored, where it is sealed.
    pending: Option<Pending>,
}

impl RepositorySink {
    fn is_sealed(&self) -> bool {
        self.pending.is_some()
    }

    /// The chunk `id` as it lies there, if it is whole. No manifest vouches for it, so it is read and proven before it is used.
    async fn prove(&self, ctx: &Ctx, id: &Hash32) -> Result<Option<ChunkEntry>> {
        let object = id.key("chunks")?;
        let stored = match self.storage.get_at_most(&object, STORED_MAX).await {
            Ok(stored) => stored,
            // It will be stored anew.
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let (id, key) = (*id, self.key);
        ctx.blocking(move || {
            let Ok(chunk) = decode_chunk(&stored) else { return Ok(None) };
            let intact = chunk.hash(&key) == id.0;
            let sizes = u32::try_from(stored.len()).ok().zip(u32::try_from(chunk.bytes.len()).ok());
            Ok(sizes.filter(|_| intact).map(|(stored_size, raw_size)| ChunkEntry {
                id,
                stored_hash: Hash32::of(&stored),
                stored_size,
                raw_size,
            }))
        })
        .await
    }
}

#[async_trait]
impl ChunkSink for RepositorySink {
    async fn find(&self, ctx: &Ctx, id: &Hash32) -> Result<Option<ChunkEntry>> {
        let sealed = self.is_sealed();
        let (candidates, is_known) = {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            (known.candidates(id).copied().collect::<Vec<_>>(), known.chunks.contains_key(id))
        };
        for known in candidates {
            let meta = self.storage.head(&known.key(sealed)?).await?;
            // One that has lost bytes is written again.
            if meta.is_some_and(|meta| u64::from(known.stored_size) == meta.size) {
                return Ok(Some(known));
            }
        }
        // Whoever seals cannot read, so what is there and nobody vouches for is sent again. Others prove it.
        if sealed || is_known { Ok(None) } else { self.prove(ctx, id).await }
    }

    fn learn(&self, entries: Vec<ChunkEntry>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.chunks.extend(entries.into_iter().map(|entry| (entry.id, entry)));
    }

    async fn put(&self, ctx: &Ctx, entry: &ChunkEntry, stored: Bytes) -> Result<ChunkEntry> {
        let object = entry.key(self.is_sealed())?;
        if let Some(pending) = &self.pending {
            pending.note(entry).await?;
        }
        match self.storage.put(&object, stored.clone(), PutMode::Create).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            done => return done.map(|_| *entry),
        }
        if self.is_sealed() {
            // One of another encoding has another name, so these are the right bytes.
            return self.storage.put(&object, stored, PutMode::Overwrite).await.map(|_| *entry);
        }
        for _ in 0..MENDS {
            let there = self.storage.head(&object).await?;
            if let Some(found) = self.prove(ctx, &entry.id).await? {
                return Ok(found);
            }
            // It is damaged, so this mends it: unless another backup has done so meanwhile, otherwise encoded perhaps, and relies on it.
            let mode = there.map_or(PutMode::Create, |there| PutMode::Update(there.version));
            match self.storage.put(&object, stored.clone(), mode).await {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                done => return done.map(|_| *entry),
            }
        }
        Err(damaged(entry, "is damaged, and somebody else keeps writing it"))
    }

    async fn committed(&self) -> Result<()> {
        match &self.pending {
            Some(pending) => pending.remove().await,
            None => Ok(()),
        }
    }
}

fn damaged(entry: &ChunkEntry, what: &str) -> Error {
    Error::damaged(format!("chunk {} {what}", entry.id))
        .hint("delete that file and back up again: the new backup is whole; `lifeboat check` says whether this one is too then")
}

#[cfg(test)]
mod tests;
