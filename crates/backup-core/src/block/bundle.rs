//! Many small segments in one block: a directory in its numbers, all their bytes in its strings.

use super::column::Stream;
use super::input::Input;
use super::stored::{BlockKind, describe, segment_kind};
use super::{MAX_CHUNK_BYTES, MAX_CHUNK_ROWS, RawChunk, Segment, SegmentKind};
use crate::error::{Error, Result};
use crate::rows::write_varint;

/// Appends the directory of the segments at `range`: first the segments, then the lengths of all their rows.
pub(super) fn write_directory(chunk: &RawChunk, range: std::ops::Range<usize>, n: &mut Stream) {
    for segment in chunk.segments.get(range.clone()).unwrap_or_default() {
        let (kind, detail, columns) = describe(segment.kind);
        n.bytes.extend([kind as u8, detail]);
        if kind == BlockKind::Rows {
            write_varint(&mut n.bytes, columns.into());
            write_varint(&mut n.bytes, segment.rows.len() as u64);
        }
        write_varint(&mut n.bytes, segment.bytes.len() as u64);
    }
    n.boundary();
    for i in range {
        for row in chunk.segment_rows(i) {
            write_varint(&mut n.bytes, row.len() as u64);
        }
    }
}

/// Appends the `count` segments that `directory` describes to `chunk`, whose bytes from `begin` on are theirs.
pub(super) fn read_directory(
    directory: &[u8],
    count: usize,
    begin: usize,
    chunk: &mut RawChunk,
) -> Result<()> {
    let mut n = Input(directory);
    let first = chunk.segments.len();
    let (mut byte, mut row) = (begin, chunk.ends.len());
    for _ in 0..count {
        let kind = BlockKind::read(&mut n)?;
        if matches!(kind, BlockKind::Columns | BlockKind::Bundle) {
            return Err(Error::damaged("a bundle of blocks"));
        }
        let detail = n.u8()?;
        let (columns, rows) = match kind {
            BlockKind::Rows => (n.varint(u16::MAX.into())? as u16, n.varint(MAX_CHUNK_ROWS - row)?),
            _ => (0, 0),
        };
        let bytes = n.varint(chunk.bytes.len() - byte)?;
        let kind = segment_kind(kind, detail, columns)?;
        chunk.segments.push(Segment { kind, bytes: byte..byte + bytes, rows: row..row + rows });
        (byte, row) = (byte + bytes, row + rows);
    }
    if byte != chunk.bytes.len() {
        return Err(Error::damaged("a bundle whose segments are not all its bytes"));
    }
    for segment in chunk.segments.get(first..).unwrap_or_default() {
        let mut end = segment.bytes.start;
        for _ in segment.rows.clone() {
            end += n.varint(MAX_CHUNK_BYTES)?;
            if end > segment.bytes.end {
                break;
            }
            chunk.ends.push(end as u32);
        }
        if matches!(segment.kind, SegmentKind::Rows { .. }) && end != segment.bytes.end {
            return Err(Error::damaged("a segment whose rows do not end where it ends"));
        }
    }
    n.end()
}
