//! Tables: their columns, keys and constraints, for all of a database at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use backup_core::{Ctx, During, Result};

use super::column::{Column, GEOMETRIES, Kind};
use super::expression;
use super::objects::{Engine, TableEntry};
use super::want::Want;
use super::{Reading, shown_table};
use crate::connect::Connection;
use crate::ddl::create::{CreateTable, NUMBER_OF_TEXT, referred, unqualified};
use crate::ddl::lex::{Token, tokens};
use crate::ddl::quote::{identifier, text};

/// A table with what is needed to read its rows.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) engine: Engine,
    pub(crate) versioned: bool,
    pub(crate) is_partitioned: bool,
    /// Those whose values are stored, in order.
    pub(crate) columns: Vec<Column>,
    /// Generated columns of geometries: see [`super::spec::RowsSpec`].
    pub(crate) generated_places: Vec<String>,
    /// The names of all of them, generated ones too.
    pub(crate) names: Vec<String>,
    pub(crate) has_primary_key: bool,
    /// The columns of the primary key, as far as whole values of theirs are in it.
    pub(crate) key: Vec<KeyColumn>,
    pub(crate) has_plain_keys: bool,
    /// Its plain keys are not kept: DISABLE KEYS of MyISAM and Aria.
    pub(crate) has_disabled_keys: bool,
    /// It has the numbers by which InnoDB knows the texts of its full-text keys.
    pub(crate) numbers_texts: bool,
    /// The column that counts, if it may be NULL.
    pub(crate) nullable_counter: Option<String>,
    /// A column is generated as a difference. Of unsigned numbers MariaDB stores none, and has none in a key, but in its mode NO_UNSIGNED_SUBTRACTION.
    pub(crate) subtracts: bool,
    /// Its columns that may be otherwise in another session: those that are told in its time zone, and what is generated from them.
    pub(crate) dependent: Vec<String>,
    /// The stored ones that may be computed otherwise; and, of those that depend on the session, those that are not stored.
    pub(crate) computed: BTreeMap<String, Computed>,
    pub(crate) computed_virtually: Vec<String>,
    /// If its history is kept by transactions, and not by times: the column in which a version ends.
    pub(crate) end_by_transaction: Option<String>,
    pub(crate) foreign_keys: Vec<ForeignKey>,
    /// The numbers of the reference systems that its columns are bound to.
    pub(crate) references: BTreeSet<String>,
    /// What it wants of a server, and the expressions that may want more.
    pub(crate) wants: Vec<Want>,
    pub(crate) said: Vec<String>,
}

/// A stored column that is computed.
#[derive(Debug, Clone)]
pub(crate) struct Computed {
    /// Its type.
    pub(crate) declared: String,
    /// It may be otherwise in another time zone.
    pub(crate) is_zoned: bool,
}

/// A column of the primary key, and how its values are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeyColumn {
    pub(crate) name: String,
    pub(crate) data_type: String,
    /// Of texts alone.
    pub(crate) charset: String,
    pub(crate) collation: String,
}

impl KeyColumn {
    /// How a text in the place of `?` is compared with the values of the column, in their own collation.
    pub(crate) fn collated(&self) -> String {
        let word = |name: &str| -> String {
            name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
        };
        format!("CONVERT(_utf8mb4 ? USING {}) COLLATE {}", word(&self.charset), word(&self.collation))
    }
}

/// A foreign key of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ForeignKey {
    pub(crate) name: String,
    /// The table that it refers to, if that is of the same database.
    pub(crate) to: Option<String>,
    /// It deletes its rows with those that they refer to.
    pub(crate) cascades: bool,
    /// MariaDB makes it with its table, and adds it to none: a column there is of another type, which is so only where this key was made before that table;
    /// or it cascades, and is of a column from which a stored one is computed.
    pub(crate) is_early: bool,
}

