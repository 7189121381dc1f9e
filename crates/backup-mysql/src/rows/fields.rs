//! The fields of rows that may come in pieces.

use backup_core::{Error, Result};

use crate::connect::{Head, head};

/// What is found in a row, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    Null,
    /// A value begins. If it is not all there, `whole` is false and more of its bytes follow.
    Value {
        whole: bool,
        bytes: &'a [u8],
    },
    /// More bytes of the value that was begun.
    More {
        last: bool,
        bytes: &'a [u8],
    },
}

/// Finds fields in the pieces of a row.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The beginning of a field's head, if a piece ended there.
    head: Vec<u8>,
    /// How many bytes of a value are still to come.
    left: u64,
    fields: usize,
}

impl Scanner {
    /// Goes through the next piece of a row.
    pub(crate) fn piece(
        &mut self,
        bytes: &[u8],
        found: &mut dyn FnMut(usize, Found<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.left > 0 {
                let now = rest.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
                let (value, after) = rest.split_at(now);
                self.left -= now as u64;
                let field = self.fields.saturating_sub(1);
                found(field, Found::More { last: self.left == 0, bytes: value })?;
                rest = after;
                continue;
            }
            // A head of at most nine bytes, which may lie across two pieces.
            let before = self.head.len();
            self.head.extend(rest.iter().take(9 - before.min(9)));
            let Some(read) = head(&self.head) else { return Ok(()) };
            let (kind, width) = read.map_err(|_| damaged())?;
            self.head.clear();
            rest = rest.get(width.saturating_sub(before)..).unwrap_or_default();
            let field = self.fields;
            self.fields += 1;
            match kind {
                Head::Null => found(field, Found::Null)?,
                Head::Length(length) => {
                    let now = rest.len().min(usize::try_from(length).unwrap_or(usize::MAX));
                    let (value, after) = rest.split_at(now);
                    self.left = length - now as u64;
                    found(field, Found::Value { whole: self.left == 0, bytes: value })?;
                    rest = after;
                }
            }
        }
        Ok(())
    }

    /// Ends a row, which must have had `fields` fields.
    pub(crate) fn end(&mut self, fields: usize) -> Result<()> {
        let is_whole = self.head.is_empty() && self.left == 0 && self.fields == fields;
        *self = Self::default();
        if is_whole { Ok(()) } else { Err(damaged()) }
    }
}

fn damaged() -> Error {
    Error::damaged("a row does not have the fields that its table has")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(values: &[Option<Vec<u8>>]) -> Vec<u8> {
        let mut row = Vec::new();
        for value in values {
            match value {
                None => row.push(0xfb),
                Some(value) if value.len() <= 250 => {
                    row.push(value.len() as u8);
                    row.extend(value);
                }
                Some(value) => {
                    row.push(0xfc);
                    row.extend((value.len() as u16).to_le_bytes());
                    row.extend(value);
                }
            }
        }
        row
    }

    proptest! {
        #[test]
        fn fields_are_found_wherever_a_row_is_cut(
            values in proptest::collection::vec(proptest::option::of(proptest::collection::vec(any::<u8>(), 0..400)), 1..6),
            piece in 1usize..40,
        ) {
            let row = row(&values);
            let mut scanner = Scanner::default();
            let mut seen: Vec<Option<Vec<u8>>> = Vec::new();
            for piece in row.chunks(piece) {
                scanner.piece(piece, &mut |field, found| {
                    match found {
                        Found::Null => seen.push(None),
                        Found::Value { bytes, .. } => seen.push(Some(bytes.to_vec())),
                        Found::More { bytes, .. } => seen[field].as_mut().unwrap().extend(bytes),
                    }
                    Ok(())
                }).unwrap();
            }
            scanner.end(values.len()).unwrap();
            prop_assert_eq!(seen, values);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, fields in 0usize..4) {
            let mut scanner = Scanner::default();
            let _ = scanner.piece(&bytes, &mut |_, _| Ok(()));
            let _ = scanner.end(fields);
        }
    }
}
