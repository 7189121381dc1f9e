//! The connection: one, of our own, for everything. It logs in, runs statements, hands over rows as they come from the wire, and sends
//! rows to LOAD DATA LOCAL. What it needs of the protocol is small, and no driver gives out rows undecoded.

mod field;
mod infile;
mod login;
mod packet;
mod public_key;
mod rows;
mod statement;
mod tls;
mod watch;

use backup_core::{Ctx, Error, ErrorKind, Result};
use tokio::net::{TcpStream, UnixStream};

use crate::config::{Address, Config};
use crate::error::{lost, printable};
use login::Secrecy;
use packet::{Packets, Stream};
use watch::Watch;

pub(crate) use field::{Head, head};
pub(crate) use infile::NAME as INFILE;
pub(crate) use rows::Piece;
pub(crate) use statement::{Done, Row};

/// What is to be said to the server at first, whatever the connection is for. What it says is in English: warnings are understood. Nobody's lock is waited
/// for longer than a minute, unless who waits says otherwise. Primary keys that MySQL has made of itself are told like others.
const SETTINGS: &str = "SET NAMES utf8mb4, SESSION wait_timeout = 604800, net_write_timeout = 604800, \
     net_read_timeout = 604800, sql_select_limit = DEFAULT, sql_big_selects = 1, sql_quote_show_create = 1, \
     lc_messages = 'en_US', time_zone = '+00:00', autocommit = 1, lock_wait_timeout = 60 \
     /*!80030 , show_gipk_in_create_table_and_information_schema = 1 */";

/// The server waits a week for the next statement.
pub(crate) const PATIENT: &str = "SET SESSION wait_timeout = 604800";

/// What older servers lack goes beyond what is looked for here.
const OLDEST_MYSQL: (u32, u32) = (5, 7);
const OLDEST_MARIADB: (u32, u32) = (10, 5);

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

/// The collations that character sets of Unicode have by default: `general_ci`, or ones that know Unicode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collations {
    General,
    /// MySQL's, of `utf8mb4` alone.
    Unicode9,
    /// MariaDB's.
    Unicode14,
}

impl Version {
    /// Whether there are libraries, and `information_schema` says which.
    pub(crate) fn has_libraries(&self) -> bool {
        !self.is_mariadb && self.number >= (9, 2, 0)
    }

    /// Whether a database can be READ ONLY.
    pub(crate) fn has_read_only_databases(&self) -> bool {
        !self.is_mariadb && self.number >= (8, 0, 22)
    }

    /// Whether rows may be given versions of the past, and the times of the present ones.
    pub(crate) fn takes_history(&self) -> bool {
        self.is_mariadb && self.number >= (10, 11, 0)
    }

    /// Whether databases say if their tables are encrypted.
    pub(crate) fn encrypts_databases(&self) -> bool {
        !self.is_mariadb && self.number >= (8, 0, 16)
    }

    /// Whether both compare texts alike, collation by collation: as far as that is known, those do that are of one major version.
    pub(crate) fn compares_like(&self, other: &Self) -> bool {
        (self.is_mariadb, self.number.0) == (other.is_mariadb, other.number.0)
    }

    /// What character sets of Unicode have where no collation is said.
    pub(crate) fn collations(&self) -> Collations {
        match (self.is_mariadb, self.number) {
            (false, number) if number >= (8, 0, 1) => Collations::Unicode9,
            (true, number) if number >= (11, 5, 0) => Collations::Unicode14,
            _ => Collations::General,
        }
    }

    pub(crate) fn parse(text: &str) -> Self {
        let is_mariadb = text.contains("MariaDB");
        // Old replicas would not believe in a MariaDB 10, so it says 5.5.5 before.
        let plain = if is_mariadb { text.strip_prefix("5.5.5-").unwrap_or(text) } else { text };
        let mut numbers =
            plain.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
        let mut next = || numbers.next().unwrap_or(0);
        Self { text: plain.to_owned(), is_mariadb, number: (next(), next(), next()) }
    }

