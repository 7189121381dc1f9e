//! What cannot be as it was, and is told: it must not keep everything else from being restored.

use backup_core::{Ctx, Error, ErrorKind, Part, Result};

use super::labels;
use super::members::{TakenOut, take_out};
use super::validators;
use crate::connect::Session;
use crate::error::sql_state;
use crate::spec::{LABEL_OF_EXTENSION, POLICY_OF_EXTENSION, PUBLICATION_OF_EXTENSION, SECURITY_OF_EXTENSION};

/// What the part is called that fills a materialized view.
pub(super) const CONTENTS: &str = "materialized view contents";
/// What a part is called of privileges on what no backup makes: what the system and extensions bring.
const PRIVILEGES: &str = "privileges";
/// What the index of a materialized view is called.
const INDEX_OF_CONTENTS: &str = "materialized view index";
/// What a part is called of how triggers of keys fire.
const KEY_STATE: &str = "key state";

/// What a part is called of what is added to families of operators.
const MEMBERS: &str = "operator family members";

/// What a part is called of a database's settings and comment.
const DATABASE: &str = "database";
/// What an account may have to be a superuser to make, and nothing else is made of.
const LAST: [&str; 4] = ["event trigger", "publication", MEMBERSHIP, "subscription"];
/// What a part is called of a schema's membership in a publication.
const MEMBERSHIP: &str = "publication schema";

/// What the server says of a function, a table, a column, a schema or anything else that is not there.
const NOT_THERE: [&str; 5] = ["42883", NO_TABLE, "42703", "3F000", NO_OBJECT];
const NO_TABLE: &str = "42P01";
const NO_OBJECT: &str = "42704";
/// What the server says of what it could do if it had been built with it.
const NOT_BUILT_IN: &str = "0A000";
/// What the server says of a setting that it does not know, or that does not take such a value.
const NOT_KNOWN: [&str; 2] = [NO_OBJECT, "22023"];
/// What is to be made is there.
const THERE: &str = "42710";
/// A table's definition cannot be so: here, what a parent has a child cannot be without.
const INHERITED: &str = "42P16";
/// Rows refer to what is not there.
const DANGLES: &str = "23503";
/// Rows are the same where they must not be.
const TWICE: &str = "23505";

/// Executes a statement of a part of a new database, by itself. Returns whether what the rest of the part is about is there.
pub(super) async fn statement(ctx: &Ctx, session: &Session, part: &Part, sql: &str) -> Result<bool> {
    let Err(error) = session.statement_alone(ctx, sql).await else { return Ok(true) };
    if labels::lacks_provider(part, sql, &error) {
        ctx.warn(labels::left_out(part, &error));
        return Ok(true);
    }
    let is_denied = error.kind() == ErrorKind::PermissionDenied;
    let warning = match part.object.kind.as_str() {
        CONTENTS => contents(part, &error),
        PRIVILEGES | LABEL_OF_EXTENSION => privileges(part, &error),
        POLICY_OF_EXTENSION | SECURITY_OF_EXTENSION | PUBLICATION_OF_EXTENSION => of_extension(part, &error),
        MEMBERS => members(part, &error),
        KEY_STATE => key_state(part, &error),
        DATABASE if is_denied || sql_state(&error).is_some_and(|code| NOT_KNOWN.contains(&code)) => {
            setting(part, sql, &error)
        }
        kind if is_denied && LAST.contains(&kind) && (sql.starts_with("CREATE ") || kind == MEMBERSHIP) => {
            Some(not_allowed(part, &error))
        }
        INDEX_OF_CONTENTS => index_of_contents(part, &error),
        _ if sql_state(&error) == Some(INHERITED) && sql.ends_with(" DROP NOT NULL") => {
            Some(not_null(part, &error))
        }
        _ if sql_state(&error) == Some(NOT_BUILT_IN) && sql.ends_with(" SET COMPRESSION lz4") => {
            Some(compression(part, &error))
        }
        "constraint" if sql_state(&error) == Some(DANGLES) => dangling(ctx, session, part, sql, &error).await,
        _ => match take_out(ctx, session, part, sql, &error).await? {
            TakenOut::No => validators::without(ctx, session, part, sql, &error).await?,
            TakenOut::Replaced => return Ok(true),
            TakenOut::Stays(why) => Some(stays(part, &why)),
        },
    };
    match warning {
        Some(warning) => {
            ctx.warn(warning);
            let kind = part.object.kind.as_str();
            let is_there =
                ![INDEX_OF_CONTENTS, MEMBERS, POLICY_OF_EXTENSION, SECURITY_OF_EXTENSION].contains(&kind);
            Ok(is_there && !LAST.contains(&kind))
        }
        None => Err(error),
    }
}

