//! Children whose columns stand in another order than INHERITS gives them, because their parents got some later, or they got their parents
//! later. They come back in their order by way of a parent of a moment's: it has all their columns, says which of their constraints are
//! inherited, and goes when the real ones are there.

use std::collections::HashSet;

use super::columns::Attribute;
use super::relations::Relation;
use super::tables::{Parts, generated, inherited_from, of_parents, parents_columns};
use crate::ddl::quote::{ident, qualified};

/// Whether a table is made by way of such a parent. So is one whose parents have come to disagree, or that has come to disagree with them, in what
/// INHERITS takes from them.
pub(super) fn is_reordered(parts: &Parts<'_>, relation: &Relation) -> bool {
    parts.reordered.contains(&relation.oid)
}

/// All such tables.
pub(super) fn reordered(parts: &Parts<'_>) -> HashSet<u32> {
    let is_usual = |relation: &Relation| is_in_order(parts, relation) && agrees(parts, relation);
    let children = parts.relations.all.iter().filter(|of| !of.is_partition && !of.parents.is_empty());
    children.filter(|relation| !is_usual(relation)).map(|relation| relation.oid).collect()
}

/// Whether all parents store a column in the same way, and what is generated is generated as they say, unless the table says it itself.
fn agrees(parts: &Parts<'_>, relation: &Relation) -> bool {
    let may_differ =
        |column: &&Attribute| column.inherited && (column.generated.is_some() || relation.parents.len() > 1);
    parts.columns_of(relation).iter().filter(may_differ).all(|column| {
        let from = of_parents(parts, relation, column);
        let stored = |of: &Attribute| {
            let is_stored = |setting: &&String| {
                setting.starts_with("SET STORAGE") || setting.starts_with("SET COMPRESSION")
            };
            of.settings.iter().filter(is_stored).cloned().collect::<Vec<_>>()
        };
        let expression = |of: &Attribute| of.default.as_ref().map(|(_, expression)| expression.clone());
        let is_stored_alike = from.windows(2).all(|pair| matches!(pair, [a, b] if stored(a) == stored(b)));
        let is_generated_alike = || from.iter().all(|of| expression(of) == expression(column));
        is_stored_alike && (column.generated.is_none() || column.is_local || is_generated_alike())
    })
}

/// Whether the parents' columns come first and in their order, as they do in a new child.
fn is_in_order(parts: &Parts<'_>, relation: &Relation) -> bool {
    let mut seen = HashSet::new();
    let of_parents = parents_columns(parts, relation).map(|(_, column)| column);
    let own = || parts.columns_of(relation).iter().map(|column| column.name.as_str());
    let names = of_parents.map(|column| column.name.as_str()).chain(own());
    names.filter(|name| seen.insert(*name)).eq(own())
}

/// The parent of a moment's. A number that the source has given makes its name one of its own.
pub(super) fn stand_in(relation: &Relation) -> String {
    qualified(&relation.schema, &format!("lifeboat_columns_{}", relation.oid))
}

/// The statement that makes it, and those that put the real ones in its place when the child is there.
pub(super) fn around(parts: &Parts<'_>, relation: &Relation) -> (String, Vec<String>) {
    let stand_in = stand_in(relation);
    let columns = parts.columns_of(relation).iter().map(|column| column_of_stand_in(parts, relation, column));
    let items: Vec<String> = columns.chain(parts.constraints.of_parents(parts.relations, relation)).collect();
    let before = format!("CREATE TABLE {stand_in} (\n    {}\n)", items.join(",\n    "));
    let what = relation.identity();
    let parents = parts.relations.names_of_parents(relation);
    let mut after: Vec<String> =
        parents.iter().map(|parent| format!("ALTER {what} INHERIT {parent}")).collect();
    after.push(format!("ALTER {what} NO INHERIT {stand_in}"));
    after.push(format!("DROP TABLE {stand_in}"));
    (before, after)
}

/// What a later version calls the NOT NULL of the ancestor that a column has it from, which is called so in all that inherit it. None if the name is
/// too long to be known.
fn not_null_of_ancestor(parts: &Parts<'_>, relation: &Relation, column: &Attribute) -> Option<String> {
    let (mut at, mut found) = (relation, None);
    while let Some((oid, of)) =
        parents_columns(parts, at).find(|(_, of)| of.name == column.name && of.not_null)
    {
        at = parts.relations.get(oid)?;
        found = Some(at);
        if of.is_local {
            break;
        }
    }
    let name = format!("{}_{}_not_null", found?.name, column.name);
    (name.len() < 64).then_some(name)
}

fn column_of_stand_in(parts: &Parts<'_>, relation: &Relation, column: &Attribute) -> String {
    let collation =
        column.collation.as_ref().map_or(String::new(), |collation| format!(" COLLATE {collation}"));
    let generated = generated(column).unwrap_or_default();
    let (of_parents, from) = (of_parents(parts, relation, column), inherited_from(parts, relation, column));
    let ancestors = || not_null_of_ancestor(parts, relation, column);
    let not_null = parts.constraints.not_null_of_parents(relation, column, &of_parents, from, ancestors);
    format!("{} {}{collation}{generated}{not_null}", ident(&column.name), column.declared)
}

/// The tables that such children inherit from. INHERIT wants a child to have all checks that its parent has.
pub(super) fn above_reordered(parts: &Parts<'_>) -> HashSet<u32> {
    let mut above = HashSet::new();
    let mut ahead: Vec<u32> = (parts.relations.all.iter())
        .filter(|relation| is_reordered(parts, relation))
        .flat_map(|relation| relation.parents.iter().copied())
        .collect();
    while let Some(parent) = ahead.pop() {
        if above.insert(parent) {
            ahead.extend(parts.relations.get(parent).into_iter().flat_map(|parent| &parent.parents));
        }
    }
    above
}
