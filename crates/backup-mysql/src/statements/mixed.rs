//! Definitions of programs, as the bytes that made them. What the user wrote comes as it was, in the character set of the session then, with
//! whatever literals of other character sets are in it; what the server remembers beside that (the comment, the type that a function
//! returns, the name of an event) it prints in UTF-8.

use backup_core::{Ctx, Error, Object, Result};

use crate::catalog::Reading;
use crate::catalog::context::Context;
use crate::connect::Connection;
use crate::ddl::quote::{bytes, identifier, text};
use crate::ddl::raw;
use crate::ddl::trigger::in_any_database;
use crate::snapshot::is_denied;

const COMMENT: &str = "COMMENT '";

/// The definition of a routine.
pub(super) async fn routine(
    ctx: &Ctx,
    connection: &mut Connection,
    raw: Vec<u8>,
    object: &Object,
    context: &Context,
) -> Result<Vec<u8>> {
    let sql = format!(
        "SELECT ROUTINE_COMMENT FROM information_schema.ROUTINES \
         WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_NAME = {} AND ROUTINE_TYPE = {}",
        text(&object.name),
        text(&object.kind.to_uppercase())
    );
    let before = format!("\n    {COMMENT}");
    let raw = as_the_mode_reads_it(ctx, connection, raw, &before, &sql, context).await?;
    if raw.is_ascii() || context.is_utf8() {
        return Ok(raw);
    }
    let comment = Reading::new(connection.row(ctx, &sql).await?).maybe()?.unwrap_or_default();
    let mut islands = Vec::new();
    // MySQL prints the name in UTF-8 too.
    let name = format!(" {} {}(", object.kind.to_uppercase(), identifier(&object.name)).into_bytes();
    if !name.is_ascii() && place(&raw, &name).is_some() {
        islands.push(name);
    }
    // The type stands on the line of the parameters.
    if let Some(at) = place(&raw, b") RETURNS ") {
        let line = raw.get(at..).unwrap_or_default().split(|byte| *byte == b'\n').next();
        islands.extend(line.filter(|line| !line.is_ascii()).map(<[u8]>::to_vec));
    }
    if !comment.is_ascii() {
        islands.push(text_behind(&raw, before.as_bytes()));
    }
    in_one(ctx, connection, raw, &islands, object, context).await
}

/// The definition of an event.
pub(super) async fn event(
    ctx: &Ctx,
    connection: &mut Connection,
    raw: Vec<u8>,
    object: &Object,
    context: &Context,
) -> Result<Vec<u8>> {
    let sql = format!(
        "SELECT EVENT_COMMENT FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE() AND EVENT_NAME = {}",
        text(&object.name)
    );
    let before = format!(" {COMMENT}");
    let raw = as_the_mode_reads_it(ctx, connection, raw, &before, &sql, context).await?;
    let raw = with_whole_comment(ctx, connection, raw, &before, object, context).await?;
    if raw.is_ascii() || context.is_utf8() {
        return Ok(raw);
    }
    let comment = Reading::new(connection.row(ctx, &sql).await?).maybe()?.unwrap_or_default();
    let mut islands = Vec::new();
    if !object.name.is_ascii() {
        islands.push(format!(" EVENT {} ON SCHEDULE ", identifier(&object.name)).into_bytes());
    }
    if !comment.is_ascii() {
        islands.push(text_behind(&raw, before.as_bytes()));
    }
    in_one(ctx, connection, raw, &islands, object, context).await
}

/// The definition of a trigger, for whatever database it is made in. MySQL prints its name and its table's in UTF-8, MariaDB in the character set
/// of the rest.
pub(super) async fn trigger(
    ctx: &Ctx,
    connection: &mut Connection,
    raw: Vec<u8>,
    object: &Object,
    context: &Context,
) -> Result<Vec<u8>> {
    let table = object.table.as_deref().unwrap_or_default();
    let name = format!(" TRIGGER {} ", identifier(&object.name));
    let of = format!(" ON {} FOR EACH ROW", identifier(table));
    let mut islands: Vec<_> = [name, of].into_iter().map(String::into_bytes).collect();
    islands.retain(|island| !island.is_ascii() && !context.is_utf8() && place(&raw, island).is_some());
    let raw = in_one(ctx, connection, raw, &islands, object, context).await?;
    in_any_database(&raw, &context.charset).ok_or_else(|| strange(object))
}

