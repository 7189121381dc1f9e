//! Rows out of a table.

use backup_core::rows::{TaggedValue, read_tagged};
use backup_core::{Column, During, Error, Result, TaggedRow};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};

use super::btree::Walk;
use super::large::Large;
use super::page::Layout;
use super::record::Record;
use super::{RowSink, out_of_utf16};
use crate::catalog::settings::Encoding;
use crate::catalog::table::RowsSpec;
use crate::ddl::quote::identifier;
use crate::error::{Doing, is_too_big};

/// The longest value that rows are read with as a whole, where there is another way for longer ones.
const SHORT: i32 = 1 << 20;
/// SQLite's own limit.
const LONGEST: i32 = 1_000_000_000;

/// Writes the rows of a part to `sink`, in the order of their rowids (or primary keys, WITHOUT ROWID). With a `layout` they come out
/// of the pages as far as that goes, and are left to SQL from there on: the same rows to the byte.
pub(crate) fn rows(
    connection: &Connection,
    layout: Option<&Layout>,
    table: &str,
    columns: &[Column],
    spec: &RowsSpec,
    sink: &mut dyn RowSink,
) -> Result<()> {
    let reader = Reader::of(connection, layout, table, columns, spec);
    let result = if spec.incremental { reader.by_key(sink) } else { reader.whole(sink) };
    let reset = connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST).doing(|| "reset a limit");
    result.and(reset.map(drop))
}

struct Reader<'a> {
    connection: &'a Connection,
    layout: Option<&'a Layout>,
    table: &'a str,
    columns: &'a [Column],
    spec: &'a RowsSpec,
}

impl<'a> Reader<'a> {
    fn of(
        connection: &'a Connection,
        layout: Option<&'a Layout>,
        table: &'a str,
        columns: &'a [Column],
        spec: &'a RowsSpec,
    ) -> Self {
        // Elsewhere a record is no row yet: text has another encoding, or columns lie elsewhere.
        let layout = layout.filter(|_| spec.encoding == Encoding::Utf8 && spec.incremental);
        Self { connection, layout, table, columns, spec }
    }

    fn doing(&self) -> String {
        format!("read table {}", self.table.escape_debug())
    }

    fn range(&self) -> (i64, i64) {
        self.spec.range.unwrap_or((i64::MIN, i64::MAX))
    }

    /// The SELECT, of the range `?1` to `?2` if the table has a key.
    fn select(&self) -> String {
        let names = self.spec.names(self.columns);
        let key = self.spec.key.and_then(|key| names.get(key));
        let field = |(i, name): (usize, &String)| match self.spec.encoding {
            Encoding::Utf8 => name.clone(),
            _ if Some(i) == self.spec.key => name.clone(),
            _ => out_of_utf16(name),
        };
        let fields: Vec<_> = names.iter().enumerate().map(field).collect();
        // Through an index rows would come in another order.
        let from = format!("SELECT {} FROM main.{} NOT INDEXED", fields.join(","), identifier(self.table));
        match key {
            Some(key) => format!("{from} WHERE {key} BETWEEN ?1 AND ?2 ORDER BY {key}"),
            None => from,
        }
    }

    /// Every value is held whole, one row at a time.
    fn whole(&self, sink: &mut dyn RowSink) -> Result<()> {
        let doing = || self.doing();
        let mut statement = self.connection.prepare(&self.select()).doing(doing)?;
        let mut rows = match (self.spec.key, self.range()) {
            (Some(_), (low, high)) => statement.query([low, high]),
            (None, _) => statement.query(()),
        }
        .doing(doing)?;
        let mut tagged = TaggedRow::new();
        while let Some(row) = rows.next().doing(doing)? {
            self.tag(row, &mut tagged)?;
            sink.row(tagged.as_bytes())?;
        }
        Ok(())
    }

    fn by_key(&self, sink: &mut dyn RowSink) -> Result<()> {
        let mut last = TaggedRow::new();
        let Some(given) = self.by_page(&mut last, sink)? else { return Ok(()) };
        let mut rest = Behind { given, last: last.as_bytes(), sink };
        self.by_select(&mut rest)?;
        if rest.given == 0 { Ok(()) } else { Err(gone()).during(|| self.doing()) }
    }

    /// Writes rows out of the pages of the table. Where the pages have something that is left to SQLite, it returns how many rows it
    /// has written, and the last of them is in `last`.
    fn by_page(&self, last: &mut TaggedRow, sink: &mut dyn RowSink) -> Result<Option<u64>> {
        let mut given = 0;
        let Some((root, pages)) = self.layout.and_then(|layout| layout.table(self.connection, self.table))
        else {
            return Ok(Some(given));
        };
        let (low, high) = self.range();
        let record = Record::of(self.columns, self.spec);
        let mut walk = Walk::from(root, pages, low, high);
        let (mut cells, mut whole, mut tagged) = (Vec::new(), Vec::new(), TaggedRow::new());
        loop {
            match walk.next_leaf(&mut cells) {
                Ok(true) => {}
                Ok(false) => return Ok(None),
                Err(_) => return Ok(Some(given)),
            }
            for cell in cells.iter().filter(|cell| (low..=high).contains(&cell.rowid)) {
                let bytes = walk.record(*cell, SHORT as usize, &mut whole);
                if bytes.ok().and_then(|bytes| record.tag(cell.rowid, bytes, &mut tagged)).is_none() {
                    return Ok(Some(given));
                }
                sink.row(tagged.as_bytes())?;
                given += 1;
                std::mem::swap(last, &mut tagged);
            }
        }
    }

