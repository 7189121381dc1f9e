//! What running backups store in a sealed repository, so that one that was cut off and is run again sends nothing twice.
//!
//! Who seals cannot read back what lies there, and an age file is different each time it is written. So a host notes, signed, the stored form
//! of each chunk *before* it stores it. What a note names is there or not, which the rerun looks for; what is there is always noted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::lists::{self, ChunkEntry};
use super::manifest::{ListRecord, ManifestSeal};
use super::seal::Recipient;
use super::sign::{Author, Proof, Purpose, Signer, SigningKey};
use super::{AT_ONCE, BackupId, FORMAT_VERSION, Hash32, Repository};
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::storage::{Key, PutMode, Storage};

pub(super) const FOLDER: &str = "pending";
/// How many chunks a record names before another is begun: rewriting one costs little beside the chunks themselves.
const RECORD: usize = 1024;
/// A larger object is no pending record.
const SIZE_MAX: u64 = 1 << 20;

/// The first line of a record. A line that proves it follows, then the chunk list that it names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PendingRecord {
    lifeboat: u32,
    repository: String,
    backup: BackupId,
    /// Whom these chunks are sealed for, sorted.
    recipients: Vec<Recipient>,
    list: ListRecord,
}

/// The chunks that need not be stored again.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Those that backups vouch for.
    pub(crate) chunks: HashMap<Hash32, ChunkEntry>,
    /// Those that backups which were not committed may have stored, sorted by their ids: of one there may be several, and not all are there.
    pending: Vec<ChunkEntry>,
}

impl Known {
    /// The stored forms of the chunk `id` that may be there.
    pub(crate) fn candidates(&self, id: &Hash32) -> impl Iterator<Item = &ChunkEntry> {
        let start = self.pending.partition_point(|entry| entry.id < *id);
        let pending = self.pending.get(start..).unwrap_or_default();
        self.chunks.get(id).into_iter().chain(pending.iter().take_while(move |entry| entry.id == *id))
    }
}

/// What one backup stores, noted beforehand.
pub(crate) struct Pending {
    storage: Arc<dyn Storage>,
    repository: String,
    backup: BackupId,
    recipients: Vec<Recipient>,
    signing: SigningKey,
    queue: Mutex<Queue>,
    written: tokio::sync::Mutex<Written>,
}

/// Chunks that are to be noted.
#[derive(Default)]
struct Queue {
    entries: Vec<ChunkEntry>,
    /// How many there have been.
    count: u64,
}

/// The records so far.
#[derive(Default)]
struct Written {
    /// The number of the record that is being filled, and what is in it.
    number: u32,
    entries: Vec<ChunkEntry>,
    /// How many chunks all records name durably.
    count: u64,
}

impl Pending {
    /// The notes of a backup that is about to be made in a sealed repository.
    pub(crate) fn new(repository: &Repository, backup: &BackupId, seal: ManifestSeal) -> Self {
        Self {
            storage: Arc::clone(repository.storage()),
            repository: repository.config().id.clone(),
            backup: backup.clone(),
            recipients: seal.recipients,
            signing: seal.signing,
            queue: Mutex::default(),
            written: tokio::sync::Mutex::default(),
        }
    }

    /// Notes durably that a chunk is about to be stored. Who waits while a record is written is noted together with others in the next.
    pub(crate) async fn note(&self, entry: &ChunkEntry) -> Result<()> {
        let queue = || self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = {
            let mut queue = queue();
            queue.entries.push(*entry);
            queue.count += 1;
            queue.count
        };
        let mut written = self.written.lock().await;
        if written.count >= turn {
            return Ok(());
        }
        // What was taken from the queue stays here if writing fails or is cut short, for who writes next.
        let count = {
            let mut queue = queue();
            written.entries.append(&mut queue.entries);
            queue.count
        };
        let key = self.key(written.number)?;
        let record = self.encode(&written.entries)?;
        self.storage.put(&key, record, PutMode::Overwrite).await.during(|| format!("write {key}"))?;
        written.count = count;
        if written.entries.len() >= RECORD {
            written.entries.clear();
            written.number += 1;
        }
        Ok(())
    }

