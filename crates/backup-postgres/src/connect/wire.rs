//! What a server sends, on its way to the driver: the login is watched, and the rows of a COPY go past the driver.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use futures::channel::mpsc;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsStream};
use tokio_util::io::poll_read_buf;

/// How much is read at once while rows come, and otherwise.
const ROWS: usize = 256 << 10;
const TALK: usize = 64 << 10;
/// Rows of about so many bytes are passed on together, if they are there without waiting.
const BATCH: usize = 128 << 10;
/// The longest message of a server that we have not logged in to.
const LOGIN: usize = 64 << 10;
/// The longest of one that we have: a row cannot be longer.
const LONGEST: usize = 1 << 30;
/// A message's tag and length.
const HEAD: usize = 5;

const AUTHENTICATION: u8 = b'R';
const COPY_OUT: u8 = b'H';
const COPY_DATA: u8 = b'd';
const COPY_DONE: u8 = b'c';
const COMPLETE: u8 = b'C';
const READY: u8 = b'Z';
const NOTICE: u8 = b'N';
const PARAMETER: u8 = b'S';
const NOTIFICATION: u8 = b'A';
/// An authentication message that asks for the password as it is.
const CLEARTEXT: [u8; 4] = [0, 0, 0, 3];

/// What the error says when a server asks for the password in clear.
pub(crate) const ASKED: &str = "the server asks for the password in clear";

/// That the server has not said how many rows there were.
const UNSAID: u64 = u64::MAX;

/// Where the rows of the COPYs are to go that are asked for next, in their order.
#[derive(Debug, Default)]
pub(super) struct Tap {
    next: Mutex<VecDeque<Sink>>,
}

/// Where the rows of a COPY go, and the server's own count of them.
#[derive(Debug)]
struct Sink {
    rows: mpsc::Sender<Bytes>,
    sent: Arc<AtomicU64>,
}

/// The rows of a COPY, as the messages they come in: headers are never cut, bodies may be.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) messages: mpsc::Receiver<Bytes>,
    sent: Arc<AtomicU64>,
}

impl Copied {
    /// How many rows the server says it has sent, once they have come to their end.
    pub(super) fn sent(&self) -> Option<u64> {
        Some(self.sent.load(Ordering::SeqCst)).filter(|count| *count != UNSAID)
    }
}

impl Tap {
    /// The rows of a COPY that is about to be asked for. Until then, nothing else may be.
    pub(super) fn open(&self) -> Copied {
        let (sender, messages) = mpsc::channel(1);
        let sent = Arc::new(AtomicU64::new(UNSAID));
        self.next().push_back(Sink { rows: sender, sent: Arc::clone(&sent) });
        Copied { messages, sent }
    }

    /// No more COPYs come: whoever waits for rows hears it.
    pub(super) fn close(&self) {
        self.next().clear();
    }

    fn next(&self) -> std::sync::MutexGuard<'_, VecDeque<Sink>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, encrypted or not.
pub(super) struct Wire {
    socket: Box<dyn TlsStream + Send + Unpin>,
    /// What was read and not passed on.
    read: BytesMut,
    /// Of the message that is being passed on, how many bytes are to come, the head included.
    left: usize,
    /// Whether the password may be sent as it is.
    trusted: bool,
    logged_in: bool,
    tap: Arc<Tap>,
    /// Where rows go while there is a COPY.
    rows: Option<Sink>,
    /// The message that is being passed on is a row.
    is_row: bool,
    /// It is for nobody: the driver does not know of the COPY.
    is_unheard: bool,
}

impl Wire {
    pub(super) fn new(socket: Box<dyn TlsStream + Send + Unpin>, trusted: bool, tap: Arc<Tap>) -> Self {
        Self {
            socket,
            read: BytesMut::new(),
            left: 0,
            trusted,
            logged_in: false,
            tap,
            rows: None,
            is_row: false,
            is_unheard: false,
        }
    }

