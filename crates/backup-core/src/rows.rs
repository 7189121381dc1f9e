//! Rows: how the bytes of one row are made of fields, and the digest of a set of rows.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

/// How the bytes of a row are made of fields, so that core can regroup them by column without the engine.
///
/// A row that does not follow its layout is no error: it is stored as it is, only less tightly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RowLayout {
    /// Only the engine knows.
    Opaque,
    /// Each field is a MySQL length-encoded string (1, 3, 4 or 9 bytes of length, little-endian), or the byte
    /// 0xFB for NULL: a text protocol resultset row.
    LengthEncoded,
    /// PostgreSQL's COPY text: fields separated by tabs, NULL as `\N`, the row ended by a newline.
    CopyText,
    /// Values that carry their type: see [`TaggedRow`], which writes them.
    Tagged,
}

/// Builds one row of [`RowLayout::Tagged`]: each field is a tag byte and a payload.
///
/// | tag | value | payload |
/// |---|---|---|
/// | 0 | NULL | none |
/// | 1 | integer | zigzag LEB128 of a signed 64-bit integer, at most ten bytes, shortest form |
/// | 2 | float | eight bytes, IEEE 754 binary64, little-endian |
/// | 3 | text | LEB128 length, shortest form, then that many bytes (in any encoding) |
/// | 4 | bytes | the same |
#[derive(Debug, Default)]
pub struct TaggedRow(Vec<u8>);

/// Tag bytes of [`RowLayout::Tagged`].
pub mod tag {
    #![allow(missing_docs)]
    pub const NULL: u8 = 0;
    pub const INTEGER: u8 = 1;
    pub const FLOAT: u8 = 2;
    pub const TEXT: u8 = 3;
    pub const BYTES: u8 = 4;
}

impl TaggedRow {
    /// An empty row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the next row, keeping the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Appends NULL.
    #[inline]
    pub fn null(&mut self) {
        self.0.push(tag::NULL);
    }

