//! Chunks made of blocks: how rows are regrouped by column, compressed, and brought back byte for byte.
//!
//! A [`RawChunk`] is what a backup cuts its data into: some megabytes of rows, and of bytes that are no rows.
//! [`ChunkEncoder`] turns it into its stored form and [`decode_chunk`] turns that back. `docs/format.md`
//! specifies the stored form to the byte.
//!
//! - `chunk`: the chunk in memory
//! - `stored`: the headers of the stored form
//! - `encode`, `decode`: the road there and back; `bundle`: many small segments in one block
//! - `grid`: the fields of rows; `split` finds them, `join` makes rows of them again
//! - `column`: one column's values as numbers and strings; `uncolumn`: back to fields
//! - `number`: text that is really a number
//! - `hints`: what a table has shown to be worth while

mod bundle;
mod chunk;
mod column;
mod decode;
mod encode;
mod grid;
mod hints;
mod input;
mod join;
mod number;
mod split;
mod stored;
#[cfg(test)]
mod tests;
mod uncolumn;

pub use chunk::{RawChunk, Segment, SegmentKind};
pub use decode::decode_chunk;
pub use encode::ChunkEncoder;
pub use hints::TableHints;

/// How many bytes a segment holds, about: one of rows ends with the row that reaches this size.
pub const BLOCK_SIZE: usize = 1 << 20;
/// The most bytes that a chunk holds.
pub const MAX_CHUNK_BYTES: usize = 16 << 20;
/// The most rows that a chunk holds.
pub const MAX_CHUNK_ROWS: usize = 1 << 21;
/// The most segments that a chunk holds.
pub const MAX_CHUNK_SEGMENTS: usize = 1 << 16;

/// Segments from this size on get a block of their own; smaller neighbours share one.
const OWN_BLOCK: usize = 16 << 10;
/// The most bytes of rows that are regrouped by column, which bounds what the decoder needs beside the chunk.
const MAX_COLUMN_BYTES: usize = 2 * BLOCK_SIZE;
/// The most bytes that a frame of a block unpacks to.
const MAX_FRAME_BYTES: usize = MAX_CHUNK_BYTES;
