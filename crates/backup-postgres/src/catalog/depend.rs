//! What needs what: `pg_depend`, and comments, both read for everything at once.

use std::collections::{HashMap, HashSet};

use backup_core::Result;

use super::node::{By, Catalog, Key, Node, NodeId, Rank, class};
use super::reader::{Fields, Reader};
use super::relations::{RelationKind, Relations};
use crate::ddl::quote::{ident, literal, qualified};
use crate::spec::LABEL_OF_EXTENSION;

/// Reads which objects need which.
pub(super) async fn read(reader: Reader<'_>) -> Result<Vec<Fields>> {
    // The public schema is always there; what a database began with may be called otherwise now, and is made.
    // What a rule needs of its own view is in its query; but before version 16 the rule of each needs it, as where OLD and NEW come from.
    // What generates a column, the column itself needs before version 15.
    let of_generated = "EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
      AND a.attrelid = d.objid AND a.attnum = d.objsubid AND a.attgenerated <> '') AND d.refclassid NOT IN ('pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_collation'::pg_catalog.regclass)";
    let sql = format!("SELECT d.classid, d.objid, d.refclassid, d.refobjid,
                 d.deptype = 'n' AND (d.refobjsubid > 0 OR pg_catalog.current_setting('server_version_num')::int >= 160000) AS is_in_query,
                 {generates} AS generates
               FROM pg_catalog.pg_depend d LEFT JOIN pg_catalog.pg_namespace n
                 ON d.refclassid = 'pg_catalog.pg_namespace'::pg_catalog.regclass AND n.oid = d.refobjid
               WHERE d.objid >= 16384 AND d.deptype <> 'e' AND CASE WHEN n.oid IS NULL THEN d.refobjid >= 16384 ELSE n.nspname <> 'public' END",
        generates = reader.since(15, "false", of_generated)
    );
    reader.rows(&sql).await
}

/// Gives each node what it needs.
pub(super) fn depend(catalog: &mut Catalog, rows: &[Fields]) -> Result<()> {
    // Types that are needed by functions which they need themselves.
    let mut functions_of: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut edges = Vec::new();
    for row in rows {
        let from = (row.oid("classid")?, row.oid("objid")?);
        let to = (row.oid("refclassid")?, row.oid("refobjid")?);
        if from.0 == class::TYPE && to.0 == class::PROC && catalog.shells.contains_key(&from.1) {
            functions_of.entry(from.1).or_default().push(to.1);
        }
        edges.push((from, to, row.is("is_in_query")?, row.is("generates")?));
    }
    for (from, to, is_in_query, generates) in edges {
        let (Some(&node), Some(&needed)) = (catalog.by_key.get(&from), catalog.by_key.get(&to)) else {
            continue;
        };
        let is_its_own = from.0 == class::PROC
            && to.0 == class::TYPE
            && functions_of.get(&to.1).is_some_and(|functions| functions.contains(&from.1));
        let needed = if is_its_own { catalog.shells.get(&to.1).copied().unwrap_or(needed) } else { needed };
        if node == needed && from == to && from.0 == class::PROC && catalog.dummies.contains_key(&node) {
            // A function that calls itself is a circle.
            catalog.node_mut(node)?.needs.insert(node);
        }
        if node == needed && from.0 == class::REWRITE && is_in_query && catalog.dummies.contains_key(&node) {
            // So is a view that selects from itself.
            catalog.node_mut(node)?.needs.insert(node);
        }
        if node != needed {
            catalog.node_mut(node)?.needs.insert(needed);
            // Support functions that a method can do without are their family's, and yet a partition key may want one.
            if from.0 == class::RELATION
                && to.0 == class::OPCLASS
                && let Some(loose) = catalog.loose_of_class.get(&to.1).copied()
            {
                catalog.node_mut(node)?.needs.insert(loose);
            }
            // What the columns of a view need, apart from what its query does, and those of a table, apart from what generates them.
            if from.0 == class::RELATION
                && !generates
                && let Some(dummy) = catalog.dummies.get_mut(&node)
            {
                dummy.needs.insert(needed);
            }
        }
    }
    for dummy in catalog.dummies.values_mut() {
        dummy.needs.extend(dummy.of.iter().filter_map(|key| catalog.by_key.get(key)));
    }
    // The schema of an announced type.
    let shells: Vec<_> = catalog.shells.iter().map(|(oid, shell)| (*oid, *shell)).collect();
    for (oid, shell) in shells {
        let schemas: Vec<_> = (catalog.by_key.get(&(class::TYPE, oid)).and_then(|id| catalog.nodes.get(*id)))
            .map(|node| {
                node.needs
                    .iter()
                    .copied()
                    .filter(|id| catalog.nodes.get(*id).is_some_and(|n| n.kind == "schema"))
                    .collect()
            })
            .unwrap_or_default();
        catalog.node_mut(shell)?.needs.extend(schemas);
    }
    Ok(())
}

