//! The tables of a database that stays which get rows.

use std::collections::BTreeSet;

use backup_core::{Part, PartKind, Result};

use crate::ddl::quote::literal;
use crate::rows::RowsSpec;
use crate::spec::read;

/// How a query begins that asks about them: `filled` has the oids of the tables that the rows of `parts` go into, and of their partitions, since
/// the target may have others than the source. None if there are no such tables.
pub(super) fn with_filled(parts: &[Part]) -> Result<Option<String>> {
    let mut tables = BTreeSet::new();
    for part in parts.iter().filter(|part| matches!(part.kind, PartKind::Rows { .. })) {
        let RowsSpec::Table { into, .. } = read(part)? else { continue };
        let own = || (part.object.schema.clone().unwrap_or_default(), part.object.name.clone());
        tables.extend([Some(own()), into].into_iter().flatten());
    }
    if tables.is_empty() {
        return Ok(None);
    }
    let value = |(schema, name): &(String, String)| format!("({}, {})", literal(schema), literal(name));
    Ok(Some(format!(
        "WITH RECURSIVE filled (oid) AS (
           SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
           WHERE (n.nspname, c.relname) IN (VALUES {})
           UNION SELECT c.oid FROM filled f JOIN pg_catalog.pg_inherits i ON i.inhparent = f.oid
                 JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition)",
        tables.iter().map(value).collect::<Vec<_>>().join(", ")
    )))
}
