//! Rows that have no number in a column that counts: a load would give them one. So each goes in under a number that no other has, which is taken away again.

use backup_core::{Ctx, Error, Result};
use serde::{Deserialize, Serialize};

use super::column::{Column, Kind};
use super::table::Table;
use super::{Reading, inserts};
use crate::connect::Connection;
use crate::ddl::create::CreateTable;
use crate::ddl::quote::identifier;

/// How such rows of a table are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Uncounted {
    columns: Vec<Kind>,
    insert: String,
    select: String,
    /// What takes the number away.
    update: String,
}

/// Those of a table, if it has any, and the condition for its other rows.
pub(super) async fn of(
    ctx: &Ctx,
    connection: &mut Connection,
    table: &Table,
) -> Result<Option<(Uncounted, String)>> {
    let Some(counter) = table.nullable_counter.as_ref() else { return Ok(None) };
    let (name, from) = (identifier(counter), table.from());
    // Where none has it, 0 is within any type.
    let sql = format!(
        "SELECT IF(COALESCE(SUM({name} = 0), 0) = 0, 0, MAX({name}) + 1) FROM {from} HAVING COUNT(*) > COUNT({name})"
    );
    let Some(row) = connection.rows(ctx, &sql).await?.into_iter().next() else { return Ok(None) };
    if table.versioned {
        return Err(refused(table, "it is system-versioned"));
    }
    let number = Reading::new(row).text()?;
    // Said so that the server looks into all partitions, whatever belongs there.
    let counted = format!("COALESCE({name})");
    let selected = |column: &Column| match column.name == *counter {
        true => number.clone(),
        false => column.selected(),
    };
    let selected: Vec<_> = table.columns.iter().map(selected).collect();
    let names: Vec<_> = table.columns.iter().map(|column| identifier(&column.name)).collect();
    let of = identifier(&table.name);
    let uncounted = Uncounted {
        columns: table.columns.iter().map(|column| column.kind).collect(),
        insert: format!("INSERT INTO {of} ({}) VALUES\n", names.join(",")),
        select: format!("SELECT {} FROM {from} WHERE {counted} IS NULL", selected.join(",")),
        update: format!("UPDATE {of} SET {name} = NULL WHERE {name} = {number}"),
    };
    Ok(Some((uncounted, format!("{counted} IS NOT NULL"))))
}

/// Rows without a number that nothing would bring back without one.
pub(super) fn refused(table: &Table, why: &str) -> Error {
    let name = table.name.escape_debug();
    Error::unsupported(format!(
        "table {name} has rows without a number in its AUTO_INCREMENT column, and they would get one: {why}"
    ))
    .hint("leave the table out (--exclude)")
}

impl Uncounted {
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.columns
    }

    /// The statements that make them, and that the table of this CREATE TABLE counts on from where it did.
    pub(crate) async fn statements(
        &self,
        ctx: &Ctx,
        connection: &mut Connection,
        table: &str,
        create: &str,
    ) -> Result<Vec<Vec<u8>>> {
        let mut statements = Vec::new();
        for insert in inserts::of(ctx, connection, &self.insert, &self.columns, &self.select, true).await? {
            statements.push(insert);
            statements.push(self.update.clone().into_bytes());
        }
        let next = CreateTable::parse(create)?.option("AUTO_INCREMENT");
        let next = next.map(|next| format!("ALTER TABLE {} AUTO_INCREMENT = {next}", identifier(table)));
        statements.extend(next.map(String::into_bytes));
        Ok(statements)
    }
}
