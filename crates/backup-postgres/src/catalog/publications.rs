//! Publications, and privileges that objects to come will have.

use backup_core::Result;

use super::node::{Catalog, Node, Rank, class};
use super::reader::{Fields, Reader};
use super::relations::Relations;
use crate::ddl::acl;
use crate::ddl::quote::ident;
use crate::spec::PUBLICATION_OF_EXTENSION;

pub(super) async fn publications(
    reader: Reader<'_>,
    catalog: &mut Catalog,
    relations: &Relations,
) -> Result<()> {
    let root = reader.since(13, "p.pubviaroot", "false");
    let generated = reader.since(18, "p.pubgencols::text", "'n'");
    let sql = format!(
        "SELECT p.oid, p.pubname::text AS name, pg_catalog.pg_get_userbyid(p.pubowner)::text AS owner, p.puballtables,
                p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, {root} AS root, {generated} AS generated
         FROM pg_catalog.pg_publication p ORDER BY p.pubname"
    );
    for row in reader.rows(&sql).await? {
        let key = (class::PUBLICATION, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let name = row.text("name")?;
        let what = format!("PUBLICATION {}", ident(name));
        let all = if row.is("puballtables")? { " FOR ALL TABLES" } else { "" };
        let create = format!("CREATE {what}{all} WITH ({})", options(&row)?);
        let mut node = Node::sql("publication", name, Rank::Made, vec![create])
            .identity(&what)
            .owned(&what, row.text("owner")?);
        if row.text("generated")? == "s" {
            node.since(18, "a publication of generated columns");
        }
        catalog.add(key, node);
    }
    tables(reader, catalog, relations).await?;
    if reader.version < 150_000 {
        return Ok(());
    }
    let sql = "SELECT p.oid, p.pubname::text AS name, n.nspname::text AS schema, n.oid AS namespace
               FROM pg_catalog.pg_publication_namespace x JOIN pg_catalog.pg_publication p ON p.oid = x.pnpubid JOIN pg_catalog.pg_namespace n ON n.oid = x.pnnspid
               ORDER BY p.pubname, n.nspname";
    for row in reader.rows(sql).await? {
        let add = format!(
            "ALTER PUBLICATION {} ADD TABLES IN SCHEMA {}",
            ident(row.text("name")?),
            ident(row.text("schema")?)
        );
        let mut node = Node::sql("publication schema", row.text("schema")?, Rank::Made, vec![add]);
        node.since(15, "a publication of a schema");
        node.needs.extend(catalog.by_key.get(&(class::PUBLICATION, row.oid("oid")?)));
        node.needs.extend(catalog.by_key.get(&(class::NAMESPACE, row.oid("namespace")?)));
        catalog.push(node);
    }
    Ok(())
}

fn options(row: &Fields) -> Result<String> {
    let mut operations = Vec::new();
    for operation in ["insert", "update", "delete", "truncate"] {
        if row.is(&format!("pub{operation}"))? {
            operations.push(operation);
        }
    }
    let mut options = format!("publish = '{}'", operations.join(", "));
    if row.is("root")? {
        options += ", publish_via_partition_root = true";
    }
    if row.text("generated")? == "s" {
        options += ", publish_generated_columns = stored";
    }
    Ok(options)
}

async fn tables(reader: Reader<'_>, catalog: &mut Catalog, relations: &Relations) -> Result<()> {
    let filter = reader.since(15, "pg_catalog.pg_get_expr(x.prqual, x.prrelid)", "NULL::text");
    let columns = reader.since(
        15,
        "ARRAY(SELECT a.attname::text FROM pg_catalog.unnest(x.prattrs::int2[]) WITH ORDINALITY AS k (number, place)
               JOIN pg_catalog.pg_attribute a ON a.attrelid = x.prrelid AND a.attnum = k.number ORDER BY k.place)",
        "ARRAY[]::text[]",
    );
    let sql = format!(
        "SELECT p.oid, p.pubname::text AS name, x.prrelid, {filter} AS filter, {columns} AS columns
         FROM pg_catalog.pg_publication_rel x JOIN pg_catalog.pg_publication p ON p.oid = x.prpubid ORDER BY p.pubname, x.prrelid"
    );
    for row in reader.rows(&sql).await? {
        let oid = row.oid("prrelid")?;
        let (kind, relation) = match relations.get(oid) {
            Some(relation) => ("publication table", Some(relation)),
            None => (PUBLICATION_OF_EXTENSION, relations.of_extension(oid)),
        };
        let Some(relation) = relation else { continue };
        let columns: Vec<String> = row.list("columns")?.iter().map(|name| ident(name)).collect();
        let columns = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        let filter = row.maybe("filter")?.map_or(String::new(), |filter| format!(" WHERE ({filter})"));
        let add = format!(
            "ALTER PUBLICATION {} ADD TABLE ONLY {}{columns}{filter}",
            ident(row.text("name")?),
            relation.quoted()
        );
        let mut node = relations.node_of(catalog, relation, kind, row.text("name")?, Rank::Made, vec![add]);
        if !columns.is_empty() || !filter.is_empty() {
            node.since(15, "a publication of some rows or columns");
        }
        node.needs.extend(catalog.by_key.get(&(class::PUBLICATION, row.oid("oid")?)));
        catalog.push(node);
    }
    Ok(())
}

