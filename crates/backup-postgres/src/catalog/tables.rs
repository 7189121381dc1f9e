//! Tables: the statements that make them, their partitions, their defaults and their rows.

use std::collections::{BTreeSet, HashMap, HashSet};

use backup_core::Result;

use super::columns::{Attribute, foreign_options};
use super::constraints::TableConstraints;
use super::inherits::{above_reordered, around, is_reordered, reordered, stand_in};
use super::node::{Announced, Catalog, Dummy, Node, NodeId, Rank, class};
use super::reader::{Fields, OURS, Reader};
use super::relations::{Relation, RelationKind, Relations, options, replica_identity};
use super::sequences::Identities;
use crate::ddl::quote::{block, ident, literal};

/// How a setting of a column begins.
const SET_COMPRESSION: &str = "SET COMPRESSION";

/// What tables are made with.
pub(super) struct Parts<'a> {
    pub(super) relations: &'a Relations,
    pub(super) columns: HashMap<u32, Vec<Attribute>>,
    pub(super) constraints: TableConstraints,
    pub(super) identities: Identities,
    /// Children that are made by way of a parent of a moment's.
    pub(super) reordered: HashSet<u32>,
}

impl<'a> Parts<'a> {
    pub(super) fn new(
        relations: &'a Relations,
        columns: HashMap<u32, Vec<Attribute>>,
        constraints: TableConstraints,
        identities: Identities,
    ) -> Self {
        let mut parts = Self { relations, columns, constraints, identities, reordered: HashSet::new() };
        parts.reordered = reordered(&parts);
        parts
    }

    pub(super) fn columns_of(&self, relation: &Relation) -> &[Attribute] {
        self.columns.get(&relation.oid).map_or(&[], Vec::as_slice)
    }
}

/// Tables, partitioned tables and foreign tables.
pub(super) async fn tables(reader: Reader<'_>, catalog: &mut Catalog, parts: &Parts<'_>) -> Result<()> {
    let may_count = reader.since(17, "false", "c.relispartition");
    let sql = format!(
        "SELECT c.oid, {may_count} AS may_count, c.reloptions, c.relreplident::text, c.relrowsecurity, c.relforcerowsecurity,
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
        table(catalog, parts, relation, &row)?;
        if let Some(bound) = row.maybe("bound")? {
            bounds.push((relation, bound.to_owned()));
        }
    }
    let before = parts.constraints.apart(catalog, parts.relations, &above_reordered(parts));
    for (relation, bound) in bounds {
        let names = parts.relations.names_of_parents(relation);
        let (Some(parent), Some(name)) = (relation.parents.first(), names.first()) else { continue };
        let attach = format!("ALTER TABLE ONLY {name} ATTACH PARTITION {} {bound}", relation.quoted());
        let mut node = parts.relations.node_of(
            catalog,
            relation,
            "table attach",
            &relation.name,
            Rank::Objects,
            vec![attach],
        );
        node.needs.extend(catalog.by_key.get(&(class::RELATION, *parent)));
        node.needs.extend(before.get(&relation.oid).into_iter().flatten());
        catalog.push(node);
    }
    Ok(())
}

