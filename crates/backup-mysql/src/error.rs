//! The server's errors in the words of the core.

use std::error::Error as StdError;
use std::fmt;

use backup_core::{Error, ErrorKind};

/// An error as the server reported it.
#[derive(Debug)]
pub(crate) struct ServerError {
    pub(crate) code: u16,
    message: String,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error {} of the server: {}", self.code, printable(&self.message))
    }
}

impl StdError for ServerError {}

/// A text of the server's for people: nothing in it moves a terminal's cursor.
pub(crate) fn printable(text: &str) -> String {
    let escape = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
    text.chars().map(escape).collect()
}

/// The number of the server's error behind `error`, if there is one.
pub(crate) fn code(error: &Error) -> Option<u16> {
    let source = error.source()?.downcast_ref::<ServerError>()?;
    Some(source.code)
}

/// The statement was broken off so that another's could go on.
pub(crate) fn is_deadlock(error: &Error) -> bool {
    code(error) == Some(1213)
}

/// The statement waited too long for another's, or somebody ended it: that says nothing of what it was about.
pub(crate) fn is_broken_off(error: &Error) -> bool {
    matches!(code(error), Some(1205 | 1213 | 1317 | 1969 | 3024))
}

/// Classifies the payload of an error packet.
pub(crate) fn from_packet(payload: &[u8]) -> Error {
    let code = match payload.get(1..3) {
        Some(&[low, high]) => u16::from_le_bytes([low, high]),
        _ => 0,
    };
    let rest = payload.get(3..).unwrap_or_default();
    let message = match rest.first() {
        Some(b'#') => rest.get(6..).unwrap_or_default(),
        _ => rest,
    };
    let error = ServerError { code, message: String::from_utf8_lossy(message).into_owned() };
    let (kind, hint) = classify(code);
    let told = Error::new(kind, error.to_string());
    let told = if hint.is_empty() { told } else { told.hint(hint) };
    told.because(error)
}

fn classify(code: u16) -> (ErrorKind, &'static str) {
    match code {
        // Logging in.
        1045 | 1698 | 1862 | 4151 => {
            (ErrorKind::Connect, "check the user, the password and the host that the account is for")
        }
        1040 | 1203 | 1226 => {
            (ErrorKind::Connect, "the server or the account has no connection left; use fewer jobs")
        }
        1129 | 1130 | 1053 | 1835 => (ErrorKind::Connect, "the server does not take connections from here"),
        1044 => (
            ErrorKind::PermissionDenied,
            "the account has no access to this database, or there is none of this name",
        ),
        1049 => (ErrorKind::NotFound, "check the name of the database in the URL"),
        1142 | 1143 | 1227 | 1370 | 1419 | 1290 => {
            (ErrorKind::PermissionDenied, "docs/mysql.md has the privileges that are needed, as a script")
        }
        1146 | 1356 | 1305 => (ErrorKind::Database, ""),
        1205 | 1213 | 1099 => (ErrorKind::Locked, "another session holds a lock; try again when it is done"),
        1412 => (ErrorKind::Database, "a table was altered while it was being read; run the backup again"),
        1021 | 1114 => (ErrorKind::NoSpace, "free some space on the server and run it again"),
        1153 => {
            (ErrorKind::Unsupported, "a value is larger than the server's max_allowed_packet; raise that")
        }
        1317 | 1969 | 3024 => {
            (ErrorKind::Database, "somebody, or a limit on the time of statements, ended the statement")
        }
        _ => (ErrorKind::Database, ""),
    }
}

/// The server said something that its protocol does not allow here.
pub(crate) fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Connect, format!("the server sent {what}"))
        .hint("whatever answers there is not a MySQL or MariaDB server, or something on the way changes its answers")
}

/// The connection broke.
pub(crate) fn lost(error: std::io::Error) -> Error {
    let timed_out = error.kind() == std::io::ErrorKind::TimedOut;
    let kind = if timed_out { ErrorKind::TimedOut } else { ErrorKind::Connect };
    Error::new(kind, format!("the connection to the server was lost: {error}"))
        .hint("the server's error log may say why; see also its wait_timeout and net_write_timeout")
        .because(error)
}
