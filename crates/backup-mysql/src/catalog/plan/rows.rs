//! The rows of a table, whole or in ranges, and those that are read in other ways.

use backup_core::{Column as PartColumn, Ctx, Part, PartId, Phase, Result, RowLayout};

use super::super::spec::{self, RowsSpec, SqlSpec};
use super::super::split::{self, Slice};
use super::super::table::Table;
use super::super::{empty, misplaced, momentary, size, uncounted};
use super::{Engine, Plan};
use crate::connect::Connection;
use crate::ddl::quote::identifier;

impl Plan<'_> {
    pub(super) async fn rows(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        table: &Table,
        rows: u64,
    ) -> Result<()> {
        if table.engine == Engine::Rowless {
            return Ok(());
        }
        let columns: Vec<_> =
            table.columns.iter().map(|column| PartColumn::new(&column.name, &column.declared)).collect();
        let uncounted = uncounted::of(ctx, connection, table).await?;
        let empty = empty::of(ctx, connection, table).await?;
        let partitions = misplaced::partitions(ctx, connection, table).await?;
        let offset = self.zones.get(&table.name).and_then(|zone| zone.offset);
        let subtracts = self.subtracts(table);
        if !partitions.is_empty() {
            if uncounted.is_some() {
                return Err(uncounted::refused(table, "others lie in no partition"));
            }
            return self.rows_of_partitions(table, &columns, partitions, subtracts, offset);
        }
        let slices = if size::is_small(rows) {
            vec![Slice::whole(rows * 16 * table.columns.len() as u64)]
        } else {
            let size = size::estimate(ctx, connection, table).await?;
            match uncounted.is_some() || empty.is_some() || offset.is_some() {
                // Not all of its rows are read as such, so what ranges find could not be counted; and a bound is a time in UTC.
                true => vec![Slice::whole(size.bytes)],
                false => split::slices(ctx, connection, table, size, self.part_size).await?,
            }
        };
        if table.versioned && !connection.version.takes_history() {
            ctx.warn(format!(
                "table {} is system-versioned, and this server takes no history: it comes back into MariaDB 10.11 or later, or without rows of the past where a binary backup is loaded with local_infile=1",
                table.name.escape_debug()
            ));
        }
        let are_present = table.versioned && !has_past(ctx, connection, table).await?;
        let mut after = self.before_rows(table);
        let mut other_rows = None;
        if let Some(refused) = momentary::of(ctx, connection, table).await? {
            let object = self.object("history", &table.name).of_table(&table.name);
            if refused.are_backward {
                ctx.warn(format!(
                    "table {} has versions of rows that ended before they began, which no server takes back: they are not in the backup",
                    table.name.escape_debug()
                ));
                self.left_out.push(object.clone());
            }
            if let Some(momentary) = refused.momentary {
                after.push(self.sql(Phase::Data, object, &SqlSpec::Momentary(momentary), after.clone())?);
            }
            other_rows = Some(refused.others);
        }
        let slices_by_collation = slices.len() > 1
            && slices.iter().any(|slice| slice.condition.is_some())
            && table.key.iter().any(|column| !column.collation.is_empty());
        for slice in slices {
            let whole = match &slice.partition {
                Some(partition) => table.select_of_partition(partition),
                None => table.select(),
            };
            let numbered = uncounted.as_ref().map(|(_, others)| others);
            let placed = empty.as_ref().map(|(_, others)| others);
            let conditions = slice.condition.iter().chain(&other_rows).chain(numbered).chain(placed);
            let conditions: Vec<_> = conditions.map(|condition| format!("({condition})")).collect();
            let spec = RowsSpec {
                columns: table.columns.iter().map(|column| column.kind).collect(),
                select: if conditions.is_empty() {
                    whole
                } else {
                    format!("{whole} WHERE {}", conditions.join(" AND "))
                },
                versioned: table.versioned,
                are_present,
                generated_places: table.generated_places.clone(),
                subtracts,
                time_zone: offset.map(str::to_owned),
                aside: None,
                by_collation: slices_by_collation,
            };
            let object = self.object("table", &table.name);
            let part = Part::rows(self.next_id()?, object, RowLayout::LengthEncoded, columns.clone())
                .after(after.iter().copied())
                .size_hint(slice.bytes)
                .spec(spec::json(&spec)?);
            self.needs.entry(table.name.clone()).or_default().rows.push(part.id);
            self.parts.push(part);
        }
        for empty in empty.into_iter().flat_map(|(empty, _)| empty) {
            let object = self.object("empty geometries", &table.name).of_table(&table.name);
            let made = self.sql(Phase::Data, object, &SqlSpec::Empty(empty), after.clone())?;
            self.needs.entry(table.name.clone()).or_default().rows.push(made);
        }
        if let Some((uncounted, _)) = uncounted {
            let object = self.object("numbers", &table.name).of_table(&table.name);
            let rows = self.needs.get(&table.name).cloned().unwrap_or_default();
            let done = self.sql(Phase::Data, object, &SqlSpec::Uncounted(uncounted), rows.all())?;
            self.needs.entry(table.name.clone()).or_default().rows.push(done);
        }
        Ok(())
    }

    /// The rows of a table of which some are in a partition that is not theirs.
    fn rows_of_partitions(
        &mut self,
        table: &Table,
        columns: &[PartColumn],
        partitions: Vec<String>,
        subtracts: bool,
        offset: Option<&'static str>,
    ) -> Result<()> {
        let mut before = self.before_rows(table);
        for partition in partitions {
            let object = self.object("partition", &table.name).of_table(&table.name);
            let aside = format!("lifeboat_partition_{}", self.next_id()?);
            let spec = SqlSpec::Aside { aside: aside.clone() };
            let made = self.sql(Phase::Data, object.clone(), &spec, before)?;
            let rows = RowsSpec {
                columns: table.columns.iter().map(|column| column.kind).collect(),
                select: table.select_of_partition(&partition),
                versioned: false,
                are_present: false,
                generated_places: table.generated_places.clone(),
                subtracts,
                time_zone: offset.map(str::to_owned),
                aside: Some(aside.clone()),
                by_collation: false,
            };
            let of = self.object("table", &table.name);
            let rows = Part::rows(self.next_id()?, of, RowLayout::LengthEncoded, columns.to_vec())
                .after([made])
                .spec(spec::json(&rows)?);
            let spec = SqlSpec::Exchange { aside, partition };
            let needs = self.needs.entry(table.name.clone()).or_default();
            needs.rows.push(rows.id);
            let after = rows.id;
            self.parts.push(rows);
            let exchanged = self.sql(Phase::Data, object, &spec, [after])?;
            self.needs.entry(table.name.clone()).or_default().rows.push(exchanged);
            before = vec![exchanged];
        }
        Ok(())
    }

    /// What the rows of a table come after: the table, and the values of sequences that it counts by, without which it would count from their
    /// starts again.
    fn before_rows(&self, table: &Table) -> Vec<PartId> {
        let made = self.needs.get(&table.name).and_then(|needs| needs.made);
        let values = self.sequences_of(table).filter_map(|name| self.values.get(&name).copied());
        made.into_iter().chain(values).collect()
    }
}

/// When versions of the present end: in the last moment of a TIMESTAMP, which is a later one since MariaDB 11.5. One of the past may end later than it is now.
const NEVER: &str = "2147483647.999999, 4294967295.999999";

/// Whether a system-versioned table has rows that are no more.
async fn has_past(ctx: &Ctx, connection: &mut Connection, table: &Table) -> Result<bool> {
    let Some(end) = table.columns.last() else { return Ok(false) };
    let end = identifier(&end.name);
    let sql = format!("SELECT 1 FROM {} WHERE UNIX_TIMESTAMP({end}) NOT IN ({NEVER}) LIMIT 1", table.from());
    Ok(!connection.rows(ctx, &sql).await?.is_empty())
}
