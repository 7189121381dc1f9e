//! Rows with JSON that LOAD DATA, which knows only its text, would change: they go in as literals.

use backup_core::{Column, Result};

use super::fields::{Found, Scanner};
use super::load::{BETWEEN, INSERT};
use super::members::NoMembers;
use crate::catalog::column::Kind;
use crate::ddl::json::decimals;
use crate::ddl::value::{Literals, insert};

/// Takes them out of all rows.
#[derive(Debug)]
pub(super) struct Inexact<'a> {
    kinds: &'a [Kind],
    /// The row that has come so far: it is looked at whole.
    row: Vec<u8>,
    is_over: bool,
    /// How many there are, and the statement that inserts them.
    pub(super) rows: u64,
    pub(super) literals: Literals<'a>,
    pub(super) no_members: Option<NoMembers>,
}

impl<'a> Inexact<'a> {
    /// Nothing if no column is JSON.
    pub(super) fn of(table: &str, columns: &[Column], kinds: &'a [Kind]) -> Option<Self> {
        kinds.contains(&Kind::Json).then(|| {
            let mut literals = Literals::new(kinds);
            literals.out.extend_from_slice(insert(table, columns).as_bytes());
            let (row, no_members) = (Vec::new(), NoMembers::of(columns, kinds));
            Self { kinds, row, is_over: false, rows: 0, literals, no_members }
        })
    }

    /// Takes the next piece of a row: whether that is now whole, and can be loaded.
    pub(super) fn loads(&mut self, bytes: &[u8], is_whole: bool) -> Result<bool> {
        if std::mem::take(&mut self.is_over) {
            self.row.clear();
        }
        self.row.extend_from_slice(bytes);
        self.is_over = is_whole;
        if !is_whole {
            return Ok(false);
        }
        let (mut scanner, mut is_exact) = (Scanner::default(), true);
        scanner.piece(&self.row, &mut |field, found| {
            if let (Some(Kind::Json), Found::Value { bytes, .. }) = (self.kinds.get(field), found) {
                is_exact &= decimals(&String::from_utf8_lossy(bytes)).is_empty();
            }
            Ok(())
        })?;
        if is_exact {
            return Ok(true);
        }
        if self.rows > 0 {
            self.literals.out.extend_from_slice(BETWEEN);
        }
        self.rows += 1;
        self.literals.piece(&self.row)?;
        self.literals.end()?;
        if let Some(no_members) = &mut self.no_members {
            no_members.piece(&self.row, true)?;
        }
        Ok(false)
    }

    /// The row that can be loaded.
    pub(super) fn row(&self) -> &[u8] {
        &self.row
    }

    /// Whether they are enough for a statement.
    pub(super) fn is_full(&self) -> bool {
        self.literals.out.len() >= INSERT
    }
}