    fn new_enough(&self) -> Result<()> {
        let oldest = if self.is_mariadb { OLDEST_MARIADB } else { OLDEST_MYSQL };
        if (self.number.0, self.number.1) >= oldest {
            return Ok(());
        }
        let (product, version) = (self.product(), printable(&self.text));
        Err(Error::unsupported(format!(
            "{product} {version} is older than lifeboat knows: {product} {}.{} is the oldest",
            oldest.0, oldest.1
        ))
        .hint("upgrade the server, or back it up with its own programs"))
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
        if secrecy.is_open() {
            ctx.warn(format!(
                "the connection to {} is {}: whoever is on the way can read or change what is sent; say sslmode=verify-full",
                place(config),
                if secrecy == Secrecy::Clear { "not encrypted" } else { "encrypted, but to whom was not verified" }
            ));
        }
        connection.version.new_enough()?;
        connection.packets.watch(Watch::new(config, connection.id));
        connection.execute(ctx, SETTINGS).await?;
        // Servers that are read-only by default let those write who say so.
        connection.execute(ctx, "SET SESSION TRANSACTION READ WRITE").await?;
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
pub(crate) fn place(config: &Config) -> String {
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
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// What a server may say, as it should be and not.
    fn answer() -> impl Strategy<Value = Vec<u8>> {
        let said: &[&[u8]] = &[
            b"",
            b"\x01",
            b"\x02",
            b"\xfc\xff\xff",
            b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\xfe\0\0\x02\0",
            b"\0\0\0\x02\0\0\0",
            b"\0\0\0\x0a\0\0\0",
            b"\0\xfe\xff\xff\xff\xff\xff\xff\xff\xff\0\x02\0\0\0",
            b"\xff\x15\x04#28000no",
            b"\xff",
            b"\xfblifeboat",
            b"\xfb/etc/passwd",
            b"\x01a\xfb",
            b"\xfd\xff\xff\xff",
            b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x0b\0\0\0\x03\0\0\0\0\0",
        ];
        let said: Vec<_> = said.iter().map(|said| said.to_vec()).collect();
        prop_oneof![proptest::sample::select(said), proptest::collection::vec(any::<u8>(), 0..40)]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn whatever_a_server_answers_is_a_result_or_an_error(
            answers in proptest::collection::vec(answer(), 0..12),
            cut in 0usize..400,
            asks in 0..4,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (ours, mut theirs) = tokio::io::duplex(1 << 20);
                let mut said = Vec::new();
                for (answer, sequence) in answers.iter().zip(1u8..) {
                    said.extend([answer.len() as u8, 0, 0, sequence]);
                    said.extend(answer);
                }
                said.truncate(cut);
                theirs.write_all(&said).await.unwrap();
                theirs.shutdown().await.unwrap();
                let (packets, version) = (Packets::new(Box::new(ours)), Version::parse("9.7.0"));
                let mut connection = Connection { packets, busy: false, id: 1, version };
                let ctx = Ctx::new();
                let is_error = match asks {
                    0 => connection.execute(&ctx, "SELECT 1").await.is_err(),
                    1 => connection.rows(&ctx, "SELECT 1").await.is_err(),
                    2 => match connection.infile(&ctx, "LOAD DATA").await {
                        Ok(mut infile) => {
                            let _ = infile.write(&ctx, b"row").await;
                            infile.finish(&ctx).await.is_err()
                        }
                        Err(_) => true,
                    },
                    _ => match connection.stream("SELECT 1").await {
                        Ok(mut rows) => loop {
                            match rows.next().await {
                                Ok(Some(_)) => {}
                                Ok(None) => break false,
                                Err(_) => break true,
                            }
                        },
                        Err(_) => true,
                    },
                };
                // Whoever is cut off before his answer has begun hears of an error.
                assert!(is_error || said.len() > 4);
            });
        }
    }

    #[test]
    fn answers_that_come_byte_by_byte_are_read_to_their_ends() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (ours, theirs) = tokio::io::duplex(1);
            let (mut from_us, mut to_us) = tokio::io::split(theirs);
            let column = b"\x03def\0\0\0\x01a\0\x0c\x3f\0\x0b\0\0\0\x03\0\0\0\0\0";
            let end = b"\xfe\0\0\x02\0";
            let (mut said, answer): (Vec<u8>, [&[u8]; 5]) = (vec![], [b"\x01", column, end, b"\x011", end]);
            for (payload, sequence) in (0..2).flat_map(|_| answer.iter().zip(1u8..)) {
                said.extend([payload.len() as u8, 0, 0, sequence]);
                said.extend(*payload);
            }
            tokio::spawn(async move { to_us.write_all(&said).await });
            tokio::spawn(async move { tokio::io::copy(&mut from_us, &mut tokio::io::sink()).await });
            let (packets, version) = (Packets::new(Box::new(ours)), Version::parse("9.7.0"));
            let mut connection = Connection { packets, busy: false, id: 1, version };
            for _ in 0..2 {
                let rows = connection.rows(&Ctx::new(), "SELECT 1").await.unwrap();
                assert_eq!(rows, [[Some(b"1".to_vec())]]);
            }
        });
    }

    #[test]
    fn versions_of_both_products_are_told_apart() {
        let version = Version::parse("5.5.5-10.11.19-MariaDB-0+deb12u1-log");
        assert_eq!((version.is_mariadb, version.number), (true, (10, 11, 19)));
        let version = Version::parse("8.4.3");
        assert_eq!((version.is_mariadb, version.number, version.product()), (false, (8, 4, 3), "MySQL"));
        for (text, is_new_enough) in [
            ("5.6.51-log", false),
            ("5.7.44", true),
            ("10.4.34-MariaDB", false),
            ("5.5.5-10.5.1-MariaDB", true),
            ("", false),
        ] {
            assert_eq!(Version::parse(text).new_enough().is_ok(), is_new_enough, "{text}");
        }
    }
}
