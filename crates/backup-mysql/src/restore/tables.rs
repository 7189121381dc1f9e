//! Tables that name what this server lacks: without that they are as they were, and a warning says so.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Ctx, Part, Result};

use super::Restore;
use super::carry::named;
use super::session::Session;
use crate::catalog::Reading;
use crate::catalog::spec::wants;
use crate::catalog::want::{Want, tablespaces};
use crate::connect::{Connection, Done};
use crate::ddl::create::CreateTable;
use crate::ddl::quote::text;
use crate::error::code;

/// ER_TABLESPACE_MISSING_WITH_NAME, and ER_ILLEGAL_HA_CREATE_OPTION: a partition in a tablespace that others share.
const NO_TABLESPACE: [u16; 2] = [3510, 1478];
/// The DATA DIRECTORY is none that MySQL was told of, or the account may name none (ER_ACCESS_DENIED_ERROR: it lacks FILE).
const NO_DIRECTORY: [u16; 2] = [3121, 1045];
/// ER_BAD_DB_ERROR, ER_NO_SUCH_TABLE, ER_NOT_SEQUENCE: what a default counts by.
const NO_SEQUENCE: [u16; 3] = [1049, 1146, 4089];

impl Restore {
    /// Makes a table, or does what is to be done to one that was just made.
    pub(super) async fn table(&self, ctx: &Ctx, session: &mut Session, sql: &[u8]) -> Result<Done> {
        let done = session.connection.define(ctx, sql).await;
        let Err(error) = done else { return done };
        let Ok(said) = std::str::from_utf8(sql) else { return Err(error) };
        let (Some(number), Ok(table)) = (code(&error), CreateTable::parse(said)) else { return Err(error) };
        let name = table.name().unwrap_or_default().escape_debug();
        let without = if NO_TABLESPACE.contains(&number) {
            let Some((sql, tablespaces)) = table.without_tablespaces() else { return Err(error) };
            if !tablespaces.iter().all(|name| self.lost_tablespaces.contains(name)) {
                ctx.warn(format!(
                    "table {name} is not in the tablespace that it was in, but in its own: {error}"
                ));
            }
            sql
        } else if NO_DIRECTORY.contains(&number) {
            let Some(sql) = table.without_directories() else { return Err(error) };
            ctx.warn(format!(
                "table {name} is not in the directory that it was in, but in its database's: {error}"
            ));
            sql
        } else if NO_SEQUENCE.contains(&number) {
            let mut columns = Vec::new();
            for (column, sequences) in table.counting_columns() {
                for (database, sequence) in sequences {
                    if !is_sequence(ctx, session, database.as_deref(), &sequence).await? {
                        columns.push(column);
                    }
                }
            }
            if columns.is_empty() {
                return Err(error);
            }
            let named: Vec<_> = columns.iter().map(|column| column.escape_debug().to_string()).collect();
            ctx.warn(format!(
                "table {name} has no defaults of {} any more: the server lacks the sequences that they count by: {error}",
                named.join(", ")
            ));
            table.without_defaults(&columns)
        } else {
            return Err(error);
        };
        session.connection.define(ctx, without.as_bytes()).await
    }
}

/// Tablespaces of several tables that the server lacks, if the account may see which it has. Those that are wanted are named.
pub(super) async fn lost_tablespaces(
    ctx: &Ctx,
    connection: &mut Connection,
    parts: &[Part],
) -> Result<BTreeSet<String>> {
    let mut wanted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for part in parts {
        for want in wants(part)? {
            if let Want::Tablespace(name) = want {
                wanted.entry(name).or_default().insert(part.object.to_string());
            }
        }
    }
    if wanted.is_empty() {
        return Ok(BTreeSet::new());
    }
    let there = match connection.version.is_mariadb {
        true => BTreeSet::new(),
        false => match tablespaces(ctx, connection).await? {
            Some(there) => there,
            None => return Ok(BTreeSet::new()),
        },
    };
    wanted.retain(|name, _| !there.contains(name));
    for (name, objects) in &wanted {
        ctx.warn(format!(
            "the server has no tablespace {}: what was in it is in tablespaces of its own ({})",
            name.escape_debug(),
            named(objects)
        ));
    }
    Ok(wanted.into_keys().collect())
}

async fn is_sequence(ctx: &Ctx, session: &mut Session, database: Option<&str>, name: &str) -> Result<bool> {
    let database = database.map_or_else(|| "DATABASE()".to_owned(), text);
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {database} AND TABLE_NAME = {} AND TABLE_TYPE = 'SEQUENCE'",
        text(name)
    );
    Ok(Reading::new(session.connection.row(ctx, &sql).await?).number()? > 0)
}
