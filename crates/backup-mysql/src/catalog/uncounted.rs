//! Rows that have no number in a column that counts: a load would give them one.

use backup_core::{Ctx, Result};

use super::Reading;
use super::table::Table;
use crate::connect::Connection;
use crate::ddl::quote::identifier;

/// The column that counts, and the largest number in it, if some rows have none.
pub(super) async fn of(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
) -> Result<Option<(String, String)>> {
    let Some(column) = &table.nullable_counter else { return Ok(None) };
    let name = identifier(column);
    let sql =
        format!("SELECT COALESCE(MAX({name}), 0) FROM {} HAVING COUNT(*) > COUNT({name})", table.from());
    let row = connection.rows(ctx, &sql).await?.into_iter().next();
    row.map(|row| Ok((column.clone(), Reading::new(row).text()?))).transpose()
}
