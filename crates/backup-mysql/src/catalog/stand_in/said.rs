//! What the definition of a view says of what it reads.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ddl::lex::Token;
use crate::ddl::quote::identifier;
use crate::ddl::view;

/// Partitions that are read alone, keys of hints, and whether it is read as of a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Named {
    partitions: BTreeSet<String>,
    keys: BTreeSet<String>,
    #[serde(default)]
    pub(super) versioned: bool,
}

/// A column that no view reads, whatever the types of the others are.
const OF_ITS_OWN: &str = "lifeboat_own";

impl Named {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// What is named of a table behind it.
    pub(super) fn of(all: &[Token<'_>], database: &str, table: &str) -> Self {
        let mut named = Self::default();
        for (at, three) in all.windows(3).enumerate() {
            let [of, Token::Other("."), name] = three else { continue };
            if of.name().as_deref() != Some(database) || name.name().as_deref() != Some(table) {
                continue;
            }
            let mut at = at + 3;
            if let Some((length, names)) = list(all, at, &["PARTITION"]) {
                at += length;
                named.partitions.extend(names);
            }
            let is = |at: usize, word: &str| all.get(at).is_some_and(|token| token.is(word));
            named.versioned |= [at, at + 1].iter().any(|at| is(*at, "FOR") && is(at + 1, "SYSTEM_TIME"));
            at += usize::from(matches!(all.get(at), Some(Token::Name(_))));
            while let Some((length, names)) = list(all, at, &HINTS) {
                at += length;
                named.keys.extend(names);
            }
        }
        named
    }

    pub(super) fn keys(&self) -> String {
        if self.is_empty() {
            return String::new();
        }
        let key = |name: &String| match name.as_str() {
            "PRIMARY" => format!(", PRIMARY KEY ({OF_ITS_OWN})"),
            name => format!(", KEY {} ({OF_ITS_OWN})", identifier(name)),
        };
        let keys: String = self.keys.iter().map(key).collect();
        format!(", {OF_ITS_OWN} INT{keys}")
    }

    pub(super) fn partitions(&self) -> String {
        if self.partitions.is_empty() {
            return String::new();
        }
        let partitions = self.partitions.iter().map(|name| format!("PARTITION {}", identifier(name)));
        let partitions = partitions.collect::<Vec<_>>().join(", ");
        format!(" PARTITION BY KEY ({OF_ITS_OWN}) ({partitions})")
    }
}

/// The words that a hint begins with, and those that may follow before its keys.
const HINTS: [&str; 3] = ["USE", "FORCE", "IGNORE"];
const BEFORE_KEYS: [&str; 7] = ["INDEX", "KEY", "FOR", "JOIN", "ORDER", "GROUP", "BY"];

/// The names in parentheses behind one of these words at this place, and how many tokens all of that is.
pub(super) fn list(all: &[Token<'_>], at: usize, words: &[&str]) -> Option<(usize, Vec<String>)> {
    let is_one_of = |token: &Token<'_>, words: &[&str]| words.iter().any(|word| token.is(word));
    let (first, rest) = all.get(at..)?.split_first()?;
    let between = rest.iter().take_while(|token| is_one_of(token, &BEFORE_KEYS)).count();
    if !is_one_of(first, words) || rest.get(between) != Some(&Token::Other("(")) {
        return None;
    }
    let inside = rest.get(between + 1..)?;
    let length = inside.iter().position(|token| *token == Token::Other(")"))?;
    let names = inside.get(..length)?.iter().filter_map(|token| token.name()).collect();
    Some((between + length + 3, names))
}

/// The columns of a table that are named with it or with one of its aliases.
pub(super) fn columns(all: &[Token<'_>], database: &str, table: &str) -> BTreeSet<String> {
    let name = |at: usize| all.get(at).and_then(|token| token.name());
    let dot = |at: usize| all.get(at) == Some(&Token::Other("."));
    let is_table = |at: usize| {
        name(at).as_deref() == Some(database) && dot(at + 1) && name(at + 2).as_deref() == Some(table)
    };
    let behind = |at: usize| at + 3 + list(all, at + 3, &["PARTITION"]).map_or(0, |(length, _)| length);
    let mut aliases: BTreeSet<_> =
        (0..all.len()).filter(|at| is_table(*at)).filter_map(|at| name(behind(at))).collect();
    // Of a view that is invalid the database is said of tables, and not always of columns.
    aliases.insert(table.to_owned());
    let mut found = BTreeSet::new();
    for at in 0..all.len() {
        if is_table(at) && dot(at + 3) {
            found.extend(name(at + 4));
        }
        let begins = at.checked_sub(1).is_none_or(|before| !dot(before));
        if begins && dot(at + 1) && !dot(at + 3) && name(at).is_some_and(|name| aliases.contains(&name)) {
            found.extend(name(at + 2));
        }
    }
    found
}

/// Whether a view counts by what has this name.
pub(super) fn counts(all: &[Token<'_>], database: &str, name: &str) -> bool {
    let named = |at: usize| all.get(at).and_then(|token| token.name());
    let is_it = |at: usize| {
        named(at).as_deref() == Some(database)
            && all.get(at + 1) == Some(&Token::Other("."))
            && named(at + 2).as_deref() == Some(name)
    };
    (0..all.len()).any(|at| view::is_counted(all, at) && is_it(at))
}

/// Whether columns of what is not there are named without its database, as MariaDB does those of a view.
pub(super) fn is_said_as_a_view(all: &[Token<'_>], database: &str, name: &str) -> bool {
    let (is_bare, is_qualified) = how_said(all, database, name);
    is_bare && !is_qualified
}

/// Whether they are all named with it, as MariaDB does those of a table, and MySQL those of both.
pub(super) fn is_said_as_a_table(all: &[Token<'_>], database: &str, name: &str) -> bool {
    let (is_bare, is_qualified) = how_said(all, database, name);
    is_qualified && !is_bare
}

fn how_said(all: &[Token<'_>], database: &str, name: &str) -> (bool, bool) {
    let named = |at: usize| all.get(at).and_then(|token| token.name());
    let dot = |at: usize| all.get(at) == Some(&Token::Other("."));
    let is_column = |at: &usize| named(*at).as_deref() == Some(name) && dot(at + 1);
    let (mut is_bare, mut is_qualified) = (false, false);
    for at in (0..all.len()).filter(is_column) {
        let begins = at.checked_sub(1).is_none_or(|before| !dot(before));
        is_bare |= begins;
        is_qualified |= !begins && at.checked_sub(2).and_then(named).as_deref() == Some(database);
    }
    (is_bare, is_qualified)
}

/// The functions that are called, each with the number of its arguments.
pub(super) fn calls(all: &[Token<'_>], database: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, pair) in all.windows(2).enumerate() {
        // Of a function that is not there the database may not be said. Those of the server itself have no quotes.
        let [called, Token::Other("(")] = pair else { continue };
        let Some(called) = called.name() else { continue };
        let before = |back: usize| at.checked_sub(back).and_then(|place| all.get(place));
        let is_others = before(1) == Some(&Token::Other("."))
            && before(2).and_then(|token| token.name()).as_deref() != Some(database);
        if is_others {
            continue;
        }
        let (mut depth, mut commas, mut is_empty) = (0usize, 0, true);
        for token in all.iter().skip(at + 1) {
            match token {
                Token::Other("(") => depth += 1,
                Token::Other(")") if depth <= 1 => break,
                Token::Other(")") => depth -= 1,
                Token::Other(",") if depth == 1 => commas += 1,
                _ => {}
            }
            is_empty &= depth == 1 && *token == Token::Other("(");
        }
        found.push((called, if is_empty { 0 } else { commas + 1 }));
    }
    found
}
