//! The parts that a database is backed up as.
//!
//! Settings, then tables in the order of the schema, then rows, then indexes, views and triggers. A part waits only for what it
//! needs: that the copy's schema has the order of the source's is seen to at the end of a restore.

use std::collections::HashMap;

use backup_core::{BackupRequest, Content, Ctx, Object, Part, PartId, Phase, Result, RowLayout};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use super::schema::{Kind, SchemaObject, VirtualTables, objects};
use super::size;
use super::table::{RowsSpec, Tables};
use crate::error::Doing;

/// The database that a file holds: attached ones are none of ours.
const SCHEMA: &str = "main";
/// The table in which SQLite keeps the last AUTOINCREMENT of each table. SQLite makes it by itself.
pub(crate) const SEQUENCES: &str = "sqlite_sequence";

/// What an SQL part is made from: its `spec`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SqlSpec {
    /// The settings of the database.
    Settings,
    /// A row of `sqlite_schema`.
    Schema {
        /// Its rowid.
        row: i64,
        /// Its `tbl_name`.
        table: String,
    },
}

/// The parts of the database that `request` selects.
pub(crate) fn plan(ctx: &Ctx, connection: &Connection, request: &BackupRequest) -> Result<Vec<Part>> {
    let objects = selected(objects(connection)?, request);
    let mut plan = Plan { parts: Vec::new(), virtuals: VirtualTables::of(&objects) };
    let with_schema = request.content != Content::DataOnly;
    let with_rows = request.content != Content::SchemaOnly;

    // Made even if it says nothing: a script begins its transaction behind it.
    let settings = plan.sql(Phase::PreData, Object::new("database", SCHEMA), &SqlSpec::Settings, [])?;
    // The parts that a table's or view's rows, or what is made of them, have to wait for.
    let mut tables: HashMap<String, Vec<PartId>> = HashMap::new();
    let mut counters = vec![settings];
    for object in objects.iter().filter(|o| with_schema && matches!(o.kind, Kind::Table | Kind::VirtualTable))
    {
        let after = if object.name == SEQUENCES { counters.clone() } else { vec![settings] };
        let made = plan.schema(Phase::PreData, object, after)?;
        if object.may_autoincrement() {
            counters.push(made);
        }
        tables.insert(object.name.clone(), vec![made]);
    }

    if with_rows {
        let mut described = Tables::of(connection)?;
        // What fills sqlite_sequence while it is loaded.
        let mut counting = Vec::new();
        let (sequences, others): (Vec<_>, Vec<_>) =
            objects.iter().filter(|o| o.kind == Kind::Table).partition(|o| o.name == SEQUENCES);
        for object in others.into_iter().chain(sequences) {
            ctx.check()?;
            let after = tables.remove(&object.name).unwrap_or_else(|| vec![settings]);
            let after = if object.name == SEQUENCES {
                [after, std::mem::take(&mut counting)].concat()
            } else {
                after
            };
            let rows = plan.rows(connection, &mut described, object, &after)?;
            if object.may_autoincrement() {
                counting.extend(&rows);
            }
            tables.insert(object.name.clone(), rows);
        }
    }

    // In the order of the schema, whatever they are, since the shell's .dump prints them so. They wait for their table and its
    // rows alone; that no trigger fires for the rows of another is the business of the connection that restores.
    for object in objects.iter().filter(|_| with_schema) {
        let after = match object.kind {
            Kind::Table | Kind::VirtualTable => continue,
            Kind::View => vec![settings],
            Kind::Index | Kind::Trigger => tables.get(&object.table).cloned().unwrap_or(vec![settings]),
        };
        let made = plan.schema(Phase::PostData, object, after)?;
        if object.kind == Kind::View {
            tables.insert(object.name.clone(), vec![made]);
        }
    }
    Ok(plan.parts)
}

