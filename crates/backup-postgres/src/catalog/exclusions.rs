//! Exclusion constraints of partitioned tables in version 17, whose server cannot attach an index of a partition to that of its parent: those of
//! partitions are made along with their parent's, and get their names behind that.

use std::collections::HashMap;

use backup_core::Result;

use super::node::{Catalog, class, named};
use super::reader::Fields;
use super::relations::Relations;
use crate::ddl::quote::{block, ident, literal};

/// Gives the constraint of a partitioned table what those of its partitions are called, once it waits for their rows. Parents come first among
/// `rows`, and each is known as its parent's already.
pub(super) fn come_along(
    catalog: &mut Catalog,
    relations: &Relations,
    rows: &[&Fields],
    by_oid: &HashMap<u32, &Fields>,
) -> Result<()> {
    for row in rows {
        let key = (class::CONSTRAINT, row.oid("oid")?);
        let parent = by_oid.get(&row.oid("conparentid")?);
        let (Some(id), Some(parent)) = (catalog.by_key.get(&key).copied(), parent) else { continue };
        let of = relations.get(parent.oid("conrelid")?);
        let (Some(relation), Some(of)) = (relations.get(row.oid("conrelid")?), of) else { continue };
        let name = row.text("name")?;
        let index = (class::RELATION, row.oid("conindid")?);
        catalog.alias(index, key);
        catalog.identities.insert(key, format!("CONSTRAINT {} ON {}", ident(name), relation.quoted()));
        if let (Some(schema), Some(name)) = (row.maybe("index_schema")?, row.maybe("index_name")?) {
            catalog.identities.insert(index, named("INDEX", schema, name));
        }
        let rows = catalog.rows_of.get(&relation.oid).cloned().unwrap_or_default();
        let rename = renamed(&relation.quoted(), name, &of.quoted(), parent.text("name")?);
        let node = catalog.node_mut(id)?;
        node.needs.extend(rows);
        node.push(rename);
    }
    Ok(())
}

/// A statement that gives the constraint of a partition its name, if the server has chosen another.
fn renamed(table: &str, name: &str, parent: &str, of: &str) -> String {
    let (table, name, parent, of) = (literal(table), literal(name), literal(parent), literal(of));
    let body = format!(
        "DECLARE chosen name; BEGIN
           SELECT c.conname INTO STRICT chosen FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_constraint p ON p.oid = c.conparentid
           WHERE c.conrelid = {table}::pg_catalog.regclass AND p.conrelid = {parent}::pg_catalog.regclass AND p.conname = {of};
           IF chosen <> {name} THEN
             EXECUTE pg_catalog.format('ALTER TABLE %s RENAME CONSTRAINT %I TO %I', {table}::pg_catalog.regclass, chosen, {name}::text);
           END IF;
         END"
    );
    block(&body)
}
