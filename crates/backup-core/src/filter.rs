//! Patterns that select tables.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};

/// `table`, `schema.table` or `database.schema.table`, each with `*` for any run of characters.
///
/// A name that holds a dot, a star or a quote is written in the quotes of any of the databases: `"a.b"`,
/// `` `a.b` `` or `[a.b]`, the closing quote doubled within; inside quotes `*` is a star.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    words: Vec<Vec<Glob>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Glob {
    Char(char),
    Any,
}

impl Pattern {
    /// Whether it selects the table called `name` in `schema` of `database`. Words that the pattern leaves
    /// out match anything; words that the database does not have match nothing but `*`.
    pub fn matches(&self, database: Option<&str>, schema: Option<&str>, name: &str) -> bool {
        let names = [Some(name), schema, database];
        self.words.iter().rev().zip(names).all(|(word, name)| match name {
            Some(name) => glob_matches(word, name),
            None => word.iter().all(|glob| *glob == Glob::Any),
        })
    }
}

/// Matches in time proportional to the product of the lengths: at a mismatch only the last star gives way.
fn glob_matches(pattern: &[Glob], name: &str) -> bool {
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (Some(Glob::Any), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(Glob::Char(expected)), Some(found)) if expected == found => {
                p += 1;
                n += 1;
            }
            (None, None) => return true,
            _ => match star {
                Some((at, from)) if from < name.len() => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                _ => return false,
            },
        }
    }
}

impl FromStr for Pattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let malformed = |why: &str| {
            Error::usage(format!("{text:?} is not a table pattern: {why}"))
                .hint("write table, schema.table or database.schema.table, with * for any characters")
        };
        let mut words = vec![Vec::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let word = words.last_mut().ok_or_else(|| malformed("it is empty"))?;
            let close = match c {
                '"' | '`' => c,
                '[' => ']',
                '.' => {
                    words.push(Vec::new());
                    continue;
                }
                '*' => {
                    word.push(Glob::Any);
                    continue;
                }
                other => {
                    word.push(Glob::Char(other));
                    continue;
                }
            };
            loop {
                match chars.next() {
                    None => return Err(malformed("a quote is not closed")),
                    Some(c) if c == close && chars.peek() == Some(&close) => {
                        chars.next();
                        word.push(Glob::Char(close));
                    }
                    Some(c) if c == close => break,
                    Some(c) => word.push(Glob::Char(c)),
                }
            }
        }
        if words.len() > 3 {
            return Err(malformed("it has more than three names"));
        }
        if words.iter().any(Vec::is_empty) {
            return Err(malformed("a name in it is empty"));
        }
        Ok(Self { text: text.to_owned(), words })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Patterns to include and to exclude. Without any to include, everything is; excluding wins.
///
/// It remembers which patterns matched anything, so that one that did not can be refused: a mistyped table name must
/// not become a backup without the table. Clones share that memory.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Arc<[(Pattern, AtomicBool)]>,
    exclude: Arc<[(Pattern, AtomicBool)]>,
    /// Tables that are not selected whatever the patterns say.
    left_out: Arc<BTreeSet<(Option<String>, String)>>,
}

impl Filter {
    /// Selects what matches any of `include` (or all, if there are none) and none of `exclude`.
    pub fn new(
        include: impl IntoIterator<Item = Pattern>,
        exclude: impl IntoIterator<Item = Pattern>,
    ) -> Self {
        let with_memory = |pattern| (pattern, AtomicBool::new(false));
        Self {
            include: include.into_iter().map(with_memory).collect(),
            exclude: exclude.into_iter().map(with_memory).collect(),
            left_out: Arc::default(),
        }
    }

    /// The same without these tables, by schema and name.
    #[must_use]
    pub fn without(&self, tables: impl IntoIterator<Item = (Option<String>, String)>) -> Self {
        Self { left_out: Arc::new(tables.into_iter().collect()), ..self.clone() }
    }

    /// Whether there are patterns to include: then nothing comes that was not asked for, and is not needed.
    pub fn has_includes(&self) -> bool {
        !self.include.is_empty()
    }

