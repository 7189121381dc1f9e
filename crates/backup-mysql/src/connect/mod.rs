//! The connection: one, of our own, for everything. It logs in, runs statements, hands over rows as they come from the wire, and sends
//! rows to LOAD DATA LOCAL. What it needs of the protocol is small, and no driver gives out rows undecoded.

mod field;
mod infile;
mod login;
mod packet;
mod rows;
mod statement;
mod tls;

use backup_core::{Ctx, Error, ErrorKind, Result};
use tokio::net::{TcpStream, UnixStream};

use crate::config::{Address, Config};
use crate::error::lost;
use login::Secrecy;
use packet::{Packets, Stream};

pub(crate) use field::{Head, head};
pub(crate) use infile::NAME as INFILE;
pub(crate) use rows::Piece;
pub(crate) use statement::{Done, Row};

/// What is to be said to the server at first, whatever the connection is for. What it says is in English: warnings are understood.
const SETTINGS: &str = "SET NAMES utf8mb4, SESSION wait_timeout = 604800, net_write_timeout = 604800, \
     net_read_timeout = 604800, sql_select_limit = DEFAULT, sql_big_selects = 1, sql_quote_show_create = 1, \
     lc_messages = 'en_US', time_zone = '+00:00', autocommit = 1";

/// One connection to the server.
#[derive(Debug)]
pub(crate) struct Connection {
    packets: Packets,
    /// A statement was begun and its answer not read to the end: nothing else can be said here.
    busy: bool,
    pub(crate) id: u32,
    pub(crate) version: Version,
}

/// Which server it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) text: String,
    pub(crate) is_mariadb: bool,
    pub(crate) number: (u32, u32, u32),
}

impl Version {
    /// Whether there are libraries, and `information_schema` says which.
    pub(crate) fn has_libraries(&self) -> bool {
        !self.is_mariadb && self.number >= (9, 2, 0)
    }

    fn parse(text: &str) -> Self {
        let is_mariadb = text.contains("MariaDB");
        // Old replicas would not believe in a MariaDB 10, so it says 5.5.5 before.
        let plain = if is_mariadb { text.strip_prefix("5.5.5-").unwrap_or(text) } else { text };
        let mut numbers =
            plain.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { text: plain.to_owned(), is_mariadb, number: (next(), next(), next()) }
    }

    pub(crate) fn product(&self) -> &'static str {
        if self.is_mariadb { "MariaDB" } else { "MySQL" }
    }
}

impl Connection {
    /// Connects and logs in. `files` offers to send rows to LOAD DATA LOCAL.
    pub(crate) async fn open(ctx: &Ctx, config: &Config, files: bool) -> Result<Self> {
        let connected = tokio::time::timeout(config.connect_timeout, Self::log_in(config, files));
        let connected = ctx.run(async { connected.await.unwrap_or_else(|_| Err(silent())) }).await;
        let (mut connection, secrecy) =
            connected.map_err(|error| error.during(format!("connect to {}", place(config))))?;
        if secrecy != Secrecy::Trusted {
            ctx.warn(format!(
                "the connection to {} is {}: whoever is on the way can read or change what is sent; say sslmode=verify-full",
                place(config),
                if secrecy == Secrecy::Clear { "not encrypted" } else { "encrypted, but to whom was not verified" }
            ));
        }
        connection.execute(ctx, SETTINGS).await?;
        let limit = if connection.version.is_mariadb { "max_statement_time" } else { "max_execution_time" };
        connection.execute(ctx, &format!("SET SESSION {limit} = 0")).await?;
        Ok(connection)
    }

    async fn log_in(config: &Config, files: bool) -> Result<(Self, Secrecy)> {
        let (packets, greeting, secrecy) = login::login(config, reach(&config.address).await?, files).await?;
        let version = Version::parse(&greeting.version);
        Ok((Self { packets, busy: false, id: greeting.connection, version }, secrecy))
    }
}

/// For people: where the server is.
fn place(config: &Config) -> String {
    match &config.address {
        Address::Tcp { host, port } => format!("{}:{port}", host.escape_debug()),
        Address::Socket(path) => path.display().to_string(),
    }
}

fn silent() -> Error {
    Error::new(ErrorKind::Connect, "the server did not answer in time")
        .hint("check the address and the firewall, or raise connect-timeout in the URL")
}

async fn reach(address: &Address) -> Result<Box<dyn Stream>> {
    let unreachable = |error: std::io::Error| {
        Error::new(ErrorKind::Connect, format!("the server cannot be reached: {error}"))
            .hint("check the address, and that the server is running")
            .because(error)
    };
    match address {
        Address::Socket(path) => Ok(Box::new(UnixStream::connect(path).await.map_err(unreachable)?)),
        Address::Tcp { host, port } => {
            let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(unreachable)?;
            stream.set_nodelay(true).map_err(lost)?;
            // A server that vanished without a word is noticed in some minutes, however long a statement may take.
            rustix::net::sockopt::set_socket_keepalive(&stream, true).map_err(|error| lost(error.into()))?;
            rustix::net::sockopt::set_tcp_keepidle(&stream, std::time::Duration::from_secs(60))
                .map_err(|error| lost(error.into()))?;
            Ok(Box::new(stream))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_products_are_told_apart() {
        let version = Version::parse("5.5.5-10.11.19-MariaDB-0+deb12u1-log");
        assert_eq!((version.is_mariadb, version.number), (true, (10, 11, 19)));
        let version = Version::parse("8.4.3");
        assert_eq!((version.is_mariadb, version.number, version.product()), (false, (8, 4, 3), "MySQL"));
    }
}
