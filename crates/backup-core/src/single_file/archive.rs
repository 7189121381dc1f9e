//! Archives: a whole repository of one backup as a tar file, each entry a frame of its own.
//!
//! Unpacked by `tar`, an archive is a repository that this program reads like any other. Packed, it is one too: each
//! frame can be found and decoded alone.

use std::collections::BTreeMap;
use std::io::{BufRead, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use tokio::sync::Mutex as AsyncMutex;

use super::frames::{Finished, FrameWriter};
use super::source::{Counting, FileSource, into_error};
use crate::codec::{Codec, sniff};
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::storage::{Key, ObjectMeta, ObjectWriter, PutMode, Storage, Version};

const BLOCK: usize = 512;
/// A tar file ends in two blocks of zeros.
const END: usize = 2 * BLOCK;
/// No entry that we write is larger.
const ENTRY_MAX: usize = 160 << 20;

/// An archive while it is written: a storage that can only be added to.
#[derive(Clone)]
pub(crate) struct ArchiveWriter(Arc<Writing>);

struct Writing {
    state: AsyncMutex<State>,
    written: DateTime<Utc>,
}

enum State {
    Open(Box<FrameWriter>),
    /// Ended, or a write that was cut short: what is in the file then is not known.
    Closed,
    /// Why everything after it fails too: of several writers at once, any may be the one that is asked.
    Failed(ErrorKind, String),
}

impl State {
    fn take(&mut self) -> Result<Box<FrameWriter>> {
        match std::mem::replace(self, State::Closed) {
            State::Open(frames) => Ok(frames),
            State::Closed => Err(Error::internal("an archive was written to after its end")),
            State::Failed(kind, message) => {
                let error = Error::new(kind, format!("the archive could not be written: {message}"));
                *self = State::Failed(kind, message);
                Err(error)
            }
        }
    }
}

impl ArchiveWriter {
    pub(crate) fn new(frames: FrameWriter, written: DateTime<Utc>) -> Self {
        Self(Arc::new(Writing { state: AsyncMutex::new(State::Open(Box::new(frames))), written }))
    }

    /// Ends the archive.
    pub(crate) async fn finish(&self) -> Result<Finished> {
        let mut frames = self.0.state.lock().await.take()?;
        frames.write_frame(&[&[0; END]]).await?;
        frames.finish().await
    }

    fn meta(&self, key: &Key, size: u64) -> ObjectMeta {
        ObjectMeta { key: key.clone(), size, modified: self.0.written, version: Version(String::new()) }
    }
}

/// The header of an entry: there is one way to write it.
fn header(key: &Key, size: u64, time: u64) -> Result<tar::Header> {
    let mut header = tar::Header::new_ustar();
    header.set_path(key.as_str()).during(|| format!("archive {key}"))?;
    header.set_size(size);
    header.set_mode(0o600);
    header.set_mtime(time);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    Ok(header)
}

fn write_only() -> Error {
    Error::internal("an archive can only be added to while it is written")
}

impl std::fmt::Debug for ArchiveWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ArchiveWriter")
    }
}

#[async_trait]
impl Storage for ArchiveWriter {
    async fn put(&self, key: &Key, bytes: Bytes, _mode: PutMode) -> Result<ObjectMeta> {
        let size = bytes.len() as u64;
        let header = header(key, size, self.0.written.timestamp().max(0).cast_unsigned())?;
        let padding = vec![0; bytes.len().next_multiple_of(BLOCK) - bytes.len()];
        let mut state = self.0.state.lock().await;
        let mut frames = state.take()?;
        match frames.write_frame(&[header.as_bytes(), &bytes, &padding]).await {
            Ok(()) => *state = State::Open(frames),
            Err(error) => {
                *state = State::Failed(error.kind(), error.message());
                return Err(error);
            }
        }
        Ok(self.meta(key, size))
    }

    async fn writer(&self, _key: &Key) -> Result<Box<dyn ObjectWriter>> {
        Err(write_only())
    }

    async fn get(&self, _key: &Key, _range: Option<Range<u64>>) -> Result<Bytes> {
        Err(write_only())
    }

    /// Nothing that is in the archive can be relied on before it is finished.
    async fn head(&self, _key: &Key) -> Result<Option<ObjectMeta>> {
        Ok(None)
    }

    fn list(&self, _prefix: &Key) -> BoxStream<'_, Result<ObjectMeta>> {
        stream::once(async { Err(write_only()) }).boxed()
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        Err(write_only())
    }
}

/// A finished archive: a storage that can only be read.
#[derive(Debug)]
pub(crate) struct ArchiveStorage {
    source: FileSource,
    codec: Arc<dyn Codec>,
    entries: BTreeMap<Key, Entry>,
}