    /// SQLite refuses to read values that are longer than a limit. With a low one, ordinary rows are read as fast as can
    /// be, and a row that is refused is read value by value, in pieces.
    fn by_select(&self, sink: &mut dyn RowSink) -> Result<()> {
        let doing = || self.doing();
        let key = self.spec.key.ok_or_else(|| Error::internal("a table without key is read by key"))?;
        let (mut low, high) = self.range();
        let mut statement = self.connection.prepare(&self.select()).doing(doing)?;
        let mut large: Option<Large<'_>> = None;
        let mut tagged = TaggedRow::new();
        loop {
            let mut found = false;
            self.limit(SHORT)?;
            let mut rows = statement.query([low, high]).doing(doing)?;
            loop {
                match rows.next() {
                    Ok(Some(row)) => {
                        self.tag(row, &mut tagged)?;
                        found = true;
                        sink.row(tagged.as_bytes())?;
                    }
                    Ok(None) => return Ok(()),
                    Err(error) if is_too_big(&error) => break,
                    Err(error) => return Err(error).doing(doing),
                }
            }
            drop(rows);
            self.limit(LONGEST)?;
            // What was read last still stands in the row.
            let from = match key_of(tagged.as_bytes(), key).filter(|_| found) {
                Some(last) => i64::checked_add(last, 1)
                    .ok_or_else(|| Error::damaged("a row lies behind the last").during(doing()))?,
                None => low,
            };
            let large = match &mut large {
                Some(large) => large,
                none => none.insert(Large::of(self.connection, self.table, self.columns, self.spec)?),
            };
            let rowid = large.row(from, sink)?;
            match rowid.checked_add(1).filter(|next| *next <= high) {
                Some(next) => low = next,
                None => return Ok(()),
            }
        }
    }

    fn limit(&self, bytes: i32) -> Result<()> {
        self.connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, bytes).doing(|| "set a limit").map(drop)
    }

    fn tag(&self, row: &Row<'_>, tagged: &mut TaggedRow) -> Result<()> {
        tagged.clear();
        for i in 0..self.columns.len() {
            tag(row.get_ref(i).doing(|| self.doing())?, self.spec.encoding, tagged)?;
        }
        Ok(())
    }
}

/// Passes on what comes behind the rows that are given already.
struct Behind<'a> {
    given: u64,
    last: &'a [u8],
    sink: &'a mut dyn RowSink,
}

impl RowSink for Behind<'_> {
    fn row(&mut self, row: &[u8]) -> Result<()> {
        match self.given {
            0 => return self.sink.row(row),
            1 if row != self.last => return Err(gone()),
            _ => self.given -= 1,
        }
        Ok(())
    }

    // Rows that are read in pieces are none that pages gave.
    fn begin_row(&mut self) -> Result<()> {
        if self.given == 0 { self.sink.begin_row() } else { Err(gone()) }
    }

    fn fragment(&mut self, fragment: &[u8]) -> Result<()> {
        self.sink.fragment(fragment)
    }

    fn end_row(&mut self) -> Result<()> {
        self.sink.end_row()
    }
}

fn gone() -> Error {
    Error::damaged("SQLite gives other rows than those in the pages")
        .hint("PRAGMA integrity_check says what is damaged")
}

/// Appends a value, as the SELECT of its encoding gives it.
pub(super) fn tag(value: ValueRef<'_>, encoding: Encoding, row: &mut TaggedRow) -> Result<()> {
    match value {
        ValueRef::Null => row.null(),
        ValueRef::Integer(value) => row.integer(value),
        ValueRef::Real(value) => row.float(value),
        ValueRef::Text(value) if encoding == Encoding::Utf8 => row.text(value),
        ValueRef::Blob(value) if encoding == Encoding::Utf8 => row.bytes(value),
        ValueRef::Blob(value) => row.text(value),
        ValueRef::Text(value) => row.bytes(&unhex(value)?),
    }
    Ok(())
}

/// The integer in field number `key` of a row.
fn key_of(mut row: &[u8], key: usize) -> Option<i64> {
    for _ in 0..key {
        read_tagged(&mut row)?;
    }
    match read_tagged(&mut row)? {
        TaggedValue::Integer(value) => Some(value),
        _ => None,
    }
}

fn unhex(digits: &[u8]) -> Result<Vec<u8>> {
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let byte = |pair: &[u8]| Some(nibble(*pair.first()?)? << 4 | nibble(*pair.get(1)?)?);
    digits
        .chunks(2)
        .map(byte)
        .collect::<Option<_>>()
        .ok_or_else(|| Error::internal("a blob came as no hexadecimal"))
}

#[cfg(test)]
mod tests;
