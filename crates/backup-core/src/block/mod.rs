//! PLACEHOLDER until the block module lands.
use crate::codec::{Codec, Level};
use crate::error::{Error, Result};
use crate::rows::RowLayout;
use std::ops::Range;
use std::sync::Arc;

/// How many bytes of rows a block holds, about.
pub const BLOCK_SIZE: usize = 1 << 20;
pub const MAX_CHUNK_BYTES: usize = 16 << 20;
pub const MAX_CHUNK_ROWS: usize = 1 << 21;
pub const MAX_CHUNK_SEGMENTS: usize = 1 << 16;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RawChunk {
    pub bytes: Vec<u8>,
    pub ends: Vec<u32>,
    pub segments: Vec<Segment>,
}
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    pub kind: SegmentKind,
    pub bytes: Range<usize>,
    pub rows: Range<usize>,
}
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentKind {
    Rows { layout: RowLayout, columns: u16 },
    Bytes,
    Fragment { first: bool, last: bool },
}
#[derive(Debug, Default)]
pub struct TableHints;
#[derive(Debug)]
pub struct ChunkEncoder {
    pub codec: Arc<dyn Codec>,
    pub level: Level,
}

impl RawChunk {
    pub fn hash(&self, key: &[u8; 32]) -> [u8; 32] {
        *blake3::keyed_hash(key, &self.naive()).as_bytes()
    }
    fn naive(&self) -> Vec<u8> {
        let segs: Vec<(u8, u16, bool, bool, usize, usize, usize, usize)> = self
            .segments
            .iter()
            .map(|s| {
                let (a, b, c, d) = match s.kind {
                    SegmentKind::Rows { layout, columns } => (
                        match layout {
                            RowLayout::Opaque => 0,
                            RowLayout::LengthEncoded => 1,
                            RowLayout::CopyText => 2,
                            RowLayout::Tagged => 3,
                        },
                        columns,
                        false,
                        false,
                    ),
                    SegmentKind::Bytes => (8, 0, false, false),
                    SegmentKind::Fragment { first, last } => (9, 0, first, last),
                };
                (a, b, c, d, s.bytes.start, s.bytes.end, s.rows.start, s.rows.end)
            })
            .collect();
        let head = serde_json::to_vec(&(segs, &self.ends, self.bytes.len())).unwrap_or_default();
        let mut out = (head.len() as u32).to_le_bytes().to_vec();
        out.extend_from_slice(&head);
        out.extend_from_slice(&self.bytes);
        out
    }
}
impl ChunkEncoder {
    pub fn encode(&self, chunk: &RawChunk, _hints: &[Arc<TableHints>], out: &mut Vec<u8>) -> Result<()> {
        let name = self.codec.name();
        out.push(name.len() as u8);
        out.extend_from_slice(name.as_bytes());
        self.codec.encode(&chunk.naive(), &[], self.level, out)
    }
}
pub fn decode_chunk(stored: &[u8]) -> Result<RawChunk> {
    let bad = || Error::damaged("bad chunk");
    let n = *stored.first().ok_or_else(bad)? as usize;
    let name = std::str::from_utf8(stored.get(1..1 + n).ok_or_else(bad)?).map_err(|_| bad())?;
    let mut raw = Vec::new();
    crate::codec::codec(name)?.decode(&stored[1 + n..], &mut raw, 2 * MAX_CHUNK_BYTES)?;
    let len = u32::from_le_bytes(raw.get(..4).ok_or_else(bad)?.try_into().map_err(|_| bad())?) as usize;
    let (segs, ends, blen): (Vec<(u8, u16, bool, bool, usize, usize, usize, usize)>, Vec<u32>, usize) =
        serde_json::from_slice(raw.get(4..4 + len).ok_or_else(bad)?).map_err(|_| bad())?;
    let bytes = raw.get(4 + len..).ok_or_else(bad)?.to_vec();
    if bytes.len() != blen {
        return Err(bad());
    }
    let segments = segs
        .into_iter()
        .map(|(a, b, c, d, e, f, g, h)| Segment {
            kind: match a {
                0 => SegmentKind::Rows { layout: RowLayout::Opaque, columns: b },
                1 => SegmentKind::Rows { layout: RowLayout::LengthEncoded, columns: b },
                2 => SegmentKind::Rows { layout: RowLayout::CopyText, columns: b },
                3 => SegmentKind::Rows { layout: RowLayout::Tagged, columns: b },
                8 => SegmentKind::Bytes,
                _ => SegmentKind::Fragment { first: c, last: d },
            },
            bytes: e..f,
            rows: g..h,
        })
        .collect();
    Ok(RawChunk { bytes, ends, segments })
}
