//! One column's values as numbers and strings: what goes into a block's two streams.

use super::grid::{Cell, Column, Grid};
use super::hints::{pause_number, try_number};
use super::number;
use super::split::tagged_integer;
use crate::rows::tag;

/// How many bytes gather before a stream's statistics may start anew.
const FLUSH_AFTER: usize = 4 << 10;
/// Fields of one length between these are worth a look at their single positions.
const TRANSPOSE_LENGTHS: std::ops::RangeInclusive<usize> = 2..=40;
/// How many fields that look takes in.
const SAMPLES: usize = 64;

/// How many fields are transposed at a time, so that they stay in the processor's nearest cache.
pub(super) const TILE: usize = 64;

/// How a column's values are stored: bits 2 and up of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    String = 0,
    Integer = 1,
    Transpose = 2,
}

/// Which of a column's values are NULL: the lowest two bits of its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nulls {
    None = 0,
    All = 1,
    Some = 2,
}

/// Stands for tags that follow one by one.
pub(super) const MIXED_TAGS: u8 = 0;
/// Marks differences, beside the width of integers.
pub(super) const DELTA: u8 = 0x80;

/// A stream of a block that is being written.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) bytes: Vec<u8>,
    pub(super) flush_at: Vec<usize>,
}

impl Stream {
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.flush_at.clear();
    }

    /// Says that bytes of another kind begin here.
    pub(super) fn boundary(&mut self) {
        self.boundary_at(self.bytes.len());
    }

    fn boundary_at(&mut self, at: usize) {
        let last = self.flush_at.last().copied().unwrap_or(0);
        if at - last >= FLUSH_AFTER {
            self.flush_at.push(at);
        }
    }

    /// Appends the lowest `width` bytes of each value, plane after plane, the lowest first.
    fn planes(&mut self, width: usize, values: impl ExactSizeIterator<Item = u64> + Clone) {
        for plane in 0..width {
            self.boundary();
            let shift = 8 * plane;
            self.bytes.extend(values.clone().map(|value| (value >> shift) as u8));
        }
        self.boundary();
    }

    /// Appends the lengths of rows or strings.
    pub(super) fn lengths(&mut self, lengths: impl ExactSizeIterator<Item = u32> + Clone) {
        let (mut least, mut most) = (u32::MAX, 0);
        for length in lengths.clone() {
            least = least.min(length);
            most = most.max(length);
        }
        if least >= most {
            self.bytes.push(0);
            self.bytes.extend(most.to_le_bytes());
            return;
        }
        let width = bytes_needed(most.into());
        self.bytes.push(width as u8);
        self.planes(width, lengths.map(u64::from));
    }
}

/// How many bytes `value` takes.
fn bytes_needed(value: u64) -> usize {
    (64 - value.leading_zeros() as usize).div_ceil(8)
}

/// Appends every column of `grid`, whose cells point into `bytes`, to the streams `n` and `s`. `pauses` has what
/// is known about each column; `values` is scratch.
pub(super) fn write_columns(
    grid: &Grid,
    tagged: bool,
    bytes: &[u8],
    pauses: &mut [u8],
    values: &mut Vec<i64>,
    n: &mut Stream,
    s: &mut Stream,
) {
    for (i, pause) in (0..grid.columns).zip(pauses) {
        let Column { cells, tags, nulls } = grid.column(i);
        if cells.is_empty() {
            n.bytes.push(Nulls::All as u8);
            continue;
        }
        let head = n.bytes.len();
        n.bytes.push(0);
        let some = if cells.len() == grid.rows {
            Nulls::None
        } else {
            n.boundary();
            n.bytes.extend_from_slice(nulls);
            Nulls::Some
        };
        let tag = if tagged { Some(write_tags(tags, n)) } else { None };
        let encoding = match tag {
            Some(tag::INTEGER) => {
                values.clear();
                values.extend(cells.iter().filter_map(|cell| tagged_integer(cell.of(bytes))));
                write_integers(values, 0, n);
                Encoding::Integer
            }
            Some(tag::FLOAT) => {
                write_transposed(cells, bytes, 8, n);
                Encoding::Transpose
            }
            Some(MIXED_TAGS) => {
                write_strings(cells, bytes, n, s);
                Encoding::String
            }
            // Text without tags, or all text, or all bytes.
            _ => write_text(cells, bytes, pause, values, n, s),
        };
        if let Some(head) = n.bytes.get_mut(head) {
            *head = some as u8 | (encoding as u8) << 2;
        }
    }
}

/// Appends the tag that all fields have and returns it, or else all tags.
fn write_tags(tags: &[u8], n: &mut Stream) -> u8 {
    let first = tags.first().copied().unwrap_or(MIXED_TAGS);
    if tags.iter().all(|&tag| tag == first) {
        n.bytes.push(first);
        return first;
    }
    n.bytes.push(MIXED_TAGS);
    n.boundary();
    n.bytes.extend_from_slice(tags);
    MIXED_TAGS
}

