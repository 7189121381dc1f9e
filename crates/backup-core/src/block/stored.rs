//! The headers of the stored form.

use super::input::Input;
use super::{MAX_CHUNK_BYTES, MAX_CHUNK_ROWS, MAX_CHUNK_SEGMENTS, MAX_FRAME_BYTES, SegmentKind};
use crate::error::{Error, ErrorKind, Result};
use crate::rows::RowLayout;

const MAGIC: [u8; 3] = *b"LBC";
const VERSION: u8 = 1;

/// What a stored chunk begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ChunkHeader<'a> {
    pub(super) codec: &'a str,
    pub(super) bytes: usize,
    pub(super) rows: usize,
    pub(super) segments: usize,
}

impl<'a> ChunkHeader<'a> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(MAGIC);
        out.push(VERSION);
        out.push(self.codec.len() as u8);
        out.extend(self.codec.as_bytes());
        for count in [self.bytes, self.rows, self.segments] {
            out.extend((count as u32).to_le_bytes());
        }
    }

    pub(super) fn read(input: &mut Input<'a>) -> Result<Self> {
        if input.take(3)? != MAGIC {
            return Err(Error::damaged("not a chunk"));
        }
        let version = input.u8()?;
        if version > VERSION {
            return Err(Error::new(ErrorKind::NewerFormat, format!("a chunk of version {version}"))
                .hint("read it with a newer lifeboat"));
        }
        if version < VERSION {
            return Err(Error::damaged("a chunk of an impossible version"));
        }
        let length = input.u8()?;
        let codec = std::str::from_utf8(input.take(length.into())?)
            .ok()
            .filter(|name| name.is_ascii())
            .ok_or_else(|| Error::damaged("a chunk with an unreadable codec"))?;
        let mut count = |max: usize| {
            let count = input.u32()? as usize;
            if count > max { Err(Error::damaged("a chunk larger than chunks are")) } else { Ok(count) }
        };
        let (bytes, rows) = (count(MAX_CHUNK_BYTES)?, count(MAX_CHUNK_ROWS)?);
        Ok(Self { codec, bytes, rows, segments: count(MAX_CHUNK_SEGMENTS)? })
    }
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    Rows = 0,
    Columns = 1,
    Bytes = 2,
    Fragment = 3,
    Bundle = 4,
}

impl BlockKind {
    pub(super) fn read(input: &mut Input<'_>) -> Result<Self> {
        Ok(match input.u8()? {
            0 => Self::Rows,
            1 => Self::Columns,
            2 => Self::Bytes,
            3 => Self::Fragment,
            4 => Self::Bundle,
            _ => return Err(Error::damaged("a block of an unknown kind")),
        })
    }
}

/// A compressed stream of a block: both lengths are zero, and nothing is stored, where there are no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Frame {
    pub(super) stored: usize,
    pub(super) raw: usize,
}

/// What every block begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) kind: BlockKind,
    /// The layout of rows, or which end of its row a fragment is.
    pub(super) detail: u8,
    pub(super) columns: u16,
    /// How many rows, or in a bundle how many segments.
    pub(super) count: usize,
    /// How many bytes its segments have.
    pub(super) bytes: usize,
    /// Numbers, lengths, null maps.
    pub(super) n: Frame,
    /// The bytes of strings.
    pub(super) s: Frame,
}

impl BlockHeader {
    pub(super) const LENGTH: usize = 32;

    pub(super) fn to_bytes(self) -> [u8; Self::LENGTH] {
        let mut out = [0; Self::LENGTH];
        let total = Self::LENGTH + self.n.stored + self.s.stored;
        let numbers = [self.count, self.bytes, self.n.stored, self.n.raw, self.s.stored, self.s.raw];
        let head = (total as u32).to_le_bytes().into_iter();
        let head = head.chain([self.kind as u8, self.detail]).chain(self.columns.to_le_bytes());
        let bytes = head.chain(numbers.into_iter().flat_map(|number| (number as u32).to_le_bytes()));
        for (place, byte) in out.iter_mut().zip(bytes) {
            *place = byte;
        }
        out
    }