/// Gives what has expressions that which these use and `pg_depend` does not tell of, as far as that does not need them itself, or they can be
/// announced.
pub(super) fn unsaid(catalog: &mut Catalog) -> Result<()> {
    const KINDS: [&str; 8] = [
        "domain",
        "table",
        "foreign table",
        "default",
        "view",
        "materialized view",
        "constraint",
        "materialized view contents",
    ];
    for unsaid in std::mem::take(&mut catalog.unsaid) {
        let ours = |key: &&Key| !catalog.is_member(**key);
        let with: Vec<NodeId> =
            unsaid.with.iter().filter(ours).filter_map(|key| catalog.by_key.get(key)).copied().collect();
        let its_own = reached(catalog, unsaid.id, |_| true);
        let is_late = |id: &NodeId| catalog.nodes.get(*id).is_some_and(|node| node.rank > Rank::Objects);
        let may_use_it = match unsaid.by {
            By::Type(key) => needing(catalog, key, false),
            By::WayOf(key) => needing(catalog, key, true),
            // What may be any is not made late because of it.
            By::Nothing if !its_own.iter().any(is_late) => (0..catalog.nodes.len()).collect(),
            By::Nothing | By::Never => HashSet::new(),
        };
        for id in (0..catalog.nodes.len()).filter(|id| *id != unsaid.id) {
            let is_circle = its_own.contains(&id);
            let can_be_announced = catalog.dummies.contains_key(&id);
            let has_expressions = is_of(catalog, id, &KINDS) || catalog.parsed.contains(&id);
            let node = catalog.node_mut(id)?;
            let uses_it = with.iter().any(|with| node.needs.contains(with));
            if uses_it && (!is_circle || can_be_announced)
                || has_expressions
                    && may_use_it.contains(&id)
                    && !is_circle
                    && node.says(unsaid.said.as_deref())
            {
                node.needs.insert(unsaid.id);
            }
        }
    }
    Ok(())
}

/// What needs the node of `key`, and, if that is asked for, what needs such in its turn.
fn needing(catalog: &Catalog, key: Key, by_way_of_others: bool) -> HashSet<NodeId> {
    let mut needing = HashSet::new();
    let mut ahead: Vec<NodeId> = catalog.by_key.get(&key).copied().into_iter().collect();
    if !by_way_of_others {
        let of = |id: &NodeId| needs(catalog, *id).any(|needed| ahead.contains(&needed));
        return (0..catalog.nodes.len()).filter(of).collect();
    }
    let mut needed_by: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for id in 0..catalog.nodes.len() {
        needs(catalog, id).for_each(|needed| needed_by.entry(needed).or_default().push(id));
    }
    while let Some(id) = ahead.pop() {
        ahead.extend(needed_by.get(&id).into_iter().flatten().filter(|by| needing.insert(**by)));
    }
    needing
}

/// No check can be added to a domain when a column is of an array of it, or of a row: it comes before the tables of such columns, but for those
/// that its function needs.
pub(super) fn domain_checks(catalog: &mut Catalog) -> Result<()> {
    let checks = std::mem::take(&mut catalog.domain_checks);
    if checks.is_empty() {
        return Ok(());
    }
    let mut tables_of: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for table in 0..catalog.nodes.len() {
        if is_of(catalog, table, &["table", "partition", "foreign table", "materialized view"]) {
            for of in reached(catalog, table, |id| is_of(catalog, id, &["type", "domain"])) {
                tables_of.entry(of).or_default().push(table);
            }
        }
    }
    for check in checks {
        let domains: Vec<NodeId> =
            needs(catalog, check).filter(|id| is_of(catalog, *id, &["domain"])).collect();
        let needed = reached(catalog, check, |_| true);
        let tables = domains.iter().filter_map(|domain| tables_of.get(domain)).flatten();
        for table in tables.filter(|table| !needed.contains(table)) {
            catalog.node_mut(*table)?.needs.insert(check);
        }
    }
    Ok(())
}

