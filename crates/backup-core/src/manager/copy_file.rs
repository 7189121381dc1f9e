//! Single files on their way into another repository: unsealed and sealed again where these differ in that.

use std::io::{self, BufRead, BufReader, Read};

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::context::Ctx;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Event;
use crate::repository::{BackupId, FileRecord, Hash32, Repository, SealStream, Unsealer};
use crate::single_file::{FileSource, SourceReader, into_error};

/// How much of a file is held at once.
const PIECE: usize = 4 << 20;

/// Copies of single files from one repository into another.
pub(super) struct FileCopy<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) source: &'a Repository,
    pub(super) there: &'a Repository,
}

impl FileCopy<'_> {
    /// Sends what the file holds, sealed as the other repository is. Returns what it is there, where it is visible only if every byte of it
    /// was what was stored. Errors: `Damaged`; `MissingKey` if it is sealed and cannot be read here.
    pub(super) async fn run(&self, backup: &BackupId, file: &FileRecord) -> Result<FileRecord> {
        let unsealer = match (self.source.is_sealed(), &self.source.access().unsealer) {
            (false, _) => None,
            (true, Some(unsealer)) => Some(unsealer.clone()),
            (true, None) => {
                return Err(Error::new(ErrorKind::MissingKey, format!("{} cannot be read here", file.key)));
            }
        };
        let seal = self.there.seal()?.map(|seal| seal.sealer.stream()).transpose()?;
        let place = if seal.is_some() { file.anew(backup)? } else { file.key.clone() };
        self.send(backup, file, place, unsealer, seal).await
    }

    /// Sends the file as it is stored, unless it is there. Returns how much was sent.
    pub(super) async fn as_it_is(&self, backup: &BackupId, file: &FileRecord) -> Result<u64> {
        let key = file.key.parse()?;
        if self.ctx.run(self.there.storage().head(&key)).await?.is_some_and(|meta| meta.size == file.size) {
            let there = FileSource::object(self.there.storage(), key).await?;
            match there.check(self.ctx, file.size, file.hash).await {
                Ok(()) => return Ok(0),
                Err(error) if error.kind() == ErrorKind::Damaged => {}
                Err(error) => return Err(error),
            }
        }
        self.send(backup, file, file.key.clone(), None, None).await.map(|sent| sent.size)
    }

    async fn send(
        &self,
        backup: &BackupId,
        file: &FileRecord,
        place: String,
        unsealer: Option<Unsealer>,
        mut seal: Option<SealStream>,
    ) -> Result<FileRecord> {
        let ctx = self.ctx;
        // A manifest that somebody made up may name anything, also what there holds something else.
        if !file.belongs_to(backup) {
            return Err(Error::damaged(format!("{:?} is no place of a file of {backup}", file.key))
                .hint("somebody made that manifest up: do not copy it, and do not restore it"));
        }
        let source = FileSource::object(self.source.storage(), file.key.parse()?).await?;
        let key = place.parse()?;
        let mut writer = ctx.run(self.there.storage().writer(&key)).await?;
        let (sender, mut pieces) = mpsc::channel(1);
        let (reader, record) = (source.reader(ctx), file.clone());
        let reading = tokio::task::spawn_blocking(move || read(reader, &record, unsealer.as_ref(), &sender));
        let mut hasher: Box<blake3::Hasher> = Box::default();
        let mut size = 0;
        while let Some(mut piece) = ctx.run(async { Ok(pieces.recv().await) }).await? {
            ctx.emit(Event::Advanced { rows: 0, bytes: piece.len() as u64 });
            if let Some(mut stream) = seal.take() {
                let sealed = ctx.blocking(move || Ok((Bytes::from(stream.push(&piece)?), stream)));
                let (sealed, stream) = sealed.await?;
                (piece, seal) = (sealed, Some(stream));
            }
            hasher.update(&piece);
            size += piece.len() as u64;
            ctx.run(writer.write(piece)).await?;
        }
        // Only now is it known that this was all of it, and nothing else.
        reading.await.map_err(|error| Error::internal("a reading thread did not end").because(error))??;
        if let Some(stream) = seal {
            let rest = Bytes::from(stream.finish()?);
            hasher.update(&rest);
            size += rest.len() as u64;
            ctx.run(writer.write(rest)).await?;
        }
        ctx.run(writer.finish()).await?;
        Ok(FileRecord { key: place, size, hash: Hash32(*hasher.finalize().as_bytes()) })
    }
}

/// Passes on what a file holds, and says at its end whether its stored bytes were those that `record` names. They are hashed as they are
/// used, so that nobody exchanges the file in between.
fn read(
    stored: BufReader<SourceReader>,
    record: &FileRecord,
    unsealer: Option<&Unsealer>,
    sender: &mpsc::Sender<Bytes>,
) -> Result<()> {
    let key = &record.key;
    let mut stored = Hashed { reader: stored, hasher: Box::default(), size: 0 };
    let passed = match unsealer {
        None => pass_on(&mut stored, sender),
        Some(unsealer) => unsealer
            .reader(BufReader::with_capacity(1 << 17, &mut stored), key)
            .and_then(|clear| pass_on(clear, sender)),
    };
    if passed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Cancelled) {
        return passed;
    }
    // Whatever became of it, damage is what has to be said first.
    io::copy(&mut stored, &mut io::sink()).map_err(into_error)?;
    let whole = stored.size == record.size && Hash32(*stored.hasher.finalize().as_bytes()) == record.hash;
    if whole {
        return passed;
    }
    Err(Error::damaged(format!("{key} is not what was stored"))
        .hint("copy others by their ids; `lifeboat check --read-data` finds all that is damaged"))
}

fn pass_on(mut reader: impl Read, sender: &mpsc::Sender<Bytes>) -> Result<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        reader.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(into_error)?;
        if piece.is_empty() {
            return Ok(());
        }
        // Nobody listens any more: it was cancelled, or could not be written.
        sender.blocking_send(piece.into()).map_err(|_| Error::cancelled())?;
    }
}

/// Hashes what is read.
struct Hashed<R> {
    reader: R,
    hasher: Box<blake3::Hasher>,
    size: u64,
}

impl<R: BufRead> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.hasher.update(buffer.get(..n).unwrap_or_default());
        self.size += n as u64;
        Ok(n)
    }
}
