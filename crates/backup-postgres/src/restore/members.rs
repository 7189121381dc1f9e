//! What was taken out of an extension (`ALTER EXTENSION ... DROP`). The extension makes it on the target too, and nothing in the source tells which.

use backup_core::{Ctx, Error, Part, Result};

use crate::connect::{Session, column};
use crate::ddl::create::replacing;
use crate::ddl::quote::ident;
use crate::error::sql_state;
use crate::spec::{SqlSpec, read};

/// What the server says of a relation, a function, or anything else that is there already.
const THERE: [&str; 3] = ["42P07", "42723", "42710"];

/// What came of taking an object out of an extension.
pub(super) enum TakenOut {
    /// It is no extension's.
    No,
    Replaced,
    /// It is nobody's any more, but is as the extension has made it: others of the extension need it.
    Stays(Error),
}

/// Has a statement that failed make what an extension has made, which is taken out of it.
pub(super) async fn take_out(
    ctx: &Ctx,
    session: &Session,
    part: &Part,
    sql: &str,
    error: &Error,
) -> Result<TakenOut> {
    let is_there = sql_state(error).is_some_and(|code| THERE.contains(&code)) && sql.starts_with("CREATE ");
    let identity = read::<SqlSpec>(part).ok().and_then(|spec| spec.identity);
    let Some(identity) = identity.filter(|_| is_there) else { return Ok(TakenOut::No) };
    let extensions = "SELECT e.extname::text AS name FROM pg_catalog.pg_extension e ORDER BY e.oid";
    for row in session.rows(ctx, extensions, &[]).await? {
        let extension = ident(column(&row, "name")?);
        let alter = format!("ALTER EXTENSION {extension} DROP {identity}");
        match session.statement_alone(ctx, &alter).await {
            Ok(()) => return replace(ctx, session, &identity, sql).await,
            // It is another's.
            Err(other) if sql_state(&other).is_some() => {}
            Err(other) => return Err(other),
        }
    }
    Ok(TakenOut::No)
}

async fn replace(ctx: &Ctx, session: &Session, identity: &str, sql: &str) -> Result<TakenOut> {
    session.execute(ctx, "BEGIN").await?;
    let made = async {
        session.statement(ctx, &format!("DROP {identity}")).await?;
        session.statement(ctx, sql).await
    };
    match made.await {
        Ok(()) => return session.execute(ctx, "COMMIT").await.map(|()| TakenOut::Replaced),
        Err(error) if sql_state(&error).is_some() => session.execute(ctx, "ROLLBACK").await?,
        Err(error) => return Err(error),
    }
    // What others need may be replaced, if it is a function or a view.
    match session.statement_alone(ctx, &replacing(sql)).await {
        Ok(()) => Ok(TakenOut::Replaced),
        Err(error) if sql_state(&error).is_some() => Ok(TakenOut::Stays(error)),
        Err(error) => Err(error),
    }
}