fn needs(catalog: &Catalog, id: NodeId) -> impl Iterator<Item = NodeId> {
    catalog.nodes.get(id).into_iter().flat_map(|node| node.needs.iter().copied())
}

fn is_of(catalog: &Catalog, id: NodeId, kinds: &[&str]) -> bool {
    catalog.nodes.get(id).is_some_and(|node| kinds.contains(&node.kind))
}

/// What a node needs, by way of such nodes alone.
pub(super) fn reached(catalog: &Catalog, id: NodeId, such: impl Fn(NodeId) -> bool) -> HashSet<NodeId> {
    let (mut reached, mut ahead) = (HashSet::new(), vec![id]);
    while let Some(id) = ahead.pop() {
        ahead.extend(needs(catalog, id).filter(|needed| such(*needed) && reached.insert(*needed)));
    }
    reached
}

/// The contents of a materialized view need the rows of all that its query reads, through other views too.
pub(super) fn contents(catalog: &mut Catalog, relations: &Relations) -> Result<()> {
    let mut rows_of: HashMap<NodeId, &[NodeId]> = HashMap::new();
    let mut views = Vec::new();
    for relation in &relations.all {
        let (Some(id), Some(rows)) =
            (catalog.by_key.get(&relation.key()), catalog.rows_of.get(&relation.oid))
        else {
            continue;
        };
        rows_of.insert(*id, rows.as_slice());
        if relation.kind == RelationKind::Materialized {
            views.push((*id, rows.clone()));
        }
    }
    let mut found = Vec::new();
    for (view, contents) in views {
        let (mut seen, mut ahead) = (HashSet::from([view]), vec![view]);
        while let Some(id) = ahead.pop() {
            if id != view {
                found.extend(
                    rows_of
                        .get(&id)
                        .into_iter()
                        .flat_map(|rows| contents.iter().map(|c| (*c, rows.to_vec()))),
                );
            }
            let needs = catalog.nodes.get(id).map(|node| &node.needs);
            ahead.extend(needs.into_iter().flatten().copied().filter(|needed| seen.insert(*needed)));
        }
    }
    for (contents, rows) in found {
        catalog.node_mut(contents)?.needs.extend(rows);
    }
    Ok(())
}

/// What goes when an extension does, although it is no part of it: functions, triggers, indexes, materialized views.
pub(super) async fn on_extensions(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    // Copies of a trigger, on partitions, are made with it.
    let of_copy = reader.since(13, "t.tgparentid <> 0", "t.tgisinternal");
    let sql = format!(
        "SELECT d.classid, d.objid, e.extname::text AS extension FROM pg_catalog.pg_depend d
         JOIN pg_catalog.pg_extension e ON d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND e.oid = d.refobjid
         WHERE d.deptype = 'x' AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_trigger t WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND t.oid = d.objid AND {of_copy})
         ORDER BY d.classid, d.objid, e.extname"
    );
    for row in reader.rows(&sql).await? {
        let key = (row.oid("classid")?, row.oid("objid")?);
        let identity = catalog.identities.get(&key).cloned();
        let Some(node) = catalog.of(key) else { continue };
        let identity = identity.unwrap_or_else(|| node.identity.clone());
        node.push(format!("ALTER {identity} DEPENDS ON EXTENSION {}", ident(row.text("extension")?)));
    }
    Ok(())
}

/// How a type is called of which something is said: that of arrays, of rows or of multiranges is made along with another.
const TYPE: &str = "CASE WHEN d.classoid = 'pg_catalog.pg_type'::pg_catalog.regclass THEN pg_catalog.format_type(d.objoid, NULL) END";

