//! The objects of a database. A kind that nobody taught us is refused by name: what is not known must not be left out silently.

use std::collections::{BTreeMap, BTreeSet};

use backup_core::{Ctx, Error, ErrorKind, Filter, Result};
use serde::{Deserialize, Serialize};

use super::Reading;
use super::context::Context;
use super::library::{self, LostLibraries};
use super::order;
use super::parameters;
use super::readable::LeftOut;
use super::want::Want;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};
use crate::error::{code, is_broken_off};
use crate::snapshot::is_denied;
use crate::statements;

/// Where the rows of a table are, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    /// Rows are read as of the snapshot.
    InnoDb,
    /// The same, by other means.
    Transactional,
    /// Rows are read as they are just then: the table has to be locked.
    Plain,
    /// There are no rows, or they belong to other tables.
    Rowless,
}

impl Engine {
    fn of(name: &str, table: &str) -> Result<Self> {
        Ok(match name.to_ascii_lowercase().as_str() {
            "innodb" => Self::InnoDb,
            "rocksdb" | "tokudb" => Self::Transactional,
            "myisam" | "aria" | "memory" | "archive" | "csv" => Self::Plain,
            "blackhole" | "mrg_myisam" => Self::Rowless,
            _ => {
                return Err(Error::unsupported(format!(
                    "table {} is of the engine {name}, which is not known to this version of lifeboat",
                    table.escape_debug()
                ))
                .hint("leave the table out (--exclude), or use a newer lifeboat"));
            }
        })
    }
}

/// What is in a database, by kind, each in the order of its names.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Objects {
    pub(crate) tables: Vec<TableEntry>,
    pub(crate) sequences: Vec<String>,
    pub(crate) views: Vec<View>,
    pub(crate) triggers: Vec<Trigger>,
    pub(crate) routines: Vec<Routine>,
    pub(crate) events: Vec<Event>,
    /// MERGE tables whose parts do not fit them. The server says nothing of such a table but that it is there.
    pub(crate) unfit: BTreeSet<String>,
    /// The databases of the server, if there is an invalid view, which may read from others.
    pub(crate) databases: BTreeSet<String>,
    /// Nothing of the database may be changed.
    pub(super) is_read_only: bool,
    /// See [`LeftOut::is_half_blind`].
    pub(super) is_half_blind: bool,
    /// Tables, views, sequences and functions that are there and not selected.
    pub(super) unselected: BTreeSet<String>,
    /// When each was made or changed, or what it is made of, by kind and name.
    pub(crate) changes: BTreeMap<(&'static str, String), String>,
    /// When all this was read, by the server's clock.
    read_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub(crate) name: String,
    pub(crate) engine: Engine,
    pub(crate) versioned: bool,
    pub(crate) is_partitioned: bool,
    pub(crate) wants: Vec<Want>,
}

/// A view, and what it is made of, every name with its database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) name: String,
    pub(crate) definition: String,
    /// It refers to something that is not there, that was not selected, or that its definer may not use.
    pub(crate) invalid: bool,
    /// It has a CHECK OPTION.
    pub(crate) checked: bool,
    /// It has one, and what it reads may be such that it cannot be updated any more: then the server would not make it.
    pub(crate) fixed: bool,
    pub(crate) context: Context,
}

impl View {
    /// One of which no more is known yet.
    fn named(name: String, invalid: bool) -> Self {
        let (definition, context) = (String::new(), Context::default());
        Self { name, definition, invalid, checked: false, fixed: false, context }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) context: Context,
}

/// Triggers of one table come in the order in which they fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trigger {
    pub(crate) name: String,
    pub(crate) table: String,
    /// What it does.
    pub(crate) body: String,
    pub(crate) context: Context,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Routine {
    pub(crate) kind: RoutineKind,
    pub(crate) name: String,
    pub(crate) context: Context,
    pub(crate) lost: LostLibraries,
}

/// In the order in which they are made: a library before what uses it, a package before its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RoutineKind {
    /// Of MySQL: what functions in other languages share.
    Library,
    Function,
    Procedure,
    Package,
    PackageBody,
}

