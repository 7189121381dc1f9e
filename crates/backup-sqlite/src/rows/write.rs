//! Rows into a table.

use std::path::Path;

use backup_core::rows::{TaggedValue, read_tagged};
use backup_core::{Column, Error, Item, PartSource, Result};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, Statement};

use super::into_utf16;
use super::long::{LongRow, Value};
use crate::catalog::settings::Encoding;
use crate::catalog::table::RowsSpec;
use crate::ddl::quote::identifier;
use crate::error::Doing;

/// A table that rows are loaded into.
#[derive(Clone, Copy)]
pub(crate) struct Target<'c> {
    pub(crate) connection: &'c Connection,
    pub(crate) table: &'c str,
    pub(crate) columns: &'c [Column],
    pub(crate) spec: &'c RowsSpec,
    /// The directory for large values that have to wait for the rest of their row.
    pub(crate) spool: &'c Path,
}

impl<'c> Target<'c> {
    /// Inserts all rows of `source`.
    pub(crate) fn load(self, source: &mut dyn PartSource) -> Result<()> {
        let mut insert = Insert::into(self)?;
        let mut long: Option<LongRow> = None;
        while let Some(item) = source.next()? {
            match item {
                Item::Row(row) => insert.row(row)?,
                Item::Fragment { bytes, first, last } => {
                    if first {
                        long = Some(LongRow::new(self.spool));
                    }
                    let row = long.as_mut().ok_or_else(|| Error::damaged("a row has no beginning"))?;
                    row.push(bytes)?;
                    if last && let Some(row) = long.take() {
                        self.insert_long(row.finish()?)?;
                    }
                }
                _ => return Err(Error::damaged("a part of rows holds something else")),
            }
        }
        Ok(())
    }

    pub(super) fn doing(self) -> String {
        format!("load table {}", self.table.escape_debug())
    }

    /// `INSERT ... VALUES` with `placeholder(number)` for each field. ABORT overrides an ON CONFLICT clause of the table, which could
    /// drop a row without a word.
    fn sql(self, placeholder: impl Fn(usize) -> String) -> String {
        let names = self.spec.names(self.columns);
        let values: Vec<_> = (1..=names.len()).map(placeholder).collect();
        format!(
            "INSERT OR ABORT INTO main.{}({}) VALUES({})",
            identifier(self.table),
            names.join(","),
            values.join(",")
        )
    }

    /// Inserts a row whose large values wait in files. They are written into the row when it is there, which takes no memory where
    /// SQLite allows it.
    fn insert_long(self, values: Vec<Value>) -> Result<()> {
        let doing = || self.doing();
        if values.len() != self.columns.len() {
            return Err(malformed(self.table));
        }
        let is_utf16_text =
            |i: usize| self.spec.encoding != Encoding::Utf8 && matches!(values.get(i), Some(Value::Text(_)));
        let sql =
            self.sql(|i| if is_utf16_text(i - 1) { format!("CAST(?{i} AS TEXT)") } else { format!("?{i}") });
        let mut waiting = Vec::new();
        let mut statement = self.connection.prepare(&sql).doing(doing)?;
        for (i, (value, column)) in values.into_iter().zip(self.columns).enumerate() {
            let bound = match value {
                Value::Null => ToSqlOutput::Borrowed(ValueRef::Null),
                Value::Integer(value) => ToSqlOutput::Borrowed(ValueRef::Integer(value)),
                Value::Float(value) => ToSqlOutput::Borrowed(ValueRef::Real(value)),
                Value::Text(ref value) if self.spec.encoding == Encoding::Utf8 => {
                    ToSqlOutput::Borrowed(ValueRef::Text(value))
                }
                Value::Text(ref value) | Value::Bytes(ref value) => {
                    ToSqlOutput::Borrowed(ValueRef::Blob(value))
                }
                Value::Spooled(spooled) if self.spec.incremental => {
                    let length = i32::try_from(spooled.length()).map_err(|_| {
                        Error::unsupported("SQLite cannot hold a value of 2 GiB").during(doing())
                    })?;
                    waiting.push((column, spooled));
                    ToSqlOutput::ZeroBlob(length)
                }
                Value::Spooled(mut spooled) => {
                    ToSqlOutput::Owned(rusqlite::types::Value::Blob(spooled.read_whole()?))
                }
            };
            statement.raw_bind_parameter(i + 1, bound).doing(doing)?;
        }
        statement.raw_execute().doing(doing)?;
        statement.clear_bindings();
        let rowid = self.connection.last_insert_rowid();
        for (column, mut spooled) in waiting {
            match self.connection.blob_open("main", self.table, column.name.as_str(), rowid, false) {
                Ok(mut blob) => spooled.copy_to(&mut blob)?,
                // An indexed column cannot be written in pieces.
                Err(_) => {
                    let key =
                        self.spec.key.and_then(|key| self.spec.names(self.columns).into_iter().nth(key));
                    let key = key.ok_or_else(|| Error::internal("a large value has no rowid"))?;
                    let (table, column) = (identifier(self.table), identifier(&column.name));
                    let sql = format!("UPDATE OR ABORT main.{table} SET {column} = ?1 WHERE {key} = ?2");
                    self.connection.execute(&sql, (spooled.read_whole()?, rowid)).doing(doing)?;
                }
            }
        }
        Ok(())
    }
}

/// One prepared INSERT for ordinary rows.
struct Insert<'c> {
    target: Target<'c>,
    statement: Statement<'c>,
}

impl<'c> Insert<'c> {
    fn into(target: Target<'c>) -> Result<Self> {
        let placeholder = |i: usize| match target.spec.encoding {
            Encoding::Utf8 => format!("?{i}"),
            _ if target.spec.key == Some(i - 1) => format!("?{i}"),
            _ => into_utf16(i),
        };
        let statement = target.connection.prepare(&target.sql(placeholder)).doing(|| target.doing())?;
        Ok(Self { target, statement })
    }

    fn row(&mut self, mut row: &[u8]) -> Result<()> {
        let doing = || self.target.doing();
        for i in 1..=self.target.columns.len() {
            let value = read_tagged(&mut row).ok_or_else(|| malformed(self.target.table))?;
            let is_utf8 = self.target.spec.encoding == Encoding::Utf8;
            let bound = match value {
                TaggedValue::Null => ToSqlOutput::Borrowed(ValueRef::Null),
                TaggedValue::Integer(value) => ToSqlOutput::Borrowed(ValueRef::Integer(value)),
                TaggedValue::Float(value) => ToSqlOutput::Borrowed(ValueRef::Real(value)),
                TaggedValue::Text(value) if is_utf8 => ToSqlOutput::Borrowed(ValueRef::Text(value)),
                TaggedValue::Text(value) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
                TaggedValue::Bytes(value) if is_utf8 => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
                TaggedValue::Bytes(value) => ToSqlOutput::Owned(rusqlite::types::Value::Text(hex(value))),
            };
            self.statement.raw_bind_parameter(i, bound).doing(doing)?;
        }
        if !row.is_empty() {
            return Err(malformed(self.target.table));
        }
        self.statement.raw_execute().doing(doing)?;
        Ok(())
    }
}

fn malformed(table: &str) -> Error {
    Error::damaged(format!("a row of table {} has not the fields that it should have", table.escape_debug()))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
