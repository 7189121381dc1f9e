//! The log that a restore replays behind the parts of a full backup.

use std::sync::Arc;

use super::BackupManager;
use super::log::covered;
use super::open::Opened;
use crate::chain::{self, Chains, Order};
use crate::context::Ctx;
use crate::engine::{Engine, RestoreSession};
use crate::error::{During, Error, ErrorKind, Result};
use crate::options::BackupRef;
use crate::position::{LogSegment, LogSpan, Position, Until};
use crate::progress::Event;
use crate::repository::{BackupId, Header, PartRecord};

/// Segments of a log, from the end of a full backup to the point that is restored.
#[derive(Default)]
pub(super) struct Log {
    backups: Vec<(Opened, Vec<PartRecord>)>,
    pub(super) until: Until,
}

/// What a replay came to.
pub(super) struct Replayed {
    pub(super) position: Option<Position>,
    pub(super) transactions: u64,
}

impl BackupManager {
    /// Opens the full backup and the log that restoring a point takes. Errors: `Unreachable`; `Damaged`.
    pub(super) async fn open_point(
        &self,
        name: &str,
        engine: &dyn Engine,
        backup: &BackupRef,
        until: Until,
    ) -> Result<(Opened, Log)> {
        let fits = |header: &Header| {
            if header.engine == name {
                return Ok(());
            }
            let message = format!("this is a backup of {}, not of {name}", header.engine);
            Err(Error::unsupported(message).hint("give a target of the same engine"))
        };
        if let BackupRef::File(path) = backup {
            if until != Until::End {
                let message = format!("{} is a single file, which holds no change log", path.display());
                return Err(Error::new(ErrorKind::Unreachable, message)
                    .hint("restore from the repository, by the backup's ID"));
            }
            let opened = self.open(backup).await?;
            fits(&opened.header)?;
            return Ok((opened, Log::default()));
        }
        let repository = self.repository().await?;
        let mut listing = repository.counted(&self.ctx).await?;
        listing.warn(&self.ctx);
        if *backup == BackupRef::Latest
            && let Some(error) = listing.refused()
        {
            return Err(error.hint("try again, or name the backup by its ID"));
        }
        let headers = listing.headers;
        let header = self.resolve(&repository, backup, &headers).await?;
        fits(&header)?;
        let order = |a: &Position, b: &Position| engine.order(a, b);
        let any_chain = *backup == BackupRef::Latest;
        let plan = Chains::new(&headers).plan(&header, any_chain, &until, &order)?;
        let mut path = plan.path.iter();
        let full = path.next().ok_or_else(|| Error::internal("a plan without a full backup"))?;
        let until = if path.len() == 0 { Until::End } else { plan.until };
        let mut log = Log { backups: Vec::new(), until };
        for header in path {
            let mut opened = self.open_listed(&repository, header).await?;
            let mut records = std::mem::take(&mut opened.parts);
            check(header, &records).during(|| format!("open {}", header.id))?;
            log.trim(&mut records, &order)?;
            log.backups.push((opened, records));
        }
        Ok((self.open_listed(&repository, full).await?, log))
    }
}

/// Checks that the segments of a backup cover what its header says.
pub(super) fn check(header: &Header, records: &[PartRecord]) -> Result<()> {
    let (Some(start), Some(end)) = (&header.start, &header.end) else {
        return Err(Error::damaged("it does not say which stretch of the log it covers"));
    };
    let span = covered(LogSpan::new(start.clone(), start.clone()), records)?;
    let said = header.log.as_ref().map(|log| (log.transactions, log.earliest_commit, log.latest_commit));
    if span.end != *end || said != Some((span.transactions, span.earliest_commit, span.latest_commit)) {
        return Err(Error::damaged("its segments do not cover what it says that it covers"));
    }
    Ok(())
}

impl Log {
    pub(super) fn is_empty(&self) -> bool {
        self.backups.is_empty()
    }

