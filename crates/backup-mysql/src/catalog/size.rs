//! How large a table is, roughly, without reading it: always the same for an unchanged database, which what the server
//! estimates is not.

use backup_core::{Ctx, During, Error, Result};

use super::table::Table;
use crate::connect::Connection;
use crate::ddl::quote::identifier;
use crate::error::{code, is_broken_off, malformed};

/// A table of fewer rows is small.
const FEW: u64 = 257;
/// How many tables are looked at by one statement.
const TABLES: usize = 64;
/// How many rows of a table that cannot be split are counted.
const COUNTED: u64 = 100_000;
/// How many rows are measured.
const SAMPLE: u64 = 64;

/// How many rows each of some tables has, up to [`FEW`]; nothing of one whose tablespace was discarded, which has none.
pub(crate) async fn few_rows(
    ctx: &Ctx,
    connection: &mut Connection,
    tables: &[&Table],
) -> Result<Vec<Option<u64>>> {
    let mut counts = Vec::with_capacity(tables.len());
    for some in tables.chunks(TABLES) {
        match count(ctx, connection, some).await {
            // Of one of them, which is not always said.
            Err(error) if code(&error).is_some() && !is_broken_off(&error) => {
                for table in some {
                    counts.push(match count(ctx, connection, &[*table]).await {
                        Err(error) if is_discarded(&error) => None,
                        done => done
                            .during(|| format!("count rows of table {}", table.name.escape_debug()))?
                            .first()
                            .copied(),
                    });
                }
            }
            done => counts.extend(done?.into_iter().map(Some)),
        }
    }
    Ok(counts)
}

async fn count(ctx: &Ctx, connection: &mut Connection, tables: &[&Table]) -> Result<Vec<u64>> {
    let count =
        |table: &Table| format!("SELECT COUNT(*) FROM (SELECT 1 FROM {} LIMIT {FEW}) few", table.from());
    let counted: Vec<_> =
        tables.iter().enumerate().map(|(i, table)| format!("SELECT {i}, ({})", count(table))).collect();
    let mut found = vec![0; tables.len()];
    for row in connection.rows(ctx, &counted.join(" UNION ALL ")).await? {
        let mut row = super::Reading::new(row);
        let at = usize::try_from(row.number()?).ok().and_then(|i| found.get_mut(i));
        *at.ok_or_else(|| malformed("a row that was not asked for"))? = row.number()?;
    }
    Ok(found)
}

/// ER_TABLESPACE_DISCARDED.
pub(super) fn is_discarded(error: &Error) -> bool {
    code(error) == Some(1814)
}

/// Whether the tablespace of a sequence was discarded: MariaDB says that by a number of InnoDB's own.
pub(super) async fn is_sequence_discarded(
    ctx: &Ctx,
    connection: &mut Connection,
    sequence: &str,
) -> Result<bool> {
    match connection.rows(ctx, &format!("SELECT 1 FROM {}", identifier(sequence))).await {
        Err(error) if is_discarded(&error) => Ok(true),
        Err(error) if code(&error) == Some(1030) && error.to_string().contains("error 194 ") => Ok(true),
        read => read.map(|_| false),
    }
}

pub(crate) fn is_small(rows: u64) -> bool {
    rows < FEW
}

/// About how large a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) bytes: u64,
    /// The length of a row, by those at its start.
    pub(crate) row_bytes: u64,
    /// There are more rows than were counted.
    pub(crate) has_more: bool,
}

/// The size of a table that is not small.
pub(crate) async fn estimate(ctx: &Ctx, connection: &mut Connection, table: &Table) -> Result<Size> {
    let from = table.from();
    let names = table.columns.iter().map(|column| identifier(&column.name));
    let lengths: Vec<_> = names.map(|name| format!("COALESCE(OCTET_LENGTH({name}),0)+1")).collect();
    let sample = format!(
        "SELECT COALESCE(SUM(bytes),0), COUNT(*) FROM (SELECT {} AS bytes FROM {from} LIMIT {SAMPLE}) sample",
        lengths.join("+")
    );
    let mut sampled = super::Reading::new(connection.row(ctx, &sample).await?);
    let (bytes, rows) = (sampled.number()?, sampled.number()?.max(1));
    let count = format!("SELECT COUNT(*) FROM (SELECT 1 FROM {from} LIMIT {COUNTED}) counted");
    let count = super::Reading::new(connection.row(ctx, &count).await?).number()?;
    // Where counting stopped there may be many more: such a table should start early.
    let has_more = count >= COUNTED;
    let count = if has_more { count.saturating_mul(16) } else { count };
    Ok(Size { bytes: bytes.saturating_mul(count) / rows, row_bytes: bytes / rows, has_more })
}
