//! Triggers that are invalid: they name a column that their table has no longer. A server makes none like that; so for the moment in which
//! one is made the table has the column again.

use std::collections::BTreeSet;

use backup_core::{Ctx, Result};

use super::objects::Trigger;
use super::table::Table;
use crate::connect::Connection;
use crate::ddl::lex::{Token, code};
use crate::ddl::quote::identifier;

/// The columns that a trigger names and its table has not.
pub(super) async fn lost(
    ctx: &Ctx,
    connection: &mut Connection,
    trigger: &Trigger,
    table: &Table,
) -> Result<Vec<String>> {
    let lost = missing(&trigger.body, &table.names);
    if lost.is_empty() || connection.version.is_mariadb {
        return Ok(lost);
    }
    // Backquotes in names are not where they were in what MySQL tells of the body.
    let shown = connection.row(ctx, &format!("SHOW CREATE TRIGGER {}", identifier(&trigger.name))).await?;
    let sql = shown.into_iter().nth(2).flatten().unwrap_or_default();
    Ok(missing(&String::from_utf8_lossy(&sql), &table.names))
}

/// The columns of NEW and OLD that a trigger's body names and that are not among `columns`.
pub(super) fn missing(body: &str, columns: &[String]) -> Vec<String> {
    let all: Vec<_> = code(body).collect();
    let mut missing = BTreeSet::new();
    for three in all.windows(3) {
        let [row, Token::Other("."), column] = three else { continue };
        if !row.is("NEW") && !row.is("OLD") {
            continue;
        }
        let column = match column {
            Token::Name(_) => column.name().unwrap_or_default(),
            Token::Word(word) => (*word).to_owned(),
            // In the mode ANSI_QUOTES.
            Token::Text(text) if text.starts_with('"') => text.trim_matches('"').replace("\"\"", "\""),
            _ => continue,
        };
        if !columns.iter().any(|one| one.to_lowercase() == column.to_lowercase()) {
            missing.insert(column);
        }
    }
    missing.into_iter().collect()
}

/// A table with a history is altered only if that is allowed to be altered too.
const KEEP: &str = "SET STATEMENT system_versioning_alter_history = KEEP FOR ";

/// The statements before and behind the one that makes a trigger of a table that lacks these columns.
pub(crate) fn around(table: &str, missing: &[String], is_versioned: bool) -> Option<(String, String)> {
    if missing.is_empty() {
        return None;
    }
    let alter = |each: &dyn Fn(&String) -> String| {
        let changes: Vec<_> = missing.iter().map(each).collect();
        let keep = if is_versioned { KEEP } else { "" };
        format!("{keep}ALTER TABLE {} {}", identifier(table), changes.join(", "))
    };
    Some((
        // In CSV no column may be NULL.
        alter(&|column| format!("ADD COLUMN {} VARCHAR(64) NOT NULL", identifier(column))),
        alter(&|column| format!("DROP COLUMN {}", identifier(column))),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_that_are_gone_are_found() {
        let columns = ["id".to_owned(), "Ä".to_owned()];
        let body = "BEGIN -- don't mind NEW.no\n SET NEW.`ä` = old.Gone + OLD . `to``o`; /* NEW.no ' */ SET @x = 'NEW.no', NEW.ID = 1; END";
        assert_eq!(missing(body, &columns), ["Gone", "to`o"]);
        assert_eq!(missing("SET NEW.\"a\"\"b\" = \"NEW.c\"", &columns), ["a\"b"]);
        let (before, behind) = around("t", &["a`".into(), "b".into()], false).unwrap();
        assert_eq!(
            before,
            "ALTER TABLE `t` ADD COLUMN `a``` VARCHAR(64) NOT NULL, ADD COLUMN `b` VARCHAR(64) NOT NULL"
        );
        assert_eq!(behind, "ALTER TABLE `t` DROP COLUMN `a```, DROP COLUMN `b`");
        let (_, behind) = around("t", &["a".into()], true).unwrap();
        assert!(behind.ends_with("KEEP FOR ALTER TABLE `t` DROP COLUMN `a`"));
    }
}
