//! How large a table is, roughly, without reading it: always the same for an unchanged database.

use backup_core::{Error, Result};
use rusqlite::{Connection, Row, Statement};

use super::split::{self, ROWS_PER_PROBE, Range};
use super::table::Table;
use crate::ddl::quote::identifier;
use crate::error::Doing;

/// How many rows of a table that cannot be split are counted.
const COUNTED: i64 = 100_000;

/// The ranges that a table is read in, and their sizes. One range is the whole table, from end to end.
pub(crate) fn ranges(connection: &Connection, name: &str, table: &Table) -> Result<Vec<Range>> {
    let whole = |bytes| vec![Range { low: i64::MIN, high: i64::MAX, bytes }];
    let fields = table.spec.names(&table.columns);
    let from = format!("main.{} NOT INDEXED", identifier(name));
    // The lengths are in the header of a row: large values are not read for them.
    let length = |field: &String| format!("octet_length({field})");
    let Some((at, key)) = table.spec.key.and_then(|key| Some((key, fields.get(key)?))) else {
        let lengths: Vec<_> = fields.iter().map(length).collect();
        return Ok(whole(unsplit(connection, name, &from, &lengths.join(","))?));
    };
    let doing = || format!("estimate table {}", name.escape_debug());
    let others = fields.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, field)| length(field));
    let key_and_lengths: Vec<_> = std::iter::once(key.clone()).chain(others).collect();
    let key_and_lengths = key_and_lengths.join(",");
    let prepare = |sql: String| connection.prepare(&sql).doing(doing);
    let mut rows = prepare(format!(
        "SELECT {key_and_lengths} FROM {from} WHERE {key} >= ?1 ORDER BY {key} LIMIT {ROWS_PER_PROBE}"
    ))?;
    // Most tables of a database with many are small: one look shows all of theirs.
    let first = probe(&mut rows, name, i64::MIN)?;
    let bytes = first.iter().fold(0u64, |sum, (_, size)| sum.saturating_add(*size));
    if first.len() < ROWS_PER_PROBE && bytes <= split::TARGET {
        return Ok(whole(bytes));
    }
    let mut probed = Probed {
        name,
        lowest: prepare(format!("SELECT min({key}) FROM {from} WHERE {key} BETWEEN ?1 AND ?2"))?,
        highest: prepare(format!("SELECT max({key}) FROM {from} WHERE {key} BETWEEN ?1 AND ?2"))?,
        rows,
    };
    let mut ranges = split::ranges(&mut probed, split::TARGET)?;
    if let [only] = ranges.as_mut_slice() {
        (only.low, only.high) = (i64::MIN, i64::MAX);
    }
    Ok(if ranges.is_empty() { whole(0) } else { ranges })
}

struct Probed<'c> {
    name: &'c str,
    lowest: Statement<'c>,
    highest: Statement<'c>,
    rows: Statement<'c>,
}

impl split::Rows for Probed<'_> {
    fn ends(&mut self, low: i64, high: i64) -> Result<Option<(i64, i64)>> {
        let doing = || format!("find the rowids of table {}", self.name.escape_debug());
        let lowest: Option<i64> = self.lowest.query_row([low, high], |row| row.get(0)).doing(doing)?;
        let highest: Option<i64> = self.highest.query_row([low, high], |row| row.get(0)).doing(doing)?;
        Ok(lowest.zip(highest))
    }

    fn probe(&mut self, low: i64) -> Result<Vec<(i64, u64)>> {
        probe(&mut self.rows, self.name, low)
    }
}

fn probe(rows: &mut Statement<'_>, name: &str, low: i64) -> Result<Vec<(i64, u64)>> {
    let doing = || format!("sample table {}", name.escape_debug());
    let rows = rows.query_map([low], |row| Ok((row.get(0)?, row_size(row, 1)?))).doing(doing)?;
    rows.collect::<rusqlite::Result<_>>().doing(doing)
}

/// The bytes of a table that is read in one go: those of its first rows, for as many as there are.
fn unsplit(connection: &Connection, name: &str, from: &str, lengths: &str) -> Result<u64> {
    let doing = || format!("estimate table {}", name.escape_debug());
    let sample = format!("SELECT {lengths} FROM {from} LIMIT 64");
    let mut statement = connection.prepare(&sample).doing(doing)?;
    let sizes = statement.query_map((), |row| row_size(row, 0)).doing(doing)?;
    let sizes: Vec<u64> = sizes.collect::<rusqlite::Result<_>>().doing(doing)?;
    let (rows, bytes) = (sizes.len() as u64, sizes.iter().sum::<u64>());
    if rows < 64 {
        return Ok(bytes);
    }
    let count = format!("SELECT count(*) FROM (SELECT 1 FROM {from} LIMIT {COUNTED})");
    let count: i64 = connection.query_row(&count, (), |row| row.get(0)).doing(doing)?;
    // Where counting stopped there may be many more: such a table should start early.
    let count = if count < COUNTED { count } else { count.saturating_mul(16) };
    let count = u64::try_from(count).map_err(|_| Error::internal("a table has a negative count"))?;
    Ok(bytes.saturating_mul(count) / rows)
}

/// The sum of the lengths in a row from the column `first` on, and a byte or two for the head of each value.
fn row_size(row: &Row<'_>, first: usize) -> rusqlite::Result<u64> {
    let columns = row.as_ref().column_count();
    (first..columns).try_fold(2u64, |sum, i| {
        let length = row.get::<_, Option<i64>>(i)?.unwrap_or(0);
        Ok(sum.saturating_add(2).saturating_add(length.try_into().unwrap_or(0)))
    })
}