    /// Looks at the head of the next message, if all of it is there that matters.
    fn begin_message(&mut self) -> io::Result<bool> {
        let Some((&[tag, a, b, c, d], body)) = self.read.split_first_chunk::<HEAD>() else {
            return Ok(false);
        };
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let longest = if self.logged_in { LONGEST } else { LOGIN };
        if !(4..=longest).contains(&length) {
            return Err(refused("a message has an impossible length: this is no PostgreSQL server"));
        }
        if tag == AUTHENTICATION && !self.logged_in {
            let Some(what) = body.first_chunk::<4>() else { return Ok(false) };
            if *what == CLEARTEXT && !self.trusted {
                return Err(refused(ASKED));
            }
        }
        if tag == COMPLETE
            && let Some(sink) = &self.rows
            && length <= LOGIN
        {
            let Some(said) = body.get(..length - 4) else { return Ok(false) };
            let count = said.strip_prefix(b"COPY ").and_then(|said| said.strip_suffix(&[0]));
            let count = count.and_then(|count| str::from_utf8(count).ok()?.parse().ok());
            sink.sent.store(count.unwrap_or(UNSAID), Ordering::SeqCst);
        }
        match tag {
            READY => self.logged_in = true,
            COPY_OUT => self.rows = self.tap.next().pop_front(),
            COPY_DATA | COPY_DONE | NOTICE | PARAMETER | NOTIFICATION => {}
            // Whoever reads the rows hears that there are no more.
            _ => self.rows = None,
        }
        self.is_row = tag == COPY_DATA && self.rows.is_some();
        self.is_unheard = matches!(tag, COPY_OUT | COPY_DONE) && self.rows.is_some();
        self.left = length + 1;
        Ok(true)
    }

    /// The rows, and beginnings of one, that lie at the front of what was read.
    fn take_rows(&mut self) -> io::Result<Bytes> {
        let mut taken = 0;
        loop {
            let body = self.left.min(self.read.len() - taken);
            taken += body;
            self.left -= body;
            if self.left > 0 {
                break;
            }
            match self.read.get(taken..).and_then(|rest| rest.first_chunk::<HEAD>()) {
                Some(&[COPY_DATA, a, b, c, d]) => {
                    let length = u32::from_be_bytes([a, b, c, d]) as usize;
                    if !(4..=LONGEST).contains(&length) {
                        return Err(refused("a row has an impossible length"));
                    }
                    // Heads stay whole.
                    taken += HEAD;
                    self.left = length + 1 - HEAD;
                }
                _ => {
                    self.is_row = false;
                    break;
                }
            }
        }
        Ok(self.read.split_to(taken).freeze())
    }