/// `raw` with its comment, which is behind the words `before` and which `sql` asks for, as it has to be said where no backslash escapes:
/// the server prints it escaped all the same.
async fn as_the_mode_reads_it(
    ctx: &Ctx,
    connection: &mut Connection,
    raw: Vec<u8>,
    before: &str,
    sql: &str,
    context: &Context,
) -> Result<Vec<u8>> {
    let mut modes = context.sql_mode.iter().flat_map(|mode| mode.split(','));
    let printed = text_behind(&raw, before.as_bytes());
    if !modes.any(|mode| mode == "NO_BACKSLASH_ESCAPES") || !printed.contains(&b'\\') {
        return Ok(raw);
    }
    let Some(at) = place(&raw, before.as_bytes()).map(|at| at + before.len() - 1) else { return Ok(raw) };
    let comment = Reading::new(connection.row(ctx, sql).await?).text()?;
    let (start, rest) = raw.split_at(at);
    let behind = rest.get(printed.len()..).unwrap_or_default();
    Ok([start, b"'", comment.replace('\'', "''").as_bytes(), b"'", behind].concat())
}

/// An event with all of its comment: MariaDB prints none of it from a NUL on, and has it where not everybody may look.
async fn with_whole_comment(
    ctx: &Ctx,
    connection: &mut Connection,
    raw: Vec<u8>,
    before: &str,
    object: &Object,
    context: &Context,
) -> Result<Vec<u8>> {
    if !connection.version.is_mariadb {
        return Ok(raw);
    }
    let sql = format!(
        "SELECT comment FROM mysql.event WHERE db = DATABASE() AND name = {} AND INSTR(comment, CHAR(0)) > 0",
        text(&object.name)
    );
    let rows = match connection.rows(ctx, &sql).await {
        Err(error) if is_denied(&error) => return Ok(raw),
        rows => rows?,
    };
    let printed = text_behind(&raw, before.as_bytes());
    let at = place(&raw, before.as_bytes()).map(|at| at + before.len() - 1);
    let (Some(row), Some(at)) = (rows.into_iter().next(), at) else { return Ok(raw) };
    let comment = Reading::new(row).text()?;
    let escapes = !context.sql_mode.iter().any(|modes| modes.contains("NO_BACKSLASH_ESCAPES"));
    let comment = if escapes { text(&comment) } else { format!("'{}'", comment.replace('\'', "''")) };
    let (start, rest) = raw.split_at(at);
    Ok([start, comment.as_bytes(), rest.get(printed.len()..).unwrap_or_default()].concat())
}

/// `raw` with its islands, which are in UTF-8 and come in this order, brought into the character set of the rest.
async fn in_one(
    ctx: &Ctx,
    connection: &mut Connection,
    raw: Vec<u8>,
    islands: &[Vec<u8>],
    object: &Object,
    context: &Context,
) -> Result<Vec<u8>> {
    let (mut sql, mut rest) = (Vec::with_capacity(raw.len()), raw.as_slice());
    for island in islands {
        let at = place(rest, island).filter(|_| !island.is_empty()).ok_or_else(|| strange(object))?;
        let (before, behind) = rest.split_at(at);
        let (island, behind) = behind.split_at(island.len());
        sql.extend_from_slice(before);
        sql.extend(encoded(ctx, connection, island, context).await?);
        rest = behind;
    }
    sql.extend_from_slice(rest);
    Ok(sql)
}

fn strange(object: &Object) -> Error {
    Error::unsupported(format!("the server prints {object} in a way that lifeboat cannot take apart"))
}

/// What is in UTF-8 in the character set of the session that it was made in, as the server itself knows it.
pub(super) async fn encoded(
    ctx: &Ctx,
    connection: &mut Connection,
    sql: &[u8],
    context: &Context,
) -> Result<Vec<u8>> {
    if sql.is_ascii() || context.is_utf8() || context.charset == "binary" {
        return Ok(sql.to_vec());
    }
    let word: String = context.charset.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    let text = bytes(sql);
    let query = format!(
        "SELECT HEX(CONVERT(_utf8mb4 {text} USING {word})), HEX(CONVERT(CONVERT(_utf8mb4 {text} USING {word}) USING utf8mb4)) = HEX({text})"
    );
    let mut row = Reading::new(connection.row(ctx, &query).await?);
    let (hex, is_same) = (row.text()?, row.number()? == 1);
    if !is_same {
        return Err(Error::unsupported(format!("a definition cannot be said in its character set {word}")));
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    let pairs = hex.as_bytes().chunks(2);
    Ok(pairs.map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | digit(*d))).collect())
}

/// The text behind these words, the last character of which opens it: in UTF-8, with the quotes.
fn text_behind(raw: &[u8], words: &[u8]) -> Vec<u8> {
    let Some(at) = place(raw, words) else { return Vec::new() };
    let from = raw.get(at + words.len() - 1..).unwrap_or_default();
    from.get(..raw::quoted(from)).unwrap_or_default().to_vec()
}

fn place(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len().max(1)).position(|window| window == part)
}
