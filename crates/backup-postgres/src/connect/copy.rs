//! Rows out of a COPY, past the driver.

use std::pin::Pin;

use backup_core::{Ctx, Error, ErrorKind, PartWriter, Result};
use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::channel::mpsc;
use tokio_postgres::CopyOutStream;

use super::Session;
use crate::error::classify;

/// A message's tag and length.
const HEAD: usize = 5;
/// A row of more bytes than this is never held whole.
const LONG: usize = 256 << 10;

/// A COPY that is running.
pub(crate) struct CopyOut<'session> {
    session: &'session Session,
    messages: mpsc::Receiver<Bytes>,
    end: Pin<Box<CopyOutStream>>,
}

impl Session {
    /// Begins a COPY out of the server.
    pub(crate) async fn copy_out(&self, ctx: &Ctx, sql: &str) -> Result<CopyOut<'_>> {
        let client = self.client();
        // What the server says before the rows is the driver's.
        let statement = self.run(ctx, client.prepare(sql)).await?;
        let messages = self.tap.open();
        let end = self.run(ctx, client.copy_out(&statement)).await?;
        self.set_busy(true);
        Ok(CopyOut { session: self, messages, end: Box::pin(end) })
    }
}

impl CopyOut<'_> {
    /// Writes all rows to `out`.
    pub(crate) async fn write_to(mut self, ctx: &Ctx, out: &mut PartWriter) -> Result<()> {
        let mut rows = Rows::default();
        loop {
            let messages = &mut self.messages;
            let next = self.session.wait(ctx, async { Ok(messages.next().await) }).await?;
            let Some(messages) = next else { break };
            rows.write(messages, out).await?;
        }
        // The driver knows whether that was the end, or an error.
        let end = self.end.as_mut();
        let end = self.session.wait(ctx, async { Ok(end.into_future().await.0) }).await?;
        match end {
            None if rows.left == 0 => {}
            Some(Err(error)) => return Err(classify(error)),
            _ => return Err(Error::internal("rows went astray on their way from the server")),
        }
        self.session.set_busy(false);
        let sent = self.session.tap.copied();
        if sent != Some(rows.count) {
            let sent = sent.map_or_else(|| "an unknown number of".to_owned(), |sent| sent.to_string());
            let message = format!("the server has sent {sent} rows, and {} have arrived", rows.count);
            return Err(Error::new(ErrorKind::Connect, message).hint(
                "something between here and the server changes what is said: check that, and run it again",
            ));
        }
        Ok(())
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
