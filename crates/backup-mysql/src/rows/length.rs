//! How long the statements of a script become: no server reads one that is longer than its `max_allowed_packet`.

use backup_core::{Column, Result};

use crate::catalog::column::Kind;
use crate::connect::Piece;
use crate::ddl::script::INSERT;
use crate::ddl::value::{Literals, insert};

/// Rows no larger than this make statements that are no longer than [`USUAL`].
const SMALL: usize = 128 << 10;
/// How long a statement is at the most whose rows are small. Bytes are written in hexadecimal.
pub(crate) const USUAL: usize = 1 << 20;

/// Looks at the rows of one table as they come.
#[derive(Debug)]
pub(crate) struct Longest<'a> {
    literals: Literals<'a>,
    /// What stands around a row: the head, and rows that went before it.
    around: usize,
    row: usize,
    longest: usize,
}

impl<'a> Longest<'a> {
    pub(crate) fn of(table: &str, columns: &[Column], kinds: &'a [Kind]) -> Self {
        let around = insert(table, columns).len() + INSERT;
        Self { literals: Literals::new(kinds), around, row: 0, longest: 0 }
    }

    pub(crate) fn see(&mut self, piece: &Piece<'_>) -> Result<()> {
        match piece {
            Piece::Whole(row) if row.len() <= SMALL => Ok(()),
            Piece::Whole(row) => {
                self.add(row)?;
                self.end()
            }
            Piece::First(bytes) | Piece::Next(bytes) => self.add(bytes),
            Piece::End => self.end(),
        }
    }

    fn add(&mut self, bytes: &[u8]) -> Result<()> {
        self.literals.piece(bytes)?;
        self.row += self.literals.out.len();
        self.literals.out.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        self.literals.end()?;
        self.longest = self.longest.max(self.row + self.literals.out.len());
        self.literals.out.clear();
        self.row = 0;
        Ok(())
    }

    /// How long the longest statement is at the most, if there is one with a large row.
    pub(crate) fn longest(&self) -> Option<usize> {
        (self.longest > 0).then_some(self.around + self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_as_they_are_written() {
        let columns = [Column::new("b", "longblob")];
        let mut longest = Longest::of("t", &columns, &[Kind::Bytes]);
        longest.see(&Piece::Whole(b"\x01x")).unwrap();
        assert_eq!(longest.longest(), None);
        let large = [&[0xfd, 0, 0, 0x10][..], &[7; 1 << 20]].concat();
        longest.see(&Piece::First(large[..1000].into())).unwrap();
        longest.see(&Piece::Next(large[1000..].into())).unwrap();
        longest.see(&Piece::End).unwrap();
        let around = "INSERT INTO `t` (`b`) VALUES\n".len() + INSERT;
        assert_eq!(longest.longest(), Some(around + "(X'')".len() + (2 << 20)));
    }
}
