//! Garbage: what no manifest names. docs/format.md says why collecting it harms no backup.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use chrono::{DateTime, Duration, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::lease::Lease;
use super::{AT_ONCE, BackupId, ChunkEntry, Hash32, Header, Repository, deleted, holders, lists};
use crate::error::{During, Error, ErrorKind, Result};
use crate::storage::{Key, ObjectMeta};

/// How many chunk lists, of up to 4.5 MiB, are read at once.
const LISTS_AT_ONCE: usize = 2;
/// How many chunks are known at once: 16 bytes each, 32 MiB.
pub(crate) const PASS: usize = 1 << 21;
/// Chunks lie in directories by the first byte of their ids.
const DIRECTORIES: u32 = 1 << 8;
/// How many doomed objects are remembered before they are deleted.
const DOOMED: usize = 4096;
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
    /// How many chunks are known at once.
    pub(crate) pass: usize,
}

/// What it means that a chunk list cannot be read.
#[derive(Clone, Copy, PartialEq)]
enum Lost {
    Matters,
    IsNothing,
}

/// Why chunks are not known: if a list could not be read, which.
struct Unread {
    error: Error,
    list: Option<Hash32>,
}

impl From<Error> for Unread {
    fn from(error: Error) -> Self {
        Self { error, list: None }
    }
}

/// What some backups are made of.
#[derive(Default)]
pub(crate) struct Names {
    lists: BTreeSet<(Hash32, u32)>,
    files: HashSet<String>,
    backups: HashSet<BackupId>,
}

/// What backups that exist need, and the first of their chunks.
pub(crate) struct Needed {
    names: Names,
    first: Chunks,
    /// The records of deleted backups, and the backups of those that still count.
    records: Vec<ObjectMeta>,
    recently: Vec<Header>,
}

/// The chunks of some lists that lie in some of the directories, sorted: by half of their ids, which saves memory. Of two that agree in these
/// 128 bits, one would only be kept in vain.
struct Chunks {
    directories: Range<u32>,
    ids: Vec<u128>,
}

impl Chunks {
    fn has(&self, id: &Hash32) -> bool {
        self.ids.binary_search(&half(id)).is_ok()
    }
}

