//! Expressions in a CREATE TABLE: what columns are generated from, and what constraints check.

use super::{CreateTable, Item};
use crate::ddl::lex::{Token, tokens};

impl CreateTable<'_> {
    /// Each generated column, and what it is generated from.
    pub(crate) fn generated(&self) -> Vec<(String, String)> {
        let of = |item: &Item<'_>| {
            item.column()?;
            Some((item.name()?, behind(item, "AS")?))
        };
        self.items.iter().filter_map(of).collect()
    }

    /// Each CHECK that is enforced, by its name or that of its column, and what it checks.
    pub(crate) fn enforced_checks(&self) -> Vec<(String, String)> {
        let of = |item: &Item<'_>| Some((item.name().unwrap_or_default(), behind(item, "CHECK")?));
        self.items.iter().filter(|item| !is_unenforced(item.sql)).filter_map(of).collect()
    }

    /// The statement with these CHECKs NOT ENFORCED, as MySQL says that.
    pub(crate) fn with_unenforced(&self, names: &[String]) -> String {
        self.with_items(|sql| {
            let item = Item::parse(sql);
            let is_check = item.first_word().is_some_and(|word| word.is("CONSTRAINT"))
                && behind(&item, "CHECK").is_some()
                && !is_unenforced(sql);
            let is_one = is_check && item.name().is_some_and(|name| names.contains(&name));
            Some(if is_one { format!("{} /*!80016 NOT ENFORCED */", sql.trim_end()) } else { sql.to_owned() })
        })
    }
}

fn is_unenforced(item: &str) -> bool {
    item.trim_end().ends_with("NOT ENFORCED */")
}

/// What stands in parentheses behind a word of a column or constraint.
fn behind(item: &Item<'_>, word: &str) -> Option<String> {
    let (from, _) = item.words().into_iter().find(|(_, token)| token.is(word))?;
    let (mut inside, mut depth) = (String::new(), 0usize);
    for token in tokens(item.sql).skip(from + 1) {
        match token {
            Token::Other(")") if depth == 1 => return Some(inside),
            Token::Other(")") => depth = depth.checked_sub(1)?,
            Token::Other("(") => depth += 1,
            Token::Space(_) if depth == 0 => continue,
            _ if depth == 0 => return None,
            _ => {}
        }
        if depth > 1 || token != Token::Other("(") {
            inside.push_str(token.as_str());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const SQL: &str = "CREATE TABLE `t` (\n  `ts` timestamp NULL DEFAULT NULL CHECK (`ts` > '(2020'),\n  `d` varchar(9) COLLATE utf8mb4_bin GENERATED ALWAYS AS (concat((`ts`),')')) STORED,\n  CONSTRAINT `c` CHECK ((`d` <> 'x')),\n  CONSTRAINT `n` CHECK ((`d` <> 'y')) /*!80016 NOT ENFORCED */,\n  CONSTRAINT `f` FOREIGN KEY (`d`) REFERENCES `u` (`d`)\n) ENGINE=InnoDB";

    #[test]
    fn expressions_are_found() {
        let table = CreateTable::parse(SQL).unwrap();
        let pair = |name: &str, expression: &str| (name.to_owned(), expression.to_owned());
        assert_eq!(table.generated(), [pair("d", "concat((`ts`),')')")]);
        assert_eq!(table.enforced_checks(), [pair("ts", "`ts` > '(2020'"), pair("c", "(`d` <> 'x')")]);
    }

    #[test]
    fn a_check_is_not_enforced() {
        let said = CreateTable::parse(SQL).unwrap().with_unenforced(&["c".to_owned(), "n".to_owned()]);
        assert_eq!(said, SQL.replace("<> 'x'))", "<> 'x')) /*!80016 NOT ENFORCED */"));
    }
}
