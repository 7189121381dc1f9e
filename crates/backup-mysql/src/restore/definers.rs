//! The accounts that objects act as: those that the target lacks are said before anything is touched.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use backup_core::{Ctx, Part, Result};

use crate::catalog::Reading;
use crate::catalog::objects::RoutineKind;
use crate::catalog::spec::{SqlSpec, spec};
use crate::connect::Connection;
use crate::ddl::create::without_definer;
use crate::error::code;

/// Views and functions that act as somebody who is not there. The server makes them, and then no view that stands on one: so each is made
/// as who restores at first, and given back when all others are made.
#[derive(Debug, Default)]
pub(super) struct Orphans {
    missing: BTreeSet<String>,
    /// In the order in which they were made.
    adopted: Mutex<Vec<(Part, SqlSpec, Vec<u8>)>>,
}

impl Orphans {
    pub(super) fn of(missing: BTreeSet<String>) -> Self {
        Self { missing, adopted: Mutex::default() }
    }

    /// How an object is made at first.
    pub(super) fn adopt(&self, part: &Part, made_from: &SqlSpec, sql: Vec<u8>) -> Vec<u8> {
        let stands_below = matches!(
            made_from,
            SqlSpec::View { invalid: false, .. } | SqlSpec::Routine { routine: RoutineKind::Function, .. }
        );
        let is_orphan = made_from.context().is_some_and(|context| self.missing.contains(&context.definer));
        if !stands_below || !is_orphan {
            return sql;
        }
        let without = without_definer(&sql);
        let mut adopted = self.adopted.lock().unwrap_or_else(PoisonError::into_inner);
        adopted.push((part.clone(), made_from.clone(), sql));
        without
    }

    /// Those that were adopted, in the order in which they can be given back: what stands on another before that, views before functions.
    pub(super) fn take(&self) -> Vec<(Part, SqlSpec, Vec<u8>)> {
        let mut adopted = std::mem::take(&mut *self.adopted.lock().unwrap_or_else(PoisonError::into_inner));
        adopted.reverse();
        adopted.sort_by_key(|(_, made_from, _)| !matches!(made_from, SqlSpec::View { .. }));
        adopted
    }
}

/// Warns of the accounts that the target lacks, and returns them.
pub(super) async fn check(
    ctx: &Ctx,
    connection: &mut Connection,
    parts: &[Part],
) -> Result<BTreeSet<String>> {
    let specs = parts.iter().filter_map(|part| spec::<SqlSpec>(part).ok());
    let (mut wanted, mut brought) = (BTreeSet::new(), BTreeSet::new());
    for spec in specs {
        match spec {
            SqlSpec::Account { account } => _ = brought.insert(account.name()),
            spec => wanted.extend(spec.context().map(|context| context.definer.clone())),
        }
    }
    let mut wanted = &wanted - &brought;
    // Libraries act as nobody.
    wanted.remove("");
    if wanted.is_empty() {
        return Ok(wanted);
    }
    let accounts = match connection.rows(ctx, "SELECT CONCAT(User, '@', Host) FROM mysql.user").await {
        Ok(rows) => rows,
        // Who may not see the accounts cannot say which are missing, but for the own one.
        Err(error) if matches!(code(&error), Some(1142 | 1143 | 1044 | 1227)) => {
            let own = Reading::new(connection.row(ctx, "SELECT CURRENT_USER()").await?).text()?;
            wanted.remove(&own);
            if !wanted.is_empty() {
                ctx.warn(format!(
                    "whether the target has an account {} is not known, since this one may not SELECT FROM mysql.user: where it has none, objects that act as it do not work; --no-owner makes them act as who restores",
                    listed(&wanted)
                ));
            }
            return Ok(BTreeSet::new());
        }
        Err(error) => return Err(error),
    };
    let there: BTreeSet<String> =
        accounts.into_iter().map(|row| Reading::new(row).text()).collect::<Result<_>>()?;
    // A role has no host.
    wanted.retain(|definer| !there.contains(definer) && !there.contains(&format!("{definer}@")));
    if !wanted.is_empty() {
        ctx.warn(format!(
            "the target has no account {}: objects that act as it will not work until it is made; --no-owner makes them act as who restores",
            listed(&wanted)
        ));
    }
    Ok(wanted)
}

fn listed(accounts: &BTreeSet<String>) -> String {
    let accounts: Vec<_> = accounts.iter().map(|account| account.escape_debug().to_string()).collect();
    accounts.join(", ")
}
