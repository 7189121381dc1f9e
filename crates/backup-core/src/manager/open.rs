//! A backup that is open for reading, whatever its format and wherever it lies.

use std::path::Path;
use std::sync::Arc;

use super::BackupManager;
use crate::chunks::ChunkReader;
use crate::codec::sniff;
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::options::BackupRef;
use crate::progress::Event;
use crate::reader::PartReader;
use crate::repository::{Body, FileRecord, Header, Keys, Manifest, PartRecord, Repository};
use crate::single_file::{ArchiveStorage, FileSource, ScriptFile, ScriptParts};

/// An open backup.
pub(crate) struct Opened {
    /// The repository that it is in, unless it is a file carried from elsewhere.
    pub(crate) repository: Option<Repository>,
    pub(crate) header: Header,
    pub(crate) body: Body,
    pub(crate) parts: Vec<PartRecord>,
    pub(crate) contents: Contents,
    /// The single file, and what it was when it was written, if that is known from elsewhere than the file.
    pub(crate) file: Option<(FileSource, Option<FileRecord>)>,
}

/// Where the parts are.
#[derive(Clone)]
pub(crate) enum Contents {
    Chunks(ChunkReader),
    Script(ScriptFile),
}

impl BackupManager {
    /// Opens a backup.
    pub(super) async fn open(&self, backup: &BackupRef) -> Result<Opened> {
        match backup {
            BackupRef::File(path) => self.open_file(path).await,
            BackupRef::Latest | BackupRef::Id(_) => {
                let repository = self.repository().await?;
                let headers = repository.headers(&self.ctx).await?;
                let header = self.resolve(&repository, backup, &headers).await?;
                self.open_listed(&repository, &header).await
            }
        }
    }

    /// Opens a backup of which the header is known.
    pub(super) async fn open_listed(&self, repository: &Repository, header: &Header) -> Result<Opened> {
        let manifest = repository.manifest(&self.ctx, &header.id).await?;
        open(&self.ctx, repository.clone(), manifest).await.during(|| format!("open {}", header.id))
    }

    async fn open_file(&self, path: &Path) -> Result<Opened> {
        let source = FileSource::open(path)?;
        let doing = || format!("open {}", path.display());
        refuse_sealed(&source).await.during(doing)?;
        if is_archive(&self.ctx, &source).await.during(doing)? {
            return open_archive(&self.ctx, source, None).await.during(doing);
        }
        let script = ScriptFile::new(source.clone());
        let checked = script.check(&self.ctx).await?;
        Ok(Opened {
            repository: None,
            header: checked.header,
            body: checked.body,
            parts: checked.parts,
            contents: Contents::Script(script),
            file: Some((source, None)),
        })
    }
}

async fn open(ctx: &Ctx, repository: Repository, manifest: Manifest) -> Result<Opened> {
    let chunks = repository.chunks(ctx, &manifest).await?;
    let parts = repository.parts(ctx, &manifest, &chunks).await?;
    let Manifest { header, mut body } = manifest;
    // It has opened the chunks, and goes nowhere else.
    body.chunk_key = None;
    let Some(record) = header.file.clone() else {
        let contents = Contents::Chunks(chunks);
        return Ok(Opened { repository: Some(repository), header, body, parts, contents, file: None });
    };
    let mut source = FileSource::object(repository.storage(), record.key.parse()?).await?;
    if let Some(unsealer) = repository.access().unsealer.as_ref().filter(|_| repository.is_sealed()) {
        source = source.unsealed(ctx, unsealer).await?;
    }
    if header.format == crate::Format::Compressed {
        let opened = open_archive(ctx, source, Some(record)).await?;
        if opened.header.id != header.id {
            return Err(Error::damaged(format!("its archive is that of {}", opened.header.id)));
        }
        let said = |record: &PartRecord| (record.part.clone(), record.digest, record.segment.clone());
        if !opened.parts.iter().map(said).eq(parts.iter().map(said)) {
            return Err(Error::damaged(
                "the archive's own manifest says something else than the repository's",
            ));
        }
        return Ok(Opened { repository: Some(repository), header, body, ..opened });
    }
    let contents = Contents::Script(ScriptFile::new(source.clone()));
    let file = Some((source, Some(record)));
    Ok(Opened { repository: Some(repository), header, body, parts, contents, file })
}

async fn open_archive(ctx: &Ctx, source: FileSource, record: Option<FileRecord>) -> Result<Opened> {
    let archive = Arc::new(ArchiveStorage::open(ctx, source.clone()).await?);
    let inner = match Repository::open(archive, &Keys::default()).await {
        Err(error) if error.kind() == ErrorKind::NoRepository => {
            return Err(
                Error::new(ErrorKind::Foreign, "this archive was not written by lifeboat").because(error)
            );
        }
        other => other?,
    };
    let headers = inner.headers(ctx).await?;
    let [header] = headers.as_slice() else {
        return Err(Error::damaged(format!("the archive holds {} backups, not one", headers.len())));
    };
    let manifest = inner.manifest(ctx, &header.id).await?;
    let chunks = inner.chunks(ctx, &manifest).await?;
    let parts = inner.parts(ctx, &manifest, &chunks).await?;
    let Manifest { header, body } = manifest;
    let contents = Contents::Chunks(chunks);
    Ok(Opened { repository: None, header, body, parts, contents, file: Some((source, record)) })
}

