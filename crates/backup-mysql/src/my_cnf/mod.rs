//! What MySQL's and MariaDB's own clients read when nothing is said: the groups of clients in `~/.my.cnf`, and `MYSQL_PWD`.

mod file;

use std::path::{Path, PathBuf};

use backup_core::{Error, Result, Secret};
use backup_tls::{Authorities, ClientCertificate, SslMode};

use crate::config::{Address, SOCKET};
use file::Setting;

/// What would keep out a server that TLS as it is done here lets in.
const UNKNOWN: [&str; 7] =
    ["ssl-capath", "ssl-crl", "ssl-crlpath", "ssl-fp", "ssl-fplist", "tls-fp", "tls-fplist"];

/// The values that the URL may leave out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Defaults {
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) port: Option<u16>,
    pub(crate) public_key: Option<PathBuf>,
    pub(crate) asks_for_public_key: bool,
    host: Option<String>,
    socket: Option<PathBuf>,
    protocol: Option<String>,
    mode: Option<SslMode>,
    /// The server's certificate, and its name in it.
    verifies: Option<bool>,
    authority: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    unknown: Option<String>,
}

impl Defaults {
    /// Those of who runs this program, as the clients of MariaDB or of MySQL would have them.
    pub(crate) fn of_this_user(is_mariadb: bool) -> Result<Self> {
        let groups: &[&str] =
            if is_mariadb { &["client", "client-server", "client-mariadb"] } else { &["client"] };
        let file = std::env::var_os("HOME").map(|home| Path::new(&home).join(".my.cnf"));
        let mut defaults = match file {
            Some(file) => Self::parse(file::read(&file, groups)?)?,
            None => Self::default(),
        };
        if defaults.password.is_none() {
            defaults.password = std::env::var("MYSQL_PWD").ok().map(Secret::new);
        }
        Ok(defaults)
    }

    fn parse(settings: Vec<Setting>) -> Result<Self> {
        let mut defaults = Self::default();
        for (name, value) in settings {
            if UNKNOWN.contains(&name.as_str()) {
                defaults.unknown = Some(name);
                continue;
            }
            // Those that need no value.
            match name.as_str() {
                "ssl" => {
                    let encrypts = truth(&name, value.as_deref())?;
                    let least = defaults.mode.filter(|mode| encrypts && *mode > SslMode::Require);
                    defaults.mode =
                        least.or(Some(if encrypts { SslMode::Require } else { SslMode::Disable }));
                    continue;
                }
                "ssl-verify-server-cert" => {
                    defaults.verifies = Some(truth(&name, value.as_deref())?);
                    continue;
                }
                "get-server-public-key" => {
                    defaults.asks_for_public_key = truth(&name, value.as_deref())?;
                    continue;
                }
                _ => {}
            }
            let Some(value) = value else { continue };
            match name.as_str() {
                "user" => defaults.user = Some(value),
                "password" => defaults.password = Some(Secret::new(value)),
                "host" => defaults.host = Some(value),
                "port" => defaults.port = Some(value.parse().map_err(|_| misfit(&name, &value))?),
                "socket" => defaults.socket = Some(value.into()),
                "protocol" => defaults.protocol = Some(value.to_ascii_lowercase()),
                "ssl-mode" => defaults.mode = Some(mode(&value).ok_or_else(|| misfit(&name, &value))?),
                "ssl-ca" => defaults.authority = path(value),
                "ssl-cert" => defaults.certificate = path(value),
                "ssl-key" => defaults.key = path(value),
                "server-public-key-path" => defaults.public_key = path(value),
                _ => {}
            }
        }
        Ok(defaults)
    }

    /// Where the server listens, if the file says so. `localhost` means the socket, if there is one.
    pub(crate) fn address(&self) -> Option<Address> {
        let host = self.host.as_deref().filter(|host| !["", "localhost"].contains(host));
        match (host, self.protocol.as_deref()) {
            (_, Some("tcp")) => Some(self.tcp(host.unwrap_or("localhost"))),
            (Some(host), None) => Some(self.tcp(host)),
            (_, Some("socket")) => {
                Some(Address::Socket(self.socket.clone().unwrap_or_else(|| SOCKET.into())))
            }
            _ => self.socket.clone().map(Address::Socket),
        }
    }

    fn tcp(&self, host: &str) -> Address {
        Address::Tcp { host: host.to_owned(), port: self.port.unwrap_or(3306) }
    }

