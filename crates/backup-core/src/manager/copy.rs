//! Copies: backups into another repository, which then has them too. Only what is missing there is sent.
//!
//! A backup keeps its id, its place in the order and its chain, so what continues it there continues the same; and whatever it
//! continues is copied before it. Chunks go over as they are stored where both repositories name them alike, which those made from one
//! another with file tools do. Otherwise they are decoded, cut and named as the other one would, so that it shares them with backups
//! of its own; which, out of a sealed repository, takes an identity.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, stream};

use super::BackupManager;
use super::backup::{Stored, record};
use super::copy_as_it_is::AsItIs;
use super::copy_file::FileCopy;
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
    BackupId, ChunkEntry, Header, Lease, Manifest, PartRecord, Purpose, Recipient, Repository,
};

impl BackupManager {
    /// Copies `backups`, or all there are if none is named, with everything that they continue, into the repository of `to`, which is made
    /// if its place is empty. Those that are there already are left alone. Chunks that have to be written anew are written with the
    /// codec of `to`; what is copied is verified there, unless the configuration of `to` says otherwise.
    ///
    /// A sealed repository is opened as far as the keys of `self` go: to copy out of it needs an identity, except into a copy of it made with
    /// file tools, where bytes go over as they are. What is sealed is not copied into a place that is no repository yet, since nobody said whether it
    /// is to lie there in clear.
    ///
    /// Errors: `AlreadyExists` if there is another backup of the same id; `NoRepository`; `MissingKey`. After an error, or when it is cancelled, what was copied completely
    /// stays; copying again sends only the rest.
    pub async fn copy(&self, to: &Self, backups: &[BackupRef]) -> Result<CopyReport> {
        let source = self.repository().await?;
        let lease = self.lease(&source, Purpose::Export).await?;
        let copied = self.under(&lease).copy_now(source, to, backups).await;
        lease.end(copied).await
    }