impl Table {
    /// The query for its rows, without a WHERE.
    pub(crate) fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.selected(), self.from())
    }

    /// The query for the rows of a partition, whether they belong there or not.
    pub(crate) fn select_of_partition(&self, partition: &str) -> String {
        let from = self.rows_of(&format!(" PARTITION ({})", identifier(partition)));
        format!("SELECT {} FROM {from}", self.selected())
    }

    fn selected(&self) -> String {
        self.columns.iter().map(Column::selected).collect::<Vec<_>>().join(",")
    }

    /// What stands behind FROM. An InnoDB table is read in the order of its primary key, whatever other keys it has.
    pub(crate) fn from(&self) -> String {
        self.rows_of(if self.versioned { " FOR SYSTEM_TIME ALL" } else { "" })
    }

    fn rows_of(&self, which: &str) -> String {
        let force =
            if self.engine == Engine::InnoDb && self.has_primary_key { " FORCE INDEX (PRIMARY)" } else { "" };
        format!("{}{which}{force}", identifier(&self.name))
    }

    /// Finds its foreign keys in its statement: to an account of few privileges MariaDB does not say elsewhere which there are.
    pub(super) async fn read_foreign_keys(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        database: &str,
    ) -> Result<()> {
        let sql = shown_table(ctx, connection, &self.name).await?;
        let sql = unqualified(&String::from_utf8_lossy(&sql), database);
        let keys = CreateTable::parse(&sql)?.foreign_keys();
        let key = |(name, key): (String, &str)| {
            let to = referred(key).map(|(to, _)| to);
            ForeignKey { name, to, cascades: false, is_early: false }
        };
        self.foreign_keys = keys.into_iter().map(key).collect();
        self.foreign_keys.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(())
    }

    /// Whether it can be read in ranges of its primary key. A row that is in a partition not its own would be in none: the server
    /// does not look there for it.
    pub(crate) fn splits(&self) -> bool {
        self.engine == Engine::InnoDb && !self.key.is_empty() && !self.versioned && !self.is_partitioned
    }

    /// Whether it can be read partition by partition.
    pub(crate) fn splits_by_partitions(&self) -> bool {
        self.engine == Engine::InnoDb && self.is_partitioned && !self.versioned
    }
}

/// What `information_schema` says about the columns, keys and constraints of all tables of a database.
#[derive(Debug, Default)]
pub(crate) struct Details {
    columns: HashMap<String, Vec<RawColumn>>,
    /// Columns, and whether only the start of a value is in the key.
    primary_keys: HashMap<String, Vec<(String, bool)>>,
    /// How many of them are disabled.
    plain_keys: HashMap<String, u64>,
    foreign_keys: HashMap<String, Vec<ForeignKey>>,
}

#[derive(Debug)]
struct RawColumn {
    name: String,
    data_type: String,
    declared: String,
    charset: Option<String>,
    collation: Option<String>,
    default: Option<String>,
    generated: Option<String>,
    is_nullable: bool,
    extra: String,
    /// The number of a geometry's reference system.
    reference: Option<String>,
}

impl RawColumn {
    fn wants(&self) -> Vec<Want> {
        let mut wants = Want::column(
            &self.data_type,
            &self.declared,
            self.default.as_deref().unwrap_or_default(),
            &self.extra,
        );
        wants.extend(self.collation.as_deref().and_then(Want::collation));
        wants.extend(self.reference.is_some().then_some(Want::SpatialReference));
        wants
    }

    /// Whether a value of its type is what it is in any session, and compared as such.
    fn is_plain(&self) -> bool {
        let of = |end: &str| self.data_type.ends_with(end);
        of("int")
            || of("text")
            || of("blob")
            || ["decimal", "varchar", "varbinary", "json"].contains(&self.data_type.as_str())
    }

    /// How it is computed, if it is stored and may be otherwise when that is done again, as far as its values can be compared.
    fn computed(&self, raws: &[RawColumn], dependent: &[String]) -> Option<Computed> {
        let expression = self.generated.as_deref().filter(|_| self.extra.contains("STORED"))?;
        let is_zoned = expression::depends(expression, dependent);
        let is_plain = |name: &str| raws.iter().any(|raw| raw.name == name && raw.is_plain());
        let is_independent = || self.is_plain() && expression::is_independent(expression, is_plain);
        let is_rounded =
            ["float", "bit"].contains(&self.data_type.as_str()) || self.declared.starts_with("double(");
        let is_place = || GEOMETRIES.contains(&self.data_type.as_str());
        let may_be_otherwise = is_zoned || !is_rounded && !is_place() && !is_independent();
        may_be_otherwise.then(|| Computed { declared: self.declared.clone(), is_zoned })
    }

    /// Whether it is stored, and computed from this column.
    fn is_stored_of(&self, column: &str) -> bool {
        let names = |token: Token<'_>| token.name().is_some_and(|name| name.eq_ignore_ascii_case(column));
        let generated = self.generated.as_deref().filter(|_| self.extra.contains("STORED"));
        generated.is_some_and(|expression| tokens(expression).any(names))
    }

    /// Whether what it is generated from depends on the session, where these columns do.
    fn is_generated_so(&self, dependent: &[String], depends: fn(&str, &[String]) -> bool) -> bool {
        self.generated.as_deref().is_some_and(|expression| depends(expression, dependent))
    }

    /// Whether a foreign key may go from one to the other.
    fn is_like(&self, other: &Self) -> bool {
        let family = |column: &Self| {
            let of = |end: &str| column.data_type.ends_with(end);
            match column.data_type.as_str() {
                _ if of("char") || of("text") => "text".to_owned(),
                _ if of("binary") || of("blob") => "bytes".to_owned(),
                data_type => format!("{data_type} {}", column.declared.contains("unsigned")),
            }
        };
        family(self) == family(other) && self.collation == other.collation
    }
}

