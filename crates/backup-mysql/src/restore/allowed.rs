//! What the target would refuse only at the end, when all rows are in: it is asked before anything is touched.

use std::collections::BTreeSet;

use backup_core::{Ctx, Error, ErrorKind, Part, Result};

use super::carry::named;
use crate::catalog::Reading;
use crate::catalog::objects::RoutineKind;
use crate::catalog::spec::{SqlSpec, spec};
use crate::connect::Connection;
use crate::ddl::quote::text;
use crate::error::code;

/// With one of these an account makes what acts as others.
const OF_OTHERS: [&str; 4] = ["SUPER", "SET USER", "SET_ANY_DEFINER", "SET_USER_ID"];
/// With one of these it is trusted with functions and triggers where there is a binary log.
const TRUSTED: [&str; 2] = ["SUPER", "BINLOG ADMIN"];

/// Fails if what is to be made needs a time zone, a setting or a privilege that is not there.
pub(super) async fn check(
    ctx: &Ctx,
    connection: &mut Connection,
    parts: &[Part],
    no_owner: bool,
) -> Result<()> {
    let programs: Vec<(String, SqlSpec)> = (parts.iter())
        .filter_map(|part| Some((part.object.to_string(), spec::<SqlSpec>(part).ok()?)))
        .filter(|(_, made_from)| made_from.context().is_some())
        .collect();
    if programs.is_empty() {
        return Ok(());
    }
    zones(ctx, connection, &programs).await?;
    let user = Reading::new(connection.row(ctx, "SELECT CURRENT_USER()").await?).text()?;
    let privileges = privileges(ctx, connection, &user).await?;
    let has = |any: &[&str]| privileges.as_ref().map(|all| any.iter().any(|one| all.contains(*one)));
    let is_anothers = |made_from: &SqlSpec| {
        made_from.context().is_some_and(|context| !["", user.as_str()].contains(&context.definer.as_str()))
    };
    if !no_owner && has(&OF_OTHERS) == Some(false) {
        let of_others = objects(&programs, is_anothers);
        if !of_others.is_empty() {
            let what = format!("{user} may not make what acts as others: {}", named(&of_others));
            return Err(Error::new(ErrorKind::PermissionDenied, what).hint(
                "grant SET USER (MariaDB) or SET_ANY_DEFINER (MySQL), or give --no-owner: then they act as who restores",
            ));
        }
    }
    untrusted(ctx, connection, &programs, has(&TRUSTED)).await
}

fn objects(programs: &[(String, SqlSpec)], which: impl Fn(&SqlSpec) -> bool) -> BTreeSet<String> {
    programs.iter().filter(|(_, made_from)| which(made_from)).map(|(object, _)| object.clone()).collect()
}

/// The time zones of events: a server whose tables of them are empty knows none by name.
async fn zones(ctx: &Ctx, connection: &mut Connection, programs: &[(String, SqlSpec)]) -> Result<()> {
    let zone = |made_from: &SqlSpec| made_from.context().and_then(|context| context.time_zone.clone());
    let zones: BTreeSet<String> = programs.iter().filter_map(|(_, made_from)| zone(made_from)).collect();
    for wanted in zones {
        let sql = format!("SELECT CONVERT_TZ('2001-01-01', '+00:00', {}) IS NULL", text(&wanted));
        if Reading::new(connection.row(ctx, &sql).await?).number()? == 1 {
            let events = objects(programs, |made_from| zone(made_from).as_ref() == Some(&wanted));
            let what =
                format!("the target knows no time zone {} ({})", wanted.escape_debug(), named(&events));
            return Err(Error::unsupported(what)
                .hint("fill its tables of time zones (mysql_tzinfo_to_sql, mariadb-tzinfo-to-sql)"));
        }
    }
    Ok(())
}

/// Functions and triggers where the server keeps a binary log and trusts nobody with them (`log_bin_trust_function_creators`).
async fn untrusted(
    ctx: &Ctx,
    connection: &mut Connection,
    programs: &[(String, SqlSpec)],
    is_trusted: Option<bool>,
) -> Result<()> {
    const HINT: &str = "SET GLOBAL log_bin_trust_function_creators = 1 at the target while it is restored";
    let is_function =
        |made_from: &SqlSpec| matches!(made_from, SqlSpec::Routine { routine: RoutineKind::Function, .. });
    let is_trigger = |made_from: &SqlSpec| matches!(made_from, SqlSpec::Trigger { .. });
    let created = objects(programs, |made_from| is_function(made_from) || is_trigger(made_from));
    if created.is_empty() {
        return Ok(());
    }
    let row = connection.row(ctx, "SELECT @@log_bin, @@log_bin_trust_function_creators").await?;
    let mut row = Reading::new(row);
    let (logs, trusts) = (row.number()? == 1, row.number()? == 1);
    if !logs || trusts {
        return Ok(());
    }
    if is_trusted == Some(false) {
        let what = format!(
            "the target keeps a binary log and lets only SUPER make functions and triggers: {}",
            named(&created)
        );
        return Err(Error::new(ErrorKind::PermissionDenied, what).hint(HINT));
    }
    let functions = objects(programs, is_function);
    if !functions.is_empty() {
        ctx.warn(format!(
            "the target keeps a binary log and refuses functions that are not declared DETERMINISTIC, NO SQL or READS SQL DATA: is one of these not, the restore fails ({}); {HINT}",
            named(&functions)
        ));
    }
    Ok(())
}

/// The privileges on everything that the account has. Not known of one with a role: not every server says what that has.
async fn privileges(ctx: &Ctx, connection: &mut Connection, user: &str) -> Result<Option<BTreeSet<String>>> {
    match connection.row(ctx, "SELECT COALESCE(CURRENT_ROLE(), 'NONE')").await {
        Ok(row) if Reading::new(row.clone()).text()? != "NONE" => return Ok(None),
        Ok(_) => {}
        // Before there were roles.
        Err(error) if code(&error) == Some(1305) => {}
        Err(error) => return Err(error),
    }
    let Some((name, host)) = user.rsplit_once('@') else { return Ok(None) };
    let sql = format!(
        "SELECT PRIVILEGE_TYPE FROM information_schema.USER_PRIVILEGES WHERE GRANTEE = {}",
        text(&format!("'{name}'@'{host}'"))
    );
    let rows = connection.rows(ctx, &sql).await?;
    let privileges: BTreeSet<String> =
        rows.into_iter().map(|row| Reading::new(row).text()).collect::<Result<_>>()?;
    // Everybody has USAGE, at least.
    Ok(Some(privileges).filter(|privileges| !privileges.is_empty()))
}
