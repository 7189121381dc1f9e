//! Sequences: of their own, of serial columns, of identity columns; and how far they have come.

use std::collections::{BTreeMap, HashMap, HashSet};

use backup_core::Result;

use super::columns::Attribute;
use super::node::{Body, Catalog, Rank, class};
use super::reader::{Fields, OURS, Reader};
use super::relations::{Relation, Relations};
use super::schemas::sequence_columns;
use crate::ddl::quote::{ident, qualified};
use crate::rows::RowsSpec;
use crate::spec::Gate;

/// The sequences of identity columns, which are made with their table.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// By table and column.
    of_column: BTreeMap<(u32, i16), Identity>,
}

/// The sequence of an identity column.
#[derive(Debug)]
struct Identity {
    oid: u32,
    definition: String,
    /// What has to be said when it is there: it may count in another type than its column, which its definition cannot say.
    altered: Option<String>,
    /// Whether its definition says if it is logged.
    says_if_logged: bool,
    acl: Option<Vec<String>>,
    base: Vec<String>,
}

/// A sequence that is made by itself.
pub(super) struct Sequence {
    oid: u32,
    statement: String,
    owned_by: Option<(u32, String)>,
    acl: Option<Vec<String>>,
    base: Vec<String>,
}

/// All sequences, those of identity columns apart.
pub(super) async fn read(reader: Reader<'_>, relations: &Relations) -> Result<(Identities, Vec<Sequence>)> {
    let sql = format!(
        "SELECT c.oid, c.relpersistence::text, pg_catalog.format_type(s.seqtypid, NULL) AS type, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle,
                d.deptype::text AS owned, d.refobjid AS table_oid, d.refobjsubid::int2 AS attnum, a.attname::text AS column, s.seqtypid <> a.atttypid AS other_type, of.relpersistence::text AS of_persistence,
                c.relacl::text[] AS acl, pg_catalog.acldefault('s', c.relowner)::text[] AS base
         FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.objsubid = 0
              AND d.deptype IN ('a', 'i') AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjsubid > 0
         LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
         LEFT JOIN pg_catalog.pg_class of ON of.oid = d.refobjid
         WHERE {OURS} ORDER BY n.nspname, c.relname"
    );
    let (mut identities, mut sequences) = (Identities::default(), Vec::new());
    for row in reader.rows(&sql).await? {
        let oid = row.oid("oid")?;
        let Some(relation) = relations.get(oid) else { continue };
        let options = options(&row)?;
        let (acl, base) = (row.get("acl")?, row.list("base")?);
        let column = row.get::<Option<u32>>("table_oid")?.zip(row.get::<Option<i16>>("attnum")?);
        match (row.maybe("owned")?, column) {
            (Some("i"), Some(place)) => {
                let logged = match (row.text("relpersistence")?, row.maybe("of_persistence")?) {
                    (own, Some(of)) if own == of => "",
                    // Before, all were, and there was no word for it.
                    _ if reader.version < 150_000 => "",
                    ("u", _) => "UNLOGGED ",
                    _ => "LOGGED ",
                };
                let name = relation.quoted();
                let (said, altered) = if row.get::<Option<bool>>("other_type")?.unwrap_or_default() {
                    let altered = format!("ALTER SEQUENCE {name} AS {} {options} RESTART", row.text("type")?);
                    (logged.trim_end(), Some(altered))
                } else {
                    (logged, None)
                };
                let options = if altered.is_some() { "" } else { &options };
                let definition = format!("(SEQUENCE NAME {name} {said}{options})");
                let says_if_logged = !logged.is_empty();
                let identity = Identity { oid, definition, altered, says_if_logged, acl, base };
                identities.of_column.insert(place, identity);
            }
            (_, column) => {
                let unlogged = if row.text("relpersistence")? == "u" { "UNLOGGED " } else { "" };
                let statement = format!(
                    "CREATE {unlogged}SEQUENCE {} AS {} {options}",
                    relation.quoted(),
                    row.text("type")?
                );
                let owned_by = column.map(|(table, _)| table).zip(row.maybe("column")?.map(str::to_owned));
                sequences.push(Sequence { oid, statement, owned_by, acl, base });
            }
        }
    }
    Ok((identities, sequences))
}

fn options(row: &Fields) -> Result<String> {
    let number = |name: &str| row.get::<i64>(name);
    Ok(format!(
        "START WITH {} INCREMENT BY {} MINVALUE {} MAXVALUE {} CACHE {}{}",
        number("seqstart")?,
        number("seqincrement")?,
        number("seqmin")?,
        number("seqmax")?,
        number("seqcache")?,
        if row.is("seqcycle")? { " CYCLE" } else { "" }
    ))
}

