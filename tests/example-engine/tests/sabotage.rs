//! The suite notices: engines that break one promise each fail the case that is named after it.
//!
//! Each is the toy with something wrong in front of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

mod kv;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use backup_core::{
    BackupRequest, BackupSession, Ctx, DatabaseUrl, Engine, EngineFactory, Error, Existing, LogPoint,
    LogSession, Part, PartWriter, Phase, Position, RestoreRequest, RestoreSession, Result, ServerInfo,
    async_trait,
};
use backup_testkit::engine::{self, EngineFixture};
use kv::KvFixture;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Wrong {
    LosesReferences,
    LosesRows,
    ReadsEveryPartAnew,
    PlansByJobs,
    ForgetsOrder,
    ForgetsTheFilter,
    CreatesWhatIsMissing,
    WritesBesideItsSource,
    IgnoresExisting,
    NeverReplaces,
    IgnoresTheName,
    RestoresInPlace,
    HasALog,
    TakesAnyOption,
    RepeatsThePassword,
    IgnoresCancelling,
}

type Case<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs the case against an engine with `$wrong`, which must fail it.
macro_rules! noticed {
    ($($test:ident: $wrong:ident by $($case:ident)*;)*) => {$(
        #[test]
        fn $test() {
            static ENGINE: EngineFactory = EngineFactory::new("kv", &["kv"], "kv:shop.kv", |url| sabotaged(url, Wrong::$wrong))
                .with_script(|| (example_engine::ENGINE.script.unwrap())());
            $(fails(&ENGINE, stringify!($case), |fixture| Box::pin(engine::$case(fixture)));)*
        }
    )*};
}

noticed! {
    lost_objects_are_noticed: LosesReferences by every_type_and_object_comes_back_in_every_format foreign_key_cycles_come_back_in_every_format a_script_loads_with_the_databases_own_client;
    lost_rows_are_noticed: LosesRows by every_type_and_object_comes_back_in_every_format hostile_names_and_texts_come_back_in_every_format huge_values_come_back duplicate_rows_do_not_cancel_in_a_digest an_export_restores_like_its_backup a_restore_with_one_job_is_the_same;
    a_second_snapshot_is_noticed: ReadsEveryPartAnew by every_backup_under_writes_has_the_same_balance;
    a_plan_that_depends_on_jobs_is_noticed: PlansByJobs by a_plan_is_the_same_whatever_the_jobs chunk_ids_are_the_same_whatever_the_jobs;
    a_plan_out_of_order_is_noticed: ForgetsOrder by a_plan_can_be_restored_in_its_order;
    a_forgotten_filter_is_noticed: ForgetsTheFilter by a_filter_selects_tables;
    a_database_made_by_a_backup_is_noticed: CreatesWhatIsMissing by a_missing_database_is_an_error;
    a_source_that_is_written_to_is_noticed: WritesBesideItsSource by a_backup_changes_nothing_at_its_source;
    an_overwritten_database_is_noticed: IgnoresExisting by a_target_that_is_not_empty_is_refused_untouched;
    a_database_that_is_never_replaced_is_noticed: NeverReplaces by an_existing_database_is_replaced;
    a_forgotten_name_is_noticed: IgnoresTheName by a_database_is_restored_under_another_name;
    a_half_restored_target_is_noticed: RestoresInPlace by a_load_that_fails_leaves_the_target_as_it_was a_replacement_that_fails_leaves_the_old_database a_cancelled_restore_leaves_nothing an_aborted_or_dropped_restore_leaves_nothing;
    a_log_that_is_not_there_is_noticed: HasALog by what_is_not_said_to_be_possible_is_unsupported;
    an_ignored_option_is_noticed: TakesAnyOption by unknown_options_are_refused;
    a_repeated_secret_is_noticed: RepeatsThePassword by secrets_are_never_repeated;
    an_engine_that_cannot_be_stopped_is_noticed: IgnoresCancelling by a_cancelled_backup_leaves_nothing;
}

fn fails(factory: &'static EngineFactory, name: &str, case: impl Fn(&dyn EngineFixture) -> Case<'_>) {
    let run = std::panic::AssertUnwindSafe(|| {
        backup_testkit::run(async {
            let fixture = KvFixture::of(factory);
            case(&fixture).await;
        });
    });
    let Err(panic) = std::panic::catch_unwind(run) else { panic!("{name} noticed nothing") };
    // It has to be the case that complains, not the sabotage that breaks down.
    let said = panic.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(!said.contains("not yet implemented"), "{name}: {said}");
}

