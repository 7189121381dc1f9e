//! Taking a CREATE TABLE apart: what must be there before the rows, and what is better made when they are.

mod expressions;
mod lacking;
pub(crate) mod late;
pub(crate) mod places;
mod sequence;

use std::collections::BTreeMap;

use backup_core::{Error, Result};

use super::item::{Item, Kind};
use super::lex::{Token, tokens, without_qualifiers, words};

/// The column that InnoDB takes the numbers of texts from, if a table has it.
pub(crate) const NUMBER_OF_TEXT: &str = "FTS_DOC_ID";

/// A CREATE TABLE as the server prints it.
#[derive(Debug)]
pub(crate) struct CreateTable<'a> {
    /// Up to and with the opening parenthesis.
    head: &'a str,
    items: Vec<Item<'a>>,
    /// From the closing parenthesis on.
    tail: &'a str,
}

impl<'a> CreateTable<'a> {
    pub(crate) fn parse(sql: &'a str) -> Result<Self> {
        let strange =
            || Error::unsupported("the server prints a CREATE TABLE that lifeboat cannot take apart");
        let (mut at, mut depth, mut body, mut item) = (0, 0usize, None, 0);
        let mut items = Vec::new();
        for token in tokens(sql) {
            let end = at + token.as_str().len();
            match token {
                Token::Other("(") => {
                    depth += 1;
                    if depth == 1 && body.is_none() {
                        body = Some(end);
                        item = end;
                    }
                }
                Token::Other(")") => {
                    depth = depth.checked_sub(1).ok_or_else(strange)?;
                    if depth == 0 {
                        items.push(sql.get(item..at).ok_or_else(strange)?);
                        let head = sql.get(..body.ok_or_else(strange)?).ok_or_else(strange)?;
                        let items = items.into_iter().map(Item::parse).collect();
                        return Ok(Self { head, items, tail: sql.get(at..).ok_or_else(strange)? });
                    }
                }
                Token::Other(",") if depth == 1 => {
                    items.push(sql.get(item..at).ok_or_else(strange)?);
                    item = end;
                }
                _ => {}
            }
            at = end;
        }
        Err(strange())
    }

