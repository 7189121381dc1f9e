//! The URL of a source or target database.

use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};
use crate::secret::Secret;

/// `scheme://user:password@host:port/database?option=value`, or `scheme:path?option=value`.
///
/// User, password, database, path and option values are percent-decoded. `Display` and `Debug` leave the password out.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DatabaseUrl {
    /// The scheme in lower case; it names the engine.
    pub scheme: String,
    /// The user name.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// Host names or addresses with their ports; more than one where the engine can choose.
    pub hosts: Vec<(String, Option<u16>)>,
    /// What follows the host without its slash, or, in `scheme:path`, the whole path.
    pub path: String,
    /// Options, in the order given.
    pub options: Vec<(String, String)>,
}

impl DatabaseUrl {
    /// The name of the database, which is also what backups of it say: all of the path behind a host, or its last word.
    pub fn database(&self) -> &str {
        if self.hosts.is_empty() { self.path.rsplit('/').next().unwrap_or_default() } else { &self.path }
    }

    /// The name of a database that a server has, whatever is in it, also where the URL names no host.
    pub fn database_of_server(&self) -> &str {
        match self.path.strip_prefix('/') {
            Some(path) if self.hosts.is_empty() => path,
            _ => &self.path,
        }
    }

    /// The same place with another database: the last word of the path, or all of it behind a host.
    pub fn with_database(&self, name: &str) -> Self {
        let mut other = self.clone();
        let start = if self.hosts.is_empty() { self.path.rfind('/').map_or(0, |slash| slash + 1) } else { 0 };
        other.path.replace_range(start.., name);
        other
    }

    /// The value of the option `name`, the last one given.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Refuses every option that is not in `known`: a mistyped option must not be silently ignored.
    pub fn refuse_unknown_options(&self, known: &[&str]) -> Result<()> {
        match self.options.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some((key, _)) => Err(Error::usage(format!("{} URLs have no option {key:?}", self.scheme)).hint(
                if known.is_empty() {
                    "they have none".to_owned()
                } else {
                    format!("there are {}", known.join(", "))
                },
            )),
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // The text may hold a password: errors must not repeat it.
        let malformed = |what: &str| {
            Error::usage(format!("not a database URL: {what}"))
                .hint("write it like sqlite:path/to.db or postgres://user@host:5432/database")
        };
        let (scheme, rest) = text.split_once(':').ok_or_else(|| malformed("it has no scheme"))?;
        if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b)) {
            return Err(malformed("its scheme is not a word"));
        }
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let mut url = Self {
            scheme: scheme.to_ascii_lowercase(),
            user: None,
            password: None,
            hosts: Vec::new(),
            path: String::new(),
            options: Vec::new(),
        };
        match rest.strip_prefix("//") {
            None => url.path = decode(rest).ok_or_else(|| malformed("its path is not UTF-8"))?,
            Some(rest) => {
                let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
                url.authority(authority, &malformed)?;
                // Without a host the path is a file's and keeps its slash.
                let path = if authority.is_empty() { path } else { path.strip_prefix('/').unwrap_or(path) };
                url.path = decode(path).ok_or_else(|| malformed("its path is not UTF-8"))?;
            }
        }
        for pair in query.into_iter().flat_map(|query| query.split('&')).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decode(key), decode(value)) {
                (Some(key), Some(value)) => url.options.push((key, value)),
                _ => return Err(malformed("an option is not UTF-8")),
            }
        }
        Ok(url)
    }
}

impl DatabaseUrl {
    fn authority(&mut self, authority: &str, malformed: &dyn Fn(&str) -> Error) -> Result<()> {
        // The last @ ends the user part: passwords may contain others.
        let hosts = match authority.rsplit_once('@') {
            None => authority,
            Some((user, hosts)) => {
                let (user, password) = user.split_once(':').map_or((user, None), |(u, p)| (u, Some(p)));
                self.user = Some(decode(user).ok_or_else(|| malformed("its user is not UTF-8"))?);
                if let Some(password) = password {
                    let password = decode(password).ok_or_else(|| malformed("its password is not UTF-8"))?;
                    self.password = Some(Secret::new(password));
                }
                hosts
            }
        };
        for host in hosts.split(',').filter(|host| !host.is_empty()) {
            // [::1]:5432 is an address in brackets, with a port.
            let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((address, port)) => (address, port.strip_prefix(':')),
                None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
            };
            let port = match port.map(str::parse) {
                None => None,
                Some(Ok(port)) => Some(port),
                Some(Err(_)) => return Err(malformed("a port is not a number below 65536")),
            };
            self.hosts.push((decode(name).ok_or_else(|| malformed("a host is not UTF-8"))?, port));
        }
        Ok(())
    }
}

