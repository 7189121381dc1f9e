//! No password in clear: a server that asks for one is not answered, unless the URL allows it.
//!
//! The driver answers whatever it is asked, so what the server says is looked at before the driver sees it. For that we ask for TLS
//! ourselves: the driver takes what it is given for the encrypted connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};

use crate::config::SslMode;

/// What the error says when a server asks for the password in clear.
pub(crate) const ASKED: &str = "the server asks for the password in clear";

/// The request for TLS, as the protocol has it.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Makes connections as `sslmode` wants them, by `tls`, that give no password in clear away.
#[derive(Clone)]
pub(crate) struct Guarded<M> {
    pub(crate) tls: M,
    pub(crate) mode: SslMode,
    /// Whether the password may be sent in clear.
    pub(crate) allows: bool,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl<S, M> MakeTlsConnect<S> for Guarded<M>
where
    M: MakeTlsConnect<S>,
    M::TlsConnect: Send + 'static,
    M::Stream: Send,
    <M::TlsConnect as TlsConnect<S>>::Future: Send,
    <M::TlsConnect as TlsConnect<S>>::Error: Send,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Watched<S, M::Stream>;
    type TlsConnect = Guarded<M::TlsConnect>;
    type Error = M::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Self::TlsConnect, Self::Error> {
        let tls = self.tls.make_tls_connect(domain)?;
        Ok(Guarded { tls, mode: self.mode, allows: self.allows })
    }
}

impl<S, T> TlsConnect<S> for Guarded<T>
where
    T: TlsConnect<S> + Send + 'static,
    T::Stream: Send,
    T::Future: Send,
    T::Error: Send,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Watched<S, T::Stream>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Failure>> + Send>>;

    fn connect(self, mut stream: S) -> Self::Future {
        Box::pin(async move {
            let encrypted = match self.mode {
                SslMode::Disable => false,
                mode => {
                    stream.write_all(&SSL_REQUEST).await?;
                    match stream.read_u8().await? {
                        b'S' => true,
                        b'N' if mode == SslMode::Prefer => false,
                        b'N' => return Err("server does not support TLS".into()),
                        _ => return Err("the server answers something else than whether it has TLS".into()),
                    }
                }
            };
            let stream = if encrypted {
                Either::Tls(self.tls.connect(stream).await.map_err(Into::into)?)
            } else {
                Either::Plain(stream)
            };
            Ok(Watched { stream, watch: Watch { over: self.allows, ..Watch::default() } })
        })
    }
}

/// A connection with TLS or without.
#[derive(Debug)]
enum Either<S, T> {
    Plain(S),
    Tls(T),
}

/// A connection that breaks when the server asks for the password in clear.
#[derive(Debug)]
pub(crate) struct Watched<S, T> {
    stream: Either<S, T>,
    watch: Watch,
}

impl<S: AsyncRead + AsyncWrite + Unpin, T: TlsStream + Unpin> TlsStream for Watched<S, T> {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.stream {
            Either::Plain(_) => ChannelBinding::none(),
            Either::Tls(tls) => tls.channel_binding(),
        }
    }
}

impl<S: AsyncRead + Unpin, T: AsyncRead + Unpin> AsyncRead for Watched<S, T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = match &mut self.stream {
            Either::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Either::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if matches!(read, Poll::Ready(Ok(())))
            && self.watch.asks_in_clear(buf.filled().get(before..).unwrap_or_default())
        {
            buf.set_filled(before);
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::PermissionDenied, ASKED)));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin, T: AsyncWrite + Unpin> AsyncWrite for Watched<S, T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Either::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Either::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Either::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Either::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Either::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Either::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Reads what a server says until we are let in, however it is cut into pieces.
#[derive(Debug, Default)]
struct Watch {
    /// The beginning of a message: its letter, its length, and of one about authentication what it asks for.
    header: Vec<u8>,
    /// How much of a message is of no interest.
    skip: usize,
    over: bool,
}

impl Watch {
    fn asks_in_clear(&mut self, bytes: &[u8]) -> bool {
        const CLEAR: u32 = 3;
        let number = |bytes: &[u8]| bytes.try_into().map(u32::from_be_bytes).unwrap_or_default();
        for byte in bytes {
            if self.over {
                return false;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            self.header.push(*byte);
            let is_authentication = self.header.first() == Some(&b'R');
            let length =
                usize::try_from(number(self.header.get(1..5).unwrap_or_default())).unwrap_or_default();
            match (self.header.len(), is_authentication) {
                (5, false) => self.skip = length.saturating_sub(4),
                (9, true) => match number(self.header.get(5..9).unwrap_or_default()) {
                    CLEAR => return true,
                    0 => self.over = true,
                    _ => self.skip = length.saturating_sub(8),
                },
                _ => continue,
            }
            self.header.clear();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(letter: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[letter][..], &length.to_be_bytes(), body].concat()
    }

    proptest! {
        #[test]
        fn a_password_in_clear_is_noticed_however_the_messages_are_cut(
            notice in "[a-z]{0,20}", asks in any::<bool>(), cuts in proptest::collection::vec(1usize..7, 0..40),
        ) {
            let code = if asks { [0, 0, 0, 3] } else { [0, 0, 0, 10] };
            let said = [message(b'N', notice.as_bytes()), message(b'v', b"xR\0"), message(b'R', &code)].concat();
            let mut watch = Watch::default();
            let (mut rest, mut noticed) = (&said[..], false);
            for cut in cuts.into_iter().chain([said.len()]) {
                let (now, then) = rest.split_at(cut.min(rest.len()));
                noticed |= watch.asks_in_clear(now);
                rest = then;
            }
            prop_assert_eq!(noticed, asks);
        }
    }

    #[test]
    fn rows_are_not_looked_at() {
        let mut watch = Watch::default();
        assert!(!watch.asks_in_clear(&message(b'R', &[0, 0, 0, 0])));
        assert!(!watch.asks_in_clear(&message(b'R', &[0, 0, 0, 3])));
    }
}
