//! Reaching a server: the socket, TLS as `sslmode` has it, and the login.

use std::future::{Ready, ready};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use backup_core::{Error, ErrorKind, Result};
use backup_tls::{SslMode, server_name};
use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config as driver;
use tokio_postgres::tls::{self, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Connection};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::wire::{Tap, Wire};
use crate::config::{ChannelBinding, Config, Host};
use crate::error::{classify, sql_state};

/// The request for TLS, which comes before all else.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// What a server says that lets this account in only with TLS, or only without.
const NOT_LIKE_THIS: &str = "28000";

/// Logs in at the one host of `config`, with TLS or without as `sslmode` says and the server wants it.
pub(super) async fn log_in(config: &Config, tap: &Arc<Tap>) -> Result<(Client, Connection<Wire, Wire>)> {
    let mode = config.tls.mode;
    let encrypts = matches!(config.host, Host::Tcp(_)) && mode > SslMode::Allow;
    let first = attempt(config, tap, encrypts).await;
    match first {
        Err(error)
            if matches!(config.host, Host::Tcp(_))
                && matches!(mode, SslMode::Allow | SslMode::Prefer)
                && sql_state(&error) == Some(NOT_LIKE_THIS) =>
        {
            // The first error is the one that counts if the other way is none.
            attempt(config, tap, !encrypts).await.map_err(|_| error)
        }
        first => first,
    }
}

async fn attempt(
    config: &Config,
    tap: &Arc<Tap>,
    encrypts: bool,
) -> Result<(Client, Connection<Wire, Wire>)> {
    let wire = reach(config, tap, encrypts).await?;
    driver_config(config).connect_raw(wire, Through).await.map_err(classify)
}

/// Connects. `encrypts` asks for TLS.
pub(super) async fn reach(config: &Config, tap: &Arc<Tap>, encrypts: bool) -> Result<Wire> {
    let (mode, trusted) = (config.tls.mode, config.allows_clear_password());
    let (host, mut stream) = match &config.host {
        Host::Socket(directory) => {
            let path = directory.join(format!(".s.PGSQL.{}", config.port));
            let stream = UnixStream::connect(path).await.map_err(unreachable)?;
            // Nobody listens within the machine.
            return Ok(Wire::new(Box::new(Clear(stream)), trusted, Arc::clone(tap)));
        }
        Host::Tcp(host) => {
            let stream = TcpStream::connect((host.as_str(), config.port)).await.map_err(unreachable)?;
            keep_alive(&stream).map_err(unreachable)?;
            (host, stream)
        }
    };
    if !encrypts {
        return Ok(Wire::new(Box::new(Clear(stream)), trusted, Arc::clone(tap)));
    }
    stream.write_all(&SSL_REQUEST).await.map_err(unreachable)?;
    match stream.read_u8().await.map_err(unreachable)? {
        b'S' => {}
        b'N' if mode.permits_clear() => {
            return Ok(Wire::new(Box::new(Clear(stream)), trusted, Arc::clone(tap)));
        }
        b'N' => {
            return Err(Error::new(ErrorKind::Connect, "the server does not offer encrypted connections")
                .hint("set up TLS on the server, or say sslmode=prefer"));
        }
        _ => {
            return Err(Error::new(ErrorKind::Connect, "the server answers as no PostgreSQL server does")
                .hint("check the host and the port"));
        }
    }
    // A name that no certificate could have is of no matter where names are not verified.
    let name = server_name(host, mode)?.to_str().into_owned();
    let mut connector = MakeRustlsConnect::new(config.tls.client_config()?);
    let connector = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut connector, &name)
        .map_err(|error| Error::internal("no TLS can be set up").because(error))?;
    let stream = connector.connect(stream).await.map_err(|error| {
        Error::new(ErrorKind::Connect, format!("no encrypted connection came to be: {error}"))
            .hint("check sslmode and sslrootcert, and the server's certificate: its authority, its names, its dates")
            .because(error)
    })?;
    Ok(Wire::new(Box::new(stream), trusted, Arc::clone(tap)))
}

/// A peer that has gone silent is found out within a minute or two.
fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(10))?;
    sockopt::set_tcp_keepcnt(stream, 6)?;
    sockopt::set_tcp_user_timeout(stream, 90_000)?;
    Ok(())
}

fn unreachable(error: io::Error) -> Error {
    Error::new(ErrorKind::Connect, format!("the server cannot be reached: {error}"))
        .hint("check that the server runs, and that the host and the port of the URL are right")
        .because(error)
}

fn driver_config(config: &Config) -> tokio_postgres::Config {
    let mut made = tokio_postgres::Config::new();
    made.user(&config.user).dbname(&config.database).application_name(&config.application_name);
    if let Some(password) = &config.password {
        made.password(password.expose());
    }
    made.channel_binding(match config.binding {
        ChannelBinding::Disable => driver::ChannelBinding::Disable,
        ChannelBinding::Prefer => driver::ChannelBinding::Prefer,
        ChannelBinding::Require => driver::ChannelBinding::Require,
    });
    // Whatever there is to negotiate has been: the driver takes what it is given for the encrypted stream.
    made.ssl_mode(driver::SslMode::Require).ssl_negotiation(driver::SslNegotiation::Direct);
    made
}

/// What the driver takes for its TLS.
pub(super) struct Through;

impl TlsConnect<Wire> for Through {
    type Stream = Wire;
    type Error = io::Error;
    type Future = Ready<io::Result<Wire>>;

    fn connect(self, wire: Wire) -> Self::Future {
        ready(Ok(wire))
    }
}

/// A socket without TLS.
pub(super) struct Clear<S>(pub(super) S);

impl<S: AsyncRead + Unpin> AsyncRead for Clear<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Clear<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Clear<S> {
    fn channel_binding(&self) -> tls::ChannelBinding {
        tls::ChannelBinding::none()
    }
}
