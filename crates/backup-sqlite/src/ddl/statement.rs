//! Statements out of a part.

use backup_core::{Error, Item, PartSource, Result};

/// The next statement of a part of SQL, whole.
pub(crate) fn next(source: &mut dyn PartSource) -> Result<Option<String>> {
    let mut whole = Vec::new();
    let mut ended = false;
    while !ended {
        match source.next()? {
            None if whole.is_empty() => return Ok(None),
            None => return Err(Error::damaged("a statement is cut off")),
            Some(Item::Row(row)) => {
                whole.extend_from_slice(row);
                ended = true;
            }
            Some(Item::Fragment { bytes, last, .. }) => {
                whole.extend_from_slice(bytes);
                ended = last;
            }
            Some(_) => return Err(Error::damaged("a part of SQL holds something else")),
        }
    }
    String::from_utf8(whole)
        .map(Some)
        .map_err(|error| Error::damaged("a statement is not UTF-8").because(error))
}
