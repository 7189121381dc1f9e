//! Reading the log.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};
use std::time::Duration;

use async_trait::async_trait;
use backup_core::storage::Key;
use backup_core::{BackupOptions, BackupRef, BackupType, Ctx, Engine, ErrorKind, Position, Result};
use tokio::sync::watch;

use super::{ACCOUNTS, FailIn, LogFixture, PauseIn, Story, change};
use crate::engine::Table;
use crate::engine::cancel::{CancelAt, moments};
use crate::engine::repository::{assert_same, told};
use crate::faults::{Call, FailAt, Fault, Faulty, Recording};

fn engine(story: &Story<'_>) -> Arc<dyn Engine> {
    (story.fixture.factory().from_url)(&story.source).expect("the engine takes the fixture's URL")
}

/// Each starts at the end of what it continues, and any of them restores to what the database was.
pub async fn backups_of_the_log_continue_where_the_last_one_ended(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    let mut states = Vec::new();
    for n in 0..6 {
        for step in 0..6 {
            story.change(n * 10 + step).await;
        }
        let kind = if n == 3 { BackupType::Differential } else { BackupType::Incremental };
        let backup = story.backup(kind).await;
        let expected = if kind == BackupType::Differential { 12 * (n as u64 + 1) } else { 12 };
        assert!(backup.transactions >= expected, "{} of {expected} transactions", backup.transactions);
        states.push((backup, story.dump().await));
    }
    for (backup, expected) in &states {
        let (report, found) = story.restored(&BackupRef::from(&backup.id), |_| {}).await;
        assert_same(expected, &found, &format!("the copy by way of {}", report.replayed.len()));
        assert_eq!(report.position, backup.position);
    }
    for pair in states.windows(2) {
        if pair[1].0.backup_type == BackupType::Incremental {
            assert_eq!(pair[0].0.position, pair[1].0.start);
        }
    }
}

/// Full and incremental backups begin and end between any two transactions of others: there are some before each call to the storage.
pub async fn nothing_is_left_out_or_comes_twice_while_others_write(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    let done = AtomicBool::new(false);
    let writes = Arc::new(Meanwhile::default());
    let write = async {
        let mut n = 0;
        while !done.load(Atomic::SeqCst) {
            story.change(n).await;
            n += 1;
            writes.count.send_replace(n as u64);
            tokio::task::yield_now().await;
        }
        n
    };
    let busy = story.repository.behind(Faulty::around(Arc::clone(&story.repository.storage), writes.clone()));
    let back_up = async {
        for n in 0..8 {
            // Enough for a log of several segments.
            writes.more(4).await;
            let kind = if n == 4 { BackupType::Full } else { BackupType::Incremental };
            let made = story.try_backup(&busy, kind).await;
            made.unwrap_or_else(|error| panic!("no backup of a busy database: {}", told(&error)));
        }
        done.store(true, Atomic::SeqCst);
    };
    let (changes, ()) = tokio::join!(write, back_up);
    assert!(changes >= 32, "only {changes} changes were made meanwhile");
    story.incremental().await;
    let expected = story.dump().await;
    // Both chains: one ends with the last backup before the second full one, the other with the last of all.
    let backups = story.repository.manager().list_backups().await.expect("backups are listed");
    let second = backups.iter().rposition(|backup| backup.backup_type == BackupType::Full);
    let end = backups[..second.expect("there are two")].last().expect("a chain before it");
    story.restored(&BackupRef::from(&end.id), |_| {}).await;
    let (_, found) = story.restored(&BackupRef::Latest, |_| {}).await;
    assert_same(&expected, &found, "the copy of a busy database");
}

/// Lets others make a change before each call to the storage, unless they cannot while a backup is at work.
#[derive(Debug)]
struct Meanwhile {
    count: watch::Sender<u64>,
}

impl Default for Meanwhile {
    fn default() -> Self {
        Self { count: watch::Sender::new(0) }
    }
}

impl Meanwhile {
    /// Waits for so many changes.
    async fn more(&self, changes: u64) {
        let mut count = self.count.subscribe();
        let enough = *count.borrow() + changes;
        count.wait_for(|count| *count >= enough).await.expect("somebody writes");
    }
}

#[async_trait]
impl Fault for Meanwhile {
    async fn before(&self, _call: Call, _key: &Key) -> Result<()> {
        let _ = tokio::time::timeout(Duration::from_millis(100), self.more(1)).await;
        Ok(())
    }
}

