//! PostgreSQL's errors in the words of the core.

use backup_core::{Error, ErrorKind};
use tokio_postgres::error::SqlState;

use crate::connect::ASKED;

/// The most of a server's detail that is repeated: it may quote a whole row.
const DETAIL: usize = 300;

pub(crate) fn classify(error: tokio_postgres::Error) -> Error {
    let Some(db) = error.as_db_error() else {
        let message = format!("the connection failed: {}", chain(&error));
        if message.contains(ASKED) {
            let hint = "have the server use scram-sha-256; or add clear_password=allow and sslmode=verify-full to the URL";
            return Error::new(ErrorKind::Connect, ASKED).hint(hint).because(error);
        }
        let hint = "check that the server runs, and that the host, the port and sslmode of the URL are right";
        return Error::new(ErrorKind::Connect, message).hint(hint).because(error);
    };
    let mut message = format!("{} (SQLSTATE {})", db.message().escape_debug(), db.code().code());
    if let Some(detail) = db.detail() {
        let detail: String = detail.chars().take(DETAIL).collect();
        message += &format!(": {}", detail.escape_debug());
    }
    let (kind, mut hint) = kind(db.code());
    // The server has no code of its own for it.
    if db.message().starts_with("invalid memory alloc request size") {
        hint = Some(
            "a row is longer as text than the 1 GiB that the server can say: split its values, or exclude its table",
        );
    }
    let hint = hint.map(str::to_owned).or_else(|| db.hint().map(|hint| hint.escape_debug().to_string()));
    let mut classified = Error::new(kind, message);
    if let Some(hint) = hint {
        classified = classified.hint(hint);
    }
    classified.because(error)
}

/// The error of a value that has arrived, and is not what it is read as.
pub(crate) fn not_as_expected(error: tokio_postgres::Error) -> Error {
    if !has_no_utf8(&error) {
        return Error::internal(chain(&error)).because(error);
    }
    let hint = "names, comments and settings that databases of other encodings gave to roles, tablespaces and databases have to be UTF-8 where they are needed";
    Error::new(ErrorKind::Unsupported, chain(&error)).hint(hint).because(error)
}

/// An error and what it came of.
fn chain(error: &tokio_postgres::Error) -> String {
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        message += &format!(": {error}");
        cause = error.source();
    }
    message
}

fn has_no_utf8(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<std::str::Utf8Error>())
}

/// Whether a text was to be read that is no UTF-8: the server says so, or has said the text.
pub(crate) fn is_no_utf8(error: &Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    sql_state(error) == Some(NO_CHARACTERS) || source.is_some_and(has_no_utf8)
}

/// What the server says of bytes that mean nothing in the encoding of the session.
const NO_CHARACTERS: &str = "22021";

/// What a server says that would have had to wait for a lock, longer than it may.
pub(crate) const NOT_AT_ONCE: &str = "55P03";

/// What the server's error is called in SQL, if it is the server's.
pub(crate) fn sql_state(error: &Error) -> Option<&str> {
    let source = std::error::Error::source(error)?.downcast_ref::<tokio_postgres::Error>()?;
    source.code().map(SqlState::code)
}

/// A constraint may be broken by rows that are older than it, or than what its function says now.
pub(crate) const NOT_TAKEN: &str = "the target does not take a row that the source had; see its message";

fn kind(code: &SqlState) -> (ErrorKind, Option<&'static str>) {
    match code.code() {
        "3D000" => (
            ErrorKind::NotFound,
            Some("check the name of the database; a restore makes one with --create-database"),
        ),
        "28P01" | "28000" => (
            ErrorKind::Connect,
            Some("check the user and the password (in PGPASSWORD, ~/.pgpass or the URL), and pg_hba.conf"),
        ),
        "42501" => {
            (ErrorKind::PermissionDenied, Some("docs/postgres.md lists the privileges that are needed"))
        }
        "25006" => (
            ErrorKind::Unsupported,
            Some(
                "a standby is only read: restore into its primary (target_session_attrs=primary), which it follows",
            ),
        ),
        NOT_AT_ONCE => (
            ErrorKind::Locked,
            Some("somebody holds a lock that excludes reading; try again, or raise lock_timeout in the URL"),
        ),
        "55006" | "55000" => (ErrorKind::Locked, None),
        "40P01" => (ErrorKind::Locked, Some("somebody locks the same tables in another order; run it again")),
        "53100" => (ErrorKind::NoSpace, Some("free some space on the server and run it again")),
        "53200" => (
            ErrorKind::Database,
            Some(
                "the server's lock table may be too small: raise max_locks_per_transaction, or select fewer tables",
            ),
        ),
        "53300" => (ErrorKind::Connect, Some("the server has no connection left: use fewer jobs")),
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => {
            (ErrorKind::Connect, Some("the server ended the connection; run it again when it is up"))
        }
        "57014" => (
            ErrorKind::TimedOut,
            Some("the server gave up the statement: raise statement_timeout in the URL"),
        ),
        code if code.starts_with("23") => (ErrorKind::Database, Some(NOT_TAKEN)),
        _ => (ErrorKind::Database, None),
    }
}
