//! What an engine is: the traits that a database family's crate implements.
//!
//! Engines never see storage, codecs or keys. They are handed a [`PartWriter`] to write what they read, and
//! a [`PartReader`] to read what they are to load.

use std::cmp::Ordering;
use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::part::{Object, Part};
use crate::position::{LogInfo, LogPoint, LogSegment, Position, Replay, Until};
use crate::reader::PartReader;
use crate::request::{BackupRequest, RestoreRequest};
use crate::writer::PartWriter;

/// One engine bound to one source or target, by its [`crate::EngineFactory`]. Making it connects to nothing.
///
/// Every method returns an error of kind `Connect` if the database cannot be reached or does not let us in,
/// and `Cancelled` soon after the context is cancelled, having released what it held on the server: core waits for that, and drops no
/// call where it stands. No error, event or `Debug` output holds a secret.
#[async_trait]
pub trait Engine: Debug + Send + Sync + 'static {
    /// Asks the database what it is and what can be done with it here: what a capability says is what
    /// holds with this server, this account and this version.
    async fn probe(&self, ctx: &Ctx) -> Result<ServerInfo>;

    /// Opens every data connection and takes one snapshot that they all share. If they cannot share one, the session
    /// works through a single connection. Errors: `NotFound` for a missing database, `PermissionDenied`,
    /// `Locked` if the snapshot cannot be had in time.
    async fn begin_backup(&self, ctx: &Ctx, request: BackupRequest) -> Result<Box<dyn BackupSession>>;

    /// Checks that `parts` (those of the backup that were selected, in plan order) can be restored as asked, and gets
    /// ready to. If it returns an error, nothing was touched. Errors: `TargetNotEmpty` unless replacing was
    /// asked for, `Unsupported` for parts that this target cannot hold, `Locked`.
    async fn begin_restore(
        &self,
        ctx: &Ctx,
        request: RestoreRequest,
        parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>>;

    /// Starts to read the change log behind `from`, up to where it ends now. Engines without a log need not implement it.
    /// Errors: `Unreachable` if the server has forgotten what comes behind `from`, or if `from` is in another log.
    async fn open_log(&self, ctx: &Ctx, from: &Position) -> Result<Box<dyn LogSession>> {
        let _ = (ctx, from);
        Err(Error::unsupported("this engine keeps no change log, so there are only full backups")
            .hint("ask for --type full"))
    }

    /// A place for a database that is made only to be looked at: near this target, under a name that nobody else has, and of the same
    /// kind of server. Those that runs which were cut off left there are told by their names, and that nobody uses them, and removed. The target
    /// itself is not touched, whatever it holds. Engines that cannot remove a database again need not implement it.
    async fn scratch(&self, ctx: &Ctx) -> Result<Box<dyn Scratch>> {
        let _ = ctx;
        Err(Error::unsupported("this engine makes no scratch databases")
            .hint("restore into an empty place, and compare there"))
    }

    /// Which of two positions comes first in the log, so that a restore can be planned to one that lies within a segment; `None` if
    /// neither does, as of two logs. It asks no server. Errors: `Usage` for what is no position of this engine. Engines without a log need
    /// not implement it.
    fn order(&self, a: &Position, b: &Position) -> Result<Option<Ordering>> {
        Ok((a == b).then_some(Ordering::Equal))
    }
}

/// A place for a database that is made only to be looked at, and its end. Nothing else in lifeboat removes a database.
///
/// Dropping it does what `discard` would, as far as can be done without waiting.
#[async_trait]
pub trait Scratch: Debug + Send + Sync {
    /// The engine bound to it: a restore makes the database there, a backup reads it.
    fn engine(&self) -> Arc<dyn Engine>;

    /// Removes the database, if one was made, with all that belongs to it, in bounded time. Only what this scratch made is ever removed.
    async fn discard(self: Box<Self>) -> Result<()>;
}

/// What a database is and can do. Recorded in the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServerInfo {
    /// The product's name: `SQLite`, `MariaDB`.
    pub product: String,
    /// Its version as it says it.
    pub version: String,
    /// The name of the database that the URL names.
    pub database: String,
    /// The databases that the server has and the account may see.
    #[serde(default)]
    pub databases: Vec<String>,
    /// What can be done here.
    #[serde(default)]
    pub capabilities: Capabilities,
    /// Its change log, if that can be read here: then there are incremental and differential backups, and restoring to a point in time.
    #[serde(default)]
    pub log: Option<LogInfo>,
}

impl ServerInfo {
    /// A server of the given product and version, serving `database`.
    pub fn new(product: impl Into<String>, version: impl Into<String>, database: impl Into<String>) -> Self {
        let database = database.into();
        Self {
            product: product.into(),
            version: version.into(),
            databases: vec![database.clone()],
            database,
            capabilities: Capabilities::default(),
            log: None,
        }
    }
}