fn table(catalog: &mut Catalog, parts: &Parts<'_>, relation: &Relation, row: &Fields) -> Result<()> {
    let name = relation.quoted();
    let mut statements = vec![create(parts, relation, row, None)?];
    if is_reordered(parts, relation) {
        let (before, after) = around(parts, relation);
        statements.insert(0, before);
        statements.extend(after);
    }
    let mut node = Node::sql(relation.kind.word(), &relation.name, Rank::Objects, statements);
    node = node.in_schema(&relation.schema).identity(relation.identity());
    node.table = parts.relations.selected_as(relation).map(str::to_owned);
    node = node.owned(&relation.identity(), &relation.owner);
    node.granted(&format!("TABLE {name}"), None, &relation.owner, row.get("acl")?, &row.list("base")?)?;
    for column in parts.columns_of(relation) {
        settings(parts, relation, column, &mut node);
    }
    if relation.kind != RelationKind::Foreign {
        node.push_all(replica_identity(relation, row.text("relreplident")?));
    }
    node.tablespace = row.maybe("tablespace")?.map(str::to_owned);
    if parts.columns_of(relation).iter().any(|column| column.generated == Some('v')) {
        node.since(18, "virtual generated columns");
    }
    if relation.kind == RelationKind::Partitioned && row.maybe("method")?.is_some() {
        node.since(17, "a partitioned table with an access method");
    }
    if parts.constraints.has_not_null_without_inherit(relation) {
        node.since(18, "NOT NULL without inheritance");
    }
    if !not_null_of_inherited(parts, relation).is_empty() {
        node.since(18, "NOT NULL of its own for an inherited column");
    }
    if parts.columns_of(relation).iter().any(|column| parts.identities.says_if_logged(relation, column)) {
        node.since(15, "an identity that is logged otherwise than its table");
    }
    if parts.columns_of(relation).iter().any(|column| column.is_multirange) {
        node.since(14, "multiranges");
    }
    // Since version 17 a partition has its parent's, and nothing of its own.
    let counts_itself = |column: &Attribute| {
        let has_parents = || of_parents(parts, relation, column).iter().any(|of| of.identity.is_some());
        column.identity.is_some() || column.default.is_some() && has_parents()
    };
    if row.is("may_count")? && parts.columns_of(relation).iter().any(counts_itself) {
        node.until = Some((16, "an identity of a partition's own"));
    }
    if parts.columns_of(relation).iter().any(|column| is_generated_unlike_parents(parts, relation, column)) {
        node.until = Some((15, "a generated column whose parent's is not generated"));
    }
    // The server's own collations of ICU are called so; others have a part of their own.
    let is_icu = |collation: &String| collation.ends_with("-x-icu\"");
    node.icu = parts.columns_of(relation).iter().any(|column| column.collation.as_ref().is_some_and(is_icu));
    let id = catalog.add(relation.key(), node);
    if let Some(dummy) = dummy(parts, relation, row)? {
        catalog.dummies.insert(id, dummy);
    }
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

/// The statement that makes a table; without its columns from a number on, and without its checks, if one is given.
fn create(parts: &Parts<'_>, relation: &Relation, row: &Fields, until: Option<i16>) -> Result<String> {
    let of_type = row.maybe("of_type")?;
    let own = (parts.columns_of(relation).iter())
        .filter(|column| until.is_none_or(|until| column.number < until))
        .filter(|column| column.is_local || relation.is_partition)
        .filter_map(|column| column_definition(parts, relation, column, of_type.is_some()));
    let not_null = not_null_of_inherited(parts, relation);
    let inline = if until.is_none() { parts.constraints.inline(relation) } else { Vec::new() };
    let items: Vec<String> = own.chain(not_null).chain(inline).collect();
    let mut sql = relation.quoted();
    let body = if items.is_empty() { String::new() } else { format!("\n    {}\n", items.join(",\n    ")) };
    match of_type {
        Some(of_type) if items.is_empty() => sql += &format!(" OF {of_type}"),
        Some(of_type) => sql += &format!(" OF {of_type} ({body})"),
        None => sql += &format!(" ({body})"),
    }
    if is_reordered(parts, relation) {
        sql += &format!("\nINHERITS ({})", stand_in(relation));
    } else if !relation.is_partition && !relation.parents.is_empty() {
        sql += &format!("\nINHERITS ({})", parts.relations.names_of_parents(relation).join(", "));
    }
    if let Some(key) = row.maybe("partition_key")? {
        sql += &format!("\nPARTITION BY {key}");
    }
    // What a partitioned table says is for its partitions to come.
    let is_said = |method: &&str| *method != "heap" || relation.kind == RelationKind::Partitioned;
    if let Some(method) = row.maybe("method")?.filter(is_said) {
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
    Ok(match (relation.kind, relation.is_unlogged) {
        (RelationKind::Foreign, _) => format!("CREATE FOREIGN TABLE {sql}"),
        (RelationKind::Partitioned, true) => unlogged_before_18(&sql),
        (_, true) => format!("CREATE UNLOGGED TABLE {sql}"),
        (_, false) => format!("CREATE TABLE {sql}"),
    })
}

/// A partitioned table that is said not to be logged, which has no effect, and which versions since 18 do not let anybody say.
fn unlogged_before_18(rest: &str) -> String {
    let body = format!(
        "BEGIN EXECUTE CASE WHEN pg_catalog.current_setting('server_version_num')::int < 180000 THEN 'CREATE UNLOGGED TABLE ' ELSE 'CREATE TABLE ' END || {}; END",
        literal(rest)
    );
    block(&body)
}

/// What CREATE TABLE says of inherited columns that the table itself wants not to be null.
fn not_null_of_inherited(parts: &Parts<'_>, relation: &Relation) -> Vec<String> {
    let inherited = |column: &&Attribute| !column.is_local && !relation.is_partition;
    let not_null = |column: &Attribute| {
        let from = inherited_from(parts, relation, column);
        parts.constraints.not_null_of_inherited(relation, column, from)
    };
    parts.columns_of(relation).iter().filter(inherited).filter_map(not_null).collect()
}

/// What announces a table that a function needs by which its columns are generated: it gets these when the function is there, and what comes
/// behind them.
fn dummy(parts: &Parts<'_>, relation: &Relation, row: &Fields) -> Result<Option<Dummy>> {
    let takes_from_others =
        row.maybe("of_type")?.is_some() || !relation.is_partition && !relation.parents.is_empty();
    let columns = parts.columns_of(relation);
    let first = columns.iter().find(|column| column.generated.is_some());
    let Some(first) = first.filter(|_| !takes_from_others) else { return Ok(None) };
    let rest = columns.iter().filter(|column| column.number >= first.number);
    let rest: Vec<String> = rest
        .filter_map(|column| column_definition(parts, relation, column, false))
        .map(|column| format!("ADD COLUMN {column}"))
        .collect();
    let alter = format!("ALTER {}", relation.identity());
    let mut others = vec![format!("{alter} {}", rest.join(", "))];
    others.extend(parts.constraints.inline(relation).iter().map(|check| format!("{alter} ADD {check}")));
    Ok(Some(Dummy {
        of_what: Announced::Table(others),
        oid: relation.oid,
        statement: create(parts, relation, row, Some(first.number))?,
        needs: BTreeSet::new(),
        of: Vec::new(),
    }))
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
    if !inherits_expression(parts, relation, column) {
        sql += &generated(column).unwrap_or_default();
    }
    sql += &parts.constraints.not_null(relation, column, inherited_from(parts, relation, column));
    if let Some(identity) = parts.identities.definition(relation, column) {
        sql += &identity;
    }
    if typed {
        return (!sql.is_empty()).then(|| format!("{} WITH OPTIONS{sql}", ident(&column.name)));
    }
    let compression = compression(relation, column).map_or(String::new(), |method| format!(" {method}"));
    Some(format!("{} {}{compression}{sql}", ident(&column.name), column.declared))
}

/// What is said of how a foreign table's column is compressed, which it is not: only the statement that makes the table may say that. Not every
/// server knows another method than its own.
fn compression<'a>(relation: &Relation, column: &'a Attribute) -> Option<&'a str> {
    let of_foreign = (relation.kind == RelationKind::Foreign).then_some(&column.settings)?;
    of_foreign.iter().find(|setting| *setting == "SET COMPRESSION pglz")?.strip_prefix("SET ")
}