/// Gives every object its comment, and those of its columns.
pub(super) async fn comments(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT d.classoid, d.objoid, d.description AS text, {TYPE} AS type, n.nspname::text AS schema, c.relname::text AS relation, a.attname::text AS column
               FROM pg_catalog.pg_description d
               LEFT JOIN pg_catalog.pg_attribute a
                 ON d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
               LEFT JOIN pg_catalog.pg_class c ON c.oid = a.attrelid LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               WHERE d.objoid >= 16384 OR d.classoid = 'pg_catalog.pg_largeobject'::pg_catalog.regclass ORDER BY d.classoid, d.objoid, d.objsubid"
    );
    // Whoever makes a large object may choose its number.
    for row in reader.rows(&sql).await? {
        let key = (row.oid("classoid")?, row.oid("objoid")?);
        let text = literal(row.text("text")?);
        said_of(reader, catalog, key, &row, "comment", |identity| {
            format!("COMMENT ON {identity} IS {text}")
        })?;
    }
    Ok(())
}

/// Gives every object its security labels, and those of its columns.
pub(super) async fn labels(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT d.classoid, d.objoid, d.provider, d.label, i.type AS word, i.identity, {TYPE} AS type, n.nspname::text AS schema, c.relname::text AS relation, a.attname::text AS column
               FROM pg_catalog.pg_seclabel d CROSS JOIN LATERAL pg_catalog.pg_identify_object(d.classoid, d.objoid, d.objsubid) AS i
               LEFT JOIN pg_catalog.pg_attribute a
                 ON d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
               LEFT JOIN pg_catalog.pg_class c ON c.oid = a.attrelid LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               ORDER BY d.classoid, d.objoid, d.objsubid, d.provider"
    );
    for row in reader.rows(&sql).await? {
        let key = (row.oid("classoid")?, row.oid("objoid")?);
        let (provider, label) = (row.text("provider")?.to_owned(), row.text("label")?.to_owned());
        if catalog.is_member(key) {
            // Whether the extension says it itself is not known.
            let (word, identity) = (row.text("word")?.to_uppercase(), row.text("identity")?);
            let word = if word.ends_with(" COLUMN") { "COLUMN" } else { &word };
            let label = security_label(&provider, &format!("{word} {identity}"), &label);
            let mut node = Node::sql(LABEL_OF_EXTENSION, identity, Rank::Made, vec![label]);
            node.needs.extend(catalog.by_key.get(&key));
            catalog.push(node);
            continue;
        }
        said_of(reader, catalog, key, &row, "security label", |identity| {
            security_label(&provider, identity, &label)
        })?;
    }
    Ok(())
}

pub(super) fn security_label(provider: &str, identity: &str, label: &str) -> String {
    format!("SECURITY LABEL FOR {} ON {identity} IS {}", ident(provider), literal(label))
}

/// Adds what is said of an object, or of a column of it, to what makes it.
fn said_of(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    key: Key,
    row: &Fields,
    what: &str,
    say: impl FnOnce(&str) -> String,
) -> Result<()> {
    if catalog.is_member(key) {
        return Ok(());
    }
    let column = match (row.maybe("schema")?, row.maybe("relation")?, row.maybe("column")?) {
        (Some(schema), Some(relation), Some(column)) => {
            Some(format!("COLUMN {}.{}", qualified(schema, relation), ident(column)))
        }
        _ => None,
    };
    let of_type = row.maybe("type")?.map(|name| format!("TYPE {name}"));
    // Of what another node makes along, or is named by what it belongs to.
    let identity = column.or(of_type).or_else(|| catalog.identities.get(&key).cloned());
    let Some(node) = catalog.of(key) else { return Ok(()) };
    let identity = identity.unwrap_or_else(|| node.identity.clone());
    if identity.is_empty() {
        reader.ctx.warn(format!("a {what} of {} is left out", node.told()));
    } else {
        node.comments.push(say(&identity));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_security_label_is_a_text_of_its_provider() {
        assert_eq!(
            security_label("du\"mmy", "TABLE \"s\".\"t\"", "it's secret"),
            "SECURITY LABEL FOR \"du\"\"mmy\" ON TABLE \"s\".\"t\" IS 'it''s secret'"
        );
    }
}