    /// Passes on the rows that are there. Pending while their reader is slower.
    fn pass_rows(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(Sink { rows, .. }) = &mut self.rows else { return Poll::Ready(Ok(())) };
        // If nobody wants them any more, they are read for the driver's sake.
        let wanted = ready!(rows.poll_ready(cx)).is_ok();
        let batch = self.take_rows()?;
        if let (true, Some(Sink { rows, .. })) = (wanted, &mut self.rows) {
            let _ = rows.start_send(batch);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more. False at the end.
    fn fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let room = if self.rows.is_some() { ROWS } else { TALK };
        if self.read.capacity() - self.read.len() < TALK {
            self.read.reserve(room);
        }
        let count = ready!(poll_read_buf(Pin::new(&mut *self.socket), cx, &mut self.read))?;
        Poll::Ready(Ok(count > 0))
    }
}

fn refused(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.left == 0 && this.begin_message()? {
                continue;
            }
            let waits = this.left == 0;
            if this.is_row && !waits {
                // A head is never alone in what is passed on, nor cut.
                let filled = if this.read.len() < BATCH { this.fill(cx) } else { Poll::Ready(Ok(true)) };
                match filled {
                    Poll::Ready(Ok(true)) if this.read.len() < BATCH => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Ready(_) if this.read.is_empty() => return Poll::Ready(Ok(())),
                    Poll::Pending if this.read.is_empty() => return Poll::Pending,
                    // Behind the last rows there may be an error, also where the server has hung up.
                    _ => ready!(this.pass_rows(cx))?,
                }
            } else if this.is_unheard && !waits && !this.read.is_empty() {
                let count = this.left.min(this.read.len());
                this.read.advance(count);
                this.left -= count;
            } else if !waits && !this.read.is_empty() {
                let count = this.left.min(this.read.len()).min(out.remaining());
                out.put_slice(this.read.get(..count).unwrap_or_default());
                this.read.advance(count);
                this.left -= count;
                return Poll::Ready(Ok(()));
            } else if !ready!(this.fill(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.socket).poll_shutdown(cx)
    }
}

impl TlsStream for Wire {
    fn channel_binding(&self) -> ChannelBinding {
        self.socket.channel_binding()
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use proptest::prelude::*;
    use tokio::io::AsyncReadExt;

    use super::super::dial::Clear;
    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        [&[tag][..], &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    /// What the driver and the reader of rows get of what a server says in pieces, on a connection that is not trusted.
    async fn heard(pieces: Vec<Vec<u8>>, copies: bool) -> (io::Result<Vec<u8>>, Vec<u8>) {
        let (server, client) = tokio::io::duplex(64);
        let tap = Arc::new(Tap::default());
        let rows = copies.then(|| tap.open());
        let mut wire = Wire::new(Box::new(Clear(client)), false, tap);
        let say = async move {
            let mut server = server;
            for piece in pieces {
                if tokio::io::AsyncWriteExt::write_all(&mut server, &piece).await.is_err() {
                    break;
                }
            }
        };
        let drive = async {
            let mut heard = Vec::new();
            let read = wire.read_to_end(&mut heard).await;
            drop(wire);
            read.map(|_| heard)
        };
        let read_rows = async {
            match rows {
                Some(copied) => copied.messages.collect::<Vec<_>>().await.concat(),
                None => Vec::new(),
            }
        };
        let ((), heard, rows) = tokio::join!(say, drive, read_rows);
        (heard, rows)
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn rows_go_past_the_driver_however_they_are_cut(
            rows in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..20),
            notice: bool,
            piece in 1usize..200,
        ) {
            let login = [message(b'R', &[0, 0, 0, 0]), message(b'Z', b"I")].concat();
            let mut said = [login.clone(), message(b'H', &[0, 0, 0])].concat();
            let (mut expected_rows, mut expected) = (Vec::new(), login);
            for (i, row) in rows.iter().enumerate() {
                said.extend(message(b'd', row));
                expected_rows.extend(message(b'd', row));
                if notice && i == 3 {
                    said.extend(message(b'N', b"by the way"));
                    expected.extend(message(b'N', b"by the way"));
                }
            }
            let end = [message(b'C', b"COPY 1\0"), message(b'C', b"ROLLBACK\0"), message(b'Z', b"I")].concat();
            said.extend(message(b'c', b""));
            said.extend(&end);
            expected.extend(&end);
            let pieces = said.chunks(piece).map(<[u8]>::to_vec).collect();
            let (heard, found) = run(heard(pieces, true));
            prop_assert_eq!(heard.unwrap(), expected);
            prop_assert_eq!(found, expected_rows);
        }

        #[test]
        fn nothing_that_a_server_says_is_a_panic(said: Vec<u8>) {
            let _ = run(heard(vec![said], true));
        }
    }

    #[test]
    fn whoever_asks_for_the_password_in_clear_is_not_heard_by_the_driver() {
        for cut in 1..9 {
            let said = message(b'R', &CLEARTEXT);
            let pieces = vec![said[..cut].to_vec(), said[cut..].to_vec()];
            let (heard, _) = run(heard(pieces, false));
            assert!(heard.unwrap_err().to_string().contains("asks for the password"));
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_an_error_before_and_behind_the_login() {
        let with_length = |length: i32| [&b"E"[..], &length.to_be_bytes(), b"xxxx"].concat();
        for length in [-1, 0, 3, i32::MIN, i32::MAX, 70_000] {
            assert!(run(heard(vec![with_length(length)], false)).0.is_err(), "{length}");
        }
        let login = [message(b'R', &[0, 0, 0, 0]), message(b'Z', b"I")].concat();
        for length in [-1, 3, i32::MAX] {
            assert!(run(heard(vec![login.clone(), with_length(length)], false)).0.is_err(), "{length}");
        }
        assert!(run(heard(vec![login, with_length(8)], false)).0.is_ok());
    }
}
