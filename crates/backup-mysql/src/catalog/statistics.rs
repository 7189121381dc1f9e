//! Statistics that MariaDB keeps of tables for its optimizer, whatever their engine, until somebody has them made anew. They lie in tables of the server's
//! own: <https://mariadb.com/kb/en/engine-independent-table-statistics/>.

use std::collections::BTreeSet;

use backup_core::{Ctx, Result};

use super::Reading;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};
use crate::snapshot::is_denied;

/// What is kept of tables, columns and keys.
const TABLES: [&str; 3] = ["table_stats", "column_stats", "index_stats"];

/// What makes the server look again.
pub(crate) const FLUSH: &str = "FLUSH TABLES ";

/// The tables of the database that have some, if the account may see them.
pub(super) async fn tables(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
) -> Result<BTreeSet<String>> {
    if !connection.version.is_mariadb {
        return Ok(BTreeSet::new());
    }
    let of = text(database);
    let each = TABLES.map(|table| format!("SELECT table_name FROM mysql.{table} WHERE db_name = {of}"));
    match connection.rows(ctx, &each.join(" UNION ")).await {
        Err(error) if is_denied(&error) => Ok(BTreeSet::new()),
        rows => rows?.into_iter().map(|row| Reading::new(row).text()).collect(),
    }
}

/// The statements that make those of a table of the database of the session.
pub(crate) async fn statements(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    table: &str,
) -> Result<Vec<String>> {
    // A table that is open has been asked for its statistics already.
    let flush = format!("{FLUSH}{}", identifier(table));
    let (database, table) = (text(database), text(table));
    let mut statements = Vec::new();
    for of in TABLES {
        let sql = format!(
            "SELECT COLUMN_NAME, DATA_TYPE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'mysql' AND TABLE_NAME = {} \
             AND COLUMN_NAME NOT IN ('db_name', 'table_name') ORDER BY ORDINAL_POSITION",
            text(of)
        );
        let (mut names, mut selected) = (Vec::new(), Vec::new());
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (name, kind) = (identifier(&row.text()?), row.text()?);
            let is_bytes = kind.ends_with("binary") || kind.ends_with("blob");
            selected.push(if is_bytes { format!("HEX({name})") } else { name.clone() });
            names.push((name, is_bytes));
        }
        let rows = format!(
            "SELECT {} FROM mysql.{of} WHERE db_name = {database} AND table_name = {table}",
            selected.join(", ")
        );
        for row in connection.rows(ctx, &rows).await? {
            let mut row = Reading::new(row);
            let mut values = Vec::new();
            for (_, is_bytes) in &names {
                values.push(match row.maybe()? {
                    None => "NULL".to_owned(),
                    Some(hex) if *is_bytes => format!("X{}", text(&hex)),
                    Some(value) => text(&value),
                });
            }
            let names: Vec<_> = names.iter().map(|(name, _)| name.as_str()).collect();
            statements.push(format!(
                "REPLACE INTO mysql.{of} (db_name, table_name, {}) VALUES (DATABASE(), {table}, {})",
                names.join(", "),
                values.join(", ")
            ));
        }
    }
    statements.push(flush);
    Ok(statements)
}