/// Refuses a sealed file that lies alone: its signature is in its repository's manifest.
async fn refuse_sealed(source: &FileSource) -> Result<()> {
    const AGE: &[u8] = b"age-encryption.org/";
    if source.size() < AGE.len() as u64 || *source.read(0..AGE.len() as u64).await? != *AGE {
        return Ok(());
    }
    Err(Error::new(ErrorKind::MissingKey, "this file is sealed").hint(
        "restore it from its repository, by its id; or decrypt it with `age -d -i IDENTITY`, and give what comes out if you know where it came from",
    ))
}

/// Whether a file is an archive: its first entry is that of ours, or at least a tar file's.
async fn is_archive(ctx: &Ctx, source: &FileSource) -> Result<bool> {
    let mut reader = source.reader(ctx);
    ctx.blocking(move || {
        use std::io::{BufRead, Read};
        let head = reader.fill_buf().map_err(|error| Error::io("read", error))?;
        let mut start = [0; 512];
        // What cannot be decoded is told apart, and complained of, by those who read it whole.
        let decoded = sniff(head)?.reader(Box::new(reader)).map(|mut decoded| decoded.read_exact(&mut start));
        Ok(matches!(decoded, Ok(Ok(()))) && start.get(257..262) == Some(b"ustar"))
    })
    .await
}

impl Opened {
    /// A reader of a part. Those of a script must be asked for in the script's order.
    pub(crate) fn is_sequential(&self) -> bool {
        matches!(self.contents, Contents::Script(_))
    }

    /// Whether nothing but the hash of the whole file proves what is read of it: of a script, and of an archive in a sealed repository,
    /// where the manifest is signed, and the archive's own lists are by nobody.
    pub(crate) fn is_proven_whole(&self) -> bool {
        let is_sealed = || self.repository.as_ref().is_some_and(Repository::is_sealed);
        self.is_sequential() || (self.file.is_some() && is_sealed())
    }

    /// Checks the stored bytes of the single file, if it is one: against its manifest, or by the mark at its end.
    pub(crate) async fn check_file(&self, ctx: &Ctx) -> Result<()> {
        match &self.file {
            Some((source, Some(record))) => source.check(ctx, record.size, record.hash).await,
            Some((source, None)) => source.check_end(ctx).await,
            None => Ok(()),
        }
    }

    /// Checks the stored bytes of everything that `parts` need, without decoding it.
    pub(crate) async fn check_stored(&self, ctx: &Ctx, parts: &[PartRecord], jobs: usize) -> Result<()> {
        use futures::{StreamExt, TryStreamExt, stream};
        let file = self.file.as_ref().map_or(0, |(source, _)| source.stored().size());
        let planned = |bytes| ctx.emit(Event::Planned { parts: 0, bytes });
        if file > 0 {
            planned(file);
        }
        self.check_file(ctx).await?;
        match &self.contents {
            // What else there is of a single file is in these bytes, and its chunks are checked when they are read.
            _ if matches!(self.file, Some((_, Some(_)))) => Ok(()),
            // It was read from end to end when it was opened.
            Contents::Script(_) => Ok(()),
            Contents::Chunks(chunks) => {
                let places: std::collections::BTreeSet<u32> =
                    parts.iter().flat_map(|record| record.spans.iter().map(|span| span.0)).collect();
                let sizes = places.iter().filter_map(|place| chunks.entries().get(*place as usize));
                planned(file + sizes.map(|entry| u64::from(entry.stored_size)).sum::<u64>());
                let checks = stream::iter(places).map(|place| async move {
                    let bytes = chunks.fetch(ctx, place).await?.len() as u64;
                    ctx.emit(Event::Advanced { rows: 0, bytes });
                    Ok(())
                });
                checks.buffer_unordered(jobs.max(1)).try_collect().await
            }
        }
    }
}

/// Gives out parts for loading, verifying or exporting.
#[derive(Clone)]
pub(crate) enum Parts {
    Chunks(ChunkReader),
    Script(ScriptParts),
}

impl Contents {
    pub(crate) fn parts(&self) -> Parts {
        match self {
            Self::Chunks(chunks) => Parts::Chunks(chunks.clone()),
            Self::Script(script) => Parts::Script(script.sequential()),
        }
    }
}

impl Parts {
    /// A reader of the part.
    pub(crate) fn open(&self, ctx: &Ctx, record: &PartRecord) -> PartReader {
        match self {
            Self::Chunks(chunks) => chunks.open(ctx, record),
            Self::Script(script) => script.open(ctx, record),
        }
    }

    /// The part as the engine gets it.
    pub(crate) fn part(&self, record: &PartRecord) -> crate::Part {
        match self {
            Self::Chunks(_) => record.part.clone(),
            Self::Script(_) => ScriptParts::part_of(record),
        }
    }
}