    /// The columns, keys and constraints that it is made with: of the foreign keys, these.
    fn kept(&self, keys_later: bool, foreign_keys: &[String]) -> Vec<&Item<'a>> {
        let plain_later = keys_later && !self.later_keys().is_empty();
        let full_text_later = keys_later && !self.numbered_full_text().is_empty();
        let later = |item: &&Item<'_>| match item.kind {
            Kind::ForeignKey => !item.name().is_some_and(|name| foreign_keys.contains(&name)),
            Kind::PlainKey => plain_later,
            Kind::FullTextKey => full_text_later,
            _ => false,
        };
        self.items.iter().filter(|item| !later(item)).collect()
    }

    /// The statement with these columns, keys and constraints.
    fn said(&self, items: &[&Item<'_>]) -> String {
        let items: Vec<_> = items.iter().map(|item| item.made()).collect();
        format!("{}{}{}", self.head, items.join(","), self.tail)
    }

    /// A column TIMESTAMP NOT NULL that has no default, by its name in quotes.
    pub(crate) fn undefaulted_timestamp(&self) -> Option<&'a str> {
        self.items.iter().filter(|item| item.is_undefaulted_timestamp()).find_map(Item::column)
    }

    /// The name of the table, in quotes.
    pub(crate) fn name(&self) -> Option<&'a str> {
        tokens(self.head).find(|token| token.name().is_some()).map(Token::as_str)
    }

    /// Full-text keys, as they follow ADD, whose table numbers its texts itself: InnoDB takes such numbers only in their order, and none that is
    /// much larger than the last. It makes one such key at a time.
    pub(crate) fn numbered_full_text(&self) -> Vec<&'a str> {
        let is_number = |item: &Item<'_>| {
            item.kind == Kind::Other
                && item.first_word().and_then(Token::name).as_deref() == Some(NUMBER_OF_TEXT)
        };
        if self.items.iter().any(is_number) { self.keys(Kind::FullTextKey) } else { Vec::new() }
    }

    fn keys(&self, kind: Kind) -> Vec<&'a str> {
        self.items.iter().filter(|item| item.kind == kind).map(|item| item.sql.trim()).collect()
    }

    /// The statement with other columns, keys and constraints, or without some.
    pub(crate) fn with_items(&self, each: impl Fn(&str) -> Option<String>) -> String {
        let items: Vec<_> = self.items.iter().filter_map(|item| each(item.sql)).collect();
        format!("{}{}{}", self.head, items.join(","), self.tail)
    }

    /// The plain keys, as they follow ADD; none where their order would change by coming later, or where one of them is the one that
    /// AUTO_INCREMENT needs.
    pub(crate) fn later_keys(&self) -> Vec<&'a str> {
        let counts = |item: &Item<'_>| {
            item.kind == Kind::Other && tokens(item.sql).any(|token| token.is("AUTO_INCREMENT"))
        };
        let is_unique =
            |item: &Item<'_>| item.first_word().is_some_and(|word| word.is("PRIMARY") || word.is("UNIQUE"));
        let counting = self
            .items
            .iter()
            .filter(|item| counts(item))
            .find_map(|item| tokens(item.sql).find_map(Token::name));
        let lacks_key = counting.is_some_and(|column| {
            let mut keys = self.items.iter().filter(|item| is_unique(item));
            !keys.any(|key| names_in_parentheses(tokens(key.sql)).first() == Some(&column))
        });
        if lacks_key || self.items.iter().any(|item| item.kind == Kind::SpatialKey) {
            return Vec::new();
        }
        self.keys(Kind::PlainKey)
    }

    /// The statements that make MySQL forget of a column what has to be said to make it, and was not said: its character set, if it is of a
    /// CREATE ... SELECT, or its table has another now; and that its default is NULL, if it has none.
    pub(crate) fn forget(&self) -> Vec<String> {
        let mut columns: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for (charset, column) in self.items.iter().filter_map(Item::unsaid_charset) {
            columns.entry(charset).or_default().push(format!("MODIFY {}", column.trim()));
        }
        let Some(name) = self.name() else { return Vec::new() };
        let mut statements: Vec<_> = columns
            .iter()
            .map(|(charset, columns)| {
                format!("ALTER TABLE {name} DEFAULT CHARACTER SET {charset}, {}", columns.join(", "))
            })
            .collect();
        if !statements.is_empty()
            && let Some(charset) = self.option("CHARSET")
        {
            let collation = self.option("COLLATE");
            let collation = collation.map_or_else(String::new, |collation| format!(" COLLATE {collation}"));
            statements.push(format!("ALTER TABLE {name} DEFAULT CHARACTER SET {charset}{collation}"));
        }
        let undefaulted = self.items.iter().filter_map(Item::without_default);
        let drops: Vec<_> = undefaulted.map(|column| format!("ALTER {column} DROP DEFAULT")).collect();
        if !drops.is_empty() {
            statements.push(format!("ALTER TABLE {name} {}", drops.join(", ")));
        }
        statements
    }

    /// The value of an option of the table.
    pub(crate) fn option(&self, word: &str) -> Option<&'a str> {
        let options: Vec<_> = words(self.tail).collect();
        let at = options.iter().position(|token| token.is(word))?;
        options.get(at + 2).map(|token| token.as_str())
    }

    /// Each foreign key by its name, as it follows ADD.
    pub(crate) fn foreign_keys(&self) -> Vec<(String, &'a str)> {
        let keys = self.items.iter().filter(|item| item.kind == Kind::ForeignKey);
        keys.filter_map(|item| Some((tokens(item.sql).find_map(Token::name)?, item.sql.trim()))).collect()
    }

    /// Whether the table has no key that begins with these columns.
    pub(crate) fn lacks_key_of(&self, wanted: &[String]) -> bool {
        let is_key = |item: &&Item<'_>| {
            let word = item.first_word();
            ["PRIMARY", "UNIQUE", "KEY"].iter().any(|key| word.is_some_and(|word| word.is(key)))
        };
        let mut wanted: Vec<_> = wanted.iter().map(|name| name.to_lowercase()).collect();
        wanted.sort_unstable();
        !self.items.iter().filter(is_key).any(|key| {
            let mut columns = names_in_parentheses(tokens(key.sql));
            columns.truncate(wanted.len());
            columns.iter_mut().for_each(|name| *name = name.to_lowercase());
            columns.sort_unstable();
            columns == wanted
        })
    }
}

