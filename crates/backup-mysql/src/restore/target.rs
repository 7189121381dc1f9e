//! The database that is restored into: whether it may be, making it ready, and taking back what was done.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex as Cell, PoisonError};
use std::time::Duration;

use backup_core::{Content, Ctx, Error, ErrorKind, Existing, Part, RestoreRequest, Result};
use tokio::sync::Mutex;

use super::alone::Alone;
use super::contents::{self, MARKER, Named};
use super::session::Session;
use super::some;
use super::was_there;
use crate::catalog::context::{Context, collate};
use crate::catalog::spec::{RowsSpec, SqlSpec, spec};
use crate::catalog::stand_in::drop_database;
use crate::catalog::{Reading, is_of_the_server};
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::ENCRYPTED;
use crate::ddl::quote::{identifier, text};
use crate::error::code;
use crate::snapshot::is_denied;

/// How long taking back may take.
const TAKE_BACK: Duration = Duration::from_secs(120);

/// ER_NO_SUCH_THREAD: the connection to be killed ended by itself.
const NO_SUCH_THREAD: u16 = 1094;

/// What the restore does to the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Everything in it is ours.
    Whole,
    /// Some objects beside others.
    Some,
    /// Rows into tables that are there.
    Rows,
}

/// What of the target is this restore's, and is taken back.
#[derive(Debug, Clone, Copy, Default)]
struct Own {
    /// It has made the database, or was not told that it has not.
    database: bool,
    /// The same of its marker.
    marker: bool,
    /// Nobody had put anything into it meanwhile: all that is in it.
    contents: bool,
}

#[derive(Debug)]
pub(super) struct Target {
    mode: Mode,
    /// No other restore is at work in it.
    alone: Alone,
    replace: bool,
    existed: bool,
    /// An earlier restore has left its marker.
    was_marked: bool,
    own: Cell<Own>,
    has_infile: bool,
    /// The names of all that is restored, where it is not everything.
    names: BTreeSet<String>,
    /// Sequences that are there, and come along only for what counts by them: others may do so too.
    kept: BTreeSet<String>,
    /// What has to go before anything is restored.
    in_the_way: BTreeSet<Named>,
    /// The defaults of the database as they were: a statement.
    defaults: Option<String>,
    /// The connections that changed something.
    connections: Cell<Vec<u32>>,
    /// What was begun to be made beside other objects, and the tables that were filled.
    made: Cell<BTreeSet<Named>>,
    /// The databases that stand in for others for the moment.
    stand_ins: Cell<BTreeSet<String>>,
    touched: AtomicBool,
    /// Held while the defaults of the database are changed or looked at.
    settings: Mutex<()>,
}

