//! Taking a CREATE TABLE apart: what must be there before the rows, and what is better made when they are.

use std::borrow::Cow;

use backup_core::{Error, Result};

use super::lex::{Token, tokens, without_qualifiers};

/// A CREATE TABLE as the server prints it.
#[derive(Debug)]
pub(crate) struct CreateTable<'a> {
    /// Up to and with the opening parenthesis.
    head: &'a str,
    items: Vec<Item<'a>>,
    /// From the closing parenthesis on.
    tail: &'a str,
}

/// A column, key or constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Item<'a> {
    kind: Kind,
    sql: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A key that is neither unique, nor full-text, nor spatial.
    PlainKey,
    /// A key whose place among the plain ones is not kept when it is made earlier than they.
    SpatialKey,
    ForeignKey,
    /// What the table has to be made with.
    Other,
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

    /// The statement without foreign keys, and without plain keys if these come later.
    pub(crate) fn without(&self, keys_later: bool) -> String {
        let later = |item: &&Item<'_>| match item.kind {
            Kind::ForeignKey => true,
            Kind::PlainKey => keys_later,
            _ => false,
        };
        let items: Vec<_> = self.items.iter().filter(|item| !later(item)).map(Item::made).collect();
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
        self.items.iter().filter(|item| item.kind == Kind::PlainKey).map(|item| item.sql.trim()).collect()
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

impl<'a> Item<'a> {
    fn parse(sql: &'a str) -> Self {
        let mut words = tokens(sql).filter(|token| !matches!(token, Token::Space(_)));
        let kind = match words.next() {
            Some(word) if word.is("KEY") => Kind::PlainKey,
            Some(word) if word.is("SPATIAL") || word.is("VECTOR") => Kind::SpatialKey,
            Some(word) if word.is("CONSTRAINT") && words.nth(1).is_some_and(|word| word.is("FOREIGN")) => {
                Kind::ForeignKey
            }
            _ => Kind::Other,
        };
        Self { kind, sql }
    }

    /// As it has to be said to become what it is. MySQL says the collation of a column whose character set is its table's, even where it was not said
    /// when the column was made; but remembers if it was.
    fn made(&self) -> Cow<'a, str> {
        let all: Vec<_> = tokens(self.sql).collect();
        let mut depth = 0usize;
        let mut words = Vec::new();
        for (at, token) in all.iter().enumerate() {
            match token {
                Token::Other("(") => depth += 1,
                Token::Other(")") => depth = depth.saturating_sub(1),
                Token::Name(_) | Token::Word(_) if depth == 0 => words.push((at, *token)),
                _ => {}
            }
        }
        // A name, a type, and COLLATE behind it.
        let [(_, Token::Name(_)), (_, Token::Word(_)), (collate, word), (collation, _), ..] =
            words.as_slice()
        else {
            return self.sql.into();
        };
        if !word.is("COLLATE") {
            return self.sql.into();
        }
        let said = all.iter().enumerate().filter(|(at, _)| at + 1 < *collate || at > collation);
        said.map(|(_, token)| token.as_str()).collect::<String>().into()
    }

    fn first_word(&self) -> Option<Token<'a>> {
        tokens(self.sql).find(|token| !matches!(token, Token::Space(_)))
    }
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
        let bare = table.without(true);
        assert!(
            !bare.contains("FOREIGN") && !bare.contains("\n  KEY") && bare.contains("FULLTEXT"),
            "{bare}"
        );
        assert!(bare.ends_with("PARTITION BY HASH (`id`)"));
        assert!(table.without(false).contains("\n  KEY `a`"));
    }

    #[test]
    fn a_collation_is_not_said_where_it_is_the_tables() {
        for (printed, made) in [
            ("\n `a` varchar(20) COLLATE latin1_german1_ci NOT NULL", "\n `a` varchar(20) NOT NULL"),
            ("`a` enum('x)',' COLLATE b') COLLATE utf8mb4_bin", "`a` enum('x)',' COLLATE b')"),
            (
                "`a` text CHARACTER SET ascii COLLATE ascii_bin",
                "`a` text CHARACTER SET ascii COLLATE ascii_bin",
            ),
            (
                "`a` int GENERATED ALWAYS AS (`b` collate x) VIRTUAL",
                "`a` int GENERATED ALWAYS AS (`b` collate x) VIRTUAL",
            ),
        ] {
            assert_eq!(Item::parse(printed).made(), made);
        }
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
