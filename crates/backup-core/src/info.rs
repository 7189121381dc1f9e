//! What the manager answers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::engine::ServerInfo;
use crate::part::Object;
use crate::position::Position;
use crate::repository::{Author, BackupId, BackupType, Format, Header, Mark, PartRecord, Recipient, Signer};
use crate::request::Content;
use crate::rows::RowDigest;

/// One backup.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BackupInfo {
    /// Its name.
    pub id: BackupId,
    /// Its place in the order of backups, whatever the clocks said.
    pub ordinal: u64,
    /// The database that was backed up.
    pub database: String,
    /// The engine that made it.
    pub engine: String,
    /// The product that the database belongs to.
    pub product: String,
    /// Full, incremental or differential.
    #[serde(rename = "type")]
    pub backup_type: BackupType,
    /// How it is stored.
    pub format: Format,
    /// Where it is: its manifest or its single file, within the repository.
    pub path: String,
    /// Bytes as stored, shared chunks included.
    pub size: u64,
    /// Of these, bytes that were not there before it.
    pub new_size: u64,
    /// Bytes before compression.
    pub raw_size: u64,
    /// Rows of tables.
    pub rows: u64,
    /// When it began.
    pub created_at: DateTime<Utc>,
    /// When it was complete.
    pub finished_at: DateTime<Utc>,
    /// Whether a codec made it smaller.
    pub compressed: bool,
    /// The codec.
    pub codec: String,
    /// Whether everything that it needs was read and checked after it was made, and when last. Of a sealed backup that may be its stored
    /// bytes only: see [`Self::decoded`].
    pub verified: Option<DateTime<Utc>>,
    /// Whether its contents were then decoded and counted too, and when last. Who has no identity of a sealed repository cannot.
    pub decoded: Option<DateTime<Utc>>,
    /// Whom it is sealed for; nobody, if it is not sealed.
    pub recipients: Vec<Recipient>,
    /// Who signed it, in a sealed repository.
    pub signer: Option<Signer>,
    /// Whether that one is known here. Where nothing is sealed, everything counts. What does not count is not restored unless asked for.
    pub trusted: bool,
    /// Objects, rows or both.
    pub content: Content,
    /// Whether patterns selected what is in it.
    pub partial: bool,
    /// The tables that were left out of it because they cannot be read. Known only to whoever has just made it; warnings are
    /// kept.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// The backup that it continues.
    pub parent: Option<BackupId>,
    /// The full backup at the start of its chain, if it is not that itself.
    pub base: Option<BackupId>,
    /// Its exact start in the change log, if it is a stretch of that.
    pub start: Option<Position>,
    /// Its exact end in the change log, if it has one.
    pub position: Option<Position>,
    /// The server's clock at that place.
    pub position_time: Option<DateTime<Utc>>,
    /// The transactions in it, of an incremental or a differential backup.
    pub transactions: u64,
    /// Its tags.
    pub metadata: BTreeMap<String, String>,
}

impl BackupInfo {
    pub(crate) fn of(header: &Header, mark: Option<Mark>, trusted: bool) -> Self {
        let path =
            header.file.as_ref().map_or_else(|| format!("manifests/{}", header.id), |file| file.key.clone());
        Self {
            id: header.id.clone(),
            ordinal: header.ordinal,
            database: header.database.clone(),
            engine: header.engine.clone(),
            product: header.product.clone(),
            backup_type: header.backup_type,
            format: header.format,
            path,
            left_out: Vec::new(),
            size: header.stored_size,
            new_size: header.new_size,
            raw_size: header.raw_size,
            rows: header.rows,
            created_at: header.started,
            finished_at: header.finished,
            compressed: header.codec != "none",
            codec: header.codec.clone(),
            verified: mark.as_ref().map(|mark| mark.verified),
            decoded: mark.and_then(|mark| mark.decoded),
            recipients: header.recipients.clone(),
            signer: match header.author {
                Author::Signed(signer) => Some(signer),
                Author::Nobody => None,
            },
            trusted,
            content: header.content,
            partial: header.partial,
            parent: header.parent.clone(),
            base: header.base.clone(),
            start: header.start.clone(),
            position: header.end.clone(),
            position_time: header.log.as_ref().map(|log| log.end_time),
            transactions: header.log.as_ref().map_or(0, |log| log.transactions),
            metadata: header.tags.clone(),
        }
    }
}

/// One backup with all that is known of it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BackupDetails {
    /// The backup.
    #[serde(flatten)]
    pub info: BackupInfo,
    /// The server as it was.
    pub server: ServerInfo,
    /// The source as it was named, without secrets.
    pub source: String,
    /// What was worth a warning.
    pub warnings: Vec<String>,
    /// Its tables, with what they came to.
    pub tables: Vec<TableSummary>,
    /// Its parts.
    pub parts: Vec<PartRecord>,
    /// Its chain, if it has a place in a log.
    pub chain: Option<ChainInfo>,
}

/// A backup among those that it continues and that continue it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ChainInfo {
    /// What restoring the backup takes, in order: the full backup, and those whose log is replayed behind it, itself the last.
    pub path: Vec<BackupId>,
    /// All backups of the chain, oldest first.
    pub members: Vec<BackupId>,
    /// What a restore to a point in time or to a position can ask for.
    pub reach: Option<Reach>,
}

/// The points that a chain reaches.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Reach {
    /// The position of the full backup, which is the first.
    pub start: Position,
    /// Where the chain ends, of its newest backup first: several only if backups were made at once.
    pub ends: Vec<Position>,
    /// The time of the full backup, which is the first.
    pub from: DateTime<Utc>,
    /// Every time before this one is reached.
    pub before: DateTime<Utc>,
    /// How exact the log's commit times are, in microseconds.
    pub precision_us: u64,
}

