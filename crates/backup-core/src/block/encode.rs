//! From a chunk to its stored form.

use std::sync::Arc;

use super::column::{Stream, write_columns};
use super::grid::Grid;
use super::hints::{Form, TableHints};
use super::stored::{BlockHeader, BlockKind, ChunkHeader, Frame, describe};
use super::{MAX_COLUMN_BYTES, MAX_FRAME_BYTES, OWN_BLOCK, RawChunk, Segment, SegmentKind, bundle};
use crate::codec::{Codec, Level};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::rows::RowLayout;

/// Turns chunks into their stored form.
#[derive(Debug, Clone)]
pub struct ChunkEncoder {
    /// What compresses the blocks.
    pub codec: Arc<dyn Codec>,
    /// How hard it tries. The default is chosen for each stream of a block; a level of the user's is for all.
    pub level: Level,
}

/// What a stream is, as far as its level goes.
#[derive(Debug, Clone, Copy)]
enum Content {
    /// Numbers, lengths and null maps by column.
    Numbers,
    /// Strings by column.
    Strings,
    /// Anything as it was.
    Plain,
}

/// Memory that is kept from one block to the next.
#[derive(Debug, Default)]
struct Scratch {
    grid: Grid,
    pauses: Vec<u8>,
    values: Vec<i64>,
    n: Stream,
    s: Stream,
}

static SCRATCH: Pool<Scratch> = Pool::new();

impl ChunkEncoder {
    /// Appends the stored form of `chunk` to `out`. `hints` are those of each segment's table.
    pub fn encode(&self, chunk: &RawChunk, hints: &[Arc<TableHints>], out: &mut Vec<u8>) -> Result<()> {
        chunk.check()?;
        if hints.len() != chunk.segments.len() {
            return Err(Error::internal("a chunk whose segments do not all have hints"));
        }
        ChunkHeader {
            codec: self.codec.name(),
            bytes: chunk.bytes.len(),
            rows: chunk.ends.len(),
            segments: chunk.segments.len(),
        }
        .write(out);
        let mut scratch = SCRATCH.take().unwrap_or_default();
        let encoded = self.blocks(chunk, hints, &mut scratch, out);
        SCRATCH.give(scratch);
        encoded
    }

    /// Appends all blocks of a chunk.
    fn blocks(
        &self,
        chunk: &RawChunk,
        hints: &[Arc<TableHints>],
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let mut bundled = 0;
        for (i, (segment, hints)) in chunk.segments.iter().zip(hints).enumerate() {
            if segment.bytes.len() >= OWN_BLOCK {
                self.bundle(chunk, bundled..i, scratch, out)?;
                self.segment(chunk, i, segment, hints, scratch, out)?;
                bundled = i + 1;
            }
        }
        self.bundle(chunk, bundled..chunk.segments.len(), scratch, out)
    }

    /// Appends a block of several small segments.
    fn bundle(
        &self,
        chunk: &RawChunk,
        range: std::ops::Range<usize>,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let Some([first, .., last] | [first @ last]) = chunk.segments.get(range.clone()) else {
            return Ok(());
        };
        let bytes = chunk.bytes.get(first.bytes.start..last.bytes.end).unwrap_or_default();
        scratch.n.clear();
        bundle::write_directory(chunk, range.clone(), &mut scratch.n);
        let header = header(BlockKind::Bundle, 0, 0, range.len(), bytes.len());
        self.block(header, (&scratch.n.bytes, &scratch.n.flush_at), (bytes, &[]), out)
    }

