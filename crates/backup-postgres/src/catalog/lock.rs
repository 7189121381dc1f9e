//! What keeps the tables as they are while they are read, and how it is noticed if they did not stay so before that.

use std::collections::HashMap;

use backup_core::{BackupRequest, Content, Error, ErrorKind, Result};

use super::reader::Reader;
use super::relations::{Relation, RelationKind, Relations};
use crate::ddl::quote::{literal, qualified};
use crate::error::sql_state;

/// How many tables are locked by one statement.
const BATCH: usize = 500;

/// What the server says of a table that is not there any more, of its schema, and of what took its name and is no table; and of a lock for which
/// two waited for each other.
const GONE: [&str; 4] = ["42P01", "3F000", "42809", DEADLOCK];
pub(crate) const DEADLOCK: &str = "40P01";

/// What came of locking the tables.
pub(crate) enum Locked {
    All,
    /// None is locked, and each has to be while it is read: the server's lock table has no room for so many.
    NoRoom,
    /// Some are not what the snapshot has under these names.
    Changed(Vec<String>),
}

/// Locks the tables that `request` selects against everything but reading and writing, and makes sure that what was locked is what the
/// snapshot has under these names.
pub(crate) async fn lock(
    reader: Reader<'_>,
    relations: &Relations,
    request: &BackupRequest,
    database: &str,
) -> Result<Locked> {
    let selected = |relation: &&Relation| {
        let name = relations.selected_as(relation).unwrap_or(&relation.name);
        matches!(relation.kind, RelationKind::Table | RelationKind::Partitioned)
            && (request.filter.is_everything()
                || request.filter.selects(Some(database), Some(&relation.schema), name))
    };
    let mut tables: Vec<(u32, String)> =
        relations.all.iter().filter(selected).map(|table| (table.oid, table.quoted())).collect();
    if request.content != Content::SchemaOnly {
        tables.extend(of_extensions(reader, request, database).await?);
    }
    // Others need locks too: half of the room is left to them.
    if tables.len() > room(reader).await? / 2 {
        return Ok(Locked::NoRoom);
    }
    reader.session.execute(reader.ctx, "SAVEPOINT locks").await?;
    for batch in tables.chunks(BATCH) {
        let Some(sql) = locking(batch, true) else { continue };
        let failed = reader.session.execute(reader.ctx, &sql).await.err();
        if let Some(error) = &failed {
            match sql_state(error) {
                Some("53200") => {
                    reader.session.execute(reader.ctx, "ROLLBACK TO SAVEPOINT locks").await?;
                    return Ok(Locked::NoRoom);
                }
                Some(code) if GONE.contains(&code) => {
                    reader.session.execute(reader.ctx, "ROLLBACK TO SAVEPOINT locks").await?;
                }
                _ => return failed.map_or(Ok(Locked::All), |error| Err(error.during("lock the tables"))),
            }
        }
        let mut names = others(reader, batch).await?;
        if let Some(error) = failed.filter(|_| names.is_empty()) {
            names.push(error.message().to_owned());
        }
        if !names.is_empty() {
            return Ok(Locked::Changed(names));
        }
    }
    Ok(Locked::All)
}

/// The names of those of some tables that are not what the snapshot has.
pub(crate) async fn others(reader: Reader<'_>, tables: &[(u32, String)]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for batch in tables.chunks(BATCH) {
        for row in reader.rows(&others_sql(batch)).await? {
            names.push(row.text("name")?.to_owned());
        }
    }
    Ok(names)
}

/// Those of some tables that are not what the snapshot has: neither swapped for something else nor emptied or rewritten, which a snapshot
/// does not show.
fn others_sql(tables: &[(u32, String)]) -> String {
    let values: Vec<String> =
        tables.iter().map(|(oid, name)| format!("({oid}::oid, {})", literal(name))).collect();
    // The functions see what is now, the query what the snapshot has.
    format!(
        "SELECT x.name FROM (VALUES {values}) AS x (oid, name) LEFT JOIN pg_catalog.pg_class c ON c.oid = x.oid
         WHERE (pg_catalog.to_regclass(x.name)::oid = c.oid
                AND (c.relkind = 'p' OR pg_catalog.pg_relation_filenode(c.oid) = c.relfilenode)) IS NOT TRUE",
        values = values.join(", ")
    )
}