/// What a materialized view is made of may be elsewhere, or not be what it was.
fn contents(part: &Part, error: &Error) -> Option<String> {
    let of_the_view =
        matches!(error.kind(), ErrorKind::Database | ErrorKind::PermissionDenied | ErrorKind::Locked);
    of_the_view.then(|| {
        format!(
            "{} is there without contents, because it could not be refreshed: {error}",
            part.object.to_string().replacen(CONTENTS, "materialized view", 1)
        )
    })
}

/// What the view is made of may have changed since it was filled, and not go with its unique index.
fn index_of_contents(part: &Part, error: &Error) -> Option<String> {
    (sql_state(error) == Some(TWICE)).then(|| {
        format!("{} is not there, because the view as it is filled now breaks it: {error}", part.object)
    })
}

/// Another version of the server, or of an extension, may not have what they are on, or somebody has added it to the extension.
fn privileges(part: &Part, error: &Error) -> Option<String> {
    let is_not_there = sql_state(error).is_some_and(|code| NOT_THERE.contains(&code));
    is_not_there.then(|| format!("{} are not as they were: {error}", part.object))
}

/// Another version of an extension may not have the table, or somebody has added it to the extension; or its publication is left out.
fn of_extension(part: &Part, error: &Error) -> Option<String> {
    let is_lost = matches!(sql_state(error), Some(NO_TABLE | NO_OBJECT));
    is_lost.then(|| format!("{} is left out: {error}", part.object))
}

/// Since version 18 a child cannot take nulls where the primary key of its parent does not. Should it have any, the restore fails.
fn not_null(part: &Part, error: &Error) -> String {
    format!("a column of {} stays NOT NULL, as its parent has it: {error}", part.object)
}

/// What a superuser has set, or for another role, its owner may not set again; and another version may not know it, or the value.
fn setting(part: &Part, sql: &str, error: &Error) -> Option<String> {
    let (before, behind) = sql.split_once(" SET \"")?;
    let name = behind.split('"').next()?;
    let whose = if before.contains("ALTER ROLE ") { " for a role" } else { "" };
    let name = name.escape_debug();
    Some(format!("setting {name} of {}{whose} is left out: {error}", part.object))
}

/// Nothing is lost with it but itself.
fn not_allowed(part: &Part, error: &Error) -> String {
    format!("{} is left out: {error}", part.object)
}

/// What needs it is the extension's, and cannot be made anew.
fn stays(part: &Part, error: &Error) -> String {
    format!("{} is there as an extension makes it, which it was taken out of: {error}", part.object)
}

/// Only a superuser may add to them, and an extension may have brought them along.
fn members(part: &Part, error: &Error) -> Option<String> {
    if sql_state(error) == Some(THERE) {
        return Some(format!("{} are as an extension makes them: {error}", part.object));
    }
    (error.kind() == ErrorKind::PermissionDenied)
        .then(|| format!("{} may not be as they were: only a superuser may add them", part.object))
}

/// A server may have been built without it, and rows are the same.
fn compression(part: &Part, error: &Error) -> String {
    format!("a column of {} is compressed as the server has it by default: {error}", part.object)
}

/// Only a superuser may say how triggers of keys fire, and another version may have others.
fn key_state(part: &Part, error: &Error) -> Option<String> {
    let table = part.object.to_string().replacen(KEY_STATE, "table", 1);
    if error.kind() == ErrorKind::PermissionDenied {
        return Some(format!(
            "keys of {table} are watched over again, which they were not: only a superuser switches that off"
        ));
    }
    (sql_state(error) == Some(NO_OBJECT))
        .then(|| format!("some keys of {table} are watched over as if nobody had said how: {error}"))
}

/// While a key was not watched over, rows may have come that it forbids. It holds for those to come.
async fn dangling(ctx: &Ctx, session: &Session, part: &Part, sql: &str, error: &Error) -> Option<String> {
    // Some versions cannot have such a key between partitioned tables.
    session.statement_alone(ctx, &format!("{sql} NOT VALID")).await.ok()?;
    Some(format!(
        "{} is there as NOT VALID, because rows of the backup itself break it: {error}",
        part.object
    ))
}
