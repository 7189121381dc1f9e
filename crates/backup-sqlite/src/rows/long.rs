//! A row that comes in fragments, taken apart into its values.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use backup_core::rows::{TaggedHead, read_tagged_head};
use backup_core::{During, Error, Result};

use crate::restore::staging;

/// The longest byte string that is held in memory.
const HELD: u64 = 1 << 20;
/// The longest head of a field: a tag and ten bytes.
const LONGEST_HEAD: usize = 11;

/// A value of such a row.
#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Integer(i64),
    Float(f64),
    /// Text is held whole however large it is: SQLite can make room for a blob and have it filled in later,
    /// but not for a text.
    Text(Vec<u8>),
    Bytes(Vec<u8>),
    /// Bytes that wait in a file, since the row cannot be inserted before the fields behind them are known.
    Spooled(Spooled),
}

/// A byte string in a file that nobody else can see.
#[derive(Debug)]
pub(crate) struct Spooled {
    file: File,
    length: u64,
}

impl Spooled {
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    pub(crate) fn copy_to(&mut self, out: &mut impl Write) -> Result<()> {
        let doing = || "copy a large value into its row";
        self.file.rewind().during(doing)?;
        let copied = std::io::copy(&mut self.file, out).during(doing)?;
        if copied == self.length { Ok(()) } else { Err(Error::damaged("a large value was cut off")) }
    }

    pub(crate) fn read_whole(&mut self) -> Result<Vec<u8>> {
        let mut whole = Vec::new();
        let doing = || "read a large value back";
        self.file.rewind().during(doing)?;
        self.file.read_to_end(&mut whole).during(doing)?;
        Ok(whole)
    }
}

/// Takes fragments and makes values of them. A field's head may straddle two fragments.
#[derive(Debug)]
pub(crate) struct LongRow {
    spool: PathBuf,
    head: Vec<u8>,
    /// The value that is being read, and how many of its bytes are missing.
    open: Option<(Value, u64)>,
    values: Vec<Value>,
}

impl LongRow {
    pub(crate) fn new(spool: &Path) -> Self {
        Self { spool: spool.to_owned(), head: Vec::new(), open: None, values: Vec::new() }
    }

    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some((&first, rest)) = bytes.split_first() {
            if let Some((value, missing)) = &mut self.open {
                let n = usize::try_from(*missing).unwrap_or(usize::MAX).min(bytes.len());
                let (piece, rest) = bytes.split_at(n);
                match value {
                    Value::Text(held) | Value::Bytes(held) => held.extend_from_slice(piece),
                    Value::Spooled(spooled) => {
                        spooled.file.write_all(piece).during(|| "set a large value aside")?
                    }
                    _ => {}
                }
                *missing -= n as u64;
                bytes = rest;
            } else {
                self.head.push(first);
                bytes = rest;
                match read_tagged_head(&mut self.head.as_slice()) {
                    Some(head) => {
                        self.head.clear();
                        self.open = Some(self.begin(head)?);
                    }
                    None if self.head.len() >= LONGEST_HEAD => return Err(malformed()),
                    None => {}
                }
            }
            if let Some((value, _)) = self.open.take_if(|(_, missing)| *missing == 0) {
                self.values.push(value);
            }
        }
        Ok(())
    }

    fn begin(&self, head: TaggedHead) -> Result<(Value, u64)> {
        Ok(match head {
            TaggedHead::Null => (Value::Null, 0),
            TaggedHead::Integer(value) => (Value::Integer(value), 0),
            TaggedHead::Float(value) => (Value::Float(value), 0),
            TaggedHead::Text(length) => (Value::Text(Vec::new()), length),
            TaggedHead::Bytes(length) if length <= HELD => (Value::Bytes(Vec::new()), length),
            TaggedHead::Bytes(length) => {
                let file = staging::nameless_file(&self.spool)?;
                (Value::Spooled(Spooled { file, length }), length)
            }
        })
    }

    /// The values, when the last fragment was pushed.
    pub(crate) fn finish(self) -> Result<Vec<Value>> {
        if self.open.is_some() || !self.head.is_empty() { Err(malformed()) } else { Ok(self.values) }
    }
}

fn malformed() -> Error {
    Error::damaged("a large row is not made of fields")
}

#[cfg(test)]
mod tests {
    use backup_core::TaggedRow;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_comes_out_the_same_wherever_it_is_cut(number: i64, text: Vec<u8>, cut in 1usize..40, large in prop::bool::weighted(0.1)) {
            let directory = tempfile::tempdir().unwrap();
            let bytes = vec![7; if large { (HELD + 3) as usize } else { 200 }];
            let mut row = TaggedRow::new();
            row.integer(number);
            row.text(&text);
            row.null();
            row.bytes(&bytes);
            row.float(-0.5);
            let cut = if large { cut * 30_000 } else { cut };
            let mut long = LongRow::new(directory.path());
            for piece in row.as_bytes().chunks(cut) {
                long.push(piece).unwrap();
            }
            let mut values = long.finish().unwrap();
            prop_assert_eq!(values.len(), 5);
            let found = match &mut values[3] {
                Value::Bytes(held) => held.clone(),
                Value::Spooled(spooled) => spooled.read_whole().unwrap(),
                other => panic!("{other:?}"),
            };
            prop_assert_eq!(found, bytes);
            prop_assert!(matches!(&values[1], Value::Text(found) if *found == text));
            prop_assert!(matches!(values[0], Value::Integer(found) if found == number));
        }
    }

    #[test]
    fn a_row_that_is_cut_off_is_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let mut row = TaggedRow::new();
        row.text(b"abc");
        let mut long = LongRow::new(directory.path());
        long.push(&row.as_bytes()[..3]).unwrap();
        assert!(long.finish().is_err());
        assert!(LongRow::new(directory.path()).push(&[9; 20]).is_err());
    }
}
