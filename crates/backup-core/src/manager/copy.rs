//! Copies: backups into another repository, which then has them too. Only what is missing there is sent.
//!
//! A backup keeps its id, its place in the order and its chain, so what continues it there continues the same; and whatever it
//! continues is copied before it. Chunks go over as they are stored where both repositories name them alike, which those made from one
//! another with file tools do. Otherwise they are decoded, cut and named as the other one would, so that it shares them with backups
//! of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, stream};

use super::BackupManager;
use super::backup::{Stored, record};
use super::dump::ChunkDump;
use super::export::Stock;
use super::open::Parts;
use crate::block::ChunkEncoder;
use crate::chain::Chains;
use crate::chunks::{ChunkReader, ChunkStore};
use crate::codec::{Codec, codec};
use crate::context::Ctx;
use crate::cut::CutKeys;
use crate::engine::BackupSession;
use crate::error::{During, Error, ErrorKind, Result};
use crate::info::{CopiedBackup, CopyReport};
use crate::options::BackupRef;
use crate::part::Part;
use crate::progress::{Event, Progress, Stage};
use crate::repository::{
    BackupId, ChunkEntry, FileRecord, Hash32, Header, Lease, Manifest, PartRecord, Purpose, Repository,
};

/// How much of a single file is held at once.
const PIECE: u64 = 4 << 20;

impl BackupManager {
    /// Copies `backups`, or all there are if none is named, with everything that they continue, into the repository of `to`, which is made
    /// if its place is empty. Those that are there already are left alone. Chunks that have to be written anew are written with the
    /// codec of `to`; what is copied is verified there, unless the configuration of `to` says otherwise.
    ///
    /// Errors: `AlreadyExists` if there is another backup of the same id. After an error, or when it is cancelled, what was copied completely
    /// stays; copying again sends only the rest.
    pub async fn copy(&self, to: &Self, backups: &[BackupRef]) -> Result<CopyReport> {
        let source = self.repository().await?;
        let lease = self.lease(&source, Purpose::Export).await?;
        let copied = self.under(&lease).copy_now(source, to, backups).await;
        lease.end(copied).await
    }

    async fn copy_now(&self, source: Repository, to: &Self, backups: &[BackupRef]) -> Result<CopyReport> {
        let encoder = ChunkEncoder { codec: codec(&to.config.codec)?, level: to.config.level };
        let headers = source.headers(&self.ctx).await?;
        let wanted = self.wanted(&source, &headers, backups).await?;
        let there = self.ctx.run(Repository::open_or_init(to.storage(true)?, &to.keys)).await;
        let there = there.during(|| to.place("open the repository"))?;
        self.ctx.emit(Event::Stage(Stage::Copy));
        let before = there.headers(&self.ctx).await?;
        let known = there.known_chunks(&self.ctx, &before).await?;
        let store = Arc::new(ChunkStore::new(&there, known, encoder.clone(), to.config.jobs)?);
        let sealed = source.is_sealed() || there.is_sealed();
        let alike = !sealed && source.chunk_key()? == *store.key();
        let copy =
            Copy { source, there, store, codec: encoder.codec, alike, sealed, jobs: to.config.jobs.max(1) };
        let to = to.clone().with_context(self.ctx.clone());
        let before: HashMap<_, _> = before.iter().map(|header| (&header.id, header)).collect();
        let mut report = CopyReport::default();
        for header in wanted {
            if let Some(other) = before.get(&header.id) {
                refuse_other(&header, other)?;
                report.there.push(header.id);
                continue;
            }
            let id = header.id.clone();
            // There it is a backup that is being made.
            let lease = to.lease(&copy.there, Purpose::Backup(id.clone())).await?;
            let one = async {
                let copied = copy.one(&lease, header).await.during(|| format!("copy {id}"))?;
                if to.config.verify {
                    let verified = to.under(&lease).verify_now(&BackupRef::from(&id)).await;
                    verified.during(|| format!("verify the copy of {id}"))?;
                }
                Ok(copied)
            };
            // Boxed: it is large.
            let one = Box::pin(one).await;
            report.copied.push(lease.end(one).await?);
        }
        Ok(report)
    }

