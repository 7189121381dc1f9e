//! Constraints of tables: those that are made with their table, and those that come when its rows are there.

use std::collections::{BTreeMap, HashMap, HashSet};

use backup_core::{Error, Result};

use super::columns::Attribute;
use super::exclusions;
use super::node::{Catalog, NodeId, Rank, class, named};
use super::reader::{Fields, OURS, Reader};
use super::relations::{Relation, RelationKind, Relations, options};
use crate::ddl::quote::{block, ident, literal};

/// The CHECK and NOT NULL constraints of tables.
#[derive(Debug, Default)]
pub(super) struct TableConstraints {
    checks: HashMap<u32, Vec<Check>>,
    /// By table and column; before version 18 columns have no such constraints, only a flag.
    not_null: Option<HashMap<u32, BTreeMap<i16, NotNull>>>,
}

#[derive(Debug)]
struct Check {
    oid: u32,
    name: String,
    definition: String,
    is_local: bool,
    no_inherit: bool,
    validated: bool,
    /// A function or operator of the database's own, which may need the table.
    uses_function: bool,
}

#[derive(Debug)]
struct NotNull {
    oid: u32,
    name: String,
    definition: String,
    is_local: bool,
    no_inherit: bool,
    validated: bool,
    /// A key or an identity needs it.
    is_needed: bool,
}

pub(super) async fn read(reader: Reader<'_>) -> Result<TableConstraints> {
    let key = reader.since(18, "c.conkey[1]", "NULL::int2");
    let needed = reader.since(
        18,
        "c.contype = 'n' AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.conrelid AND a.attnum = c.conkey[1] AND (a.attidentity <> '' OR EXISTS (
           SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.conrelid AND (i.indisprimary OR i.indisreplident) AND a.attnum = ANY (i.indkey::int2[]))))",
        "false",
    );
    let sql = format!(
        "SELECT c.oid, c.conrelid, c.contype::text AS kind, c.conname::text AS name, {key} AS attnum, c.conislocal, c.connoinherit, c.convalidated, {needed} AS needed,
                pg_catalog.pg_get_constraintdef(c.oid) AS definition,
                EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = c.oid
                        AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass) AND d.refobjid >= 16384) AS uses_function
         FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
         WHERE {OURS} AND c.conrelid <> 0 AND c.contype IN ('c', 'n') ORDER BY c.conrelid, c.conname"
    );
    let mut constraints = TableConstraints::default();
    let mut not_null: HashMap<u32, BTreeMap<i16, NotNull>> = HashMap::new();
    for row in reader.rows(&sql).await? {
        let (oid, table, name) = (row.oid("oid")?, row.oid("conrelid")?, row.text("name")?.to_owned());
        let definition = row.text("definition")?.to_owned();
        let (is_local, validated) = (row.is("conislocal")?, row.is("convalidated")?);
        let no_inherit = row.is("connoinherit")?;
        if row.text("kind")? == "n" {
            let column = row.get::<Option<i16>>("attnum")?.unwrap_or_default();
            let is_needed = row.is("needed")?;
            let constraint = NotNull { oid, name, definition, is_local, no_inherit, validated, is_needed };
            not_null.entry(table).or_default().insert(column, constraint);
        } else {
            let uses_function = row.is("uses_function")?;
            let check = Check { oid, name, definition, is_local, no_inherit, validated, uses_function };
            constraints.checks.entry(table).or_default().push(check);
        }
    }
    constraints.not_null = (reader.version >= 180_000).then_some(not_null);
    Ok(constraints)
}

impl Check {
    /// Whether the table says it, and not only its parents. A partition is made before it is attached, and has to have all.
    fn is_own(&self, relation: &Relation) -> bool {
        self.is_local || relation.is_partition
    }

    fn is_inline(&self) -> bool {
        self.validated && !self.uses_function
    }

    fn said(&self) -> String {
        format!("CONSTRAINT {} {}", ident(&self.name), self.definition)
    }
}

impl TableConstraints {
    fn checks_of(&self, relation: &Relation) -> impl Iterator<Item = &Check> {
        self.checks.get(&relation.oid).into_iter().flatten()
    }

    pub(super) fn has_not_null_without_inherit(&self, relation: &Relation) -> bool {
        self.not_null_of(relation).any(|constraint| constraint.no_inherit)
    }