impl RoutineKind {
    /// As SQL calls it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Library => "LIBRARY",
            Self::Function => "FUNCTION",
            Self::Procedure => "PROCEDURE",
            Self::Package => "PACKAGE",
            Self::PackageBody => "PACKAGE BODY",
        }
    }

    /// What such an object is called.
    pub(crate) fn object(self) -> &'static str {
        match self {
            Self::Library => "library",
            Self::Function => "function",
            Self::Procedure => "procedure",
            Self::Package => "package",
            Self::PackageBody => "package body",
        }
    }
}

type Selects<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// ER_PARSE_ERROR: of a view that says something that the server does not know any more.
const PARSE_ERROR: u16 = 1064;

/// ER_WRONG_MRG_TABLE.
const DOES_NOT_FIT: u16 = 1168;

/// Whether a table is a MERGE table whose parts are not there or not like it: whoever opens it gets that for an answer.
pub(crate) async fn is_unfit(ctx: &Ctx, connection: &mut Connection, table: &str) -> Result<bool> {
    match connection.execute(ctx, &format!("SHOW CREATE TABLE {table}")).await {
        Err(error) if code(&error).is_some() => Ok(code(&error) == Some(DOES_NOT_FIT)),
        done => done.map(|_| false),
    }
}

/// Whether what cannot be opened is a sequence: its tablespace may be gone.
async fn is_sequence(ctx: &Ctx, connection: &mut Connection, of: &str, name: &str) -> Result<bool> {
    // The name and the kind alone are said without a look into it.
    let sql = format!(
        "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {of} AND TABLE_NAME = {} AND TABLE_TYPE = 'SEQUENCE'",
        text(name)
    );
    Ok(connection.version.is_mariadb && !connection.rows(ctx, &sql).await?.is_empty())
}

/// What the server cannot open, a table or a view, by what it says of it.
fn unopened(name: &str, why: &str) -> Error {
    let name = name.escape_debug();
    if why.contains("concurrent DDL") {
        return Error::new(ErrorKind::Database, format!("{name} was made or altered while it was looked at"))
            .hint("try again when nobody alters it");
    }
    Error::new(ErrorKind::Database, format!("table or view {name} cannot be read: {}", why.escape_debug()))
        .hint("repair it, drop it, or leave it out (--exclude, --skip-unreadable)")
}

fn unknown(kind: &str, name: &str) -> Error {
    let message =
        format!("{} is a {kind:?}, which is not known to this version of lifeboat", name.escape_debug());
    Error::unsupported(message)
        .hint("use a newer lifeboat: leaving it out would not be a backup of this database")
}

impl Objects {
    /// Those that `filter` selects by their names, or a trigger by its table's, and that can be read. Another connection has locked
    /// what is `held`.
    pub(crate) async fn read(
        ctx: &Ctx,
        connection: &mut Connection,
        database: &str,
        filter: &Filter,
        left_out: &LeftOut,
        held: &BTreeSet<String>,
    ) -> Result<Self> {
        let mut objects = Self { is_half_blind: left_out.is_half_blind, ..Self::default() };
        let of = text(database);
        let selects = |name: &str| filter.selects(None, Some(database), name);
        let reads = |name: &str| left_out.reads(filter, database, name);
        objects.read_tables(ctx, connection, &of, &reads, held).await?;
        let read_only = objects.read_views(ctx, connection, &of).await?;
        objects.look_again_at_views(ctx, connection).await?;
        objects.read_triggers(ctx, connection, &of, &reads).await?;
        objects
            .read_routines(ctx, connection, &of, &|kind, name| {
                selects(name) && !left_out.has_routine(kind, name)
            })
            .await?;
        objects.read_events(ctx, connection, &of, &selects).await?;
        parameters::note_collations(ctx, connection, database, &mut objects.routines).await?;
        library::note_lost(ctx, connection, database, &mut objects.routines).await?;
        order::note_bereft(&mut objects.views, database, &objects.unselected);
        order::note_fixed(&mut objects.views, database, read_only);
        if objects.views.iter().any(|view| view.invalid || view.fixed) {
            for row in connection.rows(ctx, "SHOW DATABASES").await? {
                objects.databases.insert(Reading::new(row).text()?);
            }
        }
        let sql = format!(
            "SELECT DEFAULT_COLLATION_NAME, SYSDATE() FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {of}"
        );
        let mut row = Reading::new(connection.row(ctx, &sql).await?);
        let collation = row.text()?;
        objects.read_at = row.text()?;
        if connection.version.has_read_only_databases() {
            let sql = format!(
                "SELECT COALESCE(OPTIONS, '') LIKE '%READ ONLY=1%' FROM information_schema.SCHEMATA_EXTENSIONS WHERE SCHEMA_NAME = {of}"
            );
            objects.is_read_only = Reading::new(connection.row(ctx, &sql).await?).number()? == 1;
        }
        let triggers = objects.triggers.iter_mut().map(|trigger| &mut trigger.context);
        let routines = objects.routines.iter_mut().map(|routine| &mut routine.context);
        let events = objects.events.iter_mut().map(|event| &mut event.context);
        triggers.chain(routines).chain(events).for_each(|context| context.note_default(&collation));
        Ok(objects)
    }

