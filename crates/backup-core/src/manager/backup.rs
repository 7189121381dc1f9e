//! A backup, from the first look at the repository to the commit of the manifest.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound, Utc};
use futures::FutureExt;

use super::dump::{ChunkDump, ScriptDump};
use crate::block::ChunkEncoder;
use crate::chunks::ChunkStore;
use crate::codec::{Codec, Level, NoCompression};
use crate::context::Ctx;
use crate::cut::CutKeys;
use crate::engine::{BackupSession, Engine, LogSession, ServerInfo};
use crate::error::{During, Error, ErrorKind, Result};
use crate::filter::Filter;
use crate::options::{BackupConfig, BackupOptions};
use crate::part::Part;
use crate::plan;
use crate::progress::{Event, Stage, Warnings};
use crate::registry::EngineFactory;
use crate::repository::{
    Author, BackupId, BackupType, Body, BodyRecord, ChunkEntry, FORMAT_VERSION, FileRecord, Format, Hash32,
    Header, Known, Lease, LogRecord, Manifest, PartRecord, Repository,
};
use crate::request::BackupRequest;
use crate::script::ScriptInfo;
use crate::single_file::{ArchiveWriter, FrameWriter, ScriptBuilder};
use crate::storage::Key;
use crate::url::DatabaseUrl;

/// One backup to be made.
pub(super) struct Job<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) config: &'a BackupConfig,
    pub(super) repository: Repository,
    pub(super) factory: &'static EngineFactory,
    pub(super) codec: Arc<dyn Codec>,
    pub(super) source: &'a DatabaseUrl,
    pub(super) options: BackupOptions,
    pub(super) lease: &'a Lease,
    /// What `ctx` has been warned of.
    pub(super) warnings: Arc<Warnings>,
}

/// A backup that exists.
pub(super) struct Made {
    pub(super) repository: Repository,
    pub(super) header: Header,
    /// The tables that may not be read.
    pub(super) left_out: Vec<String>,
    /// The log that was backed up, which may be forgotten when that was checked.
    pub(super) log: Option<Box<dyn LogSession>>,
}

/// Parts that are durable.
pub(super) struct Stored {
    pub(super) parts: Vec<PartRecord>,
    pub(super) chunks: Vec<ChunkEntry>,
}