    /// Whether it selects everything.
    pub fn is_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty() && self.left_out.is_empty()
    }

    /// Whether it selects the table called `name` in `schema` of `database`.
    pub fn selects(&self, database: Option<&str>, schema: Option<&str>, name: &str) -> bool {
        // Every pattern is asked, so that each that matches is remembered.
        let any = |patterns: &[(Pattern, AtomicBool)]| {
            patterns.iter().fold(false, |any, (pattern, matched)| {
                let matches = pattern.matches(database, schema, name);
                matched.fetch_or(matches, Ordering::Relaxed);
                any | matches
            })
        };
        let excluded = any(&self.exclude);
        let included = any(&self.include) || self.include.is_empty();
        let is_left_out = !self.left_out.is_empty()
            && self.left_out.contains(&(schema.map(str::to_owned), name.to_owned()));
        included && !excluded && !is_left_out
    }

    /// Whether it selects something that is no table and not of one, called `name` in `schema` of `database`: a pattern speaks of such
    /// things only if it names their schema. The schema itself is what has no name in it.
    pub fn selects_in_schema(&self, database: Option<&str>, schema: Option<&str>, name: &str) -> bool {
        let any = |patterns: &[(Pattern, AtomicBool)]| {
            patterns.iter().filter(|(pattern, _)| pattern.words.len() > 1).fold(
                false,
                |any, (pattern, matched)| {
                    let matches = schema.is_some() && pattern.matches(database, schema, name);
                    matched.fetch_or(matches && !name.is_empty(), Ordering::Relaxed);
                    any | matches
                },
            )
        };
        let excluded = any(&self.exclude);
        let included = any(&self.include) || self.include.is_empty();
        included && !excluded
    }

    /// An error that names the patterns which have matched nothing so far.
    pub fn refuse_unmatched(&self) -> Result<()> {
        let unmatched: Vec<_> = (self.include.iter().chain(self.exclude.iter()))
            .filter(|(_, matched)| !matched.load(Ordering::Relaxed))
            .map(|(pattern, _)| pattern.text.as_str())
            .collect();
        if unmatched.is_empty() {
            return Ok(());
        }
        Err(Error::usage(format!("no table matches {}", unmatched.join(", "))).hint(
            "names are compared exactly, letter case included; `lifeboat show` lists what a backup has",
        ))
    }

    /// The patterns as they were written: to include, to exclude.
    pub fn patterns(&self) -> (Vec<String>, Vec<String>) {
        let texts =
            |patterns: &[(Pattern, AtomicBool)]| patterns.iter().map(|(p, _)| p.text.clone()).collect();
        (texts(&self.include), texts(&self.exclude))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, schema: Option<&str>, name: &str) -> bool {
        pattern.parse::<Pattern>().unwrap().matches(Some("db"), schema, name)
    }

    #[test]
    fn patterns_match_names_schemas_and_stars() {
        assert!(matches("orders", Some("public"), "orders"));
        assert!(!matches("orders", Some("public"), "orders2"));
        assert!(matches("or*s", None, "orders"));
        assert!(matches("*", None, ""));
        assert!(matches("public.o*", Some("public"), "orders"));
        assert!(!matches("other.o*", Some("public"), "orders"));
        assert!(!matches("public.orders", None, "orders"));
        assert!(matches("*.orders", None, "orders"));
        assert!(matches("db.public.*", Some("public"), "x"));
        assert!(!matches("db2.public.*", Some("public"), "x"));
        assert!(matches("\"a.b*\"", None, "a.b*"));
        assert!(!matches("\"a.b*\"", None, "a.bc"));
        assert!(matches("`a``b`", None, "a`b"));
        assert!(matches("[a]]b]", None, "a]b"));
        assert!(matches("a*b*c", None, "aXbYbZc"));
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for text in ["", ".", "a.", "a.b.c.d", "\"open"] {
            assert!(text.parse::<Pattern>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_a_pattern_with_a_schema_speaks_of_what_is_no_table() {
        let filter = |include: &[&str], exclude: &[&str]| {
            let parse =
                |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Pattern>>();
            Filter::new(parse(include), parse(exclude))
        };
        let selects = |filter: &Filter, name| filter.selects_in_schema(Some("db"), Some("s"), name);
        assert!(selects(&filter(&[], &["f"]), "f"));
        assert!(!selects(&filter(&[], &["s.f"]), "f"));
        assert!(!selects(&filter(&["f"], &[]), "f"));
        assert!(selects(&filter(&["s.*"], &["s.g"]), "f"));
        // The schema goes with all that is in it.
        assert!(!selects(&filter(&[], &["s.*"]), ""));
        assert!(selects(&filter(&[], &["s.f*"]), ""));
    }

    #[test]
    fn a_table_is_left_out_by_its_name_alone() {
        let filter = Filter::default().without([(Some("s".to_owned()), "a*".to_owned())]);
        assert!(!filter.is_everything() && !filter.has_includes());
        assert!(!filter.selects(None, Some("s"), "a*"));
        assert!(filter.selects(None, Some("s"), "ab") && filter.selects(None, Some("t"), "a*"));
    }

    #[test]
    fn a_pattern_that_matches_nothing_is_named() {
        let filter = Filter::new(["a*".parse().unwrap()], ["nope".parse().unwrap()]);
        assert!(filter.selects(None, None, "abc"));
        assert!(!filter.selects(None, None, "xyz"));
        let error = filter.refuse_unmatched().unwrap_err().to_string();
        assert!(error.contains("nope") && !error.contains("a*"), "{error}");
    }
}
