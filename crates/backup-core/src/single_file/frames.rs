//! A single file while it is written: frames of the codec, encoded side by side and written in order.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio_util::task::AbortOnDropHandle;

use crate::codec::{Codec, Level};
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::repository::{Hash32, SealStream, Sealer};
use crate::storage::ObjectWriter;

/// How many bytes a frame holds unless it is ended earlier.
const FRAME: usize = 2 << 20;

/// Compresses a stream of bytes, frame by frame, into an object.
pub(crate) struct FrameWriter {
    ctx: Ctx,
    codec: Arc<dyn Codec>,
    level: Level,
    object: Box<dyn ObjectWriter>,
    sealed: bool,
    /// What seals the file, and the hash of what it gave. Gone if that was ever cut short: nothing is written in clear then.
    seal: Option<(SealStream, Box<blake3::Hasher>)>,
    /// How many frames are encoded at once.
    jobs: usize,
    frame: Vec<u8>,
    encoding: FuturesOrdered<AbortOnDropHandle<Result<Bytes>>>,
    // Hashers are large, and futures that hold them too.
    encoded: Box<blake3::Hasher>,
    stored_size: u64,
    raw: Box<blake3::Hasher>,
    raw_size: u64,
}

/// What a finished file is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finished {
    pub(crate) size: u64,
    pub(crate) hash: Hash32,
}

impl FrameWriter {
    pub(crate) fn new(
        ctx: &Ctx,
        codec: Arc<dyn Codec>,
        level: Level,
        jobs: usize,
        object: Box<dyn ObjectWriter>,
    ) -> Self {
        Self {
            ctx: ctx.clone(),
            codec,
            level,
            object,
            sealed: false,
            seal: None,
            jobs: jobs.max(1),
            frame: Vec::with_capacity(FRAME),
            encoding: FuturesOrdered::new(),
            encoded: Box::default(),
            stored_size: 0,
            raw: Box::default(),
            raw_size: 0,
        }
    }

    /// Seals what is stored: the whole file is an age file. Called before anything is written.
    pub(crate) fn sealed(mut self, sealer: &Sealer) -> Result<Self> {
        self.sealed = true;
        self.seal = Some((sealer.stream()?, Box::default()));
        Ok(self)
    }

    /// How many bytes were written, before compression.
    pub(crate) fn raw_size(&self) -> u64 {
        self.raw_size
    }

    /// The BLAKE3 of what was written, before compression.
    pub(crate) fn raw_hash(&self) -> Hash32 {
        Hash32(*self.raw.finalize().as_bytes())
    }

    /// Appends to the present frame, which ends when it is full.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.append(bytes);
        if self.frame.len() >= FRAME { self.end_frame().await } else { Ok(()) }
    }

    /// Appends a frame that holds just `pieces`.
    pub(crate) async fn write_frame(&mut self, pieces: &[&[u8]]) -> Result<()> {
        self.end_frame().await?;
        for piece in pieces {
            self.append(piece);
        }
        self.end_frame().await
    }

    fn append(&mut self, bytes: &[u8]) {
        self.raw.update(bytes);
        self.raw_size += bytes.len() as u64;
        self.frame.extend_from_slice(bytes);
    }

    async fn end_frame(&mut self) -> Result<()> {
        if self.frame.is_empty() {
            return Ok(());
        }
        let frame = std::mem::replace(&mut self.frame, Vec::with_capacity(FRAME));
        let (codec, level) = (Arc::clone(&self.codec), self.level);
        let encode = tokio::task::spawn_blocking(move || {
            let mut stored = Vec::with_capacity(frame.len() / 2);
            codec.encode(&frame, &[], level, &mut stored)?;
            Ok(Bytes::from(stored))
        });
        self.encoding.push_back(AbortOnDropHandle::new(encode));
        while self.encoding.len() > self.jobs {
            self.write_next().await?;
        }
        Ok(())
    }

    async fn write_next(&mut self) -> Result<()> {
        let Some(frame) = self.ctx.run(async { Ok(self.encoding.next().await) }).await? else {
            return Ok(());
        };
        let frame = frame.map_err(|error| Error::internal("a codec did not end").because(error))??;
        self.store(frame).await
    }

    async fn store(&mut self, frame: Bytes) -> Result<()> {
        self.encoded.update(&frame);
        let mut stored = frame;
        if self.sealed {
            let (mut seal, mut hasher) = self.seal.take().ok_or_else(cut_short)?;
            let (sealed, seal) = self
                .ctx
                .blocking(move || {
                    let sealed = Bytes::from(seal.push(&stored)?);
                    hasher.update(&sealed);
                    Ok((sealed, (seal, hasher)))
                })
                .await?;
            (stored, self.seal) = (sealed, Some(seal));
        }
        self.stored_size += stored.len() as u64;
        self.ctx.run(self.object.write(stored)).await
    }

    /// Writes what is left, and makes the file durable and visible.
    pub(crate) async fn finish(mut self) -> Result<Finished> {
        self.end_frame().await?;
        while !self.encoding.is_empty() {
            self.write_next().await?;
        }
        if let Some(mark) = self.codec.end_mark(self.encoded.finalize().as_bytes()) {
            self.store(mark.into()).await?;
        }
        if self.sealed {
            let (seal, mut hasher) = self.seal.take().ok_or_else(cut_short)?;
            let rest = seal.finish()?;
            hasher.update(&rest);
            self.stored_size += rest.len() as u64;
            self.encoded = hasher;
            self.ctx.run(self.object.write(rest.into())).await?;
        }
        let finished = Finished { size: self.stored_size, hash: Hash32(*self.encoded.finalize().as_bytes()) };
        self.object.finish().await?;
        Ok(finished)
    }
}

fn cut_short() -> Error {
    Error::internal("a sealed file goes on behind its end")
}