/// The columns that depend on the session: those that are told in its time zone, and what is generated from them. One that is generated refers to none of
/// the generated ones behind it.
fn dependent(raws: &[RawColumn], depends: fn(&str, &[String]) -> bool) -> Vec<String> {
    let mut dependent: Vec<_> =
        raws.iter().filter(|raw| raw.data_type == "timestamp").map(|raw| raw.name.clone()).collect();
    for raw in raws {
        if raw.is_generated_so(&dependent, depends) {
            dependent.push(raw.name.clone());
        }
    }
    dependent
}

impl Details {
    /// All but foreign keys to who `is_half_blind`: see [`Table::read_foreign_keys`].
    pub(crate) async fn read(
        ctx: &Ctx,
        connection: &mut Connection,
        database: &str,
        is_half_blind: bool,
    ) -> Result<Self> {
        let mut details = Self::default();
        let of = text(database);
        let has_references = !connection.version.is_mariadb && connection.version.number >= (8, 0, 3);
        let reference = if has_references { "SRS_ID" } else { "NULL" };
        let sql = format!(
            "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, \
             COLUMN_DEFAULT, GENERATION_EXPRESSION, IS_NULLABLE, EXTRA, {reference} FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {of} \
             ORDER BY TABLE_NAME, ORDINAL_POSITION"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let table = row.text()?;
            let column = RawColumn {
                name: row.text()?,
                data_type: row.text()?.to_ascii_lowercase(),
                declared: row.text()?,
                charset: row.maybe()?,
                collation: row.maybe()?,
                default: row.maybe()?,
                generated: row.maybe()?.filter(|expression| !expression.is_empty()),
                is_nullable: row.text()? == "YES",
                extra: row.maybe()?.unwrap_or_default(),
                reference: row.maybe()?,
            };
            details.columns.entry(table).or_default().push(column);
        }
        let sql = format!(
            "SELECT TABLE_NAME, COLUMN_NAME, SUB_PART IS NOT NULL FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {of} \
             AND INDEX_NAME = 'PRIMARY' ORDER BY TABLE_NAME, SEQ_IN_INDEX"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let table = row.text()?;
            let column = (row.text()?, row.number()? == 1);
            details.primary_keys.entry(table).or_default().push(column);
        }
        let sql = format!(
            "SELECT TABLE_NAME, SUM(COMMENT = 'disabled') FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = {of} \
             AND NON_UNIQUE = 1 AND INDEX_TYPE = 'BTREE' GROUP BY TABLE_NAME"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let table = row.text()?;
            details.plain_keys.insert(table, row.number()?);
        }
        if is_half_blind {
            return Ok(details);
        }
        let sql = format!(
            "SELECT TABLE_NAME, CONSTRAINT_NAME, UNIQUE_CONSTRAINT_SCHEMA, REFERENCED_TABLE_NAME, DELETE_RULE = 'CASCADE' \
             FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {of} \
             ORDER BY TABLE_NAME, CONSTRAINT_NAME"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (table, name, schema, to) = (row.text()?, row.text()?, row.text()?, row.text()?);
            let to = (schema == database).then_some(to);
            let key = ForeignKey { name, to, cascades: row.number()? == 1, is_early: false };
            details.foreign_keys.entry(table).or_default().push(key);
        }
        if connection.version.is_mariadb && !details.foreign_keys.is_empty() {
            details.look_at_keys(ctx, connection, &of).await?;
        }
        Ok(details)
    }

    /// Marks foreign keys to columns of another type, to columns that their table has not, and those that cascade from what stored columns are computed from.
    async fn look_at_keys(&mut self, ctx: &Ctx, connection: &mut Connection, of: &str) -> Result<()> {
        let sql = format!(
            "SELECT TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME \
             FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = {of} AND REFERENCED_TABLE_SCHEMA = {of}"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (table, key, from) = (row.text()?, row.text()?, row.text()?);
            let (other, to) = (row.text()?, row.text()?);
            let column = |table: &String, name: &String| {
                self.columns.get(table)?.iter().find(|column| column.name.eq_ignore_ascii_case(name))
            };
            let fits = match (column(&table, &from), column(&other, &to)) {
                _ if table == other => true,
                (Some(from), Some(to)) => from.is_like(to),
                (_, None) => !self.columns.contains_key(&other),
                _ => true,
            };
            let mut raws = self.columns.get(&table).into_iter().flatten();
            let is_stored = raws.any(|raw| raw.is_stored_of(&from));
            let keys = self.foreign_keys.get_mut(&table).into_iter().flatten();
            keys.filter(|one| one.name == key)
                .for_each(|one| one.is_early |= !fits || one.cascades && is_stored);
        }
        Ok(())
    }