    /// Appends the block of one segment.
    fn segment(
        &self,
        chunk: &RawChunk,
        i: usize,
        segment: &Segment,
        hints: &TableHints,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let bytes = chunk.segment_bytes(i);
        let (kind, detail, columns) = describe(segment.kind);
        let SegmentKind::Rows { layout, .. } = segment.kind else {
            return self.block(header(kind, detail, 0, 0, bytes.len()), (&[], &[]), (bytes, &[]), out);
        };
        let as_rows = header(BlockKind::Rows, detail, columns, segment.rows.len(), bytes.len());
        if layout == RowLayout::Opaque || bytes.len() > MAX_COLUMN_BYTES {
            return self.rows(chunk, i, as_rows, &mut scratch.n, out);
        }
        let form = hints.next_form();
        if form == Some(Form::Rows) || !regroup(chunk, i, layout, columns.into(), hints, scratch) {
            return self.rows(chunk, i, as_rows, &mut scratch.n, out);
        }
        let begin = out.len();
        let Scratch { n, s, .. } = scratch;
        let as_columns = BlockHeader { kind: BlockKind::Columns, ..as_rows };
        self.block(as_columns, (&n.bytes, &n.flush_at), (&s.bytes, &s.flush_at), out)?;
        if form.is_none() {
            let middle = out.len();
            self.rows(chunk, i, as_rows, n, out)?;
            let (columns, rows) = (middle - begin, out.len() - middle);
            // Only a clear win counts: columns come out smaller more often than not.
            if rows * 100 <= columns * 97 {
                hints.compared(Form::Rows);
                out.copy_within(middle.., begin);
                out.truncate(begin + rows);
            } else {
                hints.compared(Form::Columns);
                out.truncate(middle);
            }
        }
        Ok(())
    }

    /// Appends rows as they are.
    fn rows(
        &self,
        chunk: &RawChunk,
        i: usize,
        header: BlockHeader,
        n: &mut Stream,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        n.clear();
        let lengths: Vec<u32> = chunk.segment_rows(i).map(|row| row.len() as u32).collect();
        n.lengths(lengths.into_iter());
        self.block(header, (&n.bytes, &n.flush_at), (chunk.segment_bytes(i), &[]), out)
    }

    /// Appends a block of two streams, each with its flush points.
    fn block(
        &self,
        mut header: BlockHeader,
        n: (&[u8], &[usize]),
        s: (&[u8], &[usize]),
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let begin = out.len();
        out.extend_from_slice(&header.to_bytes());
        let strings = if header.kind == BlockKind::Columns { Content::Strings } else { Content::Plain };
        header.n = self.frame(n, Content::Numbers, out)?;
        header.s = self.frame(s, strings, out)?;
        if let Some(place) = out.get_mut(begin..begin + BlockHeader::LENGTH) {
            place.copy_from_slice(&header.to_bytes());
        }
        Ok(())
    }

    fn frame(
        &self,
        (raw, flush_at): (&[u8], &[usize]),
        content: Content,
        out: &mut Vec<u8>,
    ) -> Result<Frame> {
        if raw.is_empty() {
            return Ok(Frame::default());
        }
        let begin = out.len();
        self.codec.encode(raw, flush_at, self.level_of(content), out)?;
        Ok(Frame { stored: out.len() - begin, raw: raw.len() })
    }

    /// Regrouped by column, numbers gain nothing from a higher level that would be worth its time, and strings little.
    fn level_of(&self, content: Content) -> Level {
        match (self.level, content) {
            (Level(None), Content::Numbers) if self.codec.name() == "zstd" => Level::of(1),
            (Level(None), Content::Strings) if self.codec.name() == "zstd" => Level::of(2),
            (level, _) => level,
        }
    }
}

fn header(kind: BlockKind, detail: u8, columns: u16, count: usize, bytes: usize) -> BlockHeader {
    BlockHeader { kind, detail, columns, count, bytes, n: Frame::default(), s: Frame::default() }
}

/// Regroups the rows of a segment by column into the scratch streams; `false` if that cannot be done.
fn regroup(
    chunk: &RawChunk,
    i: usize,
    layout: RowLayout,
    columns: usize,
    hints: &TableHints,
    scratch: &mut Scratch,
) -> bool {
    let Scratch { grid, pauses, values, n, s } = scratch;
    let bytes = chunk.segment_bytes(i);
    let Some(segment) = chunk.segments.get(i) else { return false };
    let ends = chunk.ends.get(segment.rows.clone()).unwrap_or_default();
    let ends = ends.iter().map(|&end| end as usize - segment.bytes.start);
    if !grid.split(bytes, ends, layout, columns) {
        return false;
    }
    n.clear();
    s.clear();
    hints.read_pauses(columns, pauses);
    write_columns(grid, layout == RowLayout::Tagged, bytes, pauses, values, n, s);
    hints.write_pauses(pauses);
    n.bytes.len() <= MAX_FRAME_BYTES && s.bytes.len() <= MAX_FRAME_BYTES
}
