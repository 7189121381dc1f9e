//! What an engine reads a part from.

use std::ops::Range;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::block::{RawChunk, SegmentKind};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::progress::Event;
use crate::rows::{FragmentHasher, RowDigest};
use crate::script::PartSource;

/// The next piece of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// A whole row, or a whole statement.
    Row(&'a [u8]),
    /// A piece of a row (or statement) that is larger than a block.
    Fragment {
        /// The bytes.
        bytes: &'a [u8],
        /// Whether the row begins with it.
        first: bool,
        /// Whether the row ends with it.
        last: bool,
    },
    /// The next bytes of a part that is neither rows nor SQL.
    Bytes(&'a [u8]),
}

/// Gives the rows, statements or bytes of one part, in the order in which they were written.
///
/// Everything it gives has been checked against its hash; at the end of the part the count and the digest of
/// all rows are checked too, so a part of which something is missing ends in an error and not in `None`.
#[derive(Debug)]
pub struct PartReader {
    // Taken out only while a blocking closure has it.
    unfolding: Option<Unfolding>,
    said_rows: Option<u64>,
}

/// The same as [`PartReader`], for synchronous drivers: its methods, and those that it has as a [`PartSource`], block.
#[derive(Debug)]
pub struct BlockingPartReader(Unfolding);

/// Some of the segments of a chunk: those of one part.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) chunk: Arc<RawChunk>,
    pub(crate) segments: Range<usize>,
}

impl PartReader {
    /// A reader of the pieces that come from `pieces` and must come to `expected`, where that is known.
    pub(crate) fn new(ctx: &Ctx, pieces: mpsc::Receiver<Result<Piece>>, expected: Option<RowDigest>) -> Self {
        Self { unfolding: Some(Unfolding::new(ctx.clone(), pieces, expected)), said_rows: None }
    }

    /// The same, of statements that say so many rows.
    pub(crate) fn of_said_rows(ctx: &Ctx, pieces: mpsc::Receiver<Result<Piece>>, rows: Option<u64>) -> Self {
        Self { said_rows: rows, ..Self::new(ctx, pieces, None) }
    }

    /// How many rows its statements say, where it is a part of rows that comes as statements.
    pub fn said_rows(&self) -> Option<u64> {
        self.said_rows
    }

    /// The next item; `None` at the end of the part.
    pub async fn next(&mut self) -> Result<Option<Item<'_>>> {
        self.next_rows(0).await
    }

    /// The same, but an [`Item::Row`] is as many whole rows as lie one behind the other, up to about `most` bytes: for engines that hand
    /// rows on as they are.
    pub async fn next_rows(&mut self, most: usize) -> Result<Option<Item<'_>>> {
        let unfolding = self.unfolding.as_mut().ok_or_else(lost)?;
        while !unfolding.advance()? {
            let ctx = unfolding.ctx.clone();
            let piece = ctx.run(async { unfolding.pieces.recv().await.transpose() }).await?;
            if !unfolding.take_in(piece)? {
                return Ok(None);
            }
        }
        unfolding.item(most)
    }

    /// The next row or statement, whole; `None` at the end. For statements, and for rows where memory has room for any: of rows
    /// `next` gives the pieces of large ones. Errors: `Damaged` if it is cut off, or longer than 1 GiB.
    pub async fn next_whole(&mut self) -> Result<Option<Vec<u8>>> {
        let mut whole = Whole::default();
        while let Some(item) = self.next().await? {
            if whole.add(item)? {
                return Ok(Some(whole.0));
            }
        }
        whole.end()
    }

    /// The next statement of a [`crate::PartKind::Sql`] part, whole. Errors: as those of [`Self::next_whole`], and `Damaged` if it is
    /// not UTF-8.
    pub async fn statement(&mut self) -> Result<Option<String>> {
        self.next_whole().await?.map(text).transpose()
    }

    /// Runs `read` on a thread that may block, with the blocking twin of this reader. If the returned future is dropped, `read`
    /// gets an error from its next call.
    pub async fn blocking<T: Send + 'static>(
        &mut self,
        read: impl FnOnce(&mut BlockingPartReader) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let unfolding = self.unfolding.take().ok_or_else(lost)?;
        let ctx = unfolding.ctx.clone();
        let (unfolding, result) = ctx
            .blocking(move || {
                let mut reader = BlockingPartReader(unfolding);
                let result = read(&mut reader);
                Ok((reader.0, result))
            })
            .await?;
        self.unfolding = Some(unfolding);
        result
    }
}

