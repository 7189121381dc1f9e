//! Triggers of tables that get rows while they stay.

use std::collections::BTreeSet;

use backup_core::{Ctx, Part, PartKind, Result};

use crate::connect::{Session, column};
use crate::ddl::quote::{ident, literal, qualified};

/// Switches off the triggers that fire even while rows are replicated, which loading counts as, and returns what switches them on again.
/// All of it within the transaction.
pub(super) async fn silence(ctx: &Ctx, session: &Session, parts: &[Part]) -> Result<Vec<String>> {
    let is_rows = |part: &&Part| {
        matches!(part.kind, PartKind::Rows { .. })
            && matches!(part.object.kind.as_str(), "table" | "partition")
    };
    let tables: BTreeSet<String> = (parts.iter().filter(is_rows))
        .map(|part| {
            let schema = part.object.schema.as_deref().unwrap_or_default();
            format!("({}, {})", literal(schema), literal(&part.object.name))
        })
        .collect();
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT n.nspname::text AS schema, c.relname::text AS name, t.tgname::text AS trigger, t.tgenabled::text AS state
         FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         WHERE t.tgenabled IN ('A', 'R') AND (n.nspname, c.relname) IN (VALUES {})",
        tables.into_iter().collect::<Vec<_>>().join(", ")
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
