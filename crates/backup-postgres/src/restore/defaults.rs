//! Default privileges of the account in a database that stays: what is made there has those of the backup, and not these.

use std::collections::BTreeSet;

use backup_core::{Ctx, Result};

use crate::catalog::{DEFAULTS, default_of, default_prefix};
use crate::connect::{Session, column};
use crate::ddl::acl;

/// Takes them back within the transaction, and returns what gives them again.
pub(super) async fn suspend(ctx: &Ctx, session: &Session) -> Result<Vec<String>> {
    let mut again = Vec::new();
    let own = format!("{DEFAULTS} WHERE r.rolname = CURRENT_USER ORDER BY n.nspname, d.defaclobjtype");
    for row in session.rows(ctx, &own, &[]).await? {
        let Some(on) = default_of(column(&row, "of")?) else { continue };
        let role: &str = column(&row, "role")?;
        let prefix = default_prefix(role, column(&row, "schema")?);
        let (acl, base): (Vec<String>, Vec<String>) = (column(&row, "acl")?, column(&row, "base")?);
        let mut roles = BTreeSet::new();
        for statement in acl::default_statements(&prefix, on, role, &base, &acl, &mut roles)? {
            session.statement(ctx, &statement).await?;
        }
        again.extend(acl::default_statements(&prefix, on, role, &acl, &base, &mut roles)?);
    }
    Ok(again)
}
