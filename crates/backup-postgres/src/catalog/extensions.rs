//! Extensions, what they bring along, and the rows of their tables that are configuration.

use std::collections::{HashMap, HashSet};

use backup_core::{Column, Result};

use super::database::Database;
use super::depend::reached;
use super::node::{Body, Catalog, Node, NodeId, Rank, class};
use super::reader::Reader;
use super::schemas::sequence_columns;
use crate::ddl::quote::ident;
use crate::rows::RowsSpec;
use crate::spec::Gate;

/// What each extension brings along, so that it is not made a second time.
pub(super) async fn members(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    // Of a type only itself is said to be a member: neither that of its arrays nor what is behind a composite one, or is made along with a range.
    let ranges = reader.since(
        14,
        "UNION ALL SELECT d.classid, x.oid, d.refobjid FROM member d JOIN pg_catalog.pg_range r ON r.rngtypid = d.objid
             JOIN pg_catalog.pg_type m ON m.oid = r.rngmultitypid CROSS JOIN LATERAL (VALUES (m.oid), (m.typarray)) AS x (oid) WHERE d.classid = 1247",
        "",
    );
    let sql = format!(
        "WITH member AS (
           SELECT d.classid, d.objid, d.refobjid FROM pg_catalog.pg_depend d
           WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass)
         SELECT classid, objid, refobjid FROM member
         UNION ALL SELECT d.classid, t.typarray, d.refobjid FROM member d JOIN pg_catalog.pg_type t ON t.oid = d.objid
             WHERE d.classid = {types} AND t.typarray <> 0
         UNION ALL SELECT {relations}, t.typrelid, d.refobjid FROM member d JOIN pg_catalog.pg_type t ON t.oid = d.objid
             WHERE d.classid = {types} AND t.typrelid <> 0
         UNION ALL SELECT {types}, x.oid, d.refobjid FROM member d JOIN pg_catalog.pg_class c ON c.oid = d.objid
             JOIN pg_catalog.pg_type t ON t.oid = c.reltype CROSS JOIN LATERAL (VALUES (t.oid), (t.typarray)) AS x (oid)
             WHERE d.classid = {relations} AND x.oid <> 0
         {ranges}",
        types = class::TYPE,
        relations = class::RELATION
    );
    for row in reader.rows(&sql).await? {
        catalog.members.insert((row.oid("classid")?, row.oid("objid")?), row.oid("refobjid")?);
    }
    Ok(())
}

/// Extensions, and the rows of their tables that are configuration. `unreadable` are the sequences of which the account may not read how far
/// they have come.
pub(super) async fn extensions(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    database: &Database,
    unreadable: &HashSet<u32>,
) -> Result<()> {
    let sql = "SELECT e.oid, e.extname::text AS name, n.nspname::text AS schema, pg_catalog.obj_description(e.oid, 'pg_extension') AS comment
               FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace
               WHERE e.oid >= 16384 ORDER BY e.extname";
    for row in reader.rows(sql).await? {
        let (oid, name, schema) = (row.oid("oid")?, row.text("name")?, row.text("schema")?);
        let create = format!("CREATE EXTENSION IF NOT EXISTS {} WITH SCHEMA {}", ident(name), ident(schema));
        let mut node = Node::sql("extension", name, Rank::Objects, vec![create]);
        node = node.identity(format!("EXTENSION {}", ident(name)));
        node.extension = Some(name.to_owned());
        if row.maybe("comment")?.is_none() {
            // Its own comment comes along with it.
            node.comments.push(format!("COMMENT ON EXTENSION {} IS NULL", ident(name)));
        }
        let id = catalog.add((class::EXTENSION, oid), node);
        let members: Vec<_> =
            catalog.members.iter().filter(|(_, of)| **of == oid).map(|(key, _)| *key).collect();
        for member in members {
            catalog.by_key.insert(member, id);
        }
    }
    let sql = "SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
                      NULLIF(x.condition, '') AS condition,
                      ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0
                            AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS columns,
                      ARRAY(SELECT pg_catalog.format_type(a.atttypid, a.atttypmod) FROM pg_catalog.pg_attribute a
                            WHERE a.attrelid = c.oid AND a.attnum > 0
                            AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) AS types
               FROM pg_catalog.pg_extension e
               CROSS JOIN LATERAL ROWS FROM (pg_catalog.unnest(e.extconfig), pg_catalog.unnest(e.extcondition)) AS x (relation, condition)
               JOIN pg_catalog.pg_class c ON c.oid = x.relation JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE c.relkind IN ('r', 'S') ORDER BY n.nspname, c.relname";
    let mut configured = HashMap::new();
    for row in reader.rows(sql).await? {
        let (oid, schema, name) = (row.oid("oid")?, row.text("schema")?, row.text("name")?);
        let columns: Vec<_> =
            row.list("columns")?.iter().zip(row.list("types")?).map(|(n, t)| Column::new(n, t)).collect();
        let (kind, columns, spec) = match row.text("kind")? {
            "S" => ("sequence", sequence_columns(), RowsSpec::Sequence { gate: Gate::Rows }),
            _ => {
                let condition = row.maybe("condition")?.map(condition_of);
                let encoding = database.encoding.clone();
                (
                    "table",
                    columns,
                    RowsSpec::Table { gate: Gate::Rows, encoding, blocks: None, condition, into: None },
                )
            }
        };
        let mut node = Node::sql(kind, name, Rank::Rows, vec![]).in_schema(schema);
        node.body = Body::Rows { columns, spec, size: 0 };
        node.needs.extend(catalog.by_key.get(&(class::RELATION, oid)));
        let id = catalog.push(node);
        catalog.rows_of.entry(oid).or_default().push(id);
        if unreadable.contains(&oid) {
            catalog.unreadable.insert(id);
        }
        configured.insert(oid, id);
    }
    keys(reader, catalog, &configured).await
}

/// The keys of such tables are there before their rows: what a key refers to comes first.
async fn keys(reader: Reader<'_>, catalog: &mut Catalog, configured: &HashMap<u32, NodeId>) -> Result<()> {
    if configured.is_empty() {
        return Ok(());
    }
    let sql = "SELECT k.conrelid, k.confrelid, k.conname::text AS name FROM pg_catalog.pg_constraint k
               WHERE k.contype = 'f' AND k.conrelid <> k.confrelid ORDER BY k.conrelid, k.conname";
    for row in reader.rows(sql).await? {
        let (from, to) = (configured.get(&row.oid("conrelid")?), configured.get(&row.oid("confrelid")?));
        let (Some(&from), Some(&to)) = (from, to) else { continue };
        if reached(catalog, to, |_| true).contains(&from) {
            reader.ctx.warn(format!(
                "tables of an extension refer to each other: rows that key {} watches over may not be restored",
                row.text("name")?.escape_debug()
            ));
        } else {
            catalog.node_mut(from)?.needs.insert(to);
        }
    }
    Ok(())
}

/// An extension's condition begins with the word WHERE.
fn condition_of(text: &str) -> String {
    let text = text.trim();
    let rest = text.get(..5).filter(|word| word.eq_ignore_ascii_case("where")).and_then(|_| text.get(5..));
    rest.unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extensions_condition_is_an_expression() {
        assert_eq!(condition_of(" WHERE id < 10"), " id < 10");
        assert_eq!(condition_of("id < 10"), "id < 10");
    }
}
