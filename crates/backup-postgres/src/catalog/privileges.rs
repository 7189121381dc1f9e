//! Privileges on what no backup makes: objects of the system and those that extensions bring, as far as they were changed.

use std::collections::HashMap;

use backup_core::Result;

use super::node::{Catalog, Key, Node, NodeId, Rank, class};
use super::reader::{Fields, Reader};
use crate::ddl::quote::{ident, qualified};

/// A catalog whose objects have privileges.
struct Source {
    class: u32,
    catalog: &'static str,
    /// What the names of its columns begin with.
    prefix: &'static str,
    /// Whether its objects are in schemas.
    in_schema: bool,
    /// The kind of their default privileges, and what GRANT calls them: both in SQL.
    kind: &'static str,
    word: &'static str,
}

const fn source(
    class: u32,
    catalog: &'static str,
    prefix: &'static str,
    in_schema: bool,
    kind: &'static str,
    word: &'static str,
) -> Source {
    Source { class, catalog, prefix, in_schema, kind, word }
}

const SOURCES: [Source; 7] = [
    source(
        class::RELATION,
        "pg_class",
        "rel",
        true,
        "CASE WHEN o.relkind = 'S' THEN 's'::\"char\" ELSE 'r' END",
        "CASE WHEN o.relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END",
    ),
    source(class::PROC, "pg_proc", "pro", true, "'f'::\"char\"", "'ROUTINE'"),
    source(class::TYPE, "pg_type", "typ", true, "'T'::\"char\"", "'TYPE'"),
    source(class::LANGUAGE, "pg_language", "lan", false, "'l'::\"char\"", "'LANGUAGE'"),
    source(class::NAMESPACE, "pg_namespace", "nsp", false, "'n'::\"char\"", "'SCHEMA'"),
    source(
        class::FOREIGN_DATA_WRAPPER,
        "pg_foreign_data_wrapper",
        "fdw",
        false,
        "'F'::\"char\"",
        "'FOREIGN DATA WRAPPER'",
    ),
    source(class::FOREIGN_SERVER, "pg_foreign_server", "srv", false, "'S'::\"char\"", "'FOREIGN SERVER'"),
];

/// Reads those that are not what the object began with, which the server remembers if it is not what every object of the kind begins with.
pub(super) async fn read(reader: Reader<'_>) -> Result<Vec<Fields>> {
    let mut selects = Vec::new();
    for Source { class: classid, catalog: name, prefix, in_schema, kind, word } in SOURCES {
        let (join, namespace) = match in_schema {
            true => {
                (format!("JOIN pg_catalog.pg_namespace n ON n.oid = o.{prefix}namespace"), "n.nspname::text")
            }
            false => (String::new(), "NULL::text"),
        };
        let arguments = match classid {
            class::PROC => {
                "CASE o.prokind WHEN 'a' THEN pg_catalog.oidvectortypes(o.proargtypes) ELSE pg_catalog.pg_get_function_identity_arguments(o.oid) END"
            }
            _ => "NULL::text",
        };
        // The system's own oids are the same everywhere. The server does not remember what those of information_schema began with, and
        // 'public' is the database's.
        let of_system = match classid {
            class::NAMESPACE => "o.nspname = 'pg_catalog'",
            _ if in_schema => "o.oid < 16384 AND n.nspname = 'pg_catalog'",
            _ => "o.oid < 16384",
        };
        let member = format!(
            "EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = {classid} AND d.objid = o.oid AND d.objsubid = 0 AND d.deptype = 'e')"
        );
        selects.push(format!(
            "SELECT {classid}::oid AS classid, o.oid, {word} AS word, {namespace} AS schema, o.{prefix}name::text AS name, {arguments} AS arguments, NULL::text AS column,
                    pg_catalog.pg_get_userbyid(o.{prefix}owner)::text AS owner,
                    COALESCE(o.{prefix}acl, x.usual)::text[] AS acl, COALESCE(i.initprivs, x.usual)::text[] AS base
             FROM pg_catalog.{name} o {join} CROSS JOIN LATERAL pg_catalog.acldefault({kind}, o.{prefix}owner) AS x (usual)
             LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = {classid} AND i.objoid = o.oid AND i.objsubid = 0
             WHERE ({of_system} OR {member}) AND COALESCE(o.{prefix}acl, x.usual) IS DISTINCT FROM COALESCE(i.initprivs, x.usual)"
        ));
    }
    // Columns have none to begin with, unless somebody has said so.
    selects.push(format!(
        "SELECT {relation}::oid, o.oid, 'TABLE', n.nspname::text, o.relname::text, NULL, a.attname::text, pg_catalog.pg_get_userbyid(o.relowner)::text,
                COALESCE(a.attacl, '{{}}')::text[], COALESCE(i.initprivs, '{{}}')::text[]
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class o ON o.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = o.relnamespace
         LEFT JOIN pg_catalog.pg_init_privs i ON i.classoid = {relation} AND i.objoid = o.oid AND i.objsubid = a.attnum
         WHERE (a.attacl IS NOT NULL OR i.initprivs IS NOT NULL) AND COALESCE(a.attacl, '{{}}') <> COALESCE(i.initprivs, '{{}}')
           AND (n.nspname = 'pg_catalog' OR EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = {relation} AND d.objid = o.oid AND d.objsubid = 0 AND d.deptype = 'e'))",
        relation = class::RELATION
    ));
    // What is revoked of a table is revoked of its columns too: these come behind it.
    reader.rows(&format!("{} ORDER BY 3, 4, 5, 6, 7 NULLS FIRST", selects.join(" UNION ALL "))).await
}

/// Has what was read given, and taken away.
pub(super) fn privileges(catalog: &mut Catalog, rows: &[Fields]) -> Result<()> {
    let mut tables: HashMap<Key, NodeId> = HashMap::new();
    for row in rows {
        let mut node = node(row)?;
        let key: Key = (row.oid("classid")?, row.oid("oid")?);
        node.needs.extend(catalog.by_key.get(&key));
        let is_column = row.maybe("column")?.is_some();
        node.needs.extend(tables.get(&key).filter(|_| is_column));
        let id = catalog.push(node);
        if !is_column {
            tables.insert(key, id);
        }
    }
    Ok(())
}

fn node(row: &Fields) -> Result<Node> {
    let (name, owner) = (row.text("name")?, row.text("owner")?);
    let mut on = match row.maybe("schema")? {
        Some(schema) => format!("{} {}", row.text("word")?, qualified(schema, name)),
        None => format!("{} {}", row.text("word")?, ident(name)),
    };
    if let Some(arguments) = row.maybe("arguments")? {
        on += &format!("({arguments})");
    }
    let column = row.maybe("column")?.map(|column| format!("({})", ident(column)));
    let mut node = Node::sql("privileges", &on, Rank::Made, vec![]);
    node.granted(&on, column.as_deref(), owner, row.get("acl")?, &row.list("base")?)?;
    Ok(node)
}
