//! Rows as they come from the wire.

use backup_core::Result;
use bytes::BytesMut;

use super::Connection;
use super::packet::LARGEST;
use crate::error::{from_packet, malformed};

/// A row larger than this comes in pieces.
const WHOLE: usize = 1 << 20;

/// The rows of a result, read one after the other. Dropped before its end, it leaves a connection that can only be closed.
#[derive(Debug)]
pub(crate) struct Rows<'c> {
    connection: &'c mut Connection,
    columns: usize,
    /// How many bytes of the last packet were shown and not consumed yet.
    shown: usize,
    /// Of the large row that is being read: what is left of its packet, and whether another packet follows.
    left: Option<(usize, bool)>,
    done: bool,
}

/// The next row, or the next piece of a large one.
#[derive(Debug)]
pub(crate) enum Piece<'a> {
    Whole(&'a [u8]),
    First(BytesMut),
    Next(BytesMut),
    /// The row that came in pieces is complete.
    End,
}

impl<'c> Rows<'c> {
    pub(super) async fn begin(connection: &'c mut Connection, columns: u64) -> Result<Self> {
        let columns = usize::try_from(columns).ok().filter(|columns| (1..=65_535).contains(columns));
        let columns = columns.ok_or_else(|| malformed("a result of no columns"))?;
        // Their descriptions tell nothing that was not known when the query was written.
        for _ in 0..columns {
            let payload = connection.packets.payload().await?;
            if payload.first() == Some(&0xff) {
                return Err(from_packet(&payload));
            }
        }
        if !is_end(&connection.packets.payload().await?) {
            return Err(malformed("no end of the columns"));
        }
        Ok(Self { connection, columns, shown: 0, left: None, done: false })
    }

    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The next row or piece; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Piece<'_>>> {
        if self.done {
            return Ok(None);
        }
        let Connection { packets, busy, .. } = &mut *self.connection;
        packets.consume(std::mem::take(&mut self.shown));
        if let Some((mut left, mut more)) = self.left.take() {
            while left == 0 {
                if !more {
                    return Ok(Some(Piece::End));
                }
                left = packets.head().await?;
                more = left == LARGEST;
            }
            let piece = packets.some(left, WHOLE).await?;
            self.left = Some((left - piece.len(), more));
            return Ok(Some(Piece::Next(piece)));
        }
        let length = packets.head().await?;
        if length == 0 {
            return Err(malformed("an empty row"));
        }
        let first = packets.peek(1).await?.first().copied();
        if length > WHOLE {
            if first == Some(0xff) {
                return Err(malformed("an error of more than a megabyte"));
            }
            let piece = packets.some(length, WHOLE).await?;
            self.left = Some((length - piece.len(), length == LARGEST));
            return Ok(Some(Piece::First(piece)));
        }
        self.shown = length;
        match first {
            Some(0xff) => {
                let error = from_packet(packets.peek(length).await?);
                packets.consume(std::mem::take(&mut self.shown));
                self.done = true;
                *busy = false;
                Err(error)
            }
            Some(0xfe) if length < 9 => {
                // It may come in pieces: what is left of it would begin the next answer.
                packets.peek(length).await?;
                packets.consume(std::mem::take(&mut self.shown));
                self.done = true;
                *busy = false;
                Ok(None)
            }
            _ => Ok(Some(Piece::Whole(packets.peek(length).await?))),
        }
    }

    /// The next row, whole however large it is.
    pub(super) async fn whole(&mut self) -> Result<Option<Vec<u8>>> {
        let mut row = Vec::new();
        loop {
            match self.next().await? {
                None => return Ok(None),
                Some(Piece::Whole(whole)) => return Ok(Some(whole.to_vec())),
                Some(Piece::First(piece) | Piece::Next(piece)) => row.extend_from_slice(&piece),
                Some(Piece::End) => return Ok(Some(row)),
            }
        }
    }
}

/// Whether a packet ends the columns, or the rows.
fn is_end(payload: &[u8]) -> bool {
    payload.first() == Some(&0xfe) && payload.len() < 9
}
