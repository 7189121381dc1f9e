//! Rows out of a COPY, past the driver.

use std::pin::Pin;

use backup_core::{Ctx, Error, ErrorKind, PartWriter, Result};
use bytes::{Buf, Bytes};
use futures::StreamExt;

use super::Session;
use super::wire::Copied;
use crate::error::classify;

/// A message's tag and length.
const HEAD: usize = 5;
/// A row of more bytes than this is never held whole.
const LONG: usize = 256 << 10;

/// Statements that are running, COPYs out of the server among them.
struct Running<'session> {
    session: &'session Session,
    statements: Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send + 'session>>,
    is_over: bool,
}

/// What is heard while they run.
enum Heard {
    Messages(Option<Bytes>),
    End(Result<(), tokio_postgres::Error>),
}

impl<'session> Running<'session> {
    fn begin(session: &'session Session, sql: &'session str) -> Self {
        session.set_busy(true);
        Self { session, statements: Box::pin(session.client().batch_execute(sql)), is_over: false }
    }

    /// The next messages of a COPY, none behind its last.
    async fn next(&mut self, ctx: &Ctx, copied: &mut Copied) -> Result<Option<Bytes>> {
        loop {
            let (messages, statements, is_over) = (&mut copied.messages, &mut self.statements, self.is_over);
            let heard = async {
                Ok(tokio::select! {
                    biased;
                    next = messages.next() => Heard::Messages(next),
                    end = statements.as_mut(), if !is_over => Heard::End(end),
                })
            };
            match self.session.wait(ctx, heard).await? {
                Heard::Messages(messages) => return Ok(messages),
                Heard::End(end) => self.over(end)?,
            }
        }
    }

    async fn end(mut self, ctx: &Ctx) -> Result<()> {
        if !self.is_over {
            let statements = &mut self.statements;
            let end = self.session.wait(ctx, async { Ok(statements.await) }).await?;
            self.over(end)?;
        }
        Ok(())
    }

    fn over(&mut self, end: Result<(), tokio_postgres::Error>) -> Result<()> {
        self.is_over = true;
        self.session.tap.close();
        self.session.set_busy(false);
        end.map_err(classify)
    }
}

impl Session {
    /// Executes statements of which one is a COPY out of the server, as one message, and writes its rows to `out`.
    pub(crate) async fn copy_out(&self, ctx: &Ctx, sql: &str, out: &mut PartWriter) -> Result<()> {
        let mut copied = self.tap.open();
        let mut running = Running::begin(self, sql);
        let mut rows = Rows::default();
        while let Some(messages) = running.next(ctx, &mut copied).await? {
            rows.write(messages, out).await?;
        }
        running.end(ctx).await?;
        rows.check(copied.sent())
    }

    /// Executes statements of which so many are COPYs out of the server, as one message, and holds their rows: of those from which on there
    /// would be more than `most` bytes, nothing.
    pub(crate) async fn copies_out(
        &self,
        ctx: &Ctx,
        sql: &str,
        copies: usize,
        most: usize,
    ) -> Result<Vec<HeldRows>> {
        let mut copies: Vec<Copied> = (0..copies).map(|_| self.tap.open()).collect();
        let mut running = Running::begin(self, sql);
        let mut held = Vec::with_capacity(copies.len());
        let mut size = 0;
        for copied in &mut copies {
            let mut messages = Vec::new();
            while let Some(more) = running.next(ctx, copied).await? {
                size += more.len();
                if size <= most {
                    messages.extend_from_slice(&more);
                }
            }
            if size <= most {
                held.push(HeldRows { messages: messages.into(), sent: copied.sent() });
            }
        }
        running.end(ctx).await?;
        Ok(held)
    }
}

/// All rows of a COPY.
#[derive(Debug)]
pub(crate) struct HeldRows {
    messages: Bytes,
    sent: Option<u64>,
}

impl HeldRows {
    pub(crate) fn size(&self) -> usize {
        self.messages.len()
    }

    /// Writes them to `out`.
    pub(crate) async fn write_to(self, out: &mut PartWriter) -> Result<()> {
        let mut rows = Rows::default();
        rows.write(self.messages, out).await?;
        rows.check(self.sent)
    }
}

/// Rows out of messages whose bodies may be cut.
#[derive(Default)]
struct Rows {
    /// How many bytes of the present row are to come.
    left: usize,
    /// The beginning of a row that is not long.
    start: Vec<u8>,
    is_long: bool,
    /// How many have begun.
    count: u64,
}

impl Rows {
    /// An error unless these are all rows that the server says it has `sent`.
    fn check(&self, sent: Option<u64>) -> Result<()> {
        if self.left > 0 {
            return Err(Error::internal("rows went astray on their way from the server"));
        }
        if sent == Some(self.count) {
            return Ok(());
        }
        let sent = sent.map_or_else(|| "an unknown number of".to_owned(), |sent| sent.to_string());
        let message = format!("the server has sent {sent} rows, and {} have arrived", self.count);
        Err(Error::new(ErrorKind::Connect, message)
            .hint("something between here and the server changes what is said: check that, and run it again"))
    }

    async fn write(&mut self, mut messages: Bytes, out: &mut PartWriter) -> Result<()> {
        while !messages.is_empty() {
            if self.left == 0 {
                let Some(&[_, a, b, c, d]) = messages.first_chunk::<HEAD>() else {
                    return Err(Error::internal("the head of a row is cut"));
                };
                let length = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
                messages.advance(HEAD);
                self.count += 1;
                if let Some(row) = messages.get(..length) {
                    out.row(row).await?;
                    messages.advance(length);
                    continue;
                }
                self.left = length;
                self.is_long = length > LONG;
                if self.is_long {
                    out.begin_row()?;
                }
            }
            let here = messages.split_to(self.left.min(messages.len()));
            self.left -= here.len();
            if self.is_long {
                out.fragment(&here).await?;
                if self.left == 0 {
                    out.end_row().await?;
                }
            } else {
                self.start.extend_from_slice(&here);
                if self.left == 0 {
                    out.row(&self.start).await?;
                    self.start.clear();
                }
            }
        }
        Ok(())
    }
}