/// A busy server does not keep a backup from ending, and what came later is in the next one.
pub async fn a_log_is_read_to_where_it_ended_when_it_was_opened(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    story.change(1).await;
    let expected = story.dump().await;
    let point = story.point().await;
    // The lists are read when the log is open, and has not been read.
    let pause = Arc::new(PauseIn::new(Call::Get, "lists"));
    let behind =
        story.repository.behind(Faulty::around(Arc::clone(&story.repository.storage), pause.clone()));
    let later = async {
        pause.is_there.notified().await;
        story.change(2).await;
        pause.go_on.notify_one();
    };
    let (made, ()) = tokio::join!(story.try_backup(&behind, BackupType::Incremental), later);
    let made = made.unwrap_or_else(|error| panic!("no backup: {}", told(&error)));
    assert_eq!(made.position, Some(point.position), "it ends where the log ended when it was opened");
    assert_same(&expected, &story.restored(&BackupRef::from(&made.id), |_| {}).await.1, "the copy");
    story.incremental().await;
    assert_same(
        &story.dump().await,
        &story.restored(&BackupRef::Latest, |_| {}).await.1,
        "the copy of what came later",
    );
}

/// That nothing happened is worth knowing: until when.
pub async fn a_quiet_log_is_known_to_be_quiet(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    story.change(1).await;
    let first = story.incremental().await;
    let quiet = story.wait().await;
    let second = story.incremental().await;
    assert_eq!((second.parent, second.start), (Some(first.id), first.position));
    let (_, found) = story.restored(&BackupRef::Latest, |options| options.point_in_time = Some(quiet)).await;
    assert_same(&story.dump().await, &found, "the copy of a quiet moment");
}

/// A backup that could not be made to exist has not made the server forget anything, nor has one that was only read.
pub async fn the_log_stays_until_it_is_safe(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    story.change(1).await;
    let before = story.repository.listed().await;
    let fault = Arc::new(FailIn(Call::Put, "manifests"));
    let failing = story.repository.behind(Faulty::around(Arc::clone(&story.repository.storage), fault));
    for _ in 0..3 {
        let failed = story.try_backup(&failing, BackupType::Incremental).await;
        assert_eq!(failed.expect_err("its manifest cannot be stored").kind(), ErrorKind::NoSpace);
        story.change(2).await;
    }
    assert_eq!(story.repository.listed().await, before);
    story.incremental().await;
    assert_same(
        &story.dump().await,
        &story.restored(&BackupRef::Latest, |_| {}).await.1,
        "the copy after failed backups",
    );
}

/// Confirming lets the server forget what is safe, and nothing behind it; confirming again does no harm.
pub async fn what_is_confirmed_can_be_continued(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    for n in 0..3 {
        story.change(n).await;
        let backup = story.incremental().await;
        story.change(n + 10).await;
        let end = backup.position.expect("it ends somewhere");
        let ctx = Ctx::new();
        for _ in 0..2 {
            let log = engine(&story).open_log(&ctx, &end).await;
            let mut log = log.unwrap_or_else(|error| panic!("it cannot be continued: {}", told(&error)));
            assert_ne!(log.end().position, end, "something came behind it");
            log.confirm(&ctx, &end).await.expect("it is confirmed again");
        }
    }
    story.incremental().await;
    assert_same(&story.dump().await, &story.restored(&BackupRef::Latest, |_| {}).await.1, "the copy");
}

/// It is said, with the way out; and asked for, a full backup takes its place.
pub async fn a_log_that_was_forgotten_is_unreachable(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    story.change(1).await;
    if !fixture.forget(&story.source).await {
        eprintln!("NOT TESTED: nobody can make this server forget its log");
        return;
    }
    for kind in [BackupType::Incremental, BackupType::Differential] {
        let error = story.try_backup(&story.repository, kind).await.expect_err("its log is gone");
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", told(&error));
        assert!(error.to_string().contains("--or-full"), "{error}");
    }
    let mut options = BackupOptions::default();
    options.backup_type = BackupType::Incremental;
    options.or_full = true;
    let instead = story.repository.manager().backup_with(&story.source, options).await;
    assert_eq!(instead.expect("a full one instead").backup_type, BackupType::Full);
    story.change(2).await;
    story.incremental().await;
    assert_same(
        &story.dump().await,
        &story.restored(&BackupRef::Latest, |_| {}).await.1,
        "the copy of the new chain",
    );
}

/// A database that another server, or another time line, has made is not continued.
pub async fn a_position_of_another_log_is_unreachable(fixture: &dyn LogFixture) {
    let (one, two) = (Story::begin(fixture).await, Story::begin(fixture).await);
    let ctx = Ctx::new();
    let log = |story: &Story<'_>| {
        let engine = engine(story);
        async move { engine.probe(&Ctx::new()).await.expect("it answers").log.expect("it has a log").id }
    };
    if log(&one).await == log(&two).await {
        eprintln!("NOT TESTED: all databases of this fixture have one log");
        return;
    }
    let error = engine(&one).open_log(&ctx, &two.point().await.position).await.err();
    assert_eq!(error.expect("it is another log").kind(), ErrorKind::Unreachable);
    assert_eq!(
        engine(&one).order(&one.point().await.position, &two.point().await.position).expect("positions"),
        None
    );
}