impl Job<'_> {
    pub(super) async fn run(self, engine: Arc<dyn Engine>) -> Result<Made> {
        let started = Utc::now().trunc_subsecs(3);
        let ctx = self.ctx;
        let mut listing = self.repository.counted(ctx).await?;
        listing.warn(ctx);
        let headers = std::mem::take(&mut listing.headers);
        ctx.emit(Event::Stage(Stage::Connect));
        let server = engine.probe(ctx).await?;
        if self.options.globals && !server.capabilities.globals {
            return Err(Error::unsupported(format!(
                "what lies outside databases of {} cannot be backed up here",
                server.product
            ))
            .hint("leave out --globals"));
        }
        if self.options.backup_type != BackupType::Full {
            match self.continue_chain(&*engine, &server, &headers).await {
                Ok(chain) => return self.back_up_log(started, &headers, server, chain).boxed().await,
                Err(error) if is_no_chain(&error) => {
                    // There may be one all the same, if the storage did not give everything.
                    if server.log.is_some()
                        && let Some(refused) = listing.refused()
                    {
                        return Err(refused.hint("try again, or ask for --type full"));
                    }
                    if !self.options.or_full {
                        return Err(error);
                    }
                    ctx.warn(format!("this is a full backup: {}", error.message()));
                }
                Err(error) => return Err(error),
            }
        }
        let filter = Filter::new(self.options.include.clone(), self.options.exclude.clone());
        let request = BackupRequest {
            jobs: self.config.jobs.max(1),
            filter: filter.clone(),
            content: self.options.content,
            globals: self.options.globals,
            skip_unreadable: self.options.skip_unreadable,
            in_order: self.options.format.unwrap_or(self.config.format) == Format::Sql,
        };
        // Before the database holds locks and a snapshot for us. A single file shares nothing with other backups, but for what an earlier
        // run of it may have left.
        let vouching = match self.options.format.unwrap_or(self.config.format) {
            Format::Binary => headers.as_slice(),
            Format::Sql | Format::Compressed => &[],
        };
        let known = self.repository.known_chunks(ctx, vouching).await?;
        let session = engine.begin_backup(ctx, request).await?;
        ctx.emit(Event::Stage(Stage::Plan));
        let parts: Arc<[Part]> = session.plan(ctx).await?.into();
        plan::check(&parts)?;
        filter.refuse_unmatched()?;
        let left_out: Vec<String> = session.left_out().iter().map(ToString::to_string).collect();
        for table in &left_out {
            ctx.warn(format!("{table} is not in the backup: it cannot be read"));
        }
        let log = server.log.clone();
        let mut manifest = self.manifest(started, &headers, server)?;
        (manifest.body.include, manifest.body.exclude) = filter.patterns();
        manifest.header.partial = !filter.is_everything() || !left_out.is_empty();
        manifest.header.end = session.position().map(|end| end.position.clone());
        manifest.header.log = log.zip(session.position()).map(|(info, end)| LogRecord {
            info,
            end_time: end.time,
            transactions: 0,
            earliest_commit: None,
            latest_commit: None,
        });
        ctx.emit(Event::Stage(Stage::Dump));
        let bytes = parts.iter().map(|part| part.size_hint).sum();
        ctx.emit(Event::Planned { parts: parts.len() as u64, bytes });
        // Boxed: it is large, and the compiler cannot see through it that all of this is Send.
        let dumped = self.dump(known, &mut manifest, Arc::new(session), parts).boxed().await;
        let committed = match dumped {
            Ok(store) => self.commit(&mut manifest, &store).await,
            Err(error) => Err(error),
        };
        if committed.is_err() {
            self.repository.discard_file(&manifest.header).await;
        }
        committed.map(|()| Made { repository: self.repository, header: manifest.header, left_out, log: None })
    }

    /// Makes the backup exist whose chunks are in `store`.
    pub(super) async fn commit(&self, manifest: &mut Manifest, store: &ChunkStore) -> Result<()> {
        self.ctx.emit(Event::Stage(Stage::Commit));
        self.ctx.check()?;
        self.lease.commit(&self.repository, manifest, &*self.codec).await?;
        store.committed(self.ctx).await;
        Ok(())
    }

    /// The manifest of a full backup of everything, as far as it is known now.
    pub(super) fn manifest(
        &self,
        started: DateTime<Utc>,
        headers: &[Header],
        server: ServerInfo,
    ) -> Result<Manifest> {
        let header = Header {
            lifeboat: FORMAT_VERSION,
            writer: format!("lifeboat {}", env!("CARGO_PKG_VERSION")),
            id: self.lease.backup()?.clone(),
            repository: self.repository.config().id.clone(),
            ordinal: headers.iter().map(|header| header.ordinal).max().unwrap_or(0).saturating_add(1),
            engine: self.factory.name.to_owned(),
            product: server.product.clone(),
            database: server.database.clone(),
            backup_type: BackupType::Full,
            format: self.options.format.unwrap_or(self.config.format),
            parent: None,
            base: None,
            started,
            finished: started,
            start: None,
            end: None,
            log: None,
            content: self.options.content,
            partial: false,
            rows: 0,
            raw_size: 0,
            stored_size: 0,
            new_size: 0,
            codec: self.codec.name().to_owned(),
            tags: self.options.tags.clone(),
            file: None,
            lists: Vec::new(),
            recipients: Vec::new(),
            author: Author::Nobody,
            body: BodyRecord { size: 0, hash: Hash32::default(), codec: String::new(), sealed: None },
        };
        let body = Body {
            server,
            source: self.source.to_string(),
            include: Vec::new(),
            exclude: Vec::new(),
            warnings: Vec::new(),
            part_list: Vec::new(),
            parts: 0,
            chunk_key: None,
        };
        Ok(Manifest { header, body })
    }

    /// Dumps everything and fills in what the manifest says of it. Returns where its chunks are.
    async fn dump(
        &self,
        known: Known,
        manifest: &mut Manifest,
        session: Arc<Box<dyn BackupSession>>,
        parts: Arc<[Part]>,
    ) -> Result<Arc<ChunkStore>> {
        let store = self.store(&self.repository, Arc::clone(&self.codec), self.config.level, known)?;
        match manifest.header.format {
            Format::Binary => {
                let stored = self.dump_chunks(&store, &session, parts).await?;
                self.finish(session).await?;
                self.complete(manifest, &stored.parts);
                record(self.ctx, &self.repository, &store, manifest, stored).await?;
                (manifest.header.stored_size, manifest.header.new_size) = store.sizes();
            }
            Format::Compressed => {
                let name = file_name(&manifest.header.id, "tar", &*self.codec);
                let (key, frames) = self.frames(&name).await?;
                let archive = ArchiveWriter::new(frames, manifest.header.started);
                let inner = self.repository.copy_into(Arc::new(archive.clone())).await?;
                let plain =
                    self.store(&inner, Arc::new(NoCompression), Level::default(), Known::default())?;
                let stored = self.dump_chunks(&plain, &session, parts).await?;
                self.finish(session).await?;
                self.complete(manifest, &stored.parts);
                let mut inside = manifest.clone();
                let parts = stored.parts.clone();
                record(self.ctx, &inner, &plain, &mut inside, stored).await?;
                inner.commit(&mut inside, &*self.codec).await?;
                self.single_file(&store, manifest, key, archive.finish().await?, parts).await?;
            }
            Format::Sql => {
                let name = file_name(&manifest.header.id, "sql", &*self.codec);
                let (key, frames) = self.frames(&name).await?;
                let writer = self.factory.script.ok_or_else(|| {
                    Error::unsupported(format!("the engine {} writes no scripts", self.factory.name))
                        .hint("ask for --format binary")
                })?;
                let mut script = ScriptBuilder {
                    ctx: self.ctx.clone(),
                    writer: writer().into(),
                    jobs: self.config.jobs.min(session.readers()).max(1),
                    info: ScriptInfo::new(manifest.body.server.clone(), manifest.header.started),
                    frames,
                };
                let keys = CutKeys::derive(&self.repository.chunk_key()?);
                let origin =
                    Arc::new(ScriptDump { session: Arc::clone(&session), keys, parts: Arc::clone(&parts) });
                let records = script.parts(origin.clone(), &parts).await?;
                drop(origin);
                self.finish(session).await?;
                self.complete(manifest, &records);
                let finished = script.finish(&manifest.header, &manifest.body, &records).await?;
                self.single_file(&store, manifest, key, finished, records).await?;
            }
        }
        Ok(store)
    }

    /// Fills in what is known when all parts are dumped.
    pub(super) fn complete(&self, manifest: &mut Manifest, parts: &[PartRecord]) {
        complete(&mut manifest.header, parts);
        manifest.body.parts = parts.len() as u64;
        manifest.body.warnings = self.warnings.so_far();
    }

    pub(super) fn store(
        &self,
        repository: &Repository,
        codec: Arc<dyn Codec>,
        level: Level,
        known: Known,
    ) -> Result<Arc<ChunkStore>> {
        let encoder = ChunkEncoder { codec, level };
        ChunkStore::new(repository, self.lease.backup()?, known, encoder, self.config.jobs).map(Arc::new)
    }

    async fn dump_chunks(
        &self,
        store: &Arc<ChunkStore>,
        session: &Arc<Box<dyn BackupSession>>,
        parts: Arc<[Part]>,
    ) -> Result<Stored> {
        let keys = CutKeys::derive(store.key());
        let dump = ChunkDump { session: Arc::clone(session), keys, parts, store: Arc::clone(store) };
        Arc::new(dump).run(self.ctx, self.config.jobs.max(1)).await
    }

    async fn frames(&self, name: &str) -> Result<(Key, FrameWriter)> {
        let key = Key::new(["files", name])?;
        let object = self.ctx.run(self.repository.storage().writer(&key)).await?;
        let codec = Arc::clone(&self.codec);
        let mut frames = FrameWriter::new(self.ctx, codec, self.config.level, self.config.jobs, object);
        if let Some(seal) = self.repository.seal()? {
            frames = frames.sealed(&seal.sealer)?;
        }
        Ok((key, frames))
    }

    async fn finish(&self, session: Arc<Box<dyn BackupSession>>) -> Result<()> {
        let session =
            Arc::into_inner(session).ok_or_else(|| Error::internal("a dump goes on behind its end"))?;
        session.finish(self.ctx).await.during(|| "finish the dump")
    }

    /// Stores what the manifest says of a backup that is one file. Its part list lies in the repository, so that it
    /// can be shown without the file.
    async fn single_file(
        &self,
        store: &Arc<ChunkStore>,
        manifest: &mut Manifest,
        key: Key,
        finished: crate::single_file::Finished,
        mut parts: Vec<PartRecord>,
    ) -> Result<()> {
        // The spans are places in the archive's lists.
        parts.iter_mut().for_each(|record| record.spans.clear());
        manifest.header.file =
            Some(FileRecord { key: key.as_str().to_owned(), size: finished.size, hash: finished.hash });
        record(self.ctx, &self.repository, store, manifest, Stored { parts, chunks: Vec::new() }).await?;
        manifest.header.stored_size = finished.size;
        manifest.header.new_size = finished.size;
        Ok(())
    }
}

