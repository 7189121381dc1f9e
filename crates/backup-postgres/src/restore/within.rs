//! Rows, or some tables, into a database that stays as it is otherwise: one transaction of one session.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_core::{Content, Ctx, Error, ErrorKind, Existing, Part, PartId, RestoreRequest, Result};

use super::filled::with_filled;
use super::replace::{self, ForeignKey, Name};
use super::{defaults, keys, largeobjects, sequences, triggers};
use crate::connect::{Session, column};
use crate::ddl::create::{making, replacing};
use crate::error::sql_state;
use crate::spec::{SqlSpec, read};

/// What parts are called that have the name of the relation which they are of.
const OF_ITS_NAME: [&str; 13] = [
    "table",
    "partition",
    "foreign table",
    "view",
    "view definition",
    "materialized view",
    "materialized view contents",
    "sequence",
    "sequence owned by",
    "table attach",
    "default",
    "row security",
    "key state",
];

/// What may be in the target already, and be used as it is there.
const MAY_STAY: [&str; 22] = [
    "schema",
    "shell type",
    "type",
    "domain",
    "collation",
    "conversion",
    "aggregate",
    "operator",
    "operator family",
    "operator class",
    "text search parser",
    "text search template",
    "text search dictionary",
    "text search configuration",
    "cast",
    "transform",
    "access method",
    "foreign-data wrapper",
    "server",
    "event trigger",
    "publication",
    "publication schema",
];

/// What the transaction is to leave alone.
#[derive(Debug)]
pub(super) struct Within {
    /// The parts of what was asked for; the others are what that needs.
    asked: Arc<BTreeSet<PartId>>,
    /// Relations that are there and were not asked for: they stay what they are.
    kept: BTreeSet<Name>,
    /// Extensions that are there.
    extensions: BTreeSet<String>,
    /// Foreign keys of tables that are replaced, to others.
    keys: Vec<ForeignKey>,
    /// Where rows alone come: how a query begins that asks about the tables which get them.
    filled: Option<String>,
    /// What has to be said before the transaction commits.
    at_the_end: Vec<String>,
    /// Parts whose first statements made something.
    made: Mutex<HashSet<PartId>>,
}

