//! A file of options, read as the clients read it: groups, quotes, comments, and other files that it includes.

use std::io::ErrorKind as Io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use backup_core::{Error, ErrorKind, Result};

/// How deep files include each other.
const DEPTH: usize = 10;

/// A name, with `-` for every `_`, and what it is set to, if anything.
pub(super) type Setting = (String, Option<String>);

/// What the groups of these names say, in the order of the file. One that is not there, or that may not be read, says nothing.
pub(super) fn read(file: &Path, groups: &[&str]) -> Result<Vec<Setting>> {
    let mut found = Vec::new();
    include(file, groups, 0, &mut found)?;
    Ok(found)
}

fn include(file: &Path, groups: &[&str], depth: usize, found: &mut Vec<Setting>) -> Result<()> {
    let bytes = match std::fs::read(file) {
        Err(error) if matches!(error.kind(), Io::NotFound | Io::PermissionDenied | Io::IsADirectory) => {
            return Ok(());
        }
        read => read.map_err(|error| Error::io(format!("read {}", file.display()), error))?,
    };
    let is_anybodys =
        std::fs::metadata(file).is_ok_and(|of| of.is_file() && of.permissions().mode() & 0o002 != 0);
    if is_anybodys {
        let why = format!("everybody may write {}, so what it says does not count", file.display());
        return Err(
            Error::new(ErrorKind::PermissionDenied, why).hint(format!("chmod o-w {}", file.display()))
        );
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::usage(format!("{} is not UTF-8", file.display())).because(error))?;
    let mut counts = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(group) = line.strip_prefix('[') {
            counts = group.split(']').next().is_some_and(|group| groups.contains(&group.trim_end()));
        } else if let Some(directive) = line.strip_prefix('!') {
            for file in included(directive) {
                if depth < DEPTH {
                    include(&file, groups, depth + 1, found)?;
                }
            }
        } else if counts {
            found.extend(setting(line));
        }
    }
    Ok(())
}

/// The files that a line names.
fn included(directive: &str) -> Vec<PathBuf> {
    match directive.split_once(char::is_whitespace) {
        Some(("include", file)) => vec![file.trim().into()],
        Some(("includedir", directory)) => {
            let all = std::fs::read_dir(directory.trim()).into_iter().flatten();
            let files = all.filter_map(|entry| entry.ok().map(|entry| entry.path()));
            let mut files: Vec<_> =
                files.filter(|file| file.extension().is_some_and(|end| end == "cnf")).collect();
            files.sort();
            files
        }
        _ => Vec::new(),
    }
}

fn setting(line: &str) -> Option<Setting> {
    let line = without_comment(line);
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(unquoted(value.trim()))),
        None => (line, None),
    };
    let name = name.trim().replace('_', "-");
    let name = name.strip_prefix("loose-").unwrap_or(&name);
    if let Some(name) = ["skip-", "disable-"].iter().find_map(|no| name.strip_prefix(no)) {
        return Some((name.to_owned(), Some("0".to_owned())));
    }
    (!name.is_empty()).then(|| (name.to_owned(), value))
}

/// The line up to a `#` that is not within quotes.
fn without_comment(line: &str) -> &str {
    let (mut quote, mut is_escaped) = (None, false);
    for (at, c) in line.char_indices() {
        match (c, quote) {
            ('"' | '\'', _) if is_escaped => {}
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if c == open => quote = None,
            ('#', None) => return line.get(..at).unwrap_or(line),
            _ => {}
        }
        is_escaped = quote.is_some() && c == '\\' && !is_escaped;
    }
    line
}

/// A value without its quotes, and with what backslashes stand for.
fn unquoted(value: &str) -> String {
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let mut plain = String::new();
    let mut characters = inner.unwrap_or(value).chars();
    while let Some(c) = characters.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match characters.next() {
            Some('n') => plain.push('\n'),
            Some('t') => plain.push('\t'),
            Some('r') => plain.push('\r'),
            Some('b') => plain.push('\u{8}'),
            Some('s') => plain.push(' '),
            Some(other @ ('\\' | '"' | '\'')) => plain.push(other),
            Some(other) => plain.extend(['\\', other]),
            None => plain.push('\\'),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_ends_where_the_clients_end_it() {
        for (line, name, value) in [
            ("password=a#b", "password", Some("a")),
            ("password = \"a#b\\\\c\" # mine", "password", Some("a#b\\c")),
            ("password='a\\'#b'", "password", Some("a'#b")),
            ("password=it's#one", "password", Some("it's#one")),
            ("password=a;b", "password", Some("a;b")),
            ("password=a=b", "password", Some("a=b")),
            ("password=\\s\\x\\", "password", Some(" \\x\\")),
            ("password=", "password", Some("")),
            ("password", "password", None),
            ("ssl_ca = /a b ", "ssl-ca", Some("/a b")),
            ("loose-ssl", "ssl", None),
            ("skip_ssl", "ssl", Some("0")),
            ("disable-ssl-verify-server-cert", "ssl-verify-server-cert", Some("0")),
        ] {
            assert_eq!(setting(line), Some((name.to_owned(), value.map(str::to_owned))), "{line}");
        }
        assert_eq!(setting("# all of it"), None);
    }

    #[test]
    fn files_include_others_and_the_last_word_counts() {
        let place = tempfile::tempdir().unwrap();
        let path = |name: &str| place.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
        std::fs::create_dir(path("more")).unwrap();
        let main = format!(
            "[client]\nuser=first\n!includedir {}\n!include {}\nhost = h\n[mysqld]\nuser=none\n[client-x]\nport=1\n[other]\n; no\n",
            path("more").display(),
            path("nowhere.cnf").display()
        );
        write("main", &main);
        write("more/b.cnf", "user=of no group\n[client]\nuser=third");
        write("more/a.cnf", &format!("[client]\nuser=second\n!include {}", path("main").display()));
        write("more/c.txt", "[client]\nuser=not at all");
        let found = read(&path("main"), &["client", "client-x"]).unwrap();
        let last = |name: &str| {
            found.iter().rev().find(|(found, _)| found == name).and_then(|(_, value)| value.clone())
        };
        assert_eq!(last("user").as_deref(), Some("third"));
        assert_eq!((last("host").as_deref(), last("port").as_deref()), (Some("h"), Some("1")));
        assert_eq!(read(&path("none"), &["client"]).unwrap(), []);
    }

    #[test]
    fn a_file_that_everybody_may_write_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("open");
        std::fs::write(&file, "[client]\nuser=me").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o602)).unwrap();
        let error = read(&file, &["client"]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("open"), "{error}");
    }
}
