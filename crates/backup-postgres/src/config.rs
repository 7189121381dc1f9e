//! What a `postgres:` URL says, and what the environment adds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_core::{DatabaseUrl, Error, Result, Secret};
use backup_tls::{Authorities, ClientCertificate, SslMode, Tls};

use crate::{passfile, service};

/// The options that a URL may have.
const OPTIONS: [&str; 15] = [
    "host",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
    "connect_timeout",
    "application_name",
    "target_session_attrs",
    "service",
    "passfile",
    "lock_timeout",
    "statement_timeout",
    "clear_password",
    "silence_timeout",
];

/// How to reach a database.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) host: Host,
    pub(crate) port: u16,
    /// Other hosts to try, in this order, and the password for each.
    pub(crate) others: Vec<(Host, u16, Option<Secret>)>,
    pub(crate) session_attrs: SessionAttrs,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) database: String,
    pub(crate) tls: Tls,
    pub(crate) binding: ChannelBinding,
    /// `connect_timeout`, in seconds.
    pub(crate) connect_timeout: Duration,
    pub(crate) application_name: String,
    /// Whether the user has said that the password may be sent in clear (`clear_password=allow`).
    pub(crate) clear_password: bool,
    /// How long to wait for a lock of a table (`lock_timeout`, in milliseconds; 0 waits forever).
    pub(crate) lock_timeout: u32,
    /// How long a statement may take (`statement_timeout`, in milliseconds; 0, the default, forever).
    pub(crate) statement_timeout: u32,
    /// After how long without a word it is looked whether the server is at work (`silence_timeout`, in seconds).
    pub(crate) silence_timeout: Duration,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Tcp(String),
    /// The directory of its socket.
    Socket(PathBuf),
}

impl Host {
    /// Whether the server is surely on this machine.
    pub(crate) fn is_this_machine(&self) -> bool {
        match self {
            Self::Tcp(host) => backup_tls::is_this_machine(host),
            Self::Socket(_) => true,
        }
    }
}

/// `target_session_attrs`, as libpq has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionAttrs {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// `channel_binding`, as libpq has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelBinding {
    Disable,
    Prefer,
    Require,
}

/// The directories in which servers make their sockets if nobody says otherwise: Debian's, and PostgreSQL's own.
const SOCKETS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the URL says, or else the service file, or else the environment.
struct Settings<'a> {
    url: &'a DatabaseUrl,
    service: HashMap<String, String>,
    environment: Environment<'a>,
}

impl Settings<'_> {
    fn get(&self, option: &str, variable: &str) -> Option<String> {
        let url = self.url.option(option).map(str::to_owned);
        url.or_else(|| self.or_get(option, variable))
    }

    /// The same without the URL.
    fn or_get(&self, option: &str, variable: &str) -> Option<String> {
        self.service.get(option).cloned().or_else(|| (self.environment)(variable))
    }

    /// A file, by option or variable, or else of this name in the user's home, if it is there.
    fn file(&self, option: &str, variable: &str, usual: &str) -> Option<PathBuf> {
        let home = || (self.environment)("HOME").map(|home| Path::new(&home).join(usual));
        let named = self.get(option, variable).map(PathBuf::from);
        named.or_else(|| home().filter(|file| file.exists()))
    }

    fn number(&self, option: &str, variable: &str, default: u32) -> Result<u32> {
        match self.get(option, variable) {
            None => Ok(default),
            Some(text) => text.parse::<i32>().ok().and_then(|n| u32::try_from(n).ok()).ok_or_else(|| {
                Error::usage(format!("{option} is not a number"))
                    .hint(format!("write it like {option}={default}"))
            }),
        }
    }
}

