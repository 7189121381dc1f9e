//! Parameters of MySQL's routines whose character set is said without a collation, or not at all: they have the one that the session gave it which made
//! them, and no server prints that. Beside its usual one utf8mb4 can have one other.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Ctx, Result};

use super::Reading;
use super::objects::Routine;
use crate::connect::Connection;
use crate::ddl::lex::{Token, code};
use crate::ddl::quote::{identifier, text};

/// The other collation that a session may give utf8mb4.
pub(crate) const OTHER: &str = "utf8mb4_general_ci";

/// Notes which routines were made in a session that gave it.
pub(super) async fn note_collations(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    routines: &mut [Routine],
) -> Result<()> {
    if connection.version.is_mariadb || connection.version.number < (8, 0, 11) || routines.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "SELECT ROUTINE_TYPE, SPECIFIC_NAME, PARAMETER_NAME FROM information_schema.PARAMETERS \
         WHERE SPECIFIC_SCHEMA = {} AND ORDINAL_POSITION > 0 AND COLLATION_NAME = {}",
        text(database),
        text(OTHER)
    );
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (kind, name, parameter) = (row.text()?, row.text()?, row.text()?);
        found.entry((kind, name)).or_default().insert(parameter.to_lowercase());
    }
    for routine in routines {
        let (kind, name) = (routine.kind.word(), routine.name.clone());
        let Some(parameters) = found.remove(&(kind.to_owned(), name)) else { continue };
        let shown = connection.row(ctx, &format!("SHOW CREATE {kind} {}", identifier(&routine.name))).await?;
        let sql = shown.into_iter().nth(2).flatten().unwrap_or_default();
        let is_databases = routine.context.database_collation.as_deref() == Some(OTHER);
        let unsaid = unsaid(&String::from_utf8_lossy(&sql), &routine.name, is_databases);
        if unsaid.iter().any(|name| parameters.contains(&name.to_lowercase())) {
            routine.context.utf8mb4 = Some(OTHER.to_owned());
        }
    }
    Ok(())
}

/// The parameters of a routine whose collations are those that the session gave their character sets. Where none is said, they may be the database's.
fn unsaid(sql: &str, routine: &str, is_databases: bool) -> Vec<String> {
    let all: Vec<_> = code(sql).collect();
    let is_routine = |at: &usize| {
        all.get(*at).and_then(|token| token.name()).as_deref() == Some(routine)
            && all.get(at + 1) == Some(&Token::Other("("))
    };
    let Some(from) = (0..all.len()).find(is_routine) else { return Vec::new() };
    let (mut depth, mut parameters) = (0usize, vec![Vec::new()]);
    for token in all.iter().skip(from + 1) {
        match token {
            Token::Other("(") => depth += 1,
            Token::Other(")") => depth = depth.saturating_sub(1),
            Token::Other(",") if depth == 1 => {
                parameters.push(Vec::new());
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if let Some(parameter) = parameters.last_mut() {
            parameter.push(*token);
        }
    }
    let is_unsaid = |parameter: &&Vec<Token<'_>>| {
        let says = |word: &str| parameter.iter().skip(1).any(|token| token.is(word));
        let says_charset = says("charset") || says("character");
        !says("collate") && if says_charset { says("utf8mb4") } else { !is_databases }
    };
    let name = |parameter: &Vec<Token<'_>>| {
        let mut words =
            parameter.iter().filter(|token| !["in", "out", "inout", "("].iter().any(|word| token.is(word)));
        words.next().map(|token| token.name().unwrap_or_else(|| token.as_str().to_owned()))
    };
    parameters.iter().filter(is_unsaid).filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_whose_collation_is_not_said_are_found() {
        let sql = "CREATE DEFINER=`a`@`%` PROCEDURE `f``1`(a varchar(10) charset utf8mb4, IN `b,` text charset utf8mb4 collate utf8mb4_bin, out c enum('x,)'), d char(2) character set latin1) select charset";
        assert_eq!(unsaid(sql, "f`1", false), ["a", "c"]);
        assert_eq!(unsaid(sql, "f`1", true), ["a"]);
        assert!(unsaid(sql, "g", true).is_empty());
    }
}