fn sabotaged(url: &DatabaseUrl, wrong: Wrong) -> Result<Arc<dyn Engine>> {
    let mut plain = url.clone();
    if wrong == Wrong::TakesAnyOption {
        plain.options.clear();
    }
    if let Some(password) = plain.password.take()
        && wrong == Wrong::RepeatsThePassword
    {
        return Err(Error::usage(format!("kv has no password {}", password.expose())));
    }
    let inner = (example_engine::ENGINE.from_url)(&plain)?;
    Ok(Arc::new(Sabotaged { inner, path: PathBuf::from(&url.path), wrong }))
}

#[derive(Debug)]
struct Sabotaged {
    inner: Arc<dyn Engine>,
    path: PathBuf,
    wrong: Wrong,
}

#[async_trait]
impl Engine for Sabotaged {
    async fn probe(&self, ctx: &Ctx) -> Result<ServerInfo> {
        match self.wrong {
            Wrong::CreatesWhatIsMissing if !self.path.exists() => std::fs::write(&self.path, "").unwrap(),
            Wrong::WritesBesideItsSource => std::fs::write(self.path.with_extension("lock"), "").unwrap(),
            _ => {}
        }
        self.inner.probe(ctx).await
    }

    async fn begin_backup(&self, ctx: &Ctx, mut request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        let jobs = request.jobs;
        if self.wrong == Wrong::ForgetsTheFilter {
            // It asks, as it must, and does not listen.
            for name in ["keep_one", "keep_two", "drop_one"] {
                request.filter.selects(None, None, name);
            }
            request.filter = backup_core::Filter::default();
        }
        let session = self.inner.begin_backup(ctx, request).await?;
        Ok(Box::new(SabotagedBackup { session, inner: Arc::clone(&self.inner), jobs, wrong: self.wrong }))
    }

    async fn begin_restore(
        &self,
        ctx: &Ctx,
        mut request: RestoreRequest,
        parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>> {
        match self.wrong {
            Wrong::IgnoresExisting => request.existing = Existing::Replace,
            Wrong::NeverReplaces => request.existing = Existing::Refuse,
            Wrong::IgnoresTheName => request.target_database = None,
            Wrong::RestoresInPlace => {
                std::fs::write(&self.path, "table {\"name\":\"half\",\"columns\":[]}\n").unwrap()
            }
            _ => {}
        }
        if self.wrong == Wrong::RestoresInPlace {
            request.existing = Existing::Replace;
        }
        self.inner.begin_restore(ctx, request, parts).await
    }

    async fn open_log(&self, ctx: &Ctx, from: &Position) -> Result<Box<dyn LogSession>> {
        if self.wrong == Wrong::HasALog {
            return Err(Error::internal("the log is somewhere"));
        }
        self.inner.open_log(ctx, from).await
    }
}

struct SabotagedBackup {
    session: Box<dyn BackupSession>,
    inner: Arc<dyn Engine>,
    jobs: usize,
    wrong: Wrong,
}

#[async_trait]
impl BackupSession for SabotagedBackup {
    fn position(&self) -> Option<&LogPoint> {
        self.session.position()
    }

    async fn plan(&self, ctx: &Ctx) -> Result<Vec<Part>> {
        let mut plan = self.session.plan(ctx).await?;
        match self.wrong {
            Wrong::LosesReferences => plan.retain(|part| part.phase != Phase::PostData),
            Wrong::PlansByJobs => {
                let shift = self.jobs as u32;
                for part in &mut plan {
                    part.id.0 += shift;
                    part.after.iter_mut().for_each(|id| id.0 += shift);
                }
            }
            Wrong::ForgetsOrder => plan.reverse(),
            _ => {}
        }
        Ok(plan)
    }

    async fn dump(&self, ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        match self.wrong {
            Wrong::LosesRows if part.phase == Phase::Data => Ok(()),
            Wrong::ReadsEveryPartAnew => {
                let session = self.inner.begin_backup(ctx, BackupRequest::new(1)).await?;
                let plan = session.plan(ctx).await?;
                let part = plan.iter().find(|other| other.id == part.id).unwrap_or(part);
                session.dump(ctx, part, out).await
            }
            Wrong::IgnoresCancelling => {
                let dumped = self.session.dump(ctx, part, out).await;
                if ctx.is_cancelled() {
                    tokio::time::sleep(std::time::Duration::from_secs(12)).await;
                }
                dumped
            }
            _ => self.session.dump(ctx, part, out).await,
        }
    }

    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        self.session.finish(ctx).await
    }
}
