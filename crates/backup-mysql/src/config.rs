//! What a `mysql:` or `mariadb:` URL says, and what it leaves to `~/.my.cnf`.

use std::path::PathBuf;
use std::time::Duration;

use backup_core::{DatabaseUrl, Error, Result, Secret};
use backup_tls::{Authorities, ClientCertificate, SslMode, Tls};

use crate::catalog::split::PART;
use crate::my_cnf::Defaults;

const OPTIONS: [&str; 10] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "socket",
    "server-public-key-path",
    "get-server-public-key",
    "connect-timeout",
    "silence-timeout",
    "part-size",
];
const PORT: u16 = 3306;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
const SILENCE_TIMEOUT: Duration = Duration::from_secs(60);
pub(crate) const SOCKET: &str = "/run/mysqld/mysqld.sock";

/// A server, an account, and a database.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) address: Address,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) database: String,
    pub(crate) tls: Tls,
    /// A file with the key that a password is encrypted to where there is no TLS.
    pub(crate) public_key: Option<PathBuf>,
    /// Whether a server that anybody could be is asked for that key.
    pub(crate) asks_for_public_key: bool,
    pub(crate) connect_timeout: Duration,
    /// After how long without a byte it is looked whether the server is at work.
    pub(crate) silence_timeout: Duration,
    /// About how many bytes of a large table a part has.
    pub(crate) part_size: u64,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp { host: String, port: u16 },
    Socket(PathBuf),
}

impl Address {
    /// Whether nobody but this machine sees what is sent there.
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Self::Socket(_) => true,
            Self::Tcp { host, .. } => backup_tls::is_this_machine(host),
        }
    }
}

impl Config {
    pub(crate) fn from_url(url: &DatabaseUrl) -> Result<Self> {
        Self::with_defaults(url, &Defaults::of_this_user(url.scheme == "mariadb")?)
    }

    fn with_defaults(url: &DatabaseUrl, defaults: &Defaults) -> Result<Self> {
        url.refuse_unknown_options(&OPTIONS)?;
        let example = "write it like mysql://user@host:3306/database";
        let address = match (url.option("socket"), url.hosts.as_slice()) {
            (Some(path), []) => Address::Socket(PathBuf::from(path)),
            (Some(_), _) => {
                return Err(Error::usage("the URL names a host and a socket").hint("leave one of them out"));
            }
            (None, [(host, port)]) => {
                let port = port.or(defaults.port).unwrap_or(PORT);
                Address::Tcp { host: host.clone(), port }
            }
            (None, []) => defaults.address().unwrap_or_else(|| Address::Socket(PathBuf::from(SOCKET))),
            (None, _) => return Err(Error::usage("the URL names several hosts").hint(example)),
        };
        let database = url.database_of_server().to_owned();
        if database.is_empty() {
            return Err(Error::usage("the URL names no database").hint(example));
        }
        let user = url.user.clone().or_else(|| defaults.user.clone()).or_else(|| std::env::var("USER").ok());
        let user = user.ok_or_else(|| Error::usage("the URL names no user").hint(example))?;
        if user.contains('\0') || database.contains('\0') {
            return Err(Error::usage("a name in the URL has a NUL in it").hint(example));
        }
        let seconds = |name: &str, usual: Duration| match url.option(name) {
            None => Ok(usual),
            Some(text) => match text.parse() {
                Ok(seconds @ 1..) => Ok(Duration::from_secs(seconds)),
                _ => Err(Error::usage(format!("{name} is not a number of seconds"))
                    .hint(format!("write it like {name}=10"))),
            },
        };
        let part_size = match url.option("part-size") {
            None => PART,
            Some(text) => text.parse().ok().filter(|size| *size > 0).ok_or_else(|| {
                Error::usage("part-size is not a number of bytes").hint("write it like part-size=33554432")
            })?,
        };
        let asks_for_public_key = match url.option("get-server-public-key") {
            None => defaults.asks_for_public_key,
            Some("false") => false,
            Some("true") => true,
            Some(_) => {
                return Err(Error::usage("get-server-public-key is neither true nor false")
                    .hint("write it like get-server-public-key=true"));
            }
        };
        Ok(Self {
            address,
            user,
            password: url.password.clone().or_else(|| defaults.password.clone()),
            database,
            tls: tls(url, defaults)?,
            public_key: url
                .option("server-public-key-path")
                .map(PathBuf::from)
                .or_else(|| defaults.public_key.clone()),
            asks_for_public_key,
            connect_timeout: seconds("connect-timeout", CONNECT_TIMEOUT)?,
            silence_timeout: seconds("silence-timeout", SILENCE_TIMEOUT)?,
            part_size,
        })
    }

