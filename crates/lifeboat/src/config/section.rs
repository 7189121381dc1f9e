//! One table of the file while it is being read: keys are taken out of it, and what is left over is an error.

use std::fmt::Display;
use std::path::Path;

use backup_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, ValueDeserializer};

use super::nearest;

/// The text of a file, to say on which line something is.
pub(super) struct Text<'a> {
    text: &'a str,
    path: &'a Path,
}

impl<'a> Text<'a> {
    pub(super) fn new(text: &'a str, path: &'a Path) -> Self {
        Self { text, path }
    }

    /// An error about what stands at the byte `offset`. It never repeats the line, which may hold a password.
    fn error(&self, offset: usize, message: impl Into<String>) -> Error {
        let line = 1 + self.text.bytes().take(offset).filter(|b| *b == b'\n').count();
        Error::new(ErrorKind::Config, message.into()).during(format!("{}, line {line}", self.path.display()))
    }
}

/// A key with its place, and its value.
type Entry<'a> = (String, usize, Spanned<DeValue<'a>>);

/// A table of the file.
pub(super) struct Section<'a> {
    text: &'a Text<'a>,
    name: String,
    offset: usize,
    entries: Vec<Entry<'a>>,
    /// The keys that were asked for: the ones that there are.
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(text: &'a Text<'a>) -> Result<Self> {
        let table = DeTable::parse(text.text).map_err(|error| {
            text.error(error.span().map_or(0, |span| span.start), format!("not TOML: {}", error.message()))
        })?;
        Ok(Self::new(text, String::new(), 0, table.into_inner()))
    }

    fn new(text: &'a Text<'a>, name: String, offset: usize, table: DeTable<'a>) -> Self {
        let entries = table.into_iter().map(|(key, value)| {
            let offset = key.span().start;
            (key.into_inner().into_owned(), offset, value)
        });
        Self { text, name, offset, entries: entries.collect(), known: Vec::new() }
    }

    /// Its name, as it stands in the file between brackets.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// An error about the whole of it.
    pub(super) fn error(&self, message: impl Into<String>) -> Error {
        self.text.error(self.offset, message)
    }

    /// Takes the value of `key` out, if it is there.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>> {
        let Some((_, offset, value)) = self.take_entry(key) else { return Ok(None) };
        let value = T::deserialize(ValueDeserializer::from(value));
        value.map(Some).map_err(|error| {
            // Not what it is, which may be a password in the wrong place.
            let wrong = error.message();
            let wrong = wrong
                .rsplit_once(", expected ")
                .map_or_else(|| wrong.to_owned(), |(_, good)| format!("expected {good}"));
            self.text.error(offset, format!("{key}: {wrong}"))
        })
    }

    /// Takes the value of `key` out, if it is there, and refuses it for `why` unless it is `good`.
    pub(super) fn take_if<T: DeserializeOwned + Copy>(
        &mut self,
        key: &'static str,
        good: impl Fn(T) -> bool,
        why: &str,
    ) -> Result<Option<T>> {
        let offset = self.offset_of(key);
        match self.take(key)? {
            Some(value) if !good(value) => Err(self.refused(offset, key, &why)),
            value => Ok(value),
        }
    }

    /// Takes the value of `key` out, if it is there, as `convert` understands it.
    pub(super) fn take_with<T>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>> {
        let offset = self.offset_of(key);
        let value: Option<String> = self.take(key)?;
        let converted = value.map(|value| convert(&value)).transpose();
        converted.map_err(|error| self.refused(offset, key, &error))
    }

    /// Takes the list called `key` out, empty if it is not there.
    pub(super) fn take_list<T>(
        &mut self,
        key: &'static str,
        convert: impl Fn(&str) -> Result<T>,
    ) -> Result<Vec<T>> {
        let offset = self.offset_of(key);
        let values: Vec<String> = self.take(key)?.unwrap_or_default();
        let converted = values.iter().map(|value| convert(value)).collect::<Result<_>>();
        converted.map_err(|error| self.refused(offset, key, &error))
    }

    /// Takes the table called `key` out, if it is there.
    pub(super) fn section(&mut self, key: &'static str) -> Result<Option<Self>> {
        self.take_entry(key).map(|entry| self.below(entry)).transpose()
    }

    /// All that is left in it, which must be tables.
    pub(super) fn sections(mut self) -> Result<Vec<(String, Self)>> {
        std::mem::take(&mut self.entries)
            .into_iter()
            .map(|entry| Ok((entry.0.clone(), self.below(entry)?)))
            .collect()
    }

    /// Refuses those of `keys` that are there: they mean something, but not yet.
    pub(super) fn refuse_later(&self, keys: &[&str]) -> Result<()> {
        match self.entries.iter().find(|(key, ..)| keys.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, offset, _)) => Err(self
                .text
                .error(*offset, format!("{key:?}{} is not supported by this version yet", self.place()))
                .hint("remove it: nothing that is asked for here is silently left out")),
        }
    }

    /// Refuses whatever was not taken.
    pub(super) fn finish(self) -> Result<()> {
        let Some((key, offset, _)) = self.entries.iter().min_by_key(|(_, offset, _)| *offset) else {
            return Ok(());
        };
        let error = self.text.error(*offset, format!("unknown key {key:?}{}", self.place()));
        Err(match nearest(key, self.known.iter().copied()) {
            Some(near) => error.hint(format!("did you mean {near:?}?")),
            None => error.hint(format!("there are {}", self.known.join(", "))),
        })
    }

    fn take_entry(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.known.push(key);
        let at = self.entries.iter().position(|(name, ..)| name == key)?;
        Some(self.entries.swap_remove(at))
    }

    fn offset_of(&self, key: &str) -> usize {
        self.entries.iter().find(|(name, ..)| name == key).map_or(self.offset, |(_, offset, _)| *offset)
    }

    fn below(&self, (key, offset, value): Entry<'a>) -> Result<Self> {
        let name = if self.name.is_empty() { key } else { format!("{}.{key}", self.name) };
        match value.into_inner() {
            DeValue::Table(table) => Ok(Self::new(self.text, name, offset, table)),
            _ => Err(self.text.error(offset, format!("{name:?} must be a table: write [{name}]"))),
        }
    }

    fn refused(&self, offset: usize, key: &str, error: &dyn Display) -> Error {
        self.text.error(offset, format!("{key}: {error}"))
    }

    fn place(&self) -> String {
        if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) }
    }
}
