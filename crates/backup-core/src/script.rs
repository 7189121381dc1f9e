//! Scripts: how an engine says its parts in SQL.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::engine::ServerInfo;
use crate::error::Result;
use crate::part::Part;
use crate::reader::{Item, Whole, text};

/// What a script is told about the backup that it is made of.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ScriptInfo {
    /// The server that was backed up.
    pub server: ServerInfo,
    /// When the backup began.
    pub started: DateTime<Utc>,
}

impl ScriptInfo {
    /// A script of a backup of `server`, begun at `started`.
    pub fn new(server: ServerInfo, started: DateTime<Utc>) -> Self {
        Self { server, started }
    }
}

/// How an engine says its parts in SQL. It needs no connection, so a backup can be exported as a script
/// when its server is long gone.
///
/// The script loads with the database's own client as well as with us. Names and comments are inert in it: a newline
/// in one cannot start a statement. Methods are called on blocking threads, `part` for several parts at once.
pub trait ScriptWriter: Send + Sync {
    /// The command by which the database's own client loads a script, `FILE` standing for it.
    fn client(&self) -> &'static str;

    /// Writes what comes before all parts.
    fn header(&self, info: &ScriptInfo, script: &mut Script<'_>) -> Result<()>;

    /// Writes one part.
    fn part(&self, part: &Part, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()>;

    /// Writes what comes behind all parts.
    fn footer(&self, info: &ScriptInfo, script: &mut Script<'_>) -> Result<()>;
}

/// Where a [`ScriptWriter`] reads a part from.
pub trait PartSource {
    /// The next piece; `None` at the end. Blocks.
    fn next(&mut self) -> Result<Option<Item<'_>>>;

    /// The next row or statement, whole; `None` at the end. Errors: `Damaged` if it is cut off, or longer than 1 GiB.
    fn next_whole(&mut self) -> Result<Option<Vec<u8>>> {
        let mut whole = Whole::default();
        while let Some(item) = self.next()? {
            if whole.add(item)? {
                return Ok(Some(whole.0));
            }
        }
        whole.end()
    }

    /// The next statement, whole; `None` at the end. Errors: as those of [`Self::next_whole`], and `Damaged` if it is not UTF-8.
    fn statement(&mut self) -> Result<Option<String>> {
        self.next_whole()?.map(text).transpose()
    }
}

/// A stretch of a script that our own restore hands to the engine as it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Place {
    /// What it is.
    pub kind: PlaceKind,
    /// Where it starts, from the start of its part.
    pub offset: u64,
    /// How many bytes it is.
    pub length: u64,
}

/// What a [`Place`] holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PlaceKind {
    /// One statement, without what ends it.
    Statement,
    /// Rows in the part's own layout, each ended by a newline.
    Rows,
}

/// The script while it is written. What is written through [`Write`] is for the database's own client alone;
/// statements and rows are for our restore too, which finds them by their places and never parses SQL.
pub struct Script<'a> {
    out: &'a mut dyn Write,
    written: u64,
    places: Vec<Place>,
}

impl<'a> Script<'a> {
    /// A script that goes to `out`.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, written: 0, places: Vec::new() }
    }

    /// Writes one statement, without the `;` (or whatever else ends it for the client), which the caller
    /// writes behind it.
    pub fn statement(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.place(PlaceKind::Statement, write)
    }

    /// Writes rows in the part's own layout, each ended by a newline.
    pub fn rows(&mut self, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.place(PlaceKind::Rows, write)
    }

    fn place(&mut self, kind: PlaceKind, write: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let offset = self.written;
        write(self)?;
        self.places.push(Place { kind, offset, length: self.written - offset });
        Ok(())
    }

    /// How many bytes were written, and the places among them.
    pub fn into_places(self) -> (u64, Vec<Place>) {
        (self.written, self.places)
    }
}

impl Write for Script<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.written += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl std::fmt::Debug for Script<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Script").field("written", &self.written).finish_non_exhaustive()
    }
}
