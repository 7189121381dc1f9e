//! What is in a database, and the plan of its backup.

use std::collections::BTreeMap;
use std::io::BufRead;

use backup_core::{
    BackupRequest, Column, Content, During, Error, Object, Part, PartId, Phase, Result, RowLayout,
};
use serde::{Deserialize, Serialize};

use crate::database::Snapshot;
use crate::statement::{Reference, Statement, Table};

/// A part of rows ends behind so many bytes: a fixed step, so that appending rows moves no earlier part.
const PART_BYTES: u64 = 4 << 20;

/// Everything in a database but the rows themselves.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    tables: Vec<Table>,
    references: Vec<Reference>,
    rows: BTreeMap<String, Vec<Extent>>,
}

/// A stretch of the file that holds rows of one table and nothing else: the specification of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Extent {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Catalog {
    /// Reads through a database once.
    pub(crate) fn read(snapshot: &Snapshot) -> Result<Self> {
        let mut catalog = Self::default();
        let mut reader = snapshot.reader(0, snapshot.length);
        let (mut offset, mut line) = (0, String::new());
        loop {
            line.clear();
            let length = reader.read_line(&mut line).during(|| "read the database")? as u64;
            if length == 0 {
                return Ok(catalog);
            }
            let statement = Statement::parse(line.trim_end_matches('\n'));
            match statement.during(|| format!("read the statement at byte {offset}"))? {
                Statement::Row(name, _) => {
                    let name = serde_json::from_str::<String>(name)
                        .map_err(|error| Error::damaged("a row has no table").because(error))?;
                    let extents = catalog.rows.entry(name).or_default();
                    let grows =
                        |last: &&mut Extent| last.offset + last.length == offset && last.length < PART_BYTES;
                    match extents.last_mut().filter(grows) {
                        Some(extent) => extent.length += length,
                        None => extents.push(Extent { offset, length }),
                    }
                }
                Statement::Table(table) => catalog.tables.push(table),
                Statement::Reference(reference) => catalog.references.push(reference),
                Statement::Comment => {}
            }
            offset += length;
        }
    }

    /// The parts of a backup: each table, the rows of each, and what is better made when they are there.
    pub(crate) fn plan(&self, database: &str, request: &BackupRequest) -> Result<Vec<Part>> {
        let with_objects = request.content != Content::DataOnly;
        let with_rows = request.content != Content::SchemaOnly;
        let mut parts: Vec<Part> = Vec::new();
        // Of each table, the parts that must be there before something can refer to it.
        let mut made: BTreeMap<&str, Vec<PartId>> = BTreeMap::new();
        for table in &self.tables {
            if !request.filter.selects(Some(database), None, &table.name) {
                continue;
            }
            let before = made.entry(&table.name).or_default();
            if with_objects {
                let part = Part::sql(parts.len() as u32, Phase::PreData, object(table)).spec(json(table)?);
                before.push(part.id);
                parts.push(part);
            }
        }
        for table in self.tables.iter().filter(|_| with_rows) {
            let Some(before) = made.get_mut(table.name.as_str()) else { continue };
            let columns: Vec<_> = table.columns.iter().map(|(name, kind)| Column::new(name, kind)).collect();
            let create = before.clone();
            for extent in self.rows.get(&table.name).into_iter().flatten() {
                let id = parts.len() as u32;
                let part = Part::rows(id, object(table), RowLayout::Tagged, columns.clone())
                    .after(create.iter().copied())
                    .size_hint(extent.length)
                    .spec(json(extent)?);
                before.push(part.id);
                parts.push(part);
            }
        }
        for reference in self.references.iter().filter(|_| with_objects) {
            // Without both tables there is nothing to refer from or to.
            let ends = [&reference.table, &reference.to].map(|table| made.get(table.as_str()));
            let [Some(from), Some(to)] = ends else { continue };
            let object = Object::new("reference", &reference.name).of_table(&reference.table);
            let part = Part::sql(parts.len() as u32, Phase::PostData, object)
                .after(from.iter().chain(to).copied())
                .spec(json(reference)?);
            parts.push(part);
        }
        Ok(parts)
    }
}

fn object(table: &Table) -> Object {
    Object::new("table", &table.name)
}

fn json(value: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| Error::internal("not JSON").because(error))
}
