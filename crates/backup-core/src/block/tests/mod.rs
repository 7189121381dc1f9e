//! That chunks come back byte for byte, whatever is in them, and that damaged ones do no harm.

mod damage;
mod round_trip;
mod shapes;

use std::sync::Arc;

use super::stored::{BlockHeader, BlockKind, ChunkHeader};
use super::*;
use crate::codec::{Level, codec};
use crate::rows::RowLayout;

const LAYOUTS: [RowLayout; 4] =
    [RowLayout::Opaque, RowLayout::LengthEncoded, RowLayout::CopyText, RowLayout::Tagged];

impl RawChunk {
    fn push_rows<R: AsRef<[u8]>>(&mut self, layout: RowLayout, columns: u16, rows: &[R]) {
        let (byte, row) = (self.bytes.len(), self.ends.len());
        for row in rows {
            self.bytes.extend_from_slice(row.as_ref());
            self.ends.push(self.bytes.len() as u32);
        }
        let kind = SegmentKind::Rows { layout, columns };
        self.segments.push(Segment { kind, bytes: byte..self.bytes.len(), rows: row..self.ends.len() });
    }

    fn push_other(&mut self, kind: SegmentKind, bytes: &[u8]) {
        let (byte, row) = (self.bytes.len(), self.ends.len());
        self.bytes.extend_from_slice(bytes);
        self.segments.push(Segment { kind, bytes: byte..self.bytes.len(), rows: row..row });
    }
}

fn new_hints(chunk: &RawChunk) -> Vec<Arc<TableHints>> {
    chunk.segments.iter().map(|_| Arc::default()).collect()
}

fn encode_with(chunk: &RawChunk, name: &str, hints: &[Arc<TableHints>]) -> Vec<u8> {
    let encoder = ChunkEncoder { codec: codec(name).unwrap(), level: Level::default() };
    let mut stored = Vec::new();
    encoder.encode(chunk, hints, &mut stored).unwrap();
    stored
}

/// Encodes by column wherever that can be done.
fn encode_by_column(chunk: &RawChunk, name: &str) -> Vec<u8> {
    let hints: Vec<_> = chunk.segments.iter().map(|_| Arc::new(TableHints::always_columns())).collect();
    encode_with(chunk, name, &hints)
}

/// The kinds of the blocks of a stored chunk.
fn block_kinds(stored: &[u8]) -> Vec<BlockKind> {
    let mut input = input::Input(stored);
    ChunkHeader::read(&mut input).unwrap();
    let mut kinds = Vec::new();
    while !input.0.is_empty() {
        let header = BlockHeader::read(&mut input).unwrap();
        input.take(header.n.stored + header.s.stored).unwrap();
        kinds.push(header.kind);
    }
    kinds
}

fn assert_comes_back(chunk: &RawChunk) {
    for name in ["zstd", "gzip", "none"] {
        for stored in [encode_with(chunk, name, &new_hints(chunk)), encode_by_column(chunk, name)] {
            assert!(decode_chunk(&stored).unwrap() == *chunk, "{name}");
        }
    }
}

/// Fields, NULL as `None`, as a row of `layout`.
fn row_of(layout: RowLayout, fields: &[Option<Vec<u8>>]) -> Vec<u8> {
    let mut row = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        match (layout, field) {
            (RowLayout::CopyText, field) => {
                if i > 0 {
                    row.push(b'\t');
                }
                row.extend_from_slice(field.as_deref().unwrap_or(b"\\N"));
            }
            (RowLayout::Tagged, None) => row.push(0),
            (RowLayout::Tagged, Some(value)) => {
                row.push(3);
                crate::rows::write_varint(&mut row, value.len() as u64);
                row.extend_from_slice(value);
            }
            (_, None) => row.push(0xfb),
            (_, Some(value)) => {
                match value.len() {
                    length @ 0..=0xfa => row.push(length as u8),
                    length @ 0xfb..=0xffff => {
                        row.push(0xfc);
                        row.extend_from_slice(&(length as u16).to_le_bytes());
                    }
                    length => {
                        row.push(0xfd);
                        row.extend_from_slice(&(length as u32).to_le_bytes()[..3]);
                    }
                }
                row.extend_from_slice(value);
            }
        }
    }
    if layout == RowLayout::CopyText {
        row.push(b'\n');
    }
    row
}

/// All of `rows`, `times` times over.
fn repeat(rows: &[Vec<u8>], times: usize) -> Vec<Vec<u8>> {
    rows.iter().cycle().take(rows.len() * times).cloned().collect()
}
