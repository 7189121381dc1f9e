//! Relations: what `pg_class` says of tables, views, materialized views and foreign tables.

use std::collections::{BTreeSet, HashMap};

use backup_core::{Error, Result};

use super::columns::Attribute;
use super::node::{Announced, Catalog, Dummy, Key, Node, Rank, class, named};
use super::readable::readable;
use super::reader::{Fields, OURS, Reader};
use super::tables::set;
use crate::ddl::quote::ident;

/// A relation, as the rest of the reading has to know it.
#[derive(Debug, Clone)]
pub(crate) struct Relation {
    pub(crate) oid: u32,
    pub(crate) schema: String,
    pub(crate) name: String,
    pub(crate) kind: RelationKind,
    pub(crate) owner: String,
    /// The root of the partition tree that it is in.
    pub(crate) root: Option<u32>,
    pub(crate) is_partition: bool,
    pub(crate) parents: Vec<u32>,
    pub(crate) is_heap: bool,
    pub(crate) is_unlogged: bool,
    /// The types of its rows, and of arrays of these.
    types: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RelationKind {
    Table,
    Partitioned,
    View,
    Materialized,
    Foreign,
    Sequence,
}

impl RelationKind {
    fn of(letter: &str) -> Option<Self> {
        Some(match letter {
            "r" => Self::Table,
            "p" => Self::Partitioned,
            "v" => Self::View,
            "m" => Self::Materialized,
            "f" => Self::Foreign,
            "S" => Self::Sequence,
            _ => return None,
        })
    }

    /// PostgreSQL's word for it, in lower case.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Table | Self::Partitioned => "table",
            Self::View => "view",
            Self::Materialized => "materialized view",
            Self::Foreign => "foreign table",
            Self::Sequence => "sequence",
        }
    }
}

impl Relation {
    pub(crate) fn key(&self) -> Key {
        (class::RELATION, self.oid)
    }

    /// Its quoted name in its schema.
    pub(crate) fn quoted(&self) -> String {
        crate::ddl::quote::qualified(&self.schema, &self.name)
    }

    /// `MATERIALIZED VIEW "s"."m"`.
    pub(crate) fn identity(&self) -> String {
        named(&self.kind.word().to_uppercase(), &self.schema, &self.name)
    }
}

/// All relations that are no extension's, in a stable order, and where each oid is.
#[derive(Debug, Default)]
pub(crate) struct Relations {
    pub(crate) all: Vec<Relation>,
    places: HashMap<u32, usize>,
    /// Those that are an extension's.
    of_extensions: HashMap<u32, Relation>,
    /// Whether the server is a standby, which has nothing of what is not logged.
    pub(crate) is_standby: bool,
}

impl Relations {
    pub(crate) fn get(&self, oid: u32) -> Option<&Relation> {
        self.places.get(&oid).and_then(|place| self.all.get(*place))
    }

    /// A relation that an extension brings along.
    pub(super) fn of_extension(&self, oid: u32) -> Option<&Relation> {
        self.of_extensions.get(&oid)
    }

    /// The quoted names of a relation's parents, in their order; these may be an extension's.
    pub(crate) fn names_of_parents(&self, relation: &Relation) -> Vec<String> {
        let name = |oid: &u32| self.get(*oid).or_else(|| self.of_extension(*oid)).map(Relation::quoted);
        relation.parents.iter().filter_map(name).collect()
    }

    /// The partitioned tables above a partition, up to the top of the tree.
    pub(super) fn above(&self, oid: u32) -> Vec<u32> {
        let mut above = Vec::new();
        let mut at = self.get(oid);
        // Trees are as deep as people make them; a circle there cannot be.
        while let Some(relation) = at.filter(|of| of.is_partition && above.len() < self.all.len()) {
            at = relation.parents.first().and_then(|parent| self.get(*parent));
            above.extend(at.map(|parent| parent.oid));
        }
        above
    }

    /// Says that each relation's node makes the types of its rows along.
    pub(super) fn alias_types(&self, catalog: &mut Catalog) {
        for relation in &self.all {
            for oid in &relation.types {
                catalog.alias((class::TYPE, *oid), relation.key());
            }
        }
    }

    /// The name by which a relation is selected: of a partition that of its root, if both are in one schema.
    pub(crate) fn selected_as(&self, relation: &Relation) -> Option<&str> {
        let root = self.get(relation.root?)?;
        (root.schema == relation.schema).then_some(root.name.as_str())
    }

    /// A node that belongs to a relation, and waits for it.
    pub(crate) fn node_of(
        &self,
        catalog: &Catalog,
        relation: &Relation,
        kind: &'static str,
        name: &str,
        rank: Rank,
        statements: Vec<String>,
    ) -> Node {
        let table = self.selected_as(relation).unwrap_or(&relation.name);
        let mut node = Node::sql(kind, name, rank, statements)
            .in_schema(&relation.schema)
            .of_table(&relation.schema, table);
        node.needs.extend(catalog.by_key.get(&relation.key()));
        if rank >= Rank::Made {
            node.needs.extend(catalog.rows_of.get(&relation.oid).into_iter().flatten());
        }
        node
    }
}

