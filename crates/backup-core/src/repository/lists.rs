//! Chunk lists: which chunks a backup is made of, in clear (the ids are keyed), so that whoever cannot read a
//! backup can still copy, check and prune it.

use std::collections::HashSet;

use bytes::Bytes;

use super::id::Hash32;
use super::manifest::ListRecord;
use crate::error::{Error, Result};
use crate::storage::{Key, PutMode, Storage};

const MAGIC: &[u8; 8] = b"LBLIST\0\x01";
const ENTRY: usize = 72;
/// How many chunks one list names at most: 4.5 MiB.
const LIST_MAX: usize = 1 << 16;

/// A chunk as a list names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChunkEntry {
    /// The keyed BLAKE3 of what it holds, which is its name.
    pub(crate) id: Hash32,
    /// The BLAKE3 of its stored bytes.
    pub(crate) stored_hash: Hash32,
    pub(crate) stored_size: u32,
    /// The bytes of rows that it holds.
    pub(crate) raw_size: u32,
}

impl ChunkEntry {
    /// The object that holds it. What is sealed is another age file each time it is written, so there its name carries the start of its
    /// stored hash: two backups that store the same chunk at once, or for other recipients, do not replace each other's.
    pub(crate) fn key(&self, sealed: bool) -> Result<Key> {
        let plain = self.id.key("chunks")?;
        if !sealed {
            return Ok(plain);
        }
        format!("{plain}.{}", hex::encode(self.short_hash())).parse()
    }

    fn short_hash(&self) -> [u8; 8] {
        *self.stored_hash.0.first_chunk::<8>().unwrap_or(&[0; 8])
    }

    /// Takes the name of a chunk's object apart: its id, and in a sealed repository the start of its stored hash.
    pub(crate) fn parse_name(name: &str, sealed: bool) -> Option<(Hash32, Option<[u8; 8]>)> {
        if !sealed {
            return Some((Hash32::try_from(name.to_owned()).ok()?, None));
        }
        let (id, hash) = name.split_once('.')?;
        let mut short = [0; 8];
        hex::decode_to_slice(hash, &mut short).ok()?;
        Some((Hash32::try_from(id.to_owned()).ok()?, Some(short)))
    }

    /// Whether an object whose name carries this start of a stored hash is the one that is meant.
    pub(crate) fn is_named(&self, short: Option<[u8; 8]>) -> bool {
        short.is_none_or(|short| short == self.short_hash())
    }
}

fn key(id: &Hash32) -> Result<Key> {
    id.key("lists")
}

/// Stores `entries` as lists, unless they are there already.
pub(crate) async fn store(storage: &dyn Storage, entries: &[ChunkEntry]) -> Result<Vec<ListRecord>> {
    let mut records = Vec::new();
    for entries in entries.chunks(LIST_MAX) {
        let (record, list) = encode(entries);
        // Written again even if it is there: it costs little, and it mends a damaged one.
        storage.put(&key(&record.id)?, list, PutMode::Overwrite).await?;
        records.push(record);
    }
    Ok(records)
}

/// A list of at most [`LIST_MAX`] chunks, and its name.
pub(super) fn encode(entries: &[ChunkEntry]) -> (ListRecord, Bytes) {
    let mut list = Vec::with_capacity(MAGIC.len() + ENTRY * entries.len());
    list.extend_from_slice(MAGIC);
    for entry in entries {
        list.extend_from_slice(&entry.id.0);
        list.extend_from_slice(&entry.stored_hash.0);
        list.extend_from_slice(&entry.stored_size.to_le_bytes());
        list.extend_from_slice(&entry.raw_size.to_le_bytes());
    }
    (ListRecord { id: Hash32::of(&list), chunks: entries.len() as u32 }, list.into())
}

/// Reads and checks the lists that `records` name.
pub(crate) async fn load(storage: &dyn Storage, records: &[ListRecord]) -> Result<Vec<ChunkEntry>> {
    let mut entries = Vec::new();
    let mut seen = HashSet::new();
    for record in records {
        // No backup names a chunk twice; one that somebody made up could name one list for ever.
        if !seen.insert(record.id) {
            return Err(Error::damaged(format!("it names the chunk list {} twice", record.id)));
        }
        // A manifest that somebody made up may say any number.
        let chunks = (record.chunks as usize).min(LIST_MAX);
        let list = storage.get_at_most(&key(&record.id)?, (MAGIC.len() + ENTRY * chunks) as u64).await?;
        entries.extend(parse(&list, record)?);
    }
    Ok(entries)
}

/// Checks the list that `record` names, and takes it apart.
pub(super) fn parse(list: &[u8], record: &ListRecord) -> Result<Vec<ChunkEntry>> {
    if Hash32::of(list) != record.id {
        return Err(Error::damaged(format!("the chunk list {} does not fit its hash", record.id)));
    }
    let malformed = || Error::damaged(format!("the chunk list {} is malformed", record.id));
    let body = list.strip_prefix(MAGIC).ok_or_else(malformed)?;
    if body.len() != ENTRY * record.chunks as usize {
        return Err(malformed());
    }
    body.chunks_exact(ENTRY)
        .map(|entry| {
            let (id, rest) = entry.split_first_chunk::<32>().ok_or_else(malformed)?;
            let (stored_hash, rest) = rest.split_first_chunk::<32>().ok_or_else(malformed)?;
            let (stored_size, rest) = rest.split_first_chunk::<4>().ok_or_else(malformed)?;
            let raw_size = rest.first_chunk::<4>().ok_or_else(malformed)?;
            Ok(ChunkEntry {
                id: Hash32(*id),
                stored_hash: Hash32(*stored_hash),
                stored_size: u32::from_le_bytes(*stored_size),
                raw_size: u32::from_le_bytes(*raw_size),
            })
        })
        .collect()
}
