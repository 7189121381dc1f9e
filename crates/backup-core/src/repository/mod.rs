//! The repository: where backups live, whatever engine made them. docs/format.md specifies it.

mod config;
mod deleted;
mod holders;
mod id;
mod lease;
#[cfg(test)]
mod lease_tests;
mod lists;
mod manifest;
mod marks;
mod process;

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream;

use crate::block::RawChunk;
use crate::chunks::ChunkReader;
use crate::codec::Codec;
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::storage::{Key, PutMode, Storage};

pub(crate) use config::{FORMAT_VERSION, RepositoryConfig};
pub use id::{BackupId, Hash32};
pub(crate) use lease::{Lease, Purpose, Terms};
pub(crate) use lists::ChunkEntry;
pub use manifest::{BackupType, Format, PartRecord};
pub(crate) use manifest::{
    Body, BodyRecord, FileRecord, Header, ListRecord, LogRecord, Manifest, ScriptSpan, Span,
};

/// How many small objects are asked for at once.
const AT_ONCE: usize = 16;
/// A manifest file is no larger.
const MANIFEST_MAX: u64 = 128 << 20;

/// A repository that is there and that this program can read.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    storage: Arc<dyn Storage>,
    config: Arc<RepositoryConfig>,
}

/// What backups there are.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) headers: Vec<Header>,
    pub(crate) unreadable: Vec<(Key, Error)>,
}

impl Repository {
    /// Opens the repository in `storage`.
    pub(crate) async fn open(storage: Arc<dyn Storage>) -> Result<Self> {
        match RepositoryConfig::read(&*storage).await? {
            Some(config) => Ok(Self { storage, config: Arc::new(config) }),
            None => Err(Error::new(ErrorKind::NoRepository, "there is no repository here")
                .hint("check --repo; `lifeboat init` or a first backup makes one")),
        }
    }

    /// Opens the repository in `storage`, making one if the place is empty.
    pub(crate) async fn open_or_init(storage: Arc<dyn Storage>) -> Result<Self> {
        match Self::open(Arc::clone(&storage)).await {
            Err(error) if error.kind() == ErrorKind::NoRepository => {
                match Self::init(Arc::clone(&storage)).await {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::open(storage).await,
                    other => other,
                }
            }
            other => other,
        }
    }

    /// Makes the empty place `storage` a repository.
    pub(crate) async fn init(storage: Arc<dyn Storage>) -> Result<Self> {
        if RepositoryConfig::read(&*storage).await?.is_some() {
            return Err(Error::new(ErrorKind::AlreadyExists, "there is a repository here already"));
        }
        let found = storage.list(&Key::ROOT).next().await.transpose()?;
        if let Some(found) = found {
            // Somebody else may just have made a repository of it.
            if RepositoryConfig::read(&*storage).await?.is_some() {
                return Err(Error::new(ErrorKind::AlreadyExists, "there is a repository here already"));
            }
            return Err(Error::new(
                ErrorKind::NoRepository,
                format!("this is no repository, but holds {}", found.key),
            )
            .hint("give an empty place, or one that does not exist yet"));
        }
        let config = RepositoryConfig::create(&*storage).await?;
        Ok(Self { storage, config: Arc::new(config) })
    }