/// The objects whose table the filter selects, and sqlite_sequence if one of them counts there.
fn selected(objects: Vec<SchemaObject>, request: &BackupRequest) -> Vec<SchemaObject> {
    let virtuals = VirtualTables::of(&objects);
    let selects = |object: &SchemaObject| {
        let name = virtuals.owner(&object.table).unwrap_or(&object.table);
        request.filter.selects(None, Some(SCHEMA), name)
    };
    let chosen: Vec<bool> = objects.iter().map(selects).collect();
    let counts = objects.iter().zip(&chosen).any(|(object, chosen)| *chosen && object.may_autoincrement());
    let keep = objects
        .into_iter()
        .zip(chosen)
        .filter(|(object, chosen)| *chosen || counts && object.name == SEQUENCES);
    keep.map(|(object, _)| object).collect()
}

struct Plan {
    parts: Vec<Part>,
    virtuals: VirtualTables,
}

impl Plan {
    fn push(&mut self, part: Part) -> PartId {
        let id = part.id;
        self.parts.push(part);
        id
    }

    fn next_id(&self) -> Result<u32> {
        u32::try_from(self.parts.len())
            .map_err(|_| backup_core::Error::unsupported("the database has too many objects"))
    }

    fn sql(
        &mut self,
        phase: Phase,
        object: Object,
        spec: &SqlSpec,
        after: impl IntoIterator<Item = PartId>,
    ) -> Result<PartId> {
        let part = Part::sql(self.next_id()?, phase, object).after(after).spec(spec_value(spec)?);
        Ok(self.push(part))
    }

    fn schema(
        &mut self,
        phase: Phase,
        object: &SchemaObject,
        after: impl IntoIterator<Item = PartId>,
    ) -> Result<PartId> {
        let named = self.named(object);
        let spec = SqlSpec::Schema { row: object.rowid, table: object.table.clone() };
        self.sql(phase, named, &spec, after)
    }

    /// The parts that hold the rows of a table, at least one.
    fn rows(
        &mut self,
        connection: &Connection,
        described: &mut Tables<'_>,
        object: &SchemaObject,
        after: &[PartId],
    ) -> Result<Vec<PartId>> {
        let table = described.table(object)?;
        let ranges = size::ranges(connection, &object.name, &table)?;
        let mut ids = Vec::new();
        for range in &ranges {
            let spec = RowsSpec {
                range: (ranges.len() > 1).then_some((range.low, range.high)),
                clear: object.name == SEQUENCES,
                ..table.spec.clone()
            };
            let part =
                Part::rows(self.next_id()?, self.named(object), RowLayout::Tagged, table.columns.clone())
                    .after(after.iter().copied())
                    .size_hint(range.bytes)
                    .spec(spec_value(&spec)?);
            ids.push(self.push(part));
        }
        Ok(ids)
    }

    fn named(&self, object: &SchemaObject) -> Object {
        let named = Object::new(object.kind.word(), &object.name).in_schema(SCHEMA);
        let table = self.virtuals.owner(&object.table).unwrap_or(&object.table);
        if *table == object.name { named } else { named.of_table(table) }
    }
}

fn spec_value(spec: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(spec)
        .map_err(|error| backup_core::Error::internal("a spec is no JSON").because(error))
}

/// The statement that makes the object in row `rowid` of the schema.
pub(crate) fn statement(connection: &Connection, rowid: i64) -> Result<String> {
    use crate::ddl::literal::quoted;
    let sql = "SELECT name, tbl_name, rootpage, type, sql FROM main.sqlite_schema WHERE rowid = ?1";
    let row = |row: &rusqlite::Row<'_>| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, Option<i64>>(2)?,
            row.get::<_, String>(3)?,
            row.get::<_, String>(4)?,
        ))
    };
    let (name, table, root, kind, sql) = connection
        .prepare_cached(sql)
        .and_then(|mut statement| statement.query_row([rowid], row))
        .doing(|| "read the schema")?;
    Ok(match (kind.eq_ignore_ascii_case("table"), root.unwrap_or(0)) {
        // Its module must not run, and need not be there: the row of the schema is all there is to a virtual table.
        (true, 0) => format!(
            "INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql) VALUES('table',{},{},0,{})",
            quoted(&name),
            quoted(&table),
            quoted(&sql)
        ),
        // SQLite may have made it already, for the first table that counts.
        (true, _) if name == SEQUENCES => format!("CREATE TABLE IF NOT EXISTS {SEQUENCES}(name,seq)"),
        _ => sql,
    })
}