    /// Removes the notes: a manifest names the chunks now.
    pub(crate) async fn remove(&self) -> Result<()> {
        let mut written = self.written.lock().await;
        for number in 0..=written.number {
            self.storage.delete(&self.key(number)?).await?;
        }
        *written = Written { count: written.count, ..Written::default() };
        Ok(())
    }

    fn key(&self, number: u32) -> Result<Key> {
        Key::new([FOLDER, &format!("{}.{number}", self.backup)])
    }

    fn encode(&self, entries: &[ChunkEntry]) -> Result<Bytes> {
        let (list, bytes) = lists::encode(entries);
        let record = PendingRecord {
            lifeboat: FORMAT_VERSION,
            repository: self.repository.clone(),
            backup: self.backup.clone(),
            recipients: self.recipients.clone(),
            list,
        };
        let not_json =
            |error: serde_json::Error| Error::internal("a pending record is not JSON").because(error);
        let mut file = serde_json::to_vec(&record).map_err(not_json)?;
        let proof = Proof::of(&file, Purpose::Pending, Some(&self.signing));
        file.push(b'\n');
        file.extend(serde_json::to_vec(&proof).map_err(not_json)?);
        file.push(b'\n');
        file.extend(bytes);
        Ok(file.into())
    }
}

/// Reads a record. Nothing of it is believed unless somebody who `counts` signed it.
fn parse(file: &[u8], counts: impl Fn(&Signer) -> bool) -> Result<(PendingRecord, Vec<ChunkEntry>)> {
    let malformed = || Error::damaged("it is no pending record");
    let mut lines = file.splitn(3, |byte| *byte == b'\n');
    let (Some(line), Some(proof), Some(list)) = (lines.next(), lines.next(), lines.next()) else {
        return Err(malformed());
    };
    let proof: Proof = serde_json::from_slice(proof).map_err(|error| malformed().because(error))?;
    match proof.check(line, Purpose::Pending, "the pending record")? {
        Author::Signed(signer) if counts(&signer) => {}
        _ => return Err(Error::new(ErrorKind::UnknownSigner, "nobody known signed it")),
    }
    let record: PendingRecord = serde_json::from_slice(line).map_err(|error| malformed().because(error))?;
    if record.lifeboat > FORMAT_VERSION {
        return Err(super::config::newer("the record", record.lifeboat, "a newer lifeboat"));
    }
    let entries = lists::parse(list, &record.list)?;
    Ok((record, entries))
}

impl Repository {
    /// Adds to what is `known` what backups that were not committed may have stored here, for just those who are to read the next one.
    pub(super) async fn add_pending(&self, ctx: &Ctx, known: &mut Known) -> Result<()> {
        let Some(seal) = self.seal()? else { return Ok(()) };
        let folder: Key = FOLDER.parse()?;
        let listed: Vec<_> = ctx.run(self.storage().list(&folder).try_collect()).await?;
        let mut reads = stream::iter(listed)
            .map(|meta| async move {
                let file = ctx.run(self.storage().get_at_most(&meta.key, SIZE_MAX)).await?;
                parse(&file, |signer| self.access().signers.contains(signer))
            })
            .buffer_unordered(AT_ONCE);
        let (mut refused, mut first) = (0, None);
        while let Some(read) = reads.next().await {
            match read {
                Ok((record, entries)) => {
                    if record.repository == self.config().id && record.recipients == seal.recipients {
                        let news = entries.into_iter().filter(|entry| !known.chunks.contains_key(&entry.id));
                        known.pending.extend(news);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                // That backup has just ended.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    refused += 1;
                    first.get_or_insert(error);
                }
            }
        }
        if let Some(error) = first {
            ctx.warn(format!(
                "{refused} records of backups that were cut off are not used, and what they name is sent again: {error}"
            ));
        }
        known.pending.sort_unstable_by_key(|entry| entry.id);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
