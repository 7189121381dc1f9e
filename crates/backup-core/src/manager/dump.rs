//! The dump: an engine's parts on their way into chunks or into a script. There is one dump path.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::{self, FuturesOrdered};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::backup::Stored;
use super::failure::Failure;
use crate::block::TableHints;
use crate::chunks::ChunkStore;
use crate::context::Ctx;
use crate::cut::{Cut, CutKeys, Cutter};
use crate::engine::BackupSession;
use crate::error::{During, Error, Result};
use crate::part::Part;
use crate::plan;
use crate::progress::Event;
use crate::reader::{PartReader, Piece};
use crate::repository::{ChunkEntry, PartRecord, Span};
use crate::single_file::{Origin, Render, Rendered};
use crate::writer::{PartTotals, PartWriter};

/// How many chunks of one worker are encoded and stored at once: while some wait for the disk, others are encoded.
const STORING: usize = 3;

/// Dumps into chunks.
pub(super) struct ChunkDump {
    pub(super) session: Arc<Box<dyn BackupSession>>,
    pub(super) keys: CutKeys,
    pub(super) parts: Arc<[Part]>,
    pub(super) store: Arc<ChunkStore>,
}

/// What the parts of a run came to.
pub(super) struct Run {
    pub(super) start: usize,
    pub(super) totals: Vec<PartTotals>,
    pub(super) chunks: Vec<StoredCut>,
}

/// A chunk, and the part that each of its segments belongs to.
pub(super) type StoredCut = (ChunkEntry, Vec<usize>);

impl ChunkDump {
    /// Dumps all parts, `jobs` runs of them at once, the largest first so that none ends late.
    pub(super) async fn run(self: Arc<Self>, ctx: &Ctx, jobs: usize) -> Result<Stored> {
        let hints = Arc::new(table_hints(&self.parts));
        let mut runs = plan::runs(&self.parts);
        let size = |run: &Range<usize>| -> u64 {
            self.parts.get(run.clone()).unwrap_or_default().iter().map(|part| part.size_hint).sum()
        };
        runs.sort_by_cached_key(|run| std::cmp::Reverse(size(run)));
        let ctx = ctx.child();
        let mut workers = stream::iter(runs)
            .map(|run| {
                let (dump, hints, ctx) = (Arc::clone(&self), Arc::clone(&hints), ctx.clone());
                AbortOnDropHandle::new(tokio::spawn(async move { dump.dump_run(&ctx, run, &hints).await }))
            })
            .buffer_unordered(jobs);
        let mut done = Vec::new();
        let mut failure = Failure::default();
        while let Some(run) = workers.next().await {
            let run = run.unwrap_or_else(|error| Err(Error::internal("a dump did not end").because(error)));
            match run {
                Ok(run) => done.push(run),
                Err(error) => failure.note(&ctx, error),
            }
        }
        failure.into_result()?;
        Ok(assemble(&self.parts, done))
    }

    async fn dump_run(&self, ctx: &Ctx, run: Range<usize>, hints: &[Arc<TableHints>]) -> Result<Run> {
        let (sender, cuts) = mpsc::channel::<Cut>(1);
        let mut writer = PartWriter::new(ctx, self.keys.clone(), sender);
        let dump = async {
            let mut totals = Vec::with_capacity(run.len());
            for (place, part) in self.parts.iter().enumerate().take(run.end).skip(run.start) {
                ctx.check()?;
                ctx.emit(Event::PartStarted(part));
                writer.start_part(place, part)?;
                let dumped = self.session.dump(ctx, part, &mut writer).await;
                dumped.during(|| format!("dump {}", part.object))?;
                totals.push(writer.finish_part().await?);
                ctx.emit(Event::PartFinished(part));
            }
            writer.finish_run().await?;
            Ok(totals)
        };
        let store = store_cuts(ctx, &self.store, cuts, |owner| hints.get(owner).cloned().unwrap_or_default());
        let (totals, chunks) = tokio::try_join!(dump, store)?;
        Ok(Run { start: run.start, totals, chunks })
    }
}

/// Puts what the workers did into plan order.
pub(super) fn assemble(parts: &[Part], mut runs: Vec<Run>) -> Stored {
    runs.sort_by_key(|run| run.start);
    let mut records: Vec<PartRecord> = Vec::with_capacity(parts.len());
    let mut chunks = Vec::new();
    let mut places = HashMap::new();
    for run in runs {
        let parts = parts.iter().skip(run.start);
        records.extend(
            parts
                .zip(&run.totals)
                .map(|(part, totals)| PartRecord::new(part.clone(), totals.digest, totals.bytes)),
        );
        for (entry, owners) in run.chunks {
            let place = *places.entry(entry.id).or_insert_with(|| {
                chunks.push(entry);
                chunks.len() as u32 - 1
            });
            let mut first = 0;
            for segments in owners.chunk_by(|a, b| a == b) {
                let count = segments.len() as u32;
                if let Some(record) = segments.first().and_then(|owner| records.get_mut(*owner)) {
                    record.spans.push(Span(place, first, count));
                }
                first += count;
            }
        }
    }
    Stored { parts: records, chunks }
}

