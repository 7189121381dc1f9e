//! Finds the fields of rows, for regrouping them by column.

use memchr::memchr_iter;

use crate::rows::{RowLayout, TaggedHead, read_tagged_head, read_varint, tag};

/// Where a field's content is, without what its layout puts around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cell {
    pub(super) start: u32,
    pub(super) length: u32,
}

impl Cell {
    pub(super) const NULL: Self = Self { start: 0, length: u32::MAX };

    pub(super) fn new(start: usize, length: usize) -> Self {
        Self { start: start as u32, length: length as u32 }
    }

    pub(super) fn is_null(self) -> bool {
        self == Self::NULL
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.length as usize).unwrap_or_default()
    }
}

/// The fields of a block of rows, column after column.
#[derive(Debug, Default)]
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) columns: usize,
    stride: usize,
    cells: Vec<Cell>,
    /// The tag of each cell, where the layout has tags.
    tags: Vec<u8>,
}

impl Grid {
    /// Makes room for `rows` rows of `columns` fields. What the cells hold is unspecified.
    pub(super) fn resize(&mut self, rows: usize, columns: usize, tagged: bool) {
        self.rows = rows;
        self.columns = columns;
        // Columns that lie a power of two apart would share their places in the processor's caches.
        self.stride = if rows.is_multiple_of(64) { rows + 8 } else { rows };
        let needed = self.stride * columns;
        if self.cells.len() < needed {
            self.cells.resize(needed, Cell::NULL);
        }
        if tagged && self.tags.len() < needed {
            self.tags.resize(needed, tag::NULL);
        }
    }

    pub(super) fn column(&self, column: usize) -> &[Cell] {
        self.cells.get(column * self.stride..).and_then(|cells| cells.get(..self.rows)).unwrap_or_default()
    }

    pub(super) fn column_mut(&mut self, column: usize) -> (&mut [Cell], &mut [u8]) {
        let range = column * self.stride..column * self.stride + self.rows;
        (self.cells.get_mut(range.clone()).unwrap_or_default(), self.tags.get_mut(range).unwrap_or_default())
    }

    /// The tags of a column of [`RowLayout::Tagged`].
    pub(super) fn tags(&self, column: usize) -> &[u8] {
        self.tags.get(column * self.stride..).and_then(|tags| tags.get(..self.rows)).unwrap_or_default()
    }

    /// The fields of one row.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = Cell> {
        let cells = self.cells.get(row..).unwrap_or_default();
        cells.iter().step_by(self.stride.max(1)).take(self.columns).copied()
    }

    /// The tags of one row.
    pub(super) fn row_tags(&self, row: usize) -> impl Iterator<Item = u8> {
        let tags = self.tags.get(row..).unwrap_or_default();
        tags.iter().step_by(self.stride.max(1)).take(self.columns).copied()
    }

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
        for (row, end) in ends.enumerate() {
            let fits = match layout {
                RowLayout::Opaque => false,
                RowLayout::LengthEncoded => self.split_length_encoded(bytes, begin, end, row).is_some(),
                RowLayout::CopyText => self.split_copy_text(bytes, begin, end, row).is_some(),
                RowLayout::Tagged => self.split_tagged(bytes, begin, end, row).is_some(),
            };
            if !fits {
                return false;
            }
            begin = end;
        }
        true
    }

    fn split_length_encoded(&mut self, bytes: &[u8], begin: usize, end: usize, row: usize) -> Option<()> {
        let mut at = begin;
        let bytes = bytes.get(..end)?;
        let mut places = self.cells.get_mut(row..)?.iter_mut().step_by(self.stride);
        for _ in 0..self.columns {
            let cell = match *bytes.get(at)? {
                0xfb => {
                    at += 1;
                    Cell::NULL
                }
                short @ 0..=0xfa => {
                    let start = at + 1;
                    at = start + usize::from(short);
                    Cell::new(start, short.into())
                }
                first => {
                    let (width, least) = match first {
                        0xfc => (2, 0xfb),
                        0xfd => (3, 1 << 16),
                        0xfe => (8, 1 << 24),
                        _ => return None,
                    };
                    let start = at + 1 + width;
                    let mut length = [0; 8];
                    for (place, byte) in length.iter_mut().zip(bytes.get(at + 1..start)?) {
                        *place = *byte;
                    }
                    let length = u64::from_le_bytes(length);
                    if length < least || length > (end - start) as u64 {
                        return None;
                    }
                    at = start + length as usize;
                    Cell::new(start, length as usize)
                }
            };
            *places.next()? = cell;
        }
        (at == end).then_some(())
    }

    fn split_copy_text(&mut self, bytes: &[u8], begin: usize, end: usize, row: usize) -> Option<()> {
        let line = bytes.get(begin..end)?.strip_suffix(b"\n")?;
        let mut places = self.cells.get_mut(row..)?.iter_mut().step_by(self.stride).take(self.columns);
        let mut start = 0;
        for tab in memchr_iter(b'\t', line).chain([line.len()]) {
            let null = tab - start == 2 && line.get(start..tab) == Some(b"\\N");
            *places.next()? = if null { Cell::NULL } else { Cell::new(begin + start, tab - start) };
            start = tab + 1;
        }
        places.next().is_none().then_some(())
    }

    fn split_tagged(&mut self, bytes: &[u8], begin: usize, end: usize, row: usize) -> Option<()> {
        let mut rest = bytes.get(begin..end)?;
        let mut places = self.cells.get_mut(row..)?.iter_mut().step_by(self.stride);
        let mut tags = self.tags.get_mut(row..)?.iter_mut().step_by(self.stride);
        for _ in 0..self.columns {
            let field_tag = *rest.first()?;
            let payload = end - rest.len() + 1;
            let cell = match read_tagged_head(&mut rest)? {
                TaggedHead::Null => Cell::NULL,
                TaggedHead::Integer(_) | TaggedHead::Float(_) => {
                    Cell::new(payload, end - rest.len() - payload)
                }
                TaggedHead::Text(length) | TaggedHead::Bytes(length) => {
                    let start = end - rest.len();
                    let (content, behind) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                    rest = behind;
                    Cell::new(start, content.len())
                }
            };
            *places.next()? = cell;
            *tags.next()? = field_tag;
        }
        rest.is_empty().then_some(())
    }
}

/// The value of an integer of a tagged row, whose payload `split` has found well-formed.
pub(super) fn tagged_integer(mut payload: &[u8]) -> Option<i64> {
    read_varint(&mut payload).map(crate::rows::unzigzag)
}
