//! Functions, procedures, window functions and aggregates.

use std::collections::BTreeSet;

use backup_core::{Error, Result};

use super::node::{Announced, Catalog, Dummy, Key, Node, NodeId, Rank, class};
use super::readable::{readable, with_argument};
use super::reader::{Fields, OURS, Reader};
use crate::ddl::create::making;
use crate::ddl::quote::{ident, literal, qualified};

pub(super) async fn functions(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let body = reader.since(14, "pg_catalog.pg_get_function_sqlbody(p.oid)", "NULL::text");
    // The arguments without a name that a body uses, where others have one: the server says `""` of each.
    let unnamed = reader.since(
        14,
        "ARRAY(SELECT DISTINCT m[1]::int FROM pg_catalog.regexp_matches(p.prosqlbody::text, ':paramkind 0 :paramid (\\d+)', 'g') m
               WHERE p.proargnames[m[1]::int] = '')",
        "'{}'::int[]",
    );
    let sql = format!(
        "SELECT {body} AS body, {unnamed} AS unnamed, p.pronargdefaults > 0 AS defaults,
                CASE WHEN p.prokind <> 'a' THEN pg_catalog.pg_get_function_arguments(p.oid) END AS full_arguments,
                COALESCE(p.proallargtypes, p.proargtypes::oid[]) || p.prorettype AS types, p.prosupport::oid AS support, p.pronamespace, p.prolang, p.oid, n.nspname::text AS schema, p.proname::text AS name, p.prokind::text AS kind,
                pg_catalog.pg_get_userbyid(p.proowner)::text AS owner,
                p.proacl::text[] AS acl, pg_catalog.acldefault('f', p.proowner)::text[] AS base,
                pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments,
                CASE p.prokind WHEN 'a' THEN pg_catalog.oidvectortypes(p.proargtypes) ELSE pg_catalog.pg_get_function_identity_arguments(p.oid) END AS granted,
                CASE WHEN p.prokind <> 'a' THEN pg_catalog.pg_get_functiondef(p.oid) END AS definition
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         WHERE {OURS} AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass
               AND d.objid = p.oid AND d.deptype IN ('e', 'i'))
         ORDER BY n.nspname, p.proname, arguments"
    );
    let mut aggregates = false;
    let mut unsayable = Vec::new();
    for row in reader.rows(&sql).await? {
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        let statement = match row.text("kind")? {
            "a" => {
                aggregates = true;
                continue;
            }
            _ => row.maybe("definition")?.ok_or_else(|| {
                Error::new(
                    backup_core::ErrorKind::Database,
                    format!("function {} went away", name.escape_debug()),
                )
                .hint("run it again")
            })?,
        };
        let (kind, word) =
            if row.text("kind")? == "p" { ("procedure", "PROCEDURE") } else { ("function", "FUNCTION") };
        // Nothing of a backup is to take the place of what is there.
        let statement = making(statement.trim_end_matches('\n'));
        let statement = statement.as_ref();
        let body = row.maybe("body")?;
        let said = match (body, row.get::<Vec<i32>>("unnamed")?.as_slice()) {
            (None, _) => statement.to_owned(),
            (Some(_), []) => readable(statement).into_owned(),
            (Some(_), [number]) => readable(&with_argument(statement, *number)).into_owned(),
            (Some(_), _) => {
                let (schema, name) = (schema.escape_debug(), name.escape_debug());
                unsayable.push(format!("{kind} {schema}.{name}({})", row.text("arguments")?.escape_debug()));
                continue;
            }
        };
        let id = add(catalog, &row, kind, word, word, said, schema, name)?;
        if body.is_some() {
            catalog.node_mut(id)?.since(14, "a body of SQL that the server has parsed");
        }
        if body.is_some() || row.is("defaults")? {
            catalog.parsed.insert(id);
            if let Some(dummy) = dummy(&row, statement, body)? {
                catalog.dummies.insert(id, dummy);
            }
        }
    }
    if !unsayable.is_empty() {
        let message = format!(
            "the server does not say which of their arguments without names the bodies of these use: {}",
            unsayable.join(", ")
        );
        let hint = "give these arguments names: CREATE OR REPLACE can";
        return Err(Error::unsupported(message).hint(hint));
    }
    made_with_types(reader, catalog).await?;
    if aggregates { self::aggregates(reader, catalog).await } else { Ok(()) }
}