impl Identities {
    /// What a column's definition says of its identity. Since version 17 a partition has that of its root.
    pub(super) fn definition(&self, relation: &Relation, column: &Attribute) -> Option<String> {
        let how = if column.identity? == 'a' { "ALWAYS" } else { "BY DEFAULT" };
        let identity = self.of_column.get(&(relation.oid, column.number))?;
        Some(format!(" GENERATED {how} AS IDENTITY {}", identity.definition))
    }

    /// What has to be said of a column's identity when its table is there.
    pub(super) fn altered(&self, relation: &Relation, column: &Attribute) -> Option<String> {
        self.of_column.get(&(relation.oid, column.number))?.altered.clone()
    }

    /// Whether a column's definition says if its identity is logged.
    pub(super) fn says_if_logged(&self, relation: &Relation, column: &Attribute) -> bool {
        self.of_column.get(&(relation.oid, column.number)).is_some_and(|identity| identity.says_if_logged)
    }

    /// Says that a table's node makes its identities' sequences along.
    pub(super) fn alias(
        &self,
        catalog: &mut Catalog,
        relations: &Relations,
        relation: &Relation,
        columns: &[Attribute],
    ) {
        for column in columns {
            if let Some(Identity { oid, .. }) = self.of_column.get(&(relation.oid, column.number)) {
                catalog.alias((class::RELATION, *oid), relation.key());
                if let Some(sequence) = relations.get(*oid) {
                    catalog.identities.insert(sequence.key(), sequence.identity());
                }
            }
        }
    }
}

/// The sequences of which the account may not read how far they have come.
pub(super) async fn unreadable(reader: Reader<'_>) -> Result<HashSet<u32>> {
    let sql = "SELECT c.oid FROM pg_catalog.pg_class c
               WHERE c.relkind = 'S' AND c.oid >= 16384
                 AND (NOT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') OR NOT pg_catalog.has_table_privilege(c.oid, 'SELECT'))";
    reader.rows(sql).await?.iter().map(|row| row.oid("oid")).collect()
}

/// Sequences that are no identities, and the state of all but those that stay out.
pub(super) fn sequences(
    catalog: &mut Catalog,
    relations: &Relations,
    identities: &Identities,
    sequences: Vec<Sequence>,
    unreadable: &HashSet<u32>,
) -> Result<()> {
    let owners: HashMap<u32, u32> =
        identities.of_column.iter().map(|((table, _), sequence)| (sequence.oid, *table)).collect();
    let mut owned = owners.clone();
    for sequence in identities.of_column.values() {
        let Some(relation) = relations.get(sequence.oid) else { continue };
        if let Some(table) = catalog.of(relation.key()) {
            let (acl, base) = (sequence.acl.clone(), &sequence.base);
            table.granted(&relation.identity(), None, &relation.owner, acl, base)?;
        }
    }
    for sequence in sequences {
        let Some(relation) = relations.get(sequence.oid) else { continue };
        let mut node = relations.node_of(
            catalog,
            relation,
            "sequence",
            &relation.name,
            Rank::Objects,
            vec![sequence.statement],
        );
        node.table = None;
        if relation.is_unlogged {
            node.since(15, "a sequence that is not logged");
        }
        node = node.identity(relation.identity()).owned(&relation.identity(), &relation.owner);
        node.granted(&relation.identity(), None, &relation.owner, sequence.acl, &sequence.base)?;
        let table = sequence.owned_by.as_ref().and_then(|(table, _)| relations.get(*table));
        if let (Some(table), Some((_, column))) = (table, &sequence.owned_by) {
            node.table = (table.schema == relation.schema).then(|| table.name.clone());
            owned.insert(relation.oid, table.oid);
            // Owner first: a sequence belongs to whom its table belongs to.
            let statement = format!(
                "ALTER SEQUENCE {} OWNED BY {}.{}",
                relation.quoted(),
                qualified(&table.schema, &table.name),
                ident(column)
            );
            let mut owning = relations.node_of(
                catalog,
                table,
                "sequence owned by",
                &relation.name,
                Rank::Objects,
                vec![statement],
            );
            let id = catalog.add(relation.key(), node);
            owning.needs.insert(id);
            catalog.push(owning);
        } else {
            catalog.add(relation.key(), node);
        }
    }
    for relation in
        relations.all.iter().filter(|relation| relation.kind == super::relations::RelationKind::Sequence)
    {
        if relations.is_standby && relation.is_unlogged {
            continue;
        }
        let table = owned
            .get(&relation.oid)
            .and_then(|table| relations.get(*table))
            .filter(|t| t.schema == relation.schema);
        let mut node = relations.node_of(catalog, relation, "sequence", &relation.name, Rank::Rows, vec![]);
        node.table = table.map(|table| relations.selected_as(table).unwrap_or(&table.name).to_owned());
        node.body = Body::Rows {
            columns: sequence_columns(),
            spec: RowsSpec::Sequence { gate: Gate::Rows },
            size: 0,
        };
        let id = catalog.push(node);
        if unreadable.contains(&relation.oid) {
            catalog.unreadable.insert(id);
        }
    }
    Ok(())
}