impl Config {
    pub(crate) fn from_url(url: &DatabaseUrl) -> Result<Self> {
        Self::new(url, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn new(url: &DatabaseUrl, environment: Environment<'_>) -> Result<Self> {
        url.refuse_unknown_options(&OPTIONS)?;
        let service = url.option("service").map(str::to_owned).or_else(|| environment("PGSERVICE"));
        let service = service.map_or(Ok(HashMap::new()), |name| service::find(&name, environment))?;
        let settings = Settings { url, service, environment };
        let account = || environment("USER").or_else(|| environment("LOGNAME"));
        let user = url.user.clone().or_else(|| settings.or_get("user", "PGUSER")).or_else(account);
        let user = user.ok_or_else(|| {
            Error::usage("the URL names no user").hint("write it like postgres://user@host/database")
        })?;
        let database = Some(url.database_of_server()).filter(|name| !name.is_empty()).map(str::to_owned);
        let database = database.or_else(|| settings.or_get("dbname", "PGDATABASE"));
        let database = database.unwrap_or_else(|| user.clone());
        if [&database, &user].iter().any(|name| name.contains('\0')) {
            return Err(Error::usage("a name in the URL has a NUL in it").hint("check the %00 in it"));
        }
        let mut hosts = hosts(&settings)?.into_iter();
        let (host, port) = hosts.next().ok_or_else(|| Error::usage("the URL names no host"))?;
        let mut config = Self {
            host,
            port,
            others: Vec::new(),
            session_attrs: session_attrs(&settings)?,
            user,
            password: url
                .password
                .clone()
                .or_else(|| settings.or_get("password", "PGPASSWORD").map(Secret::new)),
            database,
            tls: tls(&settings)?,
            binding: match settings.get("channel_binding", "PGCHANNELBINDING").as_deref() {
                None | Some("prefer") => ChannelBinding::Prefer,
                Some("disable") => ChannelBinding::Disable,
                Some("require") => ChannelBinding::Require,
                Some(_) => return Err(choice("channel_binding", "disable, prefer or require")),
            },
            connect_timeout: seconds(settings.number("connect_timeout", "PGCONNECT_TIMEOUT", 15)?),
            application_name: settings
                .get("application_name", "PGAPPNAME")
                .unwrap_or_else(|| "lifeboat".to_owned()),
            clear_password: match url.option("clear_password") {
                None | Some("refuse") => false,
                Some("allow") => true,
                Some(_) => return Err(choice("clear_password", "refuse or allow")),
            },
            lock_timeout: settings.number("lock_timeout", "", 60_000)?,
            statement_timeout: settings.number("statement_timeout", "", 0)?,
            silence_timeout: seconds(settings.number("silence_timeout", "", 60)?),
        };
        config.others = hosts.map(|(host, port)| (host, port, config.password.clone())).collect();
        if config.password.is_none()
            && let Some(file) = settings.file("passfile", "PGPASSFILE", ".pgpass")
        {
            config.password = passfile::find(&file, &config)?;
            let others: Vec<_> = config.hosts().skip(1).collect();
            for (other, with) in config.others.iter_mut().zip(others) {
                other.2 = passfile::find(&file, &Self { password: None, ..with })?;
            }
        }
        Ok(config)
    }

    /// The same for each of the hosts alone.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = Self> {
        let alone = |host: &Host, port: u16, password: &Option<Secret>| Self {
            host: host.clone(),
            port,
            password: password.clone(),
            others: Vec::new(),
            session_attrs: SessionAttrs::Any,
            ..self.clone()
        };
        let first = alone(&self.host, self.port, &self.password);
        std::iter::once(first)
            .chain(self.others.iter().map(move |(host, port, password)| alone(host, *port, password)))
    }

    /// The same server and account, another database.
    pub(crate) fn with_database(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    /// Whether the server gets the password in clear if it asks for that: only if the user has said so, and then only a server that was
    /// verified, or one on this machine.
    pub(crate) fn allows_clear_password(&self) -> bool {
        self.clear_password && (self.host.is_this_machine() || self.tls.mode.verifies())
    }

    /// The host as a password file names it: what is reached by a usual socket is `localhost` too.
    pub(crate) fn host_names(&self) -> Vec<&str> {
        match &self.host {
            Host::Tcp(name) => vec![name],
            Host::Socket(directory) => {
                let usual = SOCKETS.contains(&directory.to_str().unwrap_or_default());
                directory.to_str().into_iter().chain(usual.then_some("localhost")).collect()
            }
        }
    }
}

fn seconds(number: u32) -> Duration {
    Duration::from_secs(number.max(1).into())
}

fn tls(settings: &Settings<'_>) -> Result<Tls> {
    let named = settings.get("sslmode", "PGSSLMODE");
    let mut mode = named.as_deref().map_or(Ok(SslMode::default()), SslMode::parse)?;
    let root = settings.file("sslrootcert", "PGSSLROOTCERT", ".postgresql/root.crt");
    let authorities = match root {
        Some(system) if system.as_os_str() == "system" => {
            // Anybody can have a certificate of theirs, of some name.
            if named.is_some() && mode != SslMode::VerifyFull {
                return Err(Error::usage("sslrootcert=system proves nothing with this sslmode")
                    .hint("say sslmode=verify-full"));
            }
            mode = SslMode::VerifyFull;
            Authorities::System
        }
        Some(file) => {
            mode = mode.with_authority_named();
            Authorities::File(file)
        }
        None => Authorities::System,
    };
    let files = (
        settings.file("sslcert", "PGSSLCERT", ".postgresql/postgresql.crt"),
        settings.file("sslkey", "PGSSLKEY", ".postgresql/postgresql.key"),
    );
    let client = match files {
        (Some(chain), Some(key)) => Some(ClientCertificate { chain, key }),
        (None, None) => None,
        _ => {
            return Err(
                Error::usage("a client certificate needs its key").hint("give both sslcert and sslkey")
            );
        }
    };
    Ok(Tls { mode, authorities, client })
}

fn session_attrs(settings: &Settings<'_>) -> Result<SessionAttrs> {
    Ok(match settings.get("target_session_attrs", "PGTARGETSESSIONATTRS").as_deref() {
        None | Some("any") => SessionAttrs::Any,
        Some("read-write") => SessionAttrs::ReadWrite,
        Some("read-only") => SessionAttrs::ReadOnly,
        Some("primary") => SessionAttrs::Primary,
        Some("standby") => SessionAttrs::Standby,
        Some("prefer-standby") => SessionAttrs::PreferStandby,
        Some(_) => {
            return Err(choice(
                "target_session_attrs",
                "any, read-write, read-only, primary, standby or prefer-standby",
            ));
        }
    })
}

fn choice(option: &str, among: &str) -> Error {
    Error::usage(format!("{option} has no such value")).hint(format!("it is one of {among}"))
}

/// The hosts, each with its port. Lists are apart by commas, as libpq has them.
fn hosts(settings: &Settings<'_>) -> Result<Vec<(Host, u16)>> {
    let ports = settings.or_get("port", "PGPORT");
    let ports: Vec<u16> = ports
        .as_deref()
        .map_or(Ok(Vec::new()), |ports| ports.split(',').map(str::parse).collect())
        .map_err(|error| Error::usage("the port is no port").hint("it is a number").because(error))?;
    let port = |place: usize| match ports.as_slice() {
        [] => Ok(5432),
        [one] => Ok(*one),
        several => several.get(place).copied().ok_or_else(|| {
            Error::usage("there are not as many ports as hosts").hint("name one port, or one for each host")
        }),
    };
    let named: Vec<(String, Option<u16>)> = match settings.url.option("host") {
        Some(names) => names.split(',').map(|name| (name.to_owned(), None)).collect(),
        None if !settings.url.hosts.is_empty() => settings.url.hosts.clone(),
        None => settings
            .or_get("host", "PGHOST")
            .map(|names| names.split(',').map(|name| (name.to_owned(), None)).collect())
            .unwrap_or_default(),
    };
    if named.is_empty() {
        let port = settings.url.hosts.first().and_then(|(_, port)| *port).map_or_else(|| port(0), Ok)?;
        let found = SOCKETS
            .map(PathBuf::from)
            .into_iter()
            .find(|directory| directory.join(format!(".s.PGSQL.{port}")).exists());
        return Ok(vec![(found.map_or_else(|| Host::Tcp("localhost".to_owned()), Host::Socket), port)]);
    }
    let with_port = |(place, (name, own)): (usize, (String, Option<u16>))| {
        let host = if name.starts_with('/') { Host::Socket(name.into()) } else { Host::Tcp(name) };
        Ok((host, own.map_or_else(|| port(place), Ok)?))
    };
    named.into_iter().enumerate().map(with_port).collect()
}

#[cfg(test)]
mod tests;
