//! Garbage: what no manifest names. docs/format.md says why collecting it harms no backup.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Duration, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::lease::Lease;
use super::{AT_ONCE, BackupId, ChunkEntry, Hash32, Header, Repository, deleted, holders, lists};
use crate::error::{During, Error, ErrorKind, Result};
use crate::storage::{Key, ObjectMeta};

/// How many chunk lists, of up to 4.5 MiB, are read at once.
const LISTS_AT_ONCE: usize = 4;
/// For how long a void manifest is kept: nobody is stopped that long and then goes on.
const VOID_DAYS: i64 = 30;

/// Some objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Tally {
    /// How many.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, objects: u64, bytes: u64) {
        self.objects += objects;
        self.bytes += bytes;
    }
}

/// What came of collecting garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Collected {
    /// Chunks that were deleted.
    pub chunks: Tally,
    /// Chunk lists that were deleted.
    pub lists: Tally,
    /// Single files that were deleted.
    pub files: Tally,
    /// Marks, pending records, records of deleted backups and void manifests that were deleted.
    pub records: Tally,
    /// What writing that was cut off had left under temporary names, and was deleted.
    pub temporary: Tally,
    /// Chunks, lists and single files that nothing needs, and that go when the waiting time is over.
    pub waiting: Tally,
    /// Chunks that backups need.
    pub kept: Tally,
}

impl Collected {
    /// All that was deleted.
    pub fn freed(&self) -> Tally {
        let mut freed = Tally::default();
        for tally in [self.chunks, self.lists, self.files, self.records, self.temporary] {
            freed.add(tally.objects, tally.bytes);
        }
        freed
    }
}

/// Collects garbage, or finds out what there is.
#[derive(Clone, Copy)]
pub(crate) struct Collector<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) lease: &'a Lease,
    /// Deletes nothing.
    pub(crate) dry_run: bool,
    pub(crate) now: DateTime<Utc>,
    pub(crate) waiting_time: Duration,
}

/// What some backups are made of.
#[derive(Default)]
pub(crate) struct Names {
    /// Chunks, by half of their ids, which saves memory: of two that agree in these 128 bits, one would only be kept in vain.
    chunks: HashSet<u128>,
    lists: HashSet<Hash32>,
    files: HashSet<String>,
    backups: HashSet<BackupId>,
}

