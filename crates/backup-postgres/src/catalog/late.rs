//! Families of tables: which there are, and the node that adds their late columns.

use std::collections::{HashMap, HashSet};

use backup_core::Result;

use super::columns::Attribute;
use super::constraints::TableConstraints;
use super::families::{self, Families, Member};
use super::node::{Catalog, Node, NodeId, Rank, class};
use super::relations::{Relation, RelationKind, Relations};
use super::tables::{Parts, column_definition, inherited_from, settings};
use crate::ddl::quote::ident;

/// The tables that have to be made together for the sake of the order of their columns.
pub(super) fn families(
    relations: &Relations,
    columns: &HashMap<u32, Vec<Attribute>>,
    constraints: &TableConstraints,
) -> Families {
    let is_of_family = |relation: &&Relation| {
        matches!(relation.kind, RelationKind::Table | RelationKind::Foreign) && !relation.is_partition
    };
    let inherit: Vec<&Relation> =
        relations.all.iter().filter(is_of_family).filter(|relation| !relation.parents.is_empty()).collect();
    // Parents first.
    let (mut seen, mut members) = (HashSet::new(), Vec::new());
    let mut ahead: Vec<(&Relation, bool)> = inherit.iter().rev().map(|relation| (*relation, false)).collect();
    while let Some((relation, is_ready)) = ahead.pop() {
        if is_ready {
            if seen.insert(relation.oid) {
                members.push(relation);
            }
            continue;
        }
        if !seen.contains(&relation.oid) {
            ahead.push((relation, true));
            ahead.extend(relation.parents.iter().filter_map(|oid| relations.get(*oid)).map(|of| (of, false)));
        }
    }
    let members: Vec<Member<'_>> = (members.iter())
        .map(|relation| Member {
            oid: relation.oid,
            parents: &relation.parents,
            columns: (columns.get(&relation.oid).into_iter().flatten())
                .map(|column| (column.name.as_str(), column.is_local))
                .collect(),
            may_join: constraints.are_local(relation),
        })
        .collect();
    families::families(&members)
}

/// Adds the late columns of families, by a node that then stands for all members.
pub(super) fn complete(catalog: &mut Catalog, parts: &Parts<'_>) -> Result<()> {
    for family in &parts.families.all {
        let members: Vec<&Relation> =
            family.members.iter().filter_map(|oid| parts.relations.get(*oid)).collect();
        let made: Vec<NodeId> =
            members.iter().filter_map(|member| catalog.by_key.get(&member.key()).copied()).collect();
        let Some(first) = members.first() else { continue };
        let mut node =
            Node::sql("table columns", &first.name, Rank::Objects, vec![]).in_schema(&first.schema);
        node.table = Some(first.name.clone());
        node.needs.extend(&made);
        for relation in members.iter().filter(|relation| family.joining.contains(&relation.oid)) {
            for parent in relation.parents.iter().filter_map(|oid| parts.relations.get(*oid)) {
                node.push(format!("ALTER {} INHERIT {}", relation.identity(), parent.quoted()));
            }
        }
        for (oid, name) in &family.added {
            let Some(relation) = parts.relations.get(*oid) else { continue };
            let column = parts.columns_of(relation).iter().find(|column| column.name == *name);
            // The server adds no identity to a table that has children, but makes one of a column that is there.
            let identity = column.and_then(|column| parts.identities.definition(relation, column));
            let plain = column.map(|column| Attribute { identity: None, ..column.clone() });
            let definition = plain.and_then(|column| column_definition(parts, relation, &column, false));
            let what = if relation.kind == RelationKind::Foreign { "FOREIGN TABLE" } else { "TABLE" };
            node.push(format!(
                "ALTER {what} {} ADD COLUMN {}",
                relation.quoted(),
                definition.unwrap_or_default()
            ));
            if let Some(identity) = identity {
                node.push(format!(
                    "ALTER {what} {} ALTER COLUMN {} ADD{identity}",
                    relation.quoted(),
                    ident(name)
                ));
            }
        }
        for relation in &members {
            let late = parts.columns_of(relation).iter().filter(|column| parts.is_late(relation, column));
            for column in late {
                let from = inherited_from(parts, relation, column);
                // Its own are added with theirs.
                if !column.is_local
                    && let Some(own) = parts.constraints.not_null_of_inherited(relation, column, from)
                {
                    node.push(format!("ALTER TABLE {} ADD {own}", relation.quoted()));
                }
                settings(parts, relation, column, &mut node);
            }
            for check in parts.constraints.inline(relation) {
                node.push(format!("ALTER TABLE {} ADD {check}", relation.quoted()));
            }
            catalog.identities.insert(relation.key(), relation.identity());
        }
        for (relation, id) in members.iter().zip(&made) {
            let parents =
                relation.parents.iter().filter_map(|oid| catalog.by_key.get(&(class::RELATION, *oid)));
            let parents: Vec<NodeId> = parents.copied().collect();
            catalog.node_mut(*id)?.needs.extend(parents);
        }
        let id = catalog.push(node);
        for relation in &members {
            catalog.by_key.insert(relation.key(), id);
            parts.constraints.alias_inline(catalog, relation);
            parts.identities.alias(catalog, parts.relations, relation, parts.columns_of(relation));
            for column in parts.columns_of(relation).iter().filter(|column| column.generated.is_some()) {
                if let Some((oid, _)) = &column.default {
                    catalog.by_key.insert((class::ATTRDEF, *oid), id);
                }
            }
        }
        catalog.families.push((id, made));
    }
    Ok(())
}
