//! Tables: the statements that make them, their partitions, their defaults and their rows.

use std::collections::{HashMap, HashSet};

use backup_core::{Column, Ctx, Result};

use super::columns::{Attribute, foreign_options};
use super::constraints::TableConstraints;
use super::families::{self, Family, Member};
use super::node::{Body, Catalog, Node, NodeId, Rank, class};
use super::reader::{Fields, OURS, Reader};
use super::relations::{Relation, RelationKind, Relations, options};
use super::sequences::Identities;
use crate::ddl::quote::ident;
use crate::rows::RowsSpec;
use crate::spec::Gate;

/// A table of more blocks than this is split, at multiples of it, so that bounds stay where they are: 64 MiB of the usual blocks.
const SPLIT: u32 = 8192;

/// What tables are made with.
pub(super) struct Parts<'a> {
    pub(super) relations: &'a Relations,
    pub(super) columns: &'a HashMap<u32, Vec<Attribute>>,
    pub(super) constraints: &'a TableConstraints,
    pub(super) identities: &'a Identities,
    pub(super) families: &'a [Family],
}

/// The tables that have to be made together for the sake of the order of their columns.
pub(super) fn families(relations: &Relations, columns: &HashMap<u32, Vec<Attribute>>) -> Vec<Family> {
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
        })
        .collect();
    families::families(&members)
}

impl Parts<'_> {
    fn columns_of(&self, relation: &Relation) -> &[Attribute] {
        self.columns.get(&relation.oid).map_or(&[], Vec::as_slice)
    }

    /// Whether a column is added to its table when others are made.
    fn is_late(&self, relation: &Relation, column: &Attribute) -> bool {
        self.family_of(relation)
            .is_some_and(|family| family.late.contains(&(relation.oid, column.name.clone())))
    }

    fn family_of(&self, relation: &Relation) -> Option<&Family> {
        self.families.iter().find(|family| family.members.contains(&relation.oid))
    }
}

/// Tables, partitioned tables and foreign tables.
pub(super) async fn tables(reader: Reader<'_>, catalog: &mut Catalog, parts: &Parts<'_>) -> Result<()> {
    let sql = format!(
        "SELECT c.oid, c.relpersistence::text, c.reloptions, c.relreplident::text, c.relrowsecurity, c.relforcerowsecurity,
                ARRAY(SELECT 'toast.' || o FROM pg_catalog.unnest(t.reloptions) o) AS toast_options,
                c.relacl::text[] AS acl, pg_catalog.acldefault('r', c.relowner)::text[] AS base,
                CASE WHEN c.relkind = 'p' THEN pg_catalog.pg_get_partkeydef(c.oid) END AS partition_key,
                CASE WHEN c.relispartition THEN pg_catalog.pg_get_expr(c.relpartbound, c.oid) END AS bound,
                CASE WHEN c.reloftype <> 0 THEN c.reloftype::regtype::text END AS of_type,
                a.amname::text AS method, s.spcname::text AS tablespace, fs.srvname::text AS server,
                ARRAY(SELECT o.option_name || '=' || COALESCE(o.option_value, '') FROM pg_catalog.pg_options_to_table(f.ftoptions) o) AS fdw_options
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
         LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
         LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
         LEFT JOIN pg_catalog.pg_foreign_table f ON f.ftrelid = c.oid LEFT JOIN pg_catalog.pg_foreign_server fs ON fs.oid = f.ftserver
         WHERE {OURS} AND c.relkind IN ('r', 'p', 'f') ORDER BY n.nspname, c.relname"
    );
    let mut bounds = Vec::new();
    for row in reader.rows(&sql).await? {
        let Some(relation) = parts.relations.get(row.oid("oid")?) else { continue };
        table(reader.ctx, catalog, parts, relation, &row)?;
        if let Some(bound) = row.maybe("bound")? {
            bounds.push((relation, bound.to_owned()));
        }
    }
    complete(catalog, parts)?;
    let before = parts.constraints.apart(catalog, parts.relations);
    for relation in parts.relations.all.iter().filter(|relation| joins_later(parts, relation)) {
        let parents = parents_of(parts, relation);
        let what = relation.identity();
        let inherit = parents.iter().map(|parent| format!("ALTER {what} INHERIT {}", parent.quoted()));
        let mut node = parts.relations.node_of(
            catalog,
            relation,
            "table attach",
            &relation.name,
            Rank::Objects,
            inherit.collect(),
        );
        node.needs.extend(parents.iter().filter_map(|parent| catalog.by_key.get(&parent.key())));
        node.needs.extend(before.get(&relation.oid).into_iter().flatten());
        catalog.push(node);
    }
    for (relation, bound) in bounds {
        let Some(parent) = relation.parents.first().and_then(|parent| parts.relations.get(*parent)) else {
            continue;
        };
        let attach =
            format!("ALTER TABLE ONLY {} ATTACH PARTITION {} {bound}", parent.quoted(), relation.quoted());
        let mut node = parts.relations.node_of(
            catalog,
            relation,
            "table attach",
            &relation.name,
            Rank::Objects,
            vec![attach],
        );
        node.needs.extend(catalog.by_key.get(&parent.key()));
        node.needs.extend(before.get(&relation.oid).into_iter().flatten());
        catalog.push(node);
    }
    Ok(())
}

