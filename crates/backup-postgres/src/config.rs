//! What a `postgres:` URL says, and what the environment adds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_core::{DatabaseUrl, Error, Result, Secret};

use crate::passfile;

/// The options that a URL may have.
const OPTIONS: [&str; 11] = [
    "host",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "connect_timeout",
    "application_name",
    "lock_timeout",
    "statement_timeout",
    "clear_password",
];

/// How to reach a database.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) database: String,
    pub(crate) tls: Tls,
    /// `connect_timeout`, in seconds.
    pub(crate) connect_timeout: Duration,
    pub(crate) application_name: String,
    /// Whether the user has said that the password may be sent in clear (`clear_password=allow`).
    pub(crate) clear_password: bool,
    /// How long to wait for a lock of a table (`lock_timeout`, in milliseconds; 0 waits forever).
    pub(crate) lock_timeout: u32,
    /// How long a statement may take (`statement_timeout`, in milliseconds; 0, the default, forever).
    pub(crate) statement_timeout: u32,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Tcp(String),
    /// The directory of its socket.
    Socket(PathBuf),
}

/// How the connection is protected.
#[derive(Debug, Clone)]
pub(crate) struct Tls {
    pub(crate) mode: SslMode,
    /// A file of certificate authorities, or `system`.
    pub(crate) root: Option<String>,
    /// Our certificate and its key.
    pub(crate) client: Option<(PathBuf, PathBuf)>,
    pub(crate) binding: ChannelBinding,
}

/// `sslmode`, as libpq has it, without `allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// `channel_binding`, as libpq has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    pub(crate) fn from_url(url: &DatabaseUrl) -> Result<Self> {
        Self::new(url, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn new(url: &DatabaseUrl, environment: Environment<'_>) -> Result<Self> {
        url.refuse_unknown_options(&OPTIONS)?;
        if url.hosts.len() > 1 {
            return Err(Error::unsupported("several hosts in one URL are not supported yet")
                .hint("name the one host to connect to"));
        }
        let (host, port) = host_and_port(url, environment)?;
        let account = || environment("USER").or_else(|| environment("LOGNAME"));
        let user = url.user.clone().or_else(|| environment("PGUSER")).or_else(account);
        let user = user.ok_or_else(|| {
            Error::usage("the URL names no user").hint("write it like postgres://user@host/database")
        })?;
        let path = url.path.strip_prefix('/').unwrap_or(&url.path);
        let database = Some(path).filter(|path| !path.is_empty()).map(str::to_owned);
        let database = database.or_else(|| environment("PGDATABASE")).unwrap_or_else(|| user.clone());
        if [&database, &user].iter().any(|name| name.contains('\0')) {
            return Err(Error::usage("a name in the URL has a NUL in it").hint("check the %00 in it"));
        }
        let mut config = Self {
            host,
            port,
            user,
            password: url.password.clone().or_else(|| environment("PGPASSWORD").map(Secret::new)),
            database,
            tls: Tls::new(url, environment)?,
            connect_timeout: Duration::from_secs(number(url, "connect_timeout", 15)?.max(1).into()),
            application_name: url.option("application_name").unwrap_or("lifeboat").to_owned(),
            clear_password: match url.option("clear_password") {
                None | Some("refuse") => false,
                Some("allow") => true,
                Some(_) => return Err(choice("clear_password", "refuse or allow")),
            },
            lock_timeout: number(url, "lock_timeout", 60_000)?,
            statement_timeout: number(url, "statement_timeout", 0)?,
        };
        if config.password.is_none() {
            let file = environment("PGPASSFILE").map(PathBuf::from);
            let file = file.or_else(|| environment("HOME").map(|home| Path::new(&home).join(".pgpass")));
            if let Some(file) = file {
                config.password = passfile::find(&file, &config)?;
            }
        }
        Ok(config)
    }

    /// The same server and account, another database.
    pub(crate) fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// Whether the server gets the password in clear if it asks for that: only if the user has said so, and then only a server that was
    /// verified, or one on this machine.
    pub(crate) fn allows_clear_password(&self) -> bool {
        let is_here = match &self.host {
            Host::Socket(_) => true,
            Host::Tcp(name) => {
                name == "localhost"
                    || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        };
        let is_verified = matches!(self.tls.mode, SslMode::VerifyCa | SslMode::VerifyFull);
        self.clear_password && (is_here || is_verified)
    }

    /// The host as a password file names it.
    pub(crate) fn host_name(&self) -> &str {
        match &self.host {
            Host::Tcp(name) => name,
            Host::Socket(_) => "localhost",
        }
    }
}

impl Tls {
    fn new(url: &DatabaseUrl, environment: Environment<'_>) -> Result<Self> {
        let option = |name: &str, variable: &str| {
            url.option(name).map(str::to_owned).or_else(|| environment(variable))
        };
        let root = option("sslrootcert", "PGSSLROOTCERT");
        let mode = match option("sslmode", "PGSSLMODE").as_deref() {
            None | Some("prefer") => SslMode::Prefer,
            Some("disable") => SslMode::Disable,
            // As libpq has it: whoever names an authority wants it asked.
            Some("require") if root.is_some() => SslMode::VerifyCa,
            Some("require") => SslMode::Require,
            Some("verify-ca") => SslMode::VerifyCa,
            Some("verify-full") => SslMode::VerifyFull,
            Some(_) => return Err(choice("sslmode", "disable, prefer, require, verify-ca or verify-full")),
        };
        let binding = match option("channel_binding", "PGCHANNELBINDING").as_deref() {
            None | Some("prefer") => ChannelBinding::Prefer,
            Some("disable") => ChannelBinding::Disable,
            Some("require") => ChannelBinding::Require,
            Some(_) => return Err(choice("channel_binding", "disable, prefer or require")),
        };
        let client = match (option("sslcert", "PGSSLCERT"), option("sslkey", "PGSSLKEY")) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            _ => {
                return Err(
                    Error::usage("a client certificate needs its key").hint("give both sslcert and sslkey")
                );
            }
        };
        Ok(Self { mode, root, client, binding })
    }
}