/// A CREATE TABLE that does not say from where to count.
pub(crate) fn counting_by_rows(sql: &str) -> String {
    let all: Vec<_> = tokens(sql).collect();
    let is_option = |at: &usize| matches!(all.get(*at..*at + 2), Some([word, Token::Other("=")]) if word.is("AUTO_INCREMENT"));
    let Some(at) = (0..all.len()).rev().find(is_option) else { return sql.to_owned() };
    let kept = all.iter().enumerate().filter(|(place, _)| !(at..at + 3).contains(place));
    kept.map(|(_, token)| token.as_str()).collect()
}

/// The columns of a foreign key.
pub(crate) fn refers(foreign: &str) -> Vec<String> {
    names_in_parentheses(tokens(foreign))
}

/// The table that a foreign key refers to, if it is of the same database, and the columns there.
pub(crate) fn referred(foreign: &str) -> Option<(String, Vec<String>)> {
    let mut behind = tokens(foreign).skip_while(|token| !token.is("REFERENCES"));
    let table = behind.by_ref().find_map(Token::name)?;
    let columns: Vec<_> = behind.collect();
    let is_here = columns.first() != Some(&Token::Other("."));
    is_here.then(|| (table, names_in_parentheses(columns.into_iter())))
}

/// The names in the first parentheses.
fn names_in_parentheses<'a>(all: impl Iterator<Item = Token<'a>>) -> Vec<String> {
    let inside = all.skip_while(|token| *token != Token::Other("(")).skip(1);
    inside.take_while(|token| *token != Token::Other(")")).filter_map(Token::name).collect()
}

/// `sql` without `database` before the names of its objects: a default of NEXT VALUE is printed with it.
pub(crate) fn unqualified(sql: &str, database: &str) -> String {
    let all: Vec<_> = tokens(sql).collect();
    without_qualifiers(&all, database, |at| matches!(all.get(at + 2), Some(Token::Name(_))))
}