fn table(
    ctx: &Ctx,
    catalog: &mut Catalog,
    parts: &Parts<'_>,
    relation: &Relation,
    row: &Fields,
) -> Result<()> {
    let name = relation.quoted();
    let mut node = Node::sql(
        relation.kind.word(),
        &relation.name,
        Rank::Objects,
        vec![create(ctx, parts, relation, row)?],
    );
    node = node.in_schema(&relation.schema).identity(relation.identity());
    node.table = parts.relations.selected_as(relation).map(str::to_owned);
    node = node.owned(&relation.identity(), &relation.owner);
    node.granted(&format!("TABLE {name}"), None, &relation.owner, row.get("acl")?, &row.list("base")?)?;
    for column in parts.columns_of(relation).iter().filter(|column| !parts.is_late(relation, column)) {
        settings(parts, relation, column, &mut node);
    }
    match row.text("relreplident")? {
        _ if relation.kind == RelationKind::Foreign => {}
        "n" => node.push(format!("ALTER TABLE ONLY {name} REPLICA IDENTITY NOTHING")),
        "f" => node.push(format!("ALTER TABLE ONLY {name} REPLICA IDENTITY FULL")),
        _ => {}
    }
    node.tablespace = row.maybe("tablespace")?.map(str::to_owned);
    if parts.columns_of(relation).iter().any(|column| column.generated == Some('v')) {
        node.since(18, "virtual generated columns");
    }
    if parts.constraints.has_not_null_without_inherit(relation) {
        node.since(18, "NOT NULL without inheritance");
    }
    let id = catalog.add(relation.key(), node);
    for column in parts.columns_of(relation).iter().filter(|column| column.generated.is_some()) {
        if let Some((oid, _)) = &column.default {
            catalog.by_key.insert((class::ATTRDEF, *oid), id);
        }
    }
    parts.constraints.alias_inline(catalog, relation);
    parts.identities.alias(catalog, parts.relations, relation, parts.columns_of(relation));
    let mut security = Vec::new();
    if row.is("relrowsecurity")? {
        security.push(format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY"));
    }
    if row.is("relforcerowsecurity")? {
        security.push(format!("ALTER TABLE ONLY {name} FORCE ROW LEVEL SECURITY"));
    }
    if !security.is_empty() {
        // Whoever restores may be no superuser: rows come first.
        catalog.secured.push((relation.oid, security));
    }
    Ok(())
}

fn create(ctx: &Ctx, parts: &Parts<'_>, relation: &Relation, row: &Fields) -> Result<String> {
    let of_type = row.maybe("of_type")?;
    let mut items = Vec::new();
    let columns = || parts.columns_of(relation).iter().filter(|column| !parts.is_late(relation, column));
    for column in columns().filter(|column| column.is_local || relation.is_partition) {
        items.extend(column_definition(parts, relation, column, of_type.is_some()));
    }
    let inherited = columns().filter(|column| !column.is_local && !relation.is_partition);
    items.extend(inherited.filter_map(|column| {
        parts.constraints.not_null_of_inherited(relation, column, inherited_from(parts, relation, column))
    }));
    if parts.family_of(relation).is_none() {
        items.extend(parts.constraints.inline(relation));
    }
    let unlogged = if row.text("relpersistence")? == "u" { "UNLOGGED " } else { "" };
    let foreign = if relation.kind == RelationKind::Foreign { "FOREIGN " } else { "" };
    let mut sql = format!("CREATE {unlogged}{foreign}TABLE {}", relation.quoted());
    let body = if items.is_empty() { String::new() } else { format!("\n    {}\n", items.join(",\n    ")) };
    match of_type {
        Some(of_type) if items.is_empty() => sql += &format!(" OF {of_type}"),
        Some(of_type) => sql += &format!(" OF {of_type} ({body})"),
        None => sql += &format!(" ({body})"),
    }
    if !relation.is_partition && !relation.parents.is_empty() && !joins_later(parts, relation) {
        let parents = parents_of(parts, relation);
        let names: Vec<_> = parents.iter().map(|parent| parent.quoted()).collect();
        sql += &format!("\nINHERITS ({})", names.join(", "));
        if parts.family_of(relation).is_none() && !inherits_in_order(parts, relation, &parents) {
            ctx.warn(format!(
                "the columns of table {}.{} will be in another order in a copy: its parents got columns after it was made",
                relation.schema.escape_debug(),
                relation.name.escape_debug()
            ));
        }
    }
    if let Some(key) = row.maybe("partition_key")? {
        sql += &format!("\nPARTITION BY {key}");
    }
    if let Some(method) = row.maybe("method")?.filter(|method| *method != "heap") {
        sql += &format!("\nUSING {}", ident(method));
    }
    let storage = [row.list("reloptions")?, row.list("toast_options")?].concat();
    if !storage.is_empty() {
        sql += &format!("\nWITH ({})", options(&storage));
    }
    if let Some(server) = row.maybe("server")? {
        sql += &format!("\nSERVER {}", ident(server));
        let options = row.list("fdw_options")?;
        if !options.is_empty() {
            sql += &format!("\nOPTIONS ({})", foreign_options(&options));
        }
    }
    Ok(sql)
}

fn parents_of<'a>(parts: &'a Parts<'_>, relation: &Relation) -> Vec<&'a Relation> {
    relation.parents.iter().filter_map(|oid| parts.relations.get(*oid)).collect()
}

/// Whether a child has all columns and constraints of its parents as its own too, in another order: then it was made before it became a
/// child, and is so again.
fn joins_later(parts: &Parts<'_>, relation: &Relation) -> bool {
    let columns = parts.columns_of(relation);
    !relation.is_partition
        && !relation.parents.is_empty()
        && parts.family_of(relation).is_none()
        && columns.iter().all(|column| column.is_local)
        && parts.constraints.are_local(relation)
        && !inherits_in_order(parts, relation, &parents_of(parts, relation))
}

/// Whether the parents' columns come first and in their order, as they do in a new child.
fn inherits_in_order(parts: &Parts<'_>, relation: &Relation, parents: &[&Relation]) -> bool {
    let mut seen = HashSet::new();
    let inherited =
        parents.iter().flat_map(|parent| parts.columns_of(parent)).filter(|column| seen.insert(&column.name));
    let mut expected: Vec<&str> = inherited.map(|column| column.name.as_str()).collect();
    let known: HashSet<&str> = expected.iter().copied().collect();
    let own = parts.columns_of(relation).iter().map(|column| column.name.as_str());
    expected.extend(own.clone().filter(|name| !known.contains(name)));
    expected.into_iter().eq(own)
}

/// A column in CREATE TABLE; nothing for a column of a typed table that adds nothing to its type.
fn column_definition(
    parts: &Parts<'_>,
    relation: &Relation,
    column: &Attribute,
    typed: bool,
) -> Option<String> {
    let mut sql = String::new();
    if let Some(collation) = column.collation.as_ref().filter(|_| !typed) {
        sql += &format!(" COLLATE {collation}");
    }
    if let (Some(how), Some((_, expression))) = (column.generated, &column.default)
        && !inherits_expression(parts, relation, column)
    {
        let how = if how == 'v' { "VIRTUAL" } else { "STORED" };
        sql += &format!(" GENERATED ALWAYS AS ({expression}) {how}");
    }
    sql += &parts.constraints.not_null(relation, column, inherited_from(parts, relation, column));
    if let Some(identity) = parts.identities.definition(relation, column) {
        sql += &identity;
    }
    if typed {
        return (!sql.is_empty()).then(|| format!("{} WITH OPTIONS{sql}", ident(&column.name)));
    }
    Some(format!("{} {}{sql}", ident(&column.name), column.declared))
}

/// Whether a generated column that is its table's own and its parents' too is generated as the parents say. Before version 16 a child
/// must not say it again.
fn inherits_expression(parts: &Parts<'_>, relation: &Relation, column: &Attribute) -> bool {
    column.inherited
        && !relation.is_partition
        && !joins_later(parts, relation)
        && parents_columns(parts, relation)
            .filter(|(_, of)| of.name == column.name && of.generated.is_some())
            .any(|(_, of)| {
                of.default.as_ref().map(|(_, text)| text) == column.default.as_ref().map(|(_, text)| text)
            })
}

/// The columns of all parents of a relation, and the parent that each is of.
fn parents_columns<'a>(
    parts: &'a Parts<'_>,
    relation: &'a Relation,
) -> impl Iterator<Item = (u32, &'a Attribute)> {
    let parents = relation.parents.iter().filter_map(|oid| parts.relations.get(*oid));
    parents.flat_map(|parent| parts.columns_of(parent).iter().map(|column| (parent.oid, column)))
}

