//! The parts that a database is backed up as.
//!
//! What rows need, the rows, then what is better made behind them. A part waits only for what it needs.

use std::collections::{BTreeSet, HashMap};

use backup_core::{
    BackupRequest, Column as PartColumn, Content, Ctx, Error, Object, Part, PartId, Phase, Result, RowLayout,
};
use futures::future::try_join_all;

use super::accounts;
use super::histograms;
use super::misplaced;
use super::momentary;
use super::objects::{Engine, Objects, RoutineKind};
use super::order;
use super::size;
use super::spec::{self, RowsSpec, SqlSpec};
use super::split::{self, Slice};
use super::stand_in::{StandIns, There};
use super::table::{Details, Table};
use super::trigger;
use super::uncounted;
use super::want::{Want, Wants};
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::lex::{Token, tokens, words};
use crate::ddl::quote::identifier;
use crate::keep::Keepers;

/// Who looks at what.
pub(crate) struct Readers<'a> {
    pub(crate) config: &'a Config,
    pub(crate) keepers: &'a mut Keepers,
    /// The one that has locked some tables.
    pub(crate) holder: Option<&'a mut Connection>,
    pub(crate) held: &'a BTreeSet<String>,
}

impl Readers<'_> {
    fn of(&mut self, table: &str) -> Result<&mut Connection> {
        match &mut self.holder {
            Some(holder) if self.held.contains(table) => Ok(holder),
            _ => Ok(&mut self.keepers.of(table)?.connection),
        }
    }

    /// For what belongs to no table.
    fn any(&mut self) -> Result<&mut Connection> {
        Ok(&mut self.keepers.of("")?.connection)
    }

    /// Looks how many rows each table has, if they are few; nothing of one without a tablespace. From here on nobody alters them.
    async fn keep(&mut self, ctx: &Ctx, tables: &[Table]) -> Result<HashMap<String, Option<u64>>> {
        let with_rows = tables.iter().filter(|table| table.engine != Engine::Rowless);
        let (held, others): (Vec<&Table>, Vec<&Table>) =
            with_rows.partition(|table| self.held.contains(&table.name));
        let mut shares = self.keepers.divide(&others)?;
        shares.extend(self.holder.as_deref_mut().map(|holder| (holder, held)));
        let looks = shares.into_iter().map(async |(keeper, share)| {
            let counts = size::few_rows(ctx, keeper, &share).await?;
            Ok(share.into_iter().map(|table| table.name.clone()).zip(counts).collect::<Vec<_>>())
        });
        Ok(try_join_all(looks).await?.into_iter().flatten().collect())
    }
}

/// What is backed up, and what cannot be.
pub(crate) struct Planned {
    pub(crate) parts: Vec<Part>,
    pub(crate) left_out: Vec<Object>,
}

