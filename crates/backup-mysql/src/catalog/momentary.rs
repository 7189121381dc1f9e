//! Versions of rows that ended in the moment in which they began. MariaDB keeps them and takes none from anybody: so they are made as they were, at that
//! time, by a statement that inserts and one that deletes.

use backup_core::{Ctx, Result};
use serde::{Deserialize, Serialize};

use super::Reading;
use super::column::{Column, Kind};
use super::table::Table;
use crate::connect::{Connection, Piece};
use crate::ddl::quote::identifier;
use crate::ddl::value::Literals;

/// About how long one INSERT is, if no row is longer.
const INSERT: usize = 512 << 10;

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
        let Self { select, from, begins, .. } = self;
        let times = format!("SELECT DISTINCT UNIX_TIMESTAMP({begins}) {from} ORDER BY 1");
        let mut statements = Vec::new();
        for time in connection.rows(ctx, &times).await? {
            let time = Reading::new(time).text()?;
            let select = format!("{select} {from} AND {begins} = FROM_UNIXTIME({time})");
            statements.push(format!("SET SESSION timestamp = {time}").into_bytes());
            statements.extend(self.inserts(ctx, connection, &select).await?);
            statements.push(format!("DELETE FROM {}", identifier(table)).into_bytes());
        }
        statements.push(b"SET SESSION timestamp = DEFAULT".to_vec());
        Ok(statements)
    }

    async fn inserts(&self, ctx: &Ctx, connection: &mut Connection, select: &str) -> Result<Vec<Vec<u8>>> {
        let read = async {
            let (mut inserts, mut insert) = (Vec::new(), Vec::new());
            let mut rows = connection.stream(select).await?;
            let mut literals = Literals::new(&self.columns);
            while let Some(piece) = rows.next().await? {
                let is_whole = match piece {
                    Piece::Whole(bytes) => {
                        literals.piece(bytes)?;
                        true
                    }
                    Piece::First(bytes) | Piece::Next(bytes) => {
                        literals.piece(&bytes)?;
                        false
                    }
                    Piece::End => true,
                };
                if !is_whole {
                    continue;
                }
                literals.end()?;
                insert.extend_from_slice(if insert.is_empty() { self.insert.as_bytes() } else { b",\n" });
                insert.append(&mut literals.out);
                if insert.len() >= INSERT {
                    inserts.push(std::mem::take(&mut insert));
                }
            }
            inserts.extend((!insert.is_empty()).then_some(insert));
            Ok(inserts)
        };
        ctx.run(read).await
    }
}
