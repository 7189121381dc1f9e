//! The columns of relations.

use std::collections::HashMap;

use backup_core::{Error, Result};

use super::reader::{Fields, OURS, Reader, collation};
use super::types::storage;
use crate::ddl::quote::{ident, literal};

/// A column, as `pg_attribute` has it.
#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    pub(crate) number: i16,
    pub(crate) name: String,
    pub(crate) declared: String,
    pub(crate) collation: Option<String>,
    pub(crate) not_null: bool,
    /// A primary key or an identity needs it not to be null.
    pub(crate) is_key: bool,
    /// Its expression, and the oid of the `pg_attrdef` that has it.
    pub(crate) default: Option<(u32, String)>,
    /// `s` or `v`, if it is generated.
    pub(crate) generated: Option<char>,
    /// Whether its type is one of several ranges, or arrays of it.
    pub(crate) is_multirange: bool,
    /// `a` or `d`, if it is an identity.
    pub(crate) identity: Option<char>,
    pub(crate) is_local: bool,
    pub(crate) inherited: bool,
    /// How its type is stored if nobody says otherwise.
    pub(crate) storage: &'static str,
    /// What ALTER TABLE ... ALTER COLUMN has to say beyond CREATE TABLE.
    pub(crate) settings: Vec<String>,
    pub(crate) acl: Option<Vec<String>>,
}

/// The columns of every relation, by its oid, in their order.
pub(super) async fn columns(reader: Reader<'_>) -> Result<HashMap<u32, Vec<Attribute>>> {
    let compression = reader.since(14, "a.attcompression::text", "''");
    let collation = collation("a.attcollation");
    let sql = format!(
        "SELECT a.attrelid, a.attnum, a.attname::text AS name, pg_catalog.format_type(a.atttypid, a.atttypmod) AS declared,
                CASE WHEN a.attcollation <> t.typcollation THEN {collation} END AS collation,
                a.attnotnull, a.attidentity <> '' OR EXISTS (
                  SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND a.attnum = ANY (i.indkey::int2[])) AS is_key,
                a.attidentity::text, a.attgenerated::text, a.attislocal, a.attinhcount::int4 > 0 AS inherited,
                d.oid AS default_oid, pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS default_expression,
                a.attstattarget::int4 AS target, CASE WHEN a.attstorage <> t.typstorage THEN a.attstorage::text END AS storage, t.typstorage::text,
                t.typtype = 'm' OR EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.oid = t.typelem AND e.typtype = 'm') AS multirange,
                {compression} AS compression, a.attoptions, a.attacl::text[] AS acl,
                ARRAY(SELECT o.option_name || '=' || COALESCE(o.option_value, '') FROM pg_catalog.pg_options_to_table(a.attfdwoptions) o) AS fdw_options
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE {OURS} AND a.attnum > 0 AND NOT a.attisdropped
         ORDER BY a.attrelid, a.attnum"
    );
    let mut columns: HashMap<u32, Vec<Attribute>> = HashMap::new();
    for row in reader.rows(&sql).await? {
        columns.entry(row.oid("attrelid")?).or_default().push(attribute(&row)?);
    }
    Ok(columns)
}

fn attribute(row: &Fields) -> Result<Attribute> {
    let letter = |name: &str| Ok::<_, Error>(row.text(name)?.chars().next());
    let default = match (row.get::<Option<u32>>("default_oid")?, row.maybe("default_expression")?) {
        (Some(oid), Some(expression)) => Some((oid, expression.to_owned())),
        _ => None,
    };
    let mut settings = Vec::new();
    // Version 17 says NULL for what older ones say -1.
    if let Some(target) = row.get::<Option<i32>>("target")?.filter(|target| *target >= 0) {
        settings.push(format!("SET STATISTICS {target}"));
    }
    if let Some(letter) = row.maybe("storage")? {
        settings.push(format!("SET STORAGE {}", storage(letter)));
    }
    match row.text("compression")? {
        "p" => settings.push("SET COMPRESSION pglz".to_owned()),
        "l" => settings.push("SET COMPRESSION lz4".to_owned()),
        _ => {}
    }
    let mut options = row.list("attoptions")?;
    // What servers since 15.20 note of each column themselves: others do not know it.
    options.retain(|option| !option.starts_with("pg_attver="));
    if !options.is_empty() {
        settings.push(format!("SET ({})", super::relations::options(&options)));
    }
    let options = row.list("fdw_options")?;
    if !options.is_empty() {
        settings.push(format!("OPTIONS ({})", foreign_options(&options)));
    }
    Ok(Attribute {
        number: row.get("attnum")?,
        name: row.text("name")?.to_owned(),
        declared: row.text("declared")?.to_owned(),
        collation: row.maybe("collation")?.map(str::to_owned),
        not_null: row.is("attnotnull")?,
        is_key: row.is("is_key")?,
        default,
        generated: letter("attgenerated")?,
        is_multirange: row.is("multirange")?,
        identity: letter("attidentity")?,
        is_local: row.is("attislocal")?,
        inherited: row.is("inherited")?,
        storage: storage(row.text("typstorage")?),
        settings,
        acl: row.get("acl")?,
    })
}

/// Options of something foreign, each `name=value`, for OPTIONS.
pub(super) fn foreign_options(list: &[String]) -> String {
    let option = |option: &String| {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        format!("{} {}", ident(name), literal(value))
    };
    list.iter().map(option).collect::<Vec<_>>().join(", ")
}