    /// The headers of what is to be copied, each behind what it continues.
    async fn wanted(
        &self,
        source: &Repository,
        headers: &[Header],
        backups: &[BackupRef],
    ) -> Result<Vec<Header>> {
        let chains = Chains::new(headers);
        let mut named: Vec<Header> = Vec::new();
        for backup in backups {
            named.push(self.resolve(source, backup, headers).await?);
        }
        let named: BTreeSet<&BackupId> = named.iter().map(|header| &header.id).collect();
        let mut wanted = Vec::new();
        let mut taken: BTreeSet<&BackupId> = BTreeSet::new();
        for header in headers.iter().filter(|header| backups.is_empty() || named.contains(&header.id)) {
            let path = chains.path(header).during(|| format!("copy {}", header.id))?;
            wanted.extend(path.into_iter().filter(|member| taken.insert(&member.id)).cloned());
        }
        Ok(wanted)
    }
}

/// One id is one backup: what is there under it must be the same.
fn refuse_other(header: &Header, other: &Header) -> Result<()> {
    let same = |header: &Header| {
        let what = (header.engine.clone(), header.database.clone(), header.backup_type, header.format);
        (what, header.started, header.ordinal, header.rows, header.raw_size, header.parent.clone())
    };
    if same(header) == same(other) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::AlreadyExists, format!("there is another backup {} there", header.id))
        .hint("one of the two was made up or damaged: `lifeboat show` both"))
}

struct Copy {
    source: Repository,
    there: Repository,
    store: Arc<ChunkStore>,
    codec: Arc<dyn Codec>,
    /// Whether both name chunks alike.
    alike: bool,
    /// Whether one of them is sealed.
    sealed: bool,
    jobs: usize,
}

impl Copy {
    async fn one(&self, lease: &Lease, header: Header) -> Result<CopiedBackup> {
        let watcher = Arc::clone(lease.ctx().progress());
        let sent = Arc::new(Sent { watcher, chunks: 0.into(), bytes: 0.into() });
        let ctx = &lease.ctx().clone().with_progress(Arc::clone(&sent) as Arc<dyn Progress>);
        let mut manifest = self.source.manifest(ctx, &header.id).await?;
        let chunks = self.source.chunks(ctx, &manifest).await?;
        let parts = self.source.parts(ctx, &manifest, &chunks).await?;
        manifest.header.repository.clone_from(&self.there.config().id);
        let mut file_sent = 0;
        let entries = match &header.file {
            Some(_) if self.sealed => {
                let message = "it is a single file, which is not copied from or to a sealed repository yet";
                return Err(Error::unsupported(message)
                    .hint("name the binary backups, or export this one and keep the file"));
            }
            Some(file) => {
                self.file(ctx, file).await?;
                file_sent = file.size;
                record(ctx, &self.there, &self.store, &mut manifest, Stored { parts, chunks: Vec::new() })
                    .await?;
                Vec::new()
            }
            None if self.alike => self.as_they_are(ctx, &mut manifest, &chunks).await?,
            None => self.named_anew(ctx, &mut manifest, parts, chunks).await?,
        };
        let chunks_sent = sent.chunks.load(Ordering::Relaxed);
        let bytes_sent = sent.bytes.load(Ordering::Relaxed) + file_sent;
        let header = &mut manifest.header;
        header.new_size = bytes_sent;
        if header.file.is_none() {
            let distinct: HashMap<_, _> = entries.iter().map(|entry| (entry.id, entry.stored_size)).collect();
            header.stored_size = distinct.values().map(|size| u64::from(*size)).sum();
        }
        let committed = lease.commit(&self.there, &mut manifest, &*self.codec).await;
        if committed.is_err()
            && let Some(file) = &manifest.header.file
        {
            // Nothing names it, and the error that led here is the one that counts.
            let _ = self.there.storage().delete(&file.key.parse()?).await;
        }
        committed?;
        let header = manifest.header;
        let size = header.stored_size;
        Ok(CopiedBackup { backup: header.id, size, chunks: entries.len() as u64, chunks_sent, bytes_sent })
    }

