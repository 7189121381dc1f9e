//! A row as it lies in the file, made a `TaggedRow`.
//!
//! <https://www.sqlite.org/fileformat2.html#record_format> describes it. What comes out is what SQLite's own functions give for the same row.

use backup_core::{Column, TaggedRow};

use crate::catalog::table::RowsSpec;

/// What a stored column is, as far as its values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Comes out as it is stored.
    Plain,
    /// Floats; those without a fraction are stored as integers.
    Real,
    /// Is the rowid, which is not stored here.
    Rowid,
}

/// How the records of one table become rows.
#[derive(Debug)]
pub(super) struct Record {
    rowid_first: bool,
    columns: Vec<Kind>,
}

impl Record {
    pub(super) fn of(columns: &[Column], spec: &RowsSpec) -> Self {
        let rowid_first = spec.rowid.is_some();
        let kind = |(i, column): (usize, &Column)| match column {
            _ if spec.key == Some(i) => Kind::Rowid,
            column if is_real(&column.declared_type) => Kind::Real,
            _ => Kind::Plain,
        };
        let columns = columns.iter().enumerate().skip(usize::from(rowid_first)).map(kind).collect();
        Self { rowid_first, columns }
    }

    /// Makes `row` of a record. `None` if it is not as it should be, or has fewer columns than the table, as those have that are older than a
    /// column.
    pub(super) fn tag(&self, rowid: i64, record: &[u8], row: &mut TaggedRow) -> Option<()> {
        row.clear();
        if self.rowid_first {
            row.integer(rowid);
        }
        let mut header = record;
        let length = usize::try_from(varint(&mut header)?).ok()?;
        let begin = record.len() - header.len();
        let mut header = record.get(begin..length)?;
        let mut body = record.get(length..)?;
        for kind in &self.columns {
            let serial = varint(&mut header)?;
            if *kind == Kind::Rowid {
                take(&mut body, length_of(serial)?)?;
                row.integer(rowid);
                continue;
            }
            let integer = match serial {
                0 => {
                    row.null();
                    continue;
                }
                1 => i64::from(i8::from_be_bytes(*chunk(&mut body)?)),
                2 => i64::from(i16::from_be_bytes(*chunk(&mut body)?)),
                3 => {
                    let [a, b, c] = *chunk(&mut body)?;
                    i64::from(i32::from_be_bytes([a, b, c, 0]) >> 8)
                }
                4 => i64::from(i32::from_be_bytes(*chunk(&mut body)?)),
                5 => {
                    let [a, b, c, d, e, f] = *chunk(&mut body)?;
                    i64::from_be_bytes([a, b, c, d, e, f, 0, 0]) >> 16
                }
                6 => i64::from_be_bytes(*chunk(&mut body)?),
                7 => {
                    let float = f64::from_be_bytes(*chunk(&mut body)?);
                    // SQLite has no NaN.
                    if float.is_nan() {
                        row.null()
                    } else {
                        row.float(float)
                    }
                    continue;
                }
                8 => 0,
                9 => 1,
                _ => {
                    let value = take(&mut body, length_of(serial)?)?;
                    if serial & 1 == 0 {
                        row.bytes(value)
                    } else {
                        row.text(value)
                    }
                    continue;
                }
            };
            if *kind == Kind::Real { row.float(integer as f64) } else { row.integer(integer) }
        }
        (header.is_empty() && body.is_empty()).then_some(())
    }
}

/// Whether a column of this declared type has the affinity REAL.
fn is_real(declared_type: &str) -> bool {
    let declared = declared_type.to_ascii_uppercase();
    let has = |word: &str| declared.contains(word);
    ["REAL", "FLOA", "DOUB"].into_iter().any(has)
        && !["INT", "CHAR", "CLOB", "TEXT", "BLOB"].into_iter().any(has)
}

/// How many bytes a value of this serial type has; `None` for the two that SQLite keeps to itself.
fn length_of(serial: u64) -> Option<usize> {
    match serial {
        0 | 8 | 9 => Some(0),
        1..=4 => usize::try_from(serial).ok(),
        5 => Some(6),
        6 | 7 => Some(8),
        10 | 11 => None,
        _ => usize::try_from((serial - 12) / 2).ok(),
    }
}

fn take<'a>(from: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(taken)
}

#[inline]
fn chunk<'a, const N: usize>(from: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, rest) = from.split_first_chunk()?;
    *from = rest;
    Some(taken)
}

/// Reads a number of the file format: seven bits a byte, the highest first, and all eight of the ninth.
#[inline(always)]
pub(super) fn varint(from: &mut &[u8]) -> Option<u64> {
    match **from {
        [first @ ..0x80, ref rest @ ..] => {
            *from = rest;
            Some(first.into())
        }
        [first, second @ ..0x80, ref rest @ ..] => {
            *from = rest;
            Some(u64::from(first & 0x7f) << 7 | u64::from(second))
        }
        _ => long_varint(from),
    }
}

fn long_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for i in 0..8 {
        let byte = *from.get(i)?;
        value = value << 7 | u64::from(byte & 0x7f);
        if byte < 0x80 {
            *from = from.get(i + 1..)?;
            return Some(value);
        }
    }
    let last = *from.get(8)?;
    *from = from.get(9..)?;
    Some(value << 8 | u64::from(last))
}
