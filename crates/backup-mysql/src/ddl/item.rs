//! A column, key or constraint of a CREATE TABLE: what the server prints of it, and what has to be said to make it.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::lex::{Token, tokens, words};

/// A column, key or constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Item<'a> {
    pub(super) kind: Kind,
    pub(super) sql: &'a str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A key that is neither unique, nor full-text, nor spatial.
    PlainKey,
    /// A key whose place among the plain ones is not kept when it is made earlier than they.
    SpatialKey,
    FullTextKey,
    ForeignKey,
    /// What the table has to be made with.
    Other,
}

/// What is said of a column that has a default, or needs none.
const SAID: [&str; 8] = ["NOT", "DEFAULT", "GENERATED", "AS", "AUTO_INCREMENT", "SERIAL", "INVISIBLE", "ROW"];

impl<'a> Item<'a> {
    pub(super) fn parse(sql: &'a str) -> Self {
        let mut words = words(sql);
        let kind = match words.next() {
            Some(word) if word.is("KEY") => Kind::PlainKey,
            Some(word) if word.is("SPATIAL") || word.is("VECTOR") => Kind::SpatialKey,
            Some(word) if word.is("FULLTEXT") => Kind::FullTextKey,
            Some(word) if word.is("CONSTRAINT") && words.nth(1).is_some_and(|word| word.is("FOREIGN")) => {
                Kind::ForeignKey
            }
            _ => Kind::Other,
        };
        Self { kind, sql }
    }

    /// Names and words outside of parentheses.
    pub(super) fn words(&self) -> Vec<(usize, Token<'a>)> {
        let mut depth = 0usize;
        let mut words = Vec::new();
        for (at, token) in tokens(self.sql).enumerate() {
            match token {
                Token::Other("(") => depth += 1,
                Token::Other(")") => depth = depth.saturating_sub(1),
                Token::Name(_) | Token::Word(_) if depth == 0 => words.push((at, token)),
                _ => {}
            }
        }
        words
    }

    /// What is said behind a column's name and type; of anything else, nothing.
    fn said(&self) -> Vec<(usize, Token<'a>)> {
        match self.words().as_slice() {
            [(_, Token::Name(_)), (_, Token::Word(_)), said @ ..] => said.to_vec(),
            _ => Vec::new(),
        }
    }

    /// As it has to be said to become what it is. MySQL says the collation of a column whose character set is its table's, even where it was not said
    /// when the column was made; but remembers if it was. And a column that counts may be NULL only if that is said.
    pub(super) fn made(&self) -> Cow<'a, str> {
        let said = self.said();
        if let [(collate, word), (collation, _), ..] = said.as_slice()
            && word.is("COLLATE")
        {
            return self.without(collate - 1..=*collation).into();
        }
        let counts = said.iter().any(|(_, word)| word.is("AUTO_INCREMENT"));
        if counts && !said.iter().any(|(_, word)| word.is("NULL")) {
            let words = tokens(self.sql).map(|token| match token {
                Token::Word(word) if token.is("AUTO_INCREMENT") => format!("{word} NULL"),
                _ => token.as_str().to_owned(),
            });
            return words.collect::<String>().into();
        }
        self.sql.into()
    }

    pub(super) fn without(&self, left_out: RangeInclusive<usize>) -> String {
        let kept = tokens(self.sql).enumerate().filter(|(at, _)| !left_out.contains(at));
        kept.map(|(_, token)| token.as_str()).collect()
    }

    /// The character set of a column for which no collation is said, and the column without it.
    pub(super) fn unsaid_charset(&self) -> Option<(&'a str, String)> {
        let said = self.said();
        let [(character, first), (_, second), (set, charset), rest @ ..] = said.as_slice() else {
            return None;
        };
        let is_charset = first.is("CHARACTER") && second.is("SET");
        let has_collation = rest.first().is_some_and(|(_, word)| word.is("COLLATE"));
        (is_charset && !has_collation && !charset.is("binary"))
            .then(|| (charset.as_str(), self.without(character - 1..=*set)))
    }

    /// The first name in it.
    pub(super) fn name(&self) -> Option<String> {
        tokens(self.sql).find_map(Token::name)
    }

    /// The name of a column, in quotes.
    pub(super) fn column(&self) -> Option<&'a str> {
        match self.words().as_slice() {
            [(_, name @ Token::Name(_)), (_, Token::Word(_)), ..] => Some(name.as_str()),
            _ => None,
        }
    }

    /// Whether it is a column TIMESTAMP NOT NULL without a default.
    pub(super) fn is_undefaulted_timestamp(&self) -> bool {
        let words = self.words();
        let is_timestamp = words.get(1).is_some_and(|(_, word)| word.is("timestamp"));
        let said = self.said();
        let has_default =
            said.iter().any(|(_, word)| ["DEFAULT", "GENERATED", "AS"].iter().any(|one| word.is(one)));
        is_timestamp && self.is_not_null() && !has_default
    }

    /// Whether it is a column that cannot be NULL.
    pub(super) fn is_not_null(&self) -> bool {
        self.said().iter().any(|(_, word)| word.is("NOT"))
    }

    /// Such a column if it could.
    pub(super) fn nullable(&self) -> String {
        let not = self.said().into_iter().find(|(_, word)| word.is("NOT"));
        not.map_or_else(|| self.sql.to_owned(), |(at, _)| self.without(at..=at))
    }

    /// A column that can be NULL if it could not.
    pub(super) fn not_null(&self) -> String {
        let null = self.said().into_iter().find(|(_, word)| word.is("NULL"));
        let column = null.map_or_else(|| self.sql.to_owned(), |(at, _)| self.without(at - 1..=at));
        format!("{} NOT NULL", column.trim())
    }

    /// Whether it is a column of MariaDB that may be NULL and has no default: any but such a one says that it is NULL.
    pub(super) fn lacks_default(&self) -> bool {
        self.column().is_some() && !self.said().iter().any(|(_, word)| SAID.iter().any(|one| word.is(one)))
    }

    /// The name of a column of MySQL that may be NULL and has no default, not even NULL, which the server says of all types but two.
    pub(super) fn without_default(&self) -> Option<&'a str> {
        const NEVER: [&str; 2] = ["text", "blob"];
        let words = self.words();
        let [(_, name @ Token::Name(_)), (_, kind @ Token::Word(_)), said @ ..] = words.as_slice() else {
            return None;
        };
        let kind = kind.as_str();
        let has_none = NEVER.iter().any(|never| kind.ends_with(never));
        let is_said = said.iter().any(|(_, word)| SAID.iter().any(|one| word.is(one)));
        (!has_none && !is_said).then(|| name.as_str())
    }

    pub(super) fn first_word(&self) -> Option<Token<'a>> {
        words(self.sql).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_column_that_counts_may_be_null() {
        for (printed, made) in [
            (
                "`a` int AUTO_INCREMENT COMMENT 'AUTO_INCREMENT'",
                "`a` int AUTO_INCREMENT NULL COMMENT 'AUTO_INCREMENT'",
            ),
            ("`a` int NOT NULL AUTO_INCREMENT", "`a` int NOT NULL AUTO_INCREMENT"),
        ] {
            assert_eq!(Item::parse(printed).made(), made);
        }
    }
}