    fn not_null_of(&self, relation: &Relation) -> impl Iterator<Item = &NotNull> {
        let of_table = self.not_null.as_ref().and_then(|constraints| constraints.get(&relation.oid));
        of_table.into_iter().flat_map(BTreeMap::values)
    }

    fn not_null_at(&self, (table, column): (u32, i16)) -> Option<&NotNull> {
        self.not_null.as_ref()?.get(&table)?.get(&column)
    }

    /// The constraints that CREATE TABLE has.
    pub(super) fn inline(&self, relation: &Relation) -> Vec<String> {
        let inline = self.checks_of(relation).filter(|check| check.is_own(relation) && check.is_inline());
        inline.map(Check::said).collect()
    }

    /// Says that the table's node makes these constraints along, or inherits them.
    pub(super) fn alias_inline(&self, catalog: &mut Catalog, relation: &Relation) {
        for check in self.checks_of(relation).filter(|check| !check.is_own(relation) || check.is_inline()) {
            let key = (class::CONSTRAINT, check.oid);
            catalog.alias(key, relation.key());
            catalog
                .identities
                .insert(key, format!("CONSTRAINT {} ON {}", ident(&check.name), relation.quoted()));
        }
        for constraint in self.not_null_of(relation) {
            let key = (class::CONSTRAINT, constraint.oid);
            catalog.alias(key, relation.key());
            let identity = format!("CONSTRAINT {} ON {}", ident(&constraint.name), relation.quoted());
            catalog.identities.insert(key, identity);
        }
    }

    /// NOT NULL in a column's definition; nothing if it is not there or comes later.
    /// `from` are the columns of its parents that it is inherited from.
    pub(super) fn not_null(
        &self,
        relation: &Relation,
        column: &Attribute,
        from: impl Iterator<Item = (u32, i16)>,
    ) -> String {
        if self.not_null.is_none() {
            return if column.not_null { " NOT NULL".to_owned() } else { String::new() };
        }
        match self.not_null_at((relation.oid, column.number)) {
            Some(constraint) if self.is_own_not_null(relation, constraint, from) => {
                let no_inherit = if constraint.no_inherit { " NO INHERIT" } else { "" };
                named_not_null(&constraint.name) + no_inherit
            }
            _ => String::new(),
        }
    }

    /// The same for a column that has it from its parents alone. Where it has no name `ancestors` is that which later versions give it, if it is
    /// known.
    pub(super) fn not_null_of_parents(
        &self,
        relation: &Relation,
        column: &Attribute,
        parents: &[&Attribute],
        from: impl Iterator<Item = (u32, i16)>,
        ancestors: impl FnOnce() -> Option<String>,
    ) -> String {
        if self.not_null.is_none() {
            return match column.not_null || parents.iter().any(|of| of.not_null) {
                true => ancestors().map_or_else(|| " NOT NULL".to_owned(), |name| named_not_null(&name)),
                false => String::new(),
            };
        }
        let constraint = self.not_null_at((relation.oid, column.number)).filter(|constraint| {
            constraint.validated
                && !self.is_own_not_null(relation, constraint, from)
                && !self.is_validated_late(relation, constraint)
        });
        constraint.map_or(String::new(), |constraint| named_not_null(&constraint.name))
    }

    /// The CHECKs that a table has from its parents alone, of those that come with it.
    pub(super) fn of_parents(&self, relations: &Relations, relation: &Relation) -> Vec<String> {
        let from = |name: &str| {
            let (mut seen, mut ahead) = (HashSet::new(), relation.parents.clone());
            while let Some(parent) = ahead.pop() {
                if !seen.insert(parent) {
                    continue;
                }
                match self.checks.get(&parent).into_iter().flatten().find(|check| check.name == name) {
                    // What is an extension's has all that it has.
                    Some(check)
                        if check.is_local && (check.is_inline() || relations.get(parent).is_none()) =>
                    {
                        return Some(check);
                    }
                    Some(_) => {
                        ahead.extend(relations.get(parent).into_iter().flat_map(|parent| &parent.parents))
                    }
                    None => {}
                }
            }
            None
        };
        let inherited = self.checks_of(relation).filter(|check| !check.is_local);
        inherited.filter_map(|check| from(&check.name)).map(Check::said).collect()
    }

