//! The parts that the nodes become.

use std::collections::{HashMap, HashSet};

use backup_core::{
    BackupRequest, Content, Ctx, Error, Object, Part, PartId, PartKind, Phase, Result, RowLayout,
};

use super::node::{Body, Catalog, Key, Node, NodeId, Rank};
use crate::rows::RowsSpec;
use crate::spec::{Gate, SqlSpec, write};

/// The parts of a backup, and the statements of those that are SQL.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) parts: Vec<Part>,
    pub(crate) statements: HashMap<PartId, Vec<String>>,
    /// The tables whose rows parts are.
    pub(crate) tables: HashMap<PartId, u32>,
    /// What the account may not read, beyond tables.
    pub(crate) left_out: Vec<Object>,
    /// The objects of which something is in the backup; none if they all are.
    objects: Option<HashSet<Key>>,
}

impl Plan {
    /// Whether something of an object is in the backup.
    pub(crate) fn has(&self, object: Key) -> bool {
        self.objects.as_ref().is_none_or(|objects| objects.contains(&object))
    }
}

/// The parts of the nodes that `request` selects, in the order `order`.
pub(super) fn plan(
    ctx: &Ctx,
    catalog: Catalog,
    order: &[NodeId],
    request: &BackupRequest,
    database: &str,
) -> Result<Plan> {
    let selected = selected(ctx, &catalog, order, request, database);
    let objects = selected.as_ref().map(|selected| {
        let objects = catalog.by_key.iter().filter(|(_, id)| selected.contains(*id));
        objects.map(|(object, _)| *object).collect()
    });
    let has_extensions = catalog.nodes.iter().any(|node| node.extension.is_some());
    let mut plan = Plan { objects, ..Plan::default() };
    let mut ids: HashMap<NodeId, PartId> = HashMap::new();
    let tables: HashMap<NodeId, u32> =
        catalog.rows_of.iter().flat_map(|(oid, rows)| rows.iter().map(|id| (*id, *oid))).collect();
    let mut nodes: HashMap<NodeId, Node> = catalog.nodes.into_iter().enumerate().collect();
    for id in order {
        let Some(mut node) = nodes.remove(id) else { continue };
        let wanted = match (&node.body, request.content) {
            (_, Content::All) => true,
            // It is as empty as its tables will be, and nobody takes it for full.
            (Body::Sql(_), Content::SchemaOnly) => node.kind != "materialized view contents",
            (Body::Rows { .. }, Content::DataOnly) => true,
            // What is not read of it has no part of its own.
            (Body::Sql(_), Content::DataOnly) => catalog.unreadable.contains(id),
            (Body::Rows { .. }, Content::SchemaOnly) => false,
        };
        if !wanted || selected.as_ref().is_some_and(|selected| !selected.contains(id)) {
            continue;
        }
        if catalog.unreadable.contains(id) {
            let object = Object::new(node.kind, &node.name);
            plan.left_out.push(match &node.schema {
                Some(schema) => object.in_schema(schema),
                None => object,
            });
            continue;
        }
        let number = u32::try_from(plan.parts.len())
            .map_err(|_| Error::unsupported("the database has more than four thousand million objects"))?;
        let mut after: Vec<PartId> =
            node.needs.iter().filter_map(|needed| ids.get(needed).copied()).collect();
        after.sort_unstable();
        if !has_extensions {
            node.identity.clear();
        }
        if let Some(part) = part(node, number, &ids, &mut plan.statements)? {
            ids.insert(*id, part.id);
            let is_rows = matches!(part.kind, PartKind::Rows { .. });
            plan.tables.extend(tables.get(id).filter(|_| is_rows).map(|oid| (part.id, *oid)));
            plan.parts.push(part.after(after));
        }
    }
    Ok(plan)
}

/// The part of a node; none if there is nothing to say.
fn part(
    node: Node,
    number: u32,
    ids: &HashMap<NodeId, PartId>,
    statements: &mut HashMap<PartId, Vec<String>>,
) -> Result<Option<Part>> {
    let mut object = Object::new(node.kind, &node.name);
    if let Some(schema) = &node.schema {
        object = object.in_schema(schema);
    }
    if let Some(table) = &node.table {
        object = object.of_table(table);
    }
    let gate = match node.rank {
        Rank::Globals => Gate::Globals,
        Rank::Objects => Gate::Objects,
        Rank::Rows | Rank::Made => Gate::Rows,
        Rank::Contents => Gate::Contents,
        Rank::Last => Gate::Last,
        Rank::EventTriggers => Gate::EventTriggers,
    };
    match node.body {
        Body::Rows { columns, mut spec, size } => {
            match &mut spec {
                RowsSpec::Table { gate: own, .. }
                | RowsSpec::Sequence { gate: own }
                | RowsSpec::LargeObjects { gate: own, .. } => *own = gate.max(Gate::Rows),
            }
            let part =
                Part::rows(number, object, RowLayout::CopyText, columns).size_hint(size).spec(write(&spec)?);
            Ok(Some(part))
        }
        Body::Sql(mut sql) => {
            let is_made =
                node.extension.is_none() && sql.first().is_some_and(|sql| sql.starts_with("CREATE "));
            let identity = Some(node.identity).filter(|identity| is_made && !identity.is_empty());
            sql.extend(node.comments);
            let owners_from = sql.len();
            sql.extend(node.owners);
            if sql.is_empty() && node.database.is_none() {
                return Ok(None);
            }
            let spec = SqlSpec {
                gate,
                owners_from,
                roles: node.roles.into_iter().collect(),
                global: node.global,
                identity,
                extension: node.extension,
                tablespace: node.tablespace,
                since: node.since.map(|(version, what)| (version, what.to_owned())),
                until: node.until.map(|(version, what)| (version, what.to_owned())),
                icu: node.icu,
                database: node.database,
                announced_by: node.announced_by.and_then(|id| ids.get(&id).copied()),
            };
            let phase = match node.rank {
                Rank::Globals => Phase::Globals,
                Rank::Objects => Phase::PreData,
                _ => Phase::PostData,
            };
            let part = Part::sql(number, phase, object).spec(write(&spec)?);
            statements.insert(part.id, sql);
            Ok(Some(part))
        }
    }
}