/// Stores what comes from `cuts`, in order. `hints` are those of the table of a part.
pub(super) async fn store_cuts(
    ctx: &Ctx,
    store: &Arc<ChunkStore>,
    mut cuts: mpsc::Receiver<Cut>,
    hints: impl Fn(usize) -> Arc<TableHints>,
) -> Result<Vec<StoredCut>> {
    let mut storing = FuturesOrdered::new();
    let mut chunks = Vec::new();
    let next = |stored: Result<Result<StoredCut>, tokio::task::JoinError>| {
        stored.unwrap_or_else(|error| Err(Error::internal("storing a chunk did not end").because(error)))
    };
    while let Some(cut) = cuts.recv().await {
        let hints = cut.owners.iter().map(|owner| hints(*owner)).collect();
        let (store, ctx) = (Arc::clone(store), ctx.clone());
        let task = async move { Ok((store.put(&ctx, cut.chunk, hints).await?, cut.owners)) };
        storing.push_back(AbortOnDropHandle::new(tokio::spawn(task)));
        if storing.len() >= STORING
            && let Some(stored) = storing.next().await
        {
            chunks.push(next(stored)?);
        }
    }
    while let Some(stored) = storing.next().await {
        chunks.push(next(stored)?);
    }
    Ok(chunks)
}

/// What was learnt of a table's rows belongs to the table, so its parts share it.
fn table_hints(parts: &[Part]) -> Vec<Arc<TableHints>> {
    let mut tables = HashMap::new();
    parts
        .iter()
        .map(|part| {
            let table = (&part.object.schema, &part.object.kind, &part.object.name);
            Arc::clone(tables.entry(table).or_default())
        })
        .collect()
}

/// Stores bytes that are no part: the part list.
pub(super) async fn store_bytes(
    ctx: &Ctx,
    store: &ChunkStore,
    keys: CutKeys,
    bytes: &[u8],
) -> Result<Vec<ChunkEntry>> {
    let mut cutter = Cutter::new(keys);
    let mut entries = Vec::new();
    cutter.bytes(bytes);
    cutter.end_bytes();
    cutter.end_run();
    while let Some(cut) = cutter.next_cut() {
        let hints = vec![Arc::default(); cut.chunk.segments.len()];
        entries.push(store.put(ctx, cut.chunk, hints).await?);
    }
    Ok(entries)
}

/// Dumps into a script.
pub(super) struct ScriptDump {
    pub(super) session: Arc<Box<dyn BackupSession>>,
    pub(super) keys: CutKeys,
    pub(super) parts: Arc<[Part]>,
}

#[async_trait::async_trait]
impl Origin for ScriptDump {
    async fn feed(&self, ctx: &Ctx, place: usize, render: Render) -> Result<(PartTotals, Rendered)> {
        let part = self.parts.get(place).ok_or_else(|| Error::internal("a part outside the plan"))?;
        let (cut_sender, mut cuts) = mpsc::channel::<Cut>(1);
        let (sender, pieces) = mpsc::channel(1);
        let mut writer = PartWriter::new(ctx, self.keys.clone(), cut_sender);
        let dump = async {
            ctx.emit(Event::PartStarted(part));
            writer.start_part(place, part)?;
            let dumped = self.session.dump(ctx, part, &mut writer).await;
            dumped.during(|| format!("dump {}", part.object))?;
            let totals = writer.finish_part().await?;
            writer.finish_run().await?;
            ctx.emit(Event::PartFinished(part));
            Ok(totals)
        };
        let pass_on = async {
            while let Some(cut) = cuts.recv().await {
                let segments = 0..cut.chunk.segments.len();
                let piece = Piece { chunk: Arc::new(cut.chunk), segments };
                // The renderer's own error is the one that counts.
                sender.send(Ok(piece)).await.map_err(|_| Error::cancelled())?;
            }
            drop(sender);
            Ok(())
        };
        // What the reader counts is not told twice.
        let quiet = ctx.clone().with_progress(Arc::new(crate::Quiet));
        let rendered = render.run(PartReader::new(&quiet, pieces, None));
        let (rendered, totals, ()) = tokio::try_join!(rendered, dump, pass_on)?;
        Ok((totals, rendered))
    }
}
