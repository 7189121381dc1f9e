//! Expressions in a CREATE TABLE: what columns are generated from, and what constraints check.

use super::{CreateTable, Item};
use crate::ddl::lex::{Token, tokens};

/// A key that may be of generated values.
pub(crate) struct Index {
    pub(crate) name: String,
    pub(crate) columns: Vec<String>,
    /// What it is of besides columns.
    pub(crate) expressions: Vec<String>,
}

impl CreateTable<'_> {
    /// Each key that is plain or unique.
    pub(crate) fn indexes(&self) -> Vec<Index> {
        let is_key =
            |item: &&Item<'_>| item.first_word().is_some_and(|word| word.is("KEY") || word.is("UNIQUE"));
        self.items.iter().filter(is_key).map(index).collect()
    }

    /// What says into which partition a row goes.
    pub(crate) fn partitioned_by(&self) -> Vec<String> {
        let tail = Item::parse(self.tail);
        ["HASH", "RANGE", "LIST"].into_iter().filter_map(|word| behind(&tail, word)).collect()
    }

    /// Whether one of its partitions is that of a number below zero.
    pub(crate) fn has_partition_below_zero(&self) -> bool {
        let tail: Vec<_> = tokens(self.tail).collect();
        let begins = |token: &Token<'_>| matches!(token, Token::Other("(" | ","));
        tail.windows(2).any(|pair| begins(&pair[0]) && pair[1] == Token::Other("-"))
    }

    /// Whether anything is computed of its rows: a column, a key, or whether a constraint holds.
    pub(crate) fn computes(&self) -> bool {
        !self.generated().is_empty()
            || !self.enforced_checks().is_empty()
            || self.indexes().iter().any(|index| !index.expressions.is_empty())
    }

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

fn index(item: &Item<'_>) -> Index {
    let (mut columns, mut expressions, mut depth) = (Vec::new(), Vec::<String>::new(), 0usize);
    // How much of a column is in the key stands behind its name.
    let (mut is_expression, mut is_behind_name) = (false, false);
    for token in tokens(item.sql) {
        match token {
            Token::Other("(") => {
                depth += 1;
                if depth == 2 {
                    is_expression = !is_behind_name;
                    expressions.extend(is_expression.then(String::new));
                    continue;
                }
            }
            Token::Other(")") => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 1 {
            columns.extend(token.name());
            is_behind_name = token.name().is_some();
        } else if let (true, true, Some(expression)) = (depth > 1, is_expression, expressions.last_mut()) {
            expression.push_str(token.as_str());
        }
    }
    Index { name: item.name().unwrap_or_default(), columns, expressions }
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
    fn keys_are_found() {
        let sql = "CREATE TABLE `t` (\n  `a` int,\n  PRIMARY KEY (`a`),\n  UNIQUE KEY `u` (`a`,`b`(3) DESC),\n  KEY `f` ((cast(`ts` as date)),`c`) USING BTREE\n)";
        let table = CreateTable::parse(sql).unwrap();
        let found =
            table.indexes().into_iter().map(|index| (index.name, index.columns.join(" "), index.expressions));
        let [unique, functional] = found.collect::<Vec<_>>().try_into().unwrap();
        assert_eq!((unique.0.as_str(), unique.1.as_str()), ("u", "a b"));
        assert_eq!((functional.0.as_str(), functional.1.as_str()), ("f", "c"));
        assert_eq!((unique.2, functional.2), (vec![], vec!["cast(`ts` as date)".to_owned()]));
    }

    #[test]
    fn what_partitions_are_by_is_found() {
        let tail = ") ENGINE=InnoDB COMMENT='HASH (x)'\n/*!50100 PARTITION BY RANGE ((`a` - 10))\n(PARTITION p0 VALUES LESS THAN (5) ENGINE = InnoDB) */";
        let sql = format!("CREATE TABLE `t` (`a` int{tail}");
        let create = CreateTable::parse(&sql).unwrap();
        assert_eq!(create.partitioned_by(), ["(`a` - 10)"]);
        assert!(!create.has_partition_below_zero());
        for below in ["LESS THAN (-5)", "IN (3,-5)"] {
            let sql = sql.replace("LESS THAN (5)", below);
            assert!(CreateTable::parse(&sql).unwrap().has_partition_below_zero(), "{sql}");
        }
    }

    #[test]
    fn a_check_is_not_enforced() {
        let said = CreateTable::parse(SQL).unwrap().with_unenforced(&["c".to_owned(), "n".to_owned()]);
        assert_eq!(said, SQL.replace("<> 'x'))", "<> 'x')) /*!80016 NOT ENFORCED */"));
    }
}
