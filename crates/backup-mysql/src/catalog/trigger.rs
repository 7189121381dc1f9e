//! Triggers that are invalid: they name a column that their table has no longer. A server makes none like that; so for the moment in which
//! one is made the table has the column again.

use std::collections::BTreeSet;

use crate::ddl::lex::{Token, code};
use crate::ddl::quote::identifier;

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
            _ => continue,
        };
        if !columns.iter().any(|one| one.to_lowercase() == column.to_lowercase()) {
            missing.insert(column);
        }
    }
    missing.into_iter().collect()
}

/// The statements before and behind the one that makes a trigger of a table that lacks these columns.
pub(crate) fn around(table: &str, missing: &[String]) -> Option<(String, String)> {
    if missing.is_empty() {
        return None;
    }
    let alter = |each: &dyn Fn(&String) -> String| {
        let changes: Vec<_> = missing.iter().map(each).collect();
        format!("ALTER TABLE {} {}", identifier(table), changes.join(", "))
    };
    Some((
        alter(&|column| format!("ADD COLUMN {} VARCHAR(64)", identifier(column))),
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
        let (before, behind) = around("t", &["a`".into(), "b".into()]).unwrap();
        assert_eq!(before, "ALTER TABLE `t` ADD COLUMN `a``` VARCHAR(64), ADD COLUMN `b` VARCHAR(64)");
        assert_eq!(behind, "ALTER TABLE `t` DROP COLUMN `a```, DROP COLUMN `b`");
    }
}