/// The parts of the database that `request` selects.
pub(crate) async fn plan(
    ctx: &Ctx,
    readers: &mut Readers<'_>,
    database: &str,
    objects: &Objects,
    request: &BackupRequest,
) -> Result<Planned> {
    for table in &objects.unfit {
        ctx.warn(format!(
            "MERGE table {} and its triggers are left out: its parts are not there or not like it, and the server does not say what it is made of; it has no rows of its own",
            table.escape_debug()
        ));
    }
    let mut details = Details::read(ctx, readers.any()?, database, objects.is_half_blind).await?;
    let mut tables = Vec::new();
    for entry in &objects.tables {
        let mut table = details.table(entry)?;
        if objects.is_half_blind {
            table.read_foreign_keys(ctx, readers.any()?, database).await?;
        }
        tables.push(table);
    }
    let names: BTreeSet<_> = tables.iter().map(|table| table.name.clone()).collect();
    for key in tables.iter_mut().flat_map(|table| &mut table.foreign_keys) {
        key.is_mistyped &= key.to.as_ref().is_some_and(|to| names.contains(to));
    }
    let (mut counts, mut discarded) = (HashMap::new(), Vec::new());
    for (table, rows) in readers.keep(ctx, &tables).await? {
        match rows {
            Some(rows) => {
                counts.insert(table, rows);
            }
            None => discarded.push(table),
        }
    }
    discarded.sort_unstable();
    for table in &discarded {
        ctx.warn(format!("the tablespace of table {} was discarded: it has no rows", table.escape_debug()));
    }
    for table in tables.iter_mut().filter(|table| discarded.contains(&table.name)) {
        table.engine = Engine::Rowless;
    }
    let mut left_out = Vec::new();
    for table in tables.iter().filter(|_| request.content != Content::SchemaOnly) {
        let Some(end) = &table.end_by_transaction else { continue };
        if has_history(ctx, readers.any()?, &table.name, end).await? {
            left_out.push(Object::new("history", &table.name).in_schema(database).of_table(&table.name));
        }
    }
    let wants = match request.content {
        Content::DataOnly => Wants::default(),
        _ => Wants::read(ctx, readers.any()?, database, objects, &tables).await?,
    };
    let mut plan = Plan {
        parts: Vec::new(),
        database,
        part_size: readers.config.part_size,
        needs: HashMap::new(),
        values: HashMap::new(),
        wants,
        left_out,
    };

    let accounts = if request.globals { accounts::read(ctx, readers.any()?).await? } else { Vec::new() };
    let mut made = Vec::with_capacity(accounts.len());
    for account in &accounts {
        let spec = SqlSpec::Account { account: account.clone() };
        made.push(plan.sql(
            Phase::Globals,
            Object::new(account.word().to_ascii_lowercase(), account.name()),
            &spec,
            [],
        )?);
    }

    if request.content != Content::DataOnly {
        plan.sql(Phase::PreData, Object::new("database", database), &SqlSpec::Database, [])?;
        for name in &objects.sequences {
            let made = plan.sql(Phase::PreData, plan.object("sequence", name), &SqlSpec::Sequence, [])?;
            plan.needs.insert(name.clone(), Needs { made: Some(made), ..Needs::default() });
        }
        plan.tables(ctx, &tables, &counts, &objects.unselected)?;
    }
    if request.content != Content::SchemaOnly {
        // Ahead of the rows of tables that count by them, which never come alone.
        for name in &objects.sequences {
            let after = plan.needs.get(name).and_then(|needs| needs.made);
            let value =
                plan.sql(Phase::Data, plan.object("sequence", name), &SqlSpec::SequenceValue, after)?;
            plan.values.insert(name.clone(), value);
        }
        for table in &tables {
            ctx.check()?;
            plan.rows(ctx, readers.of(&table.name)?, table, counts.get(&table.name).copied().unwrap_or(0))
                .await?;
        }
    }
    if request.content != Content::DataOnly {
        plan.keys(&tables)?;
        plan.lost_sequences(&tables)?;
        plan.histograms(&histograms::tables(ctx, readers.any()?, database).await?)?;
        plan.foreign_keys(ctx, &tables, objects.unselected.is_empty())?;
        plan.programs(objects, &tables)?;
        plan.discards(&discarded)?;
    }
    for (account, made) in accounts.iter().zip(made) {
        let spec = SqlSpec::Grants { account: account.clone() };
        let object = Object::new("grants", account.name());
        plan.sql(Phase::Globals, object, &spec, [made])?;
    }
    Ok(Planned { parts: plan.parts, left_out: plan.left_out })
}

/// Whether a table that is versioned by transactions has rows of the past. These are not backed up: no server takes the number of the transaction that a
/// row was of, and without it they would be rows of the present.
async fn has_history(ctx: &Ctx, connection: &mut Connection, table: &str, end: &str) -> Result<bool> {
    let (name, end) = (identifier(table), identifier(end));
    let past = format!("SELECT 1 FROM {name} FOR SYSTEM_TIME ALL WHERE {end} <> {} LIMIT 1", u64::MAX);
    let has_any = !connection.rows(ctx, &past).await?.is_empty();
    let lost = match has_any {
        true => "its rows of the past, and the transactions of the others, are",
        false => "the transactions of its rows are",
    };
    ctx.warn(format!(
        "table {} is versioned by transactions, which no server takes back: {lost} not in the backup",
        table.escape_debug()
    ));
    Ok(has_any)
}

