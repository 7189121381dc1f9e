//! Makes fields of a block's two streams again.

use super::column::{DELTA, Encoding, MIXED_TAGS, Nulls};
use super::input::Input;
use super::number;
use super::split::{Cell, Grid};
use crate::error::{Error, Result};
use crate::rows::{tag, write_varint, zigzag};

/// The most decimals of a number.
const MAX_SCALE: u8 = 18;

/// Reads fields, column by column.
#[derive(Debug)]
pub(super) struct ColumnReader<'a> {
    n: Input<'a>,
    /// What the cells point into: the bytes of the strings, then all that is made of numbers and planes.
    arena: &'a mut Vec<u8>,
    /// How far the strings have been used up, and where they end.
    strings: std::ops::Range<usize>,
    /// How large the arena may become.
    most: usize,
    values: &'a mut Vec<u64>,
    filled: &'a mut Vec<Cell>,
}

/// Whether bit `i` of `bitmap` is set.
fn bit(bitmap: &[u8], i: usize) -> bool {
    bitmap.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 != 0)
}

impl<'a> ColumnReader<'a> {
    /// Reads from `n` and from the strings in `arena`, for rows of `most` bytes together.
    pub(super) fn new(
        n: &'a [u8],
        arena: &'a mut Vec<u8>,
        most: usize,
        values: &'a mut Vec<u64>,
        filled: &'a mut Vec<Cell>,
    ) -> Self {
        let strings = 0..arena.len();
        // Printed numbers take as many bytes in the rows; integers of tagged rows do, too.
        let most = arena.len() + most;
        Self { n: Input(n), arena, strings, most, values, filled }
    }

    /// Reads every column of `grid`, which has the right size.
    pub(super) fn read(&mut self, grid: &mut Grid, tagged: bool) -> Result<()> {
        for column in 0..grid.columns {
            let (cells, tags) = grid.column_mut(column);
            self.column(cells, if tagged { Some(tags) } else { None })?;
        }
        if !self.strings.is_empty() {
            return Err(Error::damaged("a block with strings that no column has"));
        }
        self.n.end()
    }

    fn column(&mut self, cells: &mut [Cell], tags: Option<&mut [u8]>) -> Result<()> {
        let head = self.n.u8()?;
        let bitmap = match head & 3 {
            x if x == Nulls::All as u8 && head >> 2 == 0 => {
                cells.fill(Cell::NULL);
                if let Some(tags) = tags {
                    tags.fill(tag::NULL);
                }
                return Ok(());
            }
            x if x == Nulls::None as u8 => None,
            x if x == Nulls::Some as u8 => Some(self.n.take(cells.len().div_ceil(8))?),
            _ => return Err(Error::damaged("a column with an unknown null map")),
        };
        let count = match bitmap {
            None => cells.len(),
            Some(bitmap) => (0..cells.len()).filter(|&row| !bit(bitmap, row)).count(),
        };
        let integers = match tags {
            Some(tags) => self.tags(tags, bitmap, count)?,
            None => false,
        };
        let encoding = match head >> 2 {
            x if x == Encoding::String as u8 => Encoding::String,
            x if x == Encoding::Integer as u8 => Encoding::Integer,
            x if x == Encoding::Transpose as u8 => Encoding::Transpose,
            _ => return Err(Error::damaged("a column with an unknown encoding")),
        };
        self.filled.clear();
        match encoding {
            Encoding::String => self.strings(count)?,
            Encoding::Integer => self.integers(count, integers)?,
            Encoding::Transpose => self.transposed(count)?,
        }
        match bitmap {
            None => cells.copy_from_slice(self.filled.get(..cells.len()).unwrap_or_default()),
            Some(bitmap) => {
                let mut filled = self.filled.iter();
                for (row, cell) in cells.iter_mut().enumerate() {
                    *cell = if bit(bitmap, row) {
                        Cell::NULL
                    } else {
                        filled.next().copied().unwrap_or(Cell::NULL)
                    };
                }
            }
        }
        Ok(())
    }

