//! What an engine with a change log promises beyond [`crate::engine`], case by case.
//!
//! The cases make changes, back them up and restore them, and compare databases by the fixture's own dump.

mod backup;
mod restore;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use backup_core::storage::Key;
use backup_core::{
    BackupInfo, BackupOptions, BackupRef, BackupRequest, BackupType, Ctx, DatabaseUrl, Error, ErrorKind,
    LogPoint, RestoreOptions, RestoreReport, Result,
};
use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use crate::engine::repository::{Repository, told};
use crate::engine::{EngineFixture, Table};
use crate::faults::{Call, Fault};

pub use backup::*;
pub use restore::*;

/// A database with a change log, as the suite uses it: what [`EngineFixture::empty`] gives keeps one.
#[async_trait]
pub trait LogFixture: EngineFixture {
    /// The server's clock, in the precision of its log.
    async fn clock(&self, url: &DatabaseUrl) -> DateTime<Utc>;

    /// Makes the server forget all of its log, whether it is confirmed or not; `false` where nobody can.
    async fn forget(&self, url: &DatabaseUrl) -> bool;

    /// Adds a row to a table of the suite, in a transaction that commits at this time, earlier ones included; `false` where nobody can.
    async fn insert_at(&self, url: &DatabaseUrl, table: &str, id: i64, time: DateTime<Utc>) -> bool {
        let _ = (url, table, id, time);
        false
    }
}

/// Expands to one test for each promise of an engine with a log. The expression makes a [`LogFixture`]; each test makes its own.
#[macro_export]
macro_rules! log_conformance {
    ($fixture:expr) => {
        $crate::cases! { $fixture, log,
            backups_of_the_log_continue_where_the_last_one_ended
            nothing_is_left_out_or_comes_twice_while_others_write
            a_log_is_read_to_where_it_ended_when_it_was_opened
            a_quiet_log_is_known_to_be_quiet
            the_log_stays_until_it_is_safe
            what_is_confirmed_can_be_continued
            a_log_that_was_forgotten_is_unreachable
            a_position_of_another_log_is_unreachable
            positions_are_in_order
            a_cancelled_backup_of_the_log_leaves_nothing
            a_backup_of_the_log_whose_repository_fails_anywhere_leaves_nothing
            a_replay_stops_just_before_the_first_later_transaction
            commit_times_out_of_order_change_nothing
            a_replay_stops_at_a_position
            a_replay_that_fails_or_is_cancelled_leaves_the_target
        }
    };
}

/// A database that changes, and its backups.
struct Story<'a> {
    fixture: &'a dyn LogFixture,
    repository: Repository<'a>,
    source: DatabaseUrl,
}

const ACCOUNTS: &str = "accounts";
const JOURNAL: &str = "journal";

impl<'a> Story<'a> {
    /// A database with a full backup.
    async fn begin(fixture: &'a dyn LogFixture) -> Self {
        let source = fixture.empty().await;
        fixture.table(&source, Table::keyed(ACCOUNTS)).await;
        fixture.table(&source, Table::keyless(JOURNAL)).await;
        fixture.insert(&source, ACCOUNTS, &(0..8).map(|id| (id, 1000, None)).collect::<Vec<_>>()).await;
        let repository = Repository::new(fixture);
        repository.backup(&source).await;
        Self { fixture, repository, source }
    }

    /// Two transactions, neither of which can be left out, or made twice, without showing.
    async fn change(&self, n: i64) {
        change(self.fixture, &self.source, n).await;
    }

    async fn dump(&self) -> String {
        self.fixture.dump(&self.source).await
    }

    async fn try_backup(&self, repository: &Repository<'_>, backup_type: BackupType) -> Result<BackupInfo> {
        let mut options = BackupOptions::default();
        options.backup_type = backup_type;
        repository.manager().backup_with(&self.source, options).await
    }

    async fn backup(&self, backup_type: BackupType) -> BackupInfo {
        let made = self.try_backup(&self.repository, backup_type).await;
        made.unwrap_or_else(|error| panic!("no {backup_type:?} backup: {}", told(&error)))
    }

    async fn incremental(&self) -> BackupInfo {
        self.backup(BackupType::Incremental).await
    }

    /// Restores into an empty place, and dumps that.
    async fn restored(
        &self,
        backup: &BackupRef,
        change: impl FnOnce(&mut RestoreOptions),
    ) -> (RestoreReport, String) {
        let target = self.fixture.empty().await;
        let restored = self.repository.try_restore(backup, &target, change).await;
        let report = restored.unwrap_or_else(|error| panic!("no restore: {}", told(&error)));
        (report, self.fixture.dump(&target).await)
    }

    /// Where the log is now.
    async fn point(&self) -> LogPoint {
        let engine =
            (self.fixture.factory().from_url)(&self.source).expect("the engine takes the fixture's URL");
        let session = engine.begin_backup(&Ctx::new(), BackupRequest::new(1)).await.expect("a session");
        session.position().expect("a log has a position").clone()
    }

    /// Waits until what committed before, and what will commit, are told apart by the log's times.
    async fn wait(&self) -> DateTime<Utc> {
        let engine =
            (self.fixture.factory().from_url)(&self.source).expect("the engine takes the fixture's URL");
        let server = engine.probe(&Ctx::new()).await.expect("it answers");
        let precision = Duration::from_micros(server.log.expect("it has a log").precision_us);
        let pause = 2 * precision + Duration::from_millis(10);
        tokio::time::sleep(pause).await;
        let now = self.fixture.clock(&self.source).await;
        tokio::time::sleep(pause).await;
        now
    }
}

async fn change(fixture: &dyn LogFixture, source: &DatabaseUrl, n: i64) {
    while !fixture.transfer(source, (ACCOUNTS, n % 8), (ACCOUNTS, (n + 3) % 8), n % 7 + 1).await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    fixture.insert(source, JOURNAL, &[(n % 2, n, Some(format!("change {n}")))]).await;
}

/// Fails every call of one kind below a folder.
#[derive(Debug)]
struct FailIn(Call, &'static str);

#[async_trait]
impl Fault for FailIn {
    async fn before(&self, call: Call, key: &Key) -> Result<()> {
        if call == self.0 && key.as_str().starts_with(self.1) {
            return Err(Error::new(ErrorKind::NoSpace, format!("{call:?} of {key} fails on purpose")));
        }
        Ok(())
    }
}

/// Stops before the first call of one kind below a folder, until it is told to go on.
#[derive(Debug)]
struct PauseIn {
    call: Call,
    folder: &'static str,
    paused: AtomicBool,
    is_there: Notify,
    go_on: Notify,
}

impl PauseIn {
    fn new(call: Call, folder: &'static str) -> Self {
        Self { call, folder, paused: AtomicBool::new(false), is_there: Notify::new(), go_on: Notify::new() }
    }
}

#[async_trait]
impl Fault for PauseIn {
    async fn before(&self, call: Call, key: &Key) -> Result<()> {
        let here = call == self.call && key.as_str().starts_with(self.folder);
        if here && !self.paused.swap(true, Ordering::SeqCst) {
            self.is_there.notify_one();
            self.go_on.notified().await;
        }
        Ok(())
    }
}
