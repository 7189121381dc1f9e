//! What MySQL's own clients read when nothing is said: the `[client]` section of `~/.my.cnf`, and `MYSQL_PWD`.

use std::path::{Path, PathBuf};

use backup_core::Secret;

use crate::config::Address;

/// The values that the URL may leave out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) port: Option<u16>,
    host: Option<String>,
    socket: Option<PathBuf>,
}

impl Defaults {
    /// Those of who runs this program. A file that cannot be read says nothing, as it does to MySQL's own clients.
    pub(crate) fn of_this_user() -> Self {
        let file = std::env::var_os("HOME").map(|home| Path::new(&home).join(".my.cnf"));
        let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let mut defaults = Self::parse(&text);
        if defaults.password.is_none() {
            defaults.password = std::env::var("MYSQL_PWD").ok().map(Secret::new);
        }
        defaults
    }

    fn parse(text: &str) -> Self {
        let mut defaults = Self::default();
        let mut of_clients = false;
        for line in text.lines().map(str::trim) {
            if let Some(section) = line.strip_prefix('[') {
                of_clients = section.trim_end_matches(']') == "client";
                continue;
            }
            let Some((key, value)) = line.split_once('=').filter(|_| of_clients && !line.starts_with('#'))
            else {
                continue;
            };
            let value = unquoted(value.trim());
            match key.trim() {
                "user" => defaults.user = Some(value),
                "password" => defaults.password = Some(Secret::new(value)),
                "host" => defaults.host = Some(value),
                "port" => defaults.port = value.parse().ok(),
                "socket" => defaults.socket = Some(value.into()),
                _ => {}
            }
        }
        defaults
    }

    /// Where the server listens, if the file says so. `localhost` means the socket, if there is one.
    pub(crate) fn address(&self) -> Option<Address> {
        match (&self.host, &self.socket) {
            (Some(host), None) if host != "localhost" => Some(self.tcp(host)),
            (Some(host), Some(_)) if host != "localhost" => Some(self.tcp(host)),
            (_, Some(socket)) => Some(Address::Socket(socket.clone())),
            _ => None,
        }
    }

    fn tcp(&self, host: &str) -> Address {
        Address::Tcp { host: host.to_owned(), port: self.port.unwrap_or(3306) }
    }
}

/// A value without its quotes, and with what backslashes stand for.
fn unquoted(value: &str) -> String {
    let inner = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    let mut plain = String::new();
    let mut characters = inner.unwrap_or(value).chars();
    while let Some(c) = characters.next() {
        match (c, c == '\\') {
            (_, false) => plain.push(c),
            _ => match characters.next() {
                Some('n') => plain.push('\n'),
                Some('t') => plain.push('\t'),
                Some('s') => plain.push(' '),
                Some(other @ ('\\' | '"' | '\'')) => plain.push(other),
                Some(other) => plain.extend(['\\', other]),
                None => plain.push('\\'),
            },
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_of_clients_counts() {
        let defaults = Defaults::parse(
            "[mysqld]\nuser=mysql\nport = 1\n[client]\nuser = me\n# user=x\npassword=\"a#b\\\\c\"\nhost=db\nport=3307\n[mysql]\nuser=you",
        );
        assert_eq!(defaults.user.as_deref(), Some("me"));
        assert_eq!(defaults.password.as_ref().map(Secret::expose), Some("a#b\\c"));
        assert_eq!(defaults.address(), Some(Address::Tcp { host: "db".into(), port: 3307 }));
        assert!(!format!("{defaults:?}").contains("a#b"));
    }
}
