//! Tables that no CREATE TABLE makes as the server prints them: they became so by what was done to them.

use std::collections::BTreeSet;

use super::{CreateTable, Item, names_in_parentheses};
use crate::ddl::lex::{Token, tokens, words};

/// A table for the moment.
const COLUMNS: &str = "lifeboat_columns";

impl<'a> CreateTable<'a> {
    /// The statements that make the table, with these foreign keys, and without the keys that are made later.
    pub(crate) fn statements(
        &self,
        is_mariadb: bool,
        keys_later: bool,
        foreign_keys: &[String],
    ) -> Vec<String> {
        let kept = self.kept(keys_later, foreign_keys);
        let undefaulted: Vec<_> =
            kept.iter().copied().filter(|item| is_mariadb && item.lacks_default()).collect();
        let (nullable, primary_late) = self.nullable_at_first(is_mariadb);
        // A table with a history is not altered.
        let is_versioned = tokens(self.tail).any(|token| token.is("VERSIONING"));
        let (Some(name), false) = (self.name(), is_versioned) else {
            return vec![self.said(&kept)];
        };
        if undefaulted.is_empty() && nullable.is_empty() {
            return vec![self.said(&kept)];
        }
        let is_nullable = |item: &Item<'_>| item.column().is_some_and(|name| nullable.contains(name));
        let is_late =
            |item: &&Item<'_>| primary_late && item.first_word().is_some_and(|word| word.is("PRIMARY"));
        let others = kept.iter().copied().filter(|item| !undefaulted.contains(item) && !is_late(item));
        let others: Vec<_> = others.collect();
        let items = others.iter().map(|item| match is_nullable(item) {
            true => Item::parse(&item.made()).nullable(),
            false => item.made().into_owned(),
        });
        let items = items.collect::<Vec<_>>().join(",");
        let mut statements = Vec::new();
        if undefaulted.is_empty() {
            statements.push(format!("{}{items}{}", self.head, self.tail));
        } else {
            statements.extend(self.selecting(&items, &undefaulted));
        }
        // What was selected stands behind all else.
        let (mut changes, mut before, mut is_behind) = (Vec::new(), None, false);
        for item in &kept {
            let Some(column) = item.column() else { continue };
            if undefaulted.contains(item) {
                is_behind = true;
            } else if let (true, Some(before)) = (is_behind, before) {
                changes.push(format!("MODIFY {} AFTER {before}", item.made().trim()));
            } else if is_nullable(item) && !primary_late {
                changes.push(format!("MODIFY {}", item.made().trim()));
            }
            before = Some(column);
        }
        changes.extend(kept.iter().copied().filter(is_late).map(|key| format!("ADD {}", key.sql.trim())));
        if !changes.is_empty() {
            statements.push(format!("ALTER TABLE {name} {}", changes.join(", ")));
        }
        statements
    }