/// What a column's definition says of how it is generated.
pub(super) fn generated(column: &Attribute) -> Option<String> {
    let (how, (_, expression)) = (column.generated?, column.default.as_ref()?);
    let how = if how == 'v' { "VIRTUAL" } else { "STORED" };
    Some(format!(" GENERATED ALWAYS AS ({expression}) {how}"))
}

/// Whether a generated column that is its table's own and its parents' too is generated as the parents say. Before version 16 a child
/// must not say it again.
fn inherits_expression(parts: &Parts<'_>, relation: &Relation, column: &Attribute) -> bool {
    let expression = |column: &Attribute| column.default.as_ref().map(|(_, expression)| expression.clone());
    let is_inherited = || {
        parents_columns(parts, relation)
            .filter(|(_, of)| of.name == column.name && of.generated.is_some())
            .any(|(_, of)| expression(of) == expression(column))
    };
    is_reordered(parts, relation) || column.inherited && !relation.is_partition && is_inherited()
}

/// Whether a column is generated, and that of a parent is not.
fn is_generated_unlike_parents(parts: &Parts<'_>, relation: &Relation, column: &Attribute) -> bool {
    column.generated.is_some() && of_parents(parts, relation, column).iter().any(|of| of.generated.is_none())
}

/// The columns of all parents of a relation, and the parent that each is of.
pub(super) fn parents_columns<'a>(
    parts: &'a Parts<'_>,
    relation: &'a Relation,
) -> impl Iterator<Item = (u32, &'a Attribute)> {
    relation
        .parents
        .iter()
        .copied()
        .flat_map(|oid| parts.columns.get(&oid).into_iter().flatten().map(move |column| (oid, column)))
}

