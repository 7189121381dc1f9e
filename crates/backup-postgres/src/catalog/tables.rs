//! Tables: the statements that make them, their partitions, their defaults and their rows.

use std::collections::{HashMap, HashSet};

use backup_core::{Ctx, Result};

use super::columns::{Attribute, foreign_options};
use super::constraints::TableConstraints;
use super::families::{Families, Family};
use super::late::complete;
use super::node::{Catalog, Node, Rank, class};
use super::reader::{Fields, OURS, Reader};
use super::relations::{Relation, RelationKind, Relations, options};
use super::sequences::Identities;
use crate::ddl::quote::ident;

/// What tables are made with.
pub(super) struct Parts<'a> {
    pub(super) relations: &'a Relations,
    pub(super) columns: HashMap<u32, Vec<Attribute>>,
    pub(super) constraints: TableConstraints,
    pub(super) identities: Identities,
    pub(super) families: Families,
}

impl Parts<'_> {
    pub(super) fn columns_of(&self, relation: &Relation) -> &[Attribute] {
        self.columns.get(&relation.oid).map_or(&[], Vec::as_slice)
    }

    /// Whether a column is added to its table when others are made.
    pub(super) fn is_late(&self, relation: &Relation, column: &Attribute) -> bool {
        self.family_of(relation)
            .is_some_and(|family| family.late.contains(&(relation.oid, column.name.clone())))
    }

    fn family_of(&self, relation: &Relation) -> Option<&Family> {
        self.families.of(relation.oid)
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
    let joins = parts.family_of(relation).is_some_and(|family| family.joining.contains(&relation.oid));
    if !relation.is_partition && !relation.parents.is_empty() && !joins && !joins_later(parts, relation) {
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
pub(super) fn column_definition(
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
/// must not say it again; but if they have it later, it has to.
fn inherits_expression(parts: &Parts<'_>, relation: &Relation, column: &Attribute) -> bool {
    column.inherited
        && !relation.is_partition
        && !joins_later(parts, relation)
        && !parts.family_of(relation).is_some_and(|family| family.joining.contains(&relation.oid))
        && parents_columns(parts, relation)
            .filter(|(parent, of)| {
                of.name == column.name && of.generated.is_some() && !parts.is_late(parent, of)
            })
            .any(|(_, of)| {
                of.default.as_ref().map(|(_, text)| text) == column.default.as_ref().map(|(_, text)| text)
            })
}

/// The columns of all parents of a relation, and the parent that each is of.
fn parents_columns<'a>(
    parts: &'a Parts<'_>,
    relation: &'a Relation,
) -> impl Iterator<Item = (&'a Relation, &'a Attribute)> {
    let parents = relation.parents.iter().filter_map(|oid| parts.relations.get(*oid));
    parents.flat_map(|parent| parts.columns_of(parent).iter().map(move |column| (parent, column)))
}

/// The tables and numbers of the columns that a column is inherited from.
pub(super) fn inherited_from<'a>(
    parts: &'a Parts<'_>,
    relation: &'a Relation,
    column: &'a Attribute,
) -> impl Iterator<Item = (u32, i16)> + 'a {
    let of_name = parents_columns(parts, relation).filter(|(_, of)| of.name == column.name);
    of_name.map(|(parent, of)| (parent.oid, of.number))
}

/// What is set of a column when it is there.
pub(super) fn settings(parts: &Parts<'_>, relation: &Relation, column: &Attribute, node: &mut Node) {
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
pub(super) async fn privileges_of_columns(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    parts: &Parts<'_>,
) -> Result<()> {
    let mut grant =
        |relation: &Relation, column: &str, acl: Option<Vec<String>>| match catalog.of(relation.key()) {
            Some(node) => {
                let (on, name) = (format!("TABLE {}", relation.quoted()), format!("({})", ident(column)));
                node.granted(&on, Some(&name), &relation.owner, acl, &[])
            }
            None => Ok(()),
        };
    for relation in &parts.relations.all {
        for column in parts.columns_of(relation).iter().filter(|column| column.acl.is_some()) {
            grant(relation, &column.name, column.acl.clone())?;
        }
    }
    // Columns that every table has, such as tableoid.
    let sql =
        "SELECT a.attrelid, a.attname::text AS name, a.attacl::text[] AS acl FROM pg_catalog.pg_attribute a
               WHERE a.attnum < 0 AND a.attacl IS NOT NULL ORDER BY a.attrelid, a.attnum DESC";
    for row in reader.rows(sql).await? {
        if let Some(relation) = parts.relations.get(row.oid("attrelid")?) {
            grant(relation, row.text("name")?, row.get("acl")?)?;
        }
    }
    Ok(())
}
