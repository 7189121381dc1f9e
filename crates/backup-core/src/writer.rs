//! What an engine writes a part to.

use tokio::sync::mpsc;

use crate::block::{BLOCK_SIZE, SegmentKind};
use crate::context::Ctx;
use crate::cut::{Cut, CutKeys, Cutter};
use crate::error::{Error, Result};
use crate::part::{Part, PartKind};
use crate::progress::Event;
use crate::rows::{FragmentHasher, RowDigest, RowLayout};

/// Takes the rows, statements or bytes of one part. Core counts and hashes them, so no engine can get its
/// own count wrong.
///
/// Methods wait while the repository is slower than the database (memory stays bounded), and return
/// `Cancelled` when the operation is cancelled. An error from here goes back to core as it is.
#[derive(Debug)]
pub struct PartWriter {
    // Taken out only while a blocking closure has it.
    gathering: Option<Gathering>,
}

/// The same as [`PartWriter`], for synchronous drivers: its methods block.
#[derive(Debug)]
pub struct BlockingPartWriter(Gathering);

/// What a part came to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct PartTotals {
    pub(crate) digest: RowDigest,
    pub(crate) bytes: u64,
}

impl PartWriter {
    /// A writer for a run of parts that hands chunks to `cuts`.
    pub(crate) fn new(ctx: &Ctx, keys: CutKeys, cuts: mpsc::Sender<Cut>) -> Self {
        Self { gathering: Some(Gathering::new(ctx.clone(), keys, cuts)) }
    }

    pub(crate) fn start_part(&mut self, plan_index: usize, part: &Part) -> Result<()> {
        self.gathering()?.start_part(plan_index, part)
    }

    pub(crate) async fn finish_part(&mut self) -> Result<PartTotals> {
        let totals = self.gathering()?.finish_part()?;
        self.hand_over().await?;
        Ok(totals)
    }

    pub(crate) async fn finish_run(mut self) -> Result<()> {
        self.gathering()?.cutter.end_run();
        self.hand_over().await
    }

    /// Writes one whole row.
    pub async fn row(&mut self, row: &[u8]) -> Result<()> {
        if self.gathering()?.row(row)? { self.hand_over().await } else { Ok(()) }
    }

    /// Begins a row that is written in fragments: one that is too large to be held whole.
    pub fn begin_row(&mut self) -> Result<()> {
        self.gathering()?.begin_row()
    }

    /// Writes the next bytes of the row that was begun.
    pub async fn fragment(&mut self, fragment: &[u8]) -> Result<()> {
        for piece in fragment.chunks(BLOCK_SIZE) {
            if self.gathering()?.fragment(piece)? {
                self.hand_over().await?;
            }
        }
        Ok(())
    }

    /// Ends the row that was begun.
    pub async fn end_row(&mut self) -> Result<()> {
        self.gathering()?.end_row()?;
        self.hand_over().await
    }

    /// Writes one statement of a [`PartKind::Sql`] part: whole, without its terminator.
    pub async fn statement(&mut self, sql: &str) -> Result<()> {
        self.row(sql.as_bytes()).await
    }

    /// Writes the next bytes of a part that is neither rows nor SQL.
    pub async fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(BLOCK_SIZE) {
            if self.gathering()?.bytes(piece)? {
                self.hand_over().await?;
            }
        }
        Ok(())
    }

    /// Runs `write` on a thread that may block, with the blocking twin of this writer. If the returned future is dropped, `write`
    /// gets an error from its next call.
    pub async fn blocking<T: Send + 'static>(
        &mut self,
        write: impl FnOnce(&mut BlockingPartWriter) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let gathering = self.gathering.take().ok_or_else(lost)?;
        let ctx = gathering.ctx.clone();
        let (gathering, result) = ctx
            .blocking(move || {
                let mut writer = BlockingPartWriter(gathering);
                let result = write(&mut writer);
                Ok((writer.0, result))
            })
            .await?;
        self.gathering = Some(gathering);
        result
    }

    fn gathering(&mut self) -> Result<&mut Gathering> {
        self.gathering.as_mut().ok_or_else(lost)
    }

    async fn hand_over(&mut self) -> Result<()> {
        let gathering = self.gathering()?;
        gathering.report();
        while let Some(cut) = gathering.cutter.next_cut() {
            let send = async { gathering.cuts.send(cut).await.map_err(|_| stopped()) };
            gathering.ctx.run(send).await?;
        }
        Ok(())
    }
}

impl BlockingPartWriter {
    /// See [`PartWriter::row`].
    pub fn row(&mut self, row: &[u8]) -> Result<()> {
        if self.0.row(row)? { self.hand_over() } else { Ok(()) }
    }

    /// See [`PartWriter::begin_row`].
    pub fn begin_row(&mut self) -> Result<()> {
        self.0.begin_row()
    }

