//! Whether the account sees all that there is. A server says nothing of a table, routine, event or trigger that the account has no privilege
//! for: what is not seen would be left out silently.

use std::collections::BTreeSet;

use backup_core::{Ctx, Error, ErrorKind, Result};

use super::Reading;
use crate::connect::Connection;
use crate::ddl::quote::text;
use crate::error::code;

/// Any of them shows all routines.
const OF_ROUTINES: [&str; 5] =
    ["SHOW_ROUTINE", "SHOW CREATE ROUTINE", "EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE"];

/// Refuses a backup of what the account may not see. Where not all of the database is wanted, or where roles may give more than can be
/// looked up, it warns.
pub(crate) async fn check(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    wants_all: bool,
) -> Result<()> {
    let has_no_roles = !connection.version.is_mariadb && connection.version.number < (8, 0, 0);
    let role = if has_no_roles { "NULL" } else { "CURRENT_ROLE()" };
    let account = connection.row(ctx, &format!("SELECT CURRENT_USER(), {role}")).await?;
    let mut account = Reading::new(account);
    let (account, role) = (account.text()?, account.maybe()?);
    let Some((user, host)) = account.rsplit_once('@') else { return Ok(()) };
    // A server without accounts shows everything to everybody.
    if user.starts_with("skip-grants") || (user.is_empty() && host.is_empty()) {
        return Ok(());
    }
    let grantee = text(&format!("'{user}'@'{host}'"));
    let of = text(database);
    let sql = format!(
        "SELECT PRIVILEGE_TYPE, 1 FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = {grantee} UNION ALL \
         SELECT PRIVILEGE_TYPE, 0 FROM information_schema.SCHEMA_PRIVILEGES WHERE GRANTEE = {grantee} AND {of} LIKE TABLE_SCHEMA"
    );
    let (mut has, mut reads_everything) = (BTreeSet::new(), false);
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (privilege, everywhere) = (row.text()?, row.number()? == 1);
        reads_everything |= everywhere && privilege == "SELECT";
        has.insert(privilege);
    }
    let mut missing: Vec<&str> =
        ["SELECT", "TRIGGER", "EVENT"].into_iter().filter(|privilege| !has.contains(*privilege)).collect();
    let sees_routines = OF_ROUTINES.iter().any(|privilege| has.contains(*privilege))
        || if connection.version.is_mariadb {
            reads_routines(ctx, connection).await?
        } else {
            reads_everything
        };
    if !sees_routines {
        missing.push(if connection.version.is_mariadb { "SELECT ON mysql.proc" } else { "SHOW_ROUTINE" });
    }
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.join(", ");
    let has_roles = role.is_some_and(|role| !role.is_empty() && role != "NONE");
    if wants_all && !has_roles {
        let message = format!(
            "the account has not the privilege {missing} on {}: it may not see all that there is",
            database.escape_debug()
        );
        return Err(Error::new(ErrorKind::PermissionDenied, message)
            .hint("docs/mysql.md has the privileges that are needed, as a script"));
    }
    ctx.warn(format!(
        "the account itself has not the privilege {missing}: what it may not see is not in the backup"
    ));
    Ok(())
}

/// Whether the table that MariaDB has its routines in may be read.
async fn reads_routines(ctx: &Ctx, connection: &mut Connection) -> Result<bool> {
    match connection.rows(ctx, "SELECT body FROM mysql.proc LIMIT 0").await {
        Ok(_) => Ok(true),
        Err(error) if matches!(code(&error), Some(1044 | 1142 | 1143 | 1146)) => Ok(false),
        Err(error) => Err(error),
    }
}
