//! The file that is to be restored: what is there, and putting something else in its place.
//!
//! SQLite finds a journal by the name of its database. A journal of the old file that was left beside the new one would be
//! played into it, so the old database is always closed down properly, or taken away with its journals.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use backup_core::{Ctx, During, Error, ErrorKind, Existing, Result};
use rusqlite::{Connection, ErrorCode};

use super::staging::{COMPANIONS, Staging, companion_of, sync_directory, unpredictable};
use crate::config::Config;
use crate::connect::{journal_mode, open};
use crate::error::Doing;

/// What lies under the target's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Present {
    Nothing,
    /// A database without any object, or a file without any byte.
    Empty,
    Database,
    /// A database that cannot be read.
    Damaged,
    /// Journals without their database.
    Remains,
}

/// Looks without touching; an error for what is no database at all.
pub(crate) fn look(config: &Config) -> Result<Present> {
    let path = &config.path;
    let doing = || format!("look at {}", path.display());
    let remains = || COMPANIONS.iter().any(|companion| companion_of(path, companion).exists());
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if fs::symlink_metadata(path).is_ok() {
                return Err(Error::new(ErrorKind::NotFound, "it is a link to a file that is not there")
                    .during(doing()));
            }
            return Ok(if remains() { Present::Remains } else { Present::Nothing });
        }
        Err(error) => return Err(Error::io(doing(), error)),
    };
    if !metadata.is_file() {
        return Err(foreign("it is no file").during(doing()));
    }
    if metadata.len() == 0 && remains() {
        return Ok(Present::Remains);
    }
    let connection = open(path, config.busy_timeout)?;
    match objects(&connection) {
        Ok(0) => Ok(Present::Empty),
        Ok(_) => Ok(Present::Database),
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => {
                Err(foreign("it is not a SQLite database").because(error).during(doing()))
            }
            Some(ErrorCode::DatabaseCorrupt) => Ok(Present::Damaged),
            _ => Err(error).doing(doing),
        },
    }
}

fn objects(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
}

fn foreign(why: &'static str) -> Error {
    Error::new(ErrorKind::AlreadyExists, why)
        .hint("lifeboat only ever replaces SQLite databases; choose another name")
}

/// An error unless `present` may be replaced.
pub(crate) fn allow(present: Present, existing: Existing) -> Result<()> {
    let why = match (existing, present) {
        (Existing::Replace, _) | (_, Present::Nothing | Present::Empty) => return Ok(()),
        (_, Present::Database) => "the target database is not empty",
        (_, Present::Damaged) => "the target is a damaged database",
        (_, Present::Remains) => "journals of a database lie under the target's name",
    };
    Err(Error::new(ErrorKind::TargetNotEmpty, why)
        .hint("restore under another name, or replace it (--drop-existing)"))
}

/// The existing database, which nobody else can read or write. Dropping it leaves the database as it was.
#[derive(Debug)]
pub(crate) struct Exclusive {
    connection: Connection,
    was_write_ahead: bool,
    /// Another file has its name by now.
    replaced: bool,
    /// Kept open, since closing any handle of a file ends all of a process's locks on it.
    copied: Option<File>,
}

impl Exclusive {
    pub(crate) fn take(config: &Config) -> Result<Self> {
        let doing = || format!("lock {}", config.path.display());
        let connection = open(&config.path, config.busy_timeout)?;
        let was_write_ahead = journal_mode(&connection)? == "wal";
        if was_write_ahead {
            // This moves the log into the database and removes it, which works only if nobody else is there.
            let mode: String =
                connection.query_row("PRAGMA journal_mode=DELETE", (), |row| row.get(0)).doing(doing)?;
            if mode != "delete" {
                return Err(Error::new(ErrorKind::Locked, "the database is in use").during(doing()));
            }
        }
        let this = Self { connection, was_write_ahead, replaced: false, copied: None };
        this.connection.execute_batch("BEGIN EXCLUSIVE").doing(doing)?;
        // Somebody may have made it so in between; then this lock keeps out no reader, and what they commit is not in the file yet.
        if journal_mode(&this.connection)? == "wal" {
            return Err(Error::new(ErrorKind::Locked, "the database is in use").during(doing()));
        }
        Ok(this)
    }

    /// Copies the database to `to`, which is there and empty.
    pub(crate) fn copy(&mut self, from: &Path, to: &Path) -> Result<()> {
        let doing = || format!("copy {}", from.display());
        let mut source = File::open(from).during(doing)?;
        let mut copy = File::options().write(true).open(to).during(doing)?;
        std::io::copy(&mut source, &mut copy).during(doing)?;
        self.copied = Some(source);
        Ok(())
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        // Under its name this must do nothing once the name is another file's. A failure loses nothing: the mode is a setting that
        // the database's next user can make again.
        if self.was_write_ahead && !self.replaced {
            let _ = self.connection.execute_batch("ROLLBACK");
            let _ = self.connection.query_row("PRAGMA journal_mode=WAL", (), |_| Ok(()));
        }
    }
}

/// Gives a sealed database the target's name.
pub(crate) fn publish(
    ctx: &Ctx,
    staging: Staging,
    config: &Config,
    existing: Existing,
    held: Option<Exclusive>,
) -> Result<()> {
    let path = &config.path;
    let present = match held {
        Some(_) => Present::Database,
        None => look(config)?,
    };
    if held.is_none() {
        allow(present, existing)?;
    }
    let mode = match fs::metadata(path) {
        Ok(metadata) => Some(metadata.permissions().mode() & 0o7777),
        Err(_) => None,
    };
    staging.seal(mode)?;
    match present {
        Present::Nothing => staging.publish_new(path),
        Present::Damaged | Present::Remains => {
            set_aside(ctx, path)?;
            staging.publish_new(path)
        }
        Present::Empty | Present::Database => {
            let was_held = held.is_some();
            let mut exclusive = match held {
                Some(exclusive) => exclusive,
                None => Exclusive::take(config)?,
            };
            let is_filled = objects(&exclusive.connection).map_or(true, |count| count > 0);
            if is_filled && !was_held {
                allow(Present::Database, existing)?;
            }
            // With journal_mode PERSIST or TRUNCATE an old journal stays. Nobody needs it: the lock proves that.
            for companion in COMPANIONS {
                let _ = fs::remove_file(companion_of(path, companion));
            }
            exclusive.replaced = true;
            staging.publish_over(path).inspect_err(|_| exclusive.replaced = false)
        }
    }
}

/// Renames a damaged database and its journals, so that they can still be looked at.
fn set_aside(ctx: &Ctx, path: &Path) -> Result<()> {
    let suffix = format!(".damaged-{}", unpredictable()?);
    let aside = companion_of(path, &suffix);
    for companion in COMPANIONS.into_iter().chain([""]) {
        let old = companion_of(path, companion);
        if old.exists() {
            fs::rename(&old, companion_of(&aside, companion))
                .during(|| format!("set {} aside", old.display()))?;
        }
    }
    ctx.warn(format!("what was there was damaged and is now {}", aside.display()));
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}