    /// The same repository in another storage that is empty: for archives.
    pub(crate) async fn copy_into(&self, storage: Arc<dyn Storage>) -> Result<Self> {
        storage.put(&RepositoryConfig::key()?, self.config.to_bytes()?, PutMode::Create).await?;
        Ok(Self { storage, config: Arc::clone(&self.config) })
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    pub(crate) fn config(&self) -> &RepositoryConfig {
        &self.config
    }

    /// The key of chunk ids and cuts.
    pub(crate) fn chunk_key(&self) -> Result<[u8; 32]> {
        let key = self.config.chunk_key.as_ref().map(|key| key.0);
        key.ok_or_else(|| {
            Error::new(ErrorKind::WrongKey, "the chunk-id key of this repository is not known here")
        })
    }

    /// The headers of all backups, in their order, and the manifests that cannot be read.
    pub(crate) async fn listing(&self, ctx: &Ctx) -> Result<Listing> {
        let folder: Key = "manifests".parse()?;
        let listed: Vec<_> = self.storage.list(&folder).collect().await;
        let mut reads = stream::iter(listed)
            .map(|meta| async move {
                let meta = meta?;
                let range = 0..meta.size.min(manifest::HEADER_MAX);
                let header = match ctx.run(self.storage.get(&meta.key, Some(range))).await {
                    Ok(head) if holders::is_void(&head, meta.key.name()) => Err(missing(meta.key.name())),
                    Ok(head) => Header::parse(&head).map(|(header, _)| header),
                    Err(error) => Err(error),
                };
                Ok((meta.key, header))
            })
            .buffer_unordered(AT_ONCE);
        let Listing { mut headers, mut unreadable } = Listing::default();
        while let Some(read) = reads.next().await {
            match read? {
                (key, Ok(header)) if header.id.as_str() == key.name() => headers.push(header),
                (key, Ok(header)) => {
                    unreadable.push((key, Error::damaged(format!("it says that it is {}", header.id))));
                }
                // Deleted by somebody meanwhile, or never to be committed.
                (_, Err(error)) if error.kind() == ErrorKind::NotFound => {}
                (_, Err(error)) if error.kind() == ErrorKind::Cancelled => return Err(error),
                (key, Err(error)) => unreadable.push((key, error)),
            }
        }
        headers.sort_by(|a, b| (a.ordinal, a.started, &a.id).cmp(&(b.ordinal, b.started, &b.id)));
        unreadable.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Listing { headers, unreadable })
    }

    /// The headers of all backups, in their order. Manifests that cannot be read are warned of, and left out.
    pub(crate) async fn headers(&self, ctx: &Ctx) -> Result<Vec<Header>> {
        let Listing { headers, unreadable } = self.listing(ctx).await?;
        for (key, error) in unreadable {
            ctx.warn(format!("{key} cannot be read and is left out: {error}"));
        }
        Ok(headers)
    }

    fn manifest_key(id: &BackupId) -> Result<Key> {
        Key::new(["manifests", id.as_str()])
    }

    /// The manifest of the backup `id`, checked.
    pub(crate) async fn manifest(&self, ctx: &Ctx, id: &BackupId) -> Result<Manifest> {
        let key = Self::manifest_key(id)?;
        let doing = || format!("read the manifest of {id}");
        let meta = self.storage.head(&key).await?;
        let meta = meta.ok_or_else(|| missing(id.as_str()))?;
        if meta.size > MANIFEST_MAX {
            return Err(
                Error::damaged("the manifest is larger than any that lifeboat writes").during(doing())
            );
        }
        let file = ctx.run(self.storage.get(&key, None)).await.during(doing)?;
        if holders::is_void(&file, id.as_str()) {
            return Err(missing(id.as_str()));
        }
        let manifest = Manifest::parse(&file).during(doing)?;
        if manifest.header.id != *id {
            return Err(Error::damaged(format!("it says that it is {}", manifest.header.id)).during(doing()));
        }
        Ok(manifest)
    }

    /// Whether there is a backup `id`.
    pub(crate) async fn has(&self, id: &BackupId) -> Result<bool> {
        Ok(self.storage.head(&Self::manifest_key(id)?).await?.is_some())
    }