/// What there is, before anything is locked.
pub(crate) async fn relations(reader: Reader<'_>) -> Result<Relations> {
    let sql = format!(
        "SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind::text AS kind,
                pg_catalog.pg_get_userbyid(c.relowner)::text AS owner, c.relispartition,
                ARRAY(SELECT i.inhparent FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid ORDER BY i.inhseqno) AS parents,
                COALESCE(a.amname = 'heap', false) AS heap, c.relpersistence = 'u' AS unlogged,
                pg_catalog.array_remove(ARRAY[COALESCE(t.oid, 0), COALESCE(t.typarray, 0)], 0::oid) AS types, x.member
         FROM pg_catalog.pg_class c
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam
         LEFT JOIN pg_catalog.pg_type t ON t.oid = c.reltype
         CROSS JOIN LATERAL (SELECT EXISTS (
                              SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                              AND d.objid = c.oid AND d.objsubid = 0 AND d.deptype = 'e') AS member) AS x
         WHERE {OURS} AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
         ORDER BY n.nspname, c.relname"
    );
    let mut relations = Relations::default();
    let standby = reader.rows("SELECT pg_catalog.pg_is_in_recovery() AS standby").await?;
    relations.is_standby = standby.first().map(|row| row.is("standby")).transpose()?.unwrap_or_default();
    for row in reader.rows(&sql).await? {
        let relation = relation(&row)?;
        if row.is("member")? {
            relations.of_extensions.insert(relation.oid, relation);
            continue;
        }
        relations.places.insert(relation.oid, relations.all.len());
        relations.all.push(relation);
    }
    for place in 0..relations.all.len() {
        let root = relations.all.get(place).and_then(|relation| relations.above(relation.oid).pop());
        if let Some(relation) = relations.all.get_mut(place) {
            relation.root = root;
        }
    }
    Ok(relations)
}

/// The tables that the account may not read, or not all rows of, by schema and the name that they are selected by.
pub(crate) async fn unreadable(
    reader: Reader<'_>,
    relations: &Relations,
) -> Result<BTreeSet<(String, String)>> {
    // Of an extension's tables those are in a backup that it is configured by.
    let sql = "SELECT c.oid, EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig)) AS configures FROM pg_catalog.pg_class c
               WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384
                 AND (NOT pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') OR NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')
                      OR c.relrowsecurity AND pg_catalog.row_security_active(c.oid))";
    let mut unreadable = BTreeSet::new();
    for row in reader.rows(sql).await? {
        let (oid, configures) = (row.oid("oid")?, row.is("configures")?);
        let of_extension = || relations.of_extension(oid).filter(|_| configures);
        if let Some(relation) = relations.get(oid).or_else(of_extension) {
            let name = relations.selected_as(relation).unwrap_or(&relation.name);
            unreadable.insert((relation.schema.clone(), name.to_owned()));
        }
    }
    Ok(unreadable)
}

fn relation(row: &Fields) -> Result<Relation> {
    let kind = row.text("kind")?;
    Ok(Relation {
        oid: row.oid("oid")?,
        schema: row.text("schema")?.to_owned(),
        name: row.text("name")?.to_owned(),
        kind: RelationKind::of(kind).ok_or_else(|| Error::internal("a relation of another kind"))?,
        owner: row.text("owner")?.to_owned(),
        root: None,
        is_partition: row.is("relispartition")?,
        parents: row.get("parents")?,
        is_heap: row.is("heap")?,
        is_unlogged: row.is("unlogged")?,
        types: row.get("types")?,
    })
}

/// How many views are read at a time.
const BATCH: usize = 200;

/// Views and materialized views, and the contents of the latter.
pub(super) async fn views(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    relations: &Relations,
    columns: &HashMap<u32, Vec<Attribute>>,
) -> Result<()> {
    let is_view =
        |relation: &&Relation| matches!(relation.kind, RelationKind::View | RelationKind::Materialized);
    let views: Vec<&Relation> = relations.all.iter().filter(is_view).collect();
    for batch in views.chunks(BATCH) {
        let oids: Vec<String> = batch.iter().map(|view| view.oid.to_string()).collect();
        for row in reader.rows(&views_sql(&oids.join(", "))).await? {
            view(catalog, relations, columns, &row)?;
        }
        // Saying a query as SQL locks all that it reads.
        reader.release().await?;
    }
    Ok(())
}

fn views_sql(oids: &str) -> String {
    format!(
        "SELECT c.oid, pg_catalog.pg_get_viewdef(c.oid) AS definition, c.reloptions, c.relispopulated, a.amname::text AS method, c.relreplident::text,
                ARRAY(SELECT 'toast.' || o FROM pg_catalog.unnest(t.reloptions) o) AS toast_options,
                c.relacl::text[] AS acl, pg_catalog.acldefault('r', c.relowner)::text[] AS base,
                s.spcname::text AS tablespace,
                (SELECT r.oid FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid AND r.rulename = '_RETURN') AS rule
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_catalog.pg_am a ON a.oid = c.relam LEFT JOIN pg_catalog.pg_tablespace s ON s.oid = c.reltablespace
         LEFT JOIN pg_catalog.pg_class t ON t.oid = c.reltoastrelid
         WHERE c.oid IN ({oids}) ORDER BY n.nspname, c.relname"
    )
}

