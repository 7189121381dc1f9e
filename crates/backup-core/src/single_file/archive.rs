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
/// No entry that we write is larger.
const ENTRY_MAX: usize = 160 << 20;

/// An archive while it is written: a storage that can only be added to.
#[derive(Clone)]
pub(crate) struct ArchiveWriter(Arc<Writing>);

struct Writing {
    frames: AsyncMutex<Option<FrameWriter>>,
    written: DateTime<Utc>,
}

impl ArchiveWriter {
    pub(crate) fn new(frames: FrameWriter, written: DateTime<Utc>) -> Self {
        Self(Arc::new(Writing { frames: AsyncMutex::new(Some(frames)), written }))
    }

    /// Ends the archive.
    pub(crate) async fn finish(&self) -> Result<Finished> {
        let mut frames = self.0.frames.lock().await.take().ok_or_else(ended)?;
        frames.write_frame(&[&[0; 2 * BLOCK]]).await?;
        frames.finish().await
    }

    fn meta(&self, key: &Key, size: u64) -> ObjectMeta {
        ObjectMeta { key: key.clone(), size, modified: self.0.written, version: Version(String::new()) }
    }
}

fn ended() -> Error {
    Error::internal("an archive was written to after its end")
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
        let mut header = tar::Header::new_ustar();
        header.set_path(key.as_str()).during(|| format!("archive {key}"))?;
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(self.0.written.timestamp().max(0).cast_unsigned());
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        let padding = vec![0; bytes.len().next_multiple_of(BLOCK) - bytes.len()];
        let mut frames = self.0.frames.lock().await;
        frames.as_mut().ok_or_else(ended)?.write_frame(&[header.as_bytes(), &bytes, &padding]).await?;
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

/// Reads one header of a tar file; `None` for the zeros at its end.
fn entry_of(header: &[u8]) -> Result<Option<(Key, usize)>> {
    if header.iter().all(|byte| *byte == 0) {
        return Ok(None);
    }
    let malformed = || Error::damaged("the archive has an entry that lifeboat did not write");
    let header = tar::Header::from_byte_slice(header.get(..BLOCK).ok_or_else(malformed)?);
    let sum: u32 = (header.as_bytes().iter().enumerate())
        .map(|(i, byte)| u32::from(if (148..156).contains(&i) { b' ' } else { *byte }))
        .sum();
    if header.cksum().ok() != Some(sum) || header.entry_type() != tar::EntryType::Regular {
        return Err(malformed());
    }
    let path = header.path_bytes();
    let key: Key = std::str::from_utf8(&path).map_err(|_| malformed())?.parse()?;
    let size =
        header.size().ok().and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= ENTRY_MAX);
    Ok(Some((key, size.ok_or_else(malformed)?)))
}

fn add(entries: &mut BTreeMap<Key, Entry>, key: Key, entry: Entry) -> Result<()> {
    let doing = key.to_string();
    match entries.insert(key, entry) {
        None => Ok(()),
        Some(_) => Err(Error::damaged(format!("the archive has {doing} twice"))),
    }
}

fn cut_off() -> Error {
    Error::damaged("the archive is cut off")
}

fn find_frames(reader: impl BufRead, codec: &dyn Codec) -> Result<BTreeMap<Key, Entry>> {
    let mut input = Counting { reader, taken: 0 };
    let mut entries = BTreeMap::new();
    let mut ended = false;
    let mut frame = Limited(Vec::new());
    loop {
        let start = input.taken;
        frame.0.clear();
        if !codec.decode_frame(&mut input, &mut frame)? {
            break;
        }
        let range = start..input.taken;
        match entry_of(&frame.0)? {
            None => ended = true,
            Some((key, size)) => {
                if frame.0.len() != BLOCK + size.next_multiple_of(BLOCK) {
                    return Err(recompressed());
                }
                add(&mut entries, key, Entry { frame: range, bytes: BLOCK..BLOCK + size })?;
            }
        }
    }
    if ended { Ok(entries) } else { Err(cut_off()) }
}

fn find_plain(mut reader: impl BufRead + Seek) -> Result<BTreeMap<Key, Entry>> {
    let mut entries = BTreeMap::new();
    let mut position = 0u64;
    loop {
        let mut header = [0; BLOCK];
        reader.read_exact(&mut header).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => cut_off(),
            _ => into_error(error),
        })?;
        position += BLOCK as u64;
        let Some((key, size)) = entry_of(&header)? else { return Ok(entries) };
        let end = position + size as u64;
        add(&mut entries, key, Entry { frame: position..end, bytes: 0..size })?;
        position = end.next_multiple_of(BLOCK as u64);
        reader.seek(SeekFrom::Start(position)).map_err(into_error)?;
    }
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
