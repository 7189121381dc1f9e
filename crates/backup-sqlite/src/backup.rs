//! One running backup.

use std::sync::Arc;

use backup_core::{
    BackupRequest, BackupSession, Content, Ctx, Error, LogPoint, Part, PartKind, PartWriter, Result,
    async_trait,
};

use rusqlite::Connection;

use crate::catalog::plan::{self, SqlSpec};
use crate::catalog::settings;
use crate::connect::Readers;
use crate::rows::page::Layout;
use crate::rows::{RowSink, read};

/// The snapshot and what was asked for.
#[derive(Debug)]
pub(crate) struct Backup {
    readers: Arc<Readers>,
    request: BackupRequest,
}

impl Backup {
    pub(crate) fn new(readers: Readers, request: BackupRequest) -> Self {
        Self { readers: Arc::new(readers), request }
    }
}

#[async_trait]
impl BackupSession for Backup {
    fn position(&self) -> Option<&LogPoint> {
        None
    }

    fn readers(&self) -> usize {
        self.readers.count()
    }

    async fn plan(&self, ctx: &Ctx) -> Result<Vec<Part>> {
        let permit = self.readers.wait(ctx).await?;
        let (readers, request, inner) = (Arc::clone(&self.readers), self.request.clone(), ctx.clone());
        ctx.blocking(move || {
            let _permit = permit;
            readers.lend(|reader| plan::plan(&inner, reader, &request))
        })
        .await
    }

    async fn dump(&self, ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        let permit = self.readers.wait(ctx).await?;
        let readers = Arc::clone(&self.readers);
        let (part, content) = (part.clone(), self.request.content);
        out.blocking(move |out| {
            let _permit = permit;
            readers.lend(|reader| write(reader, readers.layout(), content, &part, out))
        })
        .await
    }

    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        // The snapshot excluded whatever happened meanwhile. Closing its connections ends it, and the last one may
        // have a log to move into the database.
        ctx.blocking(move || {
            drop(self);
            Ok(())
        })
        .await
    }
}

/// Writes one part.
pub(crate) fn write(
    reader: &Connection,
    layout: Option<&Layout>,
    content: Content,
    part: &Part,
    out: &mut dyn RowSink,
) -> Result<()> {
    let statements = match &part.kind {
        PartKind::Rows { columns, .. } => {
            return read::rows(reader, layout, &part.object.name, columns, &spec(part)?, out);
        }
        PartKind::Sql => match spec(part)? {
            SqlSpec::Settings if content == Content::DataOnly => Vec::new(),
            SqlSpec::Settings => settings::statements(reader)?,
            SqlSpec::Schema { row, .. } => vec![plan::statement(reader, row)?],
        },
        _ => return Err(Error::internal("a part is planned that SQLite has not")),
    };
    statements.iter().try_for_each(|statement| out.row(statement.as_bytes()))
}

/// The spec of a part, as `plan` made it.
pub(crate) fn spec<T: serde::de::DeserializeOwned>(part: &Part) -> Result<T> {
    T::deserialize(&part.spec).map_err(|error| {
        Error::damaged(format!("the description of {} is not SQLite's", part.object)).because(error)
    })
}
