//! What is restored beside other objects is marked by its name, until it is complete.

use std::collections::BTreeSet;

use backup_core::{Ctx, Result};

use super::contents::{MARKED, MARKER_OF_SOME, Named};
use crate::catalog::Reading;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};
use crate::error::code;
use crate::snapshot::is_denied;

/// ER_NO_SUCH_TABLE.
const NO_SUCH_TABLE: u16 = 1146;
/// ER_GTID_UNSAFE_CREATE_SELECT: MySQL before 8.0.21 makes no table and rows in one.
const NOT_IN_ONE: u16 = 1786;

fn marker(database: &str) -> String {
    format!("{}.{}", identifier(database), identifier(MARKER_OF_SOME))
}

/// The names of what an earlier restore left incomplete.
pub(super) async fn left(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    there: &BTreeSet<Named>,
) -> Result<BTreeSet<String>> {
    if !there.contains(&("TABLE", MARKER_OF_SOME.to_owned())) {
        return Ok(BTreeSet::new());
    }
    let rows = connection.rows(ctx, &format!("SELECT name FROM {}", marker(database))).await?;
    rows.into_iter().map(|row| Reading::new(row).text()).collect()
}

/// Marks what is about to be made, or filled.
pub(super) async fn mark(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    names: &BTreeSet<String>,
) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let marker = marker(database);
    let make = format!("CREATE TABLE IF NOT EXISTS {marker} {MARKED}");
    let rows: Vec<_> = names.iter().map(|name| format!("SELECT {} AS name", text(name))).collect();
    // Were it there without rows when we are killed, it would mark the database and name nothing that may be replaced.
    let in_one = format!("{make} {}", rows.join(" UNION ALL "));
    let made = match connection.define(ctx, in_one.as_bytes()).await {
        Err(error) if code(&error) == Some(NOT_IN_ONE) => connection.define(ctx, make.as_bytes()).await,
        made => made,
    };
    match made {
        Err(error) if is_denied(&error) => {
            ctx.warn("the account may not make a table: if this restore is killed, nothing says that it is incomplete");
            return Ok(());
        }
        done => done?,
    };
    let names: Vec<_> = names.iter().map(|name| format!("({})", text(name))).collect();
    connection.execute(ctx, &format!("INSERT IGNORE INTO {marker} VALUES {}", names.join(", "))).await?;
    Ok(())
}

/// They are complete, or gone again.
pub(super) async fn unmark(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    names: &BTreeSet<String>,
) -> Result<()> {
    let marker = marker(database);
    let names: Vec<_> = names.iter().map(|name| text(name)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let others = async {
        connection
            .execute(ctx, &format!("DELETE FROM {marker} WHERE name IN ({})", names.join(", ")))
            .await?;
        connection.rows(ctx, &format!("SELECT 1 FROM {marker} LIMIT 1")).await
    };
    match others.await {
        // It was not made, or another restore that ended has dropped it.
        Err(error) if code(&error) == Some(NO_SUCH_TABLE) || is_denied(&error) => {}
        others => {
            if others?.is_empty() {
                connection.define(ctx, format!("DROP TABLE IF EXISTS {marker}").as_bytes()).await?;
            }
        }
    }
    Ok(())
}
