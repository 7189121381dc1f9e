//! A backup of the change log: an incremental or a differential one.
//!
//! Both read the log behind the newest backup of the chain. A differential one also takes over what the chain has of the log since
//! its full backup: those chunks are there already, and the server may have forgotten what is in them.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::backup::{Job, Made, Stored, record};
use super::dump::{Run, assemble, store_cuts};
use crate::chain::Chains;
use crate::chunks::ChunkStore;
use crate::context::Ctx;
use crate::cut::{Cut, CutKeys};
use crate::engine::{Engine, LogSession, ServerInfo};
use crate::error::{During, Error, ErrorKind, Result};
use crate::part::{Object, Part, PartId};
use crate::position::{LogPoint, LogSegment, LogSpan};
use crate::progress::{Event, Stage};
use crate::repository::{BackupType, Format, Hash32, Header, LogRecord, PartRecord};
use crate::request::Content;
use crate::writer::PartWriter;

/// How many chunks are looked for at once.
const AT_ONCE: usize = 16;

/// The log, open where a chain ends.
pub(super) struct Continued {
    session: Box<dyn LogSession>,
    /// The backups from the full one to the one that is continued.
    path: Vec<Header>,
}

impl Job<'_> {
    /// Opens the log behind the newest backup of the chain. Where two were made at once, so that both end it, the one whose end the
    /// server has not forgotten. Errors: `Unsupported` if there is no log; `NotFound` if there is no chain; `Unreachable` if the server has
    /// forgotten what comes behind it.
    pub(super) async fn continue_chain(
        &self,
        engine: &dyn Engine,
        server: &ServerInfo,
        headers: &[Header],
    ) -> Result<Continued> {
        let what = match self.options.backup_type {
            BackupType::Differential => "a differential backup",
            _ => "an incremental backup",
        };
        let Some(log) = &server.log else {
            let message =
                format!("{} keeps no change log here, so there cannot be {what} of it", server.product);
            return Err(Error::unsupported(message).hint("ask for --type full, or add --or-full"));
        };
        let options = &self.options;
        if options.content != Content::All || !options.include.is_empty() || !options.exclude.is_empty() {
            let message =
                format!("{what} is of all that changed: it cannot leave out tables, objects or rows");
            return Err(Error::usage(message).hint("leave the filter out, or ask for --type full"));
        }
        let chains = Chains::new(headers);
        let base = chains.newest_base(self.factory.name, &server.database, &log.id).ok_or_else(|| {
            let message = format!(
                "there is no full backup of {} that {what} could continue: one of all of it, at an exact place in this log",
                server.database
            );
            Error::new(ErrorKind::NotFound, message)
                .hint("make one with --type full, or add --or-full")
        })?;
        let mut gone = None;
        // What earlier backups hold of the log is taken over by who can read them; others read the log again.
        let again = self.options.backup_type == BackupType::Differential && !self.repository.can_read();
        let paths = if again { vec![vec![base]] } else { chains.tips(base) };
        for path in paths {
            let Some((tip, end)) = path.last().and_then(|tip| Some((tip, tip.end.as_ref()?))) else {
                continue;
            };
            match engine.open_log(self.ctx, end).await {
                Ok(session) => {
                    return Ok(Continued {
                        session,
                        path: path.iter().map(|header| (*header).clone()).collect(),
                    });
                }
                Err(error) if error.kind() == ErrorKind::Unreachable => {
                    let error = error.during(format!("read the log behind {}", tip.id));
                    gone.get_or_insert(error);
                }
                Err(error) => return Err(error).during(|| format!("read the log behind {}", tip.id)),
            }
        }
        let gone = gone.unwrap_or_else(|| Error::internal("a chain without an end"));
        Err(gone.hint("make a new chain with --type full, or add --or-full"))
    }

    /// Reads the log, stores it and makes the backup exist. The log session is handed back, to be told of it.
    pub(super) async fn back_up_log(
        self,
        started: DateTime<Utc>,
        headers: &[Header],
        server: ServerInfo,
        continued: Continued,
    ) -> Result<Made> {
        let Continued { mut session, path } = continued;
        let (Some(base), Some(tip), Some(info)) = (path.first(), path.last(), server.log.clone()) else {
            return Err(Error::internal("a chain without a full backup"));
        };
        let mut manifest = self.manifest(started, headers, server)?;
        let known = self.repository.known_chunks(self.ctx, headers).await?;
        let store = self.store(&self.repository, Arc::clone(&self.codec), self.config.level, known)?;
        let parent = if self.options.backup_type == BackupType::Differential { base } else { tip };
        let mut stored = Merged::default();
        if self.options.backup_type == BackupType::Differential {
            for header in path.iter().skip(1) {
                self.take_over(&store, &mut stored, header).await.during(|| format!("read {}", header.id))?;
            }
        }
        self.ctx.emit(Event::Stage(Stage::Dump));
        let end = session.end().clone();
        stored.add(self.read_log(&store, &mut *session, tip, &end).await.during(|| "read the log")?);

        let header = &mut manifest.header;
        header.backup_type = self.options.backup_type;
        header.format = Format::Binary;
        header.parent = Some(parent.id.clone());
        header.base = Some(base.id.clone());
        header.start.clone_from(&parent.end);
        let start = parent.end.clone().ok_or_else(|| Error::internal("a chain that ends nowhere"))?;
        let span = covered(LogSpan::new(start.clone(), start), &stored.records)?;
        header.end = Some(span.end);
        header.log = Some(LogRecord {
            info,
            end_time: end.time,
            transactions: span.transactions,
            earliest_commit: span.earliest_commit,
            latest_commit: span.latest_commit,
        });
        self.complete(&mut manifest, &stored.records);
        let stored = Stored { parts: stored.records, chunks: stored.chunks };
        record(self.ctx, &self.repository, &store, &mut manifest, stored).await?;
        (manifest.header.stored_size, manifest.header.new_size) = store.sizes();
        // Somebody may have deleted what this one continues.
        for needed in [base, parent] {
            if !self.ctx.run(self.repository.has(&needed.id)).await? {
                let message = format!("{} was deleted while its log was read", needed.id);
                return Err(Error::new(ErrorKind::NotFound, message).hint("run it again"));
            }
        }
        self.commit(&mut manifest, &store).await?;
        Ok(Made {
            repository: self.repository,
            header: manifest.header,
            left_out: Vec::new(),
            log: Some(session),
        })
    }

    /// Reads and stores the log from where `tip` ends to `end`.
    async fn read_log(
        &self,
        store: &Arc<ChunkStore>,
        session: &mut dyn LogSession,
        tip: &Header,
        end: &LogPoint,
    ) -> Result<Stored> {
        let ctx = self.ctx;
        let (sender, cuts) = mpsc::channel::<Cut>(1);
        let keys = CutKeys::derive(store.key());
        let mut writer = PartWriter::new(ctx, keys, sender);
        let mut at = tip.end.clone();
        let read = async {
            let (mut segments, mut totals) = (Vec::<LogSegment>::new(), Vec::new());
            let blank = Part::log(0, Object::new("log", &*tip.database));
            loop {
                ctx.check()?;
                writer.start_part(segments.len(), &blank)?;
                let segment = session.next(ctx, &mut writer).await?;
                let written = writer.finish_part().await?;
                let Some(segment) = segment else {
                    if written.bytes > 0 {
                        return Err(Error::internal("the engine wrote behind the end of the log"));
                    }
                    break;
                };
                segment.check(at.as_ref())?;
                ctx.emit(Event::PartFinished(&segment.part));
                at = Some(segment.span.end.clone());
                segments.push(segment);
                totals.push(written);
            }
            writer.finish_run().await?;
            if at.as_ref() != Some(&end.position) {
                return Err(Error::internal("the engine did not read the log to the end it had announced"));
            }
            Ok((segments, totals))
        };
        let ((segments, totals), chunks) =
            tokio::try_join!(read, store_cuts(ctx, store, cuts, |_| Arc::default()))?;
        let (parts, spans): (Vec<_>, Vec<_>) =
            segments.into_iter().map(|segment| (segment.part, segment.span)).unzip();
        let mut stored = assemble(&parts, vec![Run { start: 0, totals, chunks }]);
        for (record, span) in stored.parts.iter_mut().zip(spans) {
            record.segment = Some(span);
        }
        Ok(stored)
    }

    /// Takes over the segments of an earlier backup of the chain, whose chunks must all be there.
    async fn take_over(&self, store: &ChunkStore, into: &mut Merged, header: &Header) -> Result<()> {
        let manifest = self.repository.manifest(self.ctx, &header.id).await?;
        let reader = self.repository.chunks(self.ctx, &manifest).await?;
        let parts = self.repository.parts(self.ctx, &manifest, &reader).await?;
        let needed: std::collections::BTreeSet<_> =
            parts.iter().flat_map(|record| record.spans.iter().map(|span| span.0 as usize)).collect();
        let needed = needed.into_iter().filter_map(|place| reader.entries().get(place));
        stream::iter(needed)
            .map(|entry| store.keep(self.ctx, entry))
            .buffer_unordered(AT_ONCE)
            .boxed()
            .try_collect::<()>()
            .await
            .map_err(|error| error.hint("make a new chain with --type full"))?;
        into.add(Stored { parts, chunks: reader.entries().to_vec() });
        Ok(())
    }
}

