//! Finds the fields of rows, for regrouping them by column.

use memchr::memchr_iter;

use super::grid::{Cell, Grid, Row};
use crate::rows::{RowLayout, TaggedHead, read_tagged_head, read_varint};

impl Grid {
    /// Finds the fields of the rows of `bytes` that end at `ends`. `false`, with the grid in no particular
    /// state, if some row would not be exactly the same when made again of `columns` fields.
    pub(super) fn split(
        &mut self,
        bytes: &[u8],
        ends: impl ExactSizeIterator<Item = usize>,
        layout: RowLayout,
        columns: usize,
    ) -> bool {
        // In every layout a field takes at least one byte.
        let rows = ends.len();
        if columns == 0 || rows == 0 || rows.checked_mul(columns).is_none_or(|cells| cells > bytes.len()) {
            return false;
        }
        self.resize(rows, columns, layout == RowLayout::Tagged);
        let mut begin = 0;
        for (i, end) in ends.enumerate() {
            let mut row = self.row(i);
            let fits = match layout {
                RowLayout::Opaque => None,
                RowLayout::LengthEncoded => split_length_encoded(bytes, begin, end, &mut row),
                RowLayout::CopyText => split_copy_text(bytes, begin, end, &mut row),
                RowLayout::Tagged => split_tagged(bytes, begin, end, &mut row),
            };
            if fits.is_none() || !row.is_full() {
                return false;
            }
            begin = end;
        }
        true
    }
}

fn split_length_encoded(bytes: &[u8], begin: usize, end: usize, row: &mut Row<'_>) -> Option<()> {
    let mut at = begin;
    let bytes = bytes.get(..end)?;
    while let Some(&first) = bytes.get(at) {
        let (width, least) = match first {
            0..=0xfa => {
                let start = at + 1;
                at = start + usize::from(first);
                row.push(Cell::new(start, first.into()))?;
                continue;
            }
            0xfb => {
                at += 1;
                row.push_null()?;
                continue;
            }
            0xfc => (2, 0xfb),
            0xfd => (3, 1 << 16),
            0xfe => (8, 1 << 24),
            0xff => return None,
        };
        let start = at + 1 + width;
        let mut length = [0; 8];
        for (place, byte) in length.iter_mut().zip(bytes.get(at + 1..start)?) {
            *place = *byte;
        }
        let length = u64::from_le_bytes(length);
        // The shortest form only, or another would come back.
        if length < least || length > (end - start) as u64 {
            return None;
        }
        at = start + length as usize;
        row.push(Cell::new(start, length as usize))?;
    }
    (at == end).then_some(())
}

fn split_copy_text(bytes: &[u8], begin: usize, end: usize, row: &mut Row<'_>) -> Option<()> {
    let line = bytes.get(begin..end)?.strip_suffix(b"\n")?;
    let mut start = 0;
    for tab in memchr_iter(b'\t', line).chain([line.len()]) {
        if tab - start == 2 && line.get(start..tab) == Some(b"\\N") {
            row.push_null()?;
        } else {
            row.push(Cell::new(begin + start, tab - start))?;
        }
        start = tab + 1;
    }
    Some(())
}

fn split_tagged(bytes: &[u8], begin: usize, end: usize, row: &mut Row<'_>) -> Option<()> {
    let mut rest = bytes.get(begin..end)?;
    while let Some(&tag) = rest.first() {
        let payload = end - rest.len() + 1;
        match read_tagged_head(&mut rest)? {
            TaggedHead::Null => row.push_null()?,
            TaggedHead::Integer(_) | TaggedHead::Float(_) => {
                row.push_tagged(Cell::new(payload, end - rest.len() - payload), tag)?;
            }
            TaggedHead::Text(length) | TaggedHead::Bytes(length) => {
                let start = end - rest.len();
                let (content, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                rest = behind;
                row.push_tagged(Cell::new(start, content.len()), tag)?;
            }
        }
    }
    Some(())
}

/// The value of an integer of a tagged row, whose payload `split` has found well-formed.
pub(super) fn tagged_integer(mut payload: &[u8]) -> Option<i64> {
    read_varint(&mut payload).map(crate::rows::unzigzag)
}