    /// A column of MariaDB that may be NULL and has no default comes of a SELECT: out of one that had none and could not be NULL, and that finds nothing.
    fn selecting(&self, items: &str, undefaulted: &[&Item<'_>]) -> [String; 3] {
        let columns: Vec<_> = undefaulted.iter().map(|item| item.not_null()).collect();
        let names: Vec<_> = undefaulted.iter().filter_map(|item| item.column()).collect();
        let names: Vec<_> = names.iter().map(|name| format!("{COLUMNS}.{name}")).collect();
        let option =
            |word: &str| self.option(word).map_or_else(String::new, |value| format!(" {word}={value}"));
        let options = format!("{}{}", option("CHARSET"), option("COLLATE"));
        let table = if items.is_empty() {
            let (head, tail) = (self.head.trim_end_matches('('), self.tail.trim_start_matches(')'));
            format!("{head}{tail}")
        } else {
            format!("{}{items}{}", self.head, self.tail)
        };
        let names = names.join(",");
        [
            format!("CREATE TEMPORARY TABLE {COLUMNS} ({}){options}", columns.join(", ")),
            format!(
                "{table} SELECT {names} FROM (SELECT 1 AS lifeboat) one LEFT JOIN {COLUMNS} ON FALSE WHERE FALSE"
            ),
            format!("DROP TEMPORARY TABLE {COLUMNS}"),
        ]
    }

    /// The columns that could be NULL when the table got its keys, and whether it got the primary key behind the others: the server puts a unique key
    /// that can have no NULL before those that can, but not if it comes to be so later. MariaDB's that are by a hash of what they hold stand behind all
    /// others, as they came.
    fn nullable_at_first(&self, is_mariadb: bool) -> (BTreeSet<&'a str>, bool) {
        let column = |name: &String| {
            self.items.iter().find(|item| item.column().is_some() && item.name().as_ref() == Some(name))
        };
        let is_null = |name: &String| column(name).is_some_and(|item| !item.is_not_null());
        let has_hashes = is_mariadb && self.option("ENGINE") != Some("MEMORY");
        let is_hash = |item: &Item<'_>| {
            let all: Vec<_> = words(item.sql).collect();
            has_hashes && all.windows(2).any(|two| matches!(two, [a, b] if a.is("USING") && b.is("HASH")))
        };
        let keys = |word: &'static str| {
            let of_it = self
                .items
                .iter()
                .filter(move |item| item.first_word().is_some_and(|first| first.is(word)) && !is_hash(item));
            of_it.map(|item| names_in_parentheses(tokens(item.sql)))
        };
        let (mut nullable, mut primary_late) = (BTreeSet::new(), false);
        let uniques: Vec<_> = keys("UNIQUE").collect();
        let Some(first) = uniques.iter().position(|key| key.iter().any(is_null)) else {
            return (nullable, primary_late);
        };
        let (early, late) = uniques.split_at(first);
        let early: BTreeSet<_> = early.iter().flatten().collect();
        let primary: Vec<_> = keys("PRIMARY").flatten().collect();
        for key in late.iter().filter(|key| !key.iter().any(is_null)) {
            let may_be: Vec<_> = key.iter().filter(|name| !early.contains(name)).collect();
            let other = may_be.iter().find(|name| !primary.contains(name));
            primary_late |= other.is_none() && !may_be.is_empty();
            let chosen = other.or(may_be.first()).and_then(|name| column(name)?.column());
            nullable.extend(chosen);
        }
        (nullable, primary_late)
    }
}

/// A CREATE TABLE that says ENCRYPTED of the table and has subpartitions: what is said of their partitions, which alone are asked, the server does not print.
pub(crate) fn may_hide_encryption(sql: &str) -> bool {
    let all: Vec<_> = words(sql).collect();
    let is_encrypted = |three: &[Token<'_>]| match three {
        [option, Token::Other("="), Token::Text(value)] => {
            let option = option.name().unwrap_or_else(|| option.as_str().to_owned());
            option.eq_ignore_ascii_case("encrypted") && value.trim_matches('\'').eq_ignore_ascii_case("yes")
        }
        _ => false,
    };
    all.windows(3).any(is_encrypted) && all.iter().any(|token| token.is("SUBPARTITION"))
}

