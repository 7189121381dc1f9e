//! What a database of the encoding SQL_ASCII holds in bytes that are no UTF-8. Its rows are bytes to us; its names and definitions are texts.

use backup_core::{Error, ErrorKind, Result};

use super::reader::Reader;
use crate::error::sql_state;

/// What the server says of bytes that mean nothing in the encoding of the session.
const NO_CHARACTERS: &str = "22021";
/// How many are named.
const NAMED: usize = 10;

/// The error of a reading, which names what it could not read if that is the reason.
pub(super) async fn named(reader: Reader<'_>, error: Error) -> Error {
    if sql_state(&error) != Some(NO_CHARACTERS) {
        return error;
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
    // The backup ends here.
    reader.session.execute(reader.ctx, "ROLLBACK").await?;
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