impl Within {
    /// Begins the transaction, and takes out what is to be replaced.
    pub(super) async fn begin(
        ctx: &Ctx,
        session: &Session,
        request: &RestoreRequest,
        parts: &[Part],
    ) -> Result<Self> {
        // What it looks at in the end is what is there then.
        session.execute(ctx, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        let mut within = Self {
            asked: Arc::clone(&request.asked),
            kept: BTreeSet::new(),
            extensions: BTreeSet::new(),
            keys: Vec::new(),
            filled: None,
            at_the_end: Vec::new(),
            made: Mutex::default(),
        };
        let replaces = request.existing == Existing::Replace;
        if request.content == Content::DataOnly {
            // No trigger fires and no foreign key is checked before the end, as when they are made behind the rows.
            let replicates = replicates(ctx, session).await?;
            within.filled = with_filled(parts)?;
            if let Some(filled) = &within.filled {
                keys::refuse_unseen(ctx, session, filled).await?;
                within.at_the_end = hold_off(ctx, session, filled, replicates).await?;
            }
            if replaces {
                replace::empty(ctx, session, parts).await?;
            } else {
                replace::refuse_rows(ctx, session, parts).await?;
            }
            sequences::begin_anew(ctx, session, parts).await?;
            largeobjects::make_room(ctx, session, parts, replaces).await?;
            return Ok(within);
        }
        within.at_the_end = defaults::suspend(ctx, session).await?;
        let there = replace::relations(ctx, session).await?;
        let asked = replace::made_by(parts.iter().filter(|part| within.asked.contains(&part.id)));
        if replaces {
            within.keys = replace::drop(ctx, session, &asked, &there).await?;
        } else {
            replace::refuse(&asked, &there)?;
        }
        let extensions = "SELECT e.extname::text AS name FROM pg_catalog.pg_extension e";
        for row in session.rows(ctx, extensions, &[]).await? {
            within.extensions.insert(column(&row, "name")?);
        }
        within.kept = there.into_keys().filter(|name| !asked.contains_key(name)).collect();
        Ok(within)
    }

    /// Whether the part is of a relation that stays what it is.
    pub(super) fn keeps(&self, part: &Part) -> bool {
        // Every database has it, with privileges of its own.
        if part.object.kind == "schema" && part.object.name == "public" {
            return true;
        }
        // Making one that is there is no error.
        if part.object.kind == "extension" && self.extensions.contains(&part.object.name) {
            return true;
        }
        if self.asked.contains(&part.id) {
            return false;
        }
        // A function, or a constraint of another table, may be called like a table that is there.
        let object = &part.object;
        let own = OF_ITS_NAME.contains(&object.kind.as_str()).then_some(&object.name);
        let schema = object.schema.clone().unwrap_or_default();
        own.into_iter().chain(&object.table).any(|name| self.kept.contains(&(schema.clone(), name.clone())))
    }

    fn made(&self) -> MutexGuard<'_, HashSet<PartId>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Executes the first statement of a part. What was not asked for may be there: then it is kept, and this returns false.
    pub(super) async fn make(&self, ctx: &Ctx, session: &Session, part: &Part, sql: &str) -> Result<bool> {
        const THERE: [&str; 5] = ["42P06", "42710", "42723", "42P07", "23505"];
        // The second half of a function that was made without its body first, if it was made.
        let announced_by = read::<SqlSpec>(part).ok().and_then(|spec| spec.announced_by);
        let is_function = part.object.kind == "function definition";
        if !self.asked.contains(&part.id)
            && is_function
            && !announced_by.is_some_and(|by| self.made().contains(&by))
        {
            return Ok(false);
        }
        // Schemas, types and the like are asked for with all of their schema, and cannot be replaced.
        let object = &part.object;
        let replaces = ["function", "procedure"].contains(&object.kind.as_str());
        let is_asked = self.asked.contains(&part.id);
        let may_stay = is_asked && MAY_STAY.contains(&object.kind.as_str());
        // That of a view that was made without its query.
        if is_asked && !may_stay || part.object.kind == "view definition" || is_function {
            // A function that is asked for takes the place of one that is there.
            let sql = if replaces { replacing(sql) } else { sql.into() };
            session.statement(ctx, &sql).await?;
            self.made().insert(part.id);
            return Ok(true);
        }
        // A function that is there is not replaced.
        let sql = making(sql);
        session.execute(ctx, "SAVEPOINT one").await?;
        match session.statement(ctx, &sql).await {
            Ok(()) => {
                self.made().insert(part.id);
                session.execute(ctx, "RELEASE SAVEPOINT one").await.map(|()| true)
            }
            Err(error) if sql_state(&error).is_some_and(|code| THERE.contains(&code)) => {
                session.execute(ctx, "ROLLBACK TO SAVEPOINT one").await?;
                if may_stay && object.kind != "schema" {
                    ctx.warn(format!("{object} stays as it is in the target, which has one already"));
                }
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes it so.
    pub(super) async fn commit(&self, ctx: &Ctx, session: &Session) -> Result<()> {
        for key in &self.keys {
            key.make(ctx, session).await?;
        }
        if let Some(filled) = &self.filled {
            keys::check(ctx, session, filled).await?;
        }
        for statement in &self.at_the_end {
            session.statement(ctx, statement).await?;
        }
        session.execute(ctx, "COMMIT").await
    }
}

/// Has the transaction count as replication, which sets off nothing. Only superusers may, and whom one has allowed it: whether we do.
async fn replicates(ctx: &Ctx, session: &Session) -> Result<bool> {
    session.execute(ctx, "SAVEPOINT role").await?;
    match session.execute(ctx, "SET LOCAL session_replication_role = replica").await {
        Ok(()) => session.execute(ctx, "RELEASE SAVEPOINT role").await.map(|()| true),
        Err(error) if sql_state(&error) == Some("42501") => {
            session.execute(ctx, "ROLLBACK TO SAVEPOINT role").await.map(|()| false)
        }
        Err(error) => Err(error),
    }
}

/// Holds off what rows set off, and returns what brings it back.
async fn hold_off(ctx: &Ctx, session: &Session, filled: &str, replicates: bool) -> Result<Vec<String>> {
    let held = async {
        let mut back = if replicates { Vec::new() } else { keys::defer(ctx, session, filled).await? };
        back.extend(triggers::silence(ctx, session, filled, replicates).await?);
        Ok(back)
    };
    held.await.map_err(|error: Error| match sql_state(&error) {
        Some("42501") => {
            let message = "the account may not keep rows from setting off triggers and foreign keys of the tables that they come into";
            Error::new(ErrorKind::PermissionDenied, message)
                .hint("restore as the owner of the tables, or GRANT SET ON PARAMETER session_replication_role (since version 15)")
                .because(error)
        }
        _ => error,
    })
}
