//! Values that are no members of their ENUM: the server keeps such a value as zero, and warns of each that it stores.

use backup_core::{Column, Result};

use super::fields::{Found, Scanner};
use crate::catalog::column::Kind;

/// Counts them.
#[derive(Debug)]
pub(crate) struct NoMembers {
    /// How such a value reads, by field.
    reads: Vec<Option<&'static [u8]>>,
    scanner: Scanner,
    pub(crate) count: u64,
}

impl NoMembers {
    /// Nothing if no column can have any.
    pub(crate) fn of(columns: &[Column], kinds: &[Kind]) -> Option<Self> {
        let reads = |(column, kind): (&Column, &Kind)| {
            let is_enum =
                column.declared_type.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("enum("));
            is_enum.then_some(if *kind == Kind::Index { &b"0"[..] } else { &b""[..] })
        };
        let reads: Vec<_> = columns.iter().zip(kinds).map(reads).collect();
        let has_any = reads.iter().any(Option::is_some);
        has_any.then(|| Self { reads, scanner: Scanner::default(), count: 0 })
    }

    /// Looks at the next piece of a row.
    pub(crate) fn piece(&mut self, bytes: &[u8], is_end: bool) -> Result<()> {
        let Self { reads, scanner, count } = self;
        scanner.piece(bytes, &mut |field, found| {
            if let Found::Value { whole: true, bytes } = found
                && reads.get(field).copied().flatten() == Some(bytes)
            {
                *count += 1;
            }
            Ok(())
        })?;
        if is_end { scanner.end(reads.len()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_member_is_counted() {
        let columns = ["int", "enum('a')", "set('a')", "enum('')"].map(|declared| Column::new("c", declared));
        let kinds = [Kind::Number, Kind::Text, Kind::Index, Kind::Index];
        let mut counted = NoMembers::of(&columns, &kinds).unwrap();
        counted.piece(b"\x010\x00\x010\x010", true).unwrap();
        counted.piece(b"\x010\x01a", false).unwrap();
        counted.piece(b"\x010\xfb", true).unwrap();
        assert_eq!(counted.count, 2);
        assert!(NoMembers::of(&columns[..1], &kinds[..1]).is_none());
    }
}
