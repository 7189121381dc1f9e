//! What is in the target already, and how it goes away.

use std::collections::BTreeSet;

use backup_core::{Ctx, Error, ErrorKind, Result};

use crate::catalog::Reading;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};
use crate::error::code;

/// The table that a database has while it is being restored. It is dropped when the restore is complete.
pub(super) const MARKER: &str = "lifeboat_restore_is_incomplete";

/// The table that a database has while some objects are restored beside others, or rows into its tables: with their names. It is dropped when none
/// of them is incomplete.
pub(super) const MARKER_OF_SOME: &str = "lifeboat_restore_of_some_is_incomplete";

/// What both hold: names of objects, or of databases. A server may want every table to have a primary key, and may make others of another engine.
pub(super) const MARKED: &str =
    "(name VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY) ENGINE=InnoDB";

/// An object by its kind, as DROP calls it, and its name.
pub(super) type Named = (&'static str, String);

/// Whether a restore into the database was begun and did not end.
pub(crate) async fn is_incomplete(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<bool> {
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME IN ({}, {})",
        text(database),
        text(MARKER),
        text(MARKER_OF_SOME)
    );
    Ok(Reading::new(connection.row(ctx, &sql).await?).number()? > 0)
}

/// An error if nothing of the database may be changed.
pub(super) async fn refuse_read_only(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<()> {
    if !connection.version.has_read_only_databases() {
        return Ok(());
    }
    let sql = format!(
        "SELECT COUNT(*) FROM information_schema.SCHEMATA_EXTENSIONS WHERE SCHEMA_NAME = {} AND OPTIONS LIKE '%READ ONLY=1%'",
        text(database)
    );
    if Reading::new(connection.row(ctx, &sql).await?).number()? == 0 {
        return Ok(());
    }
    let message = format!("the database {} is READ ONLY", database.escape_debug());
    Err(Error::new(ErrorKind::TargetNotEmpty, message)
        .hint("ALTER DATABASE ... READ ONLY = 0 lets it be changed"))
}

/// The objects of a database; triggers go with their tables.
pub(super) async fn read(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<BTreeSet<Named>> {
    let of = text(database);
    let mut found = BTreeSet::new();
    let mut queries = vec![
        format!("SELECT TABLE_TYPE, TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {of}"),
        format!(
            "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {of}"
        ),
        format!("SELECT 'EVENT', EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {of}"),
    ];
    if connection.version.has_libraries() {
        queries.push(format!(
            "SELECT 'LIBRARY', LIBRARY_NAME FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA = {of}"
        ));
    }
    for query in queries {
        for row in connection.rows(ctx, &query).await? {
            let mut row = Reading::new(row);
            let kind = match row.text()?.as_str() {
                "TEMPORARY" => continue,
                "VIEW" => "VIEW",
                "SEQUENCE" => "SEQUENCE",
                "LIBRARY" => "LIBRARY",
                "FUNCTION" => "FUNCTION",
                "PROCEDURE" => "PROCEDURE",
                "PACKAGE" => "PACKAGE",
                "PACKAGE BODY" => "PACKAGE BODY",
                "EVENT" => "EVENT",
                _ => "TABLE",
            };
            found.insert((kind, row.text()?));
        }
    }
    Ok(found)
}

/// Drops them, in an order in which none needs another, the marker last.
pub(super) async fn drop_all<'a>(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    objects: impl Iterator<Item = &'a Named>,
) -> Result<()> {
    let mut objects: Vec<_> = objects.collect();
    // Events first, since they may do something; bodies of packages before packages.
    let rank = |kind: &str| match kind {
        "EVENT" => 0,
        "VIEW" => 1,
        "TABLE" => 2,
        "PACKAGE BODY" => 4,
        "PACKAGE" => 5,
        _ => 3,
    };
    objects.sort_by_key(|(kind, name)| (name == MARKER, rank(kind)));
    connection.execute(ctx, "SET SESSION foreign_key_checks = 0, lock_wait_timeout = 60").await?;
    if objects.iter().any(|(kind, _)| kind.starts_with("PACKAGE")) {
        // Before MariaDB 11.4 nothing else knows the word.
        connection.execute(ctx, "SET SESSION sql_mode = 'ORACLE'").await?;
    }
    for (kind, name) in objects {
        let sql = format!("DROP {kind} IF EXISTS {}.{}", identifier(database), identifier(name));
        match connection.define(ctx, sql.as_bytes()).await {
            // A view whose parts went away first, and the like.
            Err(error) if matches!(code(&error), Some(1051 | 1305 | 4091)) => {}
            done => {
                done?;
            }
        }
    }
    Ok(())
}
