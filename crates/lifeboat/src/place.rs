//! Where a repository is, as a user writes it.

use std::path::PathBuf;

use backup_core::{Error, Result};
use percent_encoding::percent_decode_str;

/// The directory of the repository at `place`, which is a path or a `file://` URL.
pub fn repository_directory(place: &str) -> Result<PathBuf> {
    if place.is_empty() {
        return Err(
            Error::usage("the repository's place is empty").hint("give a directory, such as ./backups")
        );
    }
    let Some((scheme, rest)) = place.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
        return Ok(PathBuf::from(place));
    };
    // The place may hold a password: errors repeat its scheme only.
    if !scheme.eq_ignore_ascii_case("file") {
        return Err(Error::usage(format!("this version keeps no repositories on {scheme}://"))
            .hint("give a directory, such as ./backups or file:///var/backups"));
    }
    let malformed = |why: &str| {
        Error::usage(format!("not a file URL: {why}"))
            .hint("write file:///var/backups with three slashes, or just the path")
    };
    let path = rest.strip_prefix("localhost").unwrap_or(rest);
    if !path.starts_with('/') {
        return Err(malformed("it names a host, or its path does not begin at the root"));
    }
    let path = percent_decode_str(path).decode_utf8().map_err(|_| malformed("its path is not UTF-8"))?;
    Ok(PathBuf::from(path.as_ref()))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_path_or_a_file_url_is_a_directory() {
        for (place, path) in [
            ("./backups", "./backups"),
            ("/var/back ups", "/var/back ups"),
            ("file:///var/back%20ups", "/var/back ups"),
            ("FILE://localhost/var/backups", "/var/backups"),
            ("./odd://name", "./odd://name"),
        ] {
            assert_eq!(repository_directory(place).unwrap(), Path::new(path));
        }
    }

    #[test]
    fn other_places_are_refused_and_what_there_is_is_named() {
        let error = repository_directory("s3://key:canary@bucket/prefix").unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
        assert!(error.to_string().contains("s3://") && error.to_string().contains("file:///"), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
        for place in ["", "file://host/dir", "file://relative"] {
            assert!(repository_directory(place).is_err(), "{place:?}");
        }
    }
}