/// The tables of extensions whose rows are in the backup.
async fn of_extensions(
    reader: Reader<'_>,
    request: &BackupRequest,
    database: &str,
) -> Result<Vec<(u32, String)>> {
    let sql = "SELECT DISTINCT c.oid, n.nspname::text AS schema, c.relname::text AS name
               FROM pg_catalog.pg_extension e CROSS JOIN LATERAL pg_catalog.unnest(e.extconfig) AS x (relation)
               JOIN pg_catalog.pg_class c ON c.oid = x.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'p') ORDER BY 2, 3";
    let mut tables = Vec::new();
    for row in reader.rows(sql).await? {
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        if request.filter.is_everything() || request.filter.selects(Some(database), Some(schema), name) {
            tables.push((row.oid("oid")?, qualified(schema, name)));
        }
    }
    Ok(tables)
}

/// For how many tables the server's lock table has room, all sessions together.
async fn room(reader: Reader<'_>) -> Result<usize> {
    let sql = "SELECT pg_catalog.current_setting('max_locks_per_transaction')::int8
                    * (pg_catalog.current_setting('max_connections')::int8 + pg_catalog.current_setting('max_prepared_transactions')::int8) AS room";
    let rows = reader.rows(sql).await?;
    let room = rows.first().map(|row| row.get::<i64>("room")).transpose()?.unwrap_or_default();
    Ok(usize::try_from(room).unwrap_or_default())
}

/// What locks some tables against everything but reading and writing; where it does not wait, it fails instead. None if there are none.
pub(crate) fn locking(tables: &[(u32, String)], waits: bool) -> Option<String> {
    let names: Vec<String> = tables.iter().map(|(_, name)| format!("ONLY {name}")).collect();
    let how = if waits { "" } else { " NOWAIT" };
    (!names.is_empty()).then(|| format!("LOCK TABLE {} IN ACCESS SHARE MODE{how}", names.join(", ")))
}

/// Locks some tables for as long as they are read, and makes sure that they are still what the snapshot has.
pub(crate) async fn lock_some(reader: Reader<'_>, tables: &[(u32, String)], waits: bool) -> Result<()> {
    let Some(lock) = locking(tables, waits) else { return Ok(()) };
    let sql = format!("{lock}; {} LIMIT 1", others_sql(tables));
    let other = reader.session.said(reader.ctx, &sql).await;
    let other = other.map_err(|error| {
        let names: Vec<String> = tables.iter().map(|(_, name)| name.escape_debug().to_string()).collect();
        error.during(format!("lock {}", names.join(", ")))
    })?;
    other.map_or(Ok(()), |name| Err(changed(&[&name])))
}

/// The error that names tables which changed.
pub(crate) fn changed(names: &[&str]) -> Error {
    let message =
        format!("altered, truncated or replaced while the backup ran, and not locked: {}", listed(names));
    Error::new(ErrorKind::Locked, message).hint(
        "run it again; with a larger max_locks_per_transaction on the server all tables are locked while a backup runs",
    )
}

/// Of each table a number that is the same as long as its rows mean the same: neither its columns nor where it keeps them changed.
pub(crate) async fn shapes(reader: Reader<'_>) -> Result<HashMap<u32, i64>> {
    let sql = "SELECT c.oid, pg_catalog.hashtextextended(pg_catalog.concat_ws(':', c.relfilenode, c.relnamespace, c.relname, c.relkind, a.columns), 0) AS shape
               FROM pg_catalog.pg_class c
               LEFT JOIN (SELECT a.attrelid, pg_catalog.string_agg(pg_catalog.concat_ws(' ', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attisdropped), ',' ORDER BY a.attnum) AS columns
                          FROM pg_catalog.pg_attribute a WHERE a.attnum > 0 GROUP BY a.attrelid) a ON a.attrelid = c.oid
               WHERE c.relkind = 'r' AND c.oid >= 16384";
    let rows = reader.rows(sql).await?;
    rows.iter().map(|row| Ok((row.oid("oid")?, row.get("shape")?))).collect()
}

/// Names for people: the first of them, if there are many.
pub(crate) fn listed(names: &[impl AsRef<str>]) -> String {
    const NAMED: usize = 10;
    let mut named: Vec<String> =
        names.iter().take(NAMED).map(|name| name.as_ref().escape_debug().to_string()).collect();
    if names.len() > NAMED {
        named.push(format!("{} more", names.len() - NAMED));
    }
    named.join(", ")
}
