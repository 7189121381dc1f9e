//! Geometries that are nothing at all, as ALTER TABLE of MariaDB leaves them in the rows that are there. No server takes such a value; but one that is not said
//! becomes so.

use backup_core::{Ctx, Result};
use serde::{Deserialize, Serialize};

use super::column::{Column, GEOMETRIES, Kind};
use super::table::Table;
use super::{Reading, inserts};
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};

/// How the rows of a table are read in which the same columns are empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Empty {
    columns: Vec<Kind>,
    insert: String,
    select: String,
}

/// Those of a table, if it has any, and the condition for its other rows.
pub(super) async fn of(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
) -> Result<Option<(Vec<Empty>, String)>> {
    let may_be = |column: &Column| GEOMETRIES.contains(&column.declared.as_str());
    if !connection.version.is_mariadb || table.versioned || !table.columns.iter().any(may_be) {
        return Ok(None);
    }
    let places = places(ctx, connection, &table.name).await?;
    // One needs something that can be said.
    if places.is_empty() || table.columns.iter().all(|column| places.contains(&column.name)) {
        return Ok(None);
    }
    let lengths: Vec<_> = places.iter().map(|place| format!("LENGTH({}) <=> 0", identifier(place))).collect();
    let from = table.from();
    let which = format!("SELECT DISTINCT {} FROM {from} WHERE {}", lengths.join(","), lengths.join(" OR "));
    let mut found = Vec::new();
    for row in connection.rows(ctx, &which).await? {
        let mut row = Reading::new(row);
        let (mut empty, mut condition) = (Vec::new(), Vec::new());
        for (place, length) in places.iter().zip(&lengths) {
            let is_empty = row.number()? == 1;
            empty.extend(is_empty.then_some(place));
            condition.push(format!("({length}) = {}", u8::from(is_empty)));
        }
        let others = table.columns.iter().filter(|column| !empty.contains(&&column.name));
        let others: Vec<_> = others.collect();
        let names: Vec<_> = others.iter().map(|column| identifier(&column.name)).collect();
        let selected: Vec<_> = others.iter().map(|column| column.selected()).collect();
        found.push(Empty {
            columns: others.iter().map(|column| column.kind).collect(),
            insert: format!("INSERT INTO {} ({}) VALUES\n", identifier(&table.name), names.join(",")),
            select: format!("SELECT {} FROM {from} WHERE {}", selected.join(","), condition.join(" AND ")),
        });
    }
    Ok((!found.is_empty()).then(|| (found, format!("NOT ({})", lengths.join(" OR ")))))
}

/// The columns of geometries that have no value if none is said, and no index that would not take such a one.
async fn places(ctx: &Ctx, connection: &mut Connection, table: &str) -> Result<Vec<String>> {
    let of = format!("TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {}", text(table));
    let types: Vec<_> = GEOMETRIES.iter().map(|geometry| text(geometry)).collect();
    let sql = format!(
        "SELECT COLUMN_NAME FROM information_schema.COLUMNS WHERE {of} AND IS_NULLABLE = 'NO' AND COLUMN_DEFAULT IS NULL AND DATA_TYPE IN ({}) \
         AND COLUMN_NAME NOT IN (SELECT COLUMN_NAME FROM information_schema.STATISTICS WHERE {of} AND INDEX_TYPE = 'SPATIAL') ORDER BY ORDINAL_POSITION",
        types.join(",")
    );
    connection.rows(ctx, &sql).await?.into_iter().map(|row| Reading::new(row).text()).collect()
}

impl Empty {
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.columns
    }

    /// The statements that make them.
    pub(crate) async fn statements(&self, ctx: &Ctx, connection: &mut Connection) -> Result<Vec<Vec<u8>>> {
        inserts::of(ctx, connection, &self.insert, &self.columns, &self.select, false).await
    }
}
