//! From the stored form back to the chunk.

use super::grid::{Grid, SLACK};
use super::input::Input;
use super::join::join;
use super::stored::{BlockHeader, BlockKind, ChunkHeader, segment_kind};
use super::uncolumn::{ColumnReader, read_lengths};
use super::{MAX_COLUMN_BYTES, RawChunk, Segment, SegmentKind, bundle};
use crate::codec::{self, Codec};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::rows::RowLayout;

/// Scratch memory beyond this is given back.
const KEEP_SCRATCH: usize = 8 << 20;

/// Memory that is kept from one block to the next.
#[derive(Debug, Default)]
struct Scratch {
    n: Vec<u8>,
    arena: Vec<u8>,
    grid: Grid,
    values: Vec<u64>,
}

static SCRATCH: Pool<Scratch> = Pool::new();

/// Turns the stored form of a chunk back into the chunk. Anything but what
/// [`ChunkEncoder::encode`](super::ChunkEncoder::encode) writes is an error, and needs no more memory than a few
/// of the largest chunks; only a keyed hash, however, can tell whether it is the chunk that was written.
pub fn decode_chunk(stored: &[u8]) -> Result<RawChunk> {
    let mut input = Input(stored);
    let header = ChunkHeader::read(&mut input)?;
    let codec = codec::codec(header.codec)?;
    let mut chunk = RawChunk::recycled();
    chunk.bytes.reserve(header.bytes + SLACK);
    chunk.ends.reserve(header.rows);
    chunk.segments.reserve(header.segments);
    let mut scratch = SCRATCH.take().unwrap_or_default();
    let mut decoded = Ok(());
    while decoded.is_ok() && chunk.segments.len() < header.segments {
        decoded = block(&*codec, &mut input, &header, &mut chunk, &mut scratch);
    }
    if scratch.n.capacity().max(scratch.arena.capacity()) <= KEEP_SCRATCH {
        SCRATCH.give(scratch);
    }
    decoded?;
    input.end()?;
    if chunk.bytes.len() != header.bytes || chunk.ends.len() != header.rows {
        return Err(Error::damaged("a chunk whose blocks are not all that it should hold"));
    }
    Ok(chunk)
}

/// Appends what the next block holds to `chunk`.
fn block(
    codec: &dyn Codec,
    input: &mut Input<'_>,
    limits: &ChunkHeader<'_>,
    chunk: &mut RawChunk,
    scratch: &mut Scratch,
) -> Result<()> {
    let header = BlockHeader::read(input)?;
    let (n, s) = (input.take(header.n.stored)?, input.take(header.s.stored)?);
    let (segments, rows) = match header.kind {
        BlockKind::Bundle => (header.count, 0),
        BlockKind::Rows | BlockKind::Columns => (1, header.count),
        BlockKind::Bytes | BlockKind::Fragment if header.count == 0 => (1, 0),
        _ => return Err(Error::damaged("bytes with rows")),
    };
    if header.bytes > limits.bytes - chunk.bytes.len()
        || rows > limits.rows - chunk.ends.len()
        || segments > limits.segments - chunk.segments.len()
        || segments == 0
    {
        return Err(Error::damaged("a block that is too much for its chunk"));
    }
    let (byte, row) = (chunk.bytes.len(), chunk.ends.len());
    scratch.n.clear();
    frame(codec, n, header.n.raw, &mut scratch.n)?;
    if header.kind != BlockKind::Columns {
        if header.s.raw != header.bytes {
            return Err(Error::damaged("a block that holds more or less than it says"));
        }
        frame(codec, s, header.s.raw, &mut chunk.bytes)?;
    }
    match header.kind {
        BlockKind::Bundle if header.detail == 0 && header.columns == 0 => {
            bundle::read_directory(&scratch.n, header.count, byte, chunk)?;
            return if chunk.ends.len() > limits.rows {
                Err(Error::damaged("a bundle that is too much for its chunk"))
            } else {
                Ok(())
            };
        }
        BlockKind::Rows => rows_as_they_were(&scratch.n, rows, byte, chunk, &mut scratch.values)?,
        BlockKind::Columns => columns(codec, s, &header, chunk, scratch)?,
        _ if header.n.raw == 0 => {}
        _ => return Err(Error::damaged("numbers in a block that has none")),
    }
    let kind = segment_kind(header.kind, header.detail, header.columns)?;
    chunk.segments.push(Segment { kind, bytes: byte..chunk.bytes.len(), rows: row..chunk.ends.len() });
    Ok(())
}

/// Appends what a frame holds, which must be exactly `raw` bytes.
fn frame(codec: &dyn Codec, stored: &[u8], raw: usize, out: &mut Vec<u8>) -> Result<()> {
    if raw == 0 {
        return Ok(());
    }
    let before = out.len();
    codec.decode(stored, out, raw)?;
    if out.len() - before == raw {
        Ok(())
    } else {
        Err(Error::damaged("a frame that holds less than it says"))
    }
}

/// Reads where the rows end whose bytes are the chunk's from `begin` on.
fn rows_as_they_were(
    n: &[u8],
    rows: usize,
    begin: usize,
    chunk: &mut RawChunk,
    lengths: &mut Vec<u64>,
) -> Result<()> {
    let mut n = Input(n);
    read_lengths(&mut n, rows, lengths)?;
    n.end()?;
    let mut end = begin as u64;
    for length in lengths {
        end += *length;
        if end > chunk.bytes.len() as u64 {
            break;
        }
        chunk.ends.push(end as u32);
    }
    if end == chunk.bytes.len() as u64 { Ok(()) } else { Err(wrong_rows()) }
}

/// Makes rows of columns.
fn columns(
    codec: &dyn Codec,
    s: &[u8],
    header: &BlockHeader,
    chunk: &mut RawChunk,
    scratch: &mut Scratch,
) -> Result<()> {
    let Scratch { n, arena, grid, values } = scratch;
    let columns = usize::from(header.columns);
    let kind = segment_kind(header.kind, header.detail, header.columns)?;
    let SegmentKind::Rows { layout, .. } = kind else { return Err(wrong_rows()) };
    // In every layout a field takes at least one byte.
    let cells = header.count.checked_mul(columns).filter(|&cells| cells <= header.bytes && cells > 0);
    if cells.is_none() || header.bytes > MAX_COLUMN_BYTES || layout == RowLayout::Opaque {
        return Err(Error::damaged("columns that cannot be"));
    }
    if header.s.raw > header.bytes {
        return Err(Error::damaged("more strings than there is room for in the rows"));
    }
    arena.clear();
    frame(codec, s, header.s.raw, arena)?;
    let tagged = layout == RowLayout::Tagged;
    grid.resize(header.count, columns, tagged);
    ColumnReader::new(n, arena, header.bytes, values).read(grid, tagged)?;
    let begin = chunk.bytes.len();
    join(grid, arena, layout, &mut chunk.bytes, &mut chunk.ends);
    if chunk.bytes.len() - begin == header.bytes { Ok(()) } else { Err(wrong_rows()) }
}

fn wrong_rows() -> Error {
    Error::damaged("rows that do not end where their block ends")
}