impl BlockingPartReader {
    /// See [`PartReader::next`].
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend")]
    pub fn next(&mut self) -> Result<Option<Item<'_>>> {
        while !self.0.advance()? {
            self.0.ctx.check()?;
            let piece = self.0.pieces.blocking_recv().transpose()?;
            if !self.0.take_in(piece)? {
                return Ok(None);
            }
        }
        self.0.item(0)
    }
}

impl PartSource for BlockingPartReader {
    fn next(&mut self) -> Result<Option<Item<'_>>> {
        Self::next(self)
    }
}

fn lost() -> Error {
    Error::internal("a part reader was used again after its thread was lost")
}

pub(crate) fn text(statement: Vec<u8>) -> Result<String> {
    String::from_utf8(statement).map_err(|error| Error::damaged("a statement is not UTF-8").because(error))
}

/// The longest row or statement that is put together in memory. No server takes a longer statement, but a part that somebody made up
/// could name the same fragment for ever.
const WHOLE_MAX: usize = 1 << 30;

/// Joins the fragments of a row or statement.
#[derive(Default)]
pub(crate) struct Whole(pub(crate) Vec<u8>);

impl Whole {
    /// Takes in the next item, and says whether the row or statement ends with it.
    pub(crate) fn add(&mut self, item: Item<'_>) -> Result<bool> {
        let (bytes, last) = match item {
            Item::Row(bytes) => (bytes, true),
            Item::Fragment { bytes, last, .. } => (bytes, last),
            Item::Bytes(_) => return Err(Error::damaged("bytes stand among rows or statements")),
        };
        if self.0.len() + bytes.len() > WHOLE_MAX {
            return Err(Error::damaged("a row or statement is longer than 1 GiB"));
        }
        self.0.extend_from_slice(bytes);
        Ok(last)
    }

    /// Nothing comes any more.
    pub(crate) fn end(self) -> Result<Option<Vec<u8>>> {
        if self.0.is_empty() { Ok(None) } else { Err(Error::damaged("a row or statement is cut off")) }
    }
}

/// What both readers share: everything but the waiting.
struct Unfolding {
    ctx: Ctx,
    pieces: mpsc::Receiver<Result<Piece>>,
    current: Option<Piece>,
    /// The segment that the last item was in, and the row within `ends`.
    segment: usize,
    row: usize,
    started: bool,
    expected: Option<RowDigest>,
    digest: RowDigest,
    stream: FragmentHasher,
    long_row: Option<FragmentHasher>,
    done: bool,
}

impl Unfolding {
    fn new(ctx: Ctx, pieces: mpsc::Receiver<Result<Piece>>, expected: Option<RowDigest>) -> Self {
        Self {
            ctx,
            pieces,
            current: None,
            segment: 0,
            row: 0,
            started: false,
            expected,
            digest: RowDigest::default(),
            stream: FragmentHasher::default(),
            long_row: None,
            done: false,
        }
    }

    /// Goes to the next item of the present piece; `false` if it has none left.
    fn advance(&mut self) -> Result<bool> {
        let Some(piece) = &self.current else { return Ok(false) };
        loop {
            let Some(segment) =
                piece.chunk.segments.get(self.segment).filter(|_| self.segment < piece.segments.end)
            else {
                return Ok(false);
            };
            match segment.kind {
                SegmentKind::Rows { .. } => {
                    if self.started {
                        self.row += 1;
                    } else {
                        self.row = segment.rows.start;
                        self.started = true;
                    }
                    if self.row < segment.rows.end {
                        return Ok(true);
                    }
                }
                _ if !self.started => {
                    self.started = true;
                    return Ok(true);
                }
                _ => {}
            }
            self.segment += 1;
            self.started = false;
        }
    }

