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

/// The versions of a table that no server takes.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) momentary: Option<Momentary>,
    /// Some ended before they began: a cascade of InnoDB makes such where the clock was put back. Nothing makes them again.
    pub(super) are_backward: bool,
    /// The condition for the other rows.
    pub(super) others: String,
}

/// Those of a table, if it has any.
pub(super) async fn of(ctx: &Ctx, connection: &mut Connection, table: &Table) -> Result<Option<Refused>> {
    let [columns @ .., begins, ends] = table.columns.as_slice() else { return Ok(None) };
    if !table.versioned {
        return Ok(None);
    }
    let (begins, ends) = (identifier(&begins.name), identifier(&ends.name));
    let from = table.from();
    let mut found = Vec::new();
    let which = format!("SELECT DISTINCT {begins} = {ends} FROM {from} WHERE {begins} >= {ends}");
    for row in connection.rows(ctx, &which).await? {
        found.push(Reading::new(row).number()? == 1);
    }
    if found.is_empty() {
        return Ok(None);
    }
    let from = format!("FROM {from} WHERE {begins} = {ends}");
    let selected: Vec<_> = columns.iter().map(Column::selected).collect();
    let names: Vec<_> = columns.iter().map(|column| identifier(&column.name)).collect();
    let momentary = Momentary {
        columns: columns.iter().map(|column| column.kind).collect(),
        insert: format!("INSERT INTO {} ({}) VALUES\n", identifier(&table.name), names.join(",")),
        select: format!("SELECT {}", selected.join(",")),
        from,
        begins: begins.clone(),
    };
    Ok(Some(Refused {
        momentary: found.contains(&true).then_some(momentary),
        are_backward: found.contains(&false),
        others: format!("{begins} < {ends}"),
    }))
}

impl Momentary {
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.columns
    }

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