#[cfg(test)]
mod tests {
    use backup_core::Filter;

    use super::*;

    const SHOP: &str = "
        CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT, x UNIQUE);
        CREATE INDEX a_x ON a(x);
        CREATE TRIGGER a_t AFTER INSERT ON a BEGIN SELECT 1; END;
        CREATE VIEW v AS SELECT * FROM a;
        CREATE TRIGGER v_t INSTEAD OF INSERT ON v BEGIN SELECT 1; END;
        CREATE TABLE b(id PRIMARY KEY) WITHOUT ROWID;
        CREATE VIRTUAL TABLE docs USING fts5(body);
        INSERT INTO a(x) VALUES(1);
        ANALYZE;";

    fn planned(request: &BackupRequest) -> Vec<Part> {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SHOP).unwrap();
        plan(&Ctx::new(), &connection, request).unwrap()
    }

    fn names(parts: &[Part]) -> Vec<String> {
        parts.iter().map(|part| format!("{:?} {}", part.phase, part.object)).collect()
    }

    #[test]
    fn every_part_comes_behind_what_it_waits_for() {
        let parts = planned(&BackupRequest::new(2));
        for (i, part) in parts.iter().enumerate() {
            for id in &part.after {
                assert!(parts[..i].iter().any(|before| before.id == *id), "{}", part.object);
            }
        }
        let at = |name: &str| names(&parts).iter().position(|other| other == name).unwrap();
        assert!(at("PostData view main.v") < at("PostData trigger main.v_t"));
        assert!(at("Data table main.a") < at("Data table main.sqlite_sequence"));
        assert_eq!(at("PreData database main"), 0);
        let trigger = &parts[at("PostData trigger main.a_t")];
        assert!(
            parts
                .iter()
                .filter(|part| part.phase == Phase::Data && part.object.name == "a")
                .all(|part| trigger.after.contains(&part.id))
        );
    }

    #[test]
    fn a_filter_takes_along_what_belongs_to_a_table() {
        let mut request = BackupRequest::new(1);
        request.filter = Filter::new(["docs".parse().unwrap()], []);
        let parts = planned(&request);
        assert!(parts.iter().skip(1).all(|part| part.object.selected_as() == "docs"), "{:?}", names(&parts));
        assert_eq!(parts.iter().filter(|part| part.phase == Phase::Data).count(), 5);
        request.filter = Filter::new(["a".parse().unwrap()], []);
        let expected = [
            "PreData database main",
            "PreData table main.a",
            "PreData table main.sqlite_sequence",
            "Data table main.a",
            "Data table main.sqlite_sequence",
            "PostData index main.a_x",
            "PostData trigger main.a_t",
        ];
        assert_eq!(names(&planned(&request)), expected);
    }

    #[test]
    fn a_cancelled_plan_ends_before_the_next_table() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(SHOP).unwrap();
        let ctx = Ctx::new();
        ctx.cancel();
        let error = plan(&ctx, &connection, &BackupRequest::new(1)).unwrap_err();
        assert_eq!(error.kind(), backup_core::ErrorKind::Cancelled);
    }

    #[test]
    fn either_half_can_be_asked_for() {
        let mut request = BackupRequest::new(1);
        request.content = Content::SchemaOnly;
        assert!(planned(&request).iter().all(|part| part.phase != Phase::Data));
        request.content = Content::DataOnly;
        assert!(planned(&request).iter().skip(1).all(|part| part.phase == Phase::Data));
    }
}