fn view(
    catalog: &mut Catalog,
    relations: &Relations,
    columns: &HashMap<u32, Vec<Attribute>>,
    row: &Fields,
) -> Result<()> {
    let Some(relation) = relations.get(row.oid("oid")?) else { return Ok(()) };
    let query = readable(row.maybe("definition")?.unwrap_or_default().trim_end().trim_end_matches(';'));
    if query.is_empty() {
        return Err(Error::new(
            backup_core::ErrorKind::Database,
            format!("view {} has no definition", relation.quoted()),
        )
        .hint("it went away meanwhile: run it again"));
    }
    let options = options(&[row.list("reloptions")?, row.list("toast_options")?].concat());
    let with = if options.is_empty() { String::new() } else { format!(" WITH ({options})") };
    let name = relation.quoted();
    let is_view = relation.kind == RelationKind::View;
    let statement = if is_view {
        format!("CREATE VIEW {name}{with} AS\n{query}")
    } else {
        let method = row.maybe("method")?.filter(|method| *method != "heap");
        let using = method.map_or(String::new(), |method| format!(" USING {}", ident(method)));
        format!("CREATE MATERIALIZED VIEW {name}{using}{with} AS\n{query}\n WITH NO DATA")
    };
    let mut node = relations.node_of(
        catalog,
        relation,
        relation.kind.word(),
        &relation.name,
        Rank::Objects,
        vec![statement],
    );
    node = node.identity(relation.identity()).owned(&relation.identity(), &relation.owner);
    node.table = None;
    node.tablespace = row.maybe("tablespace")?.map(str::to_owned);
    if is_view && options.contains("security_invoker") {
        node.since(15, "a view with its caller's rights");
    }
    node.granted(&format!("TABLE {name}"), None, &relation.owner, row.get("acl")?, &row.list("base")?)?;
    for column in columns.get(&relation.oid).into_iter().flatten().filter(|_| !is_view) {
        let alter = format!("ALTER MATERIALIZED VIEW {name} ALTER COLUMN {}", ident(&column.name));
        column.settings.iter().for_each(|setting| set(&mut node, &alter, setting));
    }
    if !is_view {
        node.push_all(replica_identity(relation, row.text("relreplident")?));
    }
    let id = catalog.add(relation.key(), node);
    if is_view {
        let select: Vec<String> = (columns.get(&relation.oid).into_iter().flatten())
            .map(|column| {
                let collation = column
                    .collation
                    .as_ref()
                    .map_or(String::new(), |collation| format!(" COLLATE {collation}"));
                format!("NULL::{}{collation} AS {}", column.declared, ident(&column.name))
            })
            .collect();
        let statement = format!("CREATE VIEW {name} AS SELECT {}", select.join(", "));
        let dummy = Dummy {
            of_what: Announced::View,
            oid: relation.oid,
            statement,
            needs: BTreeSet::new(),
            of: Vec::new(),
        };
        catalog.dummies.insert(id, dummy);
    }
    if let Some(rule) = row.get::<Option<u32>>("rule")? {
        catalog.alias((class::REWRITE, rule), relation.key());
        catalog.identities.insert((class::REWRITE, rule), format!("RULE \"_RETURN\" ON {name}"));
    }
    if !is_view && row.is("relispopulated")? {
        // Its owner may see only some rows, as when somebody has filled it.
        let refresh = vec![
            "SET row_security = on".to_owned(),
            format!("REFRESH MATERIALIZED VIEW {name}"),
            "SET row_security = off".to_owned(),
        ];
        let mut node = relations.node_of(
            catalog,
            relation,
            "materialized view contents",
            &relation.name,
            Rank::Contents,
            refresh,
        );
        node = node.of_table(&relation.schema, &relation.name);
        let id = catalog.push(node);
        catalog.rows_of.insert(relation.oid, vec![id]);
    }
    Ok(())
}

/// What ALTER TABLE says of how rows of a relation are known again, where no index and nothing usual does that.
pub(super) fn replica_identity(relation: &Relation, letter: &str) -> Option<String> {
    let how = match letter {
        "n" => "NOTHING",
        "f" => "FULL",
        _ => return None,
    };
    Some(format!("ALTER TABLE ONLY {} REPLICA IDENTITY {how}", relation.quoted()))
}

/// Options of a relation, each `name=value` as the catalog has it, for WITH.
pub(super) fn options(list: &[String]) -> String {
    let option = |option: &String| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        // A name in a namespace (`toast.x`) is two words.
        let name = name.split('.').map(ident).collect::<Vec<_>>().join(".");
        format!("{name}={}", crate::ddl::quote::literal(value))
    };
    list.iter().map(option).collect::<Vec<_>>().join(", ")
}
