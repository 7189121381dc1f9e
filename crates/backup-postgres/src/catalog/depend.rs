//! What needs what: `pg_depend`, and comments, both read for everything at once.

use std::collections::{HashMap, HashSet};

use backup_core::Result;

use super::node::{Catalog, NodeId, class};
use super::reader::Reader;
use super::relations::{RelationKind, Relations};
use crate::ddl::quote::{ident, qualified};

/// Reads which objects need which, and gives each node what it needs.
pub(super) async fn depend(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = "SELECT d.classid, d.objid, d.refclassid, d.refobjid, d.deptype::text
               FROM pg_catalog.pg_depend d
               WHERE d.refobjid >= 16384 AND d.objid >= 16384 AND d.deptype <> 'e'";
    // Types that are needed by functions which they need themselves.
    let mut functions_of: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut edges = Vec::new();
    for row in reader.rows(sql).await? {
        let from = (row.oid("classid")?, row.oid("objid")?);
        let to = (row.oid("refclassid")?, row.oid("refobjid")?);
        if from.0 == class::TYPE && to.0 == class::PROC && catalog.shells.contains_key(&from.1) {
            functions_of.entry(from.1).or_default().push(to.1);
        }
        edges.push((from, to));
    }
    for (from, to) in edges {
        let (Some(&node), Some(&needed)) = (catalog.by_key.get(&from), catalog.by_key.get(&to)) else {
            continue;
        };
        let is_its_own = from.0 == class::PROC
            && to.0 == class::TYPE
            && functions_of.get(&to.1).is_some_and(|functions| functions.contains(&from.1));
        let needed = if is_its_own { catalog.shells.get(&to.1).copied().unwrap_or(needed) } else { needed };
        if node != needed {
            catalog.node_mut(node)?.needs.insert(needed);
            // What the columns of a view need, apart from what its query does.
            if from.0 == class::RELATION
                && let Some(dummy) = catalog.dummies.get_mut(&node)
            {
                dummy.needs.insert(needed);
            }
        }
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

/// Gives every object its comment, and those of its columns.
pub(super) async fn comments(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = "SELECT d.classoid, d.objoid, d.objsubid, d.description AS text, a.attname::text AS column
               FROM pg_catalog.pg_description d
               LEFT JOIN pg_catalog.pg_attribute a
                 ON d.classoid = 'pg_catalog.pg_class'::pg_catalog.regclass AND a.attrelid = d.objoid AND a.attnum = d.objsubid AND d.objsubid > 0
               WHERE d.objoid >= 16384 ORDER BY d.classoid, d.objoid, d.objsubid";
    for row in reader.rows(sql).await? {
        let key = (row.oid("classoid")?, row.oid("objoid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (text, column) = (row.text("text")?, row.maybe("column")?);
        // Comments of constraints that their table makes along, and of others that are named by what they belong to.
        let identity = catalog.identities.get(&key).cloned();
        let Some(node) = catalog.of(key) else { continue };
        let identity = match (identity, column, &node.schema) {
            (_, Some(column), Some(schema)) => {
                format!("COLUMN {}.{}", qualified(schema, &node.name), ident(column))
            }
            (Some(identity), ..) => identity,
            _ => node.identity.clone(),
        };
        if identity.is_empty() {
            reader.ctx.warn(format!("a comment of {} is left out", node.told()));
            continue;
        }
        node.comment(&identity, text);
    }
    Ok(())
}