fn decode(text: &str) -> Option<String> {
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if !self.hosts.is_empty() || self.user.is_some() {
            f.write_str("//")?;
            if let Some(user) = &self.user {
                write!(f, "{}@", user.escape_debug())?;
            }
            for (i, (host, port)) in self.hosts.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                write!(f, "{comma}{open}{}{close}", host.escape_debug())?;
                if let Some(port) = port {
                    write!(f, ":{port}")?;
                }
            }
            f.write_str("/")?;
        }
        write!(f, "{}", self.path.escape_debug())
    }
}

impl fmt::Debug for DatabaseUrl {
    /// The same as `Display`: options are left out too, since engines may take secrets there.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_url_has_all_its_parts_and_prints_without_the_password() {
        let url: DatabaseUrl =
            "postgres://u%40x:p@ss:w@[::1]:5432,db2/sh%6Fp?sslmode=require".parse().unwrap();
        assert_eq!(url.user.as_deref(), Some("u@x"));
        assert_eq!(url.password.as_ref().map(Secret::expose), Some("p@ss:w"));
        assert_eq!(url.hosts, [("::1".into(), Some(5432)), ("db2".into(), None)]);
        assert_eq!(url.path, "shop");
        assert_eq!(url.option("sslmode"), Some("require"));
        assert_eq!(url.to_string(), "postgres://u@x@[::1]:5432,db2/shop");
        assert!(!format!("{url:?}").contains("p@ss"));
    }

    #[test]
    fn a_file_url_has_a_path() {
        let path = |text: &str| text.parse::<DatabaseUrl>().map(|url| url.path);
        assert_eq!(path("sqlite:dir/to.db").unwrap(), "dir/to.db");
        assert_eq!(path("sqlite:/abs/to.db").unwrap(), "/abs/to.db");
        assert_eq!(path("sqlite:///abs/to.db?mode=ro").unwrap(), "/abs/to.db");
        assert_eq!(path("sqlite:100%.db").unwrap(), "100%.db");
        assert_eq!("sqlite:dir/to.db".parse::<DatabaseUrl>().unwrap().database(), "to.db");
        assert_eq!("mysql://u@h/shop".parse::<DatabaseUrl>().unwrap().database(), "shop");
    }

    #[test]
    fn a_database_of_a_server_may_have_slashes_in_its_name() {
        let name = |text: &str| text.parse::<DatabaseUrl>().unwrap().database_of_server().to_owned();
        assert_eq!(name("mysql://u@h/%2Fa%2Fb"), "/a/b");
        assert_eq!(name("mysql:///a%2Fb?socket=/s"), "a/b");
        assert_eq!(name("mysql:///?socket=/s"), "");
        assert_eq!("mysql://u@h/%2Fa%2Fb".parse::<DatabaseUrl>().unwrap().database(), "/a/b");
    }

    #[test]
    fn another_database_is_at_the_same_place() {
        let other =
            |text: &str, name: &str| text.parse::<DatabaseUrl>().unwrap().with_database(name).to_string();
        assert_eq!(other("postgres://u@h:1/shop?a=b", "prod"), other("postgres://u@h:1/prod?a=b", "prod"));
        assert_eq!(other("mysql://u@h/%2Fa%2Fb", "prod"), other("mysql://u@h/prod", "prod"));
        assert_eq!(other("mysql:///shop?socket=/s", "prod"), other("mysql:///prod?socket=/s", "prod"));
        assert_eq!(other("sqlite:dir/to.db", "new.db"), "sqlite:dir/new.db");
    }

    #[test]
    fn a_malformed_url_is_refused_without_repeating_it() {
        for text in ["nothing", "post gres://x", "mysql://u:canary@h:99999/db", ":x"] {
            let error = text.parse::<DatabaseUrl>().unwrap_err();
            assert!(!error.to_string().contains("canary"), "{error}");
        }
    }
}