/// Where an entry is: its frame in the file, and its bytes within the decoded frame.
#[derive(Debug, Clone)]
struct Entry {
    frame: Range<u64>,
    bytes: Range<usize>,
}

impl ArchiveStorage {
    /// Reads the archive from its start to its end, to find what is in it.
    pub(crate) async fn open(ctx: &Ctx, source: FileSource) -> Result<Self> {
        let head = source.read(0..source.size().min(4)).await?;
        let codec = sniff(&head)?;
        let reader = source.reader(ctx);
        let (decoder, name) = (Arc::clone(&codec), source.name());
        let entries = ctx
            .blocking(move || {
                if decoder.extension().is_none() {
                    find_plain(reader)
                } else {
                    find_frames(reader, &*decoder)
                }
            })
            .await
            .during(|| format!("read the archive {name}"))?;
        Ok(Self { source, codec, entries })
    }

    fn entry(&self, key: &Key) -> Result<&Entry> {
        self.entries.get(key).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("the archive {} has no {key}", self.source.name()))
        })
    }

    fn meta(&self, key: &Key, entry: &Entry) -> ObjectMeta {
        ObjectMeta {
            key: key.clone(),
            size: entry.bytes.len() as u64,
            modified: DateTime::default(),
            version: Version(String::new()),
        }
    }
}

/// Finds the entries one by one, and takes nothing for one that we would have written otherwise: no byte of an archive is
/// without meaning.
#[derive(Default)]
struct Finder {
    entries: BTreeMap<Key, Entry>,
    /// Every entry has the same.
    time: Option<u64>,
}

impl Finder {
    /// Reads the header of an entry.
    fn header(&mut self, bytes: &[u8]) -> Result<(Key, usize)> {
        let bytes = bytes.get(..BLOCK).ok_or_else(malformed)?;
        let found = tar::Header::from_byte_slice(bytes);
        let path = found.path_bytes();
        let key: Key = std::str::from_utf8(&path).map_err(|_| malformed())?.parse()?;
        let size = found.size().ok().and_then(|size| usize::try_from(size).ok());
        let size = size.filter(|size| *size <= ENTRY_MAX).ok_or_else(malformed)?;
        let time = found.mtime().map_err(|_| malformed())?;
        if *self.time.get_or_insert(time) != time || header(&key, size as u64, time)?.as_bytes() != bytes {
            return Err(malformed());
        }
        Ok((key, size))
    }

    fn add(&mut self, key: Key, entry: Entry) -> Result<()> {
        let doing = key.to_string();
        match self.entries.insert(key, entry) {
            None => Ok(()),
            Some(_) => Err(Error::damaged(format!("the archive has {doing} twice"))),
        }
    }
}

fn malformed() -> Error {
    Error::damaged("the archive has an entry that lifeboat did not write")
}

fn cut_off() -> Error {
    Error::damaged("the archive is cut off")
}

fn zeros(bytes: &[u8]) -> Result<()> {
    if bytes.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(malformed()) }
}

fn find_frames(reader: impl BufRead, codec: &dyn Codec) -> Result<BTreeMap<Key, Entry>> {
    let mut input = Counting { reader, taken: 0 };
    let mut finder = Finder::default();
    let mut frame = Limited(Vec::new());
    loop {
        let start = input.taken;
        frame.0.clear();
        if !codec.decode_frame(&mut input, &mut frame)? {
            return Err(cut_off());
        }
        if frame.0 == [0; END] {
            break;
        }
        let (key, size) = finder.header(&frame.0)?;
        if frame.0.len() != BLOCK + size.next_multiple_of(BLOCK) {
            return Err(recompressed());
        }
        zeros(&frame.0[BLOCK + size..])?;
        finder.add(key, Entry { frame: start..input.taken, bytes: BLOCK..BLOCK + size })?;
    }
    // Behind the end there is only the mark, in which there is nothing.
    frame.0.clear();
    while codec.decode_frame(&mut input, &mut frame)? {}
    if frame.0.is_empty() { Ok(finder.entries) } else { Err(malformed()) }
}