    /// The same server, another database.
    pub(crate) fn under_name(&self, name: &str) -> Result<Self> {
        if name.is_empty() || name.contains('\0') {
            return Err(Error::usage(format!("{name:?} is not the name of a database"))
                .hint("give a name of 1 to 64 characters"));
        }
        Ok(Self { database: name.to_owned(), ..self.clone() })
    }
}

/// Each of these as the URL says, or else the file.
fn tls(url: &DatabaseUrl, defaults: &Defaults) -> Result<Tls> {
    let path = |name: &str| url.option(name).map(PathBuf::from);
    let mode = url.option("sslmode").map_or_else(|| defaults.ssl_mode(), SslMode::parse)?;
    let authorities = path("sslrootcert").map(Authorities::File).or_else(|| defaults.authorities());
    let client = match (path("sslcert"), path("sslkey")) {
        (None, None) => defaults.client()?,
        (Some(chain), Some(key)) => Some(ClientCertificate { chain, key }),
        _ => return Err(Error::usage("of sslcert and sslkey only one is given").hint("give both or none")),
    };
    if mode == SslMode::Allow {
        return Err(
            Error::usage("sslmode=allow is PostgreSQL's").hint("sslmode=prefer encrypts where it can")
        );
    }
    // What the file says of a server by its own words is meant as it is said.
    let is_named = path("sslrootcert").is_some() || url.option("sslmode").is_some() && authorities.is_some();
    let mode = if is_named { mode.with_authority_named() } else { mode };
    Ok(Tls { mode, authorities: authorities.unwrap_or_default(), client })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str) -> Result<Config> {
        Config::with_defaults(&url.parse().unwrap(), &Defaults::default())
    }

    #[test]
    fn a_url_names_a_server_an_account_and_a_database() {
        let config = config("mysql://me:secret@db:3307/shop?sslmode=verify-full&connect-timeout=3").unwrap();
        assert_eq!(config.address, Address::Tcp { host: "db".into(), port: 3307 });
        assert_eq!((config.user.as_str(), config.database.as_str()), ("me", "shop"));
        assert_eq!(config.tls.mode, SslMode::VerifyFull);
        assert_eq!(config.connect_timeout, Duration::from_secs(3));
        assert!(!format!("{config:?}").contains("secret"));
    }

    #[test]
    fn a_socket_is_an_option_and_a_lone_database_goes_to_the_usual_one() {
        let config = |url| config(url).unwrap();
        assert_eq!(config("mysql://me@/shop?socket=/tmp/s").address, Address::Socket("/tmp/s".into()));
        assert_eq!(config("mysql://me@/shop").database, "shop");
        assert_eq!(config("mysql://me@/shop").address, Address::Socket(SOCKET.into()));
        assert!(config("mysql://me@127.0.0.1/shop").address.is_local());
        assert!(!config("mysql://me@10.0.0.1/shop").address.is_local());
    }

    #[test]
    fn a_root_certificate_makes_require_verify() {
        let config = config("mysql://me@h/d?sslmode=require&sslrootcert=/ca.pem").unwrap();
        assert_eq!(config.tls.mode, SslMode::VerifyCa);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for url in [
            "mysql://me@h",
            "mysql://me@h/",
            "mysql://me@h,i/d",
            "mysql://me@h/d?sslmode=maybe",
            "mysql://me@h/d?sslcert=/c",
            "mysql://me@h/d?socket=/s",
            "mysql://me@h/d?tls=1",
            "mysql://me@h/d?connect-timeout=soon",
            "mysql://me@h/d?silence-timeout=0",
            "mysql://me@h/d?part-size=0",
            "mysql://me@h/d?get-server-public-key=maybe",
        ] {
            assert!(config(url).is_err(), "{url}");
        }
    }
}
