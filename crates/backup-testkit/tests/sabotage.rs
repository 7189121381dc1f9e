//! The suite of logs notices: engines that break one promise each fail the case that is named after it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

mod fakes;

use std::cmp::Ordering;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Atomic};

use backup_core::{
    BackupRequest, BackupSession, Ctx, DatabaseUrl, Engine, EngineFactory, LogPoint, LogSegment, LogSession,
    Part, PartReader, PartWriter, Position, Replay, RestoreRequest, RestoreSession, Result, ServerInfo,
    Until, async_trait,
};
use backup_testkit::fake::{self, FakeDatabase};
use backup_testkit::log::{self, LogFixture};
use fakes::FakeFixture;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    StartsAnewEveryTime,
    LosesASegment,
    ReadsOn,
    KeepsTheTimeOfTheStart,
    ForgetsWhatIsRead,
    ForgetsTooMuch,
    SkipsWhatIsForgotten,
    ConfirmsNothingButErrors,
    OrdersBackwards,
    IgnoresTheTime,
    StopsAtTheTime,
    GoesOnBehindALaterOne,
    IgnoresThePosition,
    ReplaysTwice,
    PublishesAsItGoes,
}

type Case<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs the case against an engine with `$wrong`, which must fail it.
macro_rules! noticed {
    ($($test:ident: $wrong:ident by $($case:ident)*;)*) => {$(
        #[test]
        fn $test() {
            static ENGINE: EngineFactory =
                EngineFactory::new("fake", &["fake"], "fake:shop.fake", |url| sabotaged(url, Wrong::$wrong));
            $(fails(&ENGINE, stringify!($case), |fixture| Box::pin(log::$case(fixture)));)*
        }
    )*};
}

noticed! {
    a_log_that_starts_anew_is_noticed: StartsAnewEveryTime by backups_of_the_log_continue_where_the_last_one_ended;
    a_lost_segment_is_noticed: LosesASegment by backups_of_the_log_continue_where_the_last_one_ended nothing_is_left_out_or_comes_twice_while_others_write;
    reading_behind_the_end_is_noticed: ReadsOn by a_log_is_read_to_where_it_ended_when_it_was_opened;
    a_clock_that_stands_still_is_noticed: KeepsTheTimeOfTheStart by a_quiet_log_is_known_to_be_quiet;
    forgetting_what_was_only_read_is_noticed: ForgetsWhatIsRead by the_log_stays_until_it_is_safe a_backup_of_the_log_whose_repository_fails_anywhere_leaves_nothing a_cancelled_backup_of_the_log_leaves_nothing;
    forgetting_more_than_was_confirmed_is_noticed: ForgetsTooMuch by what_is_confirmed_can_be_continued;
    a_hole_that_is_skipped_is_noticed: SkipsWhatIsForgotten by a_log_that_was_forgotten_is_unreachable a_position_of_another_log_is_unreachable;
    an_order_that_is_wrong_is_noticed: OrdersBackwards by positions_are_in_order a_replay_stops_at_a_position;
    a_time_that_is_ignored_is_noticed: IgnoresTheTime by a_replay_stops_just_before_the_first_later_transaction;
    a_transaction_too_few_is_noticed: StopsAtTheTime by commit_times_out_of_order_change_nothing;
    going_on_behind_a_later_one_is_noticed: GoesOnBehindALaterOne by commit_times_out_of_order_change_nothing;
    a_position_that_is_ignored_is_noticed: IgnoresThePosition by a_replay_stops_at_a_position;
    replaying_twice_is_noticed: ReplaysTwice by backups_of_the_log_continue_where_the_last_one_ended;
    a_target_that_is_touched_early_is_noticed: PublishesAsItGoes by a_replay_that_fails_or_is_cancelled_leaves_the_target;
}

fn fails(factory: &'static EngineFactory, name: &str, case: impl Fn(&dyn LogFixture) -> Case<'_>) {
    let run = std::panic::AssertUnwindSafe(|| {
        backup_testkit::run(async {
            let fixture = FakeFixture::of(factory);
            case(&fixture).await;
        });
    });
    assert!(std::panic::catch_unwind(run).is_err(), "{name} noticed nothing");
}

/// A confirm that fails costs nothing but a warning.
#[test]
fn an_engine_whose_confirm_always_fails_keeps_all_but_that_promise() {
    static ENGINE: EngineFactory = EngineFactory::new("fake", &["fake"], "fake:shop.fake", |url| {
        sabotaged(url, Wrong::ConfirmsNothingButErrors)
    });
    backup_testkit::run(async {
        log::backups_of_the_log_continue_where_the_last_one_ended(&FakeFixture::of(&ENGINE)).await;
        log::nothing_is_left_out_or_comes_twice_while_others_write(&FakeFixture::of(&ENGINE)).await;
    });
}

fn sabotaged(url: &DatabaseUrl, wrong: Wrong) -> Result<Arc<dyn Engine>> {
    let inner = (fake::ENGINE.from_url)(url)?;
    Ok(Arc::new(Sabotaged { inner, database: FakeDatabase::at(&url.path), wrong }))
}

#[derive(Debug)]
struct Sabotaged {
    inner: Arc<dyn Engine>,
    database: FakeDatabase,
    wrong: Wrong,
}

fn moved(position: &Position, by: i64) -> Position {
    let (log, n) = position.0.as_str().unwrap().rsplit_once('/').unwrap();
    Position(format!("{log}/{}", (n.parse::<i64>().unwrap() + by).max(0)).into())
}

#[async_trait]
impl Engine for Sabotaged {
    async fn probe(&self, ctx: &Ctx) -> Result<ServerInfo> {
        self.inner.probe(ctx).await
    }