/// Whether a full backup can be made in place of one that continues a chain.
fn is_no_chain(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::NotFound | ErrorKind::Unreachable)
}

/// Stores the part list and the chunk lists, and names them in the manifest.
pub(super) async fn record(
    ctx: &Ctx,
    repository: &Repository,
    store: &Arc<ChunkStore>,
    manifest: &mut Manifest,
    mut stored: Stored,
) -> Result<()> {
    let keys = CutKeys::derive(store.key());
    let list =
        super::dump::store_bytes(ctx, store, keys, &crate::repository::parts_to_json(&stored.parts)?).await?;
    let first = stored.chunks.len() as u32;
    stored.chunks.extend(list);
    manifest.body.part_list = (first..stored.chunks.len() as u32).collect();
    manifest.body.parts = stored.parts.len() as u64;
    manifest.header.lists = ctx.run(repository.store_lists(&stored.chunks)).await?;
    Ok(())
}

pub(super) fn complete(header: &mut Header, parts: &[PartRecord]) {
    header.rows = parts.iter().map(PartRecord::rows).sum();
    header.raw_size = parts.iter().map(|record| record.bytes).sum();
    header.finished = Utc::now().trunc_subsecs(3).max(header.started);
}

fn file_name(id: &BackupId, kind: &str, codec: &dyn Codec) -> String {
    match codec.extension() {
        Some(extension) => format!("{id}.{kind}.{extension}"),
        None => format!("{id}.{kind}"),
    }
}
