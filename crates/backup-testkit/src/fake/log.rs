//! Positions, and the log session.

use backup_core::{
    Ctx, Error, ErrorKind, LogPoint, LogSegment, LogSession, LogSpan, Object, Part, PartWriter, Position,
    Result, async_trait,
};

use super::database::{FakeDatabase, Transaction, json};

/// How many transactions a segment has: few, so that a test has many segments.
const SEGMENT: usize = 4;

/// The place behind the `n`-th transaction: `LOG/N`.
pub(super) fn position(log: &str, n: u64) -> Position {
    Position(format!("{log}/{n}").into())
}

/// Which log a position is in, and behind which transaction.
pub(super) fn parse(position: &Position) -> Result<(&str, u64)> {
    let parsed = position.0.as_str().and_then(|text| text.rsplit_once('/'));
    let parsed = parsed.and_then(|(log, n)| Some((log, n.parse().ok()?)));
    parsed.ok_or_else(|| {
        Error::usage(format!("{} is no position in the log of a fake database", position.0))
            .hint("write it as `lifeboat show` does: LOG/N")
    })
}

/// The log from a position to where it ended when it was opened.
#[derive(Debug)]
pub(super) struct FakeLog {
    database: FakeDatabase,
    log: String,
    at: u64,
    ahead: Vec<Transaction>,
    end: LogPoint,
    segments: u32,
}

impl FakeLog {
    pub(super) fn open(database: &FakeDatabase, from: &Position) -> Result<Self> {
        let (log, n) = parse(from)?;
        let state = database.read()?;
        let unreachable = |why: String| Err(Error::new(ErrorKind::Unreachable, why));
        if state.log() != log {
            return unreachable(format!("{} is in another log than {}", from.0, state.log()));
        }
        if n < state.forgotten() {
            return unreachable(format!(
                "the log is forgotten up to {}, and {n} is needed",
                state.forgotten()
            ));
        }
        if n > state.last() {
            return unreachable(format!("the log ends at {}, before {n}", state.last()));
        }
        let end = LogPoint::new(position(log, state.last()), state.time);
        let mut ahead = state.transactions;
        ahead.retain(|transaction| transaction.n > n);
        Ok(Self { database: database.clone(), log: log.to_owned(), at: n, ahead, end, segments: 0 })
    }
}

#[async_trait]
impl LogSession for FakeLog {
    fn end(&self) -> &LogPoint {
        &self.end
    }

    async fn next(&mut self, ctx: &Ctx, out: &mut PartWriter) -> Result<Option<LogSegment>> {
        ctx.check()?;
        if self.ahead.is_empty() {
            return Ok(None);
        }
        let start = position(&self.log, self.at);
        let mut span = LogSpan::new(start.clone(), start);
        for transaction in self.ahead.drain(..SEGMENT.min(self.ahead.len())) {
            out.bytes(json(&transaction)?.as_bytes()).await?;
            out.bytes(b"\n").await?;
            span.add(transaction.time);
            self.at = transaction.n;
        }
        span.end = position(&self.log, self.at);
        self.segments += 1;
        Ok(Some(LogSegment::new(Part::log(self.segments, Object::new("log", &*self.log)), span)))
    }

    async fn confirm(&mut self, _ctx: &Ctx, durable: &Position) -> Result<()> {
        let (_, n) = parse(durable)?;
        self.database.forget(n)
    }
}