fn half(id: &Hash32) -> u128 {
    let (half, _) = id.0.split_at(16);
    half.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// What is to be done about an object.
enum Verdict {
    Named,
    Garbage,
    /// Garbage that somebody may still be reading.
    Waiting,
    /// Nothing that lifeboat would have put there: it is left alone.
    Strange,
}

impl Collector<'_> {
    /// What the backups `kept` are made of.
    pub(crate) async fn needed(&self, kept: &[Header]) -> Result<Names> {
        let mut named = Names::default();
        kept.iter().for_each(|header| named.add(header));
        self.read_lists(kept, &mut named, true).await?;
        Ok(named)
    }

    /// Deletes what is not `named`. Those backups in `dropped` have just been deleted, or would be.
    pub(crate) async fn run(&self, named: Names, dropped: &[Header]) -> Result<Collected> {
        let records = self.list(deleted::FOLDER).await?;
        let mut recent = Names::default();
        let mut recently: Vec<Header> = dropped.to_vec();
        for meta in records.iter().filter(|meta| !self.is_old(meta)) {
            recently.extend(self.deleted(meta).await?);
        }
        recently.iter().for_each(|header| recent.add(header));
        self.read_lists(&recently, &mut recent, false).await?;

        let mut collected = Collected::default();
        let (mut waiting, mut kept_chunks) = (Tally::default(), Tally::default());
        for (folder, tally) in [("chunks", &mut collected.chunks), ("lists", &mut collected.lists)] {
            let is_chunk = folder == "chunks";
            // Of a sealed chunk there may be several objects. All of them stay with it.
            let sealed = is_chunk && self.repository.is_sealed();
            let id = |key: &Key| ChunkEntry::parse_name(key.name(), sealed).map(|(id, _)| id);
            for prefix in 0..=255u8 {
                let mut doomed = Vec::new();
                for meta in self.list(&format!("{folder}/{prefix:02x}")).await? {
                    let has = |names: &Names, id: &Hash32| match is_chunk {
                        true => names.chunks.contains(&half(id)),
                        false => names.lists.contains(id),
                    };
                    let verdict = match id(&meta.key) {
                        None => Verdict::Strange,
                        Some(id) if has(&named, &id) => Verdict::Named,
                        Some(id) if has(&recent, &id) || !self.is_old(&meta) => Verdict::Waiting,
                        Some(_) => Verdict::Garbage,
                    };
                    match verdict {
                        Verdict::Named if is_chunk => kept_chunks.add(1, meta.size),
                        Verdict::Named | Verdict::Strange => {}
                        Verdict::Waiting => waiting.add(1, meta.size),
                        Verdict::Garbage => doomed.push(meta),
                    }
                }
                self.delete(doomed, tally).await?;
            }
        }
        // A single file goes with its backup.
        for file in dropped.iter().filter_map(|header| header.file.as_ref()) {
            collected.files.add(1, file.size);
        }
        let mut doomed = Vec::new();
        for meta in self.list("files").await? {
            let name = meta.key.as_str();
            if named.files.contains(name) || recent.files.contains(name) {
                continue;
            }
            if self.is_old(&meta) {
                doomed.push(meta);
            } else {
                waiting.add(1, meta.size);
            }
        }
        self.delete(doomed, &mut collected.files).await?;
        let is_named = |name: &str| name.parse().is_ok_and(|id: BackupId| named.backups.contains(&id));
        let mut doomed = self.list("marks").await?;
        doomed.retain(|meta| self.is_old(meta) && !is_named(meta.key.name()));
        doomed.extend(self.list("pending").await?.into_iter().filter(|meta| self.is_old(meta)));
        for meta in self.list("manifests").await? {
            let old = self.now - meta.modified > Duration::days(VOID_DAYS);
            if old && !is_named(meta.key.name()) && self.is_void(&meta).await? {
                doomed.push(meta);
            }
        }
        // Last: as long as they are there, what they name is garbage that is known.
        doomed.extend(records.into_iter().filter(|meta| self.is_old(meta)));
        self.delete(doomed, &mut collected.records).await?;
        self.lease.check().await?;
        let old = self.now - self.waiting_time;
        let (objects, bytes) = self.repository.storage().abandoned(old, !self.dry_run).await?;
        collected.temporary.add(objects, bytes);
        (collected.waiting, collected.kept) = (waiting, kept_chunks);
        Ok(collected)
    }

    /// Whether an object was last written longer ago than the waiting time.
    fn is_old(&self, meta: &ObjectMeta) -> bool {
        self.now - meta.modified > self.waiting_time
    }

    async fn list(&self, folder: &str) -> Result<Vec<ObjectMeta>> {
        let folder: Key = folder.parse()?;
        let listed = self.repository.storage().list(&folder).try_collect();
        self.lease.ctx().run(listed).await.during(|| format!("list {folder}"))
    }

    /// Adds the chunks that `headers` name. What a backup that exists names has to be known.
    async fn read_lists(&self, headers: &[Header], names: &mut Names, must: bool) -> Result<()> {
        let records: BTreeSet<_> = headers
            .iter()
            .flat_map(|header| &header.lists)
            .map(|record| (record.id, record.chunks))
            .collect();
        let storage = self.repository.storage();
        let mut reads = stream::iter(records)
            .map(|(id, chunks)| async move {
                let record = super::manifest::ListRecord { id, chunks };
                (id, self.lease.ctx().run(lists::load(&**storage, std::slice::from_ref(&record))).await)
            })
            .buffer_unordered(LISTS_AT_ONCE);
        while let Some((id, read)) = reads.next().await {
            match read {
                Ok(entries) => names.chunks.extend(entries.iter().map(|entry| half(&entry.id))),
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) if must => {
                    return Err(unknown(error.during(format!("read the chunk list {id}"))));
                }
                // The backup is deleted already.
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// The header of a deleted backup.
    async fn deleted(&self, meta: &ObjectMeta) -> Result<Option<Header>> {
        let range = 0..meta.size.min(super::manifest::HEADER_MAX);
        let head = self.lease.ctx().run(self.repository.storage().get(&meta.key, Some(range))).await?;
        Ok(Header::parse(&head).ok().map(|(header, _)| header))
    }

    async fn is_void(&self, meta: &ObjectMeta) -> Result<bool> {
        let range = 0..meta.size.min(super::manifest::HEADER_MAX);
        let head = self.lease.ctx().run(self.repository.storage().get(&meta.key, Some(range))).await?;
        Ok(holders::is_void(&head, meta.key.name()))
    }

    async fn delete(&self, doomed: Vec<ObjectMeta>, tally: &mut Tally) -> Result<()> {
        for meta in &doomed {
            tally.add(1, meta.size);
        }
        if self.dry_run {
            return Ok(());
        }
        let deletions = doomed.into_iter().map(|meta| async move {
            // Right before each: whoever takes this lease over counts on it.
            self.lease.check().await?;
            self.repository.storage().delete(&meta.key).await.during(|| format!("delete {}", meta.key))
        });
        stream::iter(deletions).buffer_unordered(AT_ONCE).try_collect().await
    }
}

impl Names {
    fn add(&mut self, header: &Header) {
        self.lists.extend(header.lists.iter().map(|record| record.id));
        self.files.extend(header.file.iter().map(|file| file.key.clone()));
        self.backups.insert(header.id.clone());
    }
}

/// The error of a prune that does not know all that backups need.
pub(crate) fn unknown(error: Error) -> Error {
    let kind = error.kind();
    let message =
        format!("nothing was deleted, since it is not known what a backup needs: {}", error.message());
    Error::new(kind, message)
        .hint("look into it with `lifeboat check`; a manifest that is beyond repair has to be moved away by hand")
        .because(error)
}