/// `sql` without its DEFINER: the object is then owned by who restores it. Whatever character set it is in, the definer comes first.
pub(crate) fn without_definer(sql: &[u8]) -> Vec<u8> {
    let each: String = sql.iter().map(|byte| char::from(*byte)).collect();
    let without = definer_left_out(&each);
    without.chars().filter_map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn definer_left_out(sql: &str) -> String {
    let all: Vec<_> = tokens(sql).collect();
    let Some(start) = all.iter().position(|token| token.is("DEFINER")).filter(|start| *start < 12) else {
        return sql.to_owned();
    };
    if all.get(start + 1) != Some(&Token::Other("=")) {
        return sql.to_owned();
    }
    // A user at a host, or a role alone.
    let mut end = start + 3;
    if all.get(end) == Some(&Token::Other("@")) {
        end += 2;
    }
    if matches!(all.get(end), Some(Token::Space(_))) {
        end += 1;
    }
    all.iter().take(start).chain(all.iter().skip(end)).map(|token| token.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "CREATE TABLE `t,(` (\n  `id` int(11) NOT NULL DEFAULT nextval(`shop`.`s`),\n  `a` enum('x,)','it''s','\\\\') DEFAULT NULL COMMENT 'KEY `k` (`a`)',\n  PRIMARY KEY (`id`),\n  UNIQUE KEY `u` (`a`),\n  KEY `a` (`a`(10),`id`),\n  FULLTEXT KEY `f` (`a`),\n  CONSTRAINT `f``k` FOREIGN KEY (`a`) REFERENCES `shop2`.`t` (`id`) ON DELETE CASCADE,\n  CONSTRAINT `c` CHECK (`a` <> 'shop')\n) ENGINE=InnoDB COMMENT='`shop`.`x`'\n PARTITION BY HASH (`id`)";

    fn bare(table: &CreateTable<'_>, keys_later: bool) -> String {
        table.statements(false, keys_later, &[]).remove(0)
    }

    #[test]
    fn a_table_is_taken_apart() {
        let table = CreateTable::parse(TABLE).unwrap();
        assert_eq!(table.items.len(), 8);
        assert_eq!(table.later_keys(), ["KEY `a` (`a`(10),`id`)"]);
        let foreign = table.foreign_keys();
        assert_eq!(foreign.len(), 1);
        assert_eq!(foreign[0].0, "f`k");
        assert!(foreign[0].1.ends_with("ON DELETE CASCADE"));
        assert!(!table.lacks_key_of(&refers(foreign[0].1)) && table.lacks_key_of(&["b".to_owned()]));
        assert_eq!(referred(foreign[0].1), None);
        let here = "CONSTRAINT `c` FOREIGN KEY (`b`) REFERENCES `t` (`x`, `y`)";
        assert_eq!(referred(here), Some(("t".to_owned(), vec!["x".to_owned(), "y".to_owned()])));
        let without = bare(&table, true);
        assert!(
            !without.contains("FOREIGN") && !without.contains("\n  KEY") && without.contains("FULLTEXT"),
            "{without}"
        );
        assert!(without.ends_with("PARTITION BY HASH (`id`)"));
        assert!(bare(&table, false).contains("\n  KEY `a`"));
    }

    #[test]
    fn what_was_not_said_is_forgotten() {
        let table = "CREATE TABLE `t` (\n  `a` varchar(2) CHARACTER SET latin1 NOT NULL COMMENT 'x CHARACTER SET y',\n  `b` text CHARACTER SET ascii COLLATE ascii_bin,\n  `c` int,\n  \
                     `d` enum('a') CHARACTER SET latin1 DEFAULT NULL,\n  KEY `k` (`a`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci COMMENT='CHARSET=x'";
        assert_eq!(
            CreateTable::parse(table).unwrap().forget(),
            [
                "ALTER TABLE `t` DEFAULT CHARACTER SET latin1, MODIFY `a` varchar(2) NOT NULL COMMENT 'x CHARACTER SET y', MODIFY `d` enum('a') DEFAULT NULL",
                "ALTER TABLE `t` DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci",
                "ALTER TABLE `t` ALTER `c` DROP DEFAULT",
            ]
        );
        assert!(CreateTable::parse(TABLE).unwrap().forget().is_empty());
    }

    #[test]
    fn where_counting_begins_may_be_left_unsaid() {
        let sql = "CREATE TABLE `t` (`a` int NOT NULL AUTO_INCREMENT COMMENT 'AUTO_INCREMENT=1') ENGINE=ARCHIVE AUTO_INCREMENT=7 COMMENT='AUTO_INCREMENT=2'";
        assert_eq!(counting_by_rows(sql), sql.replace("AUTO_INCREMENT=7", ""));
        assert_eq!(counting_by_rows(TABLE), TABLE);
    }

    #[test]
    fn full_text_keys_of_numbered_texts_come_later() {
        let table = "CREATE TABLE `t` (`FTS_DOC_ID` bigint unsigned NOT NULL,`a` text,KEY `k` (`a`(3)),FULLTEXT KEY `f` (`a`)) ENGINE=InnoDB";
        let table = CreateTable::parse(table).unwrap();
        assert_eq!(table.numbered_full_text(), ["FULLTEXT KEY `f` (`a`)"]);
        assert_eq!(
            bare(&table, true),
            "CREATE TABLE `t` (`FTS_DOC_ID` bigint unsigned NOT NULL,`a` text) ENGINE=InnoDB"
        );
        assert!(CreateTable::parse(TABLE).unwrap().numbered_full_text().is_empty());
    }

    #[test]
    fn a_qualifier_goes_away_outside_of_texts() {
        let plain = unqualified(TABLE, "shop");
        assert!(
            plain.contains("nextval(`s`)") && plain.contains("'`shop`.`x`'") && plain.contains("`shop2`.`t`")
        );
    }

    #[test]
    fn a_definer_is_left_out() {
        let sql = b"CREATE DEFINER=`a``b`@`%` PROCEDURE `p`() select 'DEFINER=`x`@`y`\xff'";
        assert_eq!(without_definer(sql), b"CREATE PROCEDURE `p`() select 'DEFINER=`x`@`y`\xff'");
        let view = b"CREATE ALGORITHM=UNDEFINED DEFINER=`role` SQL SECURITY DEFINER VIEW `v` AS select 1";
        assert_eq!(
            without_definer(view),
            b"CREATE ALGORITHM=UNDEFINED SQL SECURITY DEFINER VIEW `v` AS select 1"
        );
        let none = b"CREATE VIEW `DEFINER` AS select 1";
        assert_eq!(without_definer(none), none);
    }

    #[test]
    fn what_is_no_table_is_an_error() {
        for sql in ["", "CREATE TABLE `t`", "CREATE TABLE `t` (`a` int", ")"] {
            assert!(CreateTable::parse(sql).is_err(), "{sql}");
        }
    }
}
