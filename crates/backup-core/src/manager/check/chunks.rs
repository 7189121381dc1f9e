//! The chunks, in passes: those whose ids begin alike are looked at together, and each object once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;

use futures::{StreamExt, TryStreamExt, stream};

use super::{Check, Findings, damage};
use crate::chunks::ChunkReader;
use crate::error::{Error, ErrorKind, Result};
use crate::repository::{ChunkEntry, Hash32, Header, ListRecord};
use crate::storage::{Key, ObjectMeta};

/// How many chunks are known at once: 72 bytes each, 36 MiB.
pub(super) const PASS: usize = 1 << 19;
/// Ids are told apart by their first two bytes.
const PREFIXES: u32 = 1 << 16;

/// Every chunk list that a backup names, once.
pub(super) struct Lists(pub(super) Vec<List>);

pub(super) struct List {
    pub(super) record: ListRecord,
    /// The backups that name it, by their place.
    pub(super) backups: Vec<usize>,
    pub(super) unreadable: bool,
    /// A bit for each chunk, set where it is damaged; empty where none is.
    damaged: Vec<u64>,
}

impl Lists {
    pub(super) fn of(headers: &[Header]) -> Self {
        let mut places = HashMap::new();
        let mut lists: Vec<List> = Vec::new();
        for (backup, header) in headers.iter().enumerate() {
            for record in &header.lists {
                let place = *places.entry((record.id, record.chunks)).or_insert_with(|| {
                    let record = record.clone();
                    lists.push(List { record, backups: Vec::new(), unreadable: false, damaged: Vec::new() });
                    lists.len() - 1
                });
                if lists[place].backups.last() != Some(&backup) {
                    lists[place].backups.push(backup);
                }
            }
        }
        Self(lists)
    }
}

impl List {
    fn mark(&mut self, place: usize) {
        self.damaged.resize((self.record.chunks as usize).div_ceil(64), 0);
        if let Some(bits) = self.damaged.get_mut(place / 64) {
            *bits |= 1 << (place % 64);
        }
    }

    /// Whether the chunk at `place` is damaged.
    pub(super) fn is_damaged(&self, place: usize) -> bool {
        self.unreadable || self.damaged.get(place / 64).is_some_and(|bits| bits & (1 << (place % 64)) != 0)
    }
}

/// The chunks of one pass, sorted, and what was found of each.
struct Pass {
    prefixes: Range<u32>,
    entries: Vec<ChunkEntry>,
    /// Whether the object was seen with the size that it should have.
    seen: Vec<bool>,
    wrong: BTreeMap<usize, String>,
}

fn prefix(id: &Hash32) -> u32 {
    u32::from(id.0[0]) << 8 | u32::from(id.0[1])
}

