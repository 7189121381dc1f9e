//! The repository: where backups live, whatever engine made them. docs/format.md specifies it.

mod access;
mod config;
mod deleted;
mod garbage;
mod holders;
mod id;
mod keys;
mod lease;
#[cfg(test)]
mod lease_tests;
mod lists;
mod manifest;
mod marks;
mod pending;
mod process;
mod seal;
mod sign;

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream;

use crate::block::RawChunk;
use crate::chunks::ChunkReader;
use crate::codec::Codec;
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::storage::{Key, PutMode, Storage};

use access::Access;
pub(crate) use access::{identity_key, no_host_key};
pub(crate) use config::{FORMAT_VERSION, RepositoryConfig};
pub use garbage::{Collected, Tally};
pub(crate) use garbage::{Collector, PASS, unknown_manifest};
pub use id::{BackupId, Hash32};
pub(crate) use keys::identity_file;
pub use keys::{HostKey, Keys, vouching_line};
pub(crate) use lease::{Lease, Purpose, Terms};
pub(crate) use lists::ChunkEntry;
pub use manifest::{BackupType, Format, PartRecord};
pub(crate) use manifest::{
    Body, BodyRecord, FileRecord, Header, ListRecord, LogRecord, Manifest, ManifestSeal, ScriptSpan, Span,
};
pub(crate) use marks::Mark;
pub(crate) use pending::{Known, Pending};
pub use seal::{Identity, Recipient};
pub(crate) use seal::{SealStream, Sealer, Unsealer, seal_with_passphrase};
pub(crate) use sign::Author;
pub use sign::Signer;

/// How many small objects are asked for at once.
const AT_ONCE: usize = 16;
/// A manifest file is no larger.
const MANIFEST_MAX: u64 = 128 << 20;

/// A part list is no larger.
const PART_LIST_MAX: u64 = 1 << 30;

/// A repository that is there and that this program can read.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    storage: Arc<dyn Storage>,
    config: Arc<RepositoryConfig>,
    access: Arc<Access>,
}

/// What backups there are.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// All whose hashes fit, in their order: in a sealed repository also those that nobody known signed, see [`Repository::trusts`].
    pub(crate) headers: Vec<Header>,
    pub(crate) unreadable: Vec<(Key, Error)>,
    /// Those that were listed and could not be found: somebody has deleted them meanwhile, unless nobody else can.
    pub(crate) gone: Vec<(Key, Error)>,
    /// How many were left out since nobody known signed them.
    pub(crate) unsigned: usize,
}

impl Listing {
    /// Warns of what was left out.
    pub(crate) fn warn(&self, ctx: &Ctx) {
        if self.unsigned > 0 {
            let all = self.unsigned + self.headers.len();
            let left_out = self.unsigned;
            ctx.warn(format!(
                "{left_out} of {all} backups are not signed by anybody who is known here, and are left out"
            ));
        }
        for (key, error) in &self.unreadable {
            ctx.warn(format!("{key} cannot be read and is left out: {error}"));
        }
    }

    /// The error of a manifest that may be whole: the storage did not give it. What is chosen without it may be the wrong one.
    pub(crate) fn refused(&mut self) -> Option<Error> {
        let is_refused = |(_, error): &(Key, Error)| {
            !matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NewerFormat | ErrorKind::WrongKey)
        };
        let place = self.unreadable.iter().position(is_refused)?;
        let (key, error) = self.unreadable.swap_remove(place);
        Some(error.during(format!("read {key}")))
    }
}

impl Repository {
    /// Opens the repository in `storage`, as far as `keys` go.
    pub(crate) async fn open(storage: Arc<dyn Storage>, keys: &Keys) -> Result<Self> {
        match RepositoryConfig::read(&*storage).await? {
            Some(config) => {
                let access = Access::resolve(&*storage, &config, keys).await?;
                Ok(Self { storage, config: Arc::new(config), access: Arc::new(access) })
            }
            None => Err(Error::new(ErrorKind::NoRepository, "there is no repository here")
                .hint("check --repo; `lifeboat init` or a first backup makes one")),
        }
    }

