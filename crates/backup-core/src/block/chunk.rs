//! The chunk in memory.

use std::ops::Range;

use super::{MAX_CHUNK_BYTES, MAX_CHUNK_ROWS, MAX_CHUNK_SEGMENTS, stored};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::rows::RowLayout;

/// Some megabytes of a backup: segments of rows and of other bytes, one behind the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RawChunk {
    /// The bytes of all segments.
    pub bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    pub ends: Vec<u32>,
    /// What `bytes` is made of: the segments cover it without gaps.
    pub segments: Vec<Segment>,
}

/// A stretch of one kind of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// What it holds.
    pub kind: SegmentKind,
    /// Where its bytes are in [`RawChunk::bytes`].
    pub bytes: Range<usize>,
    /// Where the ends of its rows are in [`RawChunk::ends`]: begins where the previous segment's range ended,
    /// and is empty unless the segment holds rows.
    pub rows: Range<usize>,
}

/// What a segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    /// Whole rows.
    Rows {
        /// How their bytes are made of fields.
        layout: RowLayout,
        /// How many fields each has.
        columns: u16,
    },
    /// Bytes that are no rows.
    Bytes,
    /// A piece of one row that is too large for a block.
    Fragment {
        /// The row begins here.
        first: bool,
        /// The row ends here.
        last: bool,
    },
}

/// Chunks are some megabytes, come by the thousand and live for a moment: their memory is used again.
static USED: Pool<RawChunk> = Pool::new();

impl RawChunk {
    /// An empty chunk, in memory that was used before.
    pub(crate) fn recycled() -> Self {
        USED.take().unwrap_or_default()
    }

    /// Keeps the memory of a chunk that is done with.
    pub(crate) fn recycle(mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.segments.clear();
        USED.give(self);
    }
}

impl RawChunk {
    /// The bytes of segment `i`; none if there is no such segment.
    pub fn segment_bytes(&self, i: usize) -> &[u8] {
        self.segments.get(i).and_then(|segment| self.bytes.get(segment.bytes.clone())).unwrap_or_default()
    }

    /// The rows of segment `i`; none if it does not hold rows.
    pub fn segment_rows(&self, i: usize) -> impl Iterator<Item = &[u8]> {
        let (begin, ends) = match self.segments.get(i) {
            Some(segment) => (segment.bytes.start, self.ends.get(segment.rows.clone()).unwrap_or_default()),
            None => (0, &[][..]),
        };
        ends.iter().scan(begin, |begin, &end| {
            let row = self.bytes.get(*begin..end as usize).unwrap_or_default();
            *begin = end as usize;
            Some(row)
        })
    }

