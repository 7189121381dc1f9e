//! A restore: everything is checked, the engine agrees, and then parts are loaded as soon as what they need is there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::failure::Failure;
use super::open::{Opened, Parts};
use crate::context::Ctx;
use crate::engine::{Engine, RestoreSession};
use crate::error::{During, Error, ErrorKind, Result};
use crate::info::RestoreReport;
use crate::options::{BackupConfig, RestoreOptions};
use crate::part::Part;
use crate::progress::{Event, Stage};
use crate::registry::Registry;
use crate::repository::PartRecord;
use crate::request::{Existing, RestoreRequest};
use crate::select;
use crate::url::DatabaseUrl;

/// One restore to be done.
pub(super) struct Job<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) config: &'a BackupConfig,
    pub(super) registry: &'a Registry,
    pub(super) target: &'a DatabaseUrl,
    pub(super) options: RestoreOptions,
}

impl Job<'_> {
    pub(super) async fn run(self, engine: Arc<dyn Engine>, mut opened: Opened) -> Result<RestoreReport> {
        let (ctx, header) = (self.ctx, opened.header.clone());
        let factory = self.registry.by_scheme(&self.target.scheme)?;
        if factory.name != header.engine {
            let message = format!("this is a backup of {}, not of {}", header.engine, factory.name);
            return Err(Error::unsupported(message).hint("give a target of the same engine"));
        }
        if self.options.point_in_time.is_some() {
            let message =
                format!("{} holds no change log, so it can only be restored as it was then", header.id);
            return Err(Error::new(ErrorKind::Unreachable, message)
                .hint(format!("leave out --point-in-time to restore it as it was at {}", header.started)));
        }
        let records = std::mem::take(&mut opened.parts);
        let selection = select::select(records, &header.database, &self.options)?;
        let jobs =
            if opened.is_sequential() { 1 } else { self.options.jobs.unwrap_or(self.config.jobs).max(1) };
        if !self.options.skip_verification {
            ctx.emit(Event::Stage(Stage::Verify));
            opened.check_stored(ctx, &selection.records, jobs).await?;
        }
        let source = opened.contents.parts();
        let parts: Arc<[Part]> = selection.records.iter().map(|record| source.part(record)).collect();
        let request = RestoreRequest {
            jobs,
            existing: if self.options.drop_existing { Existing::Replace } else { Existing::Refuse },
            create_database: self.options.create_database,
            target_database: self.options.target_database.clone(),
            content: self.options.content,
            partial: selection.partial,
            no_owner: self.options.no_owner,
            globals: self.options.globals,
        };
        ctx.emit(Event::Stage(Stage::Connect));
        let session = ctx.run(engine.begin_restore(ctx, request, Arc::clone(&parts))).await?;
        for left_out in &selection.left_out {
            ctx.warn(format!("{left_out} is left out: it needs tables that were not selected"));
        }
        ctx.emit(Event::Stage(Stage::Load));
        let bytes = selection.records.iter().map(|record| record.bytes).sum();
        ctx.emit(Event::Planned { parts: parts.len() as u64, bytes });
        let session = Arc::new(session);
        let loader =
            Arc::new(Loader { session: Arc::clone(&session), records: selection.records, parts, source });
        let loaded = Arc::clone(&loader).run(ctx, jobs).await;
        let report = RestoreReport {
            backup: header.id,
            target: self.target.to_string(),
            parts: loader.parts.len() as u64,
            rows: loader.records.iter().map(PartRecord::rows).sum(),
            bytes,
            left_out: selection.left_out,
        };
        drop(loader);
        let session =
            Arc::into_inner(session).ok_or_else(|| Error::internal("a load goes on behind its end"))?;
        match loaded {
            Ok(()) => {
                ctx.emit(Event::Stage(Stage::Publish));
                session.finish(ctx).await.during(|| "make the restored database the target")?;
                Ok(report)
            }
            Err(error) => {
                // What the target is like now is what matters most.
                match session.abort(ctx).await {
                    Ok(()) => Err(error),
                    Err(state) => {
                        let message = format!("{error}; and afterwards: {state}");
                        Err(Error::new(error.kind(), message).because(error))
                    }
                }
            }
        }
    }
}

/// One queue of ready work: a part is loaded as soon as those that it is after are.
struct Loader {
    session: Arc<Box<dyn RestoreSession>>,
    records: Vec<PartRecord>,
    parts: Arc<[Part]>,
    source: Parts,
}

impl Loader {
    /// Loads all parts, `jobs` at once, of those that are ready always the first in the plan. Returns when nothing is being loaded
    /// any more, whether it went well or not.
    async fn run(self: Arc<Self>, ctx: &Ctx, jobs: usize) -> Result<()> {
        let places: HashMap<_, _> =
            self.parts.iter().enumerate().map(|(place, part)| (part.id, place)).collect();
        let mut waits_for = vec![0usize; self.parts.len()];
        let mut unblocks = vec![Vec::new(); self.parts.len()];
        for (place, part) in self.parts.iter().enumerate() {
            // Parts that were not selected are not waited for.
            for before in part.after.iter().filter_map(|id| places.get(id)) {
                waits_for[place] += 1;
                unblocks[*before].push(place);
            }
        }
        let mut ready: BTreeSet<usize> =
            waits_for.iter().enumerate().filter(|(_, n)| **n == 0).map(|(place, _)| place).collect();
        let ctx = ctx.child();
        let mut loading = JoinSet::new();
        let mut left = self.parts.len();
        let mut failure = Failure::default();
        loop {
            while failure.is_none()
                && loading.len() < jobs
                && let Some(place) = ready.pop_first()
            {
                let (loader, ctx) = (Arc::clone(&self), ctx.clone());
                loading.spawn(async move { loader.load(&ctx, place).await.map(|()| place) });
            }
            let Some(done) = loading.join_next().await else { break };
            match done.unwrap_or_else(|error| Err(Error::internal("a load did not end").because(error))) {
                Ok(place) => {
                    left -= 1;
                    for next in &unblocks[place] {
                        waits_for[*next] -= 1;
                        if waits_for[*next] == 0 {
                            ready.insert(*next);
                        }
                    }
                }
                Err(error) => failure.note(&ctx, error),
            }
        }
        failure.into_result()?;
        if left > 0 {
            return Err(Error::damaged("parts of the backup wait for each other"));
        }
        Ok(())
    }

    async fn load(&self, ctx: &Ctx, place: usize) -> Result<()> {
        let (Some(part), Some(record)) = (self.parts.get(place), self.records.get(place)) else {
            return Err(Error::internal("a part outside the plan"));
        };
        ctx.emit(Event::PartStarted(part));
        let doing = || format!("load {}", part.object);
        let mut reader = self.source.open(ctx, record);
        self.session.load(ctx, part, &mut reader).await.during(doing)?;
        // The end of a part is where its rows are found complete.
        if reader.next().await.during(doing)?.is_some() {
            return Err(Error::internal("the engine left rows unread").during(doing()));
        }
        ctx.emit(Event::PartFinished(part));
        Ok(())
    }
}
