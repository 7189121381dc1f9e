//! A restore: everything is checked, the engine agrees, and then parts are loaded as soon as what they need is there.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use tokio::task::JoinSet;

use super::failure::Failure;
use super::open::{Opened, Parts};
use super::replay::{Log, Replayed};
use crate::context::Ctx;
use crate::engine::{Engine, RestoreSession};
use crate::error::{During, Error, Result};
use crate::info::RestoreReport;
use crate::options::{BackupConfig, RestoreOptions};
use crate::part::Part;
use crate::progress::{Event, Stage};
use crate::repository::PartRecord;
use crate::request::{Content, Existing, RestoreRequest};
use crate::select;
use crate::url::DatabaseUrl;

/// One restore to be done.
pub(super) struct Job<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) config: &'a BackupConfig,
    pub(super) target: &'a DatabaseUrl,
    pub(super) options: RestoreOptions,
}

impl Job<'_> {
    pub(super) async fn run(
        self,
        engine: Arc<dyn Engine>,
        mut opened: Opened,
        log: Log,
    ) -> Result<RestoreReport> {
        let (ctx, header) = (self.ctx, opened.header.clone());
        if !log.is_empty() && (!self.options.tables.is_empty() || self.options.content != Content::All) {
            return Err(Error::unsupported(
                "a change log is replayed into the whole database, not into some of it",
            )
            .hint(format!(
                "restore it whole beside, and copy from there; or restore some of {} alone",
                header.id
            )));
        }
        let records = std::mem::take(&mut opened.parts);
        let selection = select::select(records, &header.database, &self.options)?;
        let jobs =
            if opened.is_sequential() { 1 } else { self.options.jobs.unwrap_or(self.config.jobs).max(1) };
        let skips = self.options.skip_verification;
        let is_proven_whole = opened.is_proven_whole() || log.is_proven_whole();
        if skips && is_proven_whole {
            ctx.warn(
                "scripts and sealed archives are read once before they are loaded all the same: nothing else proves what is in them",
            );
        }
        if !skips || is_proven_whole {
            ctx.emit(Event::Stage(Stage::Verify));
        }
        if !skips || opened.is_proven_whole() {
            opened.check_stored(ctx, &selection.records, jobs).await?;
        }
        log.check_stored(ctx, self.options.jobs.unwrap_or(self.config.jobs), skips).await?;
        let source = opened.contents.parts();
        let parts: Arc<[Part]> = selection.records.iter().map(|record| source.part(record)).collect();
        let request = RestoreRequest {
            jobs,
            existing: if self.options.drop_existing { Existing::Replace } else { Existing::Refuse },
            create_database: self.options.create_database,
            target_database: self.options.target_database.clone(),
            content: self.options.content,
            partial: selection.partial,
            asked: Arc::new(selection.asked),
            no_owner: self.options.no_owner,
            globals: self.options.globals,
            source: Some(opened.body.server.clone()),
            log: log.segments(),
            until: log.until.clone(),
        };
        ctx.emit(Event::Stage(Stage::Connect));
        let session = engine.begin_restore(ctx, request, Arc::clone(&parts)).await?;
        for left_out in &selection.left_out {
            ctx.warn(format!("{left_out} is left out: it needs tables that were not selected"));
        }
        ctx.emit(Event::Stage(Stage::Load));
        let bytes = selection.records.iter().map(|record| record.bytes).sum::<u64>() + log.bytes();
        ctx.emit(Event::Planned { parts: parts.len() as u64, bytes });
        let session = Arc::new(session);
        let loader =
            Arc::new(Loader { session: Arc::clone(&session), records: selection.records, parts, source });
        let loaded = Arc::clone(&loader).run(ctx, jobs).await;
        let mut report = RestoreReport {
            backup: log.ids().last().unwrap_or(&header.id).clone(),
            full: header.id,
            replayed: log.ids().cloned().collect(),
            transactions: 0,
            position: header.end,
            target: match &self.options.target_database {
                Some(name) => self.target.with_database(name).to_string(),
                None => self.target.to_string(),
            },
            parts: loader.parts.len() as u64,
            rows: loader.records.iter().map(PartRecord::rows).sum(),
            bytes,
            left_out: selection.left_out,
        };
        drop(loader);
        let session =
            Arc::into_inner(session).ok_or_else(|| Error::internal("a load goes on behind its end"))?;
        let done = match loaded {
            Ok(()) => log.replay(ctx, &*engine, &*session).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(Replayed { position, transactions }) => {
                report.transactions = transactions;
                report.position = position.or(report.position);
                ctx.emit(Event::Stage(Stage::Publish));
                session.finish(ctx).await.during(|| "make the restored database the target")?;
                Ok(report)
            }
            Err(error) => {
                // What the target is like now is what matters most.
                match session.abort(ctx).await {
                    Ok(()) => Err(error),
                    Err(state) => Err(error.afterwards(&state)),
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
    /// Loads all parts, `jobs` at once, of those that are ready always the one whose turn it is. Returns when nothing is being loaded
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
        let in_script_order = matches!(self.source, Parts::Script(_));
        let turns: Vec<u64> = (self.parts.iter())
            .map(|part| if in_script_order { 0 } else { self.session.turn(part) })
            .collect();
        let mut ready: BTreeSet<(u64, usize)> = (waits_for.iter().zip(&turns).enumerate())
            .filter(|(_, (waits, _))| **waits == 0)
            .map(|(place, (_, turn))| (*turn, place))
            .collect();
        let ctx = ctx.child();
        let mut loading = JoinSet::new();
        let mut left = self.parts.len();
        let mut failure = Failure::default();
        loop {
            while failure.is_none()
                && loading.len() < jobs
                && let Some((_, place)) = ready.pop_first()
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
                            ready.insert((turns[*next], *next));
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