    /// Makes a backup exist. Everything that the manifest names is durable already.
    pub(crate) async fn commit(&self, manifest: &mut Manifest, codec: &dyn Codec) -> Result<()> {
        let file = manifest.encode(codec)?;
        let id = &manifest.header.id;
        let key = Self::manifest_key(id)?;
        let doing = || format!("commit backup {id}");
        match self.storage.put(&key, file.clone(), PutMode::Create).await {
            // A store that tried again after its answer got lost meets its own work.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let there = self.storage.get(&key, None).await.during(doing)?;
                if there == file { Ok(()) } else { Err(error.during(doing())) }
            }
            other => other.map(drop).during(doing),
        }
    }

    /// Makes a backup not exist any more: notes when, then deletes its manifest, then what belongs to it alone.
    pub(crate) async fn delete(&self, lease: &Lease, header: &Header) -> Result<()> {
        let key = Self::manifest_key(&header.id)?;
        let manifest = self.storage.get(&key, None).await?;
        self.storage.put(&deleted::key(&header.id)?, manifest, PutMode::Overwrite).await?;
        lease.check()?;
        self.storage.delete(&key).await?;
        self.storage.delete(&marks::key(&header.id)?).await?;
        if let Some(file) = &header.file {
            self.storage.delete(&file.key.parse()?).await?;
        }
        Ok(())
    }

    /// The entries of one chunk list, checked.
    pub(crate) async fn list(&self, ctx: &Ctx, record: &ListRecord) -> Result<Vec<ChunkEntry>> {
        ctx.run(lists::load(&*self.storage, std::slice::from_ref(record))).await
    }

    /// A reader of the chunks of a backup.
    pub(crate) async fn chunks(&self, ctx: &Ctx, header: &Header) -> Result<ChunkReader> {
        let entries = ctx.run(lists::load(&*self.storage, &header.lists)).await;
        let entries = entries.during(|| format!("read the chunk lists of {}", header.id))?;
        Ok(ChunkReader::new(Arc::clone(&self.storage), self.chunk_key()?, entries))
    }

    /// The parts of a backup.
    pub(crate) async fn parts(
        &self,
        ctx: &Ctx,
        manifest: &Manifest,
        chunks: &ChunkReader,
    ) -> Result<Vec<PartRecord>> {
        let mut json = Vec::new();
        for place in &manifest.body.part_list {
            let chunk: RawChunk = chunks.load(ctx, *place).await?;
            json.extend_from_slice(&chunk.bytes);
        }
        let expected = manifest.body.parts;
        ctx.blocking(move || {
            let parts = parse_parts(&json)?;
            if parts.len() as u64 != expected {
                return Err(Error::damaged(format!(
                    "the part list has {} parts, not {expected}",
                    parts.len()
                )));
            }
            Ok(parts)
        })
        .await
    }

    /// Stores a chunk list.
    pub(crate) async fn store_lists(&self, entries: &[ChunkEntry]) -> Result<Vec<manifest::ListRecord>> {
        lists::store(&*self.storage, entries).await
    }

    /// Every chunk that a backup vouches for. Lists that cannot be read are warned of: their chunks are proven
    /// again when they are met.
    pub(crate) async fn known_chunks(
        &self,
        ctx: &Ctx,
        headers: &[Header],
    ) -> Result<HashMap<Hash32, ChunkEntry>> {
        let mut known = HashMap::new();
        for header in headers {
            match ctx.run(lists::load(&*self.storage, &header.lists)).await {
                Ok(entries) => known.extend(entries.into_iter().map(|entry| (entry.id, entry))),
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => ctx.warn(format!("the chunk lists of {} cannot be read: {error}", header.id)),
            }
        }
        Ok(known)
    }

    /// Notes that the backup was read and checked, beside it: a manifest is never rewritten.
    pub(crate) async fn mark_verified(&self, header: &Header) -> Result<DateTime<Utc>> {
        marks::write(&*self.storage, header).await
    }

    /// When the backup was last read and checked.
    pub(crate) async fn verified(&self, header: &Header) -> Result<Option<DateTime<Utc>>> {
        marks::read(&*self.storage, header).await
    }
}

fn missing(id: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("there is no backup {id}"))
        .hint("`lifeboat list` shows those there are")
}

/// The part list: a line of JSON for each part.
pub(crate) fn parts_to_json(parts: &[PartRecord]) -> Result<Vec<u8>> {
    let mut json = Vec::new();
    for part in parts {
        serde_json::to_writer(&mut json, part)
            .map_err(|error| Error::internal("a part is not JSON").because(error))?;
        json.push(b'\n');
    }
    Ok(json)
}

pub(crate) fn parse_parts(json: &[u8]) -> Result<Vec<PartRecord>> {
    (json.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()))
        .map(|line| {
            serde_json::from_slice(line)
                .map_err(|error| Error::damaged(format!("the part list: {error}")).because(error))
        })
        .collect()
}
