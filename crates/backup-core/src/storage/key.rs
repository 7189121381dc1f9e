//! The names of objects.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The name of an object: words of lower-case letters, digits, `.`, `_`, `-` separated by slashes.
///
/// No word begins with a dot or is empty, so a key never climbs out of its repository, and two keys never differ by
/// case only. The root, an empty key, is only a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The prefix of everything.
    pub const ROOT: Self = Self(String::new());

    /// The longest key, in bytes.
    pub const MAX_LENGTH: usize = 512;

    /// The key made of `words`.
    pub fn new<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> Result<Self> {
        let words: Vec<_> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
        words.join("/").parse()
    }

    /// The key below this one.
    pub fn join(&self, word: &str) -> Result<Self> {
        if self.0.is_empty() { word.parse() } else { format!("{}/{word}", self.0).parse() }
    }

    /// The whole key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its words.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|word| !word.is_empty())
    }

    /// Its last word.
    pub fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it is `prefix` or lies below it.
    pub fn is_below(&self, prefix: &Self) -> bool {
        prefix.0.is_empty()
            || self.0.strip_prefix(&prefix.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let word_is_good = |word: &str| {
            !word.is_empty()
                && !word.starts_with('.')
                && word
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
        };
        if text.len() <= Self::MAX_LENGTH && text.split('/').all(word_is_good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::damaged(format!("{text:?} cannot be the name of an object")))
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_repository_or_collide_are_refused() {
        let long = "a".repeat(600);
        for bad in
            ["", "/", "/a", "a/", "a//b", "..", "a/../b", ".hidden", "A", "a b", "a\0", "ä", "a\\b", &long]
        {
            assert!(bad.parse::<Key>().is_err(), "{bad:?}");
        }
        let key: Key = "chunks/ab/ab12".parse().unwrap();
        assert_eq!(key.name(), "ab12");
        assert!(key.is_below(&"chunks".parse().unwrap()));
        assert!(!key.is_below(&"chunk".parse().unwrap()));
        assert!(key.is_below(&Key::ROOT));
    }
}
