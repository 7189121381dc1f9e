//! The rows of tables, as the parts that they become.

use std::collections::{HashMap, HashSet};

use backup_core::{Column, Error, Result};

use super::node::{Body, Catalog, Rank};
use super::reader::{Fields, OURS, Reader};
use super::relations::{Relation, RelationKind};
use super::tables::Parts;
use crate::ddl::quote::ident;
use crate::rows::RowsSpec;
use crate::spec::Gate;

/// A table of more blocks than this is split, at multiples of it, so that bounds stay where they are: 64 MiB of the usual blocks.
const SPLIT: u32 = 8192;

/// Types whose values the server says and no server takes: only its own catalogs are made of them, and copies that somebody made of these.
const SAID_ONLY: [&str; 6] = [
    "pg_node_tree",
    "pg_ndistinct",
    "pg_dependencies",
    "pg_mcv_list",
    "pg_brin_bloom_summary",
    "pg_brin_minmax_multi_summary",
];

/// How large a table is.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// Of its main fork. Others come and go by vacuum.
    blocks: u32,
    /// With those of its TOAST table.
    bytes: u64,
}

/// The size of each table, by its oid. For each question for one the server opens the table, so it is asked once.
pub(super) async fn sizes(reader: Reader<'_>) -> Result<HashMap<u32, Size>> {
    // What a single block refers to may be more than it says, where nobody has looked since: that costs time, and nothing else.
    let sql = format!(
        "SELECT c.oid, size.main / block.size AS blocks, size.main + CASE WHEN size.main > block.size OR t.relpages > 0
                  THEN COALESCE(pg_catalog.pg_relation_size(t.oid), 0) ELSE 0 END AS bytes
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
         CROSS JOIN (SELECT pg_catalog.current_setting('block_size')::int8 AS size) block
         CROSS JOIN LATERAL (SELECT COALESCE(pg_catalog.pg_relation_size(c.oid), 0) AS main OFFSET 0) size
         WHERE {OURS} AND c.relkind = 'r'"
    );
    let size = |row: &Fields| {
        let number = |name: &str| Ok::<_, Error>(row.get::<i64>(name)?.unsigned_abs());
        let blocks = u32::try_from(number("blocks")?).unwrap_or(u32::MAX);
        Ok((row.oid("oid")?, Size { blocks, bytes: number("bytes")? }))
    };
    reader.rows(&sql).await?.iter().map(size).collect()
}

/// The rows of each table, in pieces if it is large.
pub(super) async fn rows(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    parts: &Parts<'_>,
    sizes: &HashMap<u32, Size>,
    encoding: &str,
) -> Result<()> {
    let rerouted = rerouted(reader).await?;
    for relation in parts.relations.all.iter().filter(|relation| relation.kind == RelationKind::Table) {
        if parts.relations.is_standby && relation.is_unlogged {
            reader.ctx.warn(format!(
                "the rows of {} are not in the backup: it is not logged, so a standby does not have them",
                relation.quoted().escape_debug()
            ));
            continue;
        }
        let columns: Vec<_> = (parts.columns_of(relation).iter())
            .filter(|column| column.generated.is_none())
            .map(|column| Column::new(&column.name, &column.declared))
            .collect();
        let of_no_use = columns.iter().filter(|column| SAID_ONLY.contains(&column.declared_type.as_str()));
        let of_no_use: Vec<_> =
            of_no_use.map(|column| format!("{} IS NOT NULL", ident(&column.name))).collect();
        let is_lost = !of_no_use.is_empty() && holds(reader, relation, &of_no_use).await?;
        if is_lost {
            reader.ctx.warn(format!(
                "the rows of {} are left out: they are a copy of a catalog, with values that no server takes back",
                relation.quoted().escape_debug()
            ));
        }
        // Reading a range of blocks is quick since version 14.
        let splits = reader.version >= 140_000 && relation.is_heap && !columns.is_empty();
        let size = sizes.get(&relation.oid).copied().unwrap_or_default();
        let count = if splits { size.blocks.div_ceil(SPLIT).max(1) } else { 1 };
        let into =
            relation.root.filter(|root| rerouted.contains(root)).and_then(|root| parts.relations.get(root));
        for piece in 0..count {
            let blocks =
                (count > 1).then(|| (piece * SPLIT, (piece + 1 < count).then_some((piece + 1) * SPLIT)));
            let spec = RowsSpec::Table {
                gate: Gate::Rows,
                encoding: encoding.to_owned(),
                blocks,
                condition: None,
                into: into.map(|root| (root.schema.clone(), root.name.clone())),
            };
            let mut node =
                parts.relations.node_of(catalog, relation, "table", &relation.name, Rank::Rows, vec![]);
            node.table = parts.relations.selected_as(relation).map(str::to_owned);
            if into.is_some() && node.table.is_some() {
                // Their rows sum at the root: where they come into is the server's affair.
                node.kind = "partition";
            }
            node.body = Body::Rows { columns: columns.clone(), spec, size: size.bytes / u64::from(count) };
            let id = catalog.push(node);
            catalog.rows_of.entry(relation.oid).or_default().push(id);
            if is_lost {
                catalog.unreadable.insert(id);
            }
        }
    }
    for (oid, security) in std::mem::take(&mut catalog.secured) {
        let Some(relation) = parts.relations.get(oid) else { continue };
        let node =
            parts.relations.node_of(catalog, relation, "row security", &relation.name, Rank::Made, security);
        catalog.push(node);
    }
    Ok(())
}

