//! Packets: four bytes of head, and up to 16 MiB less one of payload. A payload of just that many bytes goes on in the next
//! packet.

use backup_core::{Error, Result};
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::watch::Watch;
use crate::error::{lost, malformed};

pub(crate) const LARGEST: usize = 0xff_ffff;
/// How much is received at once.
const RECEIVE: usize = 256 << 10;
/// The most that is held of one answer that is not streamed.
const WHOLE: usize = 1 << 30;

/// A connection's stream of bytes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Reads and writes packets.
pub(crate) struct Packets {
    stream: Box<dyn Stream>,
    received: BytesMut,
    sequence: u8,
    /// Asks about a server that says nothing. Logging in has a time-out of its own.
    watch: Option<Watch>,
}

impl Packets {
    pub(crate) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, received: BytesMut::new(), sequence: 0, watch: None }
    }

    /// Exchanges the stream for an encrypted one. Whatever the server said too early is not believed.
    pub(crate) fn into_stream(self) -> Result<Box<dyn Stream>> {
        if self.received.is_empty() {
            Ok(self.stream)
        } else {
            Err(malformed("something in clear before TLS was up"))
        }
    }

    pub(crate) fn over(stream: Box<dyn Stream>, sequence: u8) -> Self {
        Self { stream, received: BytesMut::new(), sequence, watch: None }
    }

    /// Is not silent for long from now on, or is at work.
    pub(super) fn watch(&mut self, watch: Watch) {
        self.watch = Some(watch);
    }

    pub(crate) fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Begins a new exchange.
    pub(crate) fn restart(&mut self) {
        self.sequence = 0;
    }

    /// Sends a payload, in as many packets as it takes.
    pub(crate) async fn send(&mut self, payload: &[u8]) -> Result<()> {
        let mut rest = payload;
        loop {
            let (now, later) = rest.split_at(rest.len().min(LARGEST));
            let [a, b, c, ..] = (now.len() as u32).to_le_bytes();
            let head = [a, b, c, self.sequence];
            self.sequence = self.sequence.wrapping_add(1);
            self.write(&head).await?;
            self.write(now).await?;
            rest = later;
            if now.len() < LARGEST {
                break;
            }
        }
        patiently(self.watch.as_ref(), self.stream.flush()).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        patiently(self.watch.as_ref(), self.stream.write_all(bytes)).await
    }

    /// Sends one packet without waiting until it is on its way.
    pub(crate) async fn push(&mut self, payload: &[u8]) -> Result<()> {
        let [a, b, c, ..] = (payload.len() as u32).to_le_bytes();
        let head = [a, b, c, self.sequence];
        self.sequence = self.sequence.wrapping_add(1);
        self.write(&head).await?;
        self.write(payload).await
    }

    /// Reads the head of the next packet: how long its payload is.
    pub(crate) async fn head(&mut self) -> Result<usize> {
        self.fill(4).await?;
        let &[a, b, c, sequence, ..] = self.received.as_ref() else {
            return Err(malformed("a packet without a head"));
        };
        self.received.advance(4);
        if sequence != self.sequence {
            return Err(malformed("packets out of order"));
        }
        self.sequence = sequence.wrapping_add(1);
        Ok(u32::from_le_bytes([a, b, c, 0]) as usize)
    }

    /// Waits until `length` bytes are there, and shows them.
    pub(crate) async fn peek(&mut self, length: usize) -> Result<&[u8]> {
        if self.received.len() < length {
            self.fill(length).await?;
        }
        self.received.get(..length).ok_or_else(|| Error::internal("bytes that are there are not"))
    }

    /// Some bytes of a payload of which `left` are to come: at least one, and at most `most`.
    pub(crate) async fn some(&mut self, left: usize, most: usize) -> Result<BytesMut> {
        if self.received.is_empty() {
            self.fill(1).await?;
        }
        let length = self.received.len().min(left).min(most);
        Ok(self.received.split_to(length))
    }

    /// Forgets bytes that were seen.
    pub(crate) fn consume(&mut self, length: usize) {
        self.received.advance(length.min(self.received.len()));
    }

    /// The next payload, whole.
    pub(crate) async fn payload(&mut self) -> Result<Vec<u8>> {
        let mut payload = Vec::new();
        let mut length = self.head().await?;
        loop {
            if payload.len() + length > WHOLE {
                return Err(malformed("an answer of more than a gigabyte"));
            }
            payload.extend_from_slice(self.peek(length).await?);
            self.consume(length);
            if length < LARGEST {
                return Ok(payload);
            }
            length = self.head().await?;
        }
    }

    async fn fill(&mut self, length: usize) -> Result<()> {
        while self.received.len() < length {
            self.received.reserve(RECEIVE.max(length - self.received.len()));
            let Self { stream, received, watch, .. } = self;
            if patiently(watch.as_ref(), stream.read_buf(received)).await? == 0 {
                return Err(lost(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)));
            }
        }
        Ok(())
    }
}

async fn patiently<T>(
    watch: Option<&Watch>,
    transfer: impl Future<Output = std::io::Result<T>>,
) -> Result<T> {
    match watch {
        Some(watch) => watch.wait(transfer).await,
        None => transfer.await.map_err(lost),
    }
}

impl std::fmt::Debug for Packets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packets").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}
