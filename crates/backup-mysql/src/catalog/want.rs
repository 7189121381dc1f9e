//! What objects want of a server that not every server has: another product or an older version is asked for it before anything is restored there.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Ctx, Result};
use serde::{Deserialize, Serialize};

use super::objects::{Engine, Objects, Routine};
use super::table::Table;
use super::word::is_function;
use super::{Reading, create_table};
use crate::connect::Connection;
use crate::ddl::create::CreateTable;
use crate::ddl::lex::{Token, code};
use crate::ddl::program;
use crate::ddl::quote::text;
use crate::error::code as number;
use crate::snapshot::is_denied;

/// Something that a server may lack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Want {
    Collation(String),
    /// A function of the server's own.
    Function(String),
    Engine(String),
    /// Partitions of tables of an engine that has none of itself.
    Partitioned(String),
    /// The partition of a list for whatever is in no other.
    DefaultPartition,
    /// A part of an `sql_mode`.
    Mode(String),
    /// What takes texts apart for a full-text index.
    Parser(String),
    /// An option of a table.
    Option(String),
    /// A type of columns.
    Type(String),
    Sequence,
    /// One of another type than BIGINT.
    TypedSequence,
    Package,
    Library,
    SystemVersioning,
    /// Partitions of a history that the server adds itself.
    AutoPartitions,
    Period,
    CompressedColumn,
    InvisibleColumn,
    UnusedIndex,
    FunctionalIndex,
    DescendingIndex,
    VectorIndex,
    LongUnique,
    SpatialReference,
    Check,
    NotEnforced,
    DefaultExpression,
    DatabaseComment,
    CastToJson,
    MemberOf,
    JsonTable,
    Histogram,
    Statistics,
    /// One of MySQL that tables share.
    Tablespace(String),
    /// The database by the name that it has: a program says that.
    OwnDatabase,
}

/// The types that not every server has.
const TYPES: [&str; 5] = ["json", "inet4", "inet6", "uuid", "vector"];

/// The options of tables that every server knows, or that say nothing.
const OPTIONS: [&str; 19] = [
    "row_format",
    "key_block_size",
    "stats_persistent",
    "stats_auto_recalc",
    "stats_sample_pages",
    "max_rows",
    "min_rows",
    "avg_row_length",
    "pack_keys",
    "checksum",
    "delay_key_write",
    "partitioned",
    "partitions",
    "page_checksum",
    "insert_method",
    "encryption=\"n\"",
    "data",
    "index",
    "directory",
];

impl Want {
    /// What a collation is wanted as; the one of bytes every server has.
    pub(crate) fn collation(name: &str) -> Option<Self> {
        (!name.is_empty() && name != "binary").then(|| Self::Collation(name.to_ascii_lowercase()))
    }

    pub(super) fn engine(name: &str) -> Option<Self> {
        (!name.eq_ignore_ascii_case("InnoDB")).then(|| Self::Engine(name.to_owned()))
    }

    /// What a partitioned table wants.
    pub(super) fn partitioned(engine: &str) -> Option<Self> {
        (!engine.eq_ignore_ascii_case("InnoDB")).then(|| Self::Partitioned(engine.to_owned()))
    }

    /// What the options of a table want, as `information_schema` says them: words apart by spaces, some with a value.
    pub(super) fn options(said: &str) -> impl Iterator<Item = Self> {
        let words = said.split_whitespace().map(str::to_ascii_lowercase);
        words.filter_map(|word| {
            let name = word.split('=').next().unwrap_or_default().trim_matches('`').to_owned();
            let is_known = OPTIONS.contains(&name.as_str()) || OPTIONS.contains(&word.as_str());
            (!name.is_empty() && !is_known).then(|| Self::Option(name.to_uppercase()))
        })
    }

    /// What a column wants of this type, about which the server says this beside.
    pub(super) fn column(data_type: &str, declared: &str, default: &str, extra: &str) -> Vec<Self> {
        let mut wants = Vec::new();
        if TYPES.contains(&data_type) {
            wants.push(Self::Type(data_type.to_owned()));
        }
        if declared.contains("COMPRESSED*/") {
            wants.push(Self::CompressedColumn);
        }
        if extra.contains("INVISIBLE") {
            wants.push(Self::InvisibleColumn);
        }
        if extra.contains("DEFAULT_GENERATED")
            && !default.to_ascii_lowercase().starts_with("current_timestamp")
        {
            wants.push(Self::DefaultExpression);
        }
        wants
    }
}

