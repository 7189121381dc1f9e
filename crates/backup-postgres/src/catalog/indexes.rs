//! Indexes, those of constraints included, as far as these say less than there is.

use std::collections::HashMap;

use backup_core::Result;

use super::node::{Catalog, NodeId, Rank, class};
use super::reader::{Fields, OURS, Reader};
use super::relations::{RelationKind, Relations};
use crate::ddl::quote::{ident, qualified};

/// What the server says of them; a definition only of those that are no constraint's, since saying one takes it long.
pub(super) async fn read(reader: Reader<'_>) -> Result<Vec<Fields>> {
    let nulls = reader.since(15, "i.indnullsnotdistinct", "false");
    let sql = format!(
        "SELECT i.indexrelid, {nulls} AS nulls_not_distinct, i.indrelid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
                CASE WHEN k.conindid IS NULL THEN pg_catalog.pg_get_indexdef(i.indexrelid) END AS definition,
                i.indisvalid, i.indisclustered, i.indisreplident, p.inhparent, pn.nspname::text AS parent_schema, pc.relname::text AS parent_name,
                s.spcname::text AS tablespace,
                ARRAY(SELECT a.attnum::int4 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0 ORDER BY a.attnum) AS target_columns,
                ARRAY(SELECT a.attstattarget::int4 FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attstattarget >= 0 ORDER BY a.attnum) AS targets
         FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN (SELECT DISTINCT conindid FROM pg_catalog.pg_constraint WHERE contype IN ('p', 'u', 'x')) k ON k.conindid = c.oid
         LEFT JOIN pg_catalog.pg_inherits p ON p.inhrelid = c.oid
         LEFT JOIN pg_catalog.pg_class pc ON pc.oid = p.inhparent LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = pc.relnamespace
         LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
         WHERE {OURS} ORDER BY n.nspname, c.relname"
    );
    reader.rows(&sql).await
}

pub(super) fn indexes(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    relations: &Relations,
    rows: &[Fields],
) -> Result<()> {
    let mut attaches = Vec::new();
    let constraints_of: HashMap<u32, NodeId> = (catalog.indexes_of.iter())
        .filter_map(|(table, made)| made.last().map(|last| (*table, *last)))
        .collect();
    for row in rows {
        let Some(relation) = relations.get(row.oid("indrelid")?) else { continue };
        let key = (class::RELATION, row.oid("indexrelid")?);
        let name = row.text("name")?;
        let index = qualified(row.text("schema")?, name);
        if let Some(definition) = row.maybe("definition")? {
            if !row.is("indisvalid")? && row.text("kind")? != "I" {
                reader.ctx.warn(format!(
                    "index {} is left out: it is not valid, since making it failed",
                    index.escape_debug()
                ));
                catalog.left_out.insert(key);
                continue;
            }
            let is_of_contents = relation.kind == RelationKind::Materialized;
            let kind = if is_of_contents { "materialized view index" } else { "index" };
            let mut node =
                relations.node_of(catalog, relation, kind, name, Rank::Made, vec![definition.to_owned()]);
            node = node.identity(format!("INDEX {index}"));
            node.tablespace = row.maybe("tablespace")?.map(str::to_owned);
            // Others can be made at once, but not while a constraint is.
            node.needs.extend(constraints_of.get(&relation.oid));
            let id = catalog.add(key, node);
            catalog.indexes_of.entry(relation.oid).or_default().push(id);
        }
        let Some(node) = catalog.of(key) else { continue };
        if row.is("nulls_not_distinct")? {
            node.since(15, "NULLS NOT DISTINCT");
        }
        let targets: Vec<i32> = row.get("targets")?;
        for (column, target) in row.get::<Vec<i32>>("target_columns")?.into_iter().zip(targets) {
            node.push(format!("ALTER INDEX {index} ALTER COLUMN {column} SET STATISTICS {target}"));
        }
        if row.is("indisclustered")? {
            node.push(format!("ALTER TABLE {} CLUSTER ON {}", relation.quoted(), ident(name)));
        }
        if row.is("indisreplident")? {
            node.push(format!(
                "ALTER TABLE ONLY {} REPLICA IDENTITY USING INDEX {}",
                relation.quoted(),
                ident(name)
            ));
        }
        if let (Some(parent), Some(schema), Some(of)) =
            (row.get::<Option<u32>>("inhparent")?, row.maybe("parent_schema")?, row.maybe("parent_name")?)
        {
            let made = catalog.by_key.get(&key);
            // One that its parent's constraint makes is attached by that.
            if made.is_some() && made == catalog.by_key.get(&(class::RELATION, parent)) {
                continue;
            }
            let statement = format!("ALTER INDEX {} ATTACH PARTITION {index}", qualified(schema, of));
            attaches.push((relation, name.to_owned(), key, (class::RELATION, parent), statement));
        }
    }
    for (relation, name, child, parent, statement) in attaches {
        let mut node =
            relations.node_of(catalog, relation, "index attach", &name, Rank::Made, vec![statement]);
        node.needs.extend(catalog.by_key.get(&child));
        node.needs.extend(catalog.by_key.get(&parent));
        catalog.push(node);
    }
    Ok(())
}