/// The tables and numbers of the columns that a column is inherited from.
fn inherited_from<'a>(
    parts: &'a Parts<'_>,
    relation: &'a Relation,
    column: &'a Attribute,
) -> impl Iterator<Item = (u32, i16)> + 'a {
    let of_name = parents_columns(parts, relation).filter(|(_, of)| of.name == column.name);
    of_name.map(|(parent, of)| (parent, of.number))
}

/// What is set of a column when it is there.
fn settings(parts: &Parts<'_>, relation: &Relation, column: &Attribute, node: &mut Node) {
    inherited_settings(parts, relation, column, node);
    let alter = if relation.kind == RelationKind::Foreign { "FOREIGN TABLE" } else { "TABLE" };
    for setting in &column.settings {
        node.push(format!(
            "ALTER {alter} ONLY {} ALTER COLUMN {} {setting}",
            relation.quoted(),
            ident(&column.name)
        ));
    }
}

/// Adds the late columns of families, by a node that then stands for all members.
fn complete(catalog: &mut Catalog, parts: &Parts<'_>) -> Result<()> {
    for family in parts.families {
        let members: Vec<&Relation> =
            family.members.iter().filter_map(|oid| parts.relations.get(*oid)).collect();
        let made: Vec<NodeId> =
            members.iter().filter_map(|member| catalog.by_key.get(&member.key()).copied()).collect();
        let Some(first) = members.first() else { continue };
        let mut node =
            Node::sql("table columns", &first.name, Rank::Objects, vec![]).in_schema(&first.schema);
        node.table = Some(first.name.clone());
        node.needs.extend(&made);
        for (oid, name) in &family.added {
            let Some(relation) = parts.relations.get(*oid) else { continue };
            let column = parts.columns_of(relation).iter().find(|column| column.name == *name);
            let definition = column.and_then(|column| column_definition(parts, relation, column, false));
            let what = if relation.kind == RelationKind::Foreign { "FOREIGN TABLE" } else { "TABLE" };
            node.push(format!(
                "ALTER {what} {} ADD COLUMN {}",
                relation.quoted(),
                definition.unwrap_or_default()
            ));
        }
        for relation in &members {
            let late = parts.columns_of(relation).iter().filter(|column| parts.is_late(relation, column));
            for column in late {
                let is_added =
                    family.added.iter().any(|(oid, name)| *oid == relation.oid && *name == column.name);
                let from = inherited_from(parts, relation, column);
                if !is_added
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

/// What an inherited column of a child has of its own.
fn inherited_settings(parts: &Parts<'_>, relation: &Relation, column: &Attribute, node: &mut Node) {
    if column.is_local || relation.is_partition {
        return;
    }
    if let Some(not_null) = parts.constraints.flag_of_inherited(column) {
        node.push(format!("ALTER TABLE ONLY {} {not_null}", relation.quoted()));
    }
}

/// The defaults of each relation's columns, apart from it: their functions may need the relation.
pub(super) fn defaults(catalog: &mut Catalog, parts: &Parts<'_>) {
    for relation in &parts.relations.all {
        let mut statements = Vec::new();
        let mut oids = Vec::new();
        for column in parts.columns_of(relation).iter().filter(|column| column.generated.is_none()) {
            let alter =
                format!("ALTER TABLE ONLY {} ALTER COLUMN {}", relation.quoted(), ident(&column.name));
            match &column.default {
                Some((oid, expression)) => {
                    statements.push(format!("{alter} SET DEFAULT {expression}"));
                    oids.push(*oid);
                }
                // A child copies the default that its parent has at the time.
                None if column.inherited && column.identity.is_none() && !relation.is_partition => {
                    statements.push(format!("{alter} DROP DEFAULT"))
                }
                None => {}
            }
        }
        if statements.is_empty() {
            continue;
        }
        let node =
            parts.relations.node_of(catalog, relation, "default", &relation.name, Rank::Objects, statements);
        let id = catalog.push(node);
        for oid in oids {
            catalog.by_key.insert((class::ATTRDEF, oid), id);
        }
    }
}

/// Privileges on single columns, which come with their relation.
pub(super) fn privileges_of_columns(catalog: &mut Catalog, parts: &Parts<'_>) -> Result<()> {
    for relation in &parts.relations.all {
        for column in parts.columns_of(relation).iter().filter(|column| column.acl.is_some()) {
            let Some(node) = catalog.of(relation.key()) else { continue };
            let (on, name) = (format!("TABLE {}", relation.quoted()), format!("({})", ident(&column.name)));
            node.granted(&on, Some(&name), &relation.owner, column.acl.clone(), &[])?;
        }
    }
    Ok(())
}

/// The rows of each table, in pieces if it is large.
pub(super) async fn rows(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    parts: &Parts<'_>,
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
        // Reading a range of blocks is quick since version 14.
        let splits = reader.version >= 140_000 && relation.is_heap && !columns.is_empty();
        let count = if splits { relation.blocks.div_ceil(SPLIT).max(1) } else { 1 };
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
            node.body =
                Body::Rows { columns: columns.clone(), spec, size: relation.bytes / u64::from(count) };
            let id = catalog.push(node);
            catalog.rows_of.entry(relation.oid).or_default().push(id);
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

/// Roots of partition trees whose rows only the server can put into the right partition: hashes of enumerations depend on their oids.
async fn rerouted(reader: Reader<'_>) -> Result<HashSet<u32>> {
    let sql = "WITH RECURSIVE unstable AS (
                 SELECT p.partrelid AS oid FROM pg_catalog.pg_partitioned_table p
                 WHERE p.partstrat = 'h' AND EXISTS (SELECT FROM pg_catalog.unnest(p.partclass) x JOIN pg_catalog.pg_opclass o ON o.oid = x
                       WHERE o.opcname = 'enum_ops' AND o.opcnamespace = 'pg_catalog'::pg_catalog.regnamespace)
                 UNION SELECT i.inhparent FROM unstable u JOIN pg_catalog.pg_class c ON c.oid = u.oid AND c.relispartition
                       JOIN pg_catalog.pg_inherits i ON i.inhrelid = u.oid)
               SELECT oid FROM unstable";
    reader.rows(sql).await?.iter().map(|row| row.oid("oid")).collect()
}