    async fn read_tables(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
        selects: Selects<'_>,
        held: &BTreeSet<String>,
    ) -> Result<()> {
        let sql = format!(
            "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, CREATE_TIME, TABLE_COMMENT, TABLE_COLLATION, CREATE_OPTIONS \
             FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {of} AND TABLE_TYPE <> 'TEMPORARY' ORDER BY CAST(TABLE_NAME AS BINARY)"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (name, kind, engine) = (row.text()?, row.text()?, row.maybe()?);
            let (made, comment) = (row.maybe()?, row.maybe()?.unwrap_or_default());
            let (collation, options) = (row.maybe()?.unwrap_or_default(), row.maybe()?.unwrap_or_default());
            if !selects(&name) {
                self.unselected.insert(name);
                continue;
            }
            // One that is locked fits, and whoever else opens it may have to wait for who flushes tables, who waits for that lock.
            let is_merge = engine.as_ref().is_none_or(|engine| engine.eq_ignore_ascii_case("mrg_myisam"))
                && !held.contains(&name);
            let changed = match kind.as_str() {
                "BASE TABLE" if is_merge && is_unfit(ctx, connection, &identifier(&name)).await? => {
                    self.unfit.insert(name);
                    continue;
                }
                "BASE TABLE" | "SYSTEM VERSIONED" => {
                    if engine.is_none() && is_sequence(ctx, connection, of, &name).await? {
                        self.changes.insert(("sequence", name.clone()), String::new());
                        self.sequences.push(name);
                        continue;
                    }
                    let Some(engine) = engine else { return Err(unopened(&name, &comment)) };
                    let mut wants: Vec<_> = Want::options(&options).collect();
                    wants.extend(Want::collation(&collation).into_iter().chain(Want::engine(&engine)));
                    let is_partitioned = options.split_whitespace().any(|option| option == "partitioned");
                    wants.extend(Want::partitioned(&engine).filter(|_| is_partitioned));
                    let engine = Engine::of(&engine, &name)?;
                    let versioned = kind == "SYSTEM VERSIONED";
                    let name = name.clone();
                    self.tables.push(TableEntry { name, engine, versioned, is_partitioned, wants });
                    "table"
                }
                "SEQUENCE" => {
                    self.sequences.push(name.clone());
                    "sequence"
                }
                "VIEW" => {
                    self.views.push(View::named(name, comment != "VIEW"));
                    continue;
                }
                other => return Err(unknown(other, &name)),
            };
            self.changes.insert((changed, name), made.unwrap_or_default());
        }
        self.read_unopened(ctx, connection, of, selects).await
    }

