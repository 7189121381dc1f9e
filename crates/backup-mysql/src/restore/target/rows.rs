//! Rows alone, into tables that are there.

use std::collections::BTreeSet;

use backup_core::{Ctx, Error, ErrorKind, Part, Result};

use super::{Target, came};
use crate::catalog::Reading;
use crate::catalog::spec::{RowsSpec, spec};
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};
use crate::restore::contents::Named;

impl Target {
    /// An error if one of the tables that had no rows has some now.
    pub(super) async fn are_still_empty(
        &self,
        ctx: &Ctx,
        connection: &mut Connection,
        database: &str,
    ) -> Result<()> {
        let filled: BTreeSet<_> = self.in_the_way.iter().map(|(_, name)| name).collect();
        for table in self.names.iter().filter(|name| !filled.contains(name)) {
            if has_rows(ctx, connection, database, table, self.histories.contains(table)).await? {
                return Err(came(&format!("rows in table {} of the target", table.escape_debug())));
            }
        }
        Ok(())
    }

    /// Takes all rows out of a table, and out of its history.
    pub(super) async fn empty(
        &self,
        ctx: &Ctx,
        connection: &mut Connection,
        database: &str,
        table: &str,
    ) -> Result<()> {
        let full_name = format!("{}.{}", identifier(database), identifier(table));
        connection.execute(ctx, &format!("DELETE FROM {full_name}")).await?;
        if self.histories.contains(table) {
            connection.execute(ctx, &format!("DELETE HISTORY FROM {full_name}")).await?;
        }
        Ok(())
    }
}

/// The tables that rows are for and that keep a history: it is replaced with the rows, and an error if the account may not do that.
pub(super) async fn histories(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    parts: &[Part],
) -> Result<BTreeSet<String>> {
    let sql = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_TYPE = 'SYSTEM VERSIONED'",
        text(database)
    );
    let tables = with_rows(parts);
    let mut histories = BTreeSet::new();
    for row in connection.rows(ctx, &sql).await? {
        let table = Reading::new(row).text()?;
        if tables.contains(table.as_str()) {
            // Which is not run.
            let delete = format!("DELETE HISTORY FROM {}.{}", identifier(database), identifier(&table));
            let prepared = connection.execute(ctx, &format!("PREPARE lifeboat FROM {}", text(&delete))).await;
            prepared.map_err(|error| error.hint("the account needs DELETE HISTORY on the database"))?;
            histories.insert(table);
        }
    }
    Ok(histories)
}

/// The tables that rows are for and that have some; it is an error if one is not there.
pub(super) async fn filled(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    there: &BTreeSet<Named>,
    histories: &BTreeSet<String>,
    parts: &[Part],
) -> Result<BTreeSet<Named>> {
    let tables = with_rows(parts);
    let mut filled = BTreeSet::new();
    for table in tables {
        let named = ("TABLE", table.to_owned());
        if !there.contains(&named) {
            let missing = format!("the target has no table {}", table.escape_debug());
            return Err(Error::new(ErrorKind::NotFound, missing).hint("restore the schema too"));
        }
        if has_rows(ctx, connection, database, table, histories.contains(table)).await? {
            filled.insert(named);
        }
    }
    Ok(filled)
}

async fn has_rows(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    table: &str,
    has_history: bool,
) -> Result<bool> {
    let of_history = if has_history { " FOR SYSTEM_TIME ALL" } else { "" };
    let sql = format!("SELECT 1 FROM {}.{}{of_history} LIMIT 1", identifier(database), identifier(table));
    Ok(!connection.rows(ctx, &sql).await?.is_empty())
}

/// The tables that rows go into, also where they come out of a script, as statements.
pub(super) fn with_rows(parts: &[Part]) -> BTreeSet<&str> {
    let rows = parts.iter().filter(|part| spec::<RowsSpec>(part).is_ok());
    rows.map(|part| part.object.name.as_str()).collect()
}

/// Triggers cannot be made to sleep, and would change the rows that are restored, and others.
pub(super) async fn sets_off_nothing(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    parts: &[Part],
    events: &[&str],
) -> Result<()> {
    let sql = format!(
        "SELECT EVENT_OBJECT_TABLE, EVENT_MANIPULATION, TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {}",
        text(database)
    );
    let tables = with_rows(parts);
    let mut triggers = Vec::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (table, event, trigger) = (row.text()?, row.text()?, row.text()?);
        // MariaDB 12 has triggers of several events.
        let is_set_off = event.split(',').any(|event| events.contains(&event.trim()));
        if tables.contains(table.as_str()) && is_set_off {
            triggers.push(trigger.escape_debug().to_string());
        }
    }
    if triggers.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "rows alone would set off triggers of the target: {}",
        triggers.join(", ")
    ))
    .hint("restore the schema too, or drop these triggers and make them again when the rows are there"))
}