/// Whether a stored difference of unsigned numbers is below zero, or may be such a one.
async fn has_differences_below_zero(ctx: &Ctx, connection: &mut Connection, table: &Table) -> Result<bool> {
    if table.differences.is_empty() {
        return Ok(false);
    }
    let below: Vec<_> = table.differences.iter().map(|name| format!("{} < 0", identifier(name))).collect();
    let sql = format!("SELECT 1 FROM {} WHERE {} LIMIT 1", table.from(), below.join(" OR "));
    Ok(!connection.rows(ctx, &sql).await?.is_empty())
}

/// The parts of a table, sequence, view or function.
#[derive(Debug, Clone, Default)]
struct Needs {
    made: Option<PartId>,
    rows: Vec<PartId>,
    keys_later: bool,
    keys: Option<PartId>,
}

impl Needs {
    /// All that there is of it.
    fn all(&self) -> impl Iterator<Item = PartId> + '_ {
        self.made.into_iter().chain(self.rows.iter().copied()).chain(self.keys)
    }
}

struct Plan<'a> {
    parts: Vec<Part>,
    database: &'a str,
    /// About how large a part of a large table may be.
    part_size: u64,
    needs: HashMap<String, Needs>,
    /// What sets each sequence to where it is.
    values: HashMap<String, PartId>,
    wants: Wants,
    left_out: Vec<Object>,
}

