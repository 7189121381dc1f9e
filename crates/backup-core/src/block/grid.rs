//! The fields of a block of rows, column after column.

use std::slice::IterMut;

/// How far [`Cell::append_to`] writes beyond a short content for a moment.
pub(super) const SLACK: usize = 32;

/// Where a field's content is, without what its layout puts around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cell {
    pub(super) start: u32,
    pub(super) length: u32,
}

impl Cell {
    pub(super) fn new(start: usize, length: usize) -> Self {
        Self { start: start as u32, length: length as u32 }
    }

    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes.get(start..start + self.length as usize).unwrap_or_default()
    }

    /// Appends the content to `out`, which should have room for [`SLACK`] bytes more.
    #[inline]
    pub(super) fn append_to(self, bytes: &[u8], out: &mut Vec<u8>) {
        let rest = bytes.get(self.start as usize..).unwrap_or_default();
        match rest.first_chunk::<SLACK>().filter(|_| self.length as usize <= SLACK) {
            // Most are short. A copy of a fixed length costs no call; what is too much is taken back.
            Some(more) => {
                let end = out.len() + self.length as usize;
                out.extend_from_slice(more);
                out.truncate(end);
            }
            None => out.extend_from_slice(self.of(bytes)),
        }
    }
}

/// The fields of a block of rows: for each column those that are not NULL, and a map of those that are.
#[derive(Debug, Default)]
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) columns: usize,
    /// How far the columns lie apart in `cells` and `tags`, and in `nulls`.
    stride: usize,
    null_stride: usize,
    cells: Vec<Cell>,
    /// The tag of each cell, where the layout has tags; otherwise empty.
    tags: Vec<u8>,
    /// One bit a row.
    nulls: Vec<u8>,
    /// Where each column's next cell is, while rows are written or read.
    next: Vec<usize>,
}

/// What a column consists of.
#[derive(Debug)]
pub(super) struct Column<'a> {
    /// The fields that are not NULL.
    pub(super) cells: &'a [Cell],
    /// Their tags, where the layout has tags.
    pub(super) tags: &'a [u8],
    /// A bit for each row, set where the field is NULL.
    pub(super) nulls: &'a [u8],
}

/// The same, to be filled: there is room for as many fields as there are rows.
#[derive(Debug)]
pub(super) struct ColumnMut<'a> {
    pub(super) cells: &'a mut [Cell],
    pub(super) tags: &'a mut [u8],
    pub(super) nulls: &'a mut [u8],
}

impl Grid {
    /// Makes room for `rows` rows of `columns` fields, none of them NULL so far.
    pub(super) fn resize(&mut self, rows: usize, columns: usize, tagged: bool) {
        (self.rows, self.columns) = (rows, columns);
        // Columns that lie a power of two apart would share their places in the processor's caches.
        self.stride = if rows.is_multiple_of(64) { rows + 8 } else { rows };
        self.null_stride = rows.div_ceil(8);
        let needed = self.stride * columns;
        // What the cells hold does not matter.
        if self.cells.len() < needed {
            self.cells.resize(needed, Cell::default());
        }
        self.tags.resize(if tagged { needed } else { 0 }, 0);
        self.nulls.clear();
        self.nulls.resize(self.null_stride * columns, 0);
        self.rewind();
    }

    /// Begins again with the first row.
    pub(super) fn rewind(&mut self) {
        self.next.clear();
        self.next.extend((0..self.columns).map(|column| column * self.stride));
    }

    /// A column of which all rows have been written.
    pub(super) fn column(&self, column: usize) -> Column<'_> {
        let begin = column * self.stride;
        let end = self.next.get(column).copied().unwrap_or(begin);
        let nulls = column * self.null_stride;
        Column {
            cells: self.cells.get(begin..end).unwrap_or_default(),
            tags: self.tags.get(begin..end).unwrap_or_default(),
            nulls: self.nulls.get(nulls..nulls + self.null_stride).unwrap_or_default(),
        }
    }

    /// A column to be filled.
    pub(super) fn column_mut(&mut self, column: usize) -> ColumnMut<'_> {
        let range = column * self.stride..column * self.stride + self.rows;
        let nulls = column * self.null_stride;
        ColumnMut {
            cells: self.cells.get_mut(range.clone()).unwrap_or_default(),
            tags: self.tags.get_mut(range).unwrap_or_default(),
            nulls: self.nulls.get_mut(nulls..nulls + self.null_stride).unwrap_or_default(),
        }
    }

    /// Row `row`, to be written or read field by field; the rows must come in order.
    pub(super) fn row(&mut self, row: usize) -> Row<'_> {
        Row {
            next: self.next.iter_mut(),
            cells: &mut self.cells,
            tags: &mut self.tags,
            nulls: &mut self.nulls,
            null_at: row / 8,
            null_stride: self.null_stride,
            null_bit: 1 << (row % 8),
        }
    }
}

/// One row of a grid.
#[derive(Debug)]
pub(super) struct Row<'a> {
    next: IterMut<'a, usize>,
    cells: &'a mut [Cell],
    tags: &'a mut [u8],
    nulls: &'a mut [u8],
    null_at: usize,
    null_stride: usize,
    null_bit: u8,
}

impl Row<'_> {
    /// Writes the next field; `None` if there are no more columns.
    #[inline]
    pub(super) fn push(&mut self, cell: Cell) -> Option<()> {
        self.push_tagged(cell, 0)
    }

    #[inline]
    pub(super) fn push_tagged(&mut self, cell: Cell, tag: u8) -> Option<()> {
        let next = self.next.next()?;
        *self.cells.get_mut(*next)? = cell;
        if let Some(place) = self.tags.get_mut(*next) {
            *place = tag;
        }
        *next += 1;
        self.null_at += self.null_stride;
        Some(())
    }

    #[inline]
    pub(super) fn push_null(&mut self) -> Option<()> {
        self.next.next()?;
        *self.nulls.get_mut(self.null_at)? |= self.null_bit;
        self.null_at += self.null_stride;
        Some(())
    }

    /// Says whether every field has been written.
    pub(super) fn is_full(&self) -> bool {
        self.next.len() == 0
    }
}

/// Reads the fields, each with its tag, or `None` where it is NULL.
impl Iterator for Row<'_> {
    type Item = Option<(Cell, u8)>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next.next()?;
        let null = self.nulls.get(self.null_at).is_some_and(|byte| byte & self.null_bit != 0);
        self.null_at += self.null_stride;
        if null {
            return Some(None);
        }
        let at = *next;
        *next += 1;
        Some(Some((*self.cells.get(at)?, self.tags.get(at).copied().unwrap_or(0))))
    }
}
