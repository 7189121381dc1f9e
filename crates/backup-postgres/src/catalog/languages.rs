//! What extends the language: procedural languages, casts, transforms, collations, conversions.

use backup_core::Result;

use super::node::{By, Catalog, Node, NodeId, Rank, Unsaid, class};
use super::operators::FIRST_OURS;
use super::reader::{Fields, OURS, Reader};
use crate::ddl::quote::{ident, literal, qualified};

pub(super) async fn languages(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let function = |column: &str| {
        format!("CASE WHEN l.{column} <> 0 THEN l.{column}::oid::regproc::text END AS {column}")
    };
    let sql = format!(
        "SELECT l.oid, l.lanname::text AS name, l.lanpltrusted, {}, {}, {}, pg_catalog.pg_get_userbyid(l.lanowner)::text AS owner,
                l.lanacl::text[] AS acl, pg_catalog.acldefault('l', l.lanowner)::text[] AS base
         FROM pg_catalog.pg_language l WHERE l.oid >= 16384 AND l.lanispl ORDER BY l.lanname",
        function("lanplcallfoid"),
        function("laninline"),
        function("lanvalidator")
    );
    for row in reader.rows(&sql).await? {
        let key = (class::LANGUAGE, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (name, owner) = (row.text("name")?, row.text("owner")?);
        let trusted = if row.is("lanpltrusted")? { "TRUSTED " } else { "" };
        let mut sql =
            format!("CREATE {trusted}LANGUAGE {} HANDLER {}", ident(name), row.text("lanplcallfoid")?);
        for (word, column) in [("INLINE", "laninline"), ("VALIDATOR", "lanvalidator")] {
            sql += &row.maybe(column)?.map_or(String::new(), |function| format!(" {word} {function}"));
        }
        let what = format!("LANGUAGE {}", ident(name));
        let mut node =
            Node::sql("language", name, Rank::Objects, vec![sql]).identity(&what).owned(&what, owner);
        node.granted(&what, None, owner, row.get("acl")?, &row.list("base")?)?;
        catalog.add(key, node);
    }
    Ok(())
}

pub(super) async fn casts(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = "SELECT c.oid, pg_catalog.format_type(c.castsource, NULL) AS source, pg_catalog.format_type(c.casttarget, NULL) AS target,
                      CASE WHEN c.castfunc <> 0 THEN c.castfunc::oid::regprocedure::text END AS function,
                      c.castfunc::oid AS castfunc, c.castsource, c.casttarget, c.castcontext::text AS context, c.castmethod::text AS method
               FROM pg_catalog.pg_cast c WHERE c.oid >= 16384
                 AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'i')
               ORDER BY source, target";
    for row in reader.rows(sql).await? {
        let key = (class::CAST, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let between = format!("({} AS {})", row.text("source")?, row.text("target")?);
        let how = match (row.text("method")?, row.maybe("function")?) {
            ("f", Some(function)) => format!("WITH FUNCTION {function}"),
            ("i", _) => "WITH INOUT".to_owned(),
            _ => "WITHOUT FUNCTION".to_owned(),
        };
        let context = match row.text("context")? {
            "a" => " AS ASSIGNMENT",
            "i" => " AS IMPLICIT",
            _ => "",
        };
        let node =
            Node::sql("cast", &between, Rank::Objects, vec![format!("CREATE CAST {between} {how}{context}")]);
        let id = catalog.add(key, node.identity(format!("CAST {between}")));
        catalog.unsaid.push(used_cast(catalog, id, &row)?);
    }
    Ok(())
}

/// How it is told that an expression uses a cast. The server says that it depends on the cast's function, or else on the type that it results in.
fn used_cast(catalog: &Catalog, id: NodeId, row: &Fields) -> Result<Unsaid> {
    let function = (class::PROC, row.oid("castfunc")?);
    let is_told = catalog.by_key.contains_key(&function) && !catalog.is_member(function);
    let (source, target) = ((class::TYPE, row.oid("castsource")?), (class::TYPE, row.oid("casttarget")?));
    let by = match (is_told, source.1 >= FIRST_OURS, target.1 >= FIRST_OURS) {
        (true, ..) => By::Never,
        (false, _, true) => By::Type(target),
        (false, true, false) => By::WayOf(source),
        (false, false, false) => By::Nothing,
    };
    // One that nobody has to ask for is not said. What is behind the first word of a type may have a number in it.
    let word = row.text("target")?.split(' ').next().unwrap_or_default();
    let said = (row.text("context")? == "e").then(|| format!("::{word}"));
    Ok(Unsaid { id, with: vec![function], by, said })
}

pub(super) async fn transforms(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = "SELECT t.oid, pg_catalog.format_type(t.trftype, NULL) AS type, l.lanname::text AS language,
                      CASE WHEN t.trffromsql <> 0 THEN t.trffromsql::oid::regprocedure::text END AS from_sql,
                      CASE WHEN t.trftosql <> 0 THEN t.trftosql::oid::regprocedure::text END AS to_sql
               FROM pg_catalog.pg_transform t JOIN pg_catalog.pg_language l ON l.oid = t.trflang WHERE t.oid >= 16384 ORDER BY type, language";
    for row in reader.rows(sql).await? {
        let key = (class::TRANSFORM, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let what = format!("TRANSFORM FOR {} LANGUAGE {}", row.text("type")?, ident(row.text("language")?));
        let mut ways = Vec::new();
        ways.extend(row.maybe("from_sql")?.map(|function| format!("FROM SQL WITH FUNCTION {function}")));
        ways.extend(row.maybe("to_sql")?.map(|function| format!("TO SQL WITH FUNCTION {function}")));
        let node = Node::sql(
            "transform",
            row.text("type")?,
            Rank::Objects,
            vec![format!("CREATE {what} ({})", ways.join(", "))],
        );
        catalog.add(key, node.identity(what));
    }
    Ok(())
}

pub(super) async fn collations(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let locale = match reader.version / 10_000 {
        17.. => "c.colllocale",
        15 | 16 => "c.colliculocale",
        _ => "NULL::text",
    };
    let rules = reader.since(16, "c.collicurules", "NULL::text");
    let sql = format!(
        "SELECT c.oid, n.nspname::text AS schema, c.collname::text AS name, pg_catalog.pg_get_userbyid(c.collowner)::text AS owner,
                c.collprovider::text AS provider, c.collisdeterministic AS deterministic, c.collcollate::text AS collate, c.collctype::text AS ctype,
                {locale} AS locale, {rules} AS rules
         FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace WHERE {OURS} ORDER BY n.nspname, c.collname"
    );
    for row in reader.rows(&sql).await? {
        let key = (class::COLLATION, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        let what = format!("COLLATION {}", qualified(schema, name));
        let create = format!("CREATE {what} ({})", collation(&row)?);
        let mut node = Node::sql("collation", name, Rank::Objects, vec![create]).in_schema(schema);
        node.icu = row.text("provider")? == "i";
        if row.text("provider")? == "b" {
            node.since(17, "a collation of the built-in provider");
        }
        if row.maybe("rules")?.is_some() {
            node.since(16, "a collation with rules");
        }
        catalog.add(key, node.identity(&what).owned(&what, row.text("owner")?));
    }
    Ok(())
}

/// The version is left out, as pg_dump leaves it: it is the target's libraries that sort there.
fn collation(row: &Fields) -> Result<String> {
    let provider = match row.text("provider")? {
        "c" => "libc",
        "i" => "icu",
        "b" => "builtin",
        _ => "default",
    };
    let mut options = vec![format!("provider = {provider}")];
    if !row.is("deterministic")? {
        options.push("deterministic = false".to_owned());
    }
    let (collate, ctype) = (row.maybe("collate")?, row.maybe("ctype")?);
    match (row.maybe("locale")?, collate, ctype) {
        (Some(locale), ..) => options.push(format!("locale = {}", literal(locale))),
        (None, Some(collate), Some(ctype)) if collate == ctype => {
            options.push(format!("locale = {}", literal(collate)))
        }
        (None, collate, ctype) => {
            options.extend(collate.map(|collate| format!("lc_collate = {}", literal(collate))));
            options.extend(ctype.map(|ctype| format!("lc_ctype = {}", literal(ctype))));
        }
    }
    options.extend(row.maybe("rules")?.map(|rules| format!("rules = {}", literal(rules))));
    Ok(options.join(", "))
}

pub(super) async fn conversions(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = format!(
        "SELECT c.oid, n.nspname::text AS schema, c.conname::text AS name, pg_catalog.pg_get_userbyid(c.conowner)::text AS owner,
                pg_catalog.pg_encoding_to_char(c.conforencoding)::text AS source, pg_catalog.pg_encoding_to_char(c.contoencoding)::text AS target,
                c.conproc::oid::regproc::text AS function, c.condefault
         FROM pg_catalog.pg_conversion c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace WHERE {OURS} ORDER BY n.nspname, c.conname"
    );
    for row in reader.rows(&sql).await? {
        let key = (class::CONVERSION, row.oid("oid")?);
        if catalog.is_member(key) {
            continue;
        }
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        let what = format!("CONVERSION {}", qualified(schema, name));
        let default = if row.is("condefault")? { "DEFAULT " } else { "" };
        let create = format!(
            "CREATE {default}{what} FOR {} TO {} FROM {}",
            literal(row.text("source")?),
            literal(row.text("target")?),
            row.text("function")?
        );
        let node = Node::sql("conversion", name, Rank::Objects, vec![create]).in_schema(schema);
        catalog.add(key, node.identity(&what).owned(&what, row.text("owner")?));
    }
    Ok(())
}
