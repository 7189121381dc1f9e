//! Rows out of tables and into tables, each as a `TaggedRow` of the core.
//!
//! - `read`: rows out of a table, out of its pages as far as that goes, and with SQL from there on
//! - `page`, `btree`, `record`: the pages of a snapshot, the rows in those of one table, the values of a row
//! - `large`: a row with large values, out in pieces
//! - `write`, `long`: rows into a table
//!
//! Text is in the database's own encoding. SQLite hands text out as UTF-8, which is exact for a database in UTF-8, whatever bytes
//! are in it, and is not for one in UTF-16, where a lone surrogate would be lost. There text travels through SQL as a
//! blob and, so that it can be told apart, a blob as hexadecimal text: see [`out_of_utf16`] and [`into_utf16`].

mod btree;
mod large;
pub(crate) mod long;
pub(crate) mod page;
pub(crate) mod read;
mod record;
pub(crate) mod write;

use backup_core::{BlockingPartWriter, Result};

/// Where rows go: the core's writer, or a test's list.
pub(crate) trait RowSink {
    fn row(&mut self, row: &[u8]) -> Result<()>;
    fn begin_row(&mut self) -> Result<()>;
    fn fragment(&mut self, fragment: &[u8]) -> Result<()>;
    fn end_row(&mut self) -> Result<()>;
}

impl RowSink for BlockingPartWriter {
    fn row(&mut self, row: &[u8]) -> Result<()> {
        Self::row(self, row)
    }

    fn begin_row(&mut self) -> Result<()> {
        Self::begin_row(self)
    }

    fn fragment(&mut self, fragment: &[u8]) -> Result<()> {
        Self::fragment(self, fragment)
    }

    fn end_row(&mut self) -> Result<()> {
        Self::end_row(self)
    }
}

/// A field of a UTF-16 database: text becomes a blob, a blob becomes hexadecimal text.
fn out_of_utf16(field: &str) -> String {
    format!(
        "CASE typeof({field}) WHEN 'text' THEN CAST({field} AS BLOB) WHEN 'blob' THEN hex({field}) ELSE {field} END"
    )
}

/// The parameter `number` on its way back.
fn into_utf16(number: usize) -> String {
    format!(
        "CASE typeof(?{number}) WHEN 'blob' THEN CAST(?{number} AS TEXT) WHEN 'text' THEN unhex(?{number}) ELSE ?{number} END"
    )
}