impl Target {
    /// Looks at the database, and refuses what must not be. Touches nothing.
    pub(super) async fn look(
        ctx: &Ctx,
        mut connection: Connection,
        config: &Config,
        request: &RestoreRequest,
        parts: &[Part],
    ) -> Result<Self> {
        let database = config.database.as_str();
        if is_of_the_server(database) {
            let what = format!(
                "{} is a database of the server's own: nothing is restored into it",
                database.escape_debug()
            );
            return Err(Error::unsupported(what).hint("restore under another name (--target-database)"));
        }
        let alone = Alone::of(ctx, Connection::open(ctx, config, false).await?, database).await?;
        alone.check(ctx, &mut connection).await?;
        let defaults = defaults(ctx, &mut connection, database).await?;
        let existed = defaults.is_some();
        let mode = match request.content {
            Content::DataOnly => Mode::Rows,
            _ if request.partial => Mode::Some,
            _ => Mode::Whole,
        };
        if !existed && (!request.create_database || mode == Mode::Rows) {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("there is no database {}", database.escape_debug()),
            )
            .hint("create it, or add --create-database"));
        }
        contents::refuse_read_only(ctx, &mut connection, database).await?;
        let there = contents::read(ctx, &mut connection, database).await?;
        let mut replace = request.existing == Existing::Replace;
        let left = some::left(ctx, &mut connection, database, &there).await?;
        let folds = connection.row(ctx, "SELECT @@lower_case_table_names").await?;
        let folds = Reading::new(folds).number()? > 0;
        let mut kept = BTreeSet::new();
        for part in parts.iter().filter(|part| request.partial && !request.asked.contains(&part.id)) {
            let named = ("SEQUENCE", part.object.name.clone());
            let is_there = |there: &Named| there.0 == "SEQUENCE" && is_same(there, &named, folds);
            let is_sequence = matches!(spec(part), Ok(SqlSpec::Sequence | SqlSpec::SequenceValue));
            let is_theirs = !left.contains(&named.1) && there.iter().any(is_there);
            if is_sequence && (is_theirs || mode == Mode::Rows) {
                kept.insert(named.1);
            }
        }
        let is_kept = |part: &Part| part.object.kind == "sequence" && kept.contains(&part.object.name);
        let wanted: Vec<Named> = parts
            .iter()
            .filter(|part| !is_kept(part))
            .filter_map(|part| made_by(part, &spec::<SqlSpec>(part).ok()?))
            .collect();
        let names: BTreeSet<String> = match mode {
            Mode::Whole => BTreeSet::new(),
            Mode::Some => wanted.iter().map(|(_, name)| name.clone()).collect(),
            Mode::Rows => with_rows(parts).into_iter().map(str::to_owned).collect(),
        };
        let in_the_way: BTreeSet<Named> = match mode {
            Mode::Whole => there.clone(),
            Mode::Some => {
                let is_wanted = |named: &&Named| wanted.iter().any(|wanted| is_same(named, wanted, folds));
                there.iter().filter(is_wanted).cloned().collect()
            }
            Mode::Rows => filled(ctx, &mut connection, database, &there, parts).await?,
        };
        let was_marked = there.contains(&("TABLE", MARKER.to_owned()));
        if mode == Mode::Whole && was_marked && !replace {
            ctx.warn("what an earlier restore left incomplete in the target is dropped");
            replace = true;
        }
        let is_left = |name: &str| mode != Mode::Whole && left.contains(name);
        if let Some((_, name)) = in_the_way.iter().find(|(_, name)| !replace && is_left(name)) {
            let name = name.escape_debug();
            ctx.warn(format!("what an earlier restore left incomplete in the target is replaced: {name}"));
        }
        if let Some((kind, name)) = in_the_way.iter().find(|(_, name)| !replace && !is_left(name)) {
            let what =
                format!("the target has a {} {} already", kind.to_ascii_lowercase(), name.escape_debug());
            return Err(Error::new(ErrorKind::TargetNotEmpty, what)
                .hint("restore under another name, or replace it (--drop-existing)"));
        }
        if mode == Mode::Rows {
            // What goes in is deleted again where it is taken back.
            let is_updated = parts.iter().any(|part| matches!(spec(part), Ok(SqlSpec::Uncounted(_))));
            let events: &[_] =
                if is_updated { &["INSERT", "DELETE", "UPDATE"] } else { &["INSERT", "DELETE"] };
            sets_off_nothing(ctx, &mut connection, database, parts, events).await?;
        }
        if replace && !in_the_way.is_empty() {
            ctx.warn(
                "MySQL cannot replace a database in one step: it is incomplete until the restore is done",
            );
        }
        let local = connection.row(ctx, "SELECT @@GLOBAL.local_infile").await?;
        let has_infile = Reading::new(local).number()? == 1;
        connection.close().await;
        Ok(Self {
            mode,
            alone,
            replace: !in_the_way.is_empty(),
            existed,
            was_marked,
            own: Cell::default(),
            has_infile,
            names,
            kept,
            in_the_way,
            defaults,
            connections: Cell::default(),
            made: Cell::default(),
            stand_ins: Cell::default(),
            touched: AtomicBool::new(false),
            settings: Mutex::default(),
        })
    }

    pub(super) fn has_infile(&self) -> bool {
        self.has_infile
    }

    pub(super) fn is_whole(&self) -> bool {
        self.mode == Mode::Whole
    }

    /// Whether a sequence stays as it is, but goes on to where it is in the backup.
    pub(super) fn keeps(&self, sequence: &str) -> bool {
        self.kept.contains(sequence)
    }

    pub(super) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::SeqCst)
    }

    /// Remembers a connection that changes something: taking back waits for the end of what it was told to do.
    pub(super) fn note(&self, connection: u32) {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
    }

    /// Remembers what is about to be made.
    pub(super) fn note_made(&self, part: &Part, made_from: &SqlSpec) {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).extend(made_by(part, made_from));
    }

    /// It was not made: something of its name is there.
    pub(super) fn forget_made(&self, part: &Part, made_from: &SqlSpec) {
        if let Some(named) = made_by(part, made_from) {
            self.made.lock().unwrap_or_else(PoisonError::into_inner).remove(&named);
        }
    }

    /// Remembers a database that was made for the moment, or that it was dropped.
    pub(super) fn note_stand_ins(&self, made: Option<&str>, dropped: Option<&str>) {
        let mut stand_ins = self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner);
        stand_ins.extend(made.map(str::to_owned));
        if let Some(dropped) = dropped {
            stand_ins.remove(dropped);
        }
    }

    /// Remembers something that was made for the moment, or that it was dropped.
    pub(super) fn note_momentary(&self, kind: &'static str, name: &str, is_there: bool) {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let named = (kind, name.to_owned());
        if is_there {
            made.insert(named);
        } else {
            made.remove(&named);
        }
    }

    fn own(&self) -> Own {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note_own(&self, note: impl FnOnce(&mut Own)) {
        note(&mut self.own.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Makes the database if need be, marks it, and drops what is to be replaced.
    pub(super) async fn make_ready(&self, ctx: &Ctx, config: &Config) -> Result<()> {
        let mut connection = Connection::open(ctx, config, false).await?;
        self.alone.check(ctx, &mut connection).await?;
        self.note(connection.id);
        self.touched.store(true, Ordering::SeqCst);
        let name = config.database.as_str();
        let database = identifier(name);
        if !self.existed {
            let make = ("the database", format!("CREATE DATABASE {database}"));
            self.make_own(ctx, &mut connection, make, |own, is_ours| own.database = is_ours).await?;
        }
        let in_the_way = match self.mode {
            Mode::Whole => self.mark(ctx, &mut connection, name).await?,
            Mode::Some => self.in_the_way.clone(),
            Mode::Rows => {
                self.are_still_empty(ctx, &mut connection, name).await?;
                self.in_the_way.clone()
            }
        };
        self.note_own(|own| own.contents = true);
        some::mark(ctx, &mut connection, name, &self.names).await?;
        if self.mode == Mode::Rows {
            connection.execute(ctx, "SET SESSION foreign_key_checks = 0").await?;
            for (_, table) in &in_the_way {
                connection.execute(ctx, &format!("DELETE FROM {database}.{}", identifier(table))).await?;
            }
        } else {
            contents::drop_all(ctx, &mut connection, name, in_the_way.iter()).await?;
        }
        connection.close().await;
        Ok(())
    }

    /// Marks the database, and looks again what is in it: between the first look and now anybody may have made something.
    async fn mark(&self, ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<BTreeSet<Named>> {
        // A server may want every table to have a primary key.
        let marker = format!("{}.{} (a INT PRIMARY KEY)", identifier(database), identifier(MARKER));
        if self.was_marked {
            connection.define(ctx, format!("CREATE TABLE IF NOT EXISTS {marker}").as_bytes()).await?;
        } else {
            let make = ("the mark of a restore", format!("CREATE TABLE {marker}"));
            self.make_own(ctx, connection, make, |own, is_ours| own.marker = is_ours).await?;
        }
        let mut there = contents::read(ctx, connection, database).await?;
        there.remove(&("TABLE", MARKER.to_owned()));
        match there.first() {
            Some((kind, name)) if !self.replace => {
                let (kind, name) = (kind.to_ascii_lowercase(), name.escape_debug());
                Err(came(&format!("a {kind} {name} in the target")))
            }
            _ => Ok(there),
        }
    }

    /// An error if one of the tables that had no rows has some now.
    async fn are_still_empty(&self, ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<()> {
        let filled: BTreeSet<_> = self.in_the_way.iter().map(|(_, name)| name).collect();
        for table in self.names.iter().filter(|name| !filled.contains(name)) {
            if has_rows(ctx, connection, database, table).await? {
                return Err(came(&format!("rows in table {} of the target", table.escape_debug())));
            }
        }
        Ok(())
    }

    /// Makes what is taken back again, unless it was somebody else who made it: then `note` is told so.
    async fn make_own(
        &self,
        ctx: &Ctx,
        connection: &mut Connection,
        (what, sql): (&str, String),
        note: impl Fn(&mut Own, bool),
    ) -> Result<()> {
        self.note_own(|own| note(own, true));
        let made = connection.define(ctx, sql.as_bytes()).await;
        if made.as_ref().err().and_then(code).is_some() {
            self.note_own(|own| note(own, false));
        }
        match made {
            Err(error) if was_there(&error) => Err(came(what).because(error)),
            made => made.map(|_| ()),
        }
    }

    /// Makes an object in the session that it was made in, the collation of its database included.
    pub(super) async fn in_collation(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        context: &Context,
        sql: &[u8],
    ) -> Result<()> {
        let _settings = ctx.run(async { Ok(self.settings.lock().await) }).await?;
        let Some(wanted) = &context.database_collation else {
            return session.in_context(ctx, context, sql).await;
        };
        session.plain(ctx).await?;
        // The session remembers the collation from when it came into the database, and makes objects in that.
        let query = "SELECT @@collation_database, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = DATABASE()";
        let mut row = Reading::new(session.connection.row(ctx, query).await?);
        let (remembered, now) = (row.text()?, row.text()?);
        if remembered == *wanted && now == *wanted {
            return session.in_context(ctx, context, sql).await;
        }
        session.connection.define(ctx, collate(wanted).as_bytes()).await?;
        let done = session.in_context(ctx, context, sql).await;
        if now != *wanted {
            session.plain(ctx).await?;
            session.connection.define(ctx, collate(&now).as_bytes()).await?;
        }
        done
    }

    /// Sets the defaults of the database while nobody else does.
    pub(super) async fn set_defaults(&self, ctx: &Ctx, session: &mut Session, sql: &[u8]) -> Result<()> {
        let _settings = ctx.run(async { Ok(self.settings.lock().await) }).await?;
        session.plain(ctx).await?;
        let can = sql != ENCRYPTED.as_bytes() || session.connection.version.encrypts_databases();
        let done = if can { session.connection.define(ctx, sql).await.map(|_| ()) } else { Ok(()) };
        let is_denied = done.as_ref().is_err_and(is_denied);
        if sql == ENCRYPTED.as_bytes() && (!can || is_denied) {
            let why = if can { "the account may not set that" } else { "the server cannot do that" };
            ctx.warn(format!(
                "tables that will be made in the database are not encrypted, unless they say so, as they were in the source: {why}"
            ));
            return Ok(());
        }
        done
    }

    /// The restore is complete.
    pub(super) async fn complete(&self, ctx: &Ctx, session: &mut Session, database: &str) -> Result<()> {
        session.plain(ctx).await?;
        // Had it been lost, somebody else could have replaced what is there.
        self.alone.check(ctx, &mut session.connection).await?;
        if self.mode == Mode::Whole {
            session.connection.define(ctx, format!("DROP TABLE {}", identifier(MARKER)).as_bytes()).await?;
        } else {
            some::unmark(ctx, &mut session.connection, database, &self.names).await?;
        }
        self.alone.release(ctx).await;
        Ok(())
    }

    /// Makes the target what it was, or says what it is now.
    pub(super) async fn take_back(&self, config: &Config) -> Result<()> {
        let database = config.database.escape_debug();
        let state = |why: String| {
            Error::new(ErrorKind::Incomplete, format!("the database {database} is incomplete: {why}"))
                .hint("restore into it again with --drop-existing, or drop it")
        };
        let taken_back = tokio::time::timeout(TAKE_BACK, self.undo(config)).await;
        match taken_back {
            Ok(Ok(())) if self.replace && self.own().contents => {
                Err(state("what it held is gone, as was asked for".to_owned()))
            }
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                Err(state(format!("what was restored could not be taken back: {error}")).because(error))
            }
            Err(_) => Err(state("the server did not take back in time what was restored".to_owned())),
        }
    }

    async fn undo(&self, config: &Config) -> Result<()> {
        let ctx = Ctx::new();
        let mut connection = Connection::open(&ctx, config, false).await?;
        self.stop_others(&ctx, &mut connection).await?;
        let database = config.database.as_str();
        if !self.alone.is_held(&ctx, &mut connection).await? {
            self.alone.again(&ctx, &mut connection, database).await?;
            self.is_still_ours(&ctx, &mut connection, database).await?;
        }
        self.undo_alone(&ctx, &mut connection, database).await?;
        connection.close().await;
        self.alone.release(&ctx).await;
        Ok(())
    }

    /// An error if the mark is gone: another restore has been here since ours was not kept alone any more, and what is there is its.
    async fn is_still_ours(&self, ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<()> {
        let there = contents::read(ctx, connection, database).await?;
        let own = self.own();
        let is_ours = match self.mode {
            Mode::Whole => !own.contents || there.contains(&("TABLE", MARKER.to_owned())),
            _ => {
                let marked = some::left(ctx, connection, database, &there).await?;
                self.names.iter().all(|name| marked.contains(name))
            }
        };
        if is_ours {
            return Ok(());
        }
        let what = "the connection was lost that kept other restores away, and one has been at work since";
        Err(Error::new(ErrorKind::Connect, what))
    }

    async fn undo_alone(&self, ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<()> {
        let stand_ins = self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for name in stand_ins {
            connection.execute(ctx, &drop_database(&name)).await?;
        }
        let own = self.own();
        if !own.contents && own.marker {
            let marker = format!("DROP TABLE IF EXISTS {}.{}", identifier(database), identifier(MARKER));
            connection.define(ctx, marker.as_bytes()).await?;
        }
        // What somebody else has put into it meanwhile stays.
        let is_ours = own.contents || contents::read(ctx, connection, database).await?.is_empty();
        if own.database && is_ours {
            connection.execute(ctx, &format!("DROP DATABASE IF EXISTS {}", identifier(database))).await?;
            return Ok(());
        }
        if !own.contents {
            return Ok(());
        }
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.mode {
            // Its marker stays: the next restore into it may drop what is left.
            Mode::Whole if self.replace => {}
            Mode::Whole => {
                let there = contents::read(ctx, connection, database).await?;
                contents::drop_all(ctx, connection, database, there.iter()).await?;
                // Who changed nothing may not be allowed to.
                let now = defaults(ctx, connection, database).await?;
                if let Some(before) = self.defaults.as_ref().filter(|before| Some(*before) != now.as_ref()) {
                    connection.execute(ctx, before).await?;
                }
            }
            Mode::Some => contents::drop_all(ctx, connection, database, made.iter()).await?,
            Mode::Rows => {
                connection.execute(ctx, "SET SESSION foreign_key_checks = 0").await?;
                for (_, table) in made.iter().filter(|(kind, _)| *kind == "TABLE") {
                    let full_name = format!("{}.{}", identifier(database), identifier(table));
                    // What is not one of the target's tables was made for the moment.
                    let sql = if self.names.contains(table) {
                        format!("DELETE FROM {full_name}")
                    } else {
                        format!("DROP TABLE IF EXISTS {full_name}")
                    };
                    connection.execute(ctx, &sql).await?;
                }
            }
        }
        // What was replaced is not what it was: so it stays marked.
        if !self.replace {
            some::unmark(ctx, connection, database, &self.names).await?;
        }
        Ok(())
    }

    /// Ends the connections that change something, and waits until they are gone: a server that was told to stop still ends the
    /// statement that it is in, so a table could appear behind the back of who takes back.
    async fn stop_others(&self, ctx: &Ctx, connection: &mut Connection) -> Result<()> {
        let others = std::mem::take(&mut *self.connections.lock().unwrap_or_else(PoisonError::into_inner));
        loop {
            let mut there = BTreeSet::new();
            for row in connection.rows(ctx, "SHOW PROCESSLIST").await? {
                there.insert(Reading::new(row).number()?);
            }
            let left: Vec<_> = others.iter().filter(|id| there.contains(&u64::from(**id))).collect();
            if left.is_empty() {
                return Ok(());
            }
            for id in left {
                match connection.execute(ctx, &format!("KILL {id}")).await {
                    Err(error) if code(&error) == Some(NO_SUCH_THREAD) => {}
                    done => {
                        done?;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Remembers a table that is about to be filled.
    pub(super) fn note_filled(&self, part: &Part) {
        if self.mode == Mode::Rows {
            self.made
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(("TABLE", part.object.name.clone()));
        }
    }
}

/// Somebody has made something since the target was looked at.
fn came(what: &str) -> Error {
    Error::new(ErrorKind::TargetNotEmpty, format!("somebody has made {what} since the restore began"))
        .hint("see what it is, and restore again")
}

/// The statement that gives the database the defaults that it has; nothing if there is no such database.
async fn defaults(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<Option<String>> {
    let of = text(database);
    let encryption = if connection.version.encrypts_databases() { "DEFAULT_ENCRYPTION" } else { "NULL" };
    let sql = format!(
        "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, {encryption} FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {of}"
    );
    let Some(row) = connection.rows(ctx, &sql).await?.into_iter().next() else { return Ok(None) };
    let mut row = Reading::new(row);
    let (name, charset, collation) = (row.text()?, row.text()?, row.text()?);
    let encryption = match row.maybe()?.as_deref() {
        None => "",
        Some("YES") => " ENCRYPTION = 'Y'",
        Some(_) => " ENCRYPTION = 'N'",
    };
    let name = identifier(&name);
    Ok(Some(format!("ALTER DATABASE {name} CHARACTER SET {charset} COLLATE {collation}{encryption}")))
}

/// The tables that rows are for and that have some; it is an error if one is not there.
async fn filled(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    there: &BTreeSet<Named>,
    parts: &[Part],
) -> Result<BTreeSet<Named>> {
    let tables = with_rows(parts);
    let mut filled = BTreeSet::new();
    for table in tables {
        let named = ("TABLE", table.to_owned());
        if !there.contains(&named) {
            let missing = format!("the target has no table {}", table.escape_debug());
            return Err(Error::new(ErrorKind::NotFound, missing).hint("restore the schema too"));
        }
        if has_rows(ctx, connection, database, table).await? {
            filled.insert(named);
        }
    }
    Ok(filled)
}

async fn has_rows(ctx: &Ctx, connection: &mut Connection, database: &str, table: &str) -> Result<bool> {
    let sql = format!("SELECT 1 FROM {}.{} LIMIT 1", identifier(database), identifier(table));
    Ok(!connection.rows(ctx, &sql).await?.is_empty())
}

/// What a part makes, if that is something that can be dropped by itself.
fn made_by(part: &Part, made_from: &SqlSpec) -> Option<Named> {
    let name = part.object.name.clone();
    Some(match made_from {
        SqlSpec::Aside { aside } => ("TABLE", aside.clone()),
        SqlSpec::Table { .. } => ("TABLE", name),
        SqlSpec::Sequence | SqlSpec::DiscardedSequence => ("SEQUENCE", name),
        SqlSpec::View { .. } => ("VIEW", name),
        SqlSpec::Routine { routine, .. } => (routine.word(), name),
        SqlSpec::Event { .. } => ("EVENT", name),
        _ => return None,
    })
}

/// Whether only one of two objects can be in a database. Tables, views and sequences share their names; others are called the same
/// however they are written, and so are tables on servers that fold their names.
fn is_same(a: &Named, b: &Named, folds: bool) -> bool {
    let is_relation = |(kind, _): &Named| ["TABLE", "VIEW", "SEQUENCE"].contains(kind);
    let is_one_kind = if is_relation(a) { is_relation(b) } else { a.0 == b.0 };
    let is_folded = folds || !is_relation(a);
    is_one_kind && (a.1 == b.1 || is_folded && a.1.to_lowercase() == b.1.to_lowercase())
}

/// The tables that rows go into, also where they come out of a script, as statements.
fn with_rows(parts: &[Part]) -> BTreeSet<&str> {
    let rows = parts.iter().filter(|part| spec::<RowsSpec>(part).is_ok());
    rows.map(|part| part.object.name.as_str()).collect()
}

/// Triggers cannot be made to sleep, and would change the rows that are restored, and others.
async fn sets_off_nothing(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    parts: &[Part],
    events: &[&str],
) -> Result<()> {
    let sql = format!(
        "SELECT EVENT_OBJECT_TABLE, EVENT_MANIPULATION, TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = {}",
        text(database)
    );
    let tables = with_rows(parts);
    let mut triggers = Vec::new();
    for row in connection.rows(ctx, &sql).await? {
        let mut row = Reading::new(row);
        let (table, event, trigger) = (row.text()?, row.text()?, row.text()?);
        // MariaDB 12 has triggers of several events.
        let is_set_off = event.split(',').any(|event| events.contains(&event.trim()));
        if tables.contains(table.as_str()) && is_set_off {
            triggers.push(trigger.escape_debug().to_string());
        }
    }
    if triggers.is_empty() {
        return Ok(());
    }
    Err(Error::unsupported(format!(
        "rows alone would set off triggers of the target: {}",
        triggers.join(", ")
    ))
    .hint("restore the schema too, or drop these triggers and make them again when the rows are there"))
}
