//! Histograms, which MySQL keeps of columns for its optimizer. They come back as they are, whatever the server would make of the rows now:
//! <https://dev.mysql.com/doc/refman/8.4/en/analyze-table.html>.

use std::collections::BTreeSet;

use backup_core::{Ctx, Object, Result};

use super::Reading;
use crate::connect::{Connection, Version};
use crate::ddl::quote::{identifier, text};
use crate::error::printable;

/// `ANALYZE TABLE` makes them of data since then.
pub(crate) const SINCE: (u32, u32, u32) = (8, 0, 31);
/// And of the rows alone before.
const OF_ROWS_SINCE: (u32, u32, u32) = (8, 0, 2);

/// Whether a server takes a histogram as it is said here.
pub(crate) fn takes(version: &Version) -> bool {
    !version.is_mariadb && version.number >= SINCE
}

/// The tables of the database that have some.
pub(super) async fn tables(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
) -> Result<BTreeSet<String>> {
    if connection.version.is_mariadb || connection.version.number < OF_ROWS_SINCE {
        return Ok(BTreeSet::new());
    }
    let sql = format!(
        "SELECT DISTINCT TABLE_NAME FROM information_schema.COLUMN_STATISTICS WHERE SCHEMA_NAME = {}",
        text(database)
    );
    connection.rows(ctx, &sql).await?.into_iter().map(|row| Reading::new(row).text()).collect()
}

/// The statements that make those of a table.
pub(crate) async fn statements(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    table: &str,
) -> Result<Vec<String>> {
    let (of, has_data) = (identifier(table), takes(&connection.version));
    let sql = format!(
        "SELECT COLUMN_NAME, HISTOGRAM, CAST(HISTOGRAM->>'$.\"number-of-buckets-specified\"' AS CHAR)
         FROM information_schema.COLUMN_STATISTICS WHERE SCHEMA_NAME = {} AND TABLE_NAME = {} ORDER BY COLUMN_NAME",
        text(database),
        text(table)
    );
    let mut statements = Vec::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (column, data, buckets) = (identifier(&row.text()?), row.text()?, row.number()?);
        let made_of =
            if has_data { format!("USING DATA {}", text(&data)) } else { format!("WITH {buckets} BUCKETS") };
        statements.push(format!("ANALYZE TABLE {of} UPDATE HISTOGRAM ON {column} {made_of}"));
    }
    Ok(statements)
}

/// Makes one. Where the server does not take it, that is told: nothing else depends on it.
pub(crate) async fn make(ctx: &Ctx, connection: &mut Connection, of: &Object, sql: &str) -> Result<()> {
    // It says what is wrong in rows, and not by an error.
    for row in connection.rows(ctx, sql).await? {
        let mut row = Reading::new(row);
        let (_table, _operation, kind, message) =
            (row.maybe()?, row.maybe()?, row.text()?, row.maybe()?.unwrap_or_default());
        if kind.eq_ignore_ascii_case("error") {
            let message = printable(&message);
            ctx.warn(format!("{of} are not as they were: the server does not take one: {message}"));
        }
    }
    Ok(())
}
