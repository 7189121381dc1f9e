//! Types: enumerations, composites, domains, ranges, base types and shells.

use std::collections::HashMap;

use backup_core::Result;

use super::node::{Catalog, Key, Node, Rank, class, named};
use super::reader::{Fields, OURS, Reader, collation};
use crate::ddl::quote::{ident, literal, qualified};

/// Everything that is a type of its own: not the row type of a table, not an array type.
pub(super) async fn types(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let labels = labels(reader).await?;
    let attributes = attributes(reader).await?;
    let mut checks = checks(reader).await?;
    let constraint_oids: HashMap<u32, Vec<(u32, String)>> = checks
        .iter()
        .map(|(domain, of)| (*domain, of.iter().map(|c| (c.oid, c.name.clone())).collect()))
        .collect();
    let multirange = reader.since(14, "mn.nspname::text AS multi_schema, m.typname::text AS multi, m.oid AS multi_oid, m.typarray AS multi_array", "NULL::text AS multi_schema, NULL::text AS multi, NULL::oid AS multi_oid, NULL::oid AS multi_array");
    let join = reader.since(14, "LEFT JOIN pg_catalog.pg_type m ON m.oid = r.rngmultitypid LEFT JOIN pg_catalog.pg_namespace mn ON mn.oid = m.typnamespace", "");
    let not_multirange = reader.since(14, "AND t.typtype <> 'm'", "");
    let (type_collation, range_collation) = (collation("t.typcollation"), collation("r.rngcollation"));
    let subscript = reader.since(14, "t.typsubscript::oid::regproc::text", "'-'");
    let sql = format!(
        "SELECT t.oid, n.nspname::text AS schema, t.typname::text AS name, t.typtype::text AS kind, t.typisdefined AS defined,
                pg_catalog.pg_get_userbyid(t.typowner)::text AS owner, t.typrelid, t.typarray,
                t.typacl::text[] AS acl, pg_catalog.acldefault('T', t.typowner)::text[] AS base,
                pg_catalog.format_type(t.typbasetype, t.typtypmod) AS domain_of, t.typnotnull,
                COALESCE(pg_catalog.pg_get_expr(t.typdefaultbin, 0), pg_catalog.quote_literal(t.typdefault)) AS default_expression,
                t.typdefault, t.typtype = 'd' AND t.typdefaultbin IS NULL AND t.typdefault IS NULL
                  AND (b.typdefaultbin IS NOT NULL OR b.typdefault IS NOT NULL) AS drops_default,
                CASE WHEN t.typcollation <> COALESCE(b.typcollation, 0) THEN {type_collation} END AS collation,
                t.typlen, t.typbyval, t.typalign::text, t.typstorage::text, t.typcategory::text, t.typispreferred, t.typdelim::text,
                t.typcollation <> 0 AS collatable, CASE WHEN t.typelem <> 0 THEN pg_catalog.format_type(t.typelem, NULL) END AS element,
                t.typinput::oid::regproc::text AS input, t.typoutput::oid::regproc::text AS output,
                t.typreceive::oid::regproc::text AS receive, t.typsend::oid::regproc::text AS send,
                t.typmodin::oid::regproc::text AS modin, t.typmodout::oid::regproc::text AS modout,
                t.typanalyze::oid::regproc::text AS analyze, {subscript} AS subscript,
                pg_catalog.format_type(r.rngsubtype, NULL) AS subtype,
                CASE WHEN NOT o.opcdefault OR o.opcintype <> r.rngsubtype AND NOT o.opcdefault THEN pg_catalog.quote_ident(opn.nspname) || '.' || pg_catalog.quote_ident(o.opcname) END AS opclass,
                CASE WHEN r.rngcollation <> COALESCE(st.typcollation, 0) THEN {range_collation} END AS range_collation,
                r.rngcanonical::oid AS canonical_oid,
                CASE WHEN r.rngcanonical <> 0 THEN r.rngcanonical::oid::regproc::text END AS canonical,
                CASE WHEN r.rngsubdiff <> 0 THEN r.rngsubdiff::oid::regproc::text END AS subdiff,
                {multirange}
         FROM pg_catalog.pg_type t
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
         LEFT JOIN pg_catalog.pg_type b ON b.oid = t.typbasetype
         LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
         LEFT JOIN pg_catalog.pg_range r ON r.rngtypid = t.oid
         LEFT JOIN pg_catalog.pg_type st ON st.oid = r.rngsubtype
         LEFT JOIN pg_catalog.pg_opclass o ON o.oid = r.rngsubopc LEFT JOIN pg_catalog.pg_namespace opn ON opn.oid = o.opcnamespace
         {join}
         WHERE {OURS} {not_multirange} AND (t.typrelid = 0 OR c.relkind = 'c')
           AND NOT (t.typelem <> 0 AND EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typarray = t.oid))
         ORDER BY n.nspname, t.typname"
    );
    for row in reader.rows(&sql).await? {
        let key = (class::TYPE, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let name = qualified(row.text("schema")?, row.text("name")?);
        let kind = row.text("kind")?;
        let mut late = Vec::new();
        let statement = match (kind, row.is("defined")?) {
            (_, false) => format!("CREATE TYPE {name}"),
            ("e", _) => {
                let labels = labels.get(&key.1).map_or(&[][..], Vec::as_slice);
                format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", "))
            }
            ("c", _) => {
                let attributes = attributes.get(&row.oid("typrelid")?).map_or(&[][..], Vec::as_slice);
                format!("CREATE TYPE {name} AS ({})", attributes.join(", "))
            }
            ("d", _) => domain(&row, &name, checks.remove(&key.1).unwrap_or_default(), &mut late)?,
            ("r", _) => range(&row, &name)?,
            ("b", _) => base(&row, &name)?,
            _ => continue, // Not known: the search for what is unknown names it.
        };
        let names_multirange = kind == "r" && row.maybe("multi")?.is_some();
        let word = if kind == "d" { "DOMAIN" } else { "TYPE" };
        let constraints = constraint_oids.get(&key.1).cloned().unwrap_or_default();
        add(catalog, &row, key, word, statement)?;
        if row.is("drops_default")? {
            // A new domain copies the default that its base has.
            let drop = format!("ALTER DOMAIN {name} DROP DEFAULT");
            catalog.of(key).into_iter().for_each(|node| node.push(drop.clone()));
        }
        if names_multirange {
            catalog
                .of(key)
                .into_iter()
                .for_each(|node| node.since(14, "a range type with a multirange type"));
        }
        for (oid, constraint) in constraints {
            catalog.alias((class::CONSTRAINT, oid), key);
            let identity = format!("CONSTRAINT {} ON DOMAIN {name}", ident(&constraint));
            catalog.identities.insert((class::CONSTRAINT, oid), identity);
        }
        for check in late {
            check.add(catalog, key, &row, &name)?;
        }
        shell(catalog, &row, key, &name)?;
    }
    Ok(())
}