    pub(super) fn read(input: &mut Input<'_>) -> Result<Self> {
        let total = input.u32()? as usize;
        let kind = BlockKind::read(input)?;
        let detail = input.u8()?;
        let columns = input.u16()?;
        let mut number = || input.u32().map(|number| number as usize);
        let (count, bytes) = (number()?, number()?);
        let n = Frame { stored: number()?, raw: number()? };
        let s = Frame { stored: number()?, raw: number()? };
        let frames_fit = [n, s].iter().all(|f| f.raw <= MAX_FRAME_BYTES && (f.raw == 0) == (f.stored == 0));
        if !frames_fit
            || n.stored.checked_add(s.stored).and_then(|sum| sum.checked_add(Self::LENGTH)) != Some(total)
        {
            return Err(Error::damaged("a block with impossible lengths"));
        }
        Ok(Self { kind, detail, columns, count, bytes, n, s })
    }
}

/// The kind, detail and columns that stand for `kind`.
pub(super) fn describe(kind: SegmentKind) -> (BlockKind, u8, u16) {
    match kind {
        SegmentKind::Rows { layout, columns } => (BlockKind::Rows, layout_code(layout), columns),
        SegmentKind::Bytes => (BlockKind::Bytes, 0, 0),
        SegmentKind::Fragment { first, last } => {
            (BlockKind::Fragment, u8::from(first) | u8::from(last) << 1, 0)
        }
    }
}

/// The segment that a kind, detail and columns stand for.
pub(super) fn segment_kind(kind: BlockKind, detail: u8, columns: u16) -> Result<SegmentKind> {
    match (kind, detail, columns) {
        (BlockKind::Rows | BlockKind::Columns, _, _) => {
            Ok(SegmentKind::Rows { layout: layout(detail)?, columns })
        }
        (BlockKind::Bytes, 0, 0) => Ok(SegmentKind::Bytes),
        (BlockKind::Fragment, 0..=3, 0) => {
            Ok(SegmentKind::Fragment { first: detail & 1 != 0, last: detail & 2 != 0 })
        }
        _ => Err(Error::damaged("a block with impossible details")),
    }
}

fn layout_code(layout: RowLayout) -> u8 {
    match layout {
        RowLayout::Opaque => 0,
        RowLayout::LengthEncoded => 1,
        RowLayout::CopyText => 2,
        RowLayout::Tagged => 3,
    }
}

fn layout(code: u8) -> Result<RowLayout> {
    Ok(match code {
        0 => RowLayout::Opaque,
        1 => RowLayout::LengthEncoded,
        2 => RowLayout::CopyText,
        3 => RowLayout::Tagged,
        _ => return Err(Error::damaged("rows of an unknown layout")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_come_back() {
        let header = ChunkHeader { codec: "zstd", bytes: 1 << 24, rows: 5, segments: 65_536 };
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(ChunkHeader::read(&mut Input(&out)).unwrap(), header);

        let block = BlockHeader {
            kind: BlockKind::Columns,
            detail: 3,
            columns: 4096,
            count: 70_000,
            bytes: 1 << 20,
            n: Frame { stored: 10, raw: 100 },
            s: Frame { stored: 0, raw: 0 },
        };
        assert_eq!(BlockHeader::read(&mut Input(&block.to_bytes())).unwrap(), block);
    }

    #[test]
    fn a_newer_version_says_so() {
        let error = ChunkHeader::read(&mut Input(b"LBC\x02\x04zstd\0\0\0\0\0\0\0\0\0\0\0\0")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NewerFormat);
    }

    #[test]
    fn every_kind_of_segment_has_its_own_code() {
        let mut kinds = vec![SegmentKind::Bytes];
        for layout in [RowLayout::Opaque, RowLayout::LengthEncoded, RowLayout::CopyText, RowLayout::Tagged] {
            kinds.push(SegmentKind::Rows { layout, columns: 7 });
        }
        for (first, last) in [(false, false), (false, true), (true, false), (true, true)] {
            kinds.push(SegmentKind::Fragment { first, last });
        }
        for kind in kinds {
            let (block, detail, columns) = describe(kind);
            assert_eq!(segment_kind(block, detail, columns).unwrap(), kind);
        }
    }
}