    /// Whether to encrypt and what to verify. Errors: `Usage`, of what cannot be done here.
    pub(crate) fn ssl_mode(&self) -> Result<SslMode> {
        if let Some(name) = &self.unknown {
            return Err(Error::usage(format!("~/.my.cnf says {name}, by which no server is verified here"))
                .hint("say in the URL what is to be verified: sslmode=verify-full, and sslrootcert"));
        }
        Ok(match (self.verifies, self.mode) {
            (Some(true), _) => SslMode::VerifyFull,
            (_, Some(mode)) => mode,
            (None, None) if self.authority.is_some() => SslMode::VerifyCa,
            (Some(false), None) if self.authority.is_some() => SslMode::Require,
            (_, None) => SslMode::default(),
        })
    }

    /// Whose word counts, unless that of whom the operating system trusts.
    pub(crate) fn authorities(&self) -> Option<Authorities> {
        self.authority.clone().map(Authorities::File)
    }

    /// What to show to a server that asks. Errors: `Usage`.
    pub(crate) fn client(&self) -> Result<Option<ClientCertificate>> {
        match (self.certificate.clone(), self.key.clone()) {
            (None, None) => Ok(None),
            (Some(chain), Some(key)) => Ok(Some(ClientCertificate { chain, key })),
            _ => {
                Err(Error::usage("of ssl-cert and ssl-key only one is in ~/.my.cnf")
                    .hint("give both or none"))
            }
        }
    }
}

fn path(value: String) -> Option<PathBuf> {
    (!value.is_empty()).then(|| value.into())
}

fn mode(name: &str) -> Option<SslMode> {
    Some(match name.to_ascii_uppercase().as_str() {
        "DISABLED" => SslMode::Disable,
        "PREFERRED" => SslMode::Prefer,
        "REQUIRED" => SslMode::Require,
        "VERIFY_CA" => SslMode::VerifyCa,
        "VERIFY_IDENTITY" => SslMode::VerifyFull,
        _ => return None,
    })
}

/// An option that says yes when nothing else is said.
fn truth(name: &str, value: Option<&str>) -> Result<bool> {
    match value.map(str::to_ascii_lowercase).as_deref() {
        None | Some("1" | "true" | "on") => Ok(true),
        Some("" | "0" | "false" | "off") => Ok(false),
        Some(value) => Err(misfit(name, value)),
    }
}

fn misfit(name: &str, value: &str) -> Error {
    Error::usage(format!("~/.my.cnf says {name}={value:?}, which is none"))
        .hint("mend the file, or run with another HOME")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults(settings: &[(&str, Option<&str>)]) -> Result<Defaults> {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned)));
        Defaults::parse(settings.collect())
    }

    #[test]
    fn a_file_says_who_and_where() {
        let said =
            [("user", Some("me")), ("password", Some("a#b")), ("host", Some("db")), ("port", Some("3307"))];
        let said = defaults(&said).unwrap();
        assert_eq!(said.user.as_deref(), Some("me"));
        assert_eq!(said.address(), Some(Address::Tcp { host: "db".into(), port: 3307 }));
        assert!(!format!("{said:?}").contains("a#b"));
        let local = [("host", Some("localhost")), ("socket", Some("/s"))];
        assert_eq!(defaults(&local).unwrap().address(), Some(Address::Socket("/s".into())));
        let by_tcp = [local[0], local[1], ("protocol", Some("TCP"))];
        let tcp = Address::Tcp { host: "localhost".into(), port: 3306 };
        assert_eq!(defaults(&by_tcp).unwrap().address(), Some(tcp));
        assert_eq!(defaults(&[]).unwrap().address(), None);
        assert!(defaults(&[("port", Some("soon"))]).is_err());
    }

    #[test]
    fn a_file_says_what_of_the_server_is_verified() {
        let mode = |said: &[(&str, Option<&str>)]| defaults(said).and_then(|said| said.ssl_mode());
        for (said, expected) in [
            (&[][..], SslMode::Prefer),
            (&[("ssl", None)], SslMode::Require),
            (&[("ssl", Some("0"))], SslMode::Disable),
            (&[("ssl-mode", Some("verify_identity")), ("ssl", None)], SslMode::VerifyFull),
            (&[("ssl-mode", Some("PREFERRED")), ("ssl-ca", Some("/ca"))], SslMode::Prefer),
            (&[("ssl-ca", Some("/ca"))], SslMode::VerifyCa),
            (&[("ssl-ca", Some("/ca")), ("ssl-verify-server-cert", None)], SslMode::VerifyFull),
            (&[("ssl-ca", Some("/ca")), ("ssl-verify-server-cert", Some("0"))], SslMode::Require),
        ] {
            assert_eq!(mode(said).unwrap(), expected, "{said:?}");
        }
        assert!(mode(&[("ssl-mode", Some("maybe"))]).is_err());
        assert!(mode(&[("ssl", Some("maybe"))]).is_err());
        let error = mode(&[("ssl-crl", Some("/crl"))]).unwrap_err();
        assert!(error.to_string().contains("ssl-crl"), "{error}");
    }
}
