//! Whether rows that came in beside others keep to the foreign keys: no server looked at these while they were loaded.

use std::collections::BTreeSet;

use backup_core::{Ctx, Error, ErrorKind, Result};

use super::session::Session;
use crate::catalog::Reading;
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};
use crate::error::{code, is_broken_off};

/// A foreign key of a table of the database.
struct Key {
    name: String,
    of: String,
    /// The table that it refers to, and its database.
    to: (String, String),
    /// Columns of either.
    columns: Vec<(String, String)>,
}

/// Looks at the foreign keys of these tables, and those that refer to them. Rows that came in and lack what they refer to in a table that was there are an
/// error if there `may` be one. All others are told: they are as in the source, or the fault of what was there.
pub(super) async fn keys(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    restored: &BTreeSet<String>,
    may_fail: bool,
) -> Result<()> {
    // Servers that fold names say them folded.
    let restored: BTreeSet<_> = restored.iter().map(|name| name.to_lowercase()).collect();
    let came = |table: &str| restored.contains(&table.to_lowercase());
    for key in read(ctx, connection, database).await? {
        let (of, to) = (came(&key.of), key.to.0 == database && came(&key.to.1));
        if !of && !to {
            continue;
        }
        let is_error = may_fail && of && !to;
        match key.is_violated(ctx, connection, database).await {
            Ok(false) => {}
            Ok(true) if is_error => {
                return Err(Error::new(ErrorKind::Database, key.violated())
                    .hint("restore these rows too, or the schema with the rows: then it is only told"));
            }
            Ok(true) => ctx.warn(key.violated()),
            Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
            Err(error) if is_error && (code(&error).is_none() || is_broken_off(&error)) => return Err(error),
            Err(error) => {
                ctx.warn(format!("nobody knows whether rows keep to {}: {error}", key.called()));
            }
        }
    }
    Ok(())
}

/// The same where nothing of it may be an error: what was restored is complete, whatever becomes of the look. A connection of its own may be lost.
pub(super) async fn tell(ctx: &Ctx, config: &Config, restored: &BTreeSet<String>) -> Result<()> {
    let looked = async {
        let mut session = Session::open(ctx, config, false, true, true).await?;
        session.plain(ctx).await?;
        let looked = keys(ctx, &mut session.connection, &config.database, restored, false).await;
        session.connection.close().await;
        looked
    };
    match looked.await {
        Err(error) if error.kind() != ErrorKind::Cancelled => {
            ctx.warn(format!("nobody knows whether rows keep to foreign keys: {error}"));
            Ok(())
        }
        done => done,
    }
}

async fn read(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<Vec<Key>> {
    let sql = format!(
        "SELECT CONSTRAINT_NAME, TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME \
         FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = {} AND REFERENCED_TABLE_NAME IS NOT NULL \
         ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION",
        text(database)
    );
    let mut keys: Vec<Key> = Vec::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (name, of, from) = (row.text()?, row.text()?, row.text()?);
        let (schema, table, to) = (row.text()?, row.text()?, row.text()?);
        match keys.last_mut().filter(|key| key.name == name && key.of == of) {
            Some(key) => key.columns.push((from, to)),
            None => keys.push(Key { name, of, to: (schema, table), columns: vec![(from, to)] }),
        }
    }
    Ok(keys)
}

impl Key {
    /// Whether a row refers to one that is not there. One that is NULL in a column refers to none.
    async fn is_violated(&self, ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<bool> {
        let (schema, table) = &self.to;
        let refers = self.columns.iter().map(|(from, _)| format!("c.{} IS NOT NULL", identifier(from)));
        let is_it =
            self.columns.iter().map(|(from, to)| format!("p.{} = c.{}", identifier(to), identifier(from)));
        let sql = format!(
            "SELECT 1 FROM {}.{} c WHERE {} AND NOT EXISTS (SELECT 1 FROM {}.{} p WHERE {}) LIMIT 1",
            identifier(database),
            identifier(&self.of),
            refers.collect::<Vec<_>>().join(" AND "),
            identifier(schema),
            identifier(table),
            is_it.collect::<Vec<_>>().join(" AND ")
        );
        Ok(!connection.rows(ctx, &sql).await?.is_empty())
    }

    fn called(&self) -> String {
        format!("foreign key {} of table {}", self.name.escape_debug(), self.of.escape_debug())
    }

    fn violated(&self) -> String {
        format!("{}: rows refer to some that are not in table {}", self.called(), self.to.1.escape_debug())
    }
}