    /// Of what it cannot open MariaDB may say no more than that it is there, and without a warning.
    async fn read_unopened(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
        selects: Selects<'_>,
    ) -> Result<()> {
        let sql = format!(
            "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {of} AND TABLE_TYPE <> 'TEMPORARY'"
        );
        let mut said = self.names();
        said.extend(self.unfit.iter().chain(&self.unselected).cloned());
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (name, kind) = (row.text()?, row.text()?);
            if said.contains(&name) || !selects(&name) {
                continue;
            }
            if kind != "VIEW" {
                let why = format!("the server says nothing of table {} but its name", name.escape_debug());
                return Err(Error::new(ErrorKind::Database, why)
                    .hint("repair it, drop it, or leave it out (--exclude)"));
            }
            self.views.push(View::named(name, true));
        }
        Ok(())
    }

    /// What is remembered of views. Returns those that cannot be updated.
    async fn read_views(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
    ) -> Result<BTreeSet<String>> {
        let mut read_only = BTreeSet::new();
        let sql = format!(
            "SELECT TABLE_NAME, CHECK_OPTION <=> 'LOCAL' OR CHECK_OPTION <=> 'CASCADED', IS_UPDATABLE <=> 'NO', VIEW_DEFINITION, DEFINER, '', CHARACTER_SET_CLIENT, COLLATION_CONNECTION, NULL, NULL, NULL \
             FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {of}"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (name, checked, is_read_only) = (row.text()?, row.number()? == 1, row.number()? == 1);
            let definition = row.maybe()?.unwrap_or_default();
            let context = Context::read(&mut row)?;
            if is_read_only {
                read_only.insert(name.clone());
            }
            if let Some(view) = self.views.iter_mut().find(|view| view.name == name) {
                self.changes.insert(("view", name), definition.clone());
                (view.definition, view.context, view.checked) = (definition, context, checked);
            }
        }
        // Of what it cannot open MariaDB says the rest, if it is not asked whether that can be updated.
        if self.views.iter().any(|view| view.definition.is_empty()) {
            let sql = sql.replace("IS_UPDATABLE <=> 'NO'", "0");
            for row in connection.rows(ctx, &sql).await? {
                let mut row = Reading::new(row);
                let (name, checked, _) = (row.text()?, row.number()? == 1, row.text()?);
                let definition = row.maybe()?.unwrap_or_default();
                let context = Context::read(&mut row)?;
                let unsaid = |view: &&mut View| view.name == name && view.definition.is_empty();
                if let Some(view) = self.views.iter_mut().find(unsaid) {
                    self.changes.insert(("view", name), definition.clone());
                    (view.definition, view.context, view.checked) = (definition, context, checked);
                }
            }
        }
        Ok(read_only)
    }

    /// Some views are valid only in sessions of the collation that they were made in.
    async fn look_again_at_views(&mut self, ctx: &Ctx, connection: &mut Connection) -> Result<()> {
        let mut is_plain = true;
        for view in self.views.iter_mut().filter(|view| view.invalid) {
            let charsets = view.context.charsets();
            if charsets.is_empty() {
                continue;
            }
            is_plain = false;
            connection.execute(ctx, &format!("SET SESSION {}", charsets.trim_start_matches(", "))).await?;
            // The time is asked for so that the view is opened.
            let sql = format!(
                "SELECT TABLE_COMMENT, CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = CONVERT({} USING utf8)",
                crate::ddl::quote::bytes(view.name.as_bytes())
            );
            if let Some(row) = connection.rows(ctx, &sql).await?.into_iter().next() {
                view.invalid = Reading::new(row).maybe()?.as_deref() != Some("VIEW");
            }
        }
        if !is_plain {
            connection.execute(ctx, crate::ddl::UTF8).await?;
        }
        if connection.version.is_mariadb {
            return Ok(());
        }
        // MySQL takes some for valid that it does not print.
        for view in self.views.iter_mut().filter(|view| !view.invalid) {
            let shown = statements::view(ctx, connection, &identifier(&view.name), &view.context).await;
            let Err(error) = shown else { continue };
            let code = code(&error);
            // Of one that the account may not see it says so again when that is read by its name.
            if error.kind() == ErrorKind::PermissionDenied || is_denied(&error) && code != Some(PARSE_ERROR) {
                continue;
            }
            if code.is_none() || is_broken_off(&error) {
                return Err(error);
            }
            view.invalid = true;
        }
        Ok(())
    }

    async fn read_triggers(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
        selects: Selects<'_>,
    ) -> Result<()> {
        let sql = format!(
            "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, CREATED, ACTION_STATEMENT, DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, \
             DATABASE_COLLATION, NULL, NULL FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = {of} \
             ORDER BY CAST(EVENT_OBJECT_TABLE AS BINARY), ACTION_TIMING, ACTION_ORDER, EVENT_MANIPULATION"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (name, table, made) = (row.text()?, row.text()?, row.maybe()?.unwrap_or_default());
            let body = row.maybe()?.unwrap_or_default();
            if selects(&table) && !self.unfit.contains(&table) {
                self.changes.insert(("trigger", name.clone()), made);
                self.triggers.push(Trigger { name, table, body, context: Context::read(&mut row)? });
            }
        }
        Ok(())
    }

    async fn read_routines(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
        selects: &(dyn Fn(RoutineKind, &str) -> bool + Sync),
    ) -> Result<()> {
        let libraries = if connection.version.has_libraries() {
            format!(
                "UNION ALL SELECT LIBRARY_NAME, 'LIBRARY', LAST_ALTERED, NULL, SQL_MODE, 'utf8mb4', 'utf8mb4_0900_ai_ci', NULL, NULL, NULL \
                 FROM information_schema.LIBRARIES WHERE LIBRARY_SCHEMA = {of} "
            )
        } else {
            String::new()
        };
        let sql = format!(
            "SELECT ROUTINE_NAME, ROUTINE_TYPE, LAST_ALTERED, DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, \
             DATABASE_COLLATION, NULL, NULL FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {of} {libraries}\
             ORDER BY CAST(ROUTINE_NAME AS BINARY)"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (name, kind, changed) = (row.text()?, row.text()?, row.maybe()?.unwrap_or_default());
            let kind = match kind.as_str() {
                "LIBRARY" => RoutineKind::Library,
                "FUNCTION" => RoutineKind::Function,
                "PROCEDURE" => RoutineKind::Procedure,
                "PACKAGE" => RoutineKind::Package,
                "PACKAGE BODY" => RoutineKind::PackageBody,
                other => return Err(unknown(other, &name)),
            };
            if selects(kind, &name) {
                self.changes.insert((kind.word(), name.clone()), changed);
                let (context, lost) = (Context::read(&mut row)?, LostLibraries::default());
                self.routines.push(Routine { kind, name, context, lost });
            } else if kind == RoutineKind::Function {
                self.unselected.insert(name);
            }
        }
        self.routines.sort_by_key(|routine| routine.kind);
        Ok(())
    }

    async fn read_events(
        &mut self,
        ctx: &Ctx,
        connection: &mut Connection,
        of: &str,
        selects: Selects<'_>,
    ) -> Result<()> {
        // The server makes no event whose time is over, unless it is to stay; what came to be such is made before that.
        let sql = format!(
            "SELECT EVENT_NAME, LAST_ALTERED, DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, DATABASE_COLLATION, \
             TIME_ZONE, LEAST(UNIX_TIMESTAMP(CREATED), COALESCE(GREATEST(1, UNIX_TIMESTAMP(CONVERT_TZ( \
             COALESCE(EXECUTE_AT, ENDS), TIME_ZONE, '+00:00')) - 86400), UNIX_TIMESTAMP(CREATED))) \
             FROM information_schema.EVENTS WHERE EVENT_SCHEMA = {of} ORDER BY CAST(EVENT_NAME AS BINARY)"
        );
        for row in connection.rows(ctx, &sql).await? {
            let mut row = Reading::new(row);
            let (name, changed) = (row.text()?, row.maybe()?.unwrap_or_default());
            if selects(&name) {
                self.changes.insert(("event", name.clone()), changed);
                self.events.push(Event { name, context: Context::read(&mut row)? });
            }
        }
        Ok(())
    }

    /// The names of all tables, views and sequences.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let tables = self.tables.iter().map(|table| &table.name);
        let views = self.views.iter().map(|view| &view.name);
        tables.chain(views).chain(&self.sequences).cloned().collect()
    }

    /// The first difference between two readings, for people.
    pub(crate) fn changed(&self, later: &Self) -> Option<String> {
        // Of a table that it has just opened MariaDB does not always know when it was made: then by the look at it before.
        let is_same = |(kind, _): &(&str, String), was: &String, is: &String| {
            was == is || *kind == "table" && was.is_empty() && *is <= self.read_at
        };
        let mut all = self.changes.iter();
        let gone = all.find(|(key, was)| !later.changes.get(*key).is_some_and(|is| is_same(key, was, is)));
        let new = later.changes.keys().find(|key| !self.changes.contains_key(*key));
        let (kind, name) = gone.map(|(key, _)| key).or(new)?;
        Some(format!("{} {}", kind.to_ascii_lowercase(), name.escape_debug()))
    }
}