    /// The item that `advance` went to, and of rows those behind it, up to about `most` bytes.
    fn item(&mut self, most: usize) -> Result<Option<Item<'_>>> {
        let inconsistent = || Error::damaged("a chunk's rows do not lie within it");
        let Some(piece) = &self.current else { return Ok(None) };
        let chunk = &piece.chunk;
        let Some(segment) = chunk.segments.get(self.segment) else { return Ok(None) };
        let item = match segment.kind {
            SegmentKind::Rows { .. } => {
                let start = match self.row.checked_sub(1).filter(|_| self.row > segment.rows.start) {
                    Some(before) => chunk.ends.get(before).map(|end| *end as usize),
                    None => Some(segment.bytes.start),
                };
                let start = start.ok_or_else(inconsistent)?;
                let mut end = start;
                loop {
                    let next = chunk.ends.get(self.row).ok_or_else(inconsistent)?;
                    let row = chunk.bytes.get(end..*next as usize).ok_or_else(inconsistent)?;
                    self.digest.add(row);
                    end += row.len();
                    if end - start >= most || self.row + 1 >= segment.rows.end {
                        break;
                    }
                    self.row += 1;
                }
                Item::Row(chunk.bytes.get(start..end).ok_or_else(inconsistent)?)
            }
            SegmentKind::Fragment { first, last } => {
                let bytes = chunk.bytes.get(segment.bytes.clone()).ok_or_else(inconsistent)?;
                if first != self.long_row.is_none() {
                    return Err(Error::damaged("the fragments of a row do not fit together"));
                }
                let hasher = self.long_row.get_or_insert_default();
                hasher.update(bytes);
                if last {
                    self.digest.add_hash(hasher.finish());
                    self.long_row = None;
                }
                Item::Fragment { bytes, first, last }
            }
            SegmentKind::Bytes => {
                let bytes = chunk.bytes.get(segment.bytes.clone()).ok_or_else(inconsistent)?;
                self.stream.update(bytes);
                Item::Bytes(bytes)
            }
        };
        Ok(Some(item))
    }

    /// Goes to the next piece; `false` at the end of the part, once its rows have been found complete.
    fn take_in(&mut self, piece: Option<Piece>) -> Result<bool> {
        let done = self.current.take().and_then(|piece| Arc::into_inner(piece.chunk));
        done.into_iter().for_each(RawChunk::recycle);
        if let Some(piece) = piece {
            let bytes = piece
                .segments
                .clone()
                .filter_map(|i| piece.chunk.segments.get(i))
                .map(|s| s.bytes.len() as u64);
            let rows = piece
                .segments
                .clone()
                .filter_map(|i| piece.chunk.segments.get(i))
                .map(|s| s.rows.len() as u64);
            self.ctx.emit(Event::Advanced { rows: rows.sum(), bytes: bytes.sum() });
            self.segment = piece.segments.start;
            self.started = false;
            self.current = Some(piece);
            return Ok(true);
        }
        self.current = None;
        if std::mem::replace(&mut self.done, true) {
            return Ok(false);
        }
        if self.long_row.is_some() {
            return Err(Error::damaged("the last row of a part is cut off"));
        }
        let Some(expected) = self.expected else { return Ok(false) };
        if expected.rows == 0 && self.digest.rows == 0 {
            self.digest.sum = if expected.sum == 0 { 0 } else { self.stream.finish() };
        }
        if self.digest == expected {
            return Ok(false);
        }
        Err(Error::damaged(format!(
            "the part has {} rows with digest {}, not {} with {}",
            self.digest.rows, self.digest, expected.rows, expected
        )))
    }
}

impl std::fmt::Debug for Unfolding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unfolding").field("digest", &self.digest).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::Segment;
    use crate::rows::RowLayout;

    #[tokio::test]
    async fn rows_come_one_by_one_or_many_at_a_time_and_are_all_counted() {
        let kind = SegmentKind::Rows { layout: RowLayout::Opaque, columns: 0 };
        let chunk = Arc::new(RawChunk {
            bytes: b"abbcccddddeeeee".to_vec(),
            ends: vec![1, 3, 6, 10, 15],
            segments: vec![
                Segment { kind, bytes: 0..10, rows: 0..4 },
                Segment { kind, bytes: 10..15, rows: 4..5 },
            ],
        });
        let mut expected = RowDigest::default();
        for row in ["a", "bb", "ccc", "dddd", "eeeee"] {
            expected.add(row.as_bytes());
        }
        for (most, items) in [
            (0, &["a", "bb", "ccc", "dddd", "eeeee"][..]),
            (3, &["abb", "ccc", "dddd", "eeeee"]),
            (4, &["abbccc", "dddd", "eeeee"]),
            (usize::MAX, &["abbcccdddd", "eeeee"]),
        ] {
            let (sender, pieces) = mpsc::channel(1);
            sender.send(Ok(Piece { chunk: Arc::clone(&chunk), segments: 0..2 })).await.unwrap();
            drop(sender);
            let mut reader = PartReader::new(&Ctx::new(), pieces, Some(expected));
            for item in items {
                assert_eq!(reader.next_rows(most).await.unwrap(), Some(Item::Row(item.as_bytes())), "{most}");
            }
            // Here it would be found out if a row were missing.
            assert_eq!(reader.next_rows(most).await.unwrap(), None);
        }
    }
}
