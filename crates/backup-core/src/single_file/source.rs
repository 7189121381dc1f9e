//! A single file to be read, wherever it lies.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::unsealed::Unsealed;
use crate::codec::sniff;
use crate::context::Ctx;
use crate::error::{During, Error, Result};
use crate::progress::Event;
use crate::repository::Hash32;
use crate::storage::{Key, Storage};

/// How much of an object is asked for at once.
const READ: u64 = 2 << 20;

/// A file on a disk, an object of a storage, or what a sealed one of either holds.
#[derive(Debug, Clone)]
pub(crate) enum FileSource {
    Path { file: Arc<File>, name: String, size: u64 },
    Object { storage: Arc<dyn Storage>, key: Key, size: u64 },
    Sealed(Unsealed),
}

impl FileSource {
    /// Opens the file `path`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let doing = || format!("open {name}");
        let file = File::open(path).during(doing)?;
        let metadata = file.metadata().during(doing)?;
        if !metadata.is_file() {
            return Err(Error::usage(format!("{name} is not a file")));
        }
        Ok(Self::Path { size: metadata.len(), file: Arc::new(file), name })
    }

    /// The object `key`.
    pub(crate) async fn object(storage: &Arc<dyn Storage>, key: Key) -> Result<Self> {
        let meta = storage.head(&key).await?;
        let meta = meta.ok_or_else(|| Error::damaged(format!("the backup's file {key} is missing")))?;
        Ok(Self::Object { storage: Arc::clone(storage), key, size: meta.size })
    }

    pub(crate) fn name(&self) -> String {
        match self {
            Self::Path { name, .. } => name.clone(),
            Self::Object { key, .. } => key.to_string(),
            Self::Sealed(unsealed) => unsealed.stored.name(),
        }
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Path { size, .. } | Self::Object { size, .. } => *size,
            Self::Sealed(unsealed) => unsealed.size,
        }
    }

    /// The file as it is stored.
    pub(crate) fn stored(&self) -> &Self {
        match self {
            Self::Sealed(unsealed) => &unsealed.stored,
            stored => stored,
        }
    }

    /// Reads some of it.
    pub(crate) async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        match self {
            Self::Object { storage, key, .. } => storage.get(key, Some(range)).await,
            Self::Sealed(unsealed) => unsealed.read(range).await,
            Self::Path { file, name, .. } => {
                let (file, name) = (Arc::clone(file), name.clone());
                let read = move || {
                    let mut bytes = vec![0; (range.end - range.start) as usize];
                    file.read_exact_at(&mut bytes, range.start).during(|| format!("read {name}"))?;
                    Ok(bytes.into())
                };
                tokio::task::spawn_blocking(read)
                    .await
                    .map_err(|error| Error::internal("a reading thread did not end").because(error))?
            }
        }
    }

    /// Reads it from the start, on a thread that may block.
    pub(crate) fn reader(&self, ctx: &Ctx) -> BufReader<SourceReader> {
        let reader = SourceReader {
            source: self.clone(),
            ctx: ctx.clone(),
            runtime: Handle::current(),
            position: 0,
            piece: Bytes::new(),
            piece_start: 0,
        };
        BufReader::with_capacity(1 << 17, reader)
    }

    /// Whether its bytes are those that were stored.
    pub(crate) async fn check(&self, ctx: &Ctx, size: u64, hash: Hash32) -> Result<()> {
        self.stored().check_bytes(ctx, size, hash).await
    }

    async fn check_bytes(&self, ctx: &Ctx, size: u64, hash: Hash32) -> Result<()> {
        let damaged = |what: &str| Error::damaged(format!("{} {what}", self.name()));
        if self.size() != size {
            return Err(damaged(&format!("has {} bytes, not {size}", self.size())));
        }
        if self.hash(ctx, size).await? == hash { Ok(()) } else { Err(damaged("is not what was stored")) }
    }

    /// Whether its bytes are those that were written, by the mark at its end. A file of a codec without marks is not read.
    pub(crate) async fn check_end(&self, ctx: &Ctx) -> Result<()> {
        let codec = sniff(&self.read(0..self.size().min(4)).await?)?;
        let Some(mark) = codec.end_mark(&[0; 32]) else { return Ok(()) };
        let start = self.size().saturating_sub(mark.len() as u64);
        let found = self.read(start..self.size()).await?;
        let hash = self.hash(ctx, start).await?;
        if codec.end_mark(&hash.0).is_some_and(|mark| mark == *found) {
            return Ok(());
        }
        let message = format!(
            "{} is damaged, cut off, or was compressed by another program than lifeboat",
            self.name()
        );
        Err(Error::damaged(message).hint(
            "fetch the file again; if it was compressed by another program, decompress it and give what comes out",
        ))
    }

    /// The BLAKE3 of its first `length` bytes.
    async fn hash(&self, ctx: &Ctx, length: u64) -> Result<Hash32> {
        let (mut reader, watched) = (self.reader(ctx).take(length), ctx.clone());
        ctx.blocking(move || {
            let mut hasher = blake3::Hasher::new();
            loop {
                let piece = reader.fill_buf().map_err(into_error)?;
                let bytes = piece.len();
                if bytes == 0 {
                    break;
                }
                hasher.update(piece);
                reader.consume(bytes);
                watched.emit(Event::Advanced { rows: 0, bytes: bytes as u64 });
            }
            Ok(Hash32(*hasher.finalize().as_bytes()))
        })
        .await
    }
}

/// Reads a [`FileSource`] on a thread that may block.
#[derive(Debug)]
pub(crate) struct SourceReader {
    source: FileSource,
    ctx: Ctx,
    runtime: Handle,
    position: u64,
    /// The bytes that were read last, and where they begin.
    piece: Bytes,
    piece_start: u64,
}

impl Read for SourceReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let within = |reader: &Self| {
            let skip = usize::try_from(reader.position.checked_sub(reader.piece_start)?).ok()?;
            reader.piece.get(skip..).filter(|left| !left.is_empty()).map(|left| reader.piece.slice_ref(left))
        };
        let left = match within(self) {
            Some(left) => left,
            None => {
                let end = (self.position + READ).min(self.source.size());
                if self.position >= end {
                    return Ok(0);
                }
                self.ctx.check().map_err(io::Error::other)?;
                let read = self.source.read(self.position..end);
                self.piece = self.runtime.block_on(self.ctx.run(read)).map_err(io::Error::other)?;
                self.piece_start = self.position;
                self.piece.clone()
            }
        };
        let n = buffer.len().min(left.len());
        buffer[..n].copy_from_slice(&left[..n]);
        self.position += n as u64;
        Ok(n)
    }
}

impl Seek for SourceReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.source.size().checked_add_signed(by),
        };
        self.position = position.ok_or(io::ErrorKind::InvalidInput)?.min(self.source.size());
        Ok(self.position)
    }
}

/// Takes one of our errors out of the I/O error that it travelled in.
pub(crate) fn into_error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io("read", error),
    }
}

/// Counts what was taken from a reader, to know where a frame ends.
pub(crate) struct Counting<R> {
    pub(crate) reader: R,
    pub(crate) taken: u64,
}

impl<R: BufRead> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.taken += n as u64;
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counting<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.reader.consume(n);
        self.taken += n as u64;
    }
}