fn half(id: &Hash32) -> u128 {
    let (half, _) = id.0.split_at(16);
    half.iter().fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The directory of a chunk.
fn directory(id: u128) -> u32 {
    (id >> 120) as u32
}

/// Takes out what was named twice and, if that is not enough, the upper directories: they come in the next pass. Returns their new end.
fn make_room(ids: &mut Vec<u128>, directories: Range<u32>, pass: usize) -> Result<u32> {
    ids.sort_unstable();
    ids.dedup();
    if ids.len() <= pass / 4 * 3 {
        return Ok(directories.end);
    }
    let middle = ids.get(ids.len() / 2).map_or(directories.start, |id| directory(*id));
    let end = middle.max(directories.start + 1);
    ids.retain(|id| directory(*id) < end);
    if ids.len() > pass / 4 * 3 {
        return Err(Error::damaged(
            "more chunks begin alike than prune can tell apart: the chunk lists are forged",
        ));
    }
    Ok(end)
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
    /// What the backups `kept` are made of, and those that were deleted just now. Errors: if that is not known, for all of them.
    pub(crate) async fn needed(&self, kept: &[Header]) -> Result<Needed> {
        let records = self.list(deleted::FOLDER).await?;
        let mut recently = Vec::new();
        for meta in records.iter().filter(|meta| !self.is_old(meta)) {
            recently.push(self.deleted(meta).await?);
        }
        let mut names = Names::default();
        kept.iter().for_each(|header| names.add(header));
        let first = self.collect(&names.lists, 0..DIRECTORIES, Lost::Matters).await;
        let first = first.map_err(|unread| match unread.list {
            Some(list) => unknown_list(unread.error, &list, kept),
            None => unread.error,
        })?;
        Ok(Needed { names, first, records, recently })
    }

    /// Deletes what is not `needed`. Those backups in `dropped` have just been deleted, or would be.
    pub(crate) async fn run(&self, needed: Needed, dropped: &[Header]) -> Result<Collected> {
        let Needed { names: named, first, records, recently } = needed;
        let mut recent = Names::default();
        dropped.iter().chain(&recently).for_each(|header| recent.add(header));

        let mut collected = Collected::default();
        let (mut waiting, mut kept_chunks) = (Tally::default(), Tally::default());
        let sealed = self.repository.is_sealed();
        let mut chunks = first;
        loop {
            let all = chunks.directories.clone();
            // The backup is deleted already: a list of it that is gone, too, names nothing.
            let recent = self.collect(&recent.lists, all.clone(), Lost::IsNothing).await;
            let recent = recent.map_err(|unread| unread.error)?;
            for directory in recent.directories.clone() {
                let judge = |meta: &ObjectMeta| match ChunkEntry::parse_name(meta.key.name(), sealed) {
                    None => Verdict::Strange,
                    // Of a sealed chunk there may be several objects. All of them stay with it.
                    Some((id, _)) if chunks.has(&id) => Verdict::Named,
                    Some((id, _)) if recent.has(&id) || !self.is_old(meta) => Verdict::Waiting,
                    Some(_) => Verdict::Garbage,
                };
                let folder = format!("chunks/{directory:02x}");
                let kept = self.sweep(&folder, &judge, &mut waiting, &mut collected.chunks).await?;
                kept_chunks.add(kept.objects, kept.bytes);
            }
            let next = recent.directories.end;
            if next >= DIRECTORIES {
                break;
            }
            chunks.ids = Vec::new();
            let ahead = self.collect(&named.lists, next..DIRECTORIES, Lost::Matters).await;
            chunks = ahead.map_err(|unread| match unread.list {
                Some(list) => unread.error.during(format!("read the chunk list {list}")),
                None => unread.error,
            })?;
        }
        let ids = |names: &Names| -> HashSet<Hash32> { names.lists.iter().map(|(id, _)| *id).collect() };
        let (named_lists, recent_lists) = (ids(&named), ids(&recent));
        for directory in 0..DIRECTORIES {
            let judge = |meta: &ObjectMeta| match Hash32::try_from(meta.key.name().to_owned()).ok() {
                None => Verdict::Strange,
                Some(id) if named_lists.contains(&id) => Verdict::Named,
                Some(id) if recent_lists.contains(&id) || !self.is_old(meta) => Verdict::Waiting,
                Some(_) => Verdict::Garbage,
            };
            let folder = format!("lists/{directory:02x}");
            self.sweep(&folder, &judge, &mut waiting, &mut collected.lists).await?;
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

    /// Deletes the garbage of a folder, which is added to `deleted`. Returns what is named.
    async fn sweep(
        &self,
        folder: &str,
        judge: &(dyn Fn(&ObjectMeta) -> Verdict + Sync),
        waiting: &mut Tally,
        deleted: &mut Tally,
    ) -> Result<Tally> {
        let folder: Key = folder.parse()?;
        let (mut named, mut doomed) = (Tally::default(), Vec::new());
        let mut listed = self.repository.storage().list(&folder);
        while let Some(meta) =
            self.lease.ctx().run(listed.try_next()).await.during(|| format!("list {folder}"))?
        {
            match judge(&meta) {
                Verdict::Named => named.add(1, meta.size),
                Verdict::Strange => {}
                Verdict::Waiting => waiting.add(1, meta.size),
                Verdict::Garbage => doomed.push(meta),
            }
            if doomed.len() >= DOOMED {
                self.delete(std::mem::take(&mut doomed), deleted).await?;
            }
        }
        self.delete(doomed, deleted).await?;
        Ok(named)
    }

    /// The chunks that `lists` name in `directories`, or in the first of these if there are too many.
    async fn collect(
        &self,
        lists: &BTreeSet<(Hash32, u32)>,
        directories: Range<u32>,
        lost: Lost,
    ) -> std::result::Result<Chunks, Unread> {
        let storage = self.repository.storage();
        let mut reads = stream::iter(lists.clone())
            .map(|(id, chunks)| async move {
                let record = super::manifest::ListRecord { id, chunks };
                (id, self.lease.ctx().run(lists::load(&**storage, std::slice::from_ref(&record))).await)
            })
            .buffer_unordered(LISTS_AT_ONCE)
            .boxed();
        let named: usize = lists.iter().map(|(_, chunks)| *chunks as usize).sum();
        let mut ids: Vec<u128> = Vec::with_capacity(named.min(self.pass));
        let (start, mut end) = (directories.start, directories.end);
        while let Some((list, read)) = reads.next().await {
            let entries = match read {
                Ok(entries) => entries,
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error.into()),
                Err(error)
                    if lost == Lost::IsNothing
                        && matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) =>
                {
                    continue;
                }
                Err(error) => return Err(Unread { error, list: Some(list) }),
            };
            for id in entries.iter().map(|entry| half(&entry.id)) {
                if !(start..end).contains(&directory(id)) {
                    continue;
                }
                if ids.len() >= self.pass {
                    end = make_room(&mut ids, start..end, self.pass)?;
                    if directory(id) >= end {
                        continue;
                    }
                }
                ids.push(id);
            }
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(Chunks { directories: start..end, ids })
    }

    /// The header of a backup that was deleted just now.
    async fn deleted(&self, meta: &ObjectMeta) -> Result<Header> {
        let range = 0..meta.size.min(super::manifest::HEADER_MAX);
        let head = self.lease.ctx().run(self.repository.storage().get(&meta.key, Some(range))).await?;
        let header = Header::parse(&head).map(|(header, _)| header);
        header.map_err(|error| {
            unknown(error.during(format!("read {}", meta.key)))
                .hint("that backup was deleted, and somebody may still be reading it: prune again later, when its record is old and counts no more")
        })
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
        self.lists.extend(header.lists.iter().map(|record| (record.id, record.chunks)));
        self.files.extend(header.file.iter().map(|file| file.key.clone()));
        self.backups.insert(header.id.clone());
    }
}

/// The error of a prune that cannot read a manifest.
pub(crate) fn unknown_manifest(key: &Key, error: Error) -> Error {
    let hint = format!(
        "`lifeboat check` looks into it; if it is beyond repair, move {key} out of the repository by hand: what only that backup needed goes then"
    );
    unknown(error.during(format!("read {key}"))).hint(hint)
}

/// The error of a prune that cannot read a list that backups are made of.
fn unknown_list(error: Error, list: &Hash32, kept: &[Header]) -> Error {
    let needs = |header: &&Header| header.lists.iter().any(|record| record.id == *list);
    let backups: Vec<_> = kept.iter().filter(needs).map(|header| header.id.as_str()).collect();
    let (few, more) = backups.split_at(backups.len().min(3));
    let and_more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
    let hint = format!(
        "`lifeboat check` says what of {0}{and_more} can still be restored; `lifeboat delete {1}` gives it up, and then prune goes on",
        few.join(", "),
        few.first().unwrap_or(&"BACKUP"),
    );
    unknown(error.during(format!("read the chunk list {list} of {}{and_more}", few.join(", ")))).hint(hint)
}

fn unknown(error: Error) -> Error {
    // That something is missing is damage here, and not a question that was answered.
    let kind = if error.kind() == ErrorKind::NotFound { ErrorKind::Damaged } else { error.kind() };
    let message =
        format!("nothing was deleted, since it is not known what a backup needs: {}", error.message());
    Error::new(kind, message).because(error)
}

#[cfg(test)]
#[path = "garbage_tests.rs"]
mod tests;
