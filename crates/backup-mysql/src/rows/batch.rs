//! Rows that are gathered to be inserted: as literals, out of which statements become that the server reads.

use std::collections::VecDeque;

use backup_core::{Column, Result};

use super::members::NoMembers;
use crate::catalog::column::Kind;
use crate::ddl::value::{Literals, insert};

/// About how long one INSERT is, if no row is longer.
const INSERT: usize = 512 << 10;
/// Of how many values one statement may warn: the server shows no more.
pub(super) const WARNINGS: u64 = 60_000;
const BETWEEN: &[u8] = b",\n";

/// The rows, and of each where it ends and of how many of its values the server is to warn.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    /// What every statement begins with, and the rows.
    literals: Literals<'a>,
    /// How long that beginning is.
    head: usize,
    ends: VecDeque<(usize, u64)>,
    no_members: Option<NoMembers>,
    /// Of how many values it is to warn in all.
    warns: u64,
    /// Where the statement is that was handed out last.
    said: Option<(usize, usize)>,
}

/// An INSERT of so many rows.
#[derive(Debug, PartialEq)]
pub(super) struct Statement<'a> {
    pub(super) sql: &'a [u8],
    pub(super) rows: u64,
    /// Of how many values the server is to warn.
    pub(super) warns: u64,
}

impl<'a> Batch<'a> {
    pub(super) fn new(table: &str, columns: &[Column], kinds: &'a [Kind]) -> Self {
        let mut literals = Literals::new(kinds);
        literals.out.extend_from_slice(insert(table, columns).as_bytes());
        let head = literals.out.len();
        let no_members = NoMembers::of(columns, kinds);
        Self { literals, head, ends: VecDeque::new(), no_members, warns: 0, said: None }
    }

    /// Takes the next piece of a row.
    pub(super) fn piece(&mut self, bytes: &[u8], is_end: bool) -> Result<()> {
        if !self.is_empty() && !self.literals.is_open() {
            self.literals.out.extend_from_slice(BETWEEN);
        }
        self.literals.piece(bytes)?;
        let mut warns = 0;
        if let Some(no_members) = &mut self.no_members {
            no_members.piece(bytes, is_end)?;
            if is_end {
                warns = std::mem::take(&mut no_members.count);
            }
        }
        if is_end {
            self.literals.end()?;
            self.ends.push_back((self.literals.out.len(), warns));
            self.warns += warns;
        }
        Ok(())
    }

    /// Whether there is no whole row.
    pub(super) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Whether its rows are to be inserted before it takes more.
    pub(super) fn is_full(&self) -> bool {
        !self.literals.is_open() && (self.literals.out.len() >= INSERT || self.warns >= WARNINGS)
    }

    /// How long a statement of nothing but the last row is, as far as that has come.
    pub(super) fn last_row(&self) -> usize {
        let whole = self.ends.len() - usize::from(!self.literals.is_open() && !self.is_empty());
        let before =
            whole.checked_sub(1).and_then(|at| self.ends.get(at)).map(|(end, _)| end + BETWEEN.len());
        self.literals.out.len() - before.unwrap_or(self.head) + self.head
    }

    /// Hands out the next rows as a statement of at most `limit` bytes, unless a single row is longer. What was handed out is gone.
    pub(super) fn statement(&mut self, limit: usize) -> Option<Statement<'_>> {
        let Self { literals: Literals { out, .. }, head, ends, warns: all, .. } = self;
        let Some((mut end, mut warns)) = ends.pop_front() else {
            if let Some((begin, _)) = self.said.take() {
                out.copy_within(begin..begin + *head, 0);
                out.truncate(*head);
            }
            *all = 0;
            return None;
        };
        // The beginning goes where the end of the last statement was, before its own rows.
        let begin = self.said.map_or(0, |(begin, end)| {
            let next = end + BETWEEN.len() - *head;
            out.copy_within(begin..begin + *head, next);
            next
        });
        let mut rows = 1;
        while let Some((next, more)) = ends.front().filter(|(next, _)| next - begin <= limit) {
            (end, warns, rows) = (*next, warns + more, rows + 1);
            ends.pop_front();
        }
        self.said = Some((begin, end));
        Some(Statement { sql: out.get(begin..end)?, rows, warns })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: [Kind; 2] = [Kind::Plain, Kind::Plain];

    fn columns() -> [Column; 2] {
        [Column::new("id", "int"), Column::new("e", "enum('a')")]
    }

    fn row(id: usize, length: usize) -> Vec<u8> {
        let id = id.to_string();
        [&[id.len() as u8], id.as_bytes(), &[length as u8], &vec![b'x'; length]].concat()
    }

    proptest! {
        #[test]
        fn statements_have_all_rows_in_their_order_and_are_no_longer_than_they_may_be(
            lengths in proptest::collection::vec(0usize..200, 0..40),
            limit in 0usize..400,
            rounds in 1usize..3,
        ) {
            let columns = columns();
            let mut batch = Batch::new("t", &columns, &KINDS);
            let head = insert("t", &columns);
            for _ in 0..rounds {
                let mut expected = Vec::new();
                for (id, length) in lengths.iter().enumerate() {
                    let row = row(id, *length);
                    let (begin, end) = row.split_at(row.len() / 2);
                    batch.piece(begin, false).unwrap();
                    batch.piece(end, true).unwrap();
                    expected.push(format!("('{id}','{}')", "x".repeat(*length)));
                    prop_assert_eq!(batch.last_row(), head.len() + expected[id].len());
                }
                let (mut said, mut count, mut warned) = (Vec::new(), 0, 0);
                while let Some(Statement { sql, rows, warns }) = batch.statement(limit) {
                    prop_assert!(sql.len() <= limit || rows == 1);
                    let values = std::str::from_utf8(sql).unwrap().strip_prefix(&head).unwrap();
                    said.extend(values.split(",\n").map(str::to_owned));
                    (count, warned) = (count + rows as usize, warned + warns as usize);
                }
                prop_assert_eq!(count, lengths.len());
                prop_assert_eq!(warned, lengths.iter().filter(|length| **length == 0).count());
                prop_assert_eq!(said, expected);
                prop_assert!(batch.is_empty() && !batch.is_full());
            }
        }
    }

    #[test]
    fn a_batch_is_full_by_its_length_and_by_its_warnings() {
        let columns = columns();
        let mut batch = Batch::new("t", &columns, &KINDS);
        for id in 0..3000 {
            batch.piece(&row(id, 200), true).unwrap();
        }
        assert!(batch.is_full());
        let columns = [Column::new("e", "enum('a')")];
        let mut batch = Batch::new("t", &columns, &KINDS[..1]);
        for _ in 0..WARNINGS {
            assert!(!batch.is_full());
            batch.piece(&[0], true).unwrap();
        }
        assert!(batch.is_full());
    }
}