impl Check<'_> {
    /// Checks every chunk, and counts those that no backup names.
    pub(super) async fn chunks(&self, findings: &mut Findings, lists: &mut Lists) -> Result<()> {
        let mut start = 0;
        while start < PREFIXES {
            let mut pass = self.collect(lists, start).await?;
            start = pass.prefixes.end;
            self.look(findings, &mut pass).await?;
            if self.read_data {
                pass = self.read(findings, pass).await?;
            }
            findings.report.chunks += pass.entries.len() as u64;
            for (place, _) in pass.seen.iter().enumerate().filter(|(_, seen)| !**seen) {
                pass.wrong.entry(place).or_insert_with(|| "is missing".to_owned());
            }
            if !pass.wrong.is_empty() {
                self.attribute(findings, lists, &pass).await?;
            }
        }
        Ok(())
    }

    /// The chunks from the prefix `start` on, as many as go into memory.
    async fn collect(&self, lists: &Lists, start: u32) -> Result<Pass> {
        let named: usize = lists.0.iter().map(|list| list.record.chunks as usize).sum();
        let mut entries: Vec<ChunkEntry> = Vec::with_capacity(named.min(self.pass));
        let mut end = PREFIXES;
        for list in lists.0.iter().filter(|list| !list.unreadable) {
            for entry in self.repository.list(self.ctx, &list.record).await? {
                if !(start..end).contains(&prefix(&entry.id)) {
                    continue;
                }
                if entries.len() >= self.pass {
                    end = make_room(&mut entries, start..end, self.pass)?;
                    if prefix(&entry.id) >= end {
                        continue;
                    }
                }
                entries.push(entry);
            }
        }
        sort(&mut entries);
        let seen = vec![false; entries.len()];
        Ok(Pass { prefixes: start..end, entries, seen, wrong: BTreeMap::new() })
    }

    /// Looks which objects there are, and how large.
    async fn look(&self, findings: &mut Findings, pass: &mut Pass) -> Result<()> {
        for directory in pass.prefixes.start >> 8..=(pass.prefixes.end - 1) >> 8 {
            let directory = Key::new(["chunks".to_owned(), format!("{directory:02x}")])?;
            let mut listed = self.repository.storage().list(&directory);
            while let Some(meta) = self.ctx.run(async { listed.try_next().await }).await? {
                self.see(findings, pass, &meta);
            }
        }
        Ok(())
    }

    fn see(&self, findings: &mut Findings, pass: &mut Pass, meta: &ObjectMeta) {
        let sealed = self.repository.is_sealed();
        let Some((id, hash)) = ChunkEntry::parse_name(meta.key.name(), sealed) else { return };
        if !pass.prefixes.contains(&prefix(&id)) {
            return;
        }
        let first = pass.entries.partition_point(|entry| entry.id < id);
        let same = pass.entries.iter().skip(first).take_while(|entry| entry.id == id).count();
        // Of a sealed chunk there may be several objects.
        let places: Vec<usize> =
            (first..first + same).filter(|place| pass.entries[*place].is_named(hash)).collect();
        if places.is_empty() {
            findings.report.orphans.chunks += 1;
            findings.report.orphans.bytes += meta.size;
            return;
        }
        findings.report.bytes += meta.size;
        for place in places {
            let wanted = u64::from(pass.entries[place].stored_size);
            if wanted == meta.size {
                pass.seen[place] = true;
            } else {
                pass.wrong.insert(place, format!("has {} bytes, not {wanted}", meta.size));
            }
        }
    }

    /// Reads the chunks that are there: their stored bytes are hashed, and what they hold is where it can be read.
    async fn read(&self, findings: &mut Findings, mut pass: Pass) -> Result<Pass> {
        // Who cannot read what is sealed hashes its stored bytes.
        let key = self.repository.chunk_key().ok().or(findings.chunk_key.map(|key| key.0));
        let key = key.filter(|_| self.repository.can_read());
        let reader = ChunkReader::new(self.repository, key, std::mem::take(&mut pass.entries));
        let there: Vec<u32> =
            pass.seen.iter().enumerate().filter(|(_, seen)| **seen).map(|(place, _)| place as u32).collect();
        let reads = stream::iter(there).map(|place| {
            let reader = &reader;
            async move {
                let read = match key {
                    Some(_) => reader.load(self.ctx, place).await.map(|chunk| {
                        chunk.recycle();
                        true
                    }),
                    None => reader.fetch(self.ctx, place).await.map(|_| false),
                };
                let read = match read {
                    // It is sealed for others only: from before somebody was added, or after somebody was removed.
                    Err(error) if error.kind() == ErrorKind::WrongKey => {
                        reader.fetch(self.ctx, place).await.map(|_| false)
                    }
                    read => read,
                };
                (place, read)
            }
        });
        let mut reads = reads.buffer_unordered(self.jobs).boxed();
        while let Some((place, read)) = reads.next().await {
            findings.report.chunks_read += 1;
            match read {
                Ok(decoded) => findings.report.chunks_decoded += u64::from(decoded),
                Err(error) => {
                    pass.wrong.insert(place as usize, damage(error)?);
                }
            }
        }
        drop(reads);
        pass.entries = reader.into_entries();
        Ok(pass)
    }

    /// Finds out which backups need what is damaged.
    async fn attribute(&self, findings: &mut Findings, lists: &mut Lists, pass: &Pass) -> Result<()> {
        let mut users: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
        let named = findings.report.names_more();
        for list in lists.0.iter_mut().filter(|list| !list.unreadable) {
            let mut bad = false;
            for (place, entry) in self.repository.list(self.ctx, &list.record).await?.iter().enumerate() {
                let Ok(found) = pass.entries.binary_search_by_key(&order(entry), order) else { continue };
                if pass.wrong.contains_key(&found) {
                    list.mark(place);
                    bad = true;
                    if named && (users.len() < 1000 || users.contains_key(&found)) {
                        users.entry(found).or_default().extend(&list.backups);
                    }
                }
            }
            if bad {
                findings.bad.extend(&list.backups);
            }
        }
        for (place, what) in &pass.wrong {
            let object = pass.entries[*place].key(self.repository.is_sealed())?;
            findings.damage(&object, what.clone(), users.remove(place).unwrap_or_default());
        }
        Ok(())
    }
}

