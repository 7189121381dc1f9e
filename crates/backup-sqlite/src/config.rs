//! What a `sqlite:` URL says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_core::{DatabaseUrl, Error, Result};

/// How long to wait for somebody else's lock unless the URL says otherwise.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A database file, and how to treat it.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The file. Absolute: SQLite would read a relative path that starts with `file:` as a URI.
    pub(crate) path: PathBuf,
    /// How long to wait for locks that others hold (`busy-timeout`, in milliseconds).
    pub(crate) busy_timeout: Duration,
}

impl Config {
    pub(crate) fn from_url(url: &DatabaseUrl) -> Result<Self> {
        url.refuse_unknown_options(&["busy-timeout"])?;
        let example = "write it like sqlite:path/to.db";
        if !url.hosts.is_empty() || url.user.is_some() || url.password.is_some() {
            return Err(Error::usage("a SQLite database is a file and has no host or user").hint(example));
        }
        if url.path.is_empty() || url.path == ":memory:" || url.path.contains('\0') {
            return Err(Error::usage("the URL names no file").hint(example));
        }
        let path = std::path::absolute(Path::new(&url.path))
            .map_err(|error| Error::io(format!("find {}", url.path.escape_debug()), error))?;
        if path.file_name().is_none() {
            return Err(Error::usage(format!("{} is not the name of a file", path.display())).hint(example));
        }
        let busy_timeout = match url.option("busy-timeout") {
            None => BUSY_TIMEOUT,
            Some(text) => {
                text.parse::<u32>().map(|ms| Duration::from_millis(ms.into())).map_err(|error| {
                    Error::usage("busy-timeout is not a number of milliseconds")
                        .hint("write it like busy-timeout=5000")
                        .because(error)
                })?
            }
        };
        Ok(Self { path, busy_timeout })
    }

    /// The same directory and treatment, another file.
    pub(crate) fn under_name(&self, name: &str) -> Result<Self> {
        let plain = !name.contains(['/', '\0']) && !matches!(name, "" | "." | "..");
        if !plain {
            return Err(Error::usage(format!("{name:?} is not a plain file name"))
                .hint("the database is restored into the directory of the target; name only the file"));
        }
        Ok(Self { path: self.path.with_file_name(name), busy_timeout: self.busy_timeout })
    }

    /// The file's name, for people.
    pub(crate) fn database(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<Config> {
        Config::from_url(&url.parse().unwrap())
    }

    #[test]
    fn a_url_names_a_file_and_how_long_to_wait() {
        let config = config("sqlite:/data/shop.db?busy-timeout=250").unwrap();
        assert_eq!(config.path, Path::new("/data/shop.db"));
        assert_eq!(config.busy_timeout, Duration::from_millis(250));
        assert!(Config::from_url(&"sqlite:file:x?y=1".parse().unwrap()).is_err());
    }

    #[test]
    fn what_is_no_file_is_refused() {
        for url in [
            "sqlite:",
            "sqlite::memory:",
            "sqlite://host/x.db",
            "sqlite:/",
            "sqlite:x?mode=ro",
            "sqlite:x?busy-timeout=z",
        ] {
            assert!(config(url).is_err(), "{url}");
        }
    }

    #[test]
    fn another_name_stays_in_the_directory() {
        let config = config("sqlite:/data/shop.db").unwrap();
        assert_eq!(config.under_name("copy.db").unwrap().path, Path::new("/data/copy.db"));
        for name in ["", ".", "..", "a/b", "/etc/x", "a\0b"] {
            assert!(config.under_name(name).is_err(), "{name:?}");
        }
    }
}
