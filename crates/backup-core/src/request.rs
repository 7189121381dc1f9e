//! What an engine is asked to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::ServerInfo;
use crate::filter::Filter;
use crate::part::PartId;
use crate::position::{LogSegment, Until};

/// Which half of a database is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// Objects and rows.
    #[default]
    All,
    /// Objects without rows.
    SchemaOnly,
    /// Rows without objects.
    DataOnly,
}

/// What to back up, and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct BackupRequest {
    /// How many parts core will dump at once, at the most; at least 1. Every data connection is opened in
    /// `begin_backup`, so this is how many to open.
    pub jobs: usize,
    /// Which tables. Core checks after `plan` that every pattern matched something.
    pub filter: Filter,
    /// Which half.
    pub content: Content,
    /// Whether to include what lies outside databases: accounts, roles, tablespaces.
    pub globals: bool,
    /// Leave out the tables that cannot be read, and say which (see [`crate::BackupSession::left_out`]), where these would otherwise be an
    /// error.
    pub skip_unreadable: bool,
    /// Parts are dumped in the order of the plan, at most `jobs` at once, and what a later one writes may only be taken when the earlier ones have
    /// ended: into a script. What all parts share, a connection say, then goes to them in that order too (see [`crate::Turns`]).
    pub in_order: bool,
}

impl BackupRequest {
    /// Everything, with so many connections.
    pub fn new(jobs: usize) -> Self {
        Self { jobs: jobs.max(1), ..Self::default() }
    }
}

/// What to do with data that is in the target already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Existing {
    /// Refuse, before anything is touched.
    #[default]
    Refuse,
    /// Put the restored database in its place, when it is complete.
    Replace,
}

/// What to restore, and how.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct RestoreRequest {
    /// How many parts core will load at once, at the most; at least 1.
    pub jobs: usize,
    /// What to do if the target is not empty.
    pub existing: Existing,
    /// Whether to create the target database if there is none. Engines whose databases are files always do.
    pub create_database: bool,
    /// The name to restore under, in place of the one in the target's URL.
    pub target_database: Option<String>,
    /// Which half of the backup comes: with [`Content::DataOnly`] the objects must be there already.
    pub content: Content,
    /// Whether only some objects of the backup come.
    pub partial: bool,
    /// Of those the parts that were asked for; the others are what these need, and no reason to replace anything.
    pub asked: Arc<BTreeSet<PartId>>,
    /// Leave out owners and grants.
    pub no_owner: bool,
    /// Restore what lies outside databases too, if the backup has it.
    pub globals: bool,
    /// The server that was backed up, if that is known.
    pub source: Option<ServerInfo>,
    /// What will be replayed when all parts are loaded, in order: nothing, unless the backup has a log.
    pub log: Arc<[LogSegment]>,
    /// How far.
    pub until: Until,
}

impl RestoreRequest {
    /// Everything, into an empty target, with so many workers.
    pub fn new(jobs: usize) -> Self {
        Self { jobs: jobs.max(1), ..Self::default() }
    }
}