    /// Opens the repository in `storage`, making one if the place is empty and nobody expects a sealed one there.
    pub(crate) async fn open_or_init(storage: Arc<dyn Storage>, keys: &Keys) -> Result<Self> {
        match Self::open(Arc::clone(&storage), keys).await {
            Err(error) if error.kind() == ErrorKind::NoRepository => match &keys.expected {
                Some(id) => Err(Error::new(ErrorKind::NoRepository, format!("the sealed repository {id} was here, and is gone"))
                    .hint("check --repo and what is mounted there; nothing is stored in clear in its place")),
                None if !keys.recipients.is_empty() || (keys.of_sealed().is_some() && !keys.may_be_unsealed) => {
                    Err(error.hint(
                        "`lifeboat init` makes the sealed one that the configuration asks for, and says what to keep safe",
                    ))
                }
                // One that was carried here, and of which nobody knows yet where its repository is: most likely here.
                None if let Some(host) = keys.hosts.iter().find(|host| host.places().is_empty()) => Err(error.hint(format!(
                    "this host has the key of the sealed repository {}, and has not seen it yet: check --repo and what is mounted there; if this is to be another, `lifeboat init` makes one",
                    host.repository()
                ))),
                None => match Self::init(Arc::clone(&storage), None, &[]).await {
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Self::open(storage, keys).await,
                    other => other,
                },
            },
            other => other,
        }
    }

    /// Makes the empty place `storage` a repository: the sealed one that `host` has the key of, with identities that are themselves
    /// sealed by a passphrase; or one that is not sealed.
    pub(crate) async fn init(
        storage: Arc<dyn Storage>,
        host: Option<&HostKey>,
        identities: &[(Recipient, Bytes)],
    ) -> Result<Self> {
        let exists = || Error::new(ErrorKind::AlreadyExists, "there is a repository here already");
        if RepositoryConfig::read(&*storage).await?.is_some() {
            return Err(exists());
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
        let Some(host) = host else {
            let config = RepositoryConfig::create(&*storage).await?;
            // Somebody may have been faster, and have sealed it.
            let access = Access::resolve(&*storage, &config, &Keys::default()).await?;
            return Ok(Self { storage, config: Arc::new(config), access: Arc::new(access) });
        };
        let config = RepositoryConfig::sealed(host)?;
        // First: sealed for an identity that nobody has, nothing could be read.
        for (recipient, sealed) in identities {
            storage.put(&access::identity_key(recipient)?, sealed.clone(), PutMode::Create).await?;
        }
        storage.put(&RepositoryConfig::key()?, config.to_bytes()?, PutMode::Create).await?;
        let keys = Keys { hosts: vec![host.clone()], ..Keys::default() };
        let access = Access::resolve(&*storage, &config, &keys).await?;
        Ok(Self { storage, config: Arc::new(config), access: Arc::new(access) })
    }

    /// The same repository in another storage that is empty: for archives, which are sealed as a whole or not at all.
    pub(crate) async fn copy_into(&self, storage: Arc<dyn Storage>) -> Result<Self> {
        let config = match self.is_sealed() {
            false => Arc::clone(&self.config),
            // The key of a sealed repository's chunks stays where it is.
            true => Arc::new(RepositoryConfig::plain(self.config.id.clone())?),
        };
        storage.put(&RepositoryConfig::key()?, config.to_bytes()?, PutMode::Create).await?;
        Ok(Self { storage, config, access: Arc::default() })
    }

    pub(crate) fn storage(&self) -> &Arc<dyn Storage> {
        &self.storage
    }

    pub(crate) fn config(&self) -> &RepositoryConfig {
        &self.config
    }

    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.config.is_sealed()
    }

    /// Whether somebody known signed the description of a sealed repository.
    pub(crate) fn description_is_trusted(&self) -> bool {
        !self.is_sealed()
            || matches!(self.config.author(), Ok(Author::Signed(signer)) if self.access.signers.contains(&signer))
    }

    /// Whether contents can be read here.
    pub(crate) fn can_read(&self) -> bool {
        !self.is_sealed() || self.access.unsealer.is_some()
    }

    /// Whether what is sealed for these can be read here.
    pub(crate) fn opens(&self, recipients: &[Recipient]) -> bool {
        match &self.access.unsealer {
            _ if !self.is_sealed() => true,
            Some(unsealer) => unsealer.recipients().iter().any(|held| recipients.contains(held)),
            None => false,
        }
    }

    /// What a backup is sealed and signed with; `None` in a repository that is not sealed. Errors: `MissingKey` and the like if nothing
    /// can be written that the right people, and only they, can read and believe.
    pub(crate) fn seal(&self) -> Result<Option<ManifestSeal>> {
        self.access.for_writing(&self.config)
    }

