//! An export: a backup in chunks as one file, without any server.

use std::path::Path;
use std::sync::Arc;

use super::backup::{Stored, complete, record};
use super::dump::ChunkDump;
use super::open::{Contents, Opened, Parts};
use crate::block::ChunkEncoder;
use crate::chunks::ChunkStore;
use crate::codec::{Level, NoCompression, codec};
use crate::context::Ctx;
use crate::cut::CutKeys;
use crate::engine::BackupSession;
use crate::error::{Error, Result};
use crate::options::BackupConfig;
use crate::part::Part;
use crate::position::LogPoint;
use crate::reader::Item;
use crate::registry::Registry;
use crate::repository::{Format, Known, Manifest, PartRecord};
use crate::script::ScriptInfo;
use crate::single_file::{
    ArchiveWriter, FileSource, FrameWriter, Origin, Render, Rendered, ScriptBuilder, ScriptFile,
};
use crate::storage::create_file;
use crate::writer::{PartTotals, PartWriter};

/// One export to be done.
pub(super) struct Job<'a> {
    pub(super) ctx: &'a Ctx,
    pub(super) config: &'a BackupConfig,
    pub(super) registry: &'a Registry,
    pub(super) path: &'a Path,
    pub(super) format: Format,
}

impl Job<'_> {
    /// Returns the size of the file.
    pub(super) async fn run(self, opened: Opened) -> Result<u64> {
        if let Some(base) = &opened.header.base {
            let message = "it is a stretch of a change log, which no database can load alone";
            return Err(Error::unsupported(message)
                .hint(format!("export {base}, or restore to the point that is wanted and back that up")));
        }
        if let Some((source, _)) = &opened.file
            && self.format == opened.header.format
        {
            opened.check_stored(self.ctx, &opened.parts, 1).await?;
            return match &opened.contents {
                Contents::Script(script) => self.recode(script).await,
                Contents::Chunks(_) => self.copy(source).await,
            };
        }
        if opened.is_proven_whole() {
            opened.check_file(self.ctx).await?;
        }
        match (self.format, &opened.contents) {
            (Format::Binary, _) => Err(Error::unsupported("a binary backup is not one file")
                .hint("ask for --format compressed, or copy the repository")),
            (_, Contents::Script(_)) => {
                Err(Error::unsupported("a script cannot be turned back into rows")
                    .hint("ask for --format sql"))
            }
            (Format::Sql, Contents::Chunks(_)) => self.script(opened).await,
            (Format::Compressed, Contents::Chunks(_)) => self.archive(opened).await,
        }
    }

    async fn copy(&self, source: &FileSource) -> Result<u64> {
        let mut file = create_file(self.path)?;
        let mut position = 0;
        while position < source.size() {
            let end = (position + (4 << 20)).min(source.size());
            let piece = self.ctx.run(source.read(position..end)).await?;
            self.ctx.run(file.write(piece)).await?;
            position = end;
        }
        Ok(file.finish().await?.size)
    }

    /// Writes a script with another codec: what is in it stays the same, to the hash in its last line.
    async fn recode(&self, script: &ScriptFile) -> Result<u64> {
        let mut frames = self.frames()?;
        let mut pieces = script.pieces(self.ctx);
        while let Some(piece) = self.ctx.run(async { pieces.recv().await.transpose() }).await? {
            frames.write(&piece).await?;
        }
        Ok(frames.finish().await?.size)
    }

    fn frames(&self) -> Result<FrameWriter> {
        let codec = codec(&self.config.codec)?;
        Ok(FrameWriter::new(self.ctx, codec, self.config.level, self.config.jobs, create_file(self.path)?))
    }

    async fn script(&self, opened: Opened) -> Result<u64> {
        let factory = self.registry.by_name(&opened.header.engine)?;
        let writer = factory.script.ok_or_else(|| {
            Error::unsupported(format!("the engine {} writes no scripts", factory.name))
                .hint("ask for --format compressed")
        })?;
        let parts: Vec<Part> = opened.parts.iter().map(|record| record.part.clone()).collect();
        let mut script = ScriptBuilder {
            ctx: self.ctx.clone(),
            writer: writer().into(),
            jobs: self.config.jobs.max(1),
            info: ScriptInfo::new(opened.body.server.clone(), opened.header.started),
            frames: self.frames()?,
        };
        let origin = Arc::new(Stock { source: opened.contents.parts(), records: opened.parts });
        let records = script.parts(origin, &parts).await?;
        let mut header = opened.header;
        header.format = Format::Sql;
        header.file = None;
        header.lists.clear();
        Ok(script.finish(&header, &opened.body, &records).await?.size)
    }

    async fn archive(&self, opened: Opened) -> Result<u64> {
        let Some(outer) = &opened.repository else {
            return Err(Error::unsupported("an archive can only be exported as a script")
                .hint("ask for --format sql"));
        };
        let archive = ArchiveWriter::new(self.frames()?, opened.header.started);
        let inner = outer.copy_into(Arc::new(archive.clone())).await?;
        let encoder = ChunkEncoder { codec: Arc::new(NoCompression), level: Level::default() };
        let store = Arc::new(ChunkStore::new(
            &inner,
            &opened.header.id,
            Known::default(),
            encoder,
            self.config.jobs,
        )?);
        let parts: Arc<[Part]> = opened.parts.iter().map(|record| record.part.clone()).collect();
        let stock = Stock { source: opened.contents.parts(), records: opened.parts };
        let keys = CutKeys::derive(store.key());
        let session: Arc<Box<dyn BackupSession>> = Arc::new(Box::new(stock));
        let dump = ChunkDump { session, keys, parts, store: Arc::clone(&store) };
        let stored: Stored = Arc::new(dump).run(self.ctx, self.config.jobs.max(1)).await?;
        let mut manifest = Manifest { header: opened.header, body: opened.body };
        manifest.header.format = Format::Compressed;
        let finished = manifest.header.finished;
        complete(&mut manifest.header, &stored.parts);
        manifest.header.finished = finished;
        record(self.ctx, &inner, &store, &mut manifest, stored).await?;
        let codec = codec(&self.config.codec)?;
        inner.commit(&mut manifest, &*codec).await?;
        Ok(archive.finish().await?.size)
    }
}