fn choice(option: &str, among: &str) -> Error {
    Error::usage(format!("{option} has no such value")).hint(format!("it is one of {among}"))
}

fn host_and_port(url: &DatabaseUrl, environment: Environment<'_>) -> Result<(Host, u16)> {
    let (named, port) = url.hosts.first().cloned().map_or((None, None), |(host, port)| (Some(host), port));
    let named = url.option("host").map(str::to_owned).or(named).or_else(|| environment("PGHOST"));
    let port = match (port, environment("PGPORT")) {
        (Some(port), _) => port,
        (None, Some(port)) => port
            .parse()
            .map_err(|error| Error::usage("PGPORT is not a port").hint("it is a number").because(error))?,
        (None, None) => 5432,
    };
    let host = match named {
        Some(path) if path.starts_with('/') => Host::Socket(path.into()),
        Some(name) => Host::Tcp(name),
        None => {
            let usual = ["/var/run/postgresql", "/tmp"].map(PathBuf::from);
            let found =
                usual.into_iter().find(|directory| directory.join(format!(".s.PGSQL.{port}")).exists());
            found.map_or_else(|| Host::Tcp("localhost".to_owned()), Host::Socket)
        }
    };
    Ok((host, port))
}

fn number(url: &DatabaseUrl, option: &str, default: u32) -> Result<u32> {
    match url.option(option) {
        None => Ok(default),
        Some(text) => text.parse::<i32>().ok().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| {
            Error::usage(format!("{option} is not a number"))
                .hint(format!("write it like {option}={default}"))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(url: &str, environment: &[(&str, &str)]) -> Result<Config> {
        let find = |name: &str| environment.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        Config::new(&url.parse().unwrap(), &find)
    }

    #[test]
    fn a_url_wins_over_the_environment() {
        let environment =
            [("PGHOST", "elsewhere"), ("PGUSER", "someone"), ("PGPASSWORD", "p"), ("PGSSLMODE", "require")];
        let all =
            config("postgres://me:secret@db:5433/shop?sslmode=verify-full&lock_timeout=5", &environment)
                .unwrap();
        assert_eq!(all.host, Host::Tcp("db".to_owned()));
        assert_eq!((all.port, all.user.as_str(), all.database.as_str()), (5433, "me", "shop"));
        assert_eq!((all.tls.mode, all.lock_timeout), (SslMode::VerifyFull, 5));
        assert!(!format!("{all:?}").contains("secret"));
        let least = config("postgresql:///shop", &environment).unwrap();
        assert_eq!(least.host, Host::Tcp("elsewhere".to_owned()));
        assert_eq!((least.user.as_str(), least.database.as_str()), ("someone", "shop"));
        assert_eq!((least.tls.mode, least.port), (SslMode::Require, 5432));
    }

    #[test]
    fn a_socket_is_a_directory() {
        for url in ["postgres://me@%2Ftmp%2Fx/db", "postgres://me@/db?host=/tmp/x"] {
            assert_eq!(config(url, &[]).unwrap().host, Host::Socket("/tmp/x".into()), "{url}");
        }
    }

    #[test]
    fn a_password_goes_in_clear_only_to_whom_it_was_allowed_and_who_was_verified() {
        let allows = |url: &str| config(url, &[]).unwrap().allows_clear_password();
        assert!(!allows("postgres://me@far/db?sslmode=verify-full"));
        assert!(!allows("postgres://me@far/db?clear_password=allow&sslmode=require"));
        assert!(!allows("postgres://me@127.0.0.1/db"));
        assert!(allows("postgres://me@far/db?clear_password=allow&sslmode=verify-full"));
        assert!(allows("postgres://me@127.0.0.1/db?clear_password=allow"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for url in [
            "postgres://me@h/db?sslmode=maybe",
            "postgres://me@h/db?connect_timeout=-1",
            "postgres://me@h/db?sslcert=x",
            "postgres://me@h/db?clear_password=yes",
            "postgres://me@a,b/db",
            "postgres://h/db",
        ] {
            assert!(config(url, &[]).is_err(), "{url}");
        }
    }
}
