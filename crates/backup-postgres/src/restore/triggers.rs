//! Triggers of tables that get rows while they stay.

use backup_core::{Ctx, Result};

use crate::connect::{Session, column};
use crate::ddl::quote::{ident, qualified};

/// Switches off the triggers of tables that get rows (`filled` begins a query about them) which fire even while rows are replicated, which
/// loading counts as, and returns what switches them on again. All of it within the transaction.
pub(super) async fn silence(ctx: &Ctx, session: &Session, filled: &str) -> Result<Vec<String>> {
    let sql = format!(
        "{filled}
         SELECT n.nspname::text AS schema, c.relname::text AS name, t.tgname::text AS trigger, t.tgenabled::text AS state
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE t.tgenabled IN ('A', 'R') AND c.oid IN (SELECT f.oid FROM filled f)"
    );
    let mut again = Vec::new();
    for row in session.rows(ctx, &sql, &[]).await? {
        let table = qualified(column(&row, "schema")?, column(&row, "name")?);
        let trigger = ident(column(&row, "trigger")?);
        let state = if column::<&str>(&row, "state")? == "A" { "ALWAYS" } else { "REPLICA" };
        session.statement(ctx, &format!("ALTER TABLE ONLY {table} DISABLE TRIGGER {trigger}")).await?;
        again.push(format!("ALTER TABLE ONLY {table} ENABLE {state} TRIGGER {trigger}"));
    }
    Ok(again)
}
