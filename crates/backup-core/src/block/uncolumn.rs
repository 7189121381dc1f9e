//! Makes fields of a block's two streams again.

use super::column::{DELTA, Encoding, MIXED_TAGS, Nulls, TILE};
use super::grid::{Cell, ColumnMut, Grid};
use super::input::Input;
use super::number;
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
}

impl<'a> ColumnReader<'a> {
    /// Reads from `n` and from the strings in `arena`, for rows of `most` bytes together.
    pub(super) fn new(n: &'a [u8], arena: &'a mut Vec<u8>, most: usize, values: &'a mut Vec<u64>) -> Self {
        let strings = 0..arena.len();
        // Printed numbers take as many bytes in the rows; integers of tagged rows do, too.
        let most = arena.len() + most;
        Self { n: Input(n), arena, strings, most, values }
    }

    /// Reads every column of `grid`, which has the right size.
    pub(super) fn read(&mut self, grid: &mut Grid, tagged: bool) -> Result<()> {
        for i in 0..grid.columns {
            self.column(grid.column_mut(i), tagged)?;
        }
        if !self.strings.is_empty() {
            return Err(Error::damaged("a block with strings that no column has"));
        }
        self.n.end()
    }

    fn column(&mut self, column: ColumnMut<'_>, tagged: bool) -> Result<()> {
        let ColumnMut { cells, tags, nulls } = column;
        let head = self.n.u8()?;
        let count = match head & 3 {
            x if x == Nulls::All as u8 && head >> 2 == 0 => {
                nulls.fill(0xff);
                return Ok(());
            }
            x if x == Nulls::None as u8 => cells.len(),
            x if x == Nulls::Some as u8 => {
                nulls.copy_from_slice(self.n.take(nulls.len())?);
                let set: u32 = nulls.iter().map(|byte| byte.count_ones()).sum();
                // The bits behind the last row must not be set, or they would count.
                let spare = nulls.last().map_or(0, |byte| byte.leading_zeros() as usize);
                if spare < nulls.len() * 8 - cells.len() {
                    return Err(Error::damaged("a null map of too many rows"));
                }
                cells.len() - set as usize
            }
            _ => return Err(Error::damaged("a column with an unknown null map")),
        };
        let (cells, tags) = (cells.get_mut(..count).unwrap_or_default(), tags.get_mut(..count));
        let integers = if tagged { self.tags(tags.unwrap_or_default())? } else { false };
        match head >> 2 {
            x if x == Encoding::String as u8 => self.strings(cells),
            x if x == Encoding::Integer as u8 => self.integers(cells, integers),
            x if x == Encoding::Transpose as u8 => self.transposed(cells),
            _ => Err(Error::damaged("a column with an unknown encoding")),
        }
    }

    /// Reads a column's tags; says whether all its values are integers.
    fn tags(&mut self, tags: &mut [u8]) -> Result<bool> {
        let common = self.n.u8()?;
        if common == MIXED_TAGS {
            tags.copy_from_slice(self.n.take(tags.len())?);
        } else {
            tags.fill(common);
        }
        if tags.iter().all(|tag| (tag::INTEGER..=tag::BYTES).contains(tag)) {
            Ok(common == tag::INTEGER)
        } else {
            Err(Error::damaged("a column with unknown tags"))
        }
    }

    fn strings(&mut self, cells: &mut [Cell]) -> Result<()> {
        read_lengths(&mut self.n, cells.len(), self.values)?;
        for (cell, &length) in cells.iter_mut().zip(self.values.iter()) {
            let length = usize::try_from(length).ok().filter(|&length| length <= self.strings.len());
            let length = length.ok_or_else(|| Error::damaged("a block with too few strings"))?;
            *cell = Cell::new(self.strings.start, length);
            self.strings.start += length;
        }
        Ok(())
    }

    fn integers(&mut self, cells: &mut [Cell], as_varints: bool) -> Result<()> {
        let count = cells.len();
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
        for (cell, &value) in cells.iter_mut().zip(self.values.iter()) {
            let start = self.arena.len();
            if as_varints {
                write_varint(self.arena, zigzag(value.cast_signed()));
            } else {
                number::print(value.cast_signed(), scale, self.arena);
            }
            if self.arena.len() > self.most {
                return Err(Error::damaged("a block of more numbers than its rows have room for"));
            }
            *cell = Cell::new(start, self.arena.len() - start);
        }
        Ok(())
    }

    fn transposed(&mut self, cells: &mut [Cell]) -> Result<()> {
        let count = cells.len();
        let length = usize::from(self.n.u8()?);
        let planes = self.n.take(length.saturating_mul(count))?;
        if planes.len() > self.most.saturating_sub(self.arena.len()) {
            return Err(Error::damaged("a block of more bytes than its rows have room for"));
        }
        let start = self.arena.len();
        self.arena.resize(start + planes.len(), 0);
        let fields = self.arena.get_mut(start..).unwrap_or_default();
        for (i, group) in fields.chunks_mut((TILE * length).max(1)).enumerate() {
            for (position, plane) in planes.chunks_exact(count.max(1)).enumerate() {
                let places = group.iter_mut().skip(position).step_by(length.max(1));
                for (place, byte) in places.zip(plane.iter().skip(i * TILE)) {
                    *place = *byte;
                }
            }
        }
        for (i, cell) in cells.iter_mut().enumerate() {
            *cell = Cell::new(start + i * length, length);
        }
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
