//! Flags that several commands have, and how the values of flags are read.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use lifeboat::codec::codecs;
use lifeboat::{BackupType, Content, Format, Position, Signer};

/// Which half of a database is wanted.
#[derive(Debug, clap::Args)]
pub(super) struct Half {
    /// Tables, indexes, views and the like, without rows
    #[arg(long, conflicts_with = "data_only")]
    schema_only: bool,
    /// Rows only
    #[arg(long)]
    data_only: bool,
}

impl Half {
    pub(super) fn content(&self) -> Content {
        match (self.schema_only, self.data_only) {
            (true, _) => Content::SchemaOnly,
            (_, true) => Content::DataOnly,
            _ => Content::All,
        }
    }
}

/// What sealed backups are read with, and whom to believe.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Reading {
    /// An age identity file that opens sealed backups [env: LIFEBOAT_IDENTITY_FILE]
    #[arg(long = "identity", value_name = "FILE")]
    pub(crate) identities: Vec<PathBuf>,
    /// Believe backups that this key signed, as `init` printed it
    #[arg(long = "signer", value_name = "KEY")]
    pub(crate) signers: Vec<Signer>,
    /// Take backups that nobody known signed
    #[arg(long)]
    pub(crate) trust_unsigned: bool,
}

/// A format by its name.
pub(super) fn format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["sql", "binary", "compressed"]).map(|name| match name.as_str() {
        "binary" => Format::Binary,
        "compressed" => Format::Compressed,
        _ => Format::Sql,
    })
}

/// A format that is a single file, by its name.
pub(super) fn file_format() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(["sql", "compressed"])
        .map(|name| if name == "compressed" { Format::Compressed } else { Format::Sql })
}

/// A type of backup by its name.
pub(super) fn backup_type() -> impl TypedValueParser<Value = BackupType> {
    PossibleValuesParser::new(["full", "incremental", "differential"]).map(|name| match name.as_str() {
        "incremental" => BackupType::Incremental,
        "differential" => BackupType::Differential,
        _ => BackupType::Full,
    })
}

/// A codec that is compiled in, by its name.
pub(super) fn codec() -> PossibleValuesParser {
    PossibleValuesParser::new(codecs().iter().map(|codec| codec.name()))
}

/// A number of parts to work on at once.
pub(super) fn jobs() -> impl TypedValueParser<Value = usize> {
    clap::value_parser!(u16).range(1..=lifeboat::MAX_JOBS as i64).map(usize::from)
}

/// A tag: `K=V`.
pub(super) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it like team=web".to_owned()),
    }
}

/// A point in time.
pub(super) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|error| format!("{error}; write it like 2025-01-31T23:59:59Z or 2025-01-31T23:59:59+02:00"))
}

/// A position in a change log, as `show` prints it: JSON, or a text without its quotes.
#[allow(clippy::unnecessary_wraps, reason = "what a value parser is")]
pub(super) fn position(text: &str) -> Result<Position, String> {
    Ok(Position(serde_json::from_str(text).unwrap_or_else(|_| text.into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_key_and_a_value() {
        assert_eq!(tag("team=web"), Ok(("team".to_owned(), "web".to_owned())));
        assert_eq!(tag("note=a=b"), Ok(("note".to_owned(), "a=b".to_owned())));
        assert_eq!(tag("note="), Ok(("note".to_owned(), String::new())));
        assert!(tag("team").is_err() && tag("=web").is_err() && tag("").is_err());
    }

    #[test]
    fn a_position_is_typed_as_it_is_shown() {
        for value in
            [serde_json::json!("0/16B3748"), 4711.into(), serde_json::json!({ "file": "a", "at": 4 })]
        {
            assert_eq!(position(&crate::output::word(&value)), Ok(Position(value)));
        }
        assert_eq!(position("\"12\""), Ok(Position("12".into())));
    }

    #[test]
    fn a_time_has_a_zone() {
        assert_eq!(time("2025-01-31T01:00:00+01:00").unwrap().to_rfc3339(), "2025-01-31T00:00:00+00:00");
        assert!(time("2025-01-31T01:00:00").is_err() && time("yesterday").is_err());
    }

    #[test]
    fn every_name_of_a_format_and_a_type_is_the_one_that_json_has() {
        fn value<T: Send + Sync + Clone + 'static>(
            parser: impl TypedValueParser<Value = T>,
            text: &str,
        ) -> clap::error::Result<T> {
            parser.parse_ref(&clap::Command::new("test"), None, text.as_ref())
        }
        for name in ["sql", "binary", "compressed"] {
            assert_eq!(crate::output::word(&value(format(), name).unwrap()), name);
        }
        for name in ["full", "incremental", "differential"] {
            assert_eq!(crate::output::word(&value(backup_type(), name).unwrap()), name);
        }
        assert!(value(jobs(), "0").is_err() && value(jobs(), "257").is_err());
        assert_eq!(value(jobs(), "8").unwrap(), 8);
        assert!(value(file_format(), "binary").is_err());
    }
}