    async fn begin_backup(&self, ctx: &Ctx, request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        self.inner.begin_backup(ctx, request).await
    }

    async fn begin_restore(
        &self,
        ctx: &Ctx,
        request: RestoreRequest,
        parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>> {
        let session = self.inner.begin_restore(ctx, request, parts).await?;
        let passed = AtomicBool::new(false);
        Ok(Box::new(SabotagedRestore { session, database: self.database.clone(), wrong: self.wrong, passed }))
    }

    async fn open_log(&self, ctx: &Ctx, from: &Position) -> Result<Box<dyn LogSession>> {
        let session = match self.wrong {
            Wrong::StartsAnewEveryTime => self.inner.open_log(ctx, &moved(from, -1)).await?,
            Wrong::SkipsWhatIsForgotten => match self.inner.open_log(ctx, from).await {
                Ok(session) => session,
                Err(_) => {
                    let now = self.inner.begin_backup(ctx, BackupRequest::new(1)).await?;
                    self.inner.open_log(ctx, &now.position().unwrap().position).await?
                }
            },
            Wrong::LosesASegment => {
                let later = moved(from, 4);
                match self.inner.open_log(ctx, &later).await {
                    Ok(session) if session.end().position != later => session,
                    _ => self.inner.open_log(ctx, from).await?,
                }
            }
            _ => self.inner.open_log(ctx, from).await?,
        };
        let mut end = session.end().clone();
        if self.wrong == Wrong::KeepsTheTimeOfTheStart {
            end.time = chrono::DateTime::UNIX_EPOCH;
        }
        let (inner, database) = (Arc::clone(&self.inner), self.database.clone());
        let (from, wrong) = (from.clone(), self.wrong);
        Ok(Box::new(SabotagedLog { session, inner, database, from, end, wrong, segments: 0 }))
    }

    fn order(&self, a: &Position, b: &Position) -> Result<Option<Ordering>> {
        let order = self.inner.order(a, b)?;
        Ok(if self.wrong == Wrong::OrdersBackwards { order.map(Ordering::reverse) } else { order })
    }
}

struct SabotagedLog {
    session: Box<dyn LogSession>,
    inner: Arc<dyn Engine>,
    database: FakeDatabase,
    from: Position,
    end: LogPoint,
    wrong: Wrong,
    segments: u32,
}

#[async_trait]
impl LogSession for SabotagedLog {
    fn end(&self) -> &LogPoint {
        &self.end
    }

    async fn next(&mut self, ctx: &Ctx, out: &mut PartWriter) -> Result<Option<LogSegment>> {
        self.segments += 1;
        if self.wrong == Wrong::ForgetsWhatIsRead {
            self.database.forget(self.database.last().unwrap()).unwrap();
        }
        let mut segment = self.session.next(ctx, out).await?;
        match self.wrong {
            // It says that it read it, and did not.
            Wrong::LosesASegment if self.segments == 1 => {
                if let Some(segment) = &mut segment {
                    segment.span.start = self.from.clone();
                }
            }
            Wrong::ReadsOn if segment.is_none() && self.segments < 100 => {
                self.session = self.inner.open_log(ctx, &self.session.end().position.clone()).await?;
                segment = self.session.next(ctx, out).await?;
            }
            _ => {}
        }
        Ok(segment)
    }

    async fn confirm(&mut self, ctx: &Ctx, durable: &Position) -> Result<()> {
        match self.wrong {
            Wrong::ForgetsTooMuch => self.database.forget(u64::MAX),
            Wrong::ConfirmsNothingButErrors => Err(backup_core::Error::internal("the server is gone")),
            _ => self.session.confirm(ctx, durable).await,
        }
    }
}

struct SabotagedRestore {
    session: Box<dyn RestoreSession>,
    database: FakeDatabase,
    wrong: Wrong,
    passed: AtomicBool,
}

#[async_trait]
impl RestoreSession for SabotagedRestore {
    async fn load(&self, ctx: &Ctx, part: &Part, input: &mut PartReader) -> Result<()> {
        self.session.load(ctx, part, input).await
    }

    async fn replay(
        &self,
        ctx: &Ctx,
        segment: &LogSegment,
        input: &mut PartReader,
        until: &Until,
    ) -> Result<Replay> {
        let mut until = until.clone();
        match (self.wrong, &mut until) {
            (Wrong::IgnoresTheTime, Until::Time(_)) | (Wrong::IgnoresThePosition, Until::Position(_)) => {
                until = Until::End;
            }
            (Wrong::StopsAtTheTime, Until::Time(time)) => *time -= chrono::TimeDelta::milliseconds(1),
            // The latest time is what it looks at, as if times were in order.
            (Wrong::GoesOnBehindALaterOne, Until::Time(time)) => {
                let latest = segment.span.latest_commit.is_some_and(|latest| latest > *time);
                if latest && !self.passed.swap(true, Atomic::SeqCst) {
                    let mut replay = self.session.replay(ctx, segment, input, &Until::End).await?;
                    replay.reached = true;
                    return Ok(replay);
                }
            }
            (Wrong::PublishesAsItGoes, _) => {
                self.database.commit(Vec::new()).unwrap();
            }
            _ => {}
        }
        let mut replay = self.session.replay(ctx, segment, input, &until).await?;
        if self.wrong == Wrong::ReplaysTwice {
            replay.transactions *= 2;
        }
        Ok(replay)
    }

    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        self.session.finish(ctx).await
    }

    async fn abort(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        self.session.abort(ctx).await
    }
}