fn order(entry: &ChunkEntry) -> (Hash32, Hash32, u32, u32) {
    (entry.id, entry.stored_hash, entry.stored_size, entry.raw_size)
}

fn sort(entries: &mut Vec<ChunkEntry>) {
    entries.sort_unstable_by_key(order);
    entries.dedup();
}

/// Takes out what was named twice and, if that is not enough, the upper prefixes: they come in the next pass. Returns the new end.
fn make_room(entries: &mut Vec<ChunkEntry>, prefixes: Range<u32>, pass: usize) -> Result<u32> {
    sort(entries);
    if entries.len() <= pass / 4 * 3 {
        return Ok(prefixes.end);
    }
    let middle = entries.get(entries.len() / 2).map_or(prefixes.start, |entry| prefix(&entry.id));
    let end = middle.max(prefixes.start + 1);
    entries.retain(|entry| prefix(&entry.id) < end);
    if entries.len() > pass / 4 * 3 {
        return Err(Error::damaged(
            "more chunks begin alike than hashes ever do: the chunk lists are forged",
        ));
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::context::Ctx;
    use crate::repository::Repository;
    use crate::storage::MemoryStorage;

    fn entry(number: u32) -> ChunkEntry {
        let id = Hash32::of(&number.to_le_bytes());
        ChunkEntry { id, stored_hash: id, stored_size: 1, raw_size: 1 }
    }

    async fn lists(repository: &Repository, lists: Vec<Vec<ChunkEntry>>) -> Lists {
        let mut all = Lists(Vec::new());
        for entries in lists {
            for record in repository.store_lists(&entries).await.unwrap() {
                all.0.push(List { record, backups: vec![0], unreadable: false, damaged: Vec::new() });
            }
        }
        all
    }

    #[tokio::test]
    async fn every_chunk_comes_in_one_pass_and_no_pass_is_larger_than_it_may_be() {
        let repository = Repository::init(Arc::new(MemoryStorage::default()), None, &[]).await.unwrap();
        // Lists that share most of what they name, so that what is named is much more than what there is.
        let shared = (0..40).map(|backup| (backup * 50..backup * 50 + 3000).map(entry).collect()).collect();
        let lists = lists(&repository, shared).await;
        let ctx = Ctx::new();
        for pass in [400, 1000, 100_000] {
            let check = Check { ctx: &ctx, repository: &repository, read_data: false, jobs: 1, pass };
            let (mut start, mut seen, mut passes) = (0, BTreeSet::new(), 0);
            while start < PREFIXES {
                let found = check.collect(&lists, start).await.unwrap();
                assert!(found.entries.len() <= pass && found.entries.capacity() <= pass.max(120_000));
                assert!(found.entries.iter().all(|entry| seen.insert(entry.id)), "a chunk came twice");
                start = found.prefixes.end;
                passes += 1;
            }
            assert_eq!(seen.len(), 3000 + 39 * 50);
            println!("{} chunks, at most {pass} at once: {passes} passes", seen.len());
        }
    }

    #[tokio::test]
    async fn forged_lists_whose_chunks_all_begin_alike_end_the_check() {
        let repository = Repository::init(Arc::new(MemoryStorage::default()), None, &[]).await.unwrap();
        let alike = |number: u32| {
            let mut entry = entry(number);
            entry.id.0[..2].fill(7);
            entry
        };
        let lists = lists(&repository, vec![(0..1000).map(alike).collect()]).await;
        let ctx = Ctx::new();
        let check = Check { ctx: &ctx, repository: &repository, read_data: false, jobs: 1, pass: 100 };
        // The first pass ends where they begin.
        let before = check.collect(&lists, 0).await.unwrap();
        assert_eq!((before.entries.len(), before.prefixes.end), (0, 0x0707));
        let error = check.collect(&lists, before.prefixes.end).await.err().unwrap();
        assert_eq!(error.kind(), crate::ErrorKind::Damaged);
    }
}
