//! Places in a database's change log, and what is between them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::part::{Part, PartKind};

/// An engine's place in its change log: binlog file and offset with a GTID set, an LSN, an SCN. Opaque to
/// core, which compares for equality (a segment continues a backup if it starts where that ended) and asks
/// [`crate::Engine::order`] for anything else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub serde_json::Value);

/// A place in the change log, and the time there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogPoint {
    /// The place.
    pub position: Position,
    /// The server's clock there, in the precision of the log's commit times. What lies before it committed no later, and what comes
    /// behind it no earlier, as long as nobody sets the clock back.
    pub time: DateTime<Utc>,
}

impl LogPoint {
    /// The place `position`, at `time`.
    pub fn new(position: Position, time: DateTime<Utc>) -> Self {
        Self { position, time }
    }
}

/// What a server's change log is. Recorded in every backup that can be continued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct LogInfo {
    /// Names this log among those of all servers: a server's UUID, a system identifier with its timeline. A backup is continued
    /// from no other log.
    pub id: String,
    /// How exact its commit times are, in microseconds: 1,000,000 for whole seconds.
    pub precision_us: u64,
}

impl LogInfo {
    /// The log called `id`, whose commit times are exact to so many microseconds.
    pub fn new(id: impl Into<String>, precision_us: u64) -> Self {
        Self { id: id.into(), precision_us }
    }
}

/// How far to replay.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Until {
    /// All there is.
    #[default]
    End,
    /// Up to this position, inclusive: every transaction that ends at or before it.
    Position(Position),
    /// Until just before the first transaction, in log order, that committed later than this time. Commit times need not be in order:
    /// what comes behind that transaction is not replayed, whatever its time.
    Time(DateTime<Utc>),
}

/// One segment of a change log, as it was read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LogSegment {
    /// The part that its bytes are.
    pub part: Part,
    /// What it covers.
    pub span: LogSpan,
}

/// A stretch of a change log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct LogSpan {
    /// Where it starts: the end of what comes before.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// How many transactions it has.
    pub transactions: u64,
    /// The earliest of their commit times. Not always the first one's.
    pub earliest_commit: Option<DateTime<Utc>>,
    /// The latest of their commit times. Not always the last one's.
    pub latest_commit: Option<DateTime<Utc>>,
}

impl LogSpan {
    /// A stretch without transactions.
    pub fn new(start: Position, end: Position) -> Self {
        Self { start, end, transactions: 0, earliest_commit: None, latest_commit: None }
    }

    /// Adds a transaction that committed at `commit`, in any order.
    pub fn add(&mut self, commit: DateTime<Utc>) {
        self.transactions += 1;
        self.earliest_commit = Some(self.earliest_commit.map_or(commit, |earliest| earliest.min(commit)));
        self.latest_commit = Some(self.latest_commit.map_or(commit, |latest| latest.max(commit)));
    }

    /// Adds the stretch that continues this one.
    pub(crate) fn extend(&mut self, next: &Self) {
        self.end.clone_from(&next.end);
        self.transactions += next.transactions;
        self.earliest_commit = self.earliest_commit.into_iter().chain(next.earliest_commit).min();
        self.latest_commit = self.latest_commit.max(next.latest_commit);
    }

    /// Whether what it says of its transactions can be true.
    pub(crate) fn makes_sense(&self) -> bool {
        match (self.earliest_commit, self.latest_commit) {
            (None, None) => self.transactions == 0,
            (Some(earliest), Some(latest)) => self.transactions > 0 && earliest <= latest,
            _ => false,
        }
    }
}

impl LogSegment {
    /// The segment whose bytes are `part`.
    pub fn new(part: Part, span: LogSpan) -> Self {
        Self { part, span }
    }

    /// Checks that it continues what ended at `end`.
    pub(crate) fn check(&self, end: Option<&Position>) -> Result<()> {
        if self.part.kind != PartKind::Log || !self.span.makes_sense() {
            return Err(Error::internal(format!("{} is no segment of a log", self.part.object)));
        }
        if Some(&self.span.start) != end {
            return Err(Error::internal(format!(
                "the log has a hole: a segment starts at {}, where nothing ended",
                self.span.start.0
            )));
        }
        Ok(())
    }
}

/// What replaying a segment came to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Replay {
    /// Where the database is now: the end of the segment if all of it was replayed, otherwise the end of the last transaction
    /// that was.
    pub position: Position,
    /// How many transactions were replayed.
    pub transactions: u64,
    /// Whether `until` was reached, so that no further segment is needed: the first transaction that committed later than the time was met,
    /// or the position. [`Until::End`] is never reached.
    pub reached: bool,
}

impl Replay {
    /// Replayed `transactions` up to `position`.
    pub fn new(position: Position, transactions: u64, reached: bool) -> Self {
        Self { position, transactions, reached }
    }
}
