//! What cannot be as it was, and is told: it must not keep everything else from being restored.

use backup_core::{Ctx, Error, ErrorKind, Part, Result};

use crate::connect::Session;
use crate::error::sql_state;

/// What the part is called that fills a materialized view.
const CONTENTS: &str = "materialized view contents";
/// What a part is called of privileges on what no backup makes: what the system and extensions bring.
const PRIVILEGES: &str = "privileges";
/// What a part is called of how triggers of keys fire.
const KEY_STATE: &str = "key state";

/// What the server says of a function, a table, a column, a schema or anything else that is not there.
const NOT_THERE: [&str; 5] = ["42883", "42P01", "42703", "3F000", "42704"];
/// Rows refer to what is not there.
const DANGLES: &str = "23503";

/// Executes a statement of a part of a new database, by itself.
pub(super) async fn statement(ctx: &Ctx, session: &Session, part: &Part, sql: &str) -> Result<()> {
    let Err(error) = session.statement_alone(ctx, sql).await else { return Ok(()) };
    let warning = match part.object.kind.as_str() {
        CONTENTS => contents(part, &error),
        PRIVILEGES => privileges(part, &error),
        KEY_STATE => key_state(part, &error),
        "constraint" if sql_state(&error) == Some(DANGLES) => dangling(ctx, session, part, sql, &error).await,
        _ => None,
    };
    match warning {
        Some(warning) => {
            ctx.warn(warning);
            Ok(())
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

/// Another version of the server, or of an extension, may not have what they are on, or somebody has added it to the extension.
fn privileges(part: &Part, error: &Error) -> Option<String> {
    let is_not_there = sql_state(error).is_some_and(|code| NOT_THERE.contains(&code));
    is_not_there.then(|| format!("{} are not as they were: {error}", part.object))
}

/// Only a superuser may say how triggers of keys fire.
fn key_state(part: &Part, error: &Error) -> Option<String> {
    (error.kind() == ErrorKind::PermissionDenied).then(|| {
        format!(
            "keys of {} are watched over again, which they were not: only a superuser switches that off",
            part.object.to_string().replacen(KEY_STATE, "table", 1)
        )
    })
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