/// What the rows of one table came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct TableSummary {
    /// The table; of partitions their root.
    #[serde(flatten)]
    pub table: Object,
    /// The count and the digest of its rows.
    pub digest: RowDigest,
    /// Their bytes before compression.
    pub bytes: u64,
    /// How many parts they are in.
    pub parts: u64,
}

impl TableSummary {
    /// The tables of `parts`, in the order of their first part.
    pub(crate) fn of(parts: &[PartRecord]) -> Vec<Self> {
        let mut tables: Vec<Self> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for record in parts.iter().filter(|record| matches!(record.part.kind, crate::PartKind::Rows { .. })) {
            let object = &record.part.object;
            let root = (object.schema.clone(), object.selected_as().to_owned(), object.name.clone());
            // Partitions sum at their root; a table of rows that belongs to another object stays itself.
            let partition = object.kind == "partition";
            let name = if partition { root.1.clone() } else { root.2 };
            let place = *places.entry((root.0, name.clone())).or_insert_with(|| {
                let mut table = object.clone();
                if partition {
                    "table".clone_into(&mut table.kind);
                    table.name = name;
                    table.table = None;
                }
                tables.push(Self { table, digest: RowDigest::default(), bytes: 0, parts: 0 });
                tables.len() - 1
            });
            if let Some(table) = tables.get_mut(place) {
                table.digest = table.digest.merge(record.digest);
                table.bytes += record.bytes;
                table.parts += 1;
            }
        }
        tables
    }
}

/// What a verification read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct VerifyReport {
    /// Whether what is stored was decoded and counted again. Who has no identity of a sealed repository can only hash stored bytes: their
    /// contents were decoded and compared before they were sealed, and are not read back.
    pub decoded: bool,
    /// Parts whose rows were counted and hashed again.
    pub parts: u64,
    /// Chunks that were read and hashed.
    pub chunks: u64,
    /// Rows of tables.
    pub rows: u64,
    /// Stored bytes.
    pub bytes: u64,
}

impl std::ops::AddAssign for VerifyReport {
    fn add_assign(&mut self, other: Self) {
        self.decoded &= other.decoded;
        self.parts += other.parts;
        self.chunks += other.chunks;
        self.rows += other.rows;
        self.bytes += other.bytes;
    }
}

/// Somebody who uses the repository, or did and left this behind.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct LeaseInfo {
    /// `backup`, `restore`, `prune` and so on.
    pub operation: String,
    /// Whether it keeps everybody else out.
    pub exclusive: bool,
    /// The backup that is being made.
    pub backup: Option<BackupId>,
    /// Where it runs.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// When it was taken, by the clock of the host.
    pub created_at: DateTime<Utc>,
    /// When it was last renewed, by the clock of the store.
    pub renewed_at: DateTime<Utc>,
    /// Whether it need not be respected any more: it was not renewed for too long, or its process has ended.
    pub stale: bool,
    /// Whether its process was on this host and has ended.
    pub ended: bool,
    /// Whether it was removed now.
    pub removed: bool,
}

/// What a restore loaded.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct RestoreReport {
    /// The backup that was restored: the last of those that were needed.
    pub backup: BackupId,
    /// The full backup that was loaded.
    pub full: BackupId,
    /// The backups whose log was replayed behind it, in order.
    pub replayed: Vec<BackupId>,
    /// How many transactions were replayed.
    pub transactions: u64,
    /// Where in its log the database is now, if that is known.
    pub position: Option<Position>,
    /// Where to, without secrets.
    pub target: String,
    /// Parts that were loaded.
    pub parts: u64,
    /// Rows of tables.
    pub rows: u64,
    /// Bytes before compression.
    pub bytes: u64,
    /// Parts that were left out because tables that they need were not selected.
    pub left_out: Vec<String>,
}

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ExportReport {
    /// The backup that was exported.
    pub backup: BackupId,
    /// The file.
    pub path: std::path::PathBuf,
    /// Its size.
    pub size: u64,
}

/// What a copy to another repository did.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CopyReport {
    /// What was copied, each behind what it continues.
    pub copied: Vec<CopiedBackup>,
    /// What was there already.
    pub there: Vec<BackupId>,
}

/// One backup that was copied.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct CopiedBackup {
    /// Its id, which is the same in both.
    pub backup: BackupId,
    /// Bytes as stored there, shared chunks included.
    pub size: u64,
    /// Chunks that it has.
    pub chunks: u64,
    /// Of these, those that were not there before.
    pub chunks_sent: u64,
    /// Bytes that were sent.
    pub bytes_sent: u64,
}

/// How a database that was restored from a backup compares with what the backup says it was.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct ComparisonReport {
    /// Tables whose rows are the same, by number and digest.
    pub equal: u64,
    /// Rows of these tables.
    pub rows: u64,
    /// What is not the same.
    pub different: Vec<Difference>,
    /// What cannot be compared, and why. It may be the same or not.
    pub not_comparable: Vec<Difference>,
}

/// Something that is different, or cannot be compared.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Difference {
    /// A table, another object, or the backup as a whole.
    pub what: String,
    /// In which way, or why not.
    pub why: String,
}

impl ComparisonReport {
    /// Whether everything was compared and is the same.
    pub fn is_equal(&self) -> bool {
        self.different.is_empty() && self.not_comparable.is_empty()
    }
}
