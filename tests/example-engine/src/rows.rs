//! The backup session: one snapshot, read part by part.

use std::io::BufRead;

use backup_core::{
    BackupRequest, BackupSession, BlockingPartWriter, Ctx, During, Error, LogPoint, Part, PartKind,
    PartWriter, Phase, Result, TaggedRow, async_trait,
};

use crate::catalog::{Catalog, Extent};
use crate::database::{Database, Snapshot};
use crate::statement::{Statement, pack};

/// A running backup. Dropping it closes the file, which is all there is to release.
#[derive(Debug)]
pub(crate) struct KvBackup {
    snapshot: Snapshot,
    plan: Vec<Part>,
}

impl KvBackup {
    /// Opens the database and looks what is in it.
    pub(crate) fn begin(database: &Database, request: BackupRequest) -> Result<Self> {
        let snapshot = database.open()?;
        let plan = Catalog::read(&snapshot)?.plan(&database.name(), &request)?;
        Ok(Self { snapshot, plan })
    }
}

#[async_trait]
impl BackupSession for KvBackup {
    fn position(&self) -> Option<&LogPoint> {
        None
    }

    async fn plan(&self, _ctx: &Ctx) -> Result<Vec<Part>> {
        Ok(self.plan.clone())
    }

    async fn dump(&self, _ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        match &part.kind {
            PartKind::Sql => out.statement(&statement(part)).await,
            PartKind::Rows { .. } => {
                let extent: Extent = serde_json::from_value(part.spec.clone())
                    .map_err(|error| Error::internal("a part of rows without its place").because(error))?;
                let (snapshot, table) = (self.snapshot.clone(), part.object.name.clone());
                out.blocking(move |out| copy_rows(&snapshot, &extent, &table, out)).await
            }
            _ => Err(Error::internal("kv plans no such part")),
        }
    }

    async fn finish(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        // Nobody can have changed an open file's statements: there is nothing to notice.
        Ok(())
    }
}

/// The statement that makes the object of a part.
fn statement(part: &Part) -> String {
    let word = if part.phase == Phase::PreData { "table" } else { "reference" };
    format!("{word} {}", part.spec)
}

/// Reads the rows of `table` at `extent`, on a thread that may block.
fn copy_rows(snapshot: &Snapshot, extent: &Extent, table: &str, out: &mut BlockingPartWriter) -> Result<()> {
    let prefix = Statement::row_prefix(table);
    let mut reader = snapshot.reader(extent.offset, extent.length);
    let (mut line, mut row) = (String::new(), TaggedRow::new());
    loop {
        line.clear();
        if reader.read_line(&mut line).during(|| "read rows")? == 0 {
            return Ok(());
        }
        // Somebody may have written the name with other escapes than ours.
        let values = match line.strip_prefix(&prefix) {
            Some(values) => values,
            None => match Statement::parse(line.trim_end())? {
                Statement::Row(_, values) => values,
                _ => return Err(Error::internal("something else stands among the rows")),
            },
        };
        pack(values, &mut row)?;
        out.row(row.as_bytes())?;
    }
}