fn add(catalog: &mut Catalog, row: &Fields, key: Key, word: &'static str, statement: String) -> Result<()> {
    let (schema, name, owner) = (row.text("schema")?, row.text("name")?, row.text("owner")?);
    let kind = if word == "DOMAIN" { "domain" } else { "type" };
    let what = named(word, schema, name);
    let mut node = Node::sql(kind, name, Rank::Objects, vec![statement]).in_schema(schema).identity(&what);
    node = node.owned(&what, owner);
    if row.is("defined")? {
        node.granted(&named("TYPE", schema, name), None, owner, row.get("acl")?, &row.list("base")?)?;
    }
    catalog.add(key, node);
    for name in ["typarray", "multi_oid", "multi_array"] {
        if let Some(oid) = row.get::<Option<u32>>(name)?.filter(|oid| *oid != 0) {
            catalog.alias((class::TYPE, oid), key);
        }
    }
    let relation = row.oid("typrelid")?;
    if relation != 0 {
        catalog.alias((class::RELATION, relation), key);
    }
    Ok(())
}

/// A type that functions of its own are made for has to be announced before these: a shell.
fn shell(catalog: &mut Catalog, row: &Fields, key: Key, name: &str) -> Result<()> {
    let needs_functions = match row.text("kind")? {
        "b" => row.is("defined")?,
        "r" => row.get::<Option<&str>>("canonical")?.is_some(),
        _ => false,
    };
    if needs_functions {
        let (schema, typname, owner) = (row.text("schema")?, row.text("name")?, row.text("owner")?);
        let mut node = Node::sql("shell type", typname, Rank::Objects, vec![format!("CREATE TYPE {name}")])
            .in_schema(schema);
        node = node.owned(&named("TYPE", schema, typname), owner);
        let id = catalog.push(node);
        catalog.shells.insert(key.1, id);
        catalog.of(key).into_iter().for_each(|node| {
            node.needs.insert(id);
        });
    }
    Ok(())
}

