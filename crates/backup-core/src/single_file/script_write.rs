//! Scripts while they are written: the engine's SQL, and behind it, as a comment, the manifest.

use std::io::{self, Write};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::frames::{Finished, FrameWriter};
use super::script_read::MANIFEST_MAX;
use crate::context::Ctx;
use crate::error::{Error, Result};
use crate::part::Part;
use crate::reader::{BlockingPartReader, PartReader};
use crate::repository::{Body, Hash32, Header, PartRecord, ScriptSpan, parts_to_json};
use crate::script::{Place, Script, ScriptInfo, ScriptWriter};
use crate::writer::PartTotals;

/// What the first line of every script begins with, and all of it: its number is the version of the format.
pub(super) const ANY_FIRST_LINE: &str = "-- lifeboat script ";
pub(super) const FIRST_LINE: &str = "-- lifeboat script 1\n";
/// What the last line begins with.
pub(super) const LAST_LINE: &str = "-- lifeboat end ";
/// What each line of the manifest begins with.
pub(super) const COMMENT: &str = "-- ";

/// What the last line says of all the others.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct End {
    pub(super) hash: Hash32,
    pub(super) manifest: u64,
    pub(super) script: u64,
}

impl End {
    /// The last line.
    pub(super) fn line(&self) -> Result<String> {
        let end = serde_json::to_string(self)
            .map_err(|error| Error::internal("the end of a script is not JSON").because(error))?;
        Ok(format!("{LAST_LINE}{end}\n"))
    }
}

/// How much rendered SQL waits for its turn, for each worker: pieces of `PIECE` bytes.
const WAITING: usize = 8;
const PIECE: usize = 256 << 10;

/// Where the parts of a script come from: a dump that is running, or a backup that is exported.
#[async_trait::async_trait]
pub(crate) trait Origin: Send + Sync {
    /// Gives a part's reader to `render`, and says what the part came to. Called for several parts at once.
    async fn feed(&self, ctx: &Ctx, place: usize, render: Render) -> Result<(PartTotals, Rendered)>;
}

/// Renders one part.
pub(crate) struct Render {
    writer: Arc<dyn ScriptWriter>,
    part: Part,
    text: mpsc::Sender<Bytes>,
}

/// How long the SQL of a part became, and the places in it.
pub(crate) type Rendered = (u64, Vec<Place>);

impl Render {
    pub(crate) async fn run(self, mut reader: PartReader) -> Result<Rendered> {
        reader
            .blocking(move |source: &mut BlockingPartReader| {
                let mut out = Pieces { text: self.text, piece: Vec::new() };
                let mut script = Script::new(&mut out);
                let written = self.writer.part(&self.part, source, &mut script);
                let rendered = script.into_places();
                written.map_err(|error| error.during(format!("write {} as SQL", self.part.object)))?;
                out.flush().map_err(super::source::into_error)?;
                // The end of a part is where its rows are found complete.
                if source.next()?.is_some() {
                    return Err(Error::internal(format!("rows of {} were left unwritten", self.part.object)));
                }
                Ok(rendered)
            })
            .await
    }
}

/// Hands rendered SQL over in pieces.
struct Pieces {
    text: mpsc::Sender<Bytes>,
    piece: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        self.text.blocking_send(piece).map_err(|_| io::Error::other(Error::cancelled()))
    }
}

/// Builds a script out of parts that are rendered side by side and written in plan order.
pub(crate) struct ScriptBuilder {
    pub(crate) ctx: Ctx,
    pub(crate) writer: Arc<dyn ScriptWriter>,
    pub(crate) jobs: usize,
    pub(crate) info: ScriptInfo,
    pub(crate) frames: FrameWriter,
}

impl ScriptBuilder {
    /// Writes everything up to the manifest, and returns the parts with their places.
    pub(crate) async fn parts(&mut self, origin: Arc<dyn Origin>, parts: &[Part]) -> Result<Vec<PartRecord>> {
        self.frames.write(FIRST_LINE.as_bytes()).await?;
        self.around(true).await?;
        let mut records = Vec::with_capacity(parts.len());
        let mut rendering = std::collections::VecDeque::new();
        let mut waiting = parts.iter().enumerate();
        loop {
            while rendering.len() < self.jobs
                && let Some((place, part)) = waiting.next()
            {
                let (text, pieces) = mpsc::channel(WAITING);
                let render = Render { writer: Arc::clone(&self.writer), part: part.clone(), text };
                let (origin, ctx) = (Arc::clone(&origin), self.ctx.clone());
                let task = tokio::spawn(async move { origin.feed(&ctx, place, render).await });
                rendering.push_back((part, pieces, AbortOnDropHandle::new(task)));
            }
            let Some((part, mut pieces, task)) = rendering.pop_front() else { break };
            let offset = self.frames.raw_size();
            while let Some(piece) = self.ctx.run(async { Ok(pieces.recv().await) }).await? {
                self.frames.write(&piece).await?;
            }
            let rendered =
                task.await.map_err(|error| Error::internal("a dump did not end").because(error))?;
            let (totals, (length, places)) = rendered?;
            if self.frames.raw_size() != offset + length {
                return Err(Error::internal(format!(
                    "the script of {} is not as long as it was said",
                    part.object
                )));
            }
            let mut record = PartRecord::new(part.clone(), totals.digest, totals.bytes);
            record.script = Some(ScriptSpan { offset, length, places });
            records.push(record);
        }
        self.around(false).await?;
        Ok(records)
    }

    /// Writes the engine's header or footer.
    async fn around(&mut self, before: bool) -> Result<()> {
        let (writer, info) = (Arc::clone(&self.writer), self.info.clone());
        let text = self
            .ctx
            .blocking(move || {
                let mut text = Vec::new();
                let mut script = Script::new(&mut text);
                if before { writer.header(&info, &mut script) } else { writer.footer(&info, &mut script) }?;
                Ok(text)
            })
            .await?;
        self.frames.write(&text).await
    }

    /// Writes the manifest and makes the file visible.
    pub(crate) async fn finish(
        mut self,
        header: &Header,
        body: &Body,
        parts: &[PartRecord],
    ) -> Result<Finished> {
        let not_json = |error: serde_json::Error| Error::internal("a manifest is not JSON").because(error);
        let start = self.frames.raw_size();
        let header = serde_json::to_string(header).map_err(not_json)?;
        let body = serde_json::to_string(body).map_err(not_json)?;
        self.frames.write(format!("{COMMENT}{header}\n{COMMENT}{body}\n").as_bytes()).await?;
        for line in parts_to_json(parts)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            self.frames.write(COMMENT.as_bytes()).await?;
            self.frames.write(line).await?;
            self.frames.write(b"\n").await?;
        }
        let script = self.frames.raw_size();
        if script - start > MANIFEST_MAX {
            return Err(Error::unsupported("the script has more statements than its manifest can name")
                .hint("use --format binary or compressed"));
        }
        let end = End { hash: self.frames.raw_hash(), manifest: script - start, script };
        self.frames.write(end.line()?.as_bytes()).await?;
        self.frames.finish().await
    }
}
