//! The restore session.

use std::sync::{Mutex, PoisonError};

use backup_core::{
    Content, Ctx, Error, ErrorKind, Existing, Item, LogSegment, Part, PartKind, PartReader, Replay,
    RestoreRequest, RestoreSession, Result, Until, async_trait,
};

use super::database::{Change, FakeDatabase, Tables, Transaction, apply, parse as parse_json};
use super::log::{parse, position};

/// A restore into memory, which becomes the target when it is finished.
#[derive(Debug)]
pub(super) struct FakeRestore {
    target: FakeDatabase,
    tables: Mutex<Tables>,
    /// Behind which transaction of the log the tables are.
    at: Mutex<Option<u64>>,
}

impl FakeRestore {
    pub(super) fn begin(database: &FakeDatabase, request: &RestoreRequest, parts: &[Part]) -> Result<Self> {
        let target =
            request.target_database.as_ref().map_or_else(|| database.clone(), |name| database.renamed(name));
        if request.content == Content::DataOnly {
            return Err(Error::unsupported(
                "rows without their tables cannot be restored into a fake database",
            )
            .hint("leave out --data-only"));
        }
        if let Some(part) = parts.iter().find(|part| matches!(part.kind, PartKind::Bytes | PartKind::Log)) {
            return Err(Error::unsupported(format!("a fake database cannot hold {}", part.object)));
        }
        if request.existing == Existing::Refuse && target.exists() && !target.tables()?.is_empty() {
            return Err(Error::new(ErrorKind::TargetNotEmpty, "the target holds something already")
                .hint("add --drop-existing to replace it when the restore is complete"));
        }
        let at = request.log.first().map(|first| parse(&first.span.start)).transpose()?.map(|(_, n)| n);
        Ok(Self { target, tables: Mutex::default(), at: Mutex::new(at) })
    }

    fn apply(&self, changes: &[Change]) -> Result<()> {
        apply(&mut self.tables.lock().unwrap_or_else(PoisonError::into_inner), changes)
    }

    /// Makes the changes of the transaction that comes next.
    fn replay_one(&self, transaction: &Transaction) -> Result<()> {
        let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
        if at.is_none_or(|at| at + 1 != transaction.n) {
            return Err(Error::new(
                ErrorKind::Database,
                format!("transaction {} does not come behind {at:?}", transaction.n),
            ));
        }
        self.apply(&transaction.changes)?;
        *at = Some(transaction.n);
        Ok(())
    }
}

#[async_trait]
impl RestoreSession for FakeRestore {
    async fn load(&self, _ctx: &Ctx, part: &Part, input: &mut PartReader) -> Result<()> {
        if part.kind == PartKind::Sql {
            while let Some(statement) = input.statement().await? {
                self.apply(&[parse_json(&statement)?])?;
            }
            return Ok(());
        }
        while let Some(row) = input.next_whole().await? {
            let row = parse_json(text(&row)?)?;
            self.apply(&[Change::Insert(part.object.name.clone(), row)])?;
        }
        Ok(())
    }

    async fn replay(
        &self,
        ctx: &Ctx,
        segment: &LogSegment,
        input: &mut PartReader,
        until: &Until,
    ) -> Result<Replay> {
        let (log, mut at) = parse(&segment.span.start)?;
        let stop = match until {
            Until::Position(position) => parse(position)?.1,
            _ => u64::MAX,
        };
        let (mut lines, mut replayed) = (Vec::new(), 0);
        while let Some(item) = input.next().await? {
            let Item::Bytes(bytes) = item else { return Err(Error::internal("rows in a log")) };
            lines.extend_from_slice(bytes);
            while let Some(end) = lines.iter().position(|byte| *byte == b'\n') {
                ctx.check()?;
                let line: Vec<u8> = lines.drain(..=end).collect();
                let transaction: Transaction = parse_json(text(&line)?)?;
                let is_later = matches!(until, Until::Time(time) if transaction.time > *time);
                if is_later || transaction.n > stop {
                    return Ok(Replay::new(position(log, at), replayed, true));
                }
                self.replay_one(&transaction)?;
                at = transaction.n;
                replayed += 1;
            }
        }
        Ok(Replay::new(segment.span.end.clone(), replayed, at == stop))
    }

    async fn finish(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        self.target.publish(self.tables.into_inner().unwrap_or_else(PoisonError::into_inner), None)
    }

    async fn abort(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        // Nothing but memory was touched.
        Ok(())
    }
}

fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| Error::damaged("not text").because(error))
}