async fn labels(reader: Reader<'_>) -> Result<HashMap<u32, Vec<String>>> {
    let sql = "SELECT e.enumtypid, e.enumlabel::text AS label FROM pg_catalog.pg_enum e ORDER BY e.enumtypid, e.enumsortorder";
    let mut labels: HashMap<u32, Vec<String>> = HashMap::new();
    for row in reader.rows(sql).await? {
        labels.entry(row.oid("enumtypid")?).or_default().push(literal(row.text("label")?));
    }
    Ok(labels)
}

/// The attributes of composite types, by the oid of their `pg_class`.
async fn attributes(reader: Reader<'_>) -> Result<HashMap<u32, Vec<String>>> {
    let collation = collation("a.attcollation");
    let sql = format!(
        "SELECT a.attrelid, a.attname::text AS name,
                pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
                CASE WHEN a.attcollation <> t.typcollation THEN {collation} END AS collation
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind = 'c'
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         WHERE {OURS} AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attrelid, a.attnum"
    );
    let mut attributes: HashMap<u32, Vec<String>> = HashMap::new();
    for row in reader.rows(&sql).await? {
        let name = ident(row.text("name")?);
        let collation =
            row.maybe("collation")?.map_or(String::new(), |collation| format!(" COLLATE {collation}"));
        let relation = row.oid("attrelid")?;
        attributes.entry(relation).or_default().push(format!("{name} {}{collation}", row.text("type")?));
    }
    Ok(attributes)
}

/// A CHECK (or a named NOT NULL) of a domain.
struct Check {
    oid: u32,
    name: String,
    definition: String,
    validated: bool,
    uses_function: bool,
    not_null: bool,
}

async fn checks(reader: Reader<'_>) -> Result<HashMap<u32, Vec<Check>>> {
    let sql = "SELECT c.oid, c.contypid, c.conname::text AS name, pg_catalog.pg_get_constraintdef(c.oid) AS definition, c.convalidated,
                      c.contype = 'n' AS not_null,
                      EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = c.oid
                              AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass) AND d.refobjid >= 16384) AS uses_function
               FROM pg_catalog.pg_constraint c WHERE c.contypid <> 0 ORDER BY c.contypid, c.conname";
    let mut checks: HashMap<u32, Vec<Check>> = HashMap::new();
    for row in reader.rows(sql).await? {
        checks.entry(row.oid("contypid")?).or_default().push(Check {
            oid: row.oid("oid")?,
            name: row.text("name")?.to_owned(),
            definition: row.text("definition")?.to_owned(),
            validated: row.is("convalidated")?,
            uses_function: row.is("uses_function")?,
            not_null: row.is("not_null")?,
        });
    }
    Ok(checks)
}

impl Check {
    /// As a node of its own: because its function may need the domain, or because rows that do not satisfy it are there.
    fn add(self, catalog: &mut Catalog, domain: Key, row: &Fields, name: &str) -> Result<()> {
        let schema = row.text("schema")?;
        let statement =
            format!("ALTER DOMAIN {name} ADD CONSTRAINT {} {}", ident(&self.name), self.definition);
        let rank = if self.validated { Rank::Objects } else { Rank::Contents };
        let mut node = Node::sql("constraint", &self.name, rank, vec![statement]).in_schema(schema);
        node = node.identity(format!("CONSTRAINT {} ON DOMAIN {name}", ident(&self.name)));
        node.needs.extend(catalog.by_key.get(&domain));
        let id = catalog.add((class::CONSTRAINT, self.oid), node);
        if self.validated {
            catalog.domain_checks.push(id);
        }
        Ok(())
    }
}