    /// The table `name`, taken out.
    pub(crate) fn table(&mut self, entry: &TableEntry) -> Result<Table> {
        let TableEntry { name, engine, versioned, is_partitioned, wants } = entry;
        let (engine, versioned, is_partitioned) = (*engine, *versioned, *is_partitioned);
        let mut columns = Vec::new();
        let (mut ends, mut names, mut generated_places) = (Vec::new(), Vec::new(), Vec::new());
        let (mut end_by_transaction, mut nullable_counter) = (None, None);
        let raws = self.columns.remove(name).unwrap_or_default();
        let key = self.primary_keys.remove(name).unwrap_or_default();
        let has_primary_key = !key.is_empty();
        // Behind the start of a value, what the server finds by ranges is not all that there is.
        let key = key.iter().take_while(|(_, is_start)| !is_start);
        let key = key.filter_map(|(name, _)| raws.iter().find(|raw| raw.name == *name));
        let key = key.map(|raw| KeyColumn {
            name: raw.name.clone(),
            data_type: raw.data_type.clone(),
            charset: raw.charset.clone().unwrap_or_default(),
            collation: raw.collation.clone().unwrap_or_default(),
        });
        let key = key.collect();
        let (mut wants, mut said) = (wants.clone(), Vec::new());
        let mut generated = raws.iter().filter_map(|raw| raw.generated.as_deref());
        let subtracts = generated.any(expression::subtracts);
        let named = dependent(&raws, expression::names_session);
        let dependent = dependent(&raws, expression::depends);
        let computed =
            raws.iter().filter_map(|raw| Some((raw.name.clone(), raw.computed(&raws, &dependent)?)));
        let computed = computed.collect();
        let others = raws.iter().filter(|raw| !raw.extra.contains("STORED"));
        // Of quotients nobody could tell whether their digits are enough.
        let computed_virtually = others.filter(|raw| raw.is_generated_so(&named, expression::names_session));
        let computed_virtually = computed_virtually.map(|raw| raw.name.clone()).collect();
        let references = raws.iter().filter_map(|raw| raw.reference.clone()).collect();
        for raw in raws {
            wants.extend(raw.wants());
            said.extend(raw.default.clone().into_iter().chain(raw.generated.clone()));
            names.push(raw.name.clone());
            if raw.is_nullable && raw.extra.contains("auto_increment") {
                nullable_counter = Some(raw.name.clone());
            }
            let is_end = versioned && matches!(raw.generated.as_deref(), Some("ROW START" | "ROW END"));
            if raw.generated.is_some() && !is_end {
                if GEOMETRIES.contains(&raw.data_type.as_str()) {
                    generated_places.push(raw.name);
                }
                continue;
            }
            if is_end && raw.data_type != "timestamp" {
                if raw.generated.as_deref() == Some("ROW END") {
                    end_by_transaction = Some(raw.name);
                }
                continue;
            }
            let (charset, collation) = (raw.charset.as_deref(), raw.collation.as_deref());
            let kind = Kind::of(&raw.data_type, &raw.declared, charset, collation)
                .during(|| format!("column {} of table {}", raw.name.escape_debug(), name.escape_debug()))?;
            let column = Column { name: raw.name, declared: raw.declared, kind, default: raw.default };
            if is_end { ends.push(column) } else { columns.push(column) }
        }
        // The transactions of its rows are those that made them: they are not read.
        let versioned = versioned && end_by_transaction.is_none();
        if versioned && ends.is_empty() {
            let end = |name: &str| Column {
                name: name.to_owned(),
                declared: "timestamp(6)".to_owned(),
                kind: Kind::Plain,
                default: None,
            };
            ends = vec![end("row_start"), end("row_end")];
        }
        columns.extend(ends);
        if columns.is_empty() {
            let any = names.first().cloned().unwrap_or_default();
            columns.push(Column { name: any, declared: String::new(), kind: Kind::Absent, default: None });
        }
        let disabled_keys = self.plain_keys.remove(name);
        Ok(Table {
            name: name.to_owned(),
            engine,
            versioned,
            is_partitioned,
            columns,
            generated_places,
            has_primary_key,
            key,
            has_plain_keys: disabled_keys.is_some(),
            has_disabled_keys: disabled_keys > Some(0),
            numbers_texts: names.iter().any(|name| name == NUMBER_OF_TEXT),
            nullable_counter,
            subtracts,
            dependent,
            computed,
            computed_virtually,
            end_by_transaction,
            names,
            foreign_keys: self.foreign_keys.remove(name).unwrap_or_default(),
            references,
            wants,
            said,
        })
    }
}