    /// Appends an integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.head(tag::INTEGER, zigzag(value));
    }

    /// Appends a float, bit for bit.
    #[inline]
    pub fn float(&mut self, value: f64) {
        self.0.push(tag::FLOAT);
        self.0.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// Appends text, in whatever encoding the database has it.
    #[inline]
    pub fn text(&mut self, value: &[u8]) {
        self.text_header(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Appends bytes.
    pub fn bytes(&mut self, value: &[u8]) {
        self.bytes_header(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    /// Appends the head of a text whose `length` bytes are written as fragments.
    #[inline]
    pub fn text_header(&mut self, length: u64) {
        self.head(tag::TEXT, length);
    }

    /// Appends the head of a byte string whose `length` bytes are written as fragments.
    #[inline]
    pub fn bytes_header(&mut self, length: u64) {
        self.head(tag::BYTES, length);
    }

    /// This runs once for every value.
    #[inline(always)]
    fn head(&mut self, tag: u8, number: u64) {
        if number < 0x80 {
            self.0.extend_from_slice(&[tag, number as u8]);
        } else {
            self.0.push(tag);
            write_varint(&mut self.0, number);
        }
    }
}

/// One field of a [`RowLayout::Tagged`] row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TaggedValue<'a> {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// Text.
    Text(&'a [u8]),
    /// Bytes.
    Bytes(&'a [u8]),
}

/// The head of a field: everything but the bytes of a text or byte string.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TaggedHead {
    /// NULL.
    Null,
    /// An integer.
    Integer(i64),
    /// A float.
    Float(f64),
    /// Text of that many bytes, which follow.
    Text(u64),
    /// That many bytes, which follow.
    Bytes(u64),
}

/// Reads the head of the next field from the front of `input`; `None` where `input` ends before the head
/// does or is not well-formed.
#[inline]
pub fn read_tagged_head(input: &mut &[u8]) -> Option<TaggedHead> {
    let (&first, rest) = input.split_first()?;
    let mut rest = rest;
    let head = match first {
        tag::NULL => TaggedHead::Null,
        tag::INTEGER => TaggedHead::Integer(unzigzag(read_varint(&mut rest)?)),
        tag::FLOAT => {
            let (bits, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            TaggedHead::Float(f64::from_bits(u64::from_le_bytes(*bits)))
        }
        tag::TEXT => TaggedHead::Text(read_varint(&mut rest)?),
        tag::BYTES => TaggedHead::Bytes(read_varint(&mut rest)?),
        _ => return None,
    };
    *input = rest;
    Some(head)
}

/// Reads the next field from the front of `input`; `None` where it does not hold a whole one.
pub fn read_tagged<'a>(input: &mut &'a [u8]) -> Option<TaggedValue<'a>> {
    let mut rest = *input;
    let head = read_tagged_head(&mut rest)?;
    let mut take = |length: u64| {
        let (value, tail) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = tail;
        Some(value)
    };
    let value = match head {
        TaggedHead::Null => TaggedValue::Null,
        TaggedHead::Integer(value) => TaggedValue::Integer(value),
        TaggedHead::Float(value) => TaggedValue::Float(value),
        TaggedHead::Text(length) => TaggedValue::Text(take(length)?),
        TaggedHead::Bytes(length) => TaggedValue::Bytes(take(length)?),
    };
    *input = rest;
    Some(value)
}

/// Small magnitudes become small numbers, whatever their sign.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Appends `value` as LEB128, in its shortest form.
#[inline]
pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    if value < 1 << 56 {
        let length = (u64::BITS - (value | 1).leading_zeros()).div_ceil(7);
        let more = 0x8080_8080_8080_8080 & ((1 << (8 * (length - 1))) - 1);
        // A copy of a fixed length costs no call; what is too much is taken back.
        let end = out.len() + length as usize;
        out.extend_from_slice(&(part_groups(value) | more).to_le_bytes());
        out.truncate(end);
        return;
    }
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Reads LEB128 from the front of `input`: only the shortest form, so that reading and writing are inverse.
#[inline]
pub(crate) fn read_varint(input: &mut &[u8]) -> Option<u64> {
    // Most are one byte.
    match input.split_first() {
        Some((&byte, rest)) if byte < 0x80 => {
            *input = rest;
            Some(byte.into())
        }
        _ => read_long_varint(input),
    }
}

fn read_long_varint(input: &mut &[u8]) -> Option<u64> {
    // Up to eight bytes at once: the first without the highest bit is the last.
    if let Some(bytes) = input.first_chunk::<8>() {
        let word = u64::from_le_bytes(*bytes);
        let length = (!word & 0x8080_8080_8080_8080).trailing_zeros() / 8 + 1;
        if length <= 8 {
            let word = word & (u64::MAX >> (64 - 8 * length));
            if word >> (8 * (length - 1)) == 0 {
                return None;
            }
            *input = input.get(length as usize..)?;
            return Some(join_groups(word & 0x7f7f_7f7f_7f7f_7f7f));
        }
    }
    let mut value = 0u64;
    for (i, &byte) in input.iter().enumerate().take(10) {
        if i == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            if byte == 0 && i > 0 {
                return None;
            }
            *input = &input[i + 1..];
            return Some(value);
        }
    }
    None
}

/// Puts each group of seven bits into a byte of its own. `number` has at most eight groups.
fn part_groups(number: u64) -> u64 {
    let fours = (number & 0x0fff_ffff) | (number & 0x00ff_ffff_f000_0000) << 4;
    let pairs = (fours & 0x0000_3fff_0000_3fff) | (fours & 0x0fff_c000_0fff_c000) << 2;
    (pairs & 0x007f_007f_007f_007f) | (pairs & 0x3f80_3f80_3f80_3f80) << 1
}

/// The inverse of `part_groups`.
fn join_groups(groups: u64) -> u64 {
    let pairs = (groups & 0x007f_007f_007f_007f) | (groups & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

/// The number of rows of a set and the sum of their 128-bit hashes modulo 2^128.
///
/// The sum does not depend on the order of the rows, and duplicates do not cancel as they would under XOR.
/// A row's hash is XXH3-128 (seed 0) of its bytes: it finds accidents, not forgeries, which are the
/// business of the BLAKE3 hashes and signatures over what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowDigest {
    /// How many rows.
    pub rows: u64,
    /// The sum of their hashes.
    pub sum: u128,
}

impl RowDigest {
    /// Adds a whole row and returns its hash.
    pub(crate) fn add(&mut self, row: &[u8]) -> u128 {
        let hash = xxh3_128(row);
        self.add_hash(hash);
        hash
    }

    pub(crate) fn add_hash(&mut self, hash: u128) {
        self.rows += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    /// The digest of both sets together.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, sum: self.sum.wrapping_add(other.sum) }
    }
}

/// The hash of a row that comes in fragments: the same as that of the row in one piece.
#[derive(Default)]
pub(crate) struct FragmentHasher(Box<Xxh3>);

impl FragmentHasher {
    pub(crate) fn update(&mut self, fragment: &[u8]) {
        self.0.update(fragment);
    }

    pub(crate) fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

impl fmt::Debug for FragmentHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FragmentHasher")
    }
}

impl fmt::Display for RowDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.sum)
    }
}