/// A backup that is read as if it were a database.
pub(super) struct Stock {
    pub(super) source: Parts,
    pub(super) records: Vec<PartRecord>,
}

#[async_trait::async_trait]
impl Origin for Stock {
    async fn feed(&self, ctx: &Ctx, place: usize, render: Render) -> Result<(PartTotals, Rendered)> {
        let record = self.records.get(place).ok_or_else(|| Error::internal("a part outside the plan"))?;
        let rendered = render.run(self.source.open(ctx, record)).await?;
        Ok((PartTotals { digest: record.digest, bytes: record.bytes }, rendered))
    }
}

#[async_trait::async_trait]
impl BackupSession for Stock {
    fn position(&self) -> Option<&LogPoint> {
        None
    }

    async fn plan(&self, _ctx: &Ctx) -> Result<Vec<Part>> {
        Ok(self.records.iter().map(|record| record.part.clone()).collect())
    }

    async fn dump(&self, ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        let record = self.records.iter().find(|record| record.part.id == part.id);
        let mut reader =
            self.source.open(ctx, record.ok_or_else(|| Error::internal("a part outside the plan"))?);
        while let Some(item) = reader.next().await? {
            match item {
                Item::Row(row) => out.row(row).await?,
                Item::Bytes(bytes) => out.bytes(bytes).await?,
                Item::Fragment { bytes, first, last } => {
                    if first {
                        out.begin_row()?;
                    }
                    out.fragment(bytes).await?;
                    if last {
                        out.end_row().await?;
                    }
                }
            }
        }
        Ok(())
    }

    async fn finish(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        Ok(())
    }
}