    /// Sends the chunks that are not there, as they are stored.
    async fn as_they_are(
        &self,
        ctx: &Ctx,
        manifest: &mut Manifest,
        chunks: &ChunkReader,
    ) -> Result<Vec<ChunkEntry>> {
        let sends = stream::iter(0..chunks.entries().len() as u32).map(|place| {
            let entry = chunks.entries()[place as usize];
            async move { self.store.put_stored(ctx, &entry, chunks.fetch(ctx, place)).await }
        });
        // In order: the places in the lists are what parts name.
        let entries: Vec<ChunkEntry> = sends.buffered(self.jobs).boxed().try_collect().await?;
        manifest.header.lists = ctx.run(self.there.store_lists(&entries)).await?;
        Ok(entries)
    }

    /// Decodes everything, and stores it as a backup made there would have been stored.
    async fn named_anew(
        &self,
        ctx: &Ctx,
        manifest: &mut Manifest,
        records: Vec<PartRecord>,
        chunks: ChunkReader,
    ) -> Result<Vec<ChunkEntry>> {
        let parts: Arc<[Part]> = records.iter().map(|record| record.part.clone()).collect();
        let stock = Stock { source: Parts::Chunks(chunks), records: records.clone() };
        let session: Arc<Box<dyn BackupSession>> = Arc::new(Box::new(stock));
        let keys = CutKeys::derive(self.store.key());
        let dump = ChunkDump { session, keys, parts, store: Arc::clone(&self.store) };
        let copied: Stored = Arc::new(dump).run(ctx, self.jobs).await?;
        let mut stored = Stored { parts: records, chunks: copied.chunks };
        // Everything that is known of a part stays as it is, but for where it lies.
        for (record, copied) in stored.parts.iter_mut().zip(copied.parts) {
            if (copied.part.id, copied.digest, copied.bytes) != (record.part.id, record.digest, record.bytes)
            {
                return Err(Error::internal(format!("{} is not what was read", record.part.object)));
            }
            record.spans = copied.spans;
        }
        self.codec.name().clone_into(&mut manifest.header.codec);
        record(ctx, &self.there, &self.store, manifest, stored).await?;
        let chunks = self.there.entries(ctx, &manifest.header).await?;
        Ok(chunks)
    }

    /// Sends a single file, which is visible there only if every byte of it is what was stored.
    async fn file(&self, ctx: &Ctx, file: &FileRecord) -> Result<()> {
        let key = file.key.parse()?;
        let mut writer = ctx.run(self.there.storage().writer(&key)).await?;
        let mut hasher = blake3::Hasher::new();
        let mut position = 0;
        while position < file.size {
            let end = (position + PIECE).min(file.size);
            let piece = ctx.run(self.source.storage().get(&key, Some(position..end))).await?;
            hasher.update(&piece);
            ctx.emit(Event::Advanced { rows: 0, bytes: piece.len() as u64 });
            ctx.run(writer.write(piece)).await?;
            position = end;
        }
        if Hash32(*hasher.finalize().as_bytes()) != file.hash {
            let hint = "copy others by their ids; `lifeboat check --read-data` finds all that is damaged";
            return Err(Error::damaged(format!("{key} is not what was stored")).hint(hint));
        }
        ctx.run(writer.finish()).await.map(drop)
    }
}

/// Counts what is sent.
struct Sent {
    watcher: Arc<dyn Progress>,
    chunks: AtomicU64,
    bytes: AtomicU64,
}

impl Progress for Sent {
    fn event(&self, event: Event<'_>) {
        if let Event::ChunkStored { stored, new: true, .. } = event {
            self.chunks.fetch_add(1, Ordering::Relaxed);
            self.bytes.fetch_add(stored, Ordering::Relaxed);
        }
        self.watcher.event(event);
    }
}
