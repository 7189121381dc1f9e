//! The one error type: what failed, on what, why, and what to do about it.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// What every fallible function of the project returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The class of an error. Callers match on it, and the command line turns it into an exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself makes no sense: a malformed URL, a pattern that matches nothing.
    Usage,
    /// The configuration file is missing, unreadable or says something unknown.
    Config,
    /// No engine that was compiled in answers to the URL's scheme.
    UnknownEngine,
    /// The engine, format or server cannot do what was asked.
    Unsupported,
    /// The operation finished, but not everything that was asked for is in the result.
    Incomplete,
    /// Stored bytes are not what they were when they were written.
    Damaged,
    /// A copy was compared with its backup and is different.
    Different,
    /// The restore point lies outside what the backups reach.
    Unreachable,
    /// There is no repository at the given place.
    NoRepository,
    /// The repository, archive or backup was written by a version newer than this one.
    NewerFormat,
    /// The file was not written by lifeboat.
    Foreign,
    /// Somebody else holds the repository, the source or the target.
    Locked,
    /// The key or passphrase does not fit.
    WrongKey,
    /// What is sealed cannot be opened, or nothing can be sealed, without a key that is not here.
    MissingKey,
    /// Nobody who is known here vouches for it.
    UnknownSigner,
    /// The database cannot be reached or does not let us in.
    Connect,
    /// A backup, part, object or file that was named does not exist.
    NotFound,
    /// Something is already there and must not be overwritten.
    AlreadyExists,
    /// The target holds data and replacing it was not asked for.
    TargetNotEmpty,
    /// The operating system, store or server refuses access.
    PermissionDenied,
    /// A disk or quota is full.
    NoSpace,
    /// Something did not answer in time.
    TimedOut,
    /// The operation was cancelled.
    Cancelled,
    /// The database reported an error.
    Database,
    /// Reading or writing bytes failed.
    Io,
    /// A promise between lifeboat and a plugin, or within lifeboat, was broken.
    Internal,
}

impl ErrorKind {
    /// Its name in machine-readable output: `no-repository`.
    pub fn name(self) -> String {
        let mut name = String::new();
        for c in format!("{self:?}").chars() {
            if c.is_ascii_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(c.to_ascii_lowercase());
        }
        name
    }

    /// The process exit code that stands for this kind.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::Config | Self::UnknownEngine => 2,
            Self::Incomplete => 3,
            Self::Damaged | Self::Different => 4,
            Self::Unreachable => 5,
            Self::NoRepository => 10,
            Self::Locked => 11,
            Self::WrongKey | Self::MissingKey | Self::UnknownSigner => 12,
            Self::Connect => 20,
            Self::Cancelled => 130,
            _ => 1,
        }
    }
}

type Source = Box<dyn StdError + Send + Sync>;

/// An error with its class, its subject and, where there is something to do, a hint.
///
/// `Display` prints one line, "WHAT WAS BEING DONE: WHAT IS WRONG; WHAT TO DO"; it does not repeat the source,
/// which [`std::error::Error::source`] gives. Neither `Display` nor `Debug` ever shows a secret,
/// because nothing that puts one here compiles without exposing it by name (see [`crate::Secret`]).
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
#[error("{message}")]
struct Inner {
    kind: ErrorKind,
    message: Cow<'static, str>,
    context: Vec<String>,
    hint: Option<Cow<'static, str>>,
    source: Option<Source>,
}

impl Error {
    /// An error of `kind`; `message` says what is wrong, in the words of the person who asked.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), context: Vec::new(), hint: None, source: None }))
    }

    /// Adds what was being done and to what, from the inside out: "read chunk ab12", "restore backup X".
    #[must_use]
    pub fn during(mut self, doing: impl Into<String>) -> Self {
        self.0.context.push(doing.into());
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Says what came of setting things right behind it, which failed as well.
    #[must_use]
    pub fn afterwards(self, state: &Self) -> Self {
        Self::new(self.kind(), format!("{self}; and afterwards: {state}")).because(self)
    }

    /// The class.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was being done, and what is wrong: all but the advice.
    pub fn message(&self) -> String {
        let doing: String = self.0.context.iter().rev().map(|doing| format!("{doing}: ")).collect();
        doing + &self.0.message
    }

    /// What to do next, if something is known to help.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// An error of the operating system, classified, while `doing` something.
    pub fn io(doing: impl Into<String>, source: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match source.kind() {
            Io::NotFound => ErrorKind::NotFound,
            Io::AlreadyExists => ErrorKind::AlreadyExists,
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
            Io::StorageFull | Io::QuotaExceeded => ErrorKind::NoSpace,
            Io::TimedOut => ErrorKind::TimedOut,
            _ => ErrorKind::Io,
        };
        let error = Self::new(kind, source.to_string()).during(doing);
        match kind {
            ErrorKind::NotFound => error.hint("check the path, and that what is mounted there is mounted"),
            ErrorKind::NoSpace => {
                error.hint("free some space and run it again; what is stored already is kept")
            }
            ErrorKind::PermissionDenied => {
                error.hint("check the owner and the mode of the path, and the mount")
            }
            _ => error,
        }
        .because(source)
    }

    /// The error that every cancelled operation ends with.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "cancelled")
    }

    /// A broken promise between parts of the program: never the user's fault.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
            .hint("this is a bug in lifeboat or in a plugin; please report it")
    }

    /// Stored bytes that are not what they should be.
    pub fn damaged(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Damaged, message)
    }

    /// A request that makes no sense.
    pub fn usage(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Something that cannot be done here.
    pub fn unsupported(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unsupported, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message())?;
        match &self.0.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// Says what was being done when an error came up.
pub trait During<T> {
    /// Adds `doing` to the error, if there is one.
    fn during<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T>;
}

impl<T> During<T> for Result<T> {
    fn during<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| error.during(doing()))
    }
}

impl<T> During<T> for std::io::Result<T> {
    fn during<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::io(doing(), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_says_what_failed_on_what_and_what_to_do_and_not_the_source() {
        let error = Error::new(ErrorKind::NoSpace, "no space left on device")
            .because(std::io::Error::other("the cause"))
            .during("write chunk ab12")
            .during("back up sqlite:shop.db")
            .hint("free some space");
        assert_eq!(
            error.to_string(),
            "back up sqlite:shop.db: write chunk ab12: no space left on device; free some space"
        );
        assert_eq!(StdError::source(&error).map(ToString::to_string).as_deref(), Some("the cause"));
        assert_eq!(error.kind().exit_code(), 1);
    }
}
