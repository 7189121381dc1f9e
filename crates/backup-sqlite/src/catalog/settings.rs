//! What a database says about itself outside of its schema.

use backup_core::{Error, Result};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::connect::journal_mode;
use crate::error::Doing;

/// The encoding in which a database keeps text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) enum Encoding {
    #[default]
    #[serde(rename = "UTF-8")]
    Utf8,
    #[serde(rename = "UTF-16le")]
    Utf16Le,
    #[serde(rename = "UTF-16be")]
    Utf16Be,
}

impl Encoding {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16le",
            Self::Utf16Be => "UTF-16be",
        }
    }

    pub(crate) fn of(connection: &Connection) -> Result<Self> {
        let name: String =
            connection.query_row("PRAGMA encoding", (), |row| row.get(0)).doing(|| "read the encoding")?;
        [Self::Utf8, Self::Utf16Le, Self::Utf16Be]
            .into_iter()
            .find(|encoding| encoding.name() == name)
            .ok_or_else(|| Error::unsupported(format!("the database has the unknown encoding {name:?}")))
    }

    /// Sets it, on a database that has nothing in it yet.
    pub(crate) fn statement(self) -> String {
        format!("PRAGMA encoding='{}'", self.name())
    }
}

/// What makes a new database write ahead. Our restore does so at the end only: it loads without any journal.
pub(crate) const WRITE_AHEAD: &str = "PRAGMA journal_mode=WAL";

/// The statements that give a new, empty database the settings of this one.
pub(crate) fn statements(connection: &Connection) -> Result<Vec<String>> {
    let number = |pragma: &str| -> Result<i64> {
        connection
            .query_row(&format!("PRAGMA main.{pragma}"), (), |row| row.get(0))
            .doing(|| format!("read the setting {pragma}"))
    };
    let mut statements = vec![
        Encoding::of(connection)?.statement(),
        format!("PRAGMA page_size={}", number("page_size")?),
        format!("PRAGMA auto_vacuum={}", number("auto_vacuum")?),
    ];
    if journal_mode(connection)? == "wal" {
        statements.push(WRITE_AHEAD.to_owned());
    }
    // These two write, and with that the ones before are fixed.
    statements.push(format!("PRAGMA user_version={}", number("user_version")?));
    statements.push(format!("PRAGMA application_id={}", number("application_id")?));
    Ok(statements)
}