/// What can be done with a database, here and now. False is always safe to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[non_exhaustive]
pub struct Capabilities {
    /// Several connections can read one snapshot.
    pub parallel_snapshot: bool,
    /// Writers go on while a backup reads.
    pub concurrent_writers: bool,
    /// An existing database is replaced in one step, by a finished one.
    pub atomic_replace: bool,
    /// A database that is not there can be created.
    pub create_database: bool,
    /// What lies outside databases can be backed up: accounts, roles.
    pub globals: bool,
}

/// One running backup. It owns the one snapshot of all its connections, and dropping it releases them.
///
/// Core calls `plan` once, then `dump` for many parts at once (at most `jobs`), each part exactly once, then
/// `finish`. A lost connection fails the part: two snapshots are never joined.
#[async_trait]
pub trait BackupSession: Send + Sync {
    /// The snapshot's exact place in the change log: what is before it is in the snapshot, and nothing else. `None` if it is not exactly
    /// known, and then no incremental backup can continue this one. An engine that does not read the log may know it: then it is
    /// kept for who replays the log by other means.
    fn position(&self) -> Option<&LogPoint>;

    /// How many parts can be dumped at once: of more, some would wait for others to end. A script's parts are taken in the order of the
    /// plan, so that core does not begin more than these. Without a bound of its own an engine says nothing here.
    fn readers(&self) -> usize {
        usize::MAX
    }

    /// The tables and the like that are not in the plan because they cannot be read: the account may not, or the server cannot open them. There
    /// are some only where the request says so; and, whatever it says, what nothing that the operator does could bring back.
    fn left_out(&self) -> Vec<Object> {
        Vec::new()
    }

    /// Everything that `dump` will be called for, in the order of a script: a part's `after` come before it. The same for
    /// an unchanged database, whatever `jobs` is: ids, order, bounds and size hints.
    async fn plan(&self, ctx: &Ctx) -> Result<Vec<Part>>;

    /// Writes one part: for [`crate::PartKind::Sql`] its statements, for `Rows` its rows, for the others its bytes. The same bytes
    /// for an unchanged database.
    async fn dump(&self, ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()>;

    /// Ends the backup: an error if something happened meanwhile (DDL, a lost lock) that makes it less than
    /// the database at one moment.
    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()>;
}

/// One running restore. Core calls `load` for a part when all parts in its `after` are loaded, for many parts at once (at
/// most `jobs`), then `replay` for log segments one after another, then `finish`, or after any error `abort`.
/// Dropping it does what `abort` would, as far as can be done without waiting.
#[async_trait]
pub trait RestoreSession: Send + Sync {
    /// Of parts that are ready the one of which this is the least is loaded first, and of equals the first in the plan: the work that others
    /// wait for, or that takes longest, does best early. (A script's parts come in the script's order whatever this says.)
    fn turn(&self, part: &Part) -> u64 {
        let _ = part;
        0
    }

    /// Loads one part, reading it to its end even where it is of no use here: there core finds out whether all of it
    /// came. Its kind is that of the plan, except that rows which come out of a script arrive as
    /// [`crate::PartKind::Sql`].
    async fn load(&self, ctx: &Ctx, part: &Part, input: &mut PartReader) -> Result<()>;

    /// Replays a log segment until `until`: each transaction whole, once, in log order. A segment that is replayed to its end is read
    /// to its end. Engines without a log need not implement it.
    async fn replay(
        &self,
        ctx: &Ctx,
        segment: &LogSegment,
        input: &mut PartReader,
        until: &Until,
    ) -> Result<Replay> {
        let _ = (ctx, segment, input, until);
        Err(Error::unsupported("this engine cannot replay a change log"))
    }

    /// Makes the restored database the target: in one step where there is such a step.
    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()>;

    /// Leaves the target as it was before, or returns an error that says what state it is in. `ctx` may be cancelled already:
    /// this must do its work all the same, in bounded time.
    async fn abort(self: Box<Self>, ctx: &Ctx) -> Result<()>;
}

/// The change log while it is being read. Core calls `next` until it gives `None`, makes the backup exist, and then calls `confirm` once.
/// A session that is dropped without `confirm` leaves the server's log as it was.
#[async_trait]
pub trait LogSession: Send {
    /// Where the log ended when the session was opened: there `next` stops, however busy the server is.
    fn end(&self) -> &LogPoint;

    /// Writes the next segment to `out` as bytes, whole transactions only, and says what it was; `None` when the end is reached. Each starts
    /// where the one before ended, and the last ends at [`end`](Self::end). Segments are as large as suits the engine: tens of
    /// megabytes, so that few of them are needed and little of one is read in vain.
    async fn next(&mut self, ctx: &Ctx, out: &mut PartWriter) -> Result<Option<LogSegment>>;

    /// Everything up to `durable` is safe with us: only now may the server forget it. An error does not undo the backup; the
    /// next one confirms more.
    async fn confirm(&mut self, ctx: &Ctx, durable: &Position) -> Result<()>;
}