    async fn copy_now(&self, source: Repository, to: &Self, backups: &[BackupRef]) -> Result<CopyReport> {
        let encoder = ChunkEncoder { codec: codec(&to.config.codec)?, level: to.config.level };
        let mut to = to.clone().with_context(self.ctx.clone());
        // What is given to read what is copied says nothing of where it goes.
        to.keys.may_be_unsealed = true;
        let headers = source.headers(&self.ctx).await?;
        let wanted = self.wanted(&source, &headers, backups).await?;
        let there = place_for(&source, &to).await?;
        self.ctx.emit(Event::Stage(Stage::Copy));
        let before = there.headers(&self.ctx).await?;
        let mut report = CopyReport::default();
        let (mut missing, mut present) = (Vec::new(), Vec::new());
        for header in wanted {
            match before.iter().find(|other| other.id == header.id) {
                Some(other) => {
                    refuse_other(&header, other)?;
                    present.push(other.clone());
                }
                None => missing.push(header),
            }
        }
        report.there.extend(to.verify_there(&there, present).await?);
        let Some(first) = missing.first() else { return Ok(report) };
        let jobs = to.config.jobs.max(1);
        let copy = match are_sealed_twins(&source, &there) {
            true => Way::AsItIs(AsItIs { source, there: there.clone(), jobs }),
            false => {
                let known = there.known_chunks(&self.ctx, &before).await?;
                let store = Arc::new(ChunkStore::new(&there, &first.id, known, encoder.clone(), jobs)?);
                let alike = !source.is_sealed() && source.chunk_key()? == *store.key();
                Way::Stored(Copy { source, there: there.clone(), store, codec: encoder.codec, alike, jobs })
            }
        };
        for header in missing {
            let id = header.id.clone();
            let to = match &copy {
                Way::AsItIs(_) => to.opening(&there, &header.recipients),
                Way::Stored(_) => {
                    to.opening(&there, &there.seal()?.map(|seal| seal.recipients).unwrap_or_default())
                }
            };
            if self.ctx.run(there.is_void(&id)).await? {
                let message = format!(
                    "an earlier copy of {id} was stopped for too long, and its place is kept from it"
                );
                return Err(Error::new(ErrorKind::Locked, message).hint(format!(
                    "prune frees the place after 30 days; if you know that no such process is left, remove manifests/{id} there, which is one line that says void"
                )));
            }
            // There it is a backup that is being made.
            let lease = to.lease(&there, Purpose::Backup(id.clone())).await?;
            // Somebody else may have copied it just now.
            if there.has(&id).await? {
                lease.end(Ok(())).await?;
                let (other, ..) = there.manifest_file(&self.ctx, &id).await?;
                refuse_other(&header, &other)?;
                report.there.extend(to.verify_there(&there, vec![other]).await?);
                continue;
            }
            let one = async {
                let copied = match &copy {
                    Way::AsItIs(copy) => copy.one(&lease, header).await,
                    Way::Stored(copy) => {
                        // What other leases protected may be gone.
                        copy.store.look_again();
                        copy.one(&lease, header).await
                    }
                };
                let copied = copied.during(|| format!("copy {id}"))?;
                if to.config.verify {
                    let verified =
                        to.under(&lease).verify_now(&BackupRef::from(&id), super::Reading::Alone).await;
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

    /// The ids of backups that are `there` already, each verified if an earlier copy was not, and it is to be.
    async fn verify_there(&self, there: &Repository, headers: Vec<Header>) -> Result<Vec<BackupId>> {
        let ids = headers.iter().map(|header| header.id.clone()).collect();
        if self.config.verify {
            for backup in self.infos(there, headers).await? {
                if backup.trusted && backup.verified.is_none() {
                    let to = self.opening(there, &backup.recipients);
                    // Boxed: it is large.
                    let verified = Box::pin(to.verify_alone(&BackupRef::from(&backup.id))).await;
                    verified.during(|| format!("verify the copy of {}", backup.id))?;
                }
            }
        }
        Ok(ids)
    }

    /// The manager itself where its identities open what is sealed for `recipients`; otherwise one that verifies the stored bytes.
    fn opening(&self, there: &Repository, recipients: &[Recipient]) -> Self {
        if there.opens(recipients) { self.clone() } else { self.clone().without_identities() }
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

/// Opens the repository that is copied into. An empty place becomes one, unless what comes there was sealed until now.
async fn place_for(source: &Repository, to: &BackupManager) -> Result<Repository> {
    if !source.is_sealed() {
        return to.repository_or_new().await;
    }
    to.repository().await.map_err(|error| match error.kind() {
        ErrorKind::NoRepository => error.hint(
            "make it first: `lifeboat init --recipient ...` for one that is sealed too, or `lifeboat init` if all of this is to lie there in clear",
        ),
        _ => error,
    })
}

/// Whether both are copies of one sealed repository.
fn are_sealed_twins(source: &Repository, there: &Repository) -> bool {
    source.is_sealed() && there.is_sealed() && source.config().id == there.config().id
}

/// How backups go over.
enum Way {
    AsItIs(AsItIs),
    Stored(Copy),
}

/// Stores backups as ones that were made there.
struct Copy {
    source: Repository,
    there: Repository,
    store: Arc<ChunkStore>,
    codec: Arc<dyn Codec>,
    /// Whether both name chunks alike.
    alike: bool,
    jobs: usize,
}

impl Copy {
    async fn one(&self, lease: &Lease, header: Header) -> Result<CopiedBackup> {
        let (ctx, sent) = Sent::counted(lease.ctx());
        let ctx = &ctx;
        let mut manifest = self.source.manifest(ctx, &header.id).await?;
        let chunks = self.source.chunks(ctx, &manifest).await?;
        let parts = self.source.parts(ctx, &manifest, &chunks).await?;
        manifest.header.repository.clone_from(&self.there.config().id);
        let mut file_sent = 0;
        let entries = match &header.file {
            Some(file) => {
                let copied = FileCopy { ctx, source: &self.source, there: &self.there };
                let copied = copied.run(&header.id, file).await?;
                file_sent = copied.size;
                manifest.header.stored_size = copied.size;
                manifest.header.file = Some(copied);
                record(ctx, &self.there, &self.store, &mut manifest, Stored { parts, chunks: Vec::new() })
                    .await?;
                Vec::new()
            }
            None if self.alike => self.as_they_are(ctx, &mut manifest, &chunks).await?,
            None => self.named_anew(ctx, &mut manifest, parts, chunks).await?,
        };
        let (chunks_sent, bytes_sent) = sent.so_far();
        let bytes_sent = bytes_sent + file_sent;
        let header = &mut manifest.header;
        header.new_size = bytes_sent;
        if header.file.is_none() {
            let distinct: HashMap<_, _> = entries.iter().map(|entry| (entry.id, entry.stored_size)).collect();
            header.stored_size = distinct.values().map(|size| u64::from(*size)).sum();
        }
        let committed = lease.commit(&self.there, &mut manifest, &*self.codec).await;
        if committed.is_err() {
            self.there.discard_file(&manifest.header).await;
        }
        committed?;
        self.store.committed(ctx).await;
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
}

/// Counts what is sent.
pub(super) struct Sent {
    watcher: Arc<dyn Progress>,
    chunks: AtomicU64,
    bytes: AtomicU64,
}

impl Sent {
    /// The same context, and what is sent under it from now on.
    pub(super) fn counted(ctx: &Ctx) -> (Ctx, Arc<Self>) {
        let sent = Self { watcher: Arc::clone(ctx.progress()), chunks: 0.into(), bytes: 0.into() };
        let sent = Arc::new(sent);
        (ctx.clone().with_progress(Arc::clone(&sent) as Arc<dyn Progress>), sent)
    }

    /// Chunks, and their bytes.
    pub(super) fn so_far(&self) -> (u64, u64) {
        (self.chunks.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed))
    }
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
