//! SQLite's errors in the words of the core.

use backup_core::{Error, ErrorKind, Result};
use rusqlite::ErrorCode;

/// Says what was being done when SQLite reported an error, and classifies it.
pub(crate) trait Doing<T> {
    /// Adds `doing` to the error, if there is one.
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| classify(error).during(doing()))
    }
}

/// Whether a value was longer than the connection's present limit.
pub(crate) fn is_too_big(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::TooBig)
}

fn classify(error: rusqlite::Error) -> Error {
    let (kind, hint) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Locked, "another program holds a lock; wait for it, or raise busy-timeout in the URL")
        }
        Some(ErrorCode::NotADatabase) => {
            (ErrorKind::Damaged, "the file is not a SQLite database, or is an encrypted one")
        }
        Some(ErrorCode::DatabaseCorrupt) => (
            ErrorKind::Damaged,
            "PRAGMA integrity_check says what is damaged; the shell's .recover may save rows",
        ),
        Some(
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied,
        ) => (ErrorKind::PermissionDenied, "check the owner and the mode of the file and of its directory"),
        Some(ErrorCode::DiskFull) => (ErrorKind::NoSpace, "free some space and run it again"),
        Some(ErrorCode::CannotOpen) => (
            ErrorKind::Connect,
            "check that the file exists and that its directory can be written (WAL needs that)",
        ),
        Some(ErrorCode::OperationInterrupted) => return Error::cancelled(),
        Some(ErrorCode::TooBig) => {
            (ErrorKind::Unsupported, "SQLite's limit for one value or statement is 1 GB")
        }
        Some(ErrorCode::SystemIoFailure) => {
            (ErrorKind::Io, "the system's log may say what is wrong with the disk")
        }
        _ => return Error::new(ErrorKind::Database, error.to_string()).because(error),
    };
    Error::new(kind, error.to_string()).hint(hint).because(error)
}
