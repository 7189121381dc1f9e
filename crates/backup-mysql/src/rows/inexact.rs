//! Rows with JSON that LOAD DATA, which knows only its text, would change: they go in as literals, and what comes behind them too, in its order.

use backup_core::{Column, Ctx, Result};

use super::fields::{Found, Scanner};
use super::load::{BETWEEN, INSERT};
use super::members::NoMembers;
use crate::catalog::column::Kind;
use crate::ddl::json::decimals;
use crate::ddl::value::{Literals, insert};

/// How much of a row is held until it is known what its JSON is like.
const HELD: usize = 16 << 20;

/// What becomes of a row of which a piece has come.
#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    /// More is to come first.
    Wait,
    /// What [`Inexact::row`] has is loaded.
    Load,
    /// The statement is to be executed before anything else.
    Insert,
}

/// The rows of a part, as they come.
#[derive(Debug)]
pub(super) struct Inexact<'a> {
    ctx: &'a Ctx,
    table: &'a str,
    kinds: &'a [Kind],
    /// What has come of a row and was not loaded. It is looked at whole.
    row: Vec<u8>,
    /// That is done with.
    is_over: bool,
    /// It is loaded after the statement; whether it is whole.
    waits: Option<bool>,
    /// It is too long to be held: its pieces are loaded as they come.
    is_long: bool,
    /// There was a row to be inserted.
    inserts: bool,
    literals: Literals<'a>,
    head: usize,
    /// Of each row in the statement where it ends, and of how many values the server is to warn.
    ends: Vec<(usize, u64)>,
    no_members: Option<NoMembers>,
}

impl<'a> Inexact<'a> {
    /// Nothing if no column is JSON.
    pub(super) fn of(ctx: &'a Ctx, table: &'a str, columns: &[Column], kinds: &'a [Kind]) -> Option<Self> {
        kinds.contains(&Kind::Json).then(|| {
            let mut literals = Literals::new(kinds);
            literals.out.extend_from_slice(insert(table, columns).as_bytes());
            let head = literals.out.len();
            let no_members = NoMembers::of(columns, kinds);
            let (row, ends) = (Vec::new(), Vec::new());
            let (is_over, waits, is_long, inserts) = (false, None, false, false);
            Self {
                ctx,
                table,
                kinds,
                row,
                is_over,
                waits,
                is_long,
                inserts,
                literals,
                head,
                ends,
                no_members,
            }
        })
    }

    /// Takes the next piece of a row.
    pub(super) fn take(&mut self, bytes: &[u8], is_whole: bool) -> Result<Turn> {
        if std::mem::take(&mut self.is_over) {
            self.row.clear();
        }
        self.row.extend_from_slice(bytes);
        if self.is_long {
            self.is_long = !is_whole;
            return Ok(self.load(is_whole));
        }
        if !is_whole && self.row.len() <= HELD {
            return Ok(Turn::Wait);
        }
        if !is_whole {
            self.is_long = true;
            self.ctx.warn(format!(
                "table {}: DECIMALs in the JSON of rows of more than {} MiB may come back as doubles",
                self.table.escape_debug(),
                HELD >> 20
            ));
            return Ok(self.load(false));
        }
        if self.is_exact()? && !(self.inserts && self.row.len() < INSERT) {
            return Ok(self.load(true));
        }
        self.inserts = true;
        self.is_over = true;
        self.insert()?;
        Ok(if self.literals.out.len() >= INSERT { Turn::Insert } else { Turn::Wait })
    }

    fn load(&mut self, is_whole: bool) -> Turn {
        if self.has_rows() {
            self.waits = Some(is_whole);
            return Turn::Insert;
        }
        self.is_over = true;
        Turn::Load
    }

    /// Whether there are rows to be inserted.
    pub(super) fn has_rows(&self) -> bool {
        !self.ends.is_empty()
    }

    fn is_exact(&self) -> Result<bool> {
        let (mut scanner, mut is_exact) = (Scanner::default(), true);
        scanner.piece(&self.row, &mut |field, found| {
            if let (Some(Kind::Json), Found::Value { bytes, .. }) = (self.kinds.get(field), found) {
                is_exact &= decimals(&String::from_utf8_lossy(bytes)).is_empty();
            }
            Ok(())
        })?;
        Ok(is_exact)
    }

    fn insert(&mut self) -> Result<()> {
        if self.has_rows() {
            self.literals.out.extend_from_slice(BETWEEN);
        }
        self.literals.piece(&self.row)?;
        self.literals.end()?;
        let mut warns = 0;
        if let Some(no_members) = &mut self.no_members {
            no_members.piece(&self.row, true)?;
            warns = std::mem::take(&mut no_members.count);
        }
        self.ends.push((self.literals.out.len(), warns));
        Ok(())
    }

    /// Whether something waits to be loaded that has come already, and whether it is a whole row.
    pub(super) fn waiting(&mut self) -> Option<bool> {
        let waits = self.waits.take();
        self.is_over |= waits.is_some();
        waits
    }

