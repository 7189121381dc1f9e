//! Options of what is foreign, where their wrapper's validator came after them and refuses them now. They come back as they came about.

use backup_core::{Ctx, Error, Part, Result};

use crate::connect::{Session, column};
use crate::ddl::quote::ident;
use crate::error::sql_state;

/// What parts are called that have such options.
const FOREIGN: [&str; 3] = ["server", "user mapping", "foreign table"];

/// Executes a statement that has failed without any validator, in one transaction. Returns what is to be said of it, and nothing if that
/// failed as well.
pub(super) async fn without(
    ctx: &Ctx,
    session: &Session,
    part: &Part,
    sql: &str,
    error: &Error,
) -> Result<Option<String>> {
    if !FOREIGN.contains(&part.object.kind.as_str())
        || !sql.contains("OPTIONS (")
        || sql_state(error).is_none()
    {
        return Ok(None);
    }
    match make(ctx, session, sql).await {
        Ok(()) => Ok(Some(format!(
            "{} is there as it was, with options that the validator of its foreign-data wrapper refuses: {error}",
            part.object
        ))),
        // Only a superuser may do that, and something else may be wrong.
        Err(other) if sql_state(&other).is_some() => session.execute(ctx, "ROLLBACK").await.map(|()| None),
        Err(other) => Err(other),
    }
}

async fn make(ctx: &Ctx, session: &Session, sql: &str) -> Result<()> {
    // One at a time.
    session
        .execute(ctx, "BEGIN; LOCK TABLE pg_catalog.pg_foreign_data_wrapper IN SHARE ROW EXCLUSIVE MODE")
        .await?;
    let validators = "SELECT f.fdwname::text AS name, f.fdwvalidator::oid::regproc::text AS validator
                      FROM pg_catalog.pg_foreign_data_wrapper f WHERE f.fdwvalidator <> 0 ORDER BY f.fdwname";
    let (mut off, mut on) = (String::new(), String::new());
    for row in session.rows(ctx, validators, &[]).await? {
        let (name, validator) = (ident(column(&row, "name")?), column::<&str>(&row, "validator")?);
        off += &format!("ALTER FOREIGN DATA WRAPPER {name} NO VALIDATOR; ");
        on += &format!("ALTER FOREIGN DATA WRAPPER {name} VALIDATOR {validator}; ");
    }
    session.execute(ctx, &off).await?;
    session.statement(ctx, sql).await?;
    session.execute(ctx, &(on + "COMMIT")).await
}