    /// NOT NULL of a column that a child inherits from `parents`, where that is no constraint with a name: as ALTER TABLE says it. The
    /// child may have it alone, or be without it, which version 18 lets it be only if that of its parents is not inherited: that cannot be where
    /// it is part of a key.
    pub(super) fn flags_of_inherited(
        &self,
        relation: &Relation,
        column: &Attribute,
        parents: &[&Attribute],
        is_key_above: bool,
    ) -> Vec<String> {
        let table = relation.quoted();
        let alter = format!("ALTER TABLE ONLY {table} ALTER COLUMN {}", ident(&column.name));
        match column.not_null {
            _ if self.not_null.is_some() => Vec::new(),
            true if !column.is_local && parents.iter().any(|of| of.not_null) => {
                vec![not_null_unless_inherited(&table, &column.name, &format!("{alter} SET NOT NULL"))]
            }
            true if !column.is_local => vec![format!("{alter} SET NOT NULL")],
            false if parents.iter().any(|of| of.not_null) => {
                let alone = (!is_key_above).then(|| not_inherited_since_18(&table, &column.name));
                alone.into_iter().chain([format!("{alter} DROP NOT NULL")]).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The same as a constraint with a name, which has to be said in CREATE TABLE: later the column would have that of the parent.
    /// `from` are the columns of its parents that it is inherited from.
    pub(super) fn not_null_of_inherited(
        &self,
        relation: &Relation,
        column: &Attribute,
        from: impl Iterator<Item = (u32, i16)>,
    ) -> Option<String> {
        let constraint = self.not_null_at((relation.oid, column.number))?;
        let is_own = self.is_own_not_null(relation, constraint, from);
        is_own.then(|| format!("CONSTRAINT {} {}", ident(&constraint.name), constraint.definition))
    }

    /// Whether a table says a NOT NULL when it is made: it may have validated what no parent of it has.
    fn is_own_not_null(
        &self,
        relation: &Relation,
        constraint: &NotNull,
        from: impl Iterator<Item = (u32, i16)>,
    ) -> bool {
        let mut parents = from.filter_map(|parent| self.not_null_at(parent)).peekable();
        let validates = parents.peek().is_some() && parents.all(|parent| !parent.validated);
        constraint.validated
            && !self.is_validated_late(relation, constraint)
            && (constraint.is_local || relation.is_partition || validates)
    }

    /// Whether a child or a partition validates a NOT NULL when its only parent has it, so that it is the parent's and not its own.
    fn is_validated_late(&self, relation: &Relation, constraint: &NotNull) -> bool {
        let mut of_parents = (relation.parents.iter())
            .filter_map(|parent| self.not_null.as_ref()?.get(parent))
            .flat_map(BTreeMap::values)
            .filter(|of| of.name == constraint.name && !of.validated);
        let is_inherited = relation.parents.len() == 1 && of_parents.next().is_some();
        let is_own = constraint.is_local || constraint.is_needed;
        constraint.validated && is_inherited && !is_own
    }

    /// Constraints that come after their table: those with functions, and those that rows need not satisfy. What tables `above` others
    /// have comes when these are there. Returns, for each partition, those that it has to have before it is attached.
    pub(super) fn apart(
        &self,
        catalog: &mut Catalog,
        relations: &Relations,
        above: &HashSet<u32>,
    ) -> HashMap<u32, Vec<NodeId>> {
        let mut before_attach: HashMap<u32, Vec<NodeId>> = HashMap::new();
        let mut validations = Vec::new();
        for relation in &relations.all {
            let checks = self.checks_of(relation).filter(|check| check.validated && !check.is_own(relation));
            let not_null =
                self.not_null_of(relation).filter(|constraint| self.is_validated_late(relation, constraint));
            let names = checks.map(|check| &check.name).chain(not_null.map(|constraint| &constraint.name));
            for name in names {
                let not_validated = self.not_validated_above(relations, relation, name);
                if !not_validated.is_empty() {
                    let validate = format!("{} VALIDATE CONSTRAINT {}", relation.quoted(), ident(name));
                    let node = apart(catalog, relations, relation, name, Rank::Contents, validate);
                    validations.push((catalog.push(node), not_validated));
                }
            }
            for check in self.checks_of(relation).filter(|check| check.is_own(relation) && !check.is_inline())
            {
                let only = if check.no_inherit { "ONLY " } else { "" };
                let add = format!(
                    "{only}{} ADD CONSTRAINT {} {}",
                    relation.quoted(),
                    ident(&check.name),
                    check.definition
                );
                // A function may read other tables. A partition has to have it before it is attached.
                let is_of_partitions = relation.is_partition || relation.kind == RelationKind::Partitioned;
                let is_late = !check.validated || !is_of_partitions || above.contains(&relation.oid);
                let rank = if is_late { Rank::Contents } else { Rank::Objects };
                if !check.validated && relation.is_partition && !check.is_local {
                    // It comes from its parent.
                    catalog.alias((class::CONSTRAINT, check.oid), relation.key());
                    continue;
                }
                let mut node = apart(catalog, relations, relation, &check.name, rank, add);
                if check.definition.ends_with(" NOT ENFORCED") {
                    node.since(18, "a constraint that is not enforced");
                }
                let id = catalog.add((class::CONSTRAINT, check.oid), node);
                before_attach.entry(relation.oid).or_default().extend(check.validated.then_some(id));
            }
            let late =
                self.not_null_of(relation).filter(|constraint| constraint.is_local && !constraint.validated);
            let mut late: Vec<_> = late.collect();
            late.sort_by(|a, b| a.name.cmp(&b.name));
            for constraint in late {
                let name = &constraint.name;
                let add =
                    format!("{} ADD CONSTRAINT {} {}", relation.quoted(), ident(name), constraint.definition);
                let mut node = apart(catalog, relations, relation, name, Rank::Contents, add);
                node.since(18, "NOT NULL that is not valid");
                catalog.add((class::CONSTRAINT, constraint.oid), node);
            }
        }
        for relation in &relations.all {
            self.alias_inherited(catalog, relations, relation);
        }
        for (id, above) in validations {
            let needs: Vec<_> = (above.iter())
                .filter_map(|oid| catalog.by_key.get(&(class::CONSTRAINT, *oid)).copied())
                .collect();
            catalog.nodes.get_mut(id).into_iter().for_each(|node| node.needs.extend(&needs));
        }
        before_attach
    }

    /// Says which node makes the constraints that a table gets when one of its ancestors does, behind all of them.
    fn alias_inherited(&self, catalog: &mut Catalog, relations: &Relations, relation: &Relation) {
        let is_inherited = |check: &&Check| !check.is_local && (!relation.is_partition || !check.validated);
        let checks = self.checks_of(relation).filter(is_inherited).map(|check| (check.oid, &check.name));
        let is_made =
            |of: &NotNull| relation.is_partition && of.validated && !self.is_validated_late(relation, of);
        let is_late = |of: &&NotNull| !of.is_local && !is_made(of);
        let not_null = self.not_null_of(relation).filter(is_late).map(|of| (of.oid, &of.name));
        for (oid, name) in checks.chain(not_null).collect::<Vec<_>>() {
            let made = self.oids_above(relations, relation, name).into_iter().find_map(|above| {
                let id = *catalog.by_key.get(&(class::CONSTRAINT, above))?;
                catalog.nodes.get(id).filter(|node| node.kind == "constraint").map(|_| id)
            });
            if let Some(made) = made {
                let key = (class::CONSTRAINT, oid);
                catalog.by_key.insert(key, made);
                catalog
                    .identities
                    .insert(key, format!("CONSTRAINT {} ON {}", ident(name), relation.quoted()));
            }
        }
    }

    /// The constraints of that name that a table's ancestors have.
    fn oids_above(&self, relations: &Relations, relation: &Relation, name: &str) -> Vec<u32> {
        let (mut seen, mut ahead, mut oids) = (HashSet::new(), relation.parents.clone(), Vec::new());
        while let Some(oid) = ahead.pop() {
            if let Some(parent) = relations.get(oid).filter(|_| seen.insert(oid)) {
                let checks = self.checks_of(parent).map(|check| (&check.name, check.oid));
                let not_null = self.not_null_of(parent).map(|of| (&of.name, of.oid));
                oids.extend(checks.chain(not_null).filter(|(of, _)| *of == name).map(|(_, oid)| oid));
                ahead.extend(&parent.parents);
            }
        }
        oids
    }

    /// The constraints that a table has a CHECK or a NOT NULL from, where none of its parents has validated it: those of all its ancestors.
    fn not_validated_above(&self, relations: &Relations, relation: &Relation, name: &str) -> Vec<u32> {
        // The oid of a table's constraint of that name, and whether it is validated.
        let of = |relation: &Relation| {
            let check = self.checks_of(relation).map(|check| (&check.name, check.oid, check.validated));
            let not_null = self.not_null_of(relation).map(|of| (&of.name, of.oid, of.validated));
            check.chain(not_null).find(|(of, ..)| *of == name).map(|(_, oid, validated)| (oid, validated))
        };
        let of_parents = |relation: &Relation| {
            let parents = relation.parents.iter().filter_map(|oid| relations.get(*oid));
            parents.filter_map(|parent| Some((parent, of(parent)?))).collect::<Vec<_>>()
        };
        let mut ahead = of_parents(relation);
        if ahead.iter().any(|(_, (_, validated))| *validated) {
            return Vec::new();
        }
        let mut above = Vec::new();
        while let Some((parent, (oid, _))) = ahead.pop() {
            if !above.contains(&oid) {
                above.push(oid);
                ahead.extend(of_parents(parent));
            }
        }
        above
    }
}

fn named_not_null(name: &str) -> String {
    format!(" CONSTRAINT {} NOT NULL", ident(name))
}

/// A child that has it from a parent would have it as its own too since version 18, if that was said; but the parent's may not be inherited.
fn not_null_unless_inherited(table: &str, column: &str, alter: &str) -> String {
    let body = format!(
        "BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = {}::pg_catalog.regclass AND attname = {} AND NOT attnotnull) THEN EXECUTE {}; END IF; END",
        literal(table),
        literal(column),
        literal(alter)
    );
    block(&body)
}

/// Keeps the NOT NULL of a table's ancestors from being inherited, from the topmost on, where it is a constraint with a name.
fn not_inherited_since_18(table: &str, column: &str) -> String {
    let body = format!(
        "DECLARE parent regclass; name name; BEGIN
IF pg_catalog.current_setting('server_version_num')::int < 180000 THEN RETURN; END IF;
FOR parent, name IN WITH RECURSIVE above (oid, level) AS (
    SELECT i.inhparent, 1 FROM pg_catalog.pg_inherits i WHERE i.inhrelid = {table}::pg_catalog.regclass
    UNION ALL SELECT i.inhparent, above.level + 1 FROM above JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.oid)
  SELECT k.conrelid, k.conname FROM above JOIN pg_catalog.pg_attribute a ON a.attrelid = above.oid AND a.attname = {column}
  JOIN pg_catalog.pg_constraint k ON k.conrelid = above.oid AND k.contype = 'n' AND k.conkey[1] = a.attnum AND NOT k.connoinherit
  GROUP BY k.conrelid, k.conname ORDER BY pg_catalog.max(above.level) DESC
LOOP EXECUTE pg_catalog.format('ALTER TABLE %s ALTER CONSTRAINT %I NO INHERIT', parent, name); END LOOP; END",
        table = literal(table),
        column = literal(column)
    );
    block(&body)
}

fn apart(
    catalog: &Catalog,
    relations: &Relations,
    relation: &Relation,
    name: &str,
    rank: Rank,
    add: String,
) -> super::node::Node {
    let alter = if relation.kind == RelationKind::Foreign { "FOREIGN TABLE" } else { "TABLE" };
    let node =
        relations.node_of(catalog, relation, "constraint", name, rank, vec![format!("ALTER {alter} {add}")]);
    node.identity(format!("CONSTRAINT {} ON {}", ident(name), relation.quoted()))
}

/// What the server says of primary keys, UNIQUE, EXCLUDE, and foreign keys.
pub(super) async fn read_keys(reader: Reader<'_>) -> Result<Vec<Fields>> {
    let period = reader.since(18, "c.conperiod", "false");
    let sets_some = reader.since(15, "c.confdelsetcols IS NOT NULL", "false");
    let by_parent = if reader.version / 10_000 == 17 { "c.contype = 'x'" } else { "false" };
    let sql = format!(
        "SELECT c.oid, {by_parent} AS by_parent, c.conrelid, c.contype::text AS kind, c.conname::text AS name, c.conparentid, c.conindid, {period} AS period, {sets_some} AS sets_some,
                pg_catalog.pg_get_constraintdef(c.oid) AS definition, c.condeferrable, c.condeferred, c.convalidated,
                i.reloptions, c.confrelid, xn.nspname::text AS index_schema, i.relname::text AS index_name, s.spcname::text AS tablespace
         FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace
         LEFT JOIN pg_catalog.pg_class i ON i.oid = c.conindid LEFT JOIN pg_catalog.pg_namespace xn ON xn.oid = i.relnamespace
         LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = i.reltablespace
         WHERE {OURS} AND c.conrelid <> 0 AND c.contype IN ('p', 'u', 'x', 'f') ORDER BY c.conparentid, c.conrelid, c.contype, c.conname"
    );
    reader.rows(&sql).await
}

/// Primary keys, UNIQUE, EXCLUDE, and foreign keys.
pub(super) fn keys(catalog: &mut Catalog, relations: &Relations, rows: &[Fields]) -> Result<()> {
    let (mut inherited, mut validations, mut excluded) = (Vec::new(), Vec::new(), Vec::new());
    let mut by_oid: HashMap<u32, &Fields> = HashMap::new();
    for row in rows {
        by_oid.insert(row.oid("oid")?, row);
    }
    for row in rows {
        let Some(relation) = relations.get(row.oid("conrelid")?) else { continue };
        let (key, parent) = ((class::CONSTRAINT, row.oid("oid")?), row.oid("conparentid")?);
        if row.text("kind")? == "f" {
            if parent != 0 {
                inherited.push((key, (class::CONSTRAINT, parent)));
                let (name, Some(of)) = (row.text("name")?, by_oid.get(&parent)) else { continue };
                // What a partition calls it is not kept.
                let is_called_so = of.text("name")? == name;
                let identity = format!("CONSTRAINT {} ON {}", ident(name), relation.quoted());
                catalog.identities.insert(key, if is_called_so { identity } else { String::new() });
                let is_validated = row.is("convalidated")? && !of.is("convalidated")?;
                if is_called_so && is_validated && of.oid("conrelid")? != relation.oid {
                    let validate = format!("{} VALIDATE CONSTRAINT {}", relation.quoted(), ident(name));
                    let node = apart(catalog, relations, relation, name, Rank::Contents, validate);
                    validations.push((key, catalog.push(node)));
                }
                continue;
            }
            foreign_key(catalog, relations, relation, row)?;
            continue;
        }
        let by_parent = row.is("by_parent")?;
        if by_parent && parent != 0 {
            inherited.push((key, (class::CONSTRAINT, parent)));
            excluded.push(row);
            continue;
        }
        let name = row.text("name")?;
        let statement = format!(
            "ALTER TABLE {}{} ADD CONSTRAINT {} {}",
            if by_parent { "" } else { "ONLY " },
            relation.quoted(),
            ident(name),
            definition(row)?
        );
        let mut node = relations.node_of(catalog, relation, "constraint", name, Rank::Made, vec![statement]);
        node = node.identity(format!("CONSTRAINT {} ON {}", ident(name), relation.quoted()));
        node.tablespace = row.maybe("tablespace")?.map(str::to_owned);
        if row.is("period")? {
            node.since(18, "keys without overlaps");
        }
        if row.text("kind")? == "x" && relation.kind == RelationKind::Partitioned {
            node.since(17, "an exclusion constraint of a partitioned table");
        }
        if row.text("kind")? == "x" && parent != 0 {
            node.since(18, "an exclusion constraint of a partition that is its parent's");
        }
        // Each locks its table: of two at once one would wait, and a session with it.
        let before = catalog.indexes_of.get(&relation.oid).and_then(|made| made.last());
        node.needs.extend(before);
        let id = catalog.add(key, node);
        catalog.indexes_of.entry(relation.oid).or_default().push(id);
        let index = (class::RELATION, row.oid("conindid")?);
        catalog.alias(index, key);
        if let (Some(schema), Some(name)) = (row.maybe("index_schema")?, row.maybe("index_name")?) {
            catalog.identities.insert(index, named("INDEX", schema, name));
        }
    }
    // A partition's key may be copied from one that is copied itself.
    for _ in 0..inherited.len().min(64) {
        inherited.retain(|(key, parent)| {
            catalog.alias(*key, *parent);
            !catalog.by_key.contains_key(key)
        });
    }
    exclusions::come_along(catalog, relations, &excluded, &by_oid)?;
    for (key, id) in validations {
        let made = catalog.by_key.get(&key).copied();
        catalog.node_mut(id)?.needs.extend(made);
    }
    Ok(())
}

/// The definition with the options of its index, which the server leaves out of it.
fn definition(row: &Fields) -> Result<String> {
    let definition = row.text("definition")?;
    let storage = row.list("reloptions")?;
    if storage.is_empty() || row.text("kind")? == "x" {
        return Ok(definition.to_owned());
    }
    let mut end = String::new();
    if row.is("condeferrable")? {
        end += " DEFERRABLE";
    }
    if row.is("condeferred")? {
        end += " INITIALLY DEFERRED";
    }
    let start = definition.strip_suffix(&end).ok_or_else(|| {
        Error::unsupported(format!(
            "the definition of constraint {} is not understood",
            row.text("name").unwrap_or_default()
        ))
    })?;
    Ok(format!("{start} WITH ({}){end}", options(&storage)))
}

fn foreign_key(
    catalog: &mut Catalog,
    relations: &Relations,
    relation: &Relation,
    row: &Fields,
) -> Result<()> {
    let name = row.text("name")?;
    let (from, to) = (relation.kind, relations.get(row.oid("confrelid")?).map(|to| to.kind));
    let only = if from == RelationKind::Partitioned { "" } else { "ONLY " };
    let statement = format!(
        "ALTER TABLE {only}{} ADD CONSTRAINT {} {}",
        relation.quoted(),
        ident(name),
        row.text("definition")?
    );
    // Between partitioned tables the rows are those of all partitions.
    let of_partitions = from == RelationKind::Partitioned || to == Some(RelationKind::Partitioned);
    let rank = if of_partitions { Rank::Contents } else { Rank::Made };
    let mut node = relations.node_of(catalog, relation, "constraint", name, rank, vec![statement]);
    node = node.identity(format!("CONSTRAINT {} ON {}", ident(name), relation.quoted()));
    if row.is("period")? || row.text("definition")?.ends_with(" NOT ENFORCED") {
        node.since(18, "a foreign key of periods, or that is not enforced");
    }
    if from == RelationKind::Partitioned && row.text("definition")?.ends_with(" NOT VALID") {
        node.since(18, "a foreign key of a partitioned table that is not valid");
    }
    if row.is("sets_some")? {
        node.since(15, "a foreign key that sets some of its columns");
    }
    node.needs.extend(catalog.by_key.get(&(class::RELATION, row.oid("confrelid")?)));
    node.needs.extend(catalog.rows_of.get(&row.oid("confrelid")?).into_iter().flatten());
    let id = catalog.add((class::CONSTRAINT, row.oid("oid")?), node);
    catalog.foreign_keys.push((row.oid("oid")?, id, [relation.oid, row.oid("confrelid")?]));
    Ok(())
}

/// A foreign key locks both tables, so it comes after all indexes of both: neither waits for the other while it holds a session.
pub(super) fn foreign_keys_last(catalog: &mut Catalog, relations: &Relations) {
    let mut keys = std::mem::take(&mut catalog.foreign_keys);
    keys.sort_unstable();
    // Of one table to one: a key needs no other that may be left out where it is not.
    let mut keys_of: HashMap<[u32; 2], Vec<NodeId>> = HashMap::new();
    for (_, id, tables) in &keys {
        keys_of.entry(*tables).or_default().push(*id);
    }
    for (_, id, tables) in &keys {
        let indexes = tables.iter().filter_map(|table| catalog.indexes_of.get(table)).flatten();
        // A partition's own comes behind those that it inherits, which would take it over if it was there.
        let above = relations.above(tables[0]);
        let inherited = above.iter().filter_map(|table| keys_of.get(&[*table, tables[1]])).flatten();
        // To a partitioned table a key has others along, which take names: one comes behind the other, as they were made.
        let siblings = keys_of.get(tables).into_iter().flatten();
        let before = siblings.take_while(|sibling| *sibling != id).last();
        if let Some(node) = catalog.nodes.get_mut(*id) {
            node.needs.extend(indexes.chain(inherited).chain(before));
        }
    }
}