fn find_plain(mut reader: impl BufRead + Seek) -> Result<BTreeMap<Key, Entry>> {
    let mut finder = Finder::default();
    let mut position = 0u64;
    loop {
        let mut block = [0; BLOCK];
        read_exact(&mut reader, &mut block)?;
        if block == [0; BLOCK] {
            break;
        }
        let (key, size) = finder.header(&block)?;
        position += BLOCK as u64;
        let end = position + size as u64;
        finder.add(key, Entry { frame: position..end, bytes: 0..size })?;
        reader.seek(SeekFrom::Start(end)).map_err(into_error)?;
        position = end.next_multiple_of(BLOCK as u64);
        let padding = &mut block[..(position - end) as usize];
        read_exact(&mut reader, padding)?;
        zeros(padding)?;
    }
    let mut last = [0; END - BLOCK];
    read_exact(&mut reader, &mut last)?;
    zeros(&last)?;
    if reader.fill_buf().map_err(into_error)?.is_empty() { Ok(finder.entries) } else { Err(malformed()) }
}

fn read_exact(reader: &mut impl BufRead, bytes: &mut [u8]) -> Result<()> {
    reader.read_exact(bytes).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => cut_off(),
        _ => into_error(error),
    })
}

fn recompressed() -> Error {
    Error::new(ErrorKind::Unsupported, "the archive was compressed by another program, in one piece")
        .hint("decompress it (zstd -d, gunzip) and give the .tar")
}

/// Memory that refuses to become larger than an entry can be.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > ENTRY_MAX + 2 * BLOCK {
            return Err(std::io::Error::other(recompressed()));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Storage for ArchiveStorage {
    async fn put(&self, _key: &Key, _bytes: Bytes, _mode: PutMode) -> Result<ObjectMeta> {
        Err(read_only())
    }

    async fn writer(&self, _key: &Key) -> Result<Box<dyn ObjectWriter>> {
        Err(read_only())
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let entry = self.entry(key)?.clone();
        let stored = self.source.read(entry.frame).await?;
        let codec = Arc::clone(&self.codec);
        let decode = move || {
            let mut frame = Vec::new();
            codec.decode(&stored, &mut frame, ENTRY_MAX + 2 * BLOCK)?;
            Ok(Bytes::from(frame).slice(entry.bytes))
        };
        let bytes = Ctx::new().blocking(decode).await.during(|| format!("read {key} of the archive"))?;
        match range {
            None => Ok(bytes),
            Some(range) if range.start <= range.end && range.end <= bytes.len() as u64 => {
                Ok(bytes.slice(range.start as usize..range.end as usize))
            }
            Some(_) => Err(Error::damaged(format!("{key} of the archive is shorter than it should be"))),
        }
    }

    async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>> {
        Ok(self.entries.get(key).map(|entry| self.meta(key, entry)))
    }

    fn list(&self, prefix: &Key) -> BoxStream<'_, Result<ObjectMeta>> {
        let prefix = prefix.clone();
        let entries = self.entries.iter().filter(move |(key, _)| key.is_below(&prefix));
        stream::iter(entries.map(|(key, entry)| Ok(self.meta(key, entry)))).boxed()
    }

    async fn delete(&self, _key: &Key) -> Result<()> {
        Err(read_only())
    }
}

fn read_only() -> Error {
    Error::new(ErrorKind::Unsupported, "an archive can only be read")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Level, codec};
    use crate::storage::MemoryStorage;

    /// A disk that is full from the second write on, once.
    #[derive(Debug)]
    struct Full(usize);

    #[async_trait]
    impl ObjectWriter for Full {
        async fn write(&mut self, _bytes: Bytes) -> Result<()> {
            self.0 += 1;
            if self.0 == 2 { Err(Error::new(ErrorKind::NoSpace, "no room")) } else { Ok(()) }
        }

        async fn finish(self: Box<Self>) -> Result<ObjectMeta> {
            let object: Key = "object".parse()?;
            MemoryStorage::new().put(&object, Bytes::new(), PutMode::Create).await
        }
    }

    #[tokio::test]
    async fn once_a_write_has_failed_every_other_fails_for_the_same_reason() {
        let codec = codec("none").unwrap();
        let frames = FrameWriter::new(&Ctx::new(), codec, Level::default(), 1, Box::new(Full(0)));
        let archive = ArchiveWriter::new(frames, Utc::now());
        let mut kinds = Vec::new();
        for n in 0..5 {
            let key = format!("chunks/{n}").parse().unwrap();
            let put = archive.put(&key, Bytes::from(vec![0; 4096]), PutMode::Create);
            kinds.push(put.await.err().map(|error| error.kind()));
        }
        let full = kinds.iter().position(Option::is_some).unwrap();
        assert!(full < 3, "{kinds:?}");
        assert!(kinds[full..].iter().all(|kind| *kind == Some(ErrorKind::NoSpace)), "{kinds:?}");
        assert_eq!(archive.finish().await.map(|_| ()).unwrap_err().kind(), ErrorKind::NoSpace);
    }
}