    /// Reads a column's tags; says whether all its values are integers.
    fn tags(&mut self, tags: &mut [u8], bitmap: Option<&[u8]>, count: usize) -> Result<bool> {
        let known = |tag: &u8| (tag::INTEGER..=tag::BYTES).contains(tag);
        let common = self.n.u8()?;
        let plane = if common == MIXED_TAGS { Some(self.n.take(count)?) } else { None };
        if !plane.map_or(known(&common), |plane| plane.iter().all(known)) {
            return Err(Error::damaged("a column with unknown tags"));
        }
        let mut plane = plane.map(|plane| plane.iter());
        for (row, place) in tags.iter_mut().enumerate() {
            let null = bitmap.is_some_and(|bitmap| bit(bitmap, row));
            *place = match &mut plane {
                _ if null => tag::NULL,
                None => common,
                Some(plane) => plane.next().copied().unwrap_or(tag::NULL),
            };
        }
        Ok(common == tag::INTEGER)
    }

    fn strings(&mut self, count: usize) -> Result<()> {
        read_lengths(&mut self.n, count, self.values)?;
        self.filled.reserve(count);
        for &length in self.values.iter() {
            let length = usize::try_from(length).ok().filter(|&length| length <= self.strings.len());
            let length = length.ok_or_else(|| Error::damaged("a block with too few strings"))?;
            self.filled.push(Cell::new(self.strings.start, length));
            self.strings.start += length;
        }
        Ok(())
    }

    fn integers(&mut self, count: usize, as_varints: bool) -> Result<()> {
        let scale = self.n.u8()?;
        let width = self.n.u8()?;
        let (delta, width) = (width & DELTA != 0, width & !DELTA);
        if scale > MAX_SCALE || width > 8 || (as_varints && scale > 0) {
            return Err(Error::damaged("a column of impossible numbers"));
        }
        let least = self.n.u64()?;
        if delta {
            let first = self.n.u64()?;
            let steps = count.checked_sub(1).ok_or_else(|| Error::damaged("a column without values"))?;
            read_planes(&mut self.n, width, steps, self.values)?;
            let mut value = first;
            self.values.insert(0, 0);
            for (row, place) in self.values.iter_mut().enumerate() {
                if row > 0 {
                    value = value.wrapping_add(*place).wrapping_add(least);
                }
                *place = value;
            }
        } else {
            read_planes(&mut self.n, width, count, self.values)?;
            for value in self.values.iter_mut() {
                *value = value.wrapping_add(least);
            }
        }
        self.filled.reserve(count);
        for &value in self.values.iter() {
            let start = self.arena.len();
            if as_varints {
                write_varint(self.arena, zigzag(value.cast_signed()));
            } else {
                number::print(value.cast_signed(), scale, self.arena);
            }
            if self.arena.len() > self.most {
                return Err(Error::damaged("a block of more numbers than its rows have room for"));
            }
            self.filled.push(Cell::new(start, self.arena.len() - start));
        }
        Ok(())
    }

    fn transposed(&mut self, count: usize) -> Result<()> {
        let length = usize::from(self.n.u8()?);
        let planes = self.n.take(length.saturating_mul(count))?;
        if planes.len() > self.most.saturating_sub(self.arena.len()) {
            return Err(Error::damaged("a block of more bytes than its rows have room for"));
        }
        let start = self.arena.len();
        self.arena.resize(start + planes.len(), 0);
        let fields = self.arena.get_mut(start..).unwrap_or_default();
        for (position, plane) in planes.chunks_exact(count.max(1)).enumerate() {
            for (place, byte) in fields.iter_mut().skip(position).step_by(length.max(1)).zip(plane) {
                *place = *byte;
            }
        }
        self.filled.extend((0..count).map(|row| Cell::new(start + row * length, length)));
        Ok(())
    }
}

/// Reads `count` lengths of rows or strings.
pub(super) fn read_lengths(n: &mut Input<'_>, count: usize, lengths: &mut Vec<u64>) -> Result<()> {
    match n.u8()? {
        0 => {
            let length = n.u32()?;
            lengths.clear();
            lengths.resize(count, length.into());
            Ok(())
        }
        width @ 1..=4 => read_planes(n, width, count, lengths),
        _ => Err(Error::damaged("lengths of an impossible width")),
    }
}

/// Reads `count` numbers of `width` bytes each, the lowest byte of all of them first.
fn read_planes(n: &mut Input<'_>, width: u8, count: usize, values: &mut Vec<u64>) -> Result<()> {
    values.clear();
    if width == 0 {
        values.resize(count, 0);
    }
    for plane in 0..width {
        let bytes = n.take(count)?;
        if plane == 0 {
            values.extend(bytes.iter().map(|&byte| u64::from(byte)));
        } else {
            for (value, &byte) in values.iter_mut().zip(bytes) {
                *value |= u64::from(byte) << (8 * plane);
            }
        }
    }
    Ok(())
}