/// Whether any of this is true of a row of the table.
async fn holds(reader: Reader<'_>, relation: &Relation, any_of: &[String]) -> Result<bool> {
    let sql = format!(
        "SELECT EXISTS (SELECT FROM ONLY {} WHERE {}) AS is_so",
        relation.quoted(),
        any_of.join(" OR ")
    );
    reader.rows(&sql).await?.first().map_or(Ok(false), |row| row.is("is_so"))
}

/// Roots of partition trees whose rows only the server can put into the right partition: hashes of enumerations depend on their oids, and so do
/// those of what has them in it. What names an object is kept as its oid too.
async fn rerouted(reader: Reader<'_>) -> Result<HashSet<u32>> {
    let multirange = reader.since(
        14,
        "UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngmultitypid = t.oid",
        "",
    );
    let sql = format!(
        "WITH RECURSIVE key AS (
           SELECT p.partrelid, x.attnum, x.class FROM pg_catalog.pg_partitioned_table p
           CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(p.partattrs::int2[]), pg_catalog.unnest(p.partclass::oid[])) AS x (attnum, class)
           WHERE p.partstrat = 'h'),
         held (root, type) AS (
           SELECT k.partrelid, a.atttypid FROM key k JOIN pg_catalog.pg_attribute a ON a.attrelid = k.partrelid AND a.attnum = k.attnum
           UNION SELECT h.root, x.type FROM held h JOIN pg_catalog.pg_type t ON t.oid = h.type CROSS JOIN LATERAL (
             SELECT t.typelem AS type WHERE t.typelem <> 0
             UNION ALL SELECT t.typbasetype WHERE t.typbasetype <> 0
             UNION ALL SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
             UNION ALL SELECT r.rngsubtype FROM pg_catalog.pg_range r WHERE r.rngtypid = t.oid {multirange}) AS x),
         unstable AS (
           SELECT h.root AS oid FROM held h JOIN pg_catalog.pg_type t ON t.oid = h.type
           WHERE t.typtype = 'e' OR t.oid < 16384 AND t.typname ~ '^reg'
           UNION SELECT k.partrelid FROM key k JOIN pg_catalog.pg_opclass o ON o.oid = k.class
           WHERE k.attnum = 0 AND o.opcname IN ('enum_ops', 'array_ops', 'record_ops', 'range_ops', 'multirange_ops', 'oid_ops')
           UNION SELECT i.inhparent FROM unstable u JOIN pg_catalog.pg_class c ON c.oid = u.oid AND c.relispartition
           JOIN pg_catalog.pg_inherits i ON i.inhrelid = u.oid)
         SELECT oid FROM unstable"
    );
    reader.rows(&sql).await?.iter().map(|row| row.oid("oid")).collect()
}
