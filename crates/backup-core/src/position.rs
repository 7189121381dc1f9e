//! Places in a database's change log.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::part::Part;

/// An engine's place in its change log: binlog file and offset with a GTID set, an LSN, an SCN. Opaque to
/// core, which only compares for equality: a segment continues a backup if it starts where that ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(pub serde_json::Value);

/// How far to replay.
#[derive(Debug, Clone, PartialEq)]
pub enum Until {
    /// All there is.
    End,
    /// Up to this position, inclusive.
    Position(Position),
    /// Until just before the first transaction, in log order, that committed later than this time.
    Time(DateTime<Utc>),
}

/// One segment of a change log, as it was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogSegment {
    /// The part that its bytes are.
    pub part: Part,
    /// Where it starts: the end of the one before.
    pub start: Position,
    /// Where it ends.
    pub end: Position,
    /// The commit time of its first transaction, if it has one.
    pub first_commit: Option<DateTime<Utc>>,
    /// The commit time of its last transaction, if it has one.
    pub last_commit: Option<DateTime<Utc>>,
}

impl LogSegment {
    /// A segment without transactions.
    pub fn new(part: Part, start: Position, end: Position) -> Self {
        Self { part, start, end, first_commit: None, last_commit: None }
    }

    /// Says when its first and its last transaction committed.
    #[must_use]
    pub fn committed(mut self, first: DateTime<Utc>, last: DateTime<Utc>) -> Self {
        self.first_commit = Some(first);
        self.last_commit = Some(last);
        self
    }
}

/// What replaying a segment came to.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Replay {
    /// The end of the last transaction that was replayed.
    pub position: Position,
    /// How many transactions were replayed.
    pub transactions: u64,
    /// Whether `until` was reached: no further segment is needed.
    pub reached: bool,
}

impl Replay {
    /// Replayed `transactions` up to `position`.
    pub fn new(position: Position, transactions: u64, reached: bool) -> Self {
        Self { position, transactions, reached }
    }
}