impl Plan<'_> {
    fn object(&self, kind: &str, name: &str) -> Object {
        Object::new(kind, name).in_schema(self.database)
    }

    fn next_id(&self) -> Result<u32> {
        u32::try_from(self.parts.len()).map_err(|_| Error::unsupported("the database has too many objects"))
    }

    fn sql(
        &mut self,
        phase: Phase,
        object: Object,
        spec: &SqlSpec,
        after: impl IntoIterator<Item = PartId>,
    ) -> Result<PartId> {
        let spec = spec::with_wants(spec, self.wants.of(&object.kind, &object.name))?;
        let part = Part::sql(self.next_id()?, phase, object).after(after).spec(spec);
        let id = part.id;
        self.parts.push(part);
        Ok(id)
    }

    fn tables(
        &mut self,
        ctx: &Ctx,
        tables: &[Table],
        counts: &HashMap<String, u64>,
        unselected: &BTreeSet<String>,
    ) -> Result<()> {
        // A merge table is made of others, which must be there.
        let (merged, others): (Vec<_>, Vec<_>) =
            tables.iter().partition(|table| table.engine == Engine::Rowless);
        let mut made_before = Vec::new();
        // One that refers to columns of another type goes before the table that has these.
        let refers_early = |table: &Table| table.foreign_keys.iter().any(|key| key.is_mistyped);
        let (first, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|table| refers_early(table));
        for table in first.iter().copied().chain(others).chain(merged) {
            let filled = !size::is_small(counts.get(&table.name).copied().unwrap_or(0));
            let is_better = table.has_plain_keys && filled || table.numbers_texts;
            let keys_later =
                is_better && table.engine == Engine::InnoDb && !table.versioned && !refers_early(table);
            let mistyped = table.foreign_keys.iter().filter(|key| key.is_mistyped);
            let is_archive = table.wants.contains(&Want::Engine("ARCHIVE".to_owned()));
            let spec = SqlSpec::Table {
                keys_later,
                foreign_keys: mistyped.map(|key| key.name.clone()).collect(),
                counts_by_rows: is_archive && counts.get(&table.name).is_some_and(|rows| *rows > 0),
            };
            let mut after: Vec<_> =
                self.sequences_of(table).filter_map(|name| self.needs.get(&name)?.made).collect();
            for name in self.lost_sequences_of(table) {
                if unselected.contains(&name) {
                    ctx.warn(format!(
                        "table {} counts by sequence {}, which was not selected",
                        table.name.escape_debug(),
                        name.escape_debug()
                    ));
                }
                let object = self.object("sequence", &name).of_table(&table.name);
                let lost = SqlSpec::LostSequence { is_over: false };
                after.push(self.sql(Phase::PreData, object, &lost, [])?);
            }
            let refers_here = |other: &&&Table| {
                let mut keys = other.foreign_keys.iter().filter(|key| key.is_mistyped);
                keys.any(|key| key.to.as_ref() == Some(&table.name))
            };
            let referring = first.iter().filter(refers_here);
            after.extend(referring.filter_map(|other| self.needs.get(&other.name)?.made));
            if table.engine == Engine::Rowless {
                after.extend(&made_before);
            }
            let made = self.sql(Phase::PreData, self.object("table", &table.name), &spec, after)?;
            made_before.push(made);
            self.needs.insert(table.name.clone(), Needs { made: Some(made), keys_later, ..Needs::default() });
        }
        Ok(())
    }

    /// Names in the defaults of a table: the sequences that they count by are among them.
    fn sequences_of(&self, table: &Table) -> impl Iterator<Item = String> {
        let defaults = table.columns.iter().filter_map(|column| column.default.as_deref());
        let names = defaults.flat_map(|default| tokens(default).filter_map(Token::name));
        names.collect::<BTreeSet<_>>().into_iter()
    }

    /// Sequences that the defaults of a table count by and that are not there.
    fn lost_sequences_of(&self, table: &Table) -> BTreeSet<String> {
        let defaults = table.columns.iter().filter_map(|column| column.default.as_deref());
        let named = defaults.flat_map(|default| counted_by(default, self.database));
        named.filter(|name| !self.needs.contains_key(name)).collect()
    }

    /// Lets go of them when their tables are made and filled.
    fn lost_sequences(&mut self, tables: &[Table]) -> Result<()> {
        for table in tables {
            for name in self.lost_sequences_of(table) {
                let after = self.needs.get(&table.name).cloned().unwrap_or_default();
                let object = self.object("sequence", &name).of_table(&table.name);
                self.sql(Phase::PostData, object, &SqlSpec::LostSequence { is_over: true }, after.all())?;
            }
        }
        Ok(())
    }

    /// Behind all else, which may have to look at the table.
    fn discards(&mut self, tables: &[String]) -> Result<()> {
        let after: Vec<_> = self.parts.iter().map(|part| part.id).collect();
        for table in tables {
            let object = self.object("tablespace", table).of_table(table);
            self.sql(Phase::PostData, object, &SqlSpec::Discard, after.clone())?;
        }
        Ok(())
    }

    async fn rows(&mut self, ctx: &Ctx, connection: &mut Connection, table: &Table, rows: u64) -> Result<()> {
        if table.engine == Engine::Rowless {
            return Ok(());
        }
        let columns: Vec<_> =
            table.columns.iter().map(|column| PartColumn::new(&column.name, &column.declared)).collect();
        let uncounted = uncounted::of(ctx, connection, table).await?;
        let partitions = misplaced::partitions(ctx, connection, table).await?;
        let subtracts = has_differences_below_zero(ctx, connection, table).await?;
        if !partitions.is_empty() {
            if uncounted.is_some() {
                return Err(uncounted::refused(table, "others lie in no partition"));
            }
            return self.rows_of_partitions(table, &columns, partitions, subtracts);
        }
        let slices = if size::is_small(rows) {
            vec![Slice::whole(rows * 16 * table.columns.len() as u64)]
        } else {
            let size = size::estimate(ctx, connection, table).await?;
            match &uncounted {
                // Not all of its rows are read as such, so what ranges find could not be counted.
                Some(_) => vec![Slice::whole(size.bytes)],
                None => split::slices(ctx, connection, table, size, self.part_size).await?,
            }
        };
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
            let conditions = slice.condition.iter().chain(&other_rows).chain(numbered);
            let conditions: Vec<_> = conditions.map(|condition| format!("({condition})")).collect();
            let spec = RowsSpec {
                columns: table.columns.iter().map(|column| column.kind).collect(),
                select: if conditions.is_empty() {
                    whole
                } else {
                    format!("{whole} WHERE {}", conditions.join(" AND "))
                },
                versioned: table.versioned,
                generated_places: table.generated_places.clone(),
                subtracts,
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
                generated_places: table.generated_places.clone(),
                subtracts,
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

    fn keys(&mut self, tables: &[Table]) -> Result<()> {
        for table in tables.iter().filter(|table| table.has_disabled_keys) {
            let object = self.object("keys", &table.name).of_table(&table.name);
            let after = self.needs.get(&table.name).cloned().unwrap_or_default();
            let keys = self.sql(Phase::PostData, object, &SqlSpec::DisableKeys, after.all())?;
            self.needs.entry(table.name.clone()).or_default().keys = Some(keys);
        }
        for table in tables {
            let Some(needs) = self.needs.get(&table.name).filter(|needs| needs.keys_later).cloned() else {
                continue;
            };
            let object = self.object("keys", &table.name).of_table(&table.name);
            let keys = self.sql(Phase::PostData, object, &SqlSpec::Keys, needs.all())?;
            self.needs.entry(table.name.clone()).or_default().keys = Some(keys);
        }
        Ok(())
    }

    fn histograms(&mut self, tables: &BTreeSet<String>) -> Result<()> {
        for table in tables {
            let Some(needs) = self.needs.get(table).cloned() else { continue };
            let object = self.object("histograms", table).of_table(table);
            self.sql(Phase::PostData, object, &SqlSpec::Histograms, needs.all())?;
        }
        Ok(())
    }

    /// Where everything is wanted, a key may refer to a table that is not there.
    fn foreign_keys(&mut self, ctx: &Ctx, tables: &[Table], is_everything: bool) -> Result<()> {
        // Of one table one after the other: each locks it, and may give it a key for the moment.
        let mut before: HashMap<&String, PartId> = HashMap::new();
        for table in tables {
            for key in table.foreign_keys.iter().filter(|key| !key.is_mistyped) {
                let ends = [Some(&table.name), key.to.as_ref()];
                let missing = ends.into_iter().flatten().find(|name| !self.needs.contains_key(*name));
                if let Some(missing) = missing.filter(|_| !is_everything) {
                    let (key, table) = (key.name.escape_debug(), table.name.escape_debug());
                    ctx.warn(format!(
                        "foreign key {key} of table {table} is left out: it refers to {}, which was not selected",
                        missing.escape_debug()
                    ));
                    continue;
                }
                let needs = ends.into_iter().flatten().filter_map(|name| self.needs.get(name));
                let earlier = ends.into_iter().flatten().filter_map(|name| before.get(name).copied());
                let mut after: Vec<_> = needs.flat_map(Needs::all).chain(earlier).collect();
                after.sort_unstable();
                after.dedup();
                let object = self.object("foreign key", &key.name).of_table(&table.name);
                let made = self.sql(Phase::PostData, object, &SqlSpec::ForeignKey, after)?;
                before.extend(ends.into_iter().flatten().map(|name| (name, made)));
            }
        }
        Ok(())
    }

    fn programs(&mut self, objects: &Objects, tables: &[Table]) -> Result<()> {
        let mut functions = HashMap::new();
        let mut packages = HashMap::new();
        let mut libraries = Vec::new();
        for routine in &objects.routines {
            let object = self.object(routine.kind.object(), &routine.name);
            let after = match routine.kind {
                RoutineKind::PackageBody => packages.get(&routine.name).copied().into_iter().collect(),
                RoutineKind::Function | RoutineKind::Procedure => libraries.clone(),
                _ => Vec::new(),
            };
            let spec = SqlSpec::Routine { routine: routine.kind, context: routine.context.clone() };
            let made = self.sql(Phase::PostData, object, &spec, after)?;
            match routine.kind {
                RoutineKind::Library => {
                    libraries.push(made);
                    None
                }
                RoutineKind::Function => functions.insert(routine.name.to_lowercase(), made),
                RoutineKind::Package => packages.insert(routine.name.clone(), made),
                _ => None,
            };
        }
        let mut views = HashMap::new();
        // What reads one that needs stand-ins comes behind it.
        let (mut late, mut early, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for view in order::views(&objects.views, self.database) {
            let reads = order::needs(view, self.database).tables;
            if view.invalid || view.fixed || reads.iter().any(|name| names.contains(name)) {
                names.insert(view.name.clone());
                late.push(view);
            } else {
                early.push(view);
            }
        }
        for view in early {
            let needs = order::needs(view, self.database);
            // A view may name a key in a hint.
            let tables = needs.tables.iter().filter_map(|name| self.needs.get(name));
            let tables = tables.flat_map(|needs| needs.made.into_iter().chain(needs.keys));
            let others = needs.tables.iter().filter_map(|name| views.get(name).copied());
            let called =
                needs.functions.iter().filter_map(|name| functions.get(&name.to_lowercase()).copied());
            let mut after: Vec<_> = tables.chain(others).chain(called).collect();
            after.sort_unstable();
            after.dedup();
            let spec = SqlSpec::View {
                invalid: false,
                context: view.context.clone(),
                stand_ins: StandIns::default(),
            };
            let made = self.sql(Phase::PostData, self.object("view", &view.name), &spec, after)?;
            views.insert(view.name.clone(), made);
        }
        // One after the other, behind tables, rows and routines: while one is made, what it reads may be put aside.
        let mut after: Vec<_> = self.parts.iter().map(|part| part.id).collect();
        for view in late {
            let there = |name: &str| {
                if let Some(table) = tables.iter().find(|table| table.name == name) {
                    There::Table(&table.names)
                } else if objects.views.iter().any(|view| view.name == name) {
                    There::View
                } else {
                    There::Nothing
                }
            };
            let has_function = |name: &str| functions.contains_key(&name.to_lowercase());
            let has_database = |name: &str| {
                objects.databases.contains(name) || name.eq_ignore_ascii_case("information_schema")
            };
            let stand_ins = if view.invalid || view.fixed {
                StandIns::of(view, self.database, there, has_function, has_database)
            } else {
                StandIns::default()
            };
            let spec = SqlSpec::View { invalid: view.invalid, context: view.context.clone(), stand_ins };
            let made = self.sql(Phase::PostData, self.object("view", &view.name), &spec, after)?;
            after = vec![made];
        }
        // Triggers come behind, of which a restore sees to it: they do not need these views, and without them come all the same.
        let mut before: Option<(&str, PartId)> = None;
        for trigger in &objects.triggers {
            let mut after: Vec<_> = self.needs.get(&trigger.table).into_iter().flat_map(Needs::all).collect();
            after.extend(before.filter(|(table, _)| *table == trigger.table).map(|(_, id)| id));
            let object = self.object("trigger", &trigger.name).of_table(&trigger.table);
            let table = tables.iter().find(|table| table.name == trigger.table);
            let missing = table.map_or_else(Vec::new, |table| trigger::missing(&trigger.body, &table.names));
            let spec = SqlSpec::Trigger { context: trigger.context.clone(), missing };
            let made = self.sql(Phase::PostData, object, &spec, after)?;
            before = Some((&trigger.table, made));
        }
        for event in &objects.events {
            let spec = SqlSpec::Event { context: event.context.clone() };
            self.sql(Phase::PostData, self.object("event", &event.name), &spec, [])?;
        }
        Ok(())
    }
}

/// The sequences of the database that a default counts by, as the server prints it: nextval(`database`.`sequence`).
fn counted_by(default: &str, database: &str) -> Vec<String> {
    const COUNTS: [&str; 3] = ["nextval", "lastval", "setval"];
    let words: Vec<Token<'_>> = words(default).collect();
    let names = words.windows(5).filter_map(|five| match five {
        [word, Token::Other("("), of, Token::Other("."), name]
            if COUNTS.iter().any(|count| word.is(count)) =>
        {
            name.name().filter(|_| of.name().as_deref() == Some(database))
        }
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
mod tests {
    use super::counted_by;

    #[test]
    fn sequences_are_found_in_what_counts_by_them() {
        let default =
            "nextval(`d`.`a ``b`) + lastval(`d`.`c`) + length('nextval(`d`.`text`)') + nextval(`other`.`x`)";
        assert_eq!(counted_by(default, "d"), ["a `b", "c"]);
        assert!(counted_by("`nextval`(`d`.`a`)", "d").is_empty());
    }
}
