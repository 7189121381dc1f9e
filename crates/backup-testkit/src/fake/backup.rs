//! The backup session.

use backup_core::{
    BackupRequest, BackupSession, Column, Content, Ctx, Error, LogPoint, Object, Part, PartKind, PartWriter,
    Phase, Result, RowLayout, async_trait,
};

use super::database::{Change, FakeDatabase, Tables, json};
use super::log::position;

/// A backup of the database as it was read, which is its snapshot.
#[derive(Debug)]
pub(super) struct FakeBackup {
    tables: Tables,
    position: LogPoint,
    plan: Vec<Part>,
}

impl FakeBackup {
    pub(super) fn begin(database: &FakeDatabase, request: &BackupRequest) -> Result<Self> {
        let state = database.read()?;
        let mut tables = state.tables()?;
        let name = database.name();
        tables.retain(|table, _| request.filter.selects(Some(&name), None, table));
        let mut plan = Vec::new();
        for (name, table) in &tables {
            let object = Object::new("table", name);
            let create = plan.len() as u32;
            if request.content != Content::DataOnly {
                plan.push(Part::sql(create, Phase::PreData, object.clone()));
            }
            if request.content != Content::SchemaOnly {
                let columns = table.columns.iter().map(|column| Column::new(column, "any")).collect();
                let after: Vec<_> = plan.get(create as usize).map(|part| part.id).into_iter().collect();
                plan.push(
                    Part::rows(plan.len() as u32, object, RowLayout::Opaque, columns)
                        .after(after)
                        .size_hint(table.rows.len() as u64 * 100),
                );
            }
        }
        let position = LogPoint::new(position(state.log(), state.last()), state.time);
        Ok(Self { tables, position, plan })
    }
}

#[async_trait]
impl BackupSession for FakeBackup {
    fn position(&self) -> Option<&LogPoint> {
        Some(&self.position)
    }

    async fn plan(&self, _ctx: &Ctx) -> Result<Vec<Part>> {
        Ok(self.plan.clone())
    }

    async fn dump(&self, _ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        let name = &part.object.name;
        let table = self.tables.get(name).ok_or_else(|| Error::internal("a part of no table"))?;
        match part.kind {
            PartKind::Sql => out.statement(&json(&Change::Table(name.clone(), table.columns.clone()))?).await,
            _ => {
                for row in &table.rows {
                    out.row(json(row)?.as_bytes()).await?;
                }
                Ok(())
            }
        }
    }

    async fn finish(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        Ok(())
    }
}