/// Later ones are greater, each is equal to itself, and what is none is refused.
pub async fn positions_are_in_order(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    let mut points = vec![story.point().await];
    for n in 0..4 {
        story.change(n).await;
        points.push(story.point().await);
    }
    let engine = engine(&story);
    for (i, a) in points.iter().enumerate() {
        for (j, b) in points.iter().enumerate() {
            let order = engine.order(&a.position, &b.position).expect("they are positions");
            assert_eq!(order, Some(i.cmp(&j)), "{} and {}", a.position.0, b.position.0);
            assert!(order != Some(Ordering::Less) || a.time <= b.time, "the clock went back");
        }
    }
    let none = Position("no position at all".into());
    let refused = engine.order(&points[0].position, &none);
    assert_eq!(refused.expect_err("it is no position").kind(), ErrorKind::Usage);
}

/// Nothing is listed, the server forgets nothing, and the next one works.
pub async fn a_cancelled_backup_of_the_log_leaves_nothing(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    let quick = |ctx| story.repository.under(ctx).unverified();
    story.change(0).await;
    let (never, ctx) = CancelAt::new(u64::MAX);
    story.try_backup(&quick(ctx), BackupType::Incremental).await.expect("nobody cancels it");
    let events = never.seen.load(Atomic::SeqCst);
    let mut cancelled = 0;
    for n in moments(events) {
        story.change(n as i64).await;
        let (_, ctx) = CancelAt::new(n);
        let listed = story.repository.listed().await;
        let new = match story.try_backup(&quick(ctx), BackupType::Incremental).await {
            Ok(_) => 1,
            Err(error) if error.kind() == ErrorKind::Cancelled => 0,
            Err(error) => panic!("cancelled at event {n} of {events}: {}", told(&error)),
        };
        assert_eq!(story.repository.listed().await, listed + new, "cancelled at event {n} of {events}");
        cancelled += 1 - new;
    }
    assert!(cancelled > 2, "only {cancelled} of the backups were cancelled");
    story.incremental().await;
    assert_same(
        &story.dump().await,
        &story.restored(&BackupRef::Latest, |_| {}).await.1,
        "the copy after cancelled backups",
    );
}

/// Whichever call fails: nothing is listed that is not whole, and the next one continues without a hole.
pub async fn a_backup_of_the_log_whose_repository_fails_anywhere_leaves_nothing(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    for kind in [BackupType::Incremental, BackupType::Differential] {
        story.change(0).await;
        // What earlier ones left is no call of this one.
        story.repository.manager().unlock(true).await.expect("the repository works");
        let recording = Arc::new(Recording::default());
        let recorded = Faulty::around(Arc::clone(&story.repository.storage), recording.clone());
        story.try_backup(&story.repository.behind(recorded).unverified(), kind).await.expect("nothing fails");
        let mut listed = story.repository.listed().await;
        let (points, mut failed) = (recording.points(), 0);
        for (n, point) in points.iter().enumerate() {
            // Leases that could not be given back are those of a process that is there.
            story.repository.manager().unlock(true).await.expect("the repository works again");
            story.change(n as i64).await;
            let fault = Arc::new(FailAt::new(point, ErrorKind::NoSpace));
            let faulty = Faulty::around(Arc::clone(&story.repository.storage), fault.clone());
            match story.try_backup(&story.repository.behind(faulty).unverified(), kind).await {
                Ok(_) => listed += 1,
                Err(error) => {
                    assert!(fault.has_failed(), "{point}: {}", told(&error));
                    assert_eq!(error.kind(), ErrorKind::NoSpace, "{point}: {}", told(&error));
                    failed += 1;
                }
            }
            assert_eq!(story.repository.listed().await, listed, "failing at {point}");
        }
        // All but what comes behind the commit, and what need not be done again.
        assert!(failed * 4 >= points.len() * 3, "{kind:?}: only {failed} of {} failed", points.len());
        println!("{kind:?}: failed at {failed} of {} calls", points.len());
        story.backup(kind).await;
        let (_, found) = story.restored(&BackupRef::Latest, |_| {}).await;
        assert_same(&story.dump().await, &found, "the copy after failed backups");
    }
    // Another table is in the log as well.
    fixture.table(&story.source, Table::keyed("late")).await;
    change(fixture, &story.source, 99).await;
    story.incremental().await;
    assert!(fixture.total(&story.source, ACCOUNTS).await == 8000);
    assert_same(
        &story.dump().await,
        &story.restored(&BackupRef::Latest, |_| {}).await.1,
        "the copy with a new table",
    );
}
