//! The order of the parts: by rank, kind and name, as far as nothing comes before what it needs.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap, HashSet};

use backup_core::{Error, Result};

use super::depend::reached;
use super::node::{Announced, Body, Catalog, Dummy, Node, NodeId, Rank};
use crate::ddl::create::replacing;

/// The ids of all nodes in their order. Raises ranks where something needs what comes late.
pub(super) fn order(catalog: &mut Catalog) -> Result<Vec<NodeId>> {
    loop {
        match try_order(catalog) {
            Ok(order) => return Ok(order),
            Err(left) => break_circle(catalog, &left)?,
        }
    }
}

/// Kinds in the order in which they are usually needed; what is not listed comes behind.
fn kind_order(node: &Node) -> usize {
    const KINDS: [&str; 33] = [
        "database",
        "schema",
        "extension",
        "language",
        "collation",
        "shell type",
        "type",
        "cast",
        "domain",
        "function",
        "procedure",
        "aggregate",
        "operator",
        "access method",
        "operator family",
        "operator class",
        "transform",
        "text search parser",
        "text search template",
        "text search dictionary",
        "text search configuration",
        "foreign-data wrapper",
        "server",
        "user mapping",
        "foreign table",
        "table",
        "partition",
        "table attach",
        "sequence",
        "sequence owned by",
        "default",
        "view",
        "materialized view",
    ];
    KINDS.iter().position(|kind| *kind == node.kind).unwrap_or(KINDS.len())
}

/// All nodes, or those that wait for each other.
fn try_order(catalog: &mut Catalog) -> Result<Vec<NodeId>, Vec<NodeId>> {
    let count = catalog.nodes.len();
    let mut waits = vec![0usize; count];
    let mut needed_by: Vec<Vec<NodeId>> = vec![Vec::new(); count];
    for (id, node) in catalog.nodes.iter().enumerate() {
        for needed in node.needs.iter().filter(|needed| **needed < count) {
            waits[id] += 1;
            needed_by[*needed].push(id);
        }
    }
    // First along the dependencies alone, to know how late each is.
    let mut ranks: Vec<Rank> = catalog.nodes.iter().map(|node| node.rank).collect();
    let mut ready: Vec<NodeId> = (0..count).filter(|id| waits[*id] == 0).collect();
    let mut done = 0;
    let mut left = waits.clone();
    while let Some(id) = ready.pop() {
        done += 1;
        for next in &needed_by[id] {
            ranks[*next] = ranks[*next].max(ranks[id]);
            left[*next] -= 1;
            if left[*next] == 0 {
                ready.push(*next);
            }
        }
    }
    if done < count {
        return Err((0..count).filter(|id| left[*id] > 0).collect());
    }
    for (node, rank) in catalog.nodes.iter_mut().zip(&ranks) {
        node.rank = *rank;
    }
    let nodes = &catalog.nodes;
    let entry = |id: NodeId| {
        let node = &nodes[id];
        Reverse((
            node.rank,
            kind_order(node),
            node.schema.as_deref(),
            node.name.as_str(),
            node.identity.as_str(),
            id,
        ))
    };
    let mut ready: BinaryHeap<_> = (0..count).filter(|id| waits[*id] == 0).map(entry).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse((.., id))) = ready.pop() {
        order.push(id);
        for next in &needed_by[id] {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                ready.push(entry(*next));
            }
        }
    }
    Ok(order)
}

/// Takes a view out of a circle: it is made with its columns alone at first, and replaced when all that it needs is there. A function, if there
/// is no view, is made without its body; and a table, if there is no function either, without what is generated.
fn break_circle(catalog: &mut Catalog, left: &[NodeId]) -> Result<()> {
    let circle = circle(catalog, left);
    // An extension makes itself what it needs of that which was taken out of it.
    let is_extension = |id: NodeId| catalog.nodes.get(id).is_some_and(|node| node.extension.is_some());
    let pairs = circle.iter().copied().zip(circle.iter().copied().cycle().skip(1));
    if let Some((extension, taken_out)) =
        pairs.into_iter().find(|(id, next)| is_extension(*id) && !is_extension(*next))
    {
        catalog.node_mut(extension)?.needs.remove(&taken_out);
        return Ok(());
    }
    let next = circle.iter().cycle().skip(1);
    // The oldest view, so that views are of the same age among each other as in the source: pg_dump goes by that. What stands for it must not
    // need the next of the circle too.
    let age = |(id, next): (&NodeId, &NodeId)| {
        let dummy = catalog.dummies.get(id).filter(|dummy| !dummy.needs.contains(next))?;
        let kind = match dummy.of_what {
            Announced::View => 0,
            Announced::Function => 1,
            Announced::Table(_) => 2,
        };
        Some((kind, dummy.oid, *id))
    };
    if let Some((.., id)) = circle.iter().zip(next).filter_map(age).min()
        && let Some(dummy) = catalog.dummies.remove(&id)
    {
        return announce(catalog, id, dummy);
    }
    let names: Vec<String> = circle.iter().filter_map(|id| catalog.nodes.get(*id)).map(Node::told).collect();
    Err(Error::unsupported(format!(
        "objects need each other in a way that is not known: {}",
        names.join(", ")
    ))
    .hint("please report it, with what pg_dump --schema-only says of them"))
}