/// An object, and SQL that is part of it.
type Said = (&'static str, String, String);

/// What the objects of a database want, by kind and name.
#[derive(Debug, Default)]
pub(super) struct Wants(BTreeMap<&'static str, BTreeMap<String, BTreeSet<Want>>>);

impl Wants {
    /// Looks what they want.
    pub(super) async fn read(
        ctx: &Ctx,
        connection: &mut Connection,
        database: &str,
        objects: &Objects,
        tables: &[Table],
    ) -> Result<Self> {
        let (mut wants, mut said) = (Self::default(), Vec::new());
        let of = text(database);
        for table in tables {
            let all = wants.all("table", &table.name);
            all.extend(table.wants.iter().cloned());
            all.extend(table.versioned.then_some(Want::SystemVersioning));
            said.extend(table.said.iter().map(|sql| ("table", table.name.clone(), sql.clone())));
        }
        wants.read_indexes(ctx, connection, &of, &mut said).await?;
        wants.read_checks(ctx, connection, &of, &mut said).await?;
        wants.read_partitions(ctx, connection, tables).await?;
        wants.read_sequences(ctx, connection, &of, objects).await?;
        wants.read_tablespaces(ctx, connection, tables).await?;
        for view in &objects.views {
            said.push(("view", view.name.clone(), view.definition.clone()));
        }
        for trigger in &objects.triggers {
            said.push(("trigger", trigger.name.clone(), trigger.body.clone()));
        }
        programs(ctx, connection, &of, objects, &mut said).await?;
        for (kind, name, sql) in said.iter().filter(|(kind, ..)| !["table", "view"].contains(kind)) {
            if program::names(sql, database) {
                wants.all(kind, name).insert(Want::OwnDatabase);
            }
        }
        wants.read_code(ctx, connection, &of, &said).await?;
        let has_comment = connection.version.is_mariadb && connection.version.number >= (10, 5, 0);
        let comment = if has_comment { "SCHEMA_COMMENT" } else { "''" };
        let sql = format!(
            "SELECT DEFAULT_COLLATION_NAME, {comment} FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {of}"
        );
        let mut row = Reading::new(connection.row(ctx, &sql).await?);
        let (collation, comment) = (row.text()?, row.maybe()?.unwrap_or_default());
        let all = wants.all("database", database);
        all.extend(Want::collation(&collation));
        all.extend((!comment.is_empty()).then_some(Want::DatabaseComment));
        Ok(wants)
    }

    fn all(&mut self, kind: &'static str, name: &str) -> &mut BTreeSet<Want> {
        self.0.entry(kind).or_default().entry(name.to_owned()).or_default()
    }

    /// What one of them wants.
    pub(super) fn of(&self, kind: &str, name: &str) -> Option<&BTreeSet<Want>> {
        self.0.get(kind)?.get(name).filter(|wants| !wants.is_empty())
    }

    /// Whether the table is one of those that are backed up.
    fn has_table(&self, name: &str) -> bool {
        self.0.get("table").is_some_and(|tables| tables.contains_key(name))
    }

    async fn read_indexes(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
        said: &mut Vec<Said>,
    ) -> Result<()> {
        let version = &connection.version;
        let (unused, expression) = match (version.is_mariadb, version.number) {
            (true, number) if number >= (10, 6, 0) => ("IGNORED = 'YES'", "NULL"),
            (false, number) if number >= (8, 0, 13) => ("IS_VISIBLE = 'NO'", "EXPRESSION"),
            _ => ("FALSE", "NULL"),
        };
        let sql = format!(
            "SELECT TABLE_NAME, INDEX_NAME, INDEX_TYPE, COLLATION <=> 'D', {unused}, {expression} FROM information_schema.STATISTICS \
             WHERE TABLE_SCHEMA = {of} AND (INDEX_TYPE <> 'BTREE' OR COLLATION = 'D' OR {unused} OR {expression} IS NOT NULL)"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (table, index, kind) = (row.text()?, row.text()?, row.text()?);
            let (descends, is_unused, expression) = (row.number()? == 1, row.number()? == 1, row.maybe()?);
            if !self.has_table(&table) {
                continue;
            }
            let is_memory = self.all("table", &table).contains(&Want::Engine("MEMORY".to_owned()));
            let mut wants = Vec::new();
            wants.extend(descends.then_some(Want::DescendingIndex));
            wants.extend(is_unused.then_some(Want::UnusedIndex));
            wants.extend(expression.is_some().then_some(Want::FunctionalIndex));
            match kind.as_str() {
                "VECTOR" => wants.push(Want::VectorIndex),
                // In others it is the server that makes a unique index of long texts out of it.
                "HASH" if !is_memory => wants.push(Want::LongUnique),
                "FULLTEXT" => wants.extend(parser(&create_table(ctx, connection, &table).await?, &index)),
                _ => {}
            }
            said.extend(expression.map(|sql| ("table", table.clone(), sql)));
            self.all("table", &table).extend(wants);
        }
        Ok(())
    }

    async fn read_checks(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
        said: &mut Vec<Said>,
    ) -> Result<()> {
        let version = &connection.version;
        let sql = match (version.is_mariadb, version.number) {
            (true, _) => format!(
                "SELECT TABLE_NAME, CHECK_CLAUSE, 'YES' FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {of}"
            ),
            (false, number) if number >= (8, 0, 16) => format!(
                "SELECT TABLE_NAME, CHECK_CLAUSE, ENFORCED FROM information_schema.TABLE_CONSTRAINTS \
                 JOIN information_schema.CHECK_CONSTRAINTS USING (CONSTRAINT_SCHEMA, CONSTRAINT_NAME) WHERE CONSTRAINT_SCHEMA = {of}"
            ),
            _ => return Ok(()),
        };
        let mut with_periods = BTreeSet::new();
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (table, clause, enforced) = (row.text()?, row.text()?, row.text()?);
            if !self.has_table(&table) {
                continue;
            }
            let wants = self.all("table", &table);
            wants.insert(Want::Check);
            if enforced == "NO" {
                wants.insert(Want::NotEnforced);
            }
            // A period is seen by the constraint that it brings along.
            let all: Vec<_> = code(&clause).collect();
            if matches!(all.as_slice(), [Token::Name(_), Token::Other("<"), Token::Name(_)]) {
                with_periods.insert(table.clone());
            }
            said.push(("table", table, clause));
        }
        for table in with_periods {
            let sql = create_table(ctx, connection, &table).await?;
            let all: Vec<_> = code(&sql).collect();
            if all.windows(2).any(|pair| matches!(pair, [a, b] if a.is("PERIOD") && b.is("FOR"))) {
                self.all("table", &table).insert(Want::Period);
            }
        }
        Ok(())
    }

    /// Of a partition for the others `information_schema` says nothing that another could not say.
    async fn read_partitions(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        tables: &[Table],
    ) -> Result<()> {
        if !connection.version.is_mariadb {
            return Ok(());
        }
        for table in tables.iter().filter(|table| table.is_partitioned) {
            let sql = create_table(ctx, connection, &table.name).await?;
            let all: Vec<_> = code(&sql).collect();
            let is_default = |three: &[Token<'_>]| matches!(three, [a, Token::Name(_), b] if a.is("PARTITION") && b.is("DEFAULT"));
            if all.windows(3).any(is_default) {
                self.all("table", &table.name).insert(Want::DefaultPartition);
            }
            let by_time = all.iter().skip_while(|token| !token.is("SYSTEM_TIME"));
            if by_time.skip(1).any(|token| token.is("AUTO")) {
                self.all("table", &table.name).insert(Want::AutoPartitions);
            }
        }
        Ok(())
    }

    async fn read_sequences(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
        objects: &Objects,
    ) -> Result<()> {
        if objects.sequences.is_empty() || connection.version.number < (11, 5, 0) {
            return Ok(());
        }
        let sql = format!(
            "SELECT TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = {of} AND COLUMN_NAME = 'minimum_value' AND COLUMN_TYPE NOT REGEXP '^bigint[^ ]*$'"
        );
        let typed = names(ctx, connection, &sql).await?;
        for name in objects.sequences.iter().filter(|name| typed.contains(*name)) {
            self.all("sequence", name).insert(Want::TypedSequence);
        }
        Ok(())
    }

    /// Who may not see whether the server has such tablespaces finds out when a table is made.
    async fn read_tablespaces(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        tables: &[Table],
    ) -> Result<()> {
        if connection.version.is_mariadb
            || tablespaces(ctx, connection).await?.is_none_or(|all| all.is_empty())
        {
            return Ok(());
        }
        for table in tables.iter().filter(|table| table.engine == Engine::InnoDb) {
            let sql = create_table(ctx, connection, &table.name).await?;
            let named = CreateTable::parse(&sql)?.tablespaces().into_iter();
            let shared = named.filter(|name| !name.starts_with(OF_INNODB)).map(Want::Tablespace);
            self.all("table", &table.name).extend(shared);
        }
        Ok(())
    }

    /// What SQL wants that was written by people: functions, collations, and some of the words that only one product knows.
    async fn read_code(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
        said: &[Said],
    ) -> Result<()> {
        let mut found: BTreeMap<Want, BTreeSet<(&'static str, &str)>> = BTreeMap::new();
        for (kind, name, sql) in said {
            for want in words(sql) {
                found.entry(want).or_default().insert((kind, name));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        // A name is what it seems to be if the server says so.
        let own = format!(
            "SELECT LOWER(ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {of} AND ROUTINE_TYPE = 'FUNCTION'"
        );
        let own = names(ctx, connection, &own).await?;
        let mut collations = BTreeSet::new();
        if found.keys().any(|want| matches!(want, Want::Collation(_))) {
            collations = self::collations(ctx, connection).await?;
        }
        for (want, objects) in found {
            let is_one = match &want {
                // COLUMNS is a word of JSON_TABLE's, whatever a function of that name says.
                Want::Function(name) if own.contains(name) || name == "columns" => false,
                Want::Function(name) => is_function(ctx, connection, name).await?,
                Want::Collation(name) => collations.contains(name),
                _ => true,
            };
            for (kind, name) in objects.into_iter().filter(|_| is_one) {
                self.all(kind, name).insert(want.clone());
            }
        }
        Ok(())
    }
}

/// What a piece of SQL may want.
fn words(sql: &str) -> BTreeSet<Want> {
    let all: Vec<_> = code(sql).collect();
    let mut wants = BTreeSet::new();
    for (at, token) in all.iter().enumerate() {
        let Token::Word(word) = token else { continue };
        let next = |places: usize| all.get(at + places);
        let follows = |word: &str| next(1).is_some_and(|token| token.is(word));
        let word = word.to_ascii_lowercase();
        if word == "as" && follows("json") {
            wants.insert(Want::CastToJson);
        } else if word == "member" && follows("of") {
            wants.insert(Want::MemberOf);
        } else if word == "json_table" && follows("(") {
            wants.insert(Want::JsonTable);
        } else if follows("(")
            && word.starts_with(|c: char| c.is_ascii_alphabetic())
            && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && at.checked_sub(1).and_then(|before| all.get(before)) != Some(&Token::Other("."))
        {
            wants.insert(Want::Function(word));
        } else if ["_ci", "_cs", "_bin", "_w2", "_ks"].iter().any(|end| word.ends_with(end)) {
            wants.insert(Want::Collation(word));
        }
    }
    wants
}

/// What the names of tablespaces begin with that every server has.
const OF_INNODB: &str = "innodb_";

/// The tablespaces of MySQL that tables may share, if the account may see them.
pub(crate) async fn tablespaces(ctx: &Ctx, connection: &mut Connection) -> Result<Option<BTreeSet<String>>> {
    let sql = "SELECT NAME FROM information_schema.INNODB_TABLESPACES WHERE SPACE_TYPE = 'General' AND NAME <> 'mysql'";
    match names(ctx, connection, sql).await {
        // Before MySQL 8 it is called otherwise.
        Err(error) if is_denied(&error) || number(&error) == Some(1109) => Ok(None),
        names => names.map(Some),
    }
}

/// The collations of the server, by their full names.
pub(crate) async fn collations(ctx: &Ctx, connection: &mut Connection) -> Result<BTreeSet<String>> {
    // A collation of several character sets has a name of its own in each.
    let sql = if connection.version.is_mariadb && connection.version.number >= (10, 10, 0) {
        "SELECT LOWER(FULL_COLLATION_NAME) FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY"
    } else {
        "SELECT LOWER(COLLATION_NAME) FROM information_schema.COLLATIONS"
    };
    names(ctx, connection, sql).await
}

async fn names(ctx: &Ctx, connection: &mut Connection, sql: &str) -> Result<BTreeSet<String>> {
    connection.rows(ctx, sql).await?.into_iter().map(|row| Reading::new(row).text()).collect()
}

/// The bodies of routines and events, as far as the account may see them.
async fn programs(
    ctx: &Ctx,
    connection: &mut Connection,
    of: &str,
    objects: &Objects,
    said: &mut Vec<Said>,
) -> Result<()> {
    if !objects.routines.is_empty() {
        let sql = format!(
            "SELECT ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {of}"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (name, kind, body) = (row.text()?, row.text()?, row.maybe()?.unwrap_or_default());
            let is_this = |routine: &&Routine| routine.name == name && routine.kind.word() == kind;
            if let Some(routine) = objects.routines.iter().find(is_this) {
                said.push((routine.kind.object(), name, body));
            }
        }
    }
    if !objects.events.is_empty() {
        let sql = format!(
            "SELECT EVENT_NAME, EVENT_DEFINITION FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {of}"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (name, body) = (row.text()?, row.maybe()?.unwrap_or_default());
            if objects.events.iter().any(|event| event.name == name) {
                said.push(("event", name, body));
            }
        }
    }
    Ok(())
}

/// The parser of a full-text index, if it is not the one that every server has.
fn parser(create: &str, index: &str) -> Option<Want> {
    let all: Vec<_> = code(create).collect();
    let key = all.windows(3).position(|three| {
        matches!(three, [a, b, name] if a.is("FULLTEXT") && b.is("KEY") && name.name().as_deref() == Some(index))
    })?;
    // Behind its columns, and before the next key.
    let behind = all.iter().skip(key + 3).take_while(|token| !token.is("KEY") && !token.is("ENGINE"));
    let name = behind.skip_while(|token| !token.is("PARSER")).nth(1)?.name()?;
    Some(Want::Parser(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sql_wants_is_found_outside_of_texts_and_comments() {
        let sql = "select JSON_Pretty(a), `f`(1), x.g(2), 'h(3)', b collate utf8mb4_0900_as_cs, 1 member of (c), cast(d as json), uuid_to_bin(e) -- i(4)\n from t";
        let expected = [
            Want::Collation("utf8mb4_0900_as_cs".into()),
            Want::Function("cast".into()),
            Want::Function("json_pretty".into()),
            Want::Function("of".into()),
            Want::Function("uuid_to_bin".into()),
            Want::CastToJson,
            Want::MemberOf,
        ];
        assert_eq!(words(sql).into_iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_parser_is_of_its_index() {
        let sql = "CREATE TABLE `t` (`a` text, FULLTEXT KEY `f` (`a`), FULLTEXT KEY `g` (`a`) /*!50100 WITH PARSER `ngram` */ ,KEY `k` (`a`)) ENGINE=InnoDB";
        assert_eq!(parser(sql, "g"), Some(Want::Parser("ngram".into())));
        assert_eq!(parser(sql, "f"), None);
    }

    #[test]
    fn options_that_every_server_knows_are_not_wanted() {
        let of = |said: &str| Want::options(said).collect::<Vec<_>>();
        assert_eq!(of("row_format=COMPRESSED KEY_BLOCK_SIZE=8 partitioned"), []);
        let wanted = ["PAGE_COMPRESSED", "COMPRESSION"].map(|name| Want::Option(name.into()));
        assert_eq!(of("`page_compressed`='1' COMPRESSION=\"zlib\""), wanted);
    }
}
