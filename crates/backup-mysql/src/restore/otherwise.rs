//! What a server makes otherwise than it was told, and only warns of, and what it is not told at all.

use std::collections::BTreeSet;

use backup_core::{Ctx, Error, ErrorKind, Result};

use crate::connect::{Connection, Done};
use crate::ddl::lex::{Token, tokens};

/// A key that is cut off to what its pages have room for, and a directory that it does not take (ER_TOO_LONG_KEY, WARN_OPTION_IGNORED).
const OTHERWISE: [&[u8]; 2] = [b"1071", b"1618"];

/// Tells what became of a statement that defines something, if that is not what it says.
pub(super) async fn tell(ctx: &Ctx, connection: &mut Connection, sql: &[u8], done: Done) -> Result<()> {
    if done.warnings == 0 {
        return Ok(());
    }
    for row in connection.rows(ctx, "SHOW WARNINGS").await? {
        let [_level, Some(number), Some(message)] = row.as_slice() else { continue };
        if OTHERWISE.contains(&number.as_slice()) {
            ctx.warn(format!(
                "table {} is made otherwise than it was: {}",
                table(sql).escape_debug(),
                String::from_utf8_lossy(message).escape_debug()
            ));
        }
    }
    Ok(())
}

/// ER_EVENT_CANNOT_CREATE_IN_THE_PAST: the event was not made.
const NOT_MADE: &[u8] = b"1588";
/// An event that is disabled since its time is over, and a view whose rows are not merged (ER_EVENT_EXEC_TIME_IN_THE_PAST, ER_WARN_VIEW_MERGE).
const PROGRAM_OTHERWISE: [&[u8]; 2] = [b"1544", b"1354"];

/// The same of a view, trigger, routine or event; an error if there is none now.
pub(super) async fn tell_of_program(
    ctx: &Ctx,
    connection: &mut Connection,
    sql: &[u8],
    done: Done,
) -> Result<()> {
    if done.warnings == 0 {
        return Ok(());
    }
    for row in connection.rows(ctx, "SHOW WARNINGS").await? {
        let [_level, Some(number), Some(message)] = row.as_slice() else { continue };
        let message = String::from_utf8_lossy(message).escape_debug().to_string();
        if number == NOT_MADE {
            return Err(Error::new(ErrorKind::Database, format!("the server did not make it: {message}")));
        }
        if PROGRAM_OTHERWISE.contains(&number.as_slice()) {
            ctx.warn(format!("{} is made otherwise than it was: {message}", program(sql)));
        }
    }
    Ok(())
}

/// What a statement makes: a word, and a name.
fn program(sql: &[u8]) -> String {
    const KINDS: [&str; 2] = ["EVENT", "VIEW"];
    let sql = String::from_utf8_lossy(sql);
    let mut behind = tokens(&sql).skip_while(|token| !KINDS.iter().any(|kind| token.is(kind)));
    let kind = behind.next().map_or_else(String::new, |kind| kind.as_str().to_lowercase());
    let name = behind.find_map(Token::name).unwrap_or_default();
    format!("{kind} {}", name.escape_debug())
}

/// Tells what is left out of the statement of a table, if anything is.
pub(super) fn left_out(ctx: &Ctx, sql: &[u8], left_out: BTreeSet<String>) {
    if left_out.is_empty() {
        return;
    }
    let left_out: Vec<_> = left_out.into_iter().collect();
    ctx.warn(format!(
        "of table {} {} is left out, which MariaDB does not have",
        table(sql).escape_debug(),
        left_out.join(", ")
    ));
}

/// The table that a statement makes or alters.
fn table(sql: &[u8]) -> String {
    tokens(&String::from_utf8_lossy(sql)).find_map(Token::name).unwrap_or_default()
}
