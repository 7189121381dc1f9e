//! Triggers of tables that get rows while they stay.

use backup_core::{Ctx, Result};

use crate::connect::{Session, column};
use crate::ddl::quote::{ident, qualified};

/// Switches off the triggers of tables that get rows (`filled` begins a query about them) which fire though the session `replicates`, or because
/// it does not, and returns what switches them on again. All of it within the transaction.
pub(super) async fn silence(
    ctx: &Ctx,
    session: &Session,
    filled: &str,
    replicates: bool,
) -> Result<Vec<String>> {
    let firing = if replicates { "'A', 'R'" } else { "'A', 'O'" };
    let sql = format!(
        "{filled}
         SELECT n.nspname::text AS schema, c.relname::text AS name, t.tgname::text AS trigger, t.tgenabled::text AS state
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE t.tgenabled IN ({firing}) AND (t.tgenabled <> 'O' OR NOT t.tgisinternal) AND c.oid IN (SELECT f.oid FROM filled f)"
    );
    let mut again = Vec::new();
    for row in session.rows(ctx, &sql, &[]).await? {
        let table = qualified(column(&row, "schema")?, column(&row, "name")?);
        let trigger = ident(column(&row, "trigger")?);
        let enable = match column(&row, "state")? {
            "A" => "ENABLE ALWAYS",
            "R" => "ENABLE REPLICA",
            _ => "ENABLE",
        };
        session.statement(ctx, &format!("ALTER TABLE ONLY {table} DISABLE TRIGGER {trigger}")).await?;
        again.push(format!("ALTER TABLE ONLY {table} {enable} TRIGGER {trigger}"));
    }
    Ok(again)
}