/// Whether the node is of a table, or of what is selected like one.
fn is_of_relation(node: &Node) -> bool {
    node.table.is_some()
        || matches!(node.kind, "table" | "view" | "materialized view" | "foreign table" | "sequence")
}

/// The nodes that the patterns select: those of tables by the tables' names, others by their schemas; what is in no schema comes along unless
/// something was asked for by name.
fn matched(
    ctx: &Ctx,
    catalog: &Catalog,
    order: &[NodeId],
    request: &BackupRequest,
    database: &str,
) -> Vec<NodeId> {
    let filter = &request.filter;
    let matches = |node: &Node| match node.schema.as_deref() {
        schema if is_of_relation(node) => {
            filter.selects(Some(database), schema, node.table.as_deref().unwrap_or(&node.name))
        }
        None if node.kind == "schema" => filter.selects_in_schema(Some(database), Some(&node.name), ""),
        None => !filter.has_includes(),
        schema => filter.selects_in_schema(Some(database), schema, &node.name),
    };
    let mut matched = Vec::new();
    let mut excluded: HashSet<NodeId> = HashSet::new();
    for id in order {
        let Some(node) = catalog.nodes.get(*id) else { continue };
        if !matches(node) {
            excluded.insert(*id);
        } else if !filter.has_includes()
            && !is_of_relation(node)
            && node.database.is_none()
            && node.needs.iter().any(|needed| excluded.contains(needed))
        {
            // A table brings along what it needs, even if that was excluded; what is none goes with it.
            excluded.insert(*id);
            ctx.warn(format!("{} is left out: it needs what is excluded", node.told()));
        } else {
            matched.push(*id);
        }
    }
    matched
}

/// Adds nodes and what they need.
fn bring(catalog: &Catalog, wanted: &mut HashSet<NodeId>, mut ahead: Vec<NodeId>) {
    while let Some(id) = ahead.pop() {
        if wanted.insert(id) {
            ahead.extend(catalog.nodes.get(id).into_iter().flat_map(|node| node.needs.iter().copied()));
        }
    }
}

/// The nodes that the filter selects and what these need, and of what is made of rows that which needs nothing else; `None` is all.
fn selected(
    ctx: &Ctx,
    catalog: &Catalog,
    order: &[NodeId],
    request: &BackupRequest,
    database: &str,
) -> Option<HashSet<NodeId>> {
    if request.filter.is_everything() {
        return None;
    }
    let matched = matched(ctx, catalog, order, request, database);
    let is_made = |id: &NodeId| {
        catalog
            .nodes
            .get(*id)
            .is_some_and(|node| node.rank >= Rank::Made && matches!(node.body, Body::Sql(_)))
    };
    let mut wanted: HashSet<NodeId> = HashSet::new();
    // The database's own node comes along, since it says how to create one.
    wanted.extend(catalog.nodes.iter().position(|node| node.database.is_some()));
    // What lies outside was asked for by itself.
    wanted.extend(
        (0..catalog.nodes.len()).filter(|id| catalog.nodes.get(*id).is_some_and(|n| n.rank == Rank::Globals)),
    );
    bring(catalog, &mut wanted, matched.iter().copied().filter(|id| !is_made(id)).collect());
    for id in matched.iter().copied().filter(is_made) {
        let Some(node) = catalog.nodes.get(id) else { continue };
        // Functions and the like come along; another table does not.
        let is_table = |id: NodeId| catalog.nodes.get(id).is_some_and(is_of_relation);
        let missing: Vec<NodeId> =
            node.needs.iter().copied().filter(|needed| !wanted.contains(needed)).collect();
        if missing.iter().any(|needed| is_table(*needed)) {
            ctx.warn(format!("{} is left out: it needs tables that are not selected", node.told()));
            continue;
        }
        let mut ahead = missing;
        ahead.push(id);
        bring(catalog, &mut wanted, ahead);
    }
    // What is announced is made, which may need what is announced too.
    let is_announced =
        |wanted: &HashSet<NodeId>, node: &Node| node.announced_by.is_some_and(|by| wanted.contains(&by));
    while let Some(id) = (catalog.nodes.iter().enumerate())
        .find_map(|(id, node)| (is_announced(&wanted, node) && !wanted.contains(&id)).then_some(id))
    {
        bring(catalog, &mut wanted, vec![id]);
    }
    // A sequence that comes along goes on where it was.
    for (id, node) in catalog.nodes.iter().enumerate() {
        if matches!(node.body, Body::Rows { spec: RowsSpec::Sequence { .. }, .. })
            && node.needs.iter().all(|needed| wanted.contains(needed))
        {
            wanted.insert(id);
        }
    }
    Some(wanted)
}
