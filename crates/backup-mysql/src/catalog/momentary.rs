//! Versions of rows that ended in the moment in which they began. MariaDB keeps them and takes none from anybody: so they are made as they were, at that
//! time, by a statement that inserts and one that deletes.

use backup_core::{Ctx, Result};
use serde::{Deserialize, Serialize};

use super::column::{Column, Kind};
use super::table::Table;
use super::{Reading, inserts};
use crate::connect::Connection;
use crate::ddl::quote::identifier;

/// How such versions of a table are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Momentary {
    columns: Vec<Kind>,
    /// What an INSERT begins with.
    insert: String,
    select: String,
    /// Where they are, from FROM on.
    from: String,
    /// The column in which a version begins.
    begins: String,
}

/// Those of a table, if it has any, and the condition for its other rows.
pub(super) async fn of(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
) -> Result<Option<(Momentary, String)>> {
    let [columns @ .., begins, ends] = table.columns.as_slice() else { return Ok(None) };
    if !table.versioned {
        return Ok(None);
    }
    let (begins, ends) = (identifier(&begins.name), identifier(&ends.name));
    let from = format!("FROM {} WHERE {begins} = {ends}", table.from());
    if connection.rows(ctx, &format!("SELECT 1 {from} LIMIT 1")).await?.is_empty() {
        return Ok(None);
    }
    let selected: Vec<_> = columns.iter().map(Column::selected).collect();
    let names: Vec<_> = columns.iter().map(|column| identifier(&column.name)).collect();
    let momentary = Momentary {
        columns: columns.iter().map(|column| column.kind).collect(),
        insert: format!("INSERT INTO {} ({}) VALUES\n", identifier(&table.name), names.join(",")),
        select: format!("SELECT {}", selected.join(",")),
        from,
        begins: begins.clone(),
    };
    Ok(Some((momentary, format!("{begins} < {ends}"))))
}

impl Momentary {
    /// The statements that make them, in a table that has no other rows yet.
    pub(crate) async fn statements(
        &self,
        ctx: &Ctx,
        connection: &mut Connection,
        table: &str,
    ) -> Result<Vec<Vec<u8>>> {
        let Self { columns, insert, select, from, begins } = self;
        let times = format!("SELECT DISTINCT UNIX_TIMESTAMP({begins}) {from} ORDER BY 1");
        let mut statements = Vec::new();
        for time in connection.rows(ctx, &times).await? {
            let time = Reading::new(time).text()?;
            let select = format!("{select} {from} AND {begins} = FROM_UNIXTIME({time})");
            statements.push(format!("SET SESSION timestamp = {time}").into_bytes());
            statements.extend(inserts::of(ctx, connection, insert, columns, &select, false).await?);
            statements.push(format!("DELETE FROM {}", identifier(table)).into_bytes());
        }
        statements.push(b"SET SESSION timestamp = DEFAULT".to_vec());
        Ok(statements)
    }
}