fn domain(row: &Fields, name: &str, checks: Vec<Check>, late: &mut Vec<Check>) -> Result<String> {
    let mut sql = format!("CREATE DOMAIN {name} AS {}", row.text("domain_of")?);
    if let Some(collation) = row.maybe("collation")? {
        sql += &format!(" COLLATE {collation}");
    }
    if let Some(default) = row.maybe("default_expression")? {
        sql += &format!(" DEFAULT {default}");
    }
    let mut not_null = row.is("typnotnull")?;
    for check in checks {
        if check.not_null {
            // Since version 17 it has a name.
            sql += &format!(" CONSTRAINT {} NOT NULL", ident(&check.name));
            not_null = false;
        } else if check.validated && !check.uses_function {
            sql += &format!(" CONSTRAINT {} {}", ident(&check.name), check.definition);
        } else {
            late.push(check);
        }
    }
    if not_null {
        sql += " NOT NULL";
    }
    Ok(sql)
}

fn range(row: &Fields, name: &str) -> Result<String> {
    let mut options = vec![format!("SUBTYPE = {}", row.text("subtype")?)];
    if let (Some(schema), Some(multirange)) = (row.maybe("multi_schema")?, row.maybe("multi")?) {
        options.push(format!("MULTIRANGE_TYPE_NAME = {}", qualified(schema, multirange)));
    }
    for (option, column) in [
        ("SUBTYPE_OPCLASS", "opclass"),
        ("COLLATION", "range_collation"),
        ("CANONICAL", "canonical"),
        ("SUBTYPE_DIFF", "subdiff"),
    ] {
        options.extend(row.maybe(column)?.map(|value| format!("{option} = {value}")));
    }
    Ok(format!("CREATE TYPE {name} AS RANGE ({})", options.join(", ")))
}

fn base(row: &Fields, name: &str) -> Result<String> {
    let length = row.get::<i16>("typlen")?;
    let length = if length == -1 { "VARIABLE".to_owned() } else { length.to_string() };
    let mut options = vec![format!("INTERNALLENGTH = {length}")];
    for (option, column) in [
        ("INPUT", "input"),
        ("OUTPUT", "output"),
        ("RECEIVE", "receive"),
        ("SEND", "send"),
        ("TYPMOD_IN", "modin"),
        ("TYPMOD_OUT", "modout"),
        ("ANALYZE", "analyze"),
        ("SUBSCRIPT", "subscript"),
    ] {
        let function = row.text(column)?;
        if function != "-" {
            options.push(format!("{option} = {function}"));
        }
    }
    if row.is("collatable")? {
        options.push("COLLATABLE = true".to_owned());
    }
    if let Some(default) = row.maybe("typdefault")? {
        options.push(format!("DEFAULT = {}", literal(default)));
    }
    // An element without SUBSCRIPT of its own makes it a fixed-length array.
    options.extend(row.maybe("element")?.map(|element| format!("ELEMENT = {element}")));
    match row.text("typcategory")? {
        "U" => {}
        category => options.push(format!("CATEGORY = {}", literal(category))),
    }
    if row.is("typispreferred")? {
        options.push("PREFERRED = true".to_owned());
    }
    match row.text("typdelim")? {
        "," => {}
        delimiter => options.push(format!("DELIMITER = {}", literal(delimiter))),
    }
    let alignment = match row.text("typalign")? {
        "c" => "char",
        "s" => "int2",
        "d" => "double",
        _ => "int4",
    };
    options.push(format!("ALIGNMENT = {alignment}"));
    options.push(format!("STORAGE = {}", storage(row.text("typstorage")?)));
    if row.is("typbyval")? {
        options.push("PASSEDBYVALUE".to_owned());
    }
    Ok(format!("CREATE TYPE {name} ({})", options.join(", ")))
}

/// How values are stored, in the words of CREATE TYPE and ALTER TABLE.
pub(super) fn storage(letter: &str) -> &'static str {
    match letter {
        "p" => "PLAIN",
        "e" => "EXTERNAL",
        "m" => "MAIN",
        _ => "EXTENDED",
    }
}
