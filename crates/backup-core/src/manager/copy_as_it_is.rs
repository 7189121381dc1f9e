//! Copies between two copies of one sealed repository: bytes go over as they are, so that it takes neither an identity nor a host key.

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use super::copy::Sent;
use super::copy_file::FileCopy;
use crate::chunks::ChunkReader;
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::info::CopiedBackup;
use crate::progress::Event;
use crate::repository::{Header, Lease, Repository};
use crate::storage::PutMode;

/// One sealed repository, twice.
pub(super) struct AsItIs {
    pub(super) source: Repository,
    pub(super) there: Repository,
    pub(super) jobs: usize,
}

impl AsItIs {
    pub(super) async fn one(&self, lease: &Lease, header: Header) -> Result<CopiedBackup> {
        let (ctx, sent) = Sent::counted(lease.ctx());
        let ctx = &ctx;
        let (header, manifest, _) = self.source.manifest_file(ctx, &header.id).await?;
        // There, too, it has to be one that counts.
        self.there.refuse_unknown(&header)?;
        let chunks = self.source.stored_chunks(ctx, &header).await?;
        let count = chunks.entries().len();
        let sends = (0..count as u32).map(|place| self.chunk(ctx, &chunks, place));
        stream::iter(sends).buffer_unordered(self.jobs).boxed().try_collect::<()>().await?;
        let lists = ctx.run(self.there.store_lists(chunks.entries())).await?;
        if lists != header.lists {
            return Err(Error::damaged("its chunk lists are not what its manifest says"));
        }
        let mut file_sent = 0;
        if let Some(file) = &header.file {
            let copy = FileCopy { ctx, source: &self.source, there: &self.there };
            file_sent = copy.as_it_is(&header.id, file).await?;
        }
        let committed = lease.commit_file(&self.there, &header.id, manifest).await;
        if committed.is_err() {
            self.there.discard_file(&header).await;
        }
        committed?;
        let (chunks_sent, bytes_sent) = sent.so_far();
        let (backup, size) = (header.id, header.stored_size);
        Ok(CopiedBackup {
            backup,
            size,
            chunks: count as u64,
            chunks_sent,
            bytes_sent: bytes_sent + file_sent,
        })
    }

    /// Sends the chunk at `place`, unless it is there. Its name tells it from any other, to 64 bits of its stored hash.
    async fn chunk(&self, ctx: &Ctx, chunks: &ChunkReader, place: u32) -> Result<()> {
        let entry =
            chunks.entries().get(place as usize).ok_or_else(|| Error::internal("a chunk behind the last"))?;
        let (key, size) = (entry.key(true)?, u64::from(entry.stored_size));
        let storage = self.there.storage();
        let found = ctx.run(storage.head(&key)).await?;
        let new = found.is_none_or(|found| found.size != size);
        if new {
            let stored: Bytes = chunks.fetch(ctx, place).await?;
            let put = async {
                match storage.put(&key, stored.clone(), PutMode::Create).await {
                    // One that has lost bytes, or that somebody has just stored: these are the right bytes.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        storage.put(&key, stored, PutMode::Overwrite).await.map(drop)
                    }
                    done => done.map(drop),
                }
            };
            ctx.run(put).await.during(|| format!("store chunk {}", entry.id))?;
        }
        ctx.emit(Event::ChunkStored { raw: u64::from(entry.raw_size), stored: size, new });
        Ok(())
    }
}
