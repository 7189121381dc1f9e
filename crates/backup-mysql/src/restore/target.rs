//! The database that is restored into: whether it may be, making it ready, and taking back what was done.

mod rows;
mod stand_ins;
mod undo;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex as Cell, PoisonError};

use backup_core::{Content, Ctx, Error, ErrorKind, Existing, Part, RestoreRequest, Result};
use tokio::sync::Mutex;

use super::alone::Alone;
use super::contents::{self, MARKED, MARKER, Named};
use super::proof;
use super::session::Session;
use super::some;
use super::was_there;
use crate::catalog::context::{Context, collate};
use crate::catalog::spec::{SqlSpec, spec};
use crate::catalog::stand_in::drop_database;
use crate::catalog::{Reading, is_of_the_server};
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::ENCRYPTED;
use crate::ddl::quote::{identifier, text};
use crate::error::code;
use crate::snapshot::is_denied;

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
    /// Of the tables that rows alone go into those that keep a history.
    histories: BTreeSet<String>,
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
    /// The databases that stand in for others for the moment, and those that an earlier restore has left.
    stand_ins: Cell<BTreeSet<String>>,
    left_stand_ins: BTreeSet<String>,
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
            Mode::Rows => rows::with_rows(parts).into_iter().map(str::to_owned).collect(),
        };
        let histories = match mode {
            Mode::Rows => rows::histories(ctx, &mut connection, database, parts).await?,
            _ => BTreeSet::new(),
        };
        let in_the_way: BTreeSet<Named> = match mode {
            Mode::Whole => there.clone(),
            Mode::Some => {
                let is_wanted = |named: &&Named| wanted.iter().any(|wanted| is_same(named, wanted, folds));
                there.iter().filter(is_wanted).cloned().collect()
            }
            Mode::Rows => rows::filled(ctx, &mut connection, database, &there, &histories, parts).await?,
        };
        let was_marked = there.contains(&("TABLE", MARKER.to_owned()));
        let left_stand_ins = match mode {
            Mode::Whole if was_marked => stand_ins::left(ctx, &mut connection, database).await?,
            _ => BTreeSet::new(),
        };
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
            rows::sets_off_nothing(ctx, &mut connection, database, parts, events).await?;
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
            histories,
            kept,
            in_the_way,
            defaults,
            connections: Cell::default(),
            made: Cell::default(),
            stand_ins: Cell::default(),
            left_stand_ins,
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

    /// Rows go into tables that are there.
    pub(super) fn is_of_rows(&self) -> bool {
        self.mode == Mode::Rows
    }

    /// Whether a sequence stays as it is, but goes on to where it is in the backup.
    pub(super) fn keeps(&self, sequence: &str) -> bool {
        self.kept.contains(sequence)
    }

    pub(super) fn is_touched(&self) -> bool {
        self.touched.load(Ordering::SeqCst)
    }

    /// Remembers a connection that changes something: taking back waits for the end of what it was told to do.
    pub(super) async fn admit(&self, ctx: &Ctx, connection: &mut Connection) -> Result<()> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner).push(connection.id);
        self.alone.admit(ctx, connection).await
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
        self.admit(ctx, &mut connection).await?;
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
                self.empty(ctx, &mut connection, name, table).await?;
            }
        } else {
            contents::drop_all(ctx, &mut connection, name, in_the_way.iter()).await?;
        }
        connection.close().await;
        Ok(())
    }

    /// Marks the database, and looks again what is in it: between the first look and now anybody may have made something.
    async fn mark(&self, ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<BTreeSet<Named>> {
        let marker = format!("{}.{} {MARKED}", identifier(database), identifier(MARKER));
        if self.was_marked {
            for name in &self.left_stand_ins {
                connection.define(ctx, drop_database(name).as_bytes()).await?;
            }
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
        // Without the connection nothing more can be said by it: who takes back sees to the collation.
        if now != *wanted && done.as_ref().err().is_none_or(|error| code(error).is_some()) {
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
    pub(super) async fn complete(&self, ctx: &Ctx, session: &mut Session, config: &Config) -> Result<()> {
        let database = &config.database;
        session.plain(ctx).await?;
        // Had it been lost, somebody else could have replaced what is there.
        self.alone.check(ctx, &mut session.connection).await?;
        match self.mode {
            Mode::Whole => {}
            Mode::Rows if !self.replace => {
                proof::keys(ctx, &mut session.connection, database, &self.names, true).await?;
            }
            _ => proof::tell(ctx, config, &self.names).await?,
        }
        if self.mode == Mode::Whole {
            session.connection.define(ctx, format!("DROP TABLE {}", identifier(MARKER)).as_bytes()).await?;
        } else {
            some::unmark(ctx, &mut session.connection, database, &self.names).await?;
        }
        self.alone.release(ctx).await;
        Ok(())
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