    /// Leaves out the segments that lie behind the point.
    fn trim(&self, records: &mut Vec<PartRecord>, order: &Order<'_>) -> Result<()> {
        let mut needed = records.len();
        for (place, span) in
            records.iter().enumerate().filter_map(|(i, record)| Some((i, record.segment.as_ref()?)))
        {
            let stops = match &self.until {
                Until::End => false,
                Until::Time(time) => span.latest_commit.is_some_and(|latest| latest > *time),
                Until::Position(position) => {
                    span.end == *position || chain::is_between(&span.start, position, &span.end, order)?
                }
            };
            if stops {
                needed = place + 1;
                break;
            }
        }
        records.truncate(needed);
        Ok(())
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &BackupId> {
        self.backups.iter().map(|(opened, _)| &opened.header.id)
    }

    fn records(&self) -> impl Iterator<Item = &PartRecord> {
        self.backups.iter().flat_map(|(_, records)| records)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.records().map(|record| record.bytes).sum()
    }

    /// The segments in order.
    pub(super) fn segments(&self) -> Arc<[LogSegment]> {
        self.records()
            .filter_map(|record| Some(LogSegment::new(record.part.clone(), record.segment.clone()?)))
            .collect()
    }

    /// Whether some of it is proven by nothing but the hash of a whole file.
    pub(super) fn is_proven_whole(&self) -> bool {
        self.backups.iter().any(|(opened, _)| opened.is_proven_whole())
    }

    /// Checks the stored bytes of all that will be replayed; if those are to be skipped, only what nothing else proves.
    pub(super) async fn check_stored(&self, ctx: &Ctx, jobs: usize, skips: bool) -> Result<()> {
        for (opened, records) in &self.backups {
            if skips && !opened.is_proven_whole() {
                continue;
            }
            let checked = opened.check_stored(ctx, records, jobs).await;
            checked.during(|| format!("check {}", opened.header.id))?;
        }
        Ok(())
    }

    /// Replays the segments one after another until the point is reached.
    pub(super) async fn replay(
        &self,
        ctx: &Ctx,
        engine: &dyn Engine,
        session: &dyn RestoreSession,
    ) -> Result<Replayed> {
        let mut replayed = Replayed { position: None, transactions: 0 };
        let mut reached = false;
        for (opened, records) in &self.backups {
            let source = opened.contents.parts();
            for record in records {
                let Some(span) = &record.segment else { continue };
                if reached {
                    return Err(Error::internal("the engine stopped before the last segment that is needed"));
                }
                let segment = LogSegment::new(record.part.clone(), span.clone());
                let doing = || format!("replay {} of {}", record.part.object, opened.header.id);
                ctx.check()?;
                ctx.emit(Event::PartStarted(&record.part));
                let mut reader = source.open(ctx, record);
                let replay = session.replay(ctx, &segment, &mut reader, &self.until).await.during(doing)?;
                if !replay.reached && reader.next().await.during(doing)?.is_some() {
                    return Err(Error::internal("the engine left transactions unread").during(doing()));
                }
                let is_whole = (&replay.position, replay.transactions) == (&span.end, span.transactions);
                if !is_whole && (!replay.reached || replay.position == span.end) {
                    let message = format!(
                        "the engine replayed {} of {} transactions, to {}; the segment ends at {}",
                        replay.transactions, span.transactions, replay.position.0, span.end.0
                    );
                    return Err(Error::internal(message).during(doing()));
                }
                ctx.emit(Event::PartFinished(&record.part));
                reached = replay.reached;
                replayed.transactions += replay.transactions;
                replayed.position = Some(replay.position);
            }
        }
        self.check_end(engine, reached, &replayed)?;
        Ok(replayed)
    }

    /// Whether the replay ended where it had to.
    fn check_end(&self, engine: &dyn Engine, reached: bool, replayed: &Replayed) -> Result<()> {
        let last = self.records().filter_map(|record| record.segment.as_ref()).last();
        let ended = match (&self.until, last) {
            (_, None) => true,
            (Until::End, _) => !reached,
            (Until::Time(time), Some(last)) => {
                reached == last.latest_commit.is_some_and(|latest| latest > *time)
            }
            (Until::Position(position), Some(last)) if last.end == *position => {
                replayed.position.as_ref() == Some(position)
            }
            (Until::Position(position), Some(_)) => match &replayed.position {
                Some(end) if reached => engine.order(end, position)?.is_some_and(std::cmp::Ordering::is_le),
                _ => false,
            },
        };
        if ended {
            Ok(())
        } else {
            Err(Error::internal("the engine did not stop at the point that was asked for"))
        }
    }
}
