//! What the manager is asked to do.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::codec::{Level, codecs};
use crate::error::{Error, Result};
use crate::filter::Pattern;
use crate::position::{Position, Until};
use crate::repository::{BackupId, BackupType, Format};
use crate::request::Content;
use crate::retention::{Retention, RetentionPolicy};

/// How a [`crate::BackupManager`] works. `default()` is what the system we succeed has.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct BackupConfig {
    /// The directory of the repository, unless a storage is given to the manager.
    pub directory: PathBuf,
    /// The format of backups that do not ask for another.
    pub format: Format,
    /// The name of the codec.
    pub codec: String,
    /// How hard the codec tries.
    pub level: Level,
    /// How many parts are worked on at once.
    pub jobs: usize,
    /// Whether every backup is verified when it is complete.
    pub verify: bool,
    /// At most so many bytes a second to and from the repository.
    pub bytes_per_second: Option<u64>,
    /// Which backups are kept: of every source at most 10, none older than 30 days.
    pub retention: Retention,
    /// When the scheduler makes backups, as five cron fields.
    pub schedule: String,
    /// How long a lease holds without being renewed. Garbage is left alone for six times as long.
    pub lease: Duration,
    /// For how long it is tried to get a lease while others use the repository.
    pub lock_wait: Duration,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("./backups"),
            format: Format::Sql,
            codec: codecs().first().map_or("none", |codec| codec.name()).to_owned(),
            level: Level::default(),
            jobs: std::thread::available_parallelism().map_or(1, usize::from).min(8),
            verify: true,
            bytes_per_second: None,
            retention: Retention::all(RetentionPolicy::window(10, 30)),
            schedule: "0 2 * * *".to_owned(),
            lease: Duration::from_secs(600),
            lock_wait: Duration::from_secs(60),
        }
    }
}

/// What to back up, beyond the source.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BackupOptions {
    /// Full, incremental or differential.
    pub backup_type: BackupType,
    /// Make a full backup where there is none to continue.
    pub or_full: bool,
    /// The format, if not the manager's.
    pub format: Option<Format>,
    /// Tables to include; none means all.
    pub include: Vec<Pattern>,
    /// Tables to leave out.
    pub exclude: Vec<Pattern>,
    /// Objects, rows or both.
    pub content: Content,
    /// Include what lies outside databases.
    pub globals: bool,
    /// Leave out the tables that cannot be read: see [`crate::BackupInfo::left_out`].
    pub skip_unreadable: bool,
    /// Words to find the backup by.
    pub tags: BTreeMap<String, String>,
}

/// What to restore, and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RestoreOptions {
    /// Replace what is in the target.
    pub drop_existing: bool,
    /// Create the target database if there is none.
    pub create_database: bool,
    /// Restore the database as it was at this time: until just before the first transaction, in the order of the log, that committed
    /// later.
    pub point_in_time: Option<DateTime<Utc>>,
    /// Restore the database as it was at this position of its log.
    pub until: Option<Position>,
    /// Do not check what is stored before the target is touched: every chunk is checked when it is read. Scripts, and archives in sealed
    /// repositories, of which nothing else is proven, are checked all the same.
    pub skip_verification: bool,
    /// The name to restore under.
    pub target_database: Option<String>,
    /// Only these tables, with what they need.
    pub tables: Vec<Pattern>,
    /// Objects, rows or both.
    pub content: Content,
    /// How many parts are loaded at once, if not the manager's number.
    pub jobs: Option<usize>,
    /// Leave out owners and grants.
    pub no_owner: bool,
    /// Restore what lies outside databases.
    pub globals: bool,
}

impl RestoreOptions {
    /// How far the log is to be replayed. Errors: `Usage` if a time and a position are given.
    pub(crate) fn until(&self) -> Result<Until> {
        match (self.point_in_time, &self.until) {
            (Some(_), Some(_)) => {
                Err(Error::usage("a time and a position are two different points").hint("give one of them"))
            }
            (Some(time), None) => Ok(Until::Time(time)),
            (None, Some(position)) => Ok(Until::Position(position.clone())),
            (None, None) => Ok(Until::End),
        }
    }
}

/// Which backup is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackupRef {
    /// The newest.
    Latest,
    /// The one with this id, or the only one whose id begins like this.
    Id(String),
    /// A script or archive of ours that lies somewhere.
    File(PathBuf),
}

impl From<&BackupId> for BackupRef {
    fn from(id: &BackupId) -> Self {
        Self::Id(id.as_str().to_owned())
    }
}

impl FromStr for BackupRef {
    type Err = Error;

    /// `latest`, an id or the start of one, or else the path of a file: whatever holds a slash or a dot.
    fn from_str(text: &str) -> Result<Self> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        if text.contains(['/', '.']) {
            return Ok(Self::File(PathBuf::from(text)));
        }
        text.parse::<BackupId>().map(|id| Self::Id(id.as_str().to_owned()))
    }
}