    /// What is to be loaded.
    pub(super) fn row(&self) -> &[u8] {
        &self.row
    }

    /// The rows that are to be inserted, by statements of at most `limit` bytes unless a single row is longer: each with its number of rows, and
    /// of values of which the server is to warn.
    pub(super) fn statements(&mut self, limit: usize) -> Vec<(Vec<u8>, u64, u64)> {
        let (mut statements, ends) = (Vec::new(), std::mem::take(&mut self.ends));
        let (head, rows) = self.literals.out.split_at(self.head);
        let (mut begin, mut behind) = (0, ends.iter().peekable());
        while let Some(first) = behind.next() {
            let ((mut end, mut warns), mut number) = (*first, 1);
            while let Some((next, more)) = behind.next_if(|(next, _)| next - begin <= limit) {
                (end, warns, number) = (*next, warns + more, number + 1);
            }
            let values = rows.get(begin..end - self.head).unwrap_or_default();
            statements.push(([head, values].concat(), number, warns));
            begin = end - self.head + BETWEEN.len();
        }
        self.literals.out.truncate(self.head);
        statements
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [Kind; 2] = [Kind::Plain, Kind::Json];

    fn columns() -> [Column; 2] {
        [Column::new("id", "int"), Column::new("j", "json")]
    }

    #[test]
    fn rows_stay_in_their_order_and_statements_within_their_limit() {
        let (ctx, columns) = (Ctx::new(), columns());
        let mut rows = Inexact::of(&ctx, "t", &columns, &KINDS).unwrap();
        let (exact, inexact) = (row("1", "1.5"), row("2", "1.50"));
        assert_eq!(rows.take(&exact, true).unwrap(), Turn::Load);
        assert_eq!(rows.row(), exact);
        // In pieces; and from then on all, but for long ones.
        assert_eq!(rows.take(&inexact[..3], false).unwrap(), Turn::Wait);
        assert_eq!(rows.take(&inexact[3..], true).unwrap(), Turn::Wait);
        assert_eq!(rows.take(&exact, true).unwrap(), Turn::Wait);
        let long = row("3", &format!("\"{}\"", "x".repeat(INSERT)));
        assert_eq!(rows.take(&long, true).unwrap(), Turn::Insert);
        let statements = rows.statements(1 << 20);
        let sql = |i: usize| String::from_utf8(statements[i].0.clone()).unwrap();
        assert_eq!((statements.len(), statements[0].1), (1, 2));
        assert!(sql(0).ends_with("('2',JSON_REPLACE('1.50','$',1.50)),\n('1','1.5')"), "{}", sql(0));
        assert_eq!(rows.waiting(), Some(true));
        assert_eq!(rows.row(), long);
        assert_eq!(rows.waiting(), None);
        for id in 0..5 {
            assert_eq!(rows.take(&row(&id.to_string(), "1.50"), true).unwrap(), Turn::Wait);
        }
        let (head, values) = (insert("t", &columns).len(), "('0',JSON_REPLACE('1.50','$',1.50))".len());
        let statements = rows.statements(head + 2 * values + BETWEEN.len());
        assert_eq!(statements.iter().map(|(_, rows, _)| *rows).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(statements.iter().all(|(sql, ..)| sql.starts_with(b"INSERT") && sql.ends_with(b")")));
        assert!(rows.statements(1 << 20).is_empty());
    }

    #[test]
    fn a_row_that_is_too_long_is_loaded_in_pieces() {
        let (ctx, columns) = (Ctx::new(), columns());
        let mut rows = Inexact::of(&ctx, "t", &columns, &KINDS).unwrap();
        let long = row("3", &format!("\"{}\"", "x".repeat(HELD + (3 << 20))));
        let pieces: Vec<&[u8]> = long.chunks(1 << 20).collect();
        let mut loaded = Vec::new();
        for (i, piece) in pieces.iter().enumerate() {
            match rows.take(piece, i + 1 == pieces.len()).unwrap() {
                Turn::Load => loaded.extend_from_slice(rows.row()),
                turn => assert!(turn == Turn::Wait && i < 16, "{i}: {turn:?}"),
            }
        }
        assert!(loaded == long);
        assert!(rows.row().len() <= 1 << 20);
        assert_eq!(rows.take(&row("4", "1.5"), true).unwrap(), Turn::Load);
    }

    fn row(id: &str, json: &str) -> Vec<u8> {
        let mut row = Vec::new();
        for field in [id, json] {
            let length = field.len() as u64;
            match length {
                0..=250 => row.push(length as u8),
                251..=0xffff => {
                    row.push(0xfc);
                    row.extend_from_slice(&(length as u16).to_le_bytes());
                }
                _ => {
                    row.push(0xfe);
                    row.extend_from_slice(&length.to_le_bytes());
                }
            }
            row.extend_from_slice(field.as_bytes());
        }
        row
    }
}