/// What announces a function that needs itself, or what needs it: all that is said of it but what the server parses, its body and the defaults
/// of its arguments.
fn dummy(row: &Fields, definition: &str, body: Option<&str>) -> Result<Option<Dummy>> {
    let (full, plain) = (row.text("full_arguments")?, row.text("arguments")?);
    let without_defaults = |text: &str| text.replacen(&format!("({full})"), &format!("({plain})"), 1);
    let statement = match body {
        None => without_defaults(definition),
        Some(body) => {
            let Some(header) = definition.strip_suffix(body.trim_end_matches('\n')) else { return Ok(None) };
            format!("{}\nAS ''", without_defaults(header).trim_end())
        }
    };
    let mut of: Vec<Key> = row.get::<Vec<u32>>("types")?.into_iter().map(|oid| (class::TYPE, oid)).collect();
    of.extend([(class::PROC, row.oid("support")?), (class::NAMESPACE, row.oid("pronamespace")?)]);
    if body.is_none() {
        of.push((class::LANGUAGE, row.oid("prolang")?));
    }
    let of_what = Announced::Function;
    Ok(Some(Dummy { of_what, oid: row.oid("oid")?, statement, needs: BTreeSet::new(), of }))
}

/// Functions that types have along with them, such as those that make ranges.
async fn made_with_types(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let sql = "SELECT p.oid, d.refobjid AS type, p.oid::regprocedure::text AS signature, pg_catalog.pg_get_userbyid(p.proowner)::text AS owner,
                      p.proacl::text[] AS acl, pg_catalog.acldefault('f', p.proowner)::text[] AS base
               FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_proc p ON p.oid = d.objid
               WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
                 AND d.deptype = 'i' AND d.objid >= 16384 ORDER BY p.oid";
    for row in reader.rows(sql).await? {
        let (key, of) = ((class::PROC, row.oid("oid")?), (class::TYPE, row.oid("type")?));
        catalog.alias(key, of);
        let what = format!("FUNCTION {}", row.text("signature")?);
        if !catalog.is_member(of)
            && let Some(node) = catalog.of(of)
        {
            node.granted(&what, None, row.text("owner")?, row.get("acl")?, &row.list("base")?)?;
        }
        catalog.identities.insert(key, what);
    }
    Ok(())
}

/// `word` says what it is, `granted` what GRANT calls it.
#[allow(clippy::too_many_arguments, reason = "what a node of a function is made of")]
fn add(
    catalog: &mut Catalog,
    row: &Fields,
    kind: &'static str,
    word: &str,
    granted: &str,
    statement: String,
    schema: &str,
    name: &str,
) -> Result<NodeId> {
    let owner = row.text("owner")?;
    let (name_of, arguments) = (qualified(schema, name), row.text("arguments")?);
    let signature = format!("{name_of}({arguments})");
    let of_any = word == "AGGREGATE" && arguments.is_empty();
    let what = if of_any { format!("{word} {name_of}(*)") } else { format!("{word} {signature}") };
    let mut node = Node::sql(kind, name, Rank::Objects, vec![statement]).in_schema(schema).identity(&what);
    node = node.owned(&what, owner);
    // GRANT does not know the ORDER BY of an aggregate.
    let granted = format!("{granted} {name_of}({})", row.text("granted")?);
    node.granted(&granted, None, owner, row.get("acl")?, &row.list("base")?)?;
    Ok(catalog.add((class::PROC, row.oid("oid")?), node))
}

async fn aggregates(reader: Reader<'_>, catalog: &mut Catalog) -> Result<()> {
    let function = |column: &str| {
        format!("CASE WHEN a.{column} <> 0 THEN a.{column}::oid::regproc::text END AS {column}")
    };
    let functions = [
        "aggfinalfn",
        "aggcombinefn",
        "aggserialfn",
        "aggdeserialfn",
        "aggmtransfn",
        "aggminvtransfn",
        "aggmfinalfn",
    ]
    .map(function)
    .join(", ");
    let sql = format!(
        "SELECT p.oid, n.nspname::text AS schema, p.proname::text AS name,
                pg_catalog.pg_get_userbyid(p.proowner)::text AS owner,
                p.proacl::text[] AS acl, pg_catalog.acldefault('f', p.proowner)::text[] AS base,
                pg_catalog.pg_get_function_identity_arguments(p.oid) AS arguments,
                CASE p.prokind WHEN 'a' THEN pg_catalog.oidvectortypes(p.proargtypes) ELSE pg_catalog.pg_get_function_identity_arguments(p.oid) END AS granted,
                pg_catalog.pg_get_function_arguments(p.oid) AS full_arguments,
                a.aggtransfn::oid::regproc::text AS aggtransfn, {functions},
                pg_catalog.format_type(a.aggtranstype, NULL) AS stype, a.aggtransspace,
                a.aggfinalextra, a.aggmfinalextra, a.aggkind::text, a.aggfinalmodify::text, a.aggmfinalmodify::text,
                CASE WHEN a.aggmtranstype <> 0 THEN pg_catalog.format_type(a.aggmtranstype, NULL) END AS mstype, a.aggmtransspace,
                a.agginitval, a.aggminitval, p.proparallel::text,
                CASE WHEN a.aggsortop <> 0 THEN o.oprname::text END AS sortop, opn.nspname::text AS sortop_schema
         FROM pg_catalog.pg_aggregate a JOIN pg_catalog.pg_proc p ON p.oid = a.aggfnoid
         JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
         LEFT JOIN pg_catalog.pg_operator o ON o.oid = a.aggsortop LEFT JOIN pg_catalog.pg_namespace opn ON opn.oid = o.oprnamespace
         WHERE {OURS} ORDER BY n.nspname, p.proname, arguments"
    );
    for row in reader.rows(&sql).await? {
        if catalog.is_member((class::PROC, row.oid("oid")?)) {
            continue;
        }
        let (schema, name) = (row.text("schema")?, row.text("name")?);
        let statement = aggregate(&row, schema, name)?;
        add(catalog, &row, "aggregate", "AGGREGATE", "FUNCTION", statement, schema, name)?;
    }
    Ok(())
}