    /// Whether somebody known vouches for a backup. Where nothing is sealed, everything counts.
    pub(crate) fn trusts(&self, header: &Header) -> bool {
        self.access.trusts(&self.config, header)
    }

    /// Refuses a backup that nobody known vouches for, unless it was asked for that such are taken.
    pub(crate) fn refuse_unknown(&self, header: &Header) -> Result<()> {
        self.access.refuse_unknown(&self.config, header)
    }

    /// The key of chunk ids and cuts, for who writes. Errors: `MissingKey`.
    pub(crate) fn chunk_key(&self) -> Result<[u8; 32]> {
        let key = self.access.chunk_key(&self.config).map(|key| key.0);
        key.ok_or_else(|| no_host_key(&self.config))
    }

    /// The headers of all backups, in their order, and the manifests that cannot be read.
    pub(crate) async fn listing(&self, ctx: &Ctx) -> Result<Listing> {
        let folder: Key = "manifests".parse()?;
        let listing = async { Ok(self.storage.list(&folder).collect::<Vec<_>>().await) };
        let listed = ctx.run(listing).await?;
        let mut reads = stream::iter(listed)
            .map(|meta| async move {
                let meta = meta?;
                let range = 0..meta.size.min(manifest::HEADER_MAX);
                let header = match ctx.run(self.storage.get(&meta.key, Some(range))).await {
                    Ok(head) if holders::is_void(&head, meta.key.name()) => return Ok(None),
                    Ok(head) => Header::parse(&head).map(|(header, _)| header),
                    Err(error) => Err(error),
                };
                Ok(Some((meta.key, header)))
            })
            .buffer_unordered(AT_ONCE);
        let Listing { mut headers, mut unreadable, mut gone, .. } = Listing::default();
        while let Some(read) = reads.next().await {
            // Never to be committed.
            let Some((key, read)) = read? else { continue };
            match read {
                Ok(header) if header.id.as_str() == key.name() => headers.push(header),
                Ok(header) => {
                    unreadable.push((key, Error::damaged(format!("it says that it is {}", header.id))));
                }
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) if error.kind() == ErrorKind::NotFound => gone.push((key, error)),
                Err(error) => unreadable.push((key, error)),
            }
        }
        headers.sort_by(|a, b| (a.ordinal, a.started, &a.id).cmp(&(b.ordinal, b.started, &b.id)));
        unreadable.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Listing { headers, unreadable, gone, unsigned: 0 })
    }

    /// What backups there are that count: see [`Self::headers`]. Nobody is warned.
    pub(crate) async fn counted(&self, ctx: &Ctx) -> Result<Listing> {
        let mut listing = self.listing(ctx).await?;
        let all = listing.headers.len();
        listing.headers.retain(|header| self.refuse_unknown(header).is_ok());
        listing.unsigned = all - listing.headers.len();
        Ok(listing)
    }

    /// The headers of all backups that count, in their order. Manifests that cannot be read, and in a sealed repository those that nobody
    /// known signed (unless such are asked for), are warned of, and left out: nothing is concluded from what a forger may have written.
    pub(crate) async fn headers(&self, ctx: &Ctx) -> Result<Vec<Header>> {
        let listing = self.counted(ctx).await?;
        listing.warn(ctx);
        Ok(listing.headers)
    }

    fn manifest_key(id: &BackupId) -> Result<Key> {
        Key::new(["manifests", id.as_str()])
    }

    /// The manifest of the backup `id`, checked. Errors: `UnknownSigner` if nobody known signed it, `MissingKey` if it is sealed and there is
    /// no identity.
    pub(crate) async fn manifest(&self, ctx: &Ctx, id: &BackupId) -> Result<Manifest> {
        let (header, file, start) = self.manifest_file(ctx, id).await?;
        let body = file.get(start..).unwrap_or_default();
        let body = Body::parse(&header, body, self.access.unsealer.as_ref());
        let body = body.during(|| format!("read the manifest of {id}"))?;
        if header.body.sealed.is_some() != self.is_sealed() {
            return Err(Error::damaged(format!("the manifest of {id} is not sealed as the repository is")));
        }
        Ok(Manifest { header, body })
    }

    /// The header of the backup `id`, its whole file as somebody known signed it, and where in that the body begins.
    pub(crate) async fn manifest_file(&self, ctx: &Ctx, id: &BackupId) -> Result<(Header, Bytes, usize)> {
        let key = Self::manifest_key(id)?;
        let doing = || format!("read the manifest of {id}");
        let file = match ctx.run(self.storage.get_at_most(&key, MANIFEST_MAX)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(missing(id.as_str())),
            read => read.during(doing)?,
        };
        if holders::is_void(&file, id.as_str()) {
            return Err(missing(id.as_str()));
        }
        let (header, start) = Header::parse(&file).during(doing)?;
        if header.id != *id {
            return Err(Error::damaged(format!("it says that it is {}", header.id)).during(doing()));
        }
        // Before anything that it says is believed.
        self.refuse_unknown(&header)?;
        Body::check(&header, file.get(start..).unwrap_or_default()).during(doing)?;
        Ok((header, file, start))
    }

    /// Whether there is a backup `id`.
    pub(crate) async fn has(&self, id: &BackupId) -> Result<bool> {
        Ok(self.manifest_head(id).await?.is_some_and(|head| !holders::is_void(&head, id.as_str())))
    }

    /// Whether a backup `id` must not be committed any more, since the lease of who made it was taken over.
    pub(crate) async fn is_void(&self, id: &BackupId) -> Result<bool> {
        Ok(self.manifest_head(id).await?.is_some_and(|head| holders::is_void(&head, id.as_str())))
    }

    async fn manifest_head(&self, id: &BackupId) -> Result<Option<Bytes>> {
        let key = Self::manifest_key(id)?;
        let Some(meta) = self.storage.head(&key).await? else { return Ok(None) };
        match self.storage.get(&key, Some(0..meta.size.min(manifest::HEADER_MAX))).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            head => head.map(Some),
        }
    }

    /// Makes a backup exist. Everything that the manifest names is durable already.
    pub(crate) async fn commit(&self, manifest: &mut Manifest, codec: &dyn Codec) -> Result<()> {
        let file = manifest.encode(codec, self.seal()?.as_ref())?;
        self.commit_file(&manifest.header.id, file).await
    }

    /// Makes the backup `id` exist, whose manifest is `file`.
    async fn commit_file(&self, id: &BackupId, file: Bytes) -> Result<()> {
        let key = Self::manifest_key(id)?;
        let doing = || format!("commit backup {id}");
        match self.storage.put(&key, file.clone(), PutMode::Create).await {
            // A store that tried again after its answer got lost meets its own work.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let there = self.storage.get_at_most(&key, MANIFEST_MAX).await.during(doing)?;
                if there == file { Ok(()) } else { Err(error.during(doing())) }
            }
            other => other.map(drop).during(doing),
        }
    }

    /// Makes a backup not exist any more: notes when, then deletes its manifest, then what belongs to it alone.
    pub(crate) async fn delete(&self, lease: &Lease, header: &Header) -> Result<()> {
        let key = Self::manifest_key(&header.id)?;
        let manifest = self.storage.get_at_most(&key, MANIFEST_MAX).await?;
        self.storage.put(&deleted::key(&header.id)?, manifest, PutMode::Overwrite).await?;
        lease.check().await?;
        self.storage.delete(&key).await?;
        lease.check().await?;
        self.storage.delete(&marks::key(&header.id)?).await?;
        // A manifest that somebody forged may name anything.
        if let Some(file) = header.file.as_ref().filter(|file| file.belongs_to(&header.id)) {
            lease.check().await?;
            self.storage.delete(&file.key.parse()?).await?;
        }
        Ok(())
    }

    /// Deletes the single file of a backup whose commit failed, unless a manifest names it: the commit may have arrived all the same, or
    /// another process has made the same copy. What cannot be deleted is left to prune.
    pub(crate) async fn discard_file(&self, header: &Header) {
        if let Some(file) = &header.file
            && file.belongs_to(&header.id)
            && let Ok(key) = file.key.parse()
            && matches!(self.has(&header.id).await, Ok(false))
        {
            // The error that led here is the one that counts.
            let _ = self.storage.delete(&key).await;
        }
    }

    /// The entries of one chunk list, checked.
    pub(crate) async fn list(&self, ctx: &Ctx, record: &ListRecord) -> Result<Vec<ChunkEntry>> {
        ctx.run(lists::load(&*self.storage, std::slice::from_ref(record))).await
    }

    /// The chunks that the lists of a backup name.
    pub(crate) async fn entries(&self, ctx: &Ctx, header: &Header) -> Result<Vec<ChunkEntry>> {
        let entries = ctx.run(lists::load(&*self.storage, &header.lists)).await;
        entries.during(|| format!("read the chunk lists of {}", header.id))
    }

    /// A reader of the chunks of a backup.
    pub(crate) async fn chunks(&self, ctx: &Ctx, manifest: &Manifest) -> Result<ChunkReader> {
        let entries = self.entries(ctx, &manifest.header).await?;
        // Who reads a sealed backup need not be a host that writes them.
        let key = if self.is_sealed() { manifest.body.chunk_key } else { self.config.chunk_key };
        let key = key
            .ok_or_else(|| Error::damaged(format!("{} does not say its chunk-id key", manifest.header.id)))?;
        Ok(ChunkReader::new(self, Some(key.0), entries))
    }

    /// Access to the stored bytes of the chunks of a backup, for who cannot read it.
    pub(crate) async fn stored_chunks(&self, ctx: &Ctx, header: &Header) -> Result<ChunkReader> {
        Ok(ChunkReader::new(self, None, self.entries(ctx, header).await?))
    }

    /// The parts of a backup.
    pub(crate) async fn parts(
        &self,
        ctx: &Ctx,
        manifest: &Manifest,
        chunks: &ChunkReader,
    ) -> Result<Vec<PartRecord>> {
        let mut json = Vec::new();
        let mut named = HashSet::new();
        for place in &manifest.body.part_list {
            // A few bytes of a hostile one would say as much as they like.
            if !named.insert(*place) {
                return Err(Error::damaged("the part list names a chunk twice"));
            }
            let chunk: RawChunk = chunks.load(ctx, *place).await?;
            if (json.len() + chunk.bytes.len()) as u64 > PART_LIST_MAX {
                return Err(Error::damaged("the part list is larger than any that is written"));
            }
            json.extend_from_slice(&chunk.bytes);
            chunk.recycle();
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

    /// Every chunk that a backup vouches for, and that is sealed for just those who are to read the next one; and what backups that were cut
    /// off have sealed for them. Lists that cannot be read are warned of: their chunks are proven again when they are met, or sent again.
    pub(crate) async fn known_chunks(&self, ctx: &Ctx, headers: &[Header]) -> Result<Known> {
        let (mut known, mut read) = (Known::default(), HashSet::new());
        let recipients = self.seal()?.map(|seal| seal.recipients).unwrap_or_default();
        for header in headers.iter().filter(|header| header.recipients == recipients && self.trusts(header)) {
            // Backups of what has hardly changed have most lists in common.
            for record in header.lists.iter().filter(|record| read.insert(record.id)) {
                match self.list(ctx, record).await {
                    Ok(entries) => known.chunks.extend(entries.into_iter().map(|entry| (entry.id, entry))),
                    Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                    Err(error) => {
                        ctx.warn(format!("the chunk lists of {} cannot be read: {error}", header.id));
                    }
                }
            }
        }
        self.add_pending(ctx, &mut known).await?;
        Ok(known)
    }

    /// Notes that the backup was checked, beside it: a manifest is never rewritten. `decoded` says whether its contents were. `None` if
    /// nothing was noted, since this host signs nothing.
    pub(crate) async fn mark_verified(&self, header: &Header, decoded: bool) -> Result<Option<Mark>> {
        let signing = self.access.host.as_ref().map(|host| &host.signing);
        if self.is_sealed() && signing.is_none() {
            return Ok(None);
        }
        let before = self.verified(header).await?;
        marks::write(&*self.storage, header, decoded, before, signing).await.map(Some)
    }

    /// Takes back that the backup was found good, since now it was not: prune would keep it as the last good one, and none that is.
    pub(crate) async fn unmark(&self, ctx: &Ctx, header: &Header) {
        let unmarked = ctx.run(async {
            match self.verified(header).await? {
                Some(_) => self.storage.delete(&marks::key(&header.id)?).await,
                None => Ok(()),
            }
        });
        if let Err(error) = unmarked.await {
            let id = &header.id;
            ctx.warn(format!(
                "{id} is damaged, and still counts as verified, since that cannot be noted: {error}"
            ));
        }
    }

    /// What was found when the backup was last checked.
    pub(crate) async fn verified(&self, header: &Header) -> Result<Option<Mark>> {
        let counts = |author| match author {
            Author::Nobody => !self.is_sealed(),
            Author::Signed(signer) => self.access.signers.contains(&signer),
        };
        marks::read(&*self.storage, header, counts).await
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