/// Default privileges, and what they are if nobody has said any: all of them, and a condition may follow.
pub(crate) const DEFAULTS: &str = "SELECT d.oid, r.rolname::text AS role, n.nspname::text AS schema, d.defaclnamespace, d.defaclobjtype::text AS of, d.defaclacl::text[] AS acl,
    CASE WHEN d.defaclnamespace = 0
         THEN pg_catalog.acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's'::\"char\" WHEN 'f' THEN 'f' WHEN 'T' THEN 'T' WHEN 'n' THEN 'n' WHEN 'L' THEN 'L' ELSE 'r' END, d.defaclrole)
         ELSE '{}'::pg_catalog.aclitem[] END::text[] AS base
  FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles r ON r.oid = d.defaclrole LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace";

/// What they are for, by the letter that `pg_default_acl` has.
pub(crate) fn default_of(letter: &str) -> Option<&'static str> {
    Some(match letter {
        "r" => "TABLES",
        "S" => "SEQUENCES",
        "f" => "FUNCTIONS",
        "T" => "TYPES",
        "n" => "SCHEMAS",
        "L" => "LARGE OBJECTS",
        _ => return None,
    })
}

/// All that is said of them before GRANT or REVOKE.
pub(crate) fn default_prefix(role: &str, schema: Option<&str>) -> String {
    let within = schema.map_or(String::new(), |schema| format!(" IN SCHEMA {}", ident(schema)));
    format!("ALTER DEFAULT PRIVILEGES FOR ROLE {}{within}", ident(role))
}

/// Default privileges come last, so that what is restored does not get them.
pub(super) async fn default_privileges(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!("{DEFAULTS} ORDER BY r.rolname, n.nspname, d.defaclobjtype");
    for row in reader.rows(&sql).await? {
        let role = row.text("role")?;
        // What is not known the search for what is unknown names.
        let Some(on) = default_of(row.text("of")?) else { continue };
        let schema = row.maybe("schema")?;
        let prefix = default_prefix(role, schema);
        let mut node = Node::sql("default privileges", &format!("{role} {on}"), Rank::Last, vec![]);
        node.schema = schema.map(str::to_owned);
        let (acl, base) = (row.list("acl")?, row.list("base")?);
        node.owners = acl::default_statements(&prefix, on, role, &acl, &base, &mut node.roles)?;
        if acl.iter().any(|item| acl::grants_maintain(item) && !base.contains(item)) {
            node.since(17, "the privilege MAINTAIN");
        }
        if row.text("of")? == "L" {
            node.since(18, "default privileges on large objects");
        }
        node.roles.insert(role.to_owned());
        catalog.add((class::DEFAULT_ACL, row.oid("oid")?), node);
    }
    Ok(())
}
