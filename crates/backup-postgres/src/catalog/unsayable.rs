//! Names and definitions that are no UTF-8: those of a database of the encoding SQL_ASCII, whose rows are bytes to us, and those of roles and
//! tablespaces that a database of another encoding has named.

use backup_core::{Error, ErrorKind, Result};

use super::reader::{Reader, shared, utf8};
use crate::error::is_no_utf8;

/// How many are named.
const NAMED: usize = 10;

/// The error of a reading, which names what it could not read if that is the reason.
pub(super) async fn named(reader: Reader<'_>, error: Error) -> Error {
    if !is_no_utf8(&error) {
        return error;
    }
    match globals(reader).await {
        Ok(found) if found.is_empty() => {}
        Err(_) => {}
        Ok(found) => {
            let found = found.join(", ");
            let message = format!("the database cannot be backed up with names that are no UTF-8: {found}");
            let hint = "rename them in a database of the encoding that they were named in, or take from them what they own and may do here";
            return Error::new(ErrorKind::Unsupported, message).hint(hint).because(error);
        }
    }
    let message = match search(reader).await.as_deref() {
        Ok([]) => error.to_string(),
        Ok(found) => {
            format!("what is no UTF-8 in names and definitions cannot be backed up yet: {}", found.join(", "))
        }
        Err(other) => format!("{error}; and which objects these are cannot be said: {other}"),
    };
    let hint = "the database is of encoding SQL_ASCII, whose rows may be any bytes, but whose names, comments and definitions have to be UTF-8: alter them, or back up with pg_dump";
    Error::new(ErrorKind::Unsupported, message).hint(hint).because(error)
}

/// Roles that own something in the database or may do something with it, and tablespaces.
async fn globals(reader: Reader<'_>) -> Result<Vec<String>> {
    // The backup ends here.
    reader.session.execute(reader.ctx, "ROLLBACK").await?;
    let sql = format!(
        "SELECT 'role ' AS what, {} AS name FROM pg_catalog.pg_roles r WHERE EXISTS (
           SELECT FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_database b ON b.datname = pg_catalog.current_database()
           WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.refobjid = r.oid
             AND (d.dbid = b.oid OR d.classid = 'pg_catalog.pg_database'::pg_catalog.regclass AND d.objid = b.oid))
         UNION ALL SELECT 'tablespace ', {} FROM pg_catalog.pg_tablespace",
        shared("r.rolname"),
        shared("spcname")
    );
    let mut found = Vec::new();
    for row in reader.rows(&sql).await? {
        if let Err(name) = utf8(row.get("name")?)
            && found.len() < NAMED
        {
            found.push(format!("{}{name}", row.text("what")?));
        }
    }
    Ok(found)
}

/// Objects with a name, a comment, a label or a source text of such bytes, which are said as octal numbers.
async fn search(reader: Reader<'_>) -> Result<Vec<String>> {
    const TEXTS: [(&str, &str, &str, &str); 11] = [
        ("pg_namespace", "'pg_catalog.pg_namespace'::pg_catalog.regclass", "oid", "nspname"),
        ("pg_class", "'pg_catalog.pg_class'::pg_catalog.regclass", "oid", "relname"),
        ("pg_attribute", "'pg_catalog.pg_class'::pg_catalog.regclass", "attrelid", "attname"),
        ("pg_type", "'pg_catalog.pg_type'::pg_catalog.regclass", "oid", "typname"),
        ("pg_enum", "'pg_catalog.pg_type'::pg_catalog.regclass", "enumtypid", "enumlabel"),
        ("pg_proc", "'pg_catalog.pg_proc'::pg_catalog.regclass", "oid", "proname || ' ' || t.prosrc"),
        (
            "pg_constraint",
            "'pg_catalog.pg_constraint'::pg_catalog.regclass",
            "oid",
            "conname || ' ' || pg_catalog.pg_get_constraintdef(t.oid)",
        ),
        ("pg_trigger", "'pg_catalog.pg_trigger'::pg_catalog.regclass", "oid", "tgname"),
        (
            "pg_attrdef",
            "'pg_catalog.pg_attrdef'::pg_catalog.regclass",
            "oid",
            "adrelid || pg_catalog.pg_get_expr(t.adbin, t.adrelid)",
        ),
        (
            "pg_rewrite",
            "'pg_catalog.pg_rewrite'::pg_catalog.regclass",
            "oid",
            "rulename || pg_catalog.pg_get_ruledef(t.oid)",
        ),
        ("pg_description", "t.classoid", "objoid", "description"),
    ];
    let of = |(catalog, class, oid, text): &(&str, &str, &str, &str)| {
        format!(
            "SELECT {class}::oid AS classid, t.{oid} AS oid, (t.{text})::text AS text FROM pg_catalog.{catalog} t WHERE t.{oid} >= 16384"
        )
    };
    let sql = format!(
        "SELECT pg_catalog.convert_to(x.text, 'SQL_ASCII') AS bytes,
                pg_catalog.encode(pg_catalog.convert_to(pg_catalog.pg_describe_object(x.classid, x.oid, 0), 'SQL_ASCII'), 'escape') AS described
         FROM ({}) AS x WHERE pg_catalog.octet_length(x.text) <> pg_catalog.octet_length(pg_catalog.regexp_replace(x.text, '[^\\x01-\\x7f]', '', 'g'))",
        TEXTS.iter().map(of).collect::<Vec<_>>().join(" UNION ALL ")
    );
    let mut found = Vec::new();
    for row in reader.rows(&sql).await? {
        let described = row.text("described")?;
        let is_text = std::str::from_utf8(row.get::<&[u8]>("bytes")?).is_ok();
        if !is_text && found.len() < NAMED && !found.iter().any(|name| name == described) {
            found.push(described.to_owned());
        }
    }
    Ok(found)
}
