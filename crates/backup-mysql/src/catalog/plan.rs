//! The parts that a database is backed up as.
//!
//! What rows need, the rows, then what is better made behind them. A part waits only for what it needs.

mod programs;
mod rows;

use std::collections::{BTreeSet, HashMap};

use backup_core::{BackupRequest, Content, Ctx, Error, Object, Part, PartId, Phase, Result};
use futures::future::try_join_all;

use super::accounts;
use super::histograms;
use super::objects::{Engine, Objects};
use super::reference;
use super::size;
use super::spec::{self, SqlSpec};
use super::statistics;
use super::table::{Details, Table};
use super::trigger;
use super::want::{Want, Wants};
use super::zone::{self, Zone};
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::lex::{Token, tokens, words};
use crate::ddl::quote::identifier;
use crate::ddl::view;
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
        key.is_early &= key.to.as_ref().is_some_and(|to| names.contains(to));
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
    let mut empty_sequences = BTreeSet::new();
    for name in &objects.sequences {
        if size::is_sequence_discarded(ctx, readers.any()?, name).await? {
            ctx.warn(format!(
                "the tablespace of sequence {} was discarded, and the server says no more of it than its name",
                name.escape_debug()
            ));
            empty_sequences.insert(name.clone());
        }
    }
    discarded.sort_unstable();
    for table in &discarded {
        ctx.warn(format!("the tablespace of table {} was discarded: it has no rows", table.escape_debug()));
    }
    for table in tables.iter_mut().filter(|table| discarded.contains(&table.name)) {
        table.engine = Engine::Rowless;
    }
    discarded.extend(empty_sequences.iter().cloned());
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
        references: HashMap::new(),
        is_mariadb: readers.any()?.version.is_mariadb,
        zones: HashMap::new(),
        names: objects.names(),
        wants,
        left_out,
    };
    let with_rows = tables.iter().filter(|table| table.engine != Engine::Rowless);
    for table in with_rows {
        let reader = readers.of(&table.name)?;
        if request.content == Content::SchemaOnly {
            plan.zones.insert(table.name.clone(), zone::without_rows(ctx, reader, table).await?);
            continue;
        }
        let wants = plan.wants.of("table", &table.name);
        let says = |want| wants.is_some_and(|wants| wants.contains(&want));
        let has_expressions =
            says(Want::Check) || says(Want::FunctionalIndex) || request.content == Content::DataOnly;
        let zone = zone::of(ctx, reader, table, has_expressions).await?;
        plan.zones.insert(table.name.clone(), zone);
    }

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
            let is_empty = empty_sequences.contains(name);
            let spec = if is_empty { SqlSpec::DiscardedSequence } else { SqlSpec::Sequence };
            let made = plan.sql(Phase::PreData, plan.object("sequence", name), &spec, [])?;
            plan.needs.insert(name.clone(), Needs { made: Some(made), ..Needs::default() });
        }
        plan.reference_systems(ctx, readers, &tables).await?;
        plan.tables(ctx, &tables, &counts, &objects.unselected)?;
    }
    if request.content != Content::SchemaOnly {
        // Ahead of the rows of tables that count by them, which never come alone.
        for name in objects.sequences.iter().filter(|name| !empty_sequences.contains(*name)) {
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
        plan.known(
            "histograms",
            &SqlSpec::Histograms,
            &histograms::tables(ctx, readers.any()?, database).await?,
        )?;
        plan.known(
            "statistics",
            &SqlSpec::Statistics,
            &statistics::tables(ctx, readers.any()?, database).await?,
        )?;
        plan.foreign_keys(ctx, &tables, objects.unselected.is_empty())?;
        let mut lost_columns = Vec::with_capacity(objects.triggers.len());
        for trigger in &objects.triggers {
            lost_columns.push(match tables.iter().find(|table| table.name == trigger.table) {
                Some(table) => trigger::lost(ctx, readers.of(&table.name)?, trigger, table).await?,
                None => Vec::new(),
            });
        }
        plan.programs(objects, &tables, lost_columns)?;
        plan.discards(&discarded)?;
    }
    for (account, made) in accounts.iter().zip(made) {
        let spec = SqlSpec::Grants { account: account.clone() };
        let object = Object::new("grants", account.name());
        plan.sql(Phase::Globals, object, &spec, [made])?;
    }
    if request.content != Content::DataOnly && objects.is_read_only {
        let after: Vec<_> = plan.parts.iter().map(|part| part.id).collect();
        plan.sql(Phase::PostData, Object::new("database", database), &SqlSpec::ReadOnly, after)?;
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
    /// The reference systems that tables need.
    references: HashMap<String, Vec<PartId>>,
    is_mariadb: bool,
    /// How the rows of tables are read and written.
    zones: HashMap<String, Zone>,
    /// Those of all tables, views and sequences.
    names: BTreeSet<String>,
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
        let refers_early = |table: &Table| table.foreign_keys.iter().any(|key| key.is_early);
        let (first, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|table| refers_early(table));
        for table in first.iter().copied().chain(others).chain(merged) {
            let filled = !size::is_small(counts.get(&table.name).copied().unwrap_or(0));
            let is_better = table.has_plain_keys && filled || table.numbers_texts;
            let keys_later =
                is_better && table.engine == Engine::InnoDb && !table.versioned && !refers_early(table);
            let early = table.foreign_keys.iter().filter(|key| key.is_early);
            let is_archive = table.wants.contains(&Want::Engine("ARCHIVE".to_owned()));
            let spec = SqlSpec::Table {
                keys_later,
                foreign_keys: early.map(|key| key.name.clone()).collect(),
                counts_by_rows: is_archive && counts.get(&table.name).is_some_and(|rows| *rows > 0),
                unenforced: self.zones.get(&table.name).map_or_else(Vec::new, |zone| zone.unenforced.clone()),
                subtracts: self.subtracts(table),
            };
            let mut after: Vec<_> =
                self.sequences_of(table).filter_map(|name| self.needs.get(&name)?.made).collect();
            after.extend(self.references.get(&table.name).into_iter().flatten());
            for (database, name) in self.lost_sequences_of(table) {
                if database.is_none() && unselected.contains(&name) {
                    ctx.warn(format!(
                        "table {} counts by sequence {}, which was not selected",
                        table.name.escape_debug(),
                        name.escape_debug()
                    ));
                }
                let object = self.object("sequence", &name).of_table(&table.name);
                let lost = SqlSpec::LostSequence { is_over: false, database };
                after.push(self.sql(Phase::PreData, object, &lost, [])?);
            }
            let refers_here = |other: &&&Table| {
                let mut keys = other.foreign_keys.iter().filter(|key| key.is_early);
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

    /// Whether a table is made and filled in the mode NO_UNSIGNED_SUBTRACTION, without which the server would not do so.
    fn subtracts(&self, table: &Table) -> bool {
        self.is_mariadb && table.subtracts || self.zones.get(&table.name).is_some_and(|zone| zone.subtracts)
    }

    /// Names in the defaults of a table: the sequences that they count by are among them.
    fn sequences_of(&self, table: &Table) -> impl Iterator<Item = String> {
        let defaults = table.columns.iter().filter_map(|column| column.default.as_deref());
        let names = defaults.flat_map(|default| tokens(default).filter_map(Token::name));
        names.collect::<BTreeSet<_>>().into_iter()
    }

    /// Sequences that the defaults of a table count by and that are not there, and those of other databases, which a target may not have.
    fn lost_sequences_of(&self, table: &Table) -> BTreeSet<(Option<String>, String)> {
        let defaults = table.columns.iter().filter_map(|column| column.default.as_deref());
        let named = defaults.flat_map(counted_by).map(|(database, name)| {
            let is_other = database != self.database;
            (is_other.then_some(database), name)
        });
        named.filter(|(database, name)| database.is_some() || !self.names.contains(name)).collect()
    }

    /// Lets go of them when their tables are made and filled.
    fn lost_sequences(&mut self, tables: &[Table]) -> Result<()> {
        for table in tables {
            for (database, name) in self.lost_sequences_of(table) {
                let after = self.needs.get(&table.name).cloned().unwrap_or_default();
                let object = self.object("sequence", &name).of_table(&table.name);
                let lost = SqlSpec::LostSequence { is_over: true, database };
                self.sql(Phase::PostData, object, &lost, after.all())?;
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

    /// What the optimizer knows of tables.
    fn known(&mut self, what: &str, spec: &SqlSpec, tables: &BTreeSet<String>) -> Result<()> {
        for table in tables {
            let Some(needs) = self.needs.get(table).cloned() else { continue };
            let object = self.object(what, table).of_table(table);
            self.sql(Phase::PostData, object, spec, needs.all())?;
        }
        Ok(())
    }

    /// Those that tables need, or their rows.
    async fn reference_systems(
        &mut self,
        ctx: &Ctx,
        readers: &mut Readers<'_>,
        tables: &[Table],
    ) -> Result<()> {
        let made = reference::made(ctx, readers.any()?, tables).await?;
        let mut parts = HashMap::new();
        for table in tables.iter().filter(|_| !made.is_empty()) {
            for id in reference::used(ctx, readers.of(&table.name)?, table, &made).await? {
                let part = match parts.get(&id) {
                    Some(part) => *part,
                    None => {
                        let object = Object::new("spatial reference system", &id);
                        self.sql(Phase::PreData, object, &SqlSpec::ReferenceSystem, [])?
                    }
                };
                parts.insert(id, part);
                self.references.entry(table.name.clone()).or_default().push(part);
            }
        }
        Ok(())
    }

    /// Where everything is wanted, a key may refer to a table that is not there.
    fn foreign_keys(&mut self, ctx: &Ctx, tables: &[Table], is_everything: bool) -> Result<()> {
        // Of one table one after the other: each locks it, and may give it a key for the moment.
        let mut before: HashMap<&String, PartId> = HashMap::new();
        for table in tables {
            for key in table.foreign_keys.iter().filter(|key| !key.is_early) {
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
}

/// The sequences that a default counts by, each with its database, as the server prints it: nextval(`database`.`sequence`).
fn counted_by(default: &str) -> Vec<(String, String)> {
    let words: Vec<Token<'_>> = words(default).collect();
    let counted = (0..words.len()).filter(|at| view::is_counted(&words, *at));
    let names = counted.filter_map(|at| match words.get(at..at + 3)? {
        [database, Token::Other("."), name] => Some((database.name()?, name.name()?)),
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
        let named = [("d", "a `b"), ("d", "c"), ("other", "x")];
        assert_eq!(counted_by(default), named.map(|(database, name)| (database.to_owned(), name.to_owned())));
        assert!(counted_by("`nextval`(`d`.`a`)").is_empty());
    }
}