/// The same where no partition can be encrypted.
pub(crate) fn with_unencrypted_partitions(sql: &str) -> String {
    let all: Vec<_> = tokens(sql).collect();
    let opens = |at: usize| {
        all.get(at) == Some(&Token::Other("(")) && all.get(at + 1).is_some_and(|next| next.is("SUBPARTITION"))
    };
    let said = all.iter().enumerate().map(|(at, token)| match opens(at) {
        true => format!("ENCRYPTED='NO' {}", token.as_str()),
        false => token.as_str().to_owned(),
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_without_a_default_come_of_a_select() {
        let table = "CREATE TABLE `t` (\n  `x` int(11) COMMENT 'c',\n  `k` text DEFAULT NULL,\n  `y` timestamp NULL,\n  `z` int(11) NOT NULL,\n  KEY `x` (`x`)\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_bin";
        assert_eq!(
            CreateTable::parse(table).unwrap().statements(true, false, &[]),
            [
                "CREATE TEMPORARY TABLE lifeboat_columns (`x` int(11) COMMENT 'c' NOT NULL, `y` timestamp NOT NULL) CHARSET=latin1 COLLATE=latin1_bin",
                "CREATE TABLE `t` (\n  `k` text DEFAULT NULL,\n  `z` int(11) NOT NULL,\n  KEY `x` (`x`)\n) ENGINE=InnoDB DEFAULT CHARSET=latin1 COLLATE=latin1_bin \
                 SELECT lifeboat_columns.`x`,lifeboat_columns.`y` FROM (SELECT 1 AS lifeboat) one LEFT JOIN lifeboat_columns ON FALSE WHERE FALSE",
                "DROP TEMPORARY TABLE lifeboat_columns",
                "ALTER TABLE `t` MODIFY `k` text DEFAULT NULL AFTER `x`, MODIFY `z` int(11) NOT NULL AFTER `y`",
            ]
        );
        let alone = CreateTable::parse("CREATE TABLE `t` (\n  `x` int(11)\n) ENGINE=InnoDB").unwrap();
        assert_eq!(
            alone.statements(true, false, &[])[1].split(" SELECT").next(),
            Some("CREATE TABLE `t`  ENGINE=InnoDB")
        );
    }

    #[test]
    fn a_unique_key_that_was_nullable_stays_in_its_place() {
        let table = "CREATE TABLE `u` (`a` int(11) DEFAULT NULL,`b` int(11) NOT NULL,`c` timestamp NOT NULL DEFAULT current_timestamp(),UNIQUE KEY `ub` (`b`),UNIQUE KEY `ua` (`a`),UNIQUE KEY `uc` (`b`,`c`)) ENGINE=InnoDB";
        assert_eq!(
            CreateTable::parse(table).unwrap().statements(true, false, &[]),
            [
                "CREATE TABLE `u` (`a` int(11) DEFAULT NULL,`b` int(11) NOT NULL,`c` timestamp  NULL DEFAULT current_timestamp(),UNIQUE KEY `ub` (`b`),UNIQUE KEY `ua` (`a`),UNIQUE KEY `uc` (`b`,`c`)) ENGINE=InnoDB",
                "ALTER TABLE `u` MODIFY `c` timestamp NOT NULL DEFAULT current_timestamp()",
            ]
        );
        let primary = "CREATE TABLE `u` (`a` int(11) NOT NULL,`b` int(11) DEFAULT NULL,PRIMARY KEY (`a`),UNIQUE KEY `ub` (`b`),UNIQUE KEY `ua` (`a`)) ENGINE=InnoDB";
        assert_eq!(
            CreateTable::parse(primary).unwrap().statements(true, false, &[]),
            [
                "CREATE TABLE `u` (`a` int(11)  NULL,`b` int(11) DEFAULT NULL,UNIQUE KEY `ub` (`b`),UNIQUE KEY `ua` (`a`)) ENGINE=InnoDB",
                "ALTER TABLE `u` ADD PRIMARY KEY (`a`)",
            ]
        );
        let usual = "CREATE TABLE `u` (`a` int(11) DEFAULT NULL,`b` int(11) NOT NULL,UNIQUE KEY `ub` (`b`),UNIQUE KEY `ua` (`a`)) ENGINE=InnoDB";
        assert_eq!(CreateTable::parse(usual).unwrap().statements(true, false, &[]), [usual]);
    }

    #[test]
    fn partitions_are_said_to_be_unencrypted() {
        let table = "CREATE TABLE `t` (`a` int(11)) ENGINE=InnoDB `ENCRYPTED`='YES'\n PARTITION BY RANGE (`a`)\nSUBPARTITION BY HASH (`a`)\n(PARTITION `p` VALUES LESS THAN (100)\n (SUBPARTITION `s` ENGINE = InnoDB))";
        assert!(may_hide_encryption(table) && !may_hide_encryption(&table.replace("YES", "NO")));
        assert!(!may_hide_encryption(&table.replace("SUBPARTITION", "COMMENT 'SUBPARTITION'")));
        assert!(
            with_unencrypted_partitions(table)
                .ends_with("(100)\n ENCRYPTED='NO' (SUBPARTITION `s` ENGINE = InnoDB))")
        );
    }
}