/// The stretch that starts with `span` and goes on with the segments of `records`: without a hole.
pub(super) fn covered(mut span: LogSpan, records: &[PartRecord]) -> Result<LogSpan> {
    for record in records {
        let segment = record.segment.as_ref().filter(|segment| segment.makes_sense());
        let segment =
            segment.ok_or_else(|| Error::damaged("a segment of the log says nothing that makes sense"))?;
        if segment.start != span.end {
            return Err(Error::damaged(format!(
                "the log has a hole: behind {} comes a segment that starts at {}",
                span.end.0, segment.start.0
            )));
        }
        span.extend(segment);
    }
    Ok(span)
}

/// Segments of several backups, in order, and the chunks that they are in.
#[derive(Default)]
struct Merged {
    records: Vec<PartRecord>,
    chunks: Vec<crate::repository::ChunkEntry>,
    places: HashMap<Hash32, u32>,
}

impl Merged {
    fn add(&mut self, stored: Stored) {
        for mut record in stored.parts {
            // Numbers are unique within a backup.
            record.part.id = PartId(self.records.len() as u32);
            for span in &mut record.spans {
                if let Some(entry) = stored.chunks.get(span.0 as usize) {
                    span.0 = *self.places.entry(entry.id).or_insert_with(|| {
                        self.chunks.push(*entry);
                        self.chunks.len() as u32 - 1
                    });
                }
            }
            self.records.push(record);
        }
    }
}

/// Tells the server that what `header` covers is safe; of a differential one only what comes before that, if the next will have to read the log
/// `again`. The backup stands whatever comes of it.
pub(super) async fn confirm(ctx: &Ctx, mut session: Box<dyn LogSession>, header: &Header, again: bool) {
    let again = again && header.backup_type == BackupType::Differential;
    let Some(durable) = (if again { &header.start } else { &header.end }) else { return };
    if let Err(error) = session.confirm(ctx, durable).await {
        ctx.warn(format!(
            "{} is complete, but the server could not be told so, and keeps its log until the next backup: {error}",
            header.id
        ));
    }
}
