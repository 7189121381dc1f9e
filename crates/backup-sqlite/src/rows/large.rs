//! A row with large values, read in pieces.

use std::io::Read;

use backup_core::{Column, Error, Result, TaggedRow};
use rusqlite::{CachedStatement, Connection};

use super::read::tag;
use super::{RowSink, out_of_utf16};
use crate::catalog::settings::Encoding;
use crate::catalog::table::RowsSpec;
use crate::ddl::quote::identifier;
use crate::error::Doing;

/// The longest value that is not read in pieces.
const SMALL: i64 = 64 << 10;
/// How much is read at a time.
const PIECE: usize = 256 << 10;

/// Reads such rows of one table.
pub(super) struct Large<'c> {
    connection: &'c Connection,
    table: &'c str,
    columns: &'c [Column],
    encoding: Encoding,
    next: CachedStatement<'c>,
    /// Of each field: its type, its length, and its value unless it is large.
    fields: Vec<String>,
}

impl<'c> Large<'c> {
    pub(super) fn of(
        connection: &'c Connection,
        table: &'c str,
        columns: &'c [Column],
        spec: &RowsSpec,
    ) -> Result<Self> {
        let doing = || format!("read table {}", table.escape_debug());
        let names = spec.names(columns);
        let key = spec.key.and_then(|key| names.get(key));
        let key = key.ok_or_else(|| Error::internal("a large row needs a key"))?;
        let from = format!("FROM main.{} NOT INDEXED", identifier(table));
        let next = format!("SELECT min({key}) {from} WHERE {key} >= ?1");
        let field = |name: &String| {
            let value = match spec.encoding {
                Encoding::Utf8 => name.clone(),
                _ => out_of_utf16(name),
            };
            format!(
                "SELECT typeof({name}), octet_length({name}), \
                 CASE WHEN typeof({name}) IN ('text','blob') AND octet_length({name}) > {SMALL} THEN NULL ELSE {value} END \
                 {from} WHERE {key} = ?1"
            )
        };
        let next = connection.prepare_cached(&next).doing(doing)?;
        Ok(Self {
            connection,
            table,
            columns,
            encoding: spec.encoding,
            next,
            fields: names.iter().map(field).collect(),
        })
    }

    /// Writes the first row whose rowid is not below `from`, and returns its rowid.
    pub(super) fn row(&mut self, from: i64, sink: &mut dyn RowSink) -> Result<i64> {
        let doing = || format!("read table {}", self.table.escape_debug());
        let rowid: i64 = self.next.query_row([from], |row| row.get(0)).doing(doing)?;
        let mut tagged = TaggedRow::new();
        sink.begin_row()?;
        for (field, column) in self.fields.iter().zip(self.columns) {
            let mut statement = self.connection.prepare_cached(field).doing(doing)?;
            let mut rows = statement.query([rowid]).doing(doing)?;
            let row =
                rows.next().doing(doing)?.ok_or_else(|| Error::damaged("a row is gone").during(doing()))?;
            let is = |name: &str| Ok(row.get_ref(0)?.as_str().is_ok_and(|kind| kind == name));
            let length: Option<i64> = row.get(1).doing(doing)?;
            let length = length.unwrap_or(0);
            let (text, blob) = (is("text").doing(doing)?, is("blob").doing(doing)?);
            if (text || blob) && length > SMALL {
                let bytes =
                    u64::try_from(length).map_err(|_| Error::damaged("a value has a negative length"))?;
                if text {
                    tagged.text_header(bytes)
                } else {
                    tagged.bytes_header(bytes)
                }
                sink.fragment(tagged.as_bytes())?;
                tagged.clear();
                drop(rows);
                self.pieces(&column.name, rowid, bytes, sink)?;
            } else {
                tag(row.get_ref(2).doing(doing)?, self.encoding, &mut tagged)?;
                if tagged.as_bytes().len() > PIECE {
                    sink.fragment(tagged.as_bytes())?;
                    tagged.clear();
                }
            }
        }
        sink.fragment(tagged.as_bytes())?;
        sink.end_row()?;
        Ok(rowid)
    }

    fn pieces(&self, column: &str, rowid: i64, length: u64, sink: &mut dyn RowSink) -> Result<()> {
        let doing =
            || format!("read column {} of table {}", column.escape_debug(), self.table.escape_debug());
        let mut blob = self.connection.blob_open("main", self.table, column, rowid, true).doing(doing)?;
        let mut piece = vec![0; PIECE];
        let mut left = length;
        while left > 0 {
            let n = blob.read(&mut piece).map_err(|error| Error::io(doing(), error))?;
            let read = piece.get(..n).filter(|read| !read.is_empty());
            let read =
                read.ok_or_else(|| Error::damaged("a value is shorter than its head says").during(doing()))?;
            sink.fragment(read)?;
            left = left.saturating_sub(n as u64);
        }
        Ok(())
    }
}
