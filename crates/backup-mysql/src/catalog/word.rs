//! Words that stand before parentheses: functions of the server's own, or of its grammar.

use backup_core::{Ctx, Result};

use crate::connect::Connection;
use crate::ddl::quote::text;
use crate::error::code;

/// What a word is to a server that is followed by parentheses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// A function of its own.
    Function,
    /// Something of which its grammar knows.
    OfGrammar,
    Unknown,
}

/// Functions that are words of the grammar, of which some server knows nothing.
const GRAMMAR: [&str; 21] = [
    "cume_dist",
    "dense_rank",
    "first_value",
    "grouping",
    "json_arrayagg",
    "json_objectagg",
    "json_value",
    "lag",
    "last_value",
    "lastval",
    "lead",
    "median",
    "nextval",
    "nth_value",
    "ntile",
    "percent_rank",
    "percentile_cont",
    "percentile_disc",
    "rank",
    "row_number",
    "setval",
];

/// What a word is to the server. It is not called.
async fn word(ctx: &Ctx, connection: &mut Connection, function: &str) -> Result<Word> {
    let call = text(&format!("SELECT {function}()"));
    match connection.execute(ctx, &format!("PREPARE lifeboat FROM {call}")).await {
        Ok(_) => Ok(Word::Function),
        // There is none, not even with a database in which there could be one.
        Err(error) if matches!(code(&error), Some(1046 | 1128 | 1305 | 1370)) => Ok(Word::Unknown),
        Err(error) if code(&error) == Some(1064) => Ok(Word::OfGrammar),
        Err(error) if code(&error).is_some() => Ok(Word::Function),
        Err(error) => Err(error),
    }
}

/// Whether it is a function of the server's. Most words of its grammar are none, whatever stands behind them: a table called `events`, AGAINST,
/// UNTIL.
pub(super) async fn is_function(ctx: &Ctx, connection: &mut Connection, name: &str) -> Result<bool> {
    Ok(match word(ctx, connection, name).await? {
        Word::Function => true,
        Word::OfGrammar => GRAMMAR.contains(&name),
        Word::Unknown => false,
    })
}

/// Whether the server has a function of this name, or a word of its grammar.
pub(crate) async fn knows(ctx: &Ctx, connection: &mut Connection, function: &str) -> Result<bool> {
    Ok(word(ctx, connection, function).await? != Word::Unknown)
}
