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
    // Not those of keys, which look after the rows. Up to version 14 the copies that partitions have of a trigger are said to be internal too.
    let of_keys =
        "SELECT p.oid FROM pg_catalog.pg_proc p WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
                   AND (p.proname ~ '^RI_FKey_' OR p.proname = 'unique_key_recheck')";
    let sql = format!(
        "{filled}
         SELECT n.nspname::text AS schema, c.relname::text AS name, t.tgname::text AS trigger, t.tgenabled::text AS state
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE t.tgenabled IN ({firing}) AND (t.tgenabled <> 'O' OR t.tgfoid NOT IN ({of_keys})) AND c.oid IN (SELECT f.oid FROM filled f)"
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
