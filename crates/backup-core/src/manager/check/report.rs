//! What a check of the repository found.

use serde::Serialize;

/// How many damaged objects are named one by one. All of them are counted, and every backup that they affect is named.
const NAMED: usize = 1000;

/// What a check of the repository found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CheckReport {
    /// Backups, also those whose manifest cannot be read.
    pub backups: u64,
    /// Chunk lists that backups name.
    pub lists: u64,
    /// Chunks that backups name, each counted once.
    pub chunks: u64,
    /// Single files of backups.
    pub files: u64,
    /// The stored bytes of chunks and files.
    pub bytes: u64,
    /// Of the chunks, those that were read and hashed; and of these, those that were decoded and hashed again by what they hold.
    pub chunks_read: u64,
    /// See [`Self::chunks_read`].
    pub chunks_decoded: u64,
    /// What no backup names: of one that was cut off or deleted, or of one that runs now. It does no harm.
    pub orphans: Orphans,
    /// What is damaged, at most 1,000 objects of it.
    pub damage: Vec<Damage>,
    /// How many more objects are damaged.
    pub more_damage: u64,
    /// The backups that need something that is damaged, oldest first.
    pub affected: Vec<Affected>,
}

/// Objects that no backup names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Orphans {
    /// Chunks.
    pub chunks: u64,
    /// Chunk lists.
    pub lists: u64,
    /// Single files.
    pub files: u64,
    /// Marks of backups that are not there.
    pub marks: u64,
    /// What backups that were cut off, or that run now, noted for those after them.
    pub pending: u64,
    /// Records of deleted backups, which go when the waiting time is over.
    pub deleted: u64,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// An object that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Damage {
    /// The object's name in the repository.
    pub object: String,
    /// What is wrong with it.
    pub what: String,
    /// The backups that name it, oldest first.
    pub backups: Vec<String>,
}

/// A backup that needs something that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Affected {
    /// Its id.
    pub backup: String,
    /// The database, if the manifest can be read.
    pub database: Option<String>,
    /// Tables of which everything is there: `restore --table` brings them back.
    pub restorable: Vec<String>,
    /// Tables and other objects of which something is lost.
    pub lost: Vec<String>,
    /// What else there is to say.
    pub note: Option<String>,
}

impl CheckReport {
    /// Whether everything is as it should be. Orphans are no damage.
    pub fn is_good(&self) -> bool {
        self.damage.is_empty() && self.affected.is_empty()
    }

    pub(super) fn note(&mut self, damage: Damage) {
        if self.damage.len() < NAMED {
            self.damage.push(damage);
        } else {
            self.more_damage += 1;
        }
    }

    /// Whether more damage would be named.
    pub(super) fn names_more(&self) -> bool {
        self.damage.len() < NAMED
    }
}
