//! Replaying the log.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use backup_core::{BackupRef, BackupType, ErrorKind, RestoreOptions};
use chrono::TimeDelta;

use super::{JOURNAL, LogFixture, Story};
use crate::engine::cancel::{CancelAt, moments};
use crate::engine::repository::{assert_same, told};
use crate::engine::restore::Held;
use crate::faults::{Call, Counting, FailNth, Faulty};

/// The database is as it was at that time, wherever in a segment or between two that was.
pub async fn a_replay_stops_just_before_the_first_later_transaction(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    let mut moments = Vec::new();
    for n in 0..7 {
        moments.push((story.wait().await, story.dump().await));
        story.change(n).await;
        if n == 3 {
            story.incremental().await;
        }
    }
    story.incremental().await;
    for backup_type in [BackupType::Incremental, BackupType::Differential] {
        story.backup(backup_type).await;
        for (time, expected) in &moments {
            let (report, found) =
                story.restored(&BackupRef::Latest, |options| options.point_in_time = Some(*time)).await;
            assert_same(expected, &found, &format!("as of {time}, by {} backups", report.replayed.len()));
        }
    }
    let tomorrow = fixture.clock(&story.source).await + TimeDelta::days(1);
    let (first, _) = moments.first().expect("there are moments");
    for time in [tomorrow, *first - TimeDelta::days(1)] {
        let target = fixture.empty().await;
        let before = fixture.traces(&target).await;
        let point = |options: &mut RestoreOptions| options.point_in_time = Some(time);
        let error = story.repository.try_restore(&BackupRef::Latest, &target, point).await;
        let error = error.expect_err("no backup reaches it");
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", told(&error));
        assert_eq!(before, fixture.traces(&target).await, "the target was touched");
    }
}

/// What counts is the order of the log: the first transaction that committed later ends the replay, and those behind it do not come,
/// whatever their times.
pub async fn commit_times_out_of_order_change_nothing(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    let start = story.wait().await;
    let at = |second: i64| start + TimeDelta::seconds(second);
    let seconds = [10, 30, 20, 20, 50, 40, 45, 60];
    let mut states = vec![story.dump().await];
    for (id, second) in seconds.into_iter().enumerate() {
        if !fixture.insert_at(&story.source, JOURNAL, id as i64, at(second)).await {
            eprintln!("NOT TESTED: nobody can tell this server when to commit");
            return;
        }
        states.push(story.dump().await);
        if id % 3 == 2 {
            story.incremental().await;
        }
    }
    story.incremental().await;
    for second in [0, 9, 10, 15, 20, 25, 30, 35, 40, 45, 49, 50, 59] {
        let stop = seconds.iter().position(|commit| *commit > second).expect("there is a later one");
        let (_, found) =
            story.restored(&BackupRef::Latest, |options| options.point_in_time = Some(at(second))).await;
        assert_same(&states[stop], &found, &format!("second {second}"));
    }
}

/// Everything up to it is there, and nothing behind it, also where it is within a segment.
pub async fn a_replay_stops_at_a_position(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    let mut points = vec![(story.point().await, story.dump().await)];
    for n in 0..6 {
        story.change(n).await;
        points.push((story.point().await, story.dump().await));
        if n == 2 {
            story.incremental().await;
        }
    }
    story.incremental().await;
    for (point, expected) in &points {
        let until = |options: &mut RestoreOptions| options.until = Some(point.position.clone());
        let (report, found) = story.restored(&BackupRef::Latest, until).await;
        assert_same(
            expected,
            &found,
            &format!("until {}, by way of {:?}", point.position.0, report.position),
        );
    }
    story.change(7).await;
    let beyond = story.point().await.position;
    let target = fixture.empty().await;
    let until = |options: &mut RestoreOptions| options.until = Some(beyond);
    let error = story.repository.try_restore(&BackupRef::Latest, &target, until).await;
    assert_eq!(error.expect_err("no backup reaches it").kind(), ErrorKind::Unreachable);
}

/// Whatever fails while the log is replayed, and whenever it is cancelled, the target is as it was, and the next restore works.
pub async fn a_replay_that_fails_or_is_cancelled_leaves_the_target(fixture: &dyn LogFixture) {
    let story = Story::begin(fixture).await;
    for n in 0..4 {
        story.change(n).await;
        story.incremental().await;
    }
    let expected = story.dump().await;
    let newest = story.repository.manager().list_backups().await.expect("they are listed").pop();
    let newest = BackupRef::from(&newest.expect("there are backups").id);
    let unchecked = |options: &mut RestoreOptions| options.skip_verification = true;
    let (never, ctx) = CancelAt::new(u64::MAX);
    let counting = Arc::new(Counting::default());
    let counted = Faulty::around(Arc::clone(&story.repository.storage), counting.clone());
    let scratch = fixture.empty().await;
    let watched = story.repository.under(ctx).behind(counted);
    let restored = watched.try_restore(&newest, &scratch, unchecked).await;
    restored.unwrap_or_else(|error| panic!("no restore: {}", told(&error)));
    let (events, gets) = (never.seen.load(Ordering::SeqCst), counting.of(Call::Get));
    let mut target = fixture.empty().await;
    let before = Held::at(fixture, &target, false).await;
    for n in 1..=gets {
        let fault = Arc::new(FailNth::new(&[Call::Get], n));
        let faulty = story.repository.behind(Faulty::around(Arc::clone(&story.repository.storage), fault));
        let restored = faulty.try_restore(&newest, &target, unchecked).await;
        restored.expect_err("a restore went well without all of its backups");
        assert_eq!(before, Held::at(fixture, &target, false).await, "failing at read {n} of {gets}");
    }
    let mut cancelled = 0;
    for n in moments(events) {
        let before = Held::at(fixture, &target, false).await;
        let (_, ctx) = CancelAt::new(n);
        match story.repository.under(ctx).try_restore(&newest, &target, |_| {}).await {
            Ok(_) => {
                assert_same(&expected, &fixture.dump(&target).await, "a restore that was cancelled too late");
                target = fixture.empty().await;
            }
            Err(error) => {
                cancelled += 1;
                assert_eq!(error.kind(), ErrorKind::Cancelled, "at event {n}: {}", told(&error));
                assert_eq!(before, Held::at(fixture, &target, false).await, "at event {n} of {events}");
            }
        }
    }
    assert!(cancelled > 5, "only {cancelled} of the restores were cancelled");
    let restored = story.repository.try_restore(&newest, &target, |_| {}).await;
    restored.unwrap_or_else(|error| panic!("no restore after failed ones: {}", told(&error)));
    assert_same(&expected, &fixture.dump(&target).await, "the copy after failed restores");
}