#[derive(Serialize, Deserialize)]
struct DigestJson {
    rows: u64,
    sum: String,
}

impl Serialize for RowDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DigestJson { rows: self.rows, sum: self.to_string() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RowDigest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = DigestJson::deserialize(deserializer)?;
        let sum = u128::from_str_radix(&json.sum, 16).map_err(serde::de::Error::custom)?;
        Ok(Self { rows: json.rows, sum })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn duplicate_rows_do_not_cancel() {
        let mut twice = RowDigest::default();
        twice.add(b"row");
        twice.add(b"row");
        let mut never = RowDigest::default();
        never.add(b"other");
        never.add(b"other");
        assert_ne!(twice.sum, 0);
        assert_ne!(twice, never);
    }

    proptest! {
        #[test]
        fn varints_and_zigzag_come_back(value: i64, shift in 0..64, behind: Vec<u8>) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            write_varint(&mut bytes, zigzag(value));
            bytes.extend(&behind);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(read_varint(&mut rest).map(unzigzag), Some(value));
            prop_assert_eq!(rest, behind.as_slice());
        }

        #[test]
        fn a_varint_is_little_endian_groups_of_seven_bits(value: u64, shift in 0..64) {
            let value = value >> shift;
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            let mut expected = vec![value as u8 & 0x7f];
            let mut rest = value >> 7;
            while rest > 0 {
                *expected.last_mut().unwrap() |= 0x80;
                expected.push(rest as u8 & 0x7f);
                rest >>= 7;
            }
            prop_assert_eq!(bytes, expected);
        }

        #[test]
        fn only_the_shortest_varint_is_read(mut bytes: Vec<u8>, long in 0..12usize) {
            bytes.iter_mut().take(long).for_each(|byte| *byte |= 0x80);
            let mut rest = bytes.as_slice();
            if let Some(value) = read_varint(&mut rest) {
                let mut again = Vec::new();
                write_varint(&mut again, value);
                prop_assert_eq!(&bytes[..bytes.len() - rest.len()], again.as_slice());
            }
        }

        #[test]
        fn a_row_in_fragments_hashes_like_the_whole(row: Vec<u8>, cut: prop::sample::Index) {
            let (a, b) = row.split_at(if row.is_empty() { 0 } else { cut.index(row.len()) });
            let mut hasher = FragmentHasher::default();
            hasher.update(a);
            hasher.update(b);
            prop_assert_eq!(hasher.finish(), xxh3_128(&row));
        }
    }
}