/// The columns that a column is inherited from.
pub(super) fn of_parents<'a>(
    parts: &'a Parts<'_>,
    relation: &'a Relation,
    column: &Attribute,
) -> Vec<&'a Attribute> {
    parents_columns(parts, relation).map(|(_, of)| of).filter(|of| of.name == column.name).collect()
}

/// The tables and numbers of the columns that a column is inherited from.
pub(super) fn inherited_from<'a>(
    parts: &'a Parts<'_>,
    relation: &'a Relation,
    column: &'a Attribute,
) -> impl Iterator<Item = (u32, i16)> + 'a {
    let of_name = parents_columns(parts, relation).filter(|(_, of)| of.name == column.name);
    of_name.map(|(parent, of)| (parent, of.number))
}

/// Whether the column is part of a key of one of the tables that it comes from.
fn is_key_above(parts: &Parts<'_>, relation: &Relation, column: &Attribute) -> bool {
    let (mut seen, mut ahead) = (HashSet::new(), relation.parents.clone());
    while let Some(oid) = ahead.pop() {
        let of_name = parts.columns.get(&oid).into_iter().flatten().find(|of| of.name == column.name);
        if of_name.is_some_and(|of| of.is_key) {
            return true;
        }
        if seen.insert(oid) {
            ahead.extend(parts.relations.get(oid).into_iter().flat_map(|parent| &parent.parents));
        }
    }
    false
}

/// What is set of a column when it is there.
fn settings(parts: &Parts<'_>, relation: &Relation, column: &Attribute, node: &mut Node) {
    let is_inherited = !column.is_local && !relation.is_partition;
    if column.inherited && !relation.is_partition {
        let of_parents = of_parents(parts, relation, column);
        let is_key = is_key_above(parts, relation, column);
        node.push_all(parts.constraints.flags_of_inherited(relation, column, &of_parents, is_key));
    }
    let alter = if relation.kind == RelationKind::Foreign { "FOREIGN TABLE" } else { "TABLE" };
    let alter = format!("ALTER {alter} ONLY {} ALTER COLUMN {}", relation.quoted(), ident(&column.name));
    // That of a column of its own is in its definition.
    let identity = parts.identities.definition(relation, column).filter(|_| is_inherited);
    node.push_all(identity.map(|identity| format!("{alter} ADD{identity}")));
    node.push_all(parts.identities.altered(relation, column));
    if compression(relation, column).is_some() {
        node.since(14, "the compression of a column");
    }
    for setting in column.settings.iter().cloned().chain(unlike_parents(parts, relation, column)) {
        if relation.kind != RelationKind::Foreign || !setting.starts_with(SET_COMPRESSION) {
            set(node, &alter, &setting);
        }
    }
}

/// Sets something of a column: `alter` is all that comes before it.
pub(super) fn set(node: &mut Node, alter: &str, setting: &str) {
    if setting.starts_with(SET_COMPRESSION) {
        node.since(14, "the compression of a column");
    }
    node.push(format!("{alter} {setting}"));
}

/// What a child has as if nobody had said anything, where it would have what somebody has said of its parents.
fn unlike_parents(parts: &Parts<'_>, relation: &Relation, column: &Attribute) -> Vec<String> {
    if !column.inherited || relation.is_partition || is_reordered(parts, relation) {
        return Vec::new();
    }
    let says =
        |column: &Attribute, word: &str| column.settings.iter().any(|setting| setting.starts_with(word));
    let of_parents = of_parents(parts, relation, column);
    let mut usual = vec![("SET STORAGE", column.storage), (SET_COMPRESSION, "DEFAULT")];
    usual.retain(|(word, _)| !says(column, word) && of_parents.iter().any(|of| says(of, word)));
    usual.into_iter().map(|(word, usual)| format!("{word} {usual}")).collect()
}

/// The defaults of each relation's columns, apart from it: their functions may need the relation.
pub(super) fn defaults(catalog: &mut Catalog, parts: &Parts<'_>) {
    // Parents whose defaults disagree have no new children together.
    let mut children: HashMap<u32, Vec<NodeId>> = HashMap::new();
    for relation in parts.relations.all.iter().filter(|of| !of.is_partition && of.parents.len() > 1) {
        let Some(id) = catalog.by_key.get(&relation.key()) else { continue };
        relation.parents.iter().for_each(|parent| children.entry(*parent).or_default().push(*id));
    }
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
        let mut node =
            parts.relations.node_of(catalog, relation, "default", &relation.name, Rank::Objects, statements);
        node.needs.extend(children.get(&relation.oid).into_iter().flatten());
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
