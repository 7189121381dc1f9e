//! The accounts that objects act as: those that the target lacks are said before anything is touched.

use std::collections::BTreeSet;

use backup_core::{Ctx, Part, Result};

use crate::catalog::Reading;
use crate::catalog::spec::{SqlSpec, spec};
use crate::connect::Connection;
use crate::error::code;

pub(super) async fn check(ctx: &Ctx, connection: &mut Connection, parts: &[Part]) -> Result<()> {
    let specs = parts.iter().filter_map(|part| spec::<SqlSpec>(part).ok());
    let (mut wanted, mut brought) = (BTreeSet::new(), BTreeSet::new());
    for spec in specs {
        match spec {
            SqlSpec::Account { account } => _ = brought.insert(account.name()),
            spec => wanted.extend(spec.context().map(|context| context.definer.clone())),
        }
    }
    let wanted = &wanted - &brought;
    if wanted.is_empty() {
        return Ok(());
    }
    let accounts = match connection.rows(ctx, "SELECT CONCAT(User, '@', Host) FROM mysql.user").await {
        Ok(rows) => rows,
        // Who may not see the accounts cannot say which are missing.
        Err(error) if matches!(code(&error), Some(1142 | 1143 | 1044 | 1227)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let there: BTreeSet<String> =
        accounts.into_iter().map(|row| Reading::new(row).text()).collect::<Result<_>>()?;
    // A role has no host.
    let missing: Vec<_> = wanted
        .iter()
        .filter(|definer| !there.contains(*definer) && !there.contains(&format!("{definer}@")))
        .map(|definer| definer.escape_debug().to_string())
        .collect();
    if !missing.is_empty() {
        ctx.warn(format!(
            "the target has no account {}: objects that act as it will not work until it is made; --no-owner makes them act as who restores",
            missing.join(", ")
        ));
    }
    Ok(())
}