fn aggregate(row: &Fields, schema: &str, name: &str) -> Result<String> {
    let mut options =
        vec![format!("SFUNC = {}", row.text("aggtransfn")?), format!("STYPE = {}", row.text("stype")?)];
    let kind = row.text("aggkind")?;
    let functions = |options: &mut Vec<String>, list: &[(&str, &str)]| -> Result<()> {
        for (option, column) in list {
            options.extend(row.maybe(column)?.map(|function| format!("{option} = {function}")));
        }
        Ok(())
    };
    let space = row.get::<i32>("aggtransspace")?;
    if space != 0 {
        options.push(format!("SSPACE = {space}"));
    }
    options.extend(row.maybe("agginitval")?.map(|value| format!("INITCOND = {}", literal(value))));
    functions(&mut options, &[("FINALFUNC", "aggfinalfn")])?;
    if row.maybe("aggfinalfn")?.is_some() {
        options.extend(row.is("aggfinalextra")?.then(|| "FINALFUNC_EXTRA".to_owned()));
        options.extend(modify("FINALFUNC_MODIFY", row.text("aggfinalmodify")?, kind));
    }
    functions(
        &mut options,
        &[
            ("COMBINEFUNC", "aggcombinefn"),
            ("SERIALFUNC", "aggserialfn"),
            ("DESERIALFUNC", "aggdeserialfn"),
            ("MSFUNC", "aggmtransfn"),
            ("MINVFUNC", "aggminvtransfn"),
            ("MSTYPE", "mstype"),
            ("MFINALFUNC", "aggmfinalfn"),
        ],
    )?;
    let space = row.get::<i32>("aggmtransspace")?;
    if space != 0 {
        options.push(format!("MSSPACE = {space}"));
    }
    options.extend(row.maybe("aggminitval")?.map(|value| format!("MINITCOND = {}", literal(value))));
    if row.maybe("aggmfinalfn")?.is_some() {
        options.extend(row.is("aggmfinalextra")?.then(|| "MFINALFUNC_EXTRA".to_owned()));
        options.extend(modify("MFINALFUNC_MODIFY", row.text("aggmfinalmodify")?, kind));
    }
    if let (Some(operator), Some(of)) = (row.maybe("sortop")?, row.maybe("sortop_schema")?) {
        // An operator's name is no identifier and cannot be quoted: it consists of operator characters only.
        options.push(format!("SORTOP = OPERATOR({}.{operator})", ident(of)));
    }
    match row.text("proparallel")? {
        "s" => options.push("PARALLEL = safe".to_owned()),
        "r" => options.push("PARALLEL = restricted".to_owned()),
        _ => {}
    }
    if kind == "h" {
        options.push("HYPOTHETICAL".to_owned());
    }
    let arguments = row.text("full_arguments")?;
    let arguments = if arguments.is_empty() { "*" } else { arguments };
    Ok(format!("CREATE AGGREGATE {}({arguments}) ({})", qualified(schema, name), options.join(", ")))
}

/// Whether a final function changes the state, unless it is as that kind of aggregate has it by default.
fn modify(option: &str, letter: &str, kind: &str) -> Option<String> {
    let usual = if kind == "n" { "r" } else { "w" };
    let word = match letter {
        letter if letter == usual => return None,
        "r" => "READ_ONLY",
        "s" => "SHAREABLE",
        _ => "READ_WRITE",
    };
    Some(format!("{option} = {word}"))
}