    /// See [`PartWriter::fragment`].
    pub fn fragment(&mut self, fragment: &[u8]) -> Result<()> {
        for piece in fragment.chunks(BLOCK_SIZE) {
            if self.0.fragment(piece)? {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    /// See [`PartWriter::end_row`].
    pub fn end_row(&mut self) -> Result<()> {
        self.0.end_row()?;
        self.hand_over()
    }

    /// See [`PartWriter::statement`].
    pub fn statement(&mut self, sql: &str) -> Result<()> {
        self.row(sql.as_bytes())
    }

    /// See [`PartWriter::bytes`].
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<()> {
        for piece in bytes.chunks(BLOCK_SIZE) {
            if self.0.bytes(piece)? {
                self.hand_over()?;
            }
        }
        Ok(())
    }

    fn hand_over(&mut self) -> Result<()> {
        self.0.report();
        self.0.ctx.check()?;
        while let Some(cut) = self.0.cutter.next_cut() {
            self.0.cuts.blocking_send(cut).map_err(|_| stopped())?;
        }
        Ok(())
    }
}

/// The real cause is the error of whoever stopped listening; core reports that one.
fn stopped() -> Error {
    Error::cancelled().during("hand a chunk to the repository")
}

fn lost() -> Error {
    Error::internal("a part writer was used again after its thread was lost")
}

/// How often the observer hears of rows that fill no chunk yet.
const REPORT_BYTES: u64 = 1 << 20;

/// What both writers share: everything but the waiting. Methods that return a `bool` say whether there is
/// something to hand over.
struct Gathering {
    ctx: Ctx,
    cutter: Cutter,
    cuts: mpsc::Sender<Cut>,
    accepts: Accepts,
    totals: PartTotals,
    /// Bytes and rows that the observer has not heard of.
    unreported: (u64, u64),
    row: Option<OpenRow>,
    stream: FragmentHasher,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Accepts {
    Nothing,
    Rows(SegmentKind),
    Bytes,
}

/// A row that comes in fragments.
#[derive(Default)]
struct OpenRow {
    /// The row so far, as long as it may turn out to fit into a block.
    start: Vec<u8>,
    is_long: bool,
    hasher: FragmentHasher,
}

impl Gathering {
    fn new(ctx: Ctx, keys: CutKeys, cuts: mpsc::Sender<Cut>) -> Self {
        Self {
            ctx,
            cutter: Cutter::new(keys),
            cuts,
            accepts: Accepts::Nothing,
            totals: PartTotals::default(),
            unreported: (0, 0),
            row: None,
            stream: FragmentHasher::default(),
        }
    }

    fn start_part(&mut self, plan_index: usize, part: &Part) -> Result<()> {
        self.accepts = match &part.kind {
            PartKind::Sql => Accepts::Rows(SegmentKind::Rows { layout: RowLayout::Opaque, columns: 0 }),
            PartKind::Rows { layout, columns } => {
                let columns = u16::try_from(columns.len()).map_err(|_| {
                    Error::unsupported(format!("{} has more than 65,535 columns", part.object))
                })?;
                Accepts::Rows(SegmentKind::Rows { layout: *layout, columns })
            }
            PartKind::Bytes | PartKind::Log => Accepts::Bytes,
        };
        self.totals = PartTotals::default();
        self.row = None;
        self.stream = FragmentHasher::default();
        self.cutter.start_part(plan_index);
        Ok(())
    }

    fn finish_part(&mut self) -> Result<PartTotals> {
        if self.row.is_some() {
            return Err(Error::internal("a row was begun and not ended"));
        }
        if self.accepts == Accepts::Bytes {
            self.cutter.end_bytes();
            self.totals.digest.sum = self.stream.finish();
        }
        self.accepts = Accepts::Nothing;
        Ok(self.totals)
    }

    fn rows_kind(&self) -> Result<SegmentKind> {
        match (self.accepts, &self.row) {
            (Accepts::Rows(kind), None) => Ok(kind),
            (Accepts::Rows(_), Some(_)) => Err(Error::internal("a row was begun within a row")),
            _ => Err(Error::internal("rows were written to a part that has none")),
        }
    }

    fn row(&mut self, row: &[u8]) -> Result<bool> {
        let kind = self.rows_kind()?;
        if row.len() > BLOCK_SIZE {
            self.begin_row()?;
            for piece in row.chunks(BLOCK_SIZE) {
                self.fragment(piece)?;
            }
            self.end_row()?;
            return Ok(true);
        }
        let hash = self.totals.digest.add(row);
        self.count(row.len(), 1);
        self.cutter.row(kind, row, hash);
        Ok(self.unreported.0 >= REPORT_BYTES)
    }

    fn begin_row(&mut self) -> Result<()> {
        self.rows_kind()?;
        self.row = Some(OpenRow::default());
        Ok(())
    }

    fn fragment(&mut self, fragment: &[u8]) -> Result<bool> {
        let row = self.row.as_mut().ok_or_else(|| Error::internal("a fragment was written outside a row"))?;
        row.hasher.update(fragment);
        if row.is_long {
            self.cutter.continue_long_row(fragment);
        } else {
            row.start.extend_from_slice(fragment);
            if row.start.len() > BLOCK_SIZE {
                row.is_long = true;
                self.cutter.start_long_row(&std::mem::take(&mut row.start));
            }
        }
        self.count(fragment.len(), 0);
        Ok(true)
    }

    fn end_row(&mut self) -> Result<()> {
        let row = self.row.take().ok_or_else(|| Error::internal("a row was ended that was not begun"))?;
        let kind = self.rows_kind()?;
        let hash = row.hasher.finish();
        self.totals.digest.add_hash(hash);
        self.count(0, 1);
        if row.is_long {
            self.cutter.end_long_row();
        } else {
            self.cutter.row(kind, &row.start, hash);
        }
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<bool> {
        if self.accepts != Accepts::Bytes {
            return Err(Error::internal("bytes were written to a part that has rows"));
        }
        self.stream.update(bytes);
        self.count(bytes.len(), 0);
        self.cutter.bytes(bytes);
        Ok(true)
    }

    fn count(&mut self, bytes: usize, rows: u64) {
        self.totals.bytes += bytes as u64;
        self.unreported.0 += bytes as u64;
        self.unreported.1 += rows;
    }

    fn report(&mut self) {
        let (bytes, rows) = std::mem::take(&mut self.unreported);
        if bytes > 0 || rows > 0 {
            self.ctx.emit(Event::Advanced { rows, bytes });
        }
    }
}

impl std::fmt::Debug for Gathering {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gathering").field("accepts", &self.accepts).finish_non_exhaustive()
    }
}