fn write_text(
    cells: &[Cell],
    bytes: &[u8],
    pause: &mut u8,
    values: &mut Vec<i64>,
    n: &mut Stream,
    s: &mut Stream,
) -> Encoding {
    if try_number(pause) {
        match read_numbers(cells, bytes, values) {
            Some(scale) => {
                write_integers(values, scale, n);
                return Encoding::Integer;
            }
            None => pause_number(pause),
        }
    }
    match regular_length(cells, bytes) {
        Some(length) => {
            write_transposed(cells, bytes, length, n);
            Encoding::Transpose
        }
        None => {
            write_strings(cells, bytes, n, s);
            Encoding::String
        }
    }
}

/// Reads all fields as numbers of the first one's scale, and returns it.
fn read_numbers(cells: &[Cell], bytes: &[u8], values: &mut Vec<i64>) -> Option<u8> {
    let scale = number::scale_of(cells.first()?.of(bytes))?;
    values.clear();
    values.reserve(cells.len());
    for cell in cells {
        let start = cell.start as usize;
        values.push(number::parse(bytes, start, start + cell.length as usize, scale)?);
    }
    Some(scale)
}

/// Appends integers as their distance from the smallest, or, where that takes fewer bytes, as the distance of
/// their differences from the smallest difference. All arithmetic is modulo 2^64.
fn write_integers(values: &[i64], scale: u8, n: &mut Stream) {
    let first = values.first().copied().unwrap_or(0);
    let (mut least, mut most) = (first, first);
    let (mut least_step, mut most_step) = (i64::MAX, i64::MIN);
    let mut previous = first;
    for &value in values.get(1..).unwrap_or_default() {
        least = least.min(value);
        most = most.max(value);
        let step = value.wrapping_sub(previous);
        least_step = least_step.min(step);
        most_step = most_step.max(step);
        previous = value;
    }
    let width = bytes_needed(distance(most, least));
    let step_width = if values.len() > 1 { bytes_needed(distance(most_step, least_step)) } else { width };
    n.bytes.push(scale);
    if step_width < width {
        n.bytes.push(step_width as u8 | DELTA);
        n.bytes.extend(least_step.to_le_bytes());
        n.bytes.extend(first.to_le_bytes());
        let steps = values.iter().zip(values.get(1..).unwrap_or_default());
        n.planes(step_width, steps.map(|(from, to)| distance(to.wrapping_sub(*from), least_step)));
    } else {
        n.bytes.push(width as u8);
        n.bytes.extend(least.to_le_bytes());
        n.planes(width, values.iter().map(|&value| distance(value, least)));
    }
}

fn distance(value: i64, from: i64) -> u64 {
    value.wrapping_sub(from).cast_unsigned()
}

/// The common length of all fields, if it is one that is worth transposing: some position never changes.
fn regular_length(cells: &[Cell], bytes: &[u8]) -> Option<usize> {
    let first = cells.first()?;
    let length = first.length as usize;
    if !TRANSPOSE_LENGTHS.contains(&length) || cells.iter().any(|cell| cell.length != first.length) {
        return None;
    }
    let first = first.of(bytes);
    // Bit i says that position i has not changed yet.
    let mut constant = (1u64 << length) - 1;
    for cell in cells.iter().step_by(cells.len().div_ceil(SAMPLES)) {
        for (position, (a, b)) in first.iter().zip(cell.of(bytes)).enumerate() {
            if a != b {
                constant &= !(1 << position);
            }
        }
    }
    (constant != 0).then_some(length)
}

/// Appends the first byte of each field, then the second of each, and so on.
fn write_transposed(cells: &[Cell], bytes: &[u8], length: usize, n: &mut Stream) {
    n.bytes.push(length as u8);
    let begin = n.bytes.len();
    n.bytes.resize(begin + length * cells.len(), 0);
    let planes = n.bytes.get_mut(begin..).unwrap_or_default();
    for (i, group) in cells.chunks(TILE).enumerate() {
        for (position, plane) in planes.chunks_exact_mut(cells.len()).enumerate() {
            for (place, cell) in plane.iter_mut().skip(i * TILE).zip(group) {
                *place = bytes.get(cell.start as usize + position).copied().unwrap_or_default();
            }
        }
    }
    for position in 0..=length {
        n.boundary_at(begin + position * cells.len());
    }
}

fn write_strings(cells: &[Cell], bytes: &[u8], n: &mut Stream, s: &mut Stream) {
    n.lengths(cells.iter().map(|cell| cell.length));
    for cell in cells {
        cell.append_to(bytes, &mut s.bytes);
    }
    s.boundary();
}