/// Has a node make what stands for its object, and another one the object.
fn announce(catalog: &mut Catalog, id: NodeId, dummy: Dummy) -> Result<()> {
    let apart = needed_apart(catalog, id);
    let node = catalog.node_mut(id)?;
    let mut real = node.clone();
    let Body::Sql(mut statements) = std::mem::replace(&mut node.body, Body::Sql(vec![dummy.statement]))
    else {
        return Err(Error::internal("what is announced holds rows"));
    };
    node.needs = dummy.needs;
    // What is said of a table may be said of columns that it has not yet.
    let said_early = match &dummy.of_what {
        Announced::Table(_) => &mut *node,
        Announced::View | Announced::Function => &mut real,
    };
    said_early.comments.clear();
    said_early.owners.clear();
    said_early.roles.clear();
    match dummy.of_what {
        Announced::View => {
            for sql in &mut statements {
                *sql = sql.replacen("CREATE VIEW", "CREATE OR REPLACE VIEW", 1);
            }
            real.kind = "view definition";
            real.table = Some(real.name.clone());
        }
        Announced::Function => {
            for sql in statements.iter_mut().take(1) {
                *sql = replacing(sql).into_owned();
            }
            real.kind = "function definition";
        }
        Announced::Table(others) => {
            statements.splice(..1, others);
            real.kind = "table definition";
            real.table.get_or_insert_with(|| node.name.clone());
            node.needs.extend(apart);
        }
    }
    real.body = Body::Sql(statements);
    real.needs.insert(id);
    real.announced_by = Some(id);
    let real = catalog.push(real);
    complete(catalog, id, real)
}

/// What a node needs that does not need it.
fn needed_apart(catalog: &Catalog, id: NodeId) -> Vec<NodeId> {
    let needs = catalog.nodes.get(id).into_iter().flat_map(|node| &node.needs).copied();
    needs.filter(|needed| *needed != id && !reached(catalog, *needed, |_| true).contains(&id)).collect()
}

/// What needs something of a circle from outside gets all of it: it may use it, or be restored with what it needs alone.
fn complete(catalog: &mut Catalog, announced: NodeId, real: NodeId) -> Result<()> {
    let needed = reached(catalog, real, |_| true);
    let mut needed_by: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for id in &needed {
        for of in catalog.nodes.get(*id).into_iter().flat_map(|node| &node.needs) {
            needed_by.entry(*of).or_default().push(*id);
        }
    }
    let (mut circle, mut ahead) = (HashSet::from([announced]), vec![announced]);
    while let Some(id) = ahead.pop() {
        ahead.extend(needed_by.get(&id).into_iter().flatten().filter(|by| circle.insert(**by)));
    }
    for id in (0..catalog.nodes.len()).filter(|id| *id != real && !needed.contains(id)) {
        let needs = &mut catalog.node_mut(id)?.needs;
        if needs.iter().any(|needed| circle.contains(needed)) {
            needs.insert(real);
        }
    }
    Ok(())
}

/// Some nodes each of which needs the next, and the last the first.
fn circle(catalog: &Catalog, left: &[NodeId]) -> Vec<NodeId> {
    let among: BTreeSet<NodeId> = left.iter().copied().collect();
    let mut path: Vec<NodeId> = Vec::new();
    let mut at = left.first().copied();
    while let Some(id) = at {
        if let Some(start) = path.iter().position(|seen| *seen == id) {
            return path.split_off(start);
        }
        path.push(id);
        // All that is left needs something that is left.
        at = catalog
            .nodes
            .get(id)
            .and_then(|node| node.needs.iter().copied().find(|needed| among.contains(needed)));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(nodes: &[(&'static str, &str, Rank, &[NodeId])]) -> Catalog {
        let mut catalog = Catalog::default();
        for (kind, name, rank, needs) in nodes {
            let mut node = Node::sql(kind, name, *rank, vec![]);
            node.needs = needs.iter().copied().collect();
            catalog.push(node);
        }
        catalog
    }

    #[test]
    fn what_is_needed_comes_first_and_otherwise_rank_kind_and_name_decide() {
        let mut catalog = catalog(&[
            ("index", "i", Rank::Made, &[1]),
            ("table", "t", Rank::Objects, &[3]),
            ("table", "rows", Rank::Rows, &[1]),
            ("function", "f", Rank::Objects, &[]),
            ("type", "a", Rank::Objects, &[3]),
        ]);
        assert_eq!(order(&mut catalog).unwrap(), [3, 4, 1, 2, 0]);
    }

    #[test]
    fn what_needs_something_late_is_late() {
        let mut catalog = catalog(&[
            ("view", "grouped", Rank::Objects, &[1]),
            ("constraint", "key", Rank::Made, &[2]),
            ("table", "t", Rank::Objects, &[]),
            ("function", "z", Rank::Objects, &[]),
        ]);
        assert_eq!(order(&mut catalog).unwrap(), [3, 2, 1, 0]);
        assert_eq!(catalog.nodes[0].rank, Rank::Made);
    }

    #[test]
    fn an_unknown_circle_is_refused_by_name() {
        let mut catalog = catalog(&[("type", "a", Rank::Objects, &[1]), ("type", "b", Rank::Objects, &[0])]);
        let error = order(&mut catalog).unwrap_err().to_string();
        assert!(error.contains("type a") && error.contains("type b"), "{error}");
    }
}
