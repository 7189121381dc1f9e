//! Running statements.

use std::time::Duration;

use backup_core::{Ctx, Error, Result};

use super::Connection;
use super::field::Fields;
use super::rows::Rows;
use crate::error::{code, from_packet, is_deadlock, malformed, printable};

/// A row of a result that is held whole: its fields, NULL as nothing.
pub(crate) type Row = Vec<Option<Vec<u8>>>;

/// What a statement without a result came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) affected: u64,
    pub(crate) warnings: u64,
}

/// The server's first answer to a statement.
pub(super) enum Reply {
    Done(Done),
    Columns(u64),
    File(Vec<u8>),
}

const QUERY: u8 = 3;
const QUIT: u8 = 1;
const MORE_RESULTS: u64 = 8;
/// How often a statement is tried again that was broken off to let another's go on, and how long after.
const DEADLOCKS: u32 = 20;
const AFTER_DEADLOCK: Duration = Duration::from_millis(100);
/// The most that is held of a result that is not streamed.
const MOST: usize = 1 << 30;
/// ER_PARSE_ERROR.
const PARSE_ERROR: u16 = 1064;

impl Connection {
    /// Sends a statement and reads the beginning of what the server says to it.
    pub(super) async fn ask(&mut self, sql: &[u8]) -> Result<Reply> {
        if std::mem::replace(&mut self.busy, true) {
            return Err(Error::internal("a connection was used on which an answer was not read to its end"));
        }
        self.packets.restart();
        self.packets.send(&[&[QUERY], sql].concat()).await?;
        let payload = self.packets.payload().await?;
        self.reply(&payload)
    }

    /// Understands an answer. Behind one that ends it, the next statement may come.
    pub(super) fn reply(&mut self, payload: &[u8]) -> Result<Reply> {
        match payload.first() {
            Some(0xff) => {
                self.busy = false;
                Err(from_packet(payload))
            }
            Some(0) => {
                let mut fields = Fields(payload.get(1..).unwrap_or_default());
                let affected = fields.count()?;
                fields.count()?;
                let status = fields.number(2)?;
                let warnings = fields.number(2)?;
                if status & MORE_RESULTS != 0 {
                    return Err(malformed("more results than were asked for"));
                }
                self.busy = false;
                Ok(Reply::Done(Done { affected, warnings }))
            }
            Some(0xfb) => Ok(Reply::File(payload.get(1..).unwrap_or_default().to_vec())),
            Some(_) => Ok(Reply::Columns(Fields(payload).count()?)),
            None => Err(malformed("an empty answer")),
        }
    }

    /// Runs a statement, and forgets its result if it has one.
    pub(crate) async fn execute(&mut self, ctx: &Ctx, sql: &str) -> Result<Done> {
        self.execute_bytes(ctx, sql.as_bytes()).await
    }

    /// The same, for a statement in another character set than ours.
    pub(crate) async fn execute_bytes(&mut self, ctx: &Ctx, sql: &[u8]) -> Result<Done> {
        let run = async {
            match self.ask(sql).await? {
                Reply::Done(done) => Ok(done),
                Reply::File(_) => Err(self.refuse_file().await),
                Reply::Columns(columns) => {
                    let mut rows = Rows::begin(self, columns).await?;
                    while rows.next().await?.is_some() {}
                    Ok(Done { affected: 0, warnings: 0 })
                }
            }
        };
        ctx.run(run).await.map_err(|error| error.during(doing(sql)))
    }

    /// Runs a statement that nothing may repeat: there is a password in it. The server repeats it where it does not understand it.
    pub(crate) async fn execute_secret(&mut self, ctx: &Ctx, sql: &[u8]) -> Result<Done> {
        let run = async {
            match self.ask(sql).await? {
                Reply::Done(done) => Ok(done),
                _ => Err(malformed("rows where none were asked for")),
            }
        };
        match ctx.run(run).await {
            Err(error) if code(&error) == Some(PARSE_ERROR) => {
                Err(Error::unsupported("the server does not understand a statement about an account"))
            }
            done => done,
        }
    }

    /// Runs a statement that makes or alters something: again, if it was broken off before it began so that another's could go on, as happens
    /// beside a FLUSH TABLES WITH READ LOCK.
    pub(crate) async fn define(&mut self, ctx: &Ctx, sql: &[u8]) -> Result<Done> {
        let mut deadlocks = Deadlocks::default();
        loop {
            let done = self.execute_bytes(ctx, sql).await;
            if !deadlocks.again(ctx, &done).await? {
                return done;
            }
        }
    }

    /// Asks for rows, whole.
    pub(crate) async fn rows(&mut self, ctx: &Ctx, sql: &str) -> Result<Vec<Row>> {
        let run = async {
            let mut rows = self.stream(sql).await?;
            let (mut all, mut held) = (Vec::new(), 0);
            while let Some(row) = rows.whole().await? {
                let mut fields = Fields(&row);
                let mut values = Vec::with_capacity(rows.columns());
                while !fields.0.is_empty() {
                    values.push(fields.field()?.map(<[u8]>::to_vec));
                }
                if values.len() != rows.columns() {
                    return Err(malformed("a row with another number of fields than columns"));
                }
                held += row.len();
                if held > MOST {
                    return Err(malformed("more than a gigabyte of metadata"));
                }
                all.push(values);
            }
            Ok(all)
        };
        ctx.run(run).await.map_err(|error| error.during(doing(sql.as_bytes())))
    }

    /// Asks for the first row; none is an error.
    pub(crate) async fn row(&mut self, ctx: &Ctx, sql: &str) -> Result<Row> {
        let rows = self.rows(ctx, sql).await?;
        rows.into_iter().next().ok_or_else(|| malformed("no row where there must be one"))
    }

    /// Asks for rows, to be read one after the other. The caller watches for cancellation.
    pub(crate) async fn stream(&mut self, sql: &str) -> Result<Rows<'_>> {
        match self.ask(sql.as_bytes()).await? {
            Reply::Columns(columns) => Rows::begin(self, columns).await,
            Reply::Done(_) => Err(malformed("no rows for a query")),
            Reply::File(_) => Err(self.refuse_file().await),
        }
    }

    /// Says goodbye, so that the server does not count a lost connection.
    pub(crate) async fn close(mut self) {
        if !self.busy {
            self.packets.restart();
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), self.packets.send(&[QUIT])).await;
        }
    }
}

/// How often what was broken off so that another's statement could go on has begun anew.
#[derive(Default)]
pub(super) struct Deadlocks(u32);

impl Deadlocks {
    /// Whether what ended so is to begin anew; then it waits a little first.
    pub(super) async fn again<T>(&mut self, ctx: &Ctx, done: &Result<T>) -> Result<bool> {
        let again = self.0 < DEADLOCKS && done.as_ref().err().is_some_and(is_deadlock);
        if again {
            self.0 += 1;
            ctx.sleep(AFTER_DEADLOCK).await?;
        }
        Ok(again)
    }
}

/// For people: the beginning of a statement.
pub(super) fn doing(sql: &[u8]) -> String {
    let start: String = String::from_utf8_lossy(sql).chars().take(100).collect();
    format!("execute {}", printable(&start))
}
