//! Cancelling, at any moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use backup_core::{BackupRef, BackupRequest, Ctx, ErrorKind, Event, Existing, Progress, RestoreRequest};

use super::EngineFixture;
use super::repository::{Repository, assert_same, told};
use super::restore::{Held, other, sample};

/// Cancels a context at the N-th event.
pub(crate) struct CancelAt {
    left: AtomicU64,
    pub(crate) seen: AtomicU64,
    cancel: tokio_util::sync::CancellationToken,
}

impl CancelAt {
    pub(crate) fn new(n: u64) -> (Arc<Self>, Ctx) {
        let cancel = tokio_util::sync::CancellationToken::new();
        let it = Arc::new(Self { left: AtomicU64::new(n), seen: AtomicU64::new(0), cancel: cancel.clone() });
        (it.clone(), Ctx::new().with_progress(it).with_cancel(cancel))
    }
}

impl Progress for CancelAt {
    fn event(&self, _event: Event<'_>) {
        self.seen.fetch_add(1, Ordering::SeqCst);
        if self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.cancel.cancel();
        }
    }
}

/// Of `events`, those at which to cancel: the first and last few, and some between.
pub(crate) fn moments(events: u64) -> Vec<u64> {
    let mut moments: Vec<u64> =
        (1..=6).chain((1..10).map(|i| events * i / 10)).chain(events.saturating_sub(4)..=events).collect();
    moments.retain(|n| (1..=events).contains(n));
    moments.sort_unstable();
    moments.dedup();
    moments
}

/// Far more than anybody waits who has pressed a key, and far less than a sample takes on a slow machine.
const SOON: Duration = Duration::from_secs(10);

/// No backup is listed, the source is free, and the next one works.
pub async fn a_cancelled_backup_leaves_nothing(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let (dump, traces) = (fixture.dump(&source).await, fixture.traces(&source).await);
    let repository = Repository::new(fixture).unverified();
    let (never, ctx) = CancelAt::new(u64::MAX);
    repository.under(ctx).backup(&source).await;
    let events = never.seen.load(Ordering::SeqCst);
    let mut cancelled = 0;
    for n in moments(events) {
        // Into the same repository everything is there already; into a fresh one everything is new.
        for repository in [&repository, &Repository::new(fixture).unverified()] {
            let (_, ctx) = CancelAt::new(n);
            let (start, listed) = (Instant::now(), repository.listed().await);
            // Behind the last moment at which it could be stopped, it is complete.
            let new = match repository.under(ctx).manager().backup(&source).await {
                Ok(_) => 1,
                Err(error) if error.kind() == ErrorKind::Cancelled => 0,
                Err(error) => panic!("cancelled at event {n} of {events}: {}", told(&error)),
            };
            assert!(start.elapsed() < SOON, "cancelled at event {n}, it went on for {:?}", start.elapsed());
            assert_eq!(repository.listed().await, listed + new, "cancelled at event {n} of {events}");
            cancelled += 1 - new;
        }
        assert_eq!(traces, fixture.traces(&source).await, "at the source, cancelled at event {n}");
    }
    assert!(cancelled > 10, "only {cancelled} of the backups were cancelled");
    assert_same(&dump, &fixture.dump(&source).await, "the source after cancelled backups");
    let copy = repository.copy(&source).await;
    assert_same(&dump, &fixture.dump(&copy).await, "the copy after cancelled backups");
}

/// The target is as it was, or complete, and the next restore works.
pub async fn a_cancelled_restore_leaves_nothing(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let expected = fixture.dump(&source).await;
    let repository = Repository::new(fixture);
    let backup = BackupRef::from(&repository.backup(&source).await.id);
    let (never, ctx) = CancelAt::new(u64::MAX);
    let scratch = fixture.empty().await;
    let restored = repository.under(ctx).try_restore(&backup, &scratch, |_| {}).await;
    restored.unwrap_or_else(|error| panic!("no restore: {}", told(&error)));
    let events = never.seen.load(Ordering::SeqCst);
    let mut cancelled = 0;
    let mut target = fixture.empty().await;
    for n in moments(events) {
        let before = Held::at(fixture, &target, false).await;
        let (_, ctx) = CancelAt::new(n);
        let start = Instant::now();
        let restored = repository.under(ctx).try_restore(&backup, &target, |_| {}).await;
        assert!(start.elapsed() < SOON, "cancelled at event {n}, it went on for {:?}", start.elapsed());
        match restored {
            Ok(_) => {
                assert_same(&expected, &fixture.dump(&target).await, "a restore that was cancelled too late");
                target = fixture.empty().await;
            }
            Err(error) => {
                cancelled += 1;
                assert_eq!(error.kind(), ErrorKind::Cancelled, "at event {n} of {events}: {}", told(&error));
                assert_eq!(before, Held::at(fixture, &target, false).await, "at event {n} of {events}");
            }
        }
    }
    assert!(cancelled > 5, "only {cancelled} of the restores were cancelled");
    let restored = repository.try_restore(&backup, &target, |_| {}).await;
    restored.unwrap_or_else(|error| panic!("no restore after cancelled ones: {}", told(&error)));
    assert_same(&expected, &fixture.dump(&target).await, "the copy after cancelled restores");
}

/// The session's own promises: `abort` does its work under a cancelled context, and so does dropping it.
pub async fn an_aborted_or_dropped_restore_leaves_nothing(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let engine = |url| (fixture.factory().from_url)(url).expect("the engine takes the fixture's URL");
    let ctx = Ctx::new();
    let session = engine(&source).begin_backup(&ctx, BackupRequest::new(1)).await.expect("a session");
    let parts: Arc<[_]> = session.plan(&ctx).await.expect("a plan").into();
    session.finish(&ctx).await.expect("nothing happened meanwhile");
    let (empty, full) = (fixture.empty().await, other(fixture).await);
    for (target, exists) in [(&empty, false), (&full, true)] {
        for abort in [true, false] {
            let before = Held::at(fixture, target, exists).await;
            let mut request = RestoreRequest::new(2);
            request.create_database = true;
            request.existing = if exists { Existing::Replace } else { Existing::Refuse };
            let ctx = Ctx::new();
            let session = engine(target).begin_restore(&ctx, request, Arc::clone(&parts)).await;
            let session = session.unwrap_or_else(|error| panic!("no session: {}", told(&error)));
            ctx.cancel();
            if abort {
                session.abort(&ctx).await.expect("the target is as it was");
            } else {
                drop(session);
                // Nobody has waited for it.
                let deadline = Instant::now() + SOON;
                while Held::at(fixture, target, exists).await != before && Instant::now() < deadline {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
            assert_eq!(before, Held::at(fixture, target, exists).await, "aborted: {abort}");
        }
    }
}