    /// The name of this chunk: BLAKE3, keyed with `key`, of its segments, the lengths of its rows, and its bytes.
    pub fn hash(&self, key: &[u8; 32]) -> [u8; 32] {
        // The counts come first, so that no two chunks are written alike.
        let mut head = Vec::with_capacity(8 + 24 * self.segments.len() + 4 * self.ends.len());
        head.extend((self.segments.len() as u64).to_le_bytes());
        for segment in &self.segments {
            let (kind, detail, columns) = stored::describe(segment.kind);
            head.extend([kind as u8, detail]);
            head.extend(columns.to_le_bytes());
            head.extend((segment.bytes.len() as u64).to_le_bytes());
            head.extend((segment.rows.len() as u64).to_le_bytes());
        }
        for (i, segment) in self.segments.iter().enumerate() {
            if !segment.rows.is_empty() {
                for row in self.segment_rows(i) {
                    head.extend((row.len() as u32).to_le_bytes());
                }
            }
        }
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&head);
        hasher.update(&self.bytes);
        hasher.finalize().into()
    }

    /// Whether this is a chunk as the documentation of its fields says, within the limits.
    pub(super) fn check(&self) -> Result<()> {
        let broken = |what: &'static str| Err(Error::internal(what));
        if self.bytes.len() > MAX_CHUNK_BYTES {
            return broken("a chunk of too many bytes");
        }
        if self.ends.len() > MAX_CHUNK_ROWS {
            return broken("a chunk of too many rows");
        }
        if self.segments.len() > MAX_CHUNK_SEGMENTS {
            return broken("a chunk of too many segments");
        }
        let (mut byte, mut row) = (0, 0);
        for segment in &self.segments {
            let Segment { kind, bytes, rows } = segment;
            if bytes.start != byte || bytes.end < byte || rows.start != row || rows.end < row {
                return broken("a chunk whose segments do not follow one another");
            }
            match (kind, self.ends.get(rows.clone())) {
                (_, None) => return broken("a segment of rows that the chunk does not have"),
                (SegmentKind::Rows { .. }, Some(ends)) => {
                    let mut end = byte;
                    for &next in ends {
                        if (next as usize) < end {
                            return broken("a row that ends before it begins");
                        }
                        end = next as usize;
                    }
                    if end != bytes.end {
                        return broken("a segment whose rows do not end where it ends");
                    }
                }
                (_, Some([])) => {}
                (_, Some(_)) => return broken("rows in a segment that holds none"),
            }
            (byte, row) = (bytes.end, rows.end);
        }
        if byte != self.bytes.len() || row != self.ends.len() {
            return broken("a chunk whose segments do not cover it");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two_segments(split: usize, ends: [u32; 2]) -> RawChunk {
        let kind = SegmentKind::Rows { layout: RowLayout::Opaque, columns: 0 };
        RawChunk {
            bytes: b"abcdef".to_vec(),
            ends: ends.to_vec(),
            segments: vec![
                Segment { kind, bytes: 0..split, rows: 0..1 },
                Segment { kind, bytes: split..6, rows: 1..2 },
            ],
        }
    }

    #[test]
    fn the_rows_of_a_segment_come_one_by_one() {
        let chunk = two_segments(2, [2, 6]);
        chunk.check().unwrap();
        assert_eq!(chunk.segment_rows(0).collect::<Vec<_>>(), [b"ab"]);
        assert_eq!(chunk.segment_rows(1).collect::<Vec<_>>(), [b"cdef"]);
        assert_eq!(chunk.segment_rows(2).count(), 0);
        assert_eq!(chunk.segment_bytes(1), b"cdef");
    }

    #[test]
    fn the_hash_depends_on_bytes_rows_segments_and_key() {
        let key = [7; 32];
        let one = two_segments(2, [2, 6]);
        assert_eq!(one.hash(&key), one.clone().hash(&key));
        assert_ne!(one.hash(&key), one.hash(&[8; 32]));
        assert_ne!(one.hash(&key), two_segments(3, [3, 6]).hash(&key));
        let mut other = one.clone();
        other.bytes[0] ^= 1;
        assert_ne!(one.hash(&key), other.hash(&key));
        let mut other = one.clone();
        other.segments[1].kind = SegmentKind::Rows { layout: RowLayout::Opaque, columns: 1 };
        assert_ne!(one.hash(&key), other.hash(&key));
        let joined = RawChunk {
            segments: vec![Segment { kind: one.segments[0].kind, bytes: 0..6, rows: 0..2 }],
            ..one.clone()
        };
        joined.check().unwrap();
        assert_ne!(one.hash(&key), joined.hash(&key));
    }

    #[test]
    fn a_chunk_that_contradicts_itself_is_noticed() {
        assert!(two_segments(2, [3, 6]).check().is_err());
        assert!(two_segments(2, [2, 5]).check().is_err());
        assert!(two_segments(2, [2, 7]).check().is_err());
        let mut gap = two_segments(2, [2, 6]);
        gap.segments[1].bytes.start = 3;
        assert!(gap.check().is_err());
        let mut bytes = two_segments(2, [2, 6]);
        bytes.segments[1].kind = SegmentKind::Bytes;
        assert!(bytes.check().is_err());
        let mut short = two_segments(2, [2, 6]);
        short.segments.pop();
        assert!(short.check().is_err());
    }
}
