//! Rows with JSON that LOAD DATA, which knows only its text, would change: they go in as literals, and what comes behind them too, in its order.

use backup_core::{Column, Ctx, PartReader, Result};

use super::batch::Batch;
use super::fields::{Found, Scanner};
use super::load::piece;
use crate::catalog::column::Kind;
use crate::ddl::json;

/// How much of a row is held until it is known what its JSON is like.
const HELD: usize = 16 << 20;
/// A row of so many bytes is loaded if it may be, whatever becomes of those before it.
const LONG: usize = 512 << 10;

/// What becomes of a row of which a piece has come.
#[derive(Debug, PartialEq)]
pub(super) enum Turn {
    /// More is to come first.
    Wait,
    /// What [`Inexact::row`] has is loaded.
    Load,
    /// What is in the batch is inserted before anything else.
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
    /// It is loaded behind what is in the batch; whether it is whole.
    waits: Option<bool>,
    /// It is too long to be held: its pieces are loaded as they come.
    is_long: bool,
    /// There was a row to be inserted.
    inserts: bool,
    pub(super) batch: Batch<'a>,
}

impl<'a> Inexact<'a> {
    /// Nothing if no column is JSON.
    pub(super) fn of(ctx: &'a Ctx, table: &'a str, columns: &[Column], kinds: &'a [Kind]) -> Option<Self> {
        kinds.contains(&Kind::Json).then(|| Self {
            ctx,
            table,
            kinds,
            row: Vec::new(),
            is_over: false,
            waits: None,
            is_long: false,
            inserts: false,
            batch: Batch::new(table, columns, kinds),
        })
    }

    /// Takes rows until there is something to be done: nothing if there are none left.
    pub(super) async fn seek(&mut self, input: &mut PartReader) -> Result<Option<Turn>> {
        while self.waits.is_none() {
            let Some(item) = input.next().await? else { return Ok(None) };
            let (bytes, is_whole) = piece(item)?;
            match self.take(bytes, is_whole)? {
                Turn::Load => self.waits = Some(is_whole),
                Turn::Insert => return Ok(Some(Turn::Insert)),
                Turn::Wait => {}
            }
        }
        Ok(Some(Turn::Load))
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
        if self.is_exact()? && !(self.inserts && self.row.len() < LONG) {
            return Ok(self.load(true));
        }
        self.inserts = true;
        self.is_over = true;
        self.batch.piece(&self.row, true)?;
        Ok(if self.batch.is_full() { Turn::Insert } else { Turn::Wait })
    }

    fn load(&mut self, is_whole: bool) -> Turn {
        if !self.batch.is_empty() {
            self.waits = Some(is_whole);
            return Turn::Insert;
        }
        self.is_over = true;
        Turn::Load
    }

    fn is_exact(&self) -> Result<bool> {
        let (mut scanner, mut is_exact) = (Scanner::default(), true);
        scanner.piece(&self.row, &mut |field, found| {
            if let (Some(Kind::Json), Found::Value { bytes, .. }) = (self.kinds.get(field), found) {
                is_exact &= json::is_exact(&String::from_utf8_lossy(bytes));
            }
            Ok(())
        })?;
        Ok(is_exact)
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
}

#[cfg(test)]
mod tests {
    use super::super::batch::Statement;
    use super::*;
    use crate::ddl::json::literal;

    const KINDS: [Kind; 2] = [Kind::Plain, Kind::Json];

    fn columns() -> [Column; 2] {
        [Column::new("id", "int"), Column::new("j", "json")]
    }

    #[test]
    fn rows_stay_in_their_order() {
        let (ctx, columns) = (Ctx::new(), columns());
        let mut rows = Inexact::of(&ctx, "t", &columns, &KINDS).unwrap();
        let (exact, inexact) = (row("1", "1.5"), row("2", "1.50"));
        assert_eq!(rows.take(&exact, true).unwrap(), Turn::Load);
        assert_eq!(rows.row(), exact);
        // In pieces; and from then on all, but for long ones.
        assert_eq!(rows.take(&inexact[..3], false).unwrap(), Turn::Wait);
        assert_eq!(rows.take(&inexact[3..], true).unwrap(), Turn::Wait);
        assert_eq!(rows.take(&exact, true).unwrap(), Turn::Wait);
        let long = row("3", &format!("\"{}\"", "x".repeat(LONG)));
        assert_eq!(rows.take(&long, true).unwrap(), Turn::Insert);
        let Statement { sql, rows: count, .. } = rows.batch.statement(1 << 20).unwrap();
        let sql = String::from_utf8_lossy(sql);
        assert!(count == 2 && sql.ends_with(&format!("('2',{}),\n('1','1.5')", literal("1.50"))), "{sql}");
        assert_eq!(rows.batch.statement(1 << 20), None);
        assert_eq!(rows.waiting(), Some(true));
        assert_eq!(rows.row(), long);
        assert_eq!(rows.waiting(), None);
        assert_eq!(rows.take(&exact, true).unwrap(), Turn::Wait);
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
