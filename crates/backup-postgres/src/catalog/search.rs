//! Text search: parsers, templates, dictionaries, configurations.

use std::collections::BTreeMap;

use backup_core::Result;

use super::node::{Catalog, Node, Rank, class};
use super::reader::{OURS, Reader};
use crate::ddl::quote::{ident, qualified};

pub(super) async fn parsers_and_templates(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let function = |column: &str| {
        format!("CASE WHEN o.{column} <> 0 THEN o.{column}::oid::regproc::text END AS {column}")
    };
    let parser = [
        ("START", "prsstart"),
        ("GETTOKEN", "prstoken"),
        ("END", "prsend"),
        ("HEADLINE", "prsheadline"),
        ("LEXTYPES", "prslextype"),
    ];
    let template = [("INIT", "tmplinit"), ("LEXIZE", "tmpllexize")];
    for (kind, word, from, prefix, of, functions) in [
        ("text search parser", "TEXT SEARCH PARSER", "pg_ts_parser", "prs", class::TS_PARSER, &parser[..]),
        (
            "text search template",
            "TEXT SEARCH TEMPLATE",
            "pg_ts_template",
            "tmpl",
            class::TS_TEMPLATE,
            &template[..],
        ),
    ] {
        let columns: Vec<String> = functions.iter().map(|(_, column)| function(column)).collect();
        let sql = format!(
            "SELECT o.oid, n.nspname::text AS schema, o.{prefix}name::text AS name, {}
             FROM pg_catalog.{from} o JOIN pg_catalog.pg_namespace n ON n.oid = o.{prefix}namespace WHERE {OURS} ORDER BY n.nspname, o.{prefix}name",
            columns.join(", ")
        );
        for row in reader.rows(&sql).await? {
            let key = (of, row.oid("oid")?);
            if catalog.is_member(key) {
                continue;
            }
            let (schema, name) = (row.text("schema")?, row.text("name")?);
            let what = format!("{word} {}", qualified(schema, name));
            let mut options = Vec::new();
            for (option, column) in functions {
                options.extend(row.maybe(column)?.map(|function| format!("{option} = {function}")));
            }
            let create = format!("CREATE {what} ({})", options.join(", "));
            catalog.add(
                key,
                Node::sql(kind, name, Rank::Objects, vec![create]).in_schema(schema).identity(what),
            );
        }
    }
    Ok(())
}

pub(super) async fn dictionaries(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT d.oid, n.nspname::text AS schema, d.dictname::text AS name, pg_catalog.pg_get_userbyid(d.dictowner)::text AS owner,
                tn.nspname::text AS template_schema, t.tmplname::text AS template, d.dictinitoption AS options
         FROM pg_catalog.pg_ts_dict d JOIN pg_catalog.pg_namespace n ON n.oid = d.dictnamespace
         JOIN pg_catalog.pg_ts_template t ON t.oid = d.dicttemplate JOIN pg_catalog.pg_namespace tn ON tn.oid = t.tmplnamespace
         WHERE {OURS} ORDER BY n.nspname, d.dictname"
    );
    for row in reader.rows(&sql).await? {
        let key = (class::TS_DICTIONARY, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        let what = format!("TEXT SEARCH DICTIONARY {}", qualified(schema, name));
        let template = qualified(row.text("template_schema")?, row.text("template")?);
        // The server keeps the options as it would read them.
        let options = row.maybe("options")?.map_or(String::new(), |options| format!(", {options}"));
        let create = format!("CREATE {what} (TEMPLATE = {template}{options})");
        let node = Node::sql("text search dictionary", name, Rank::Objects, vec![create]).in_schema(schema);
        catalog.add(key, node.identity(&what).owned(&what, row.text("owner")?));
    }
    Ok(())
}

pub(super) async fn configurations(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT c.oid, n.nspname::text AS schema, c.cfgname::text AS name, pg_catalog.pg_get_userbyid(c.cfgowner)::text AS owner,
                pn.nspname::text AS parser_schema, p.prsname::text AS parser
         FROM pg_catalog.pg_ts_config c JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
         JOIN pg_catalog.pg_ts_parser p ON p.oid = c.cfgparser JOIN pg_catalog.pg_namespace pn ON pn.oid = p.prsnamespace
         WHERE {OURS} ORDER BY n.nspname, c.cfgname"
    );
    let mappings = mappings(reader).await?;
    for row in reader.rows(&sql).await? {
        let key = (class::TS_CONFIGURATION, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        let what = format!("TEXT SEARCH CONFIGURATION {}", qualified(schema, name));
        let parser = qualified(row.text("parser_schema")?, row.text("parser")?);
        let mut statements = vec![format!("CREATE {what} (PARSER = {parser})")];
        for ((_, token), dictionaries) in
            mappings.range((key.1, String::new())..).take_while(|((of, _), _)| *of == key.1)
        {
            statements.push(format!(
                "ALTER {what} ADD MAPPING FOR {} WITH {}",
                ident(token),
                dictionaries.join(", ")
            ));
        }
        let node = Node::sql("text search configuration", name, Rank::Objects, statements).in_schema(schema);
        catalog.add(key, node.identity(&what).owned(&what, row.text("owner")?));
    }
    Ok(())
}

/// By configuration and kind of token, the dictionaries that are asked one after the other.
async fn mappings(reader: Reader<'_>) -> Result<BTreeMap<(u32, String), Vec<String>>> {
    let sql = format!(
        "SELECT m.mapcfg, k.alias AS token, dn.nspname::text AS schema, d.dictname::text AS name
         FROM pg_catalog.pg_ts_config_map m JOIN pg_catalog.pg_ts_config c ON c.oid = m.mapcfg JOIN pg_catalog.pg_namespace n ON n.oid = c.cfgnamespace
         JOIN pg_catalog.pg_ts_dict d ON d.oid = m.mapdict JOIN pg_catalog.pg_namespace dn ON dn.oid = d.dictnamespace
         JOIN LATERAL pg_catalog.ts_token_type(c.cfgparser) AS k ON k.tokid = m.maptokentype
         WHERE {OURS} ORDER BY m.mapcfg, m.maptokentype, m.mapseqno"
    );
    let mut mappings: BTreeMap<(u32, String), Vec<String>> = BTreeMap::new();
    for row in reader.rows(&sql).await? {
        let place = (row.oid("mapcfg")?, row.text("token")?.to_owned());
        mappings.entry(place).or_default().push(qualified(row.text("schema")?, row.text("name")?));
    }
    Ok(mappings)
}
