//! Rows, or some tables, into a database that stays as it is otherwise: one transaction of one session.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use backup_core::{Content, Ctx, Existing, Part, PartId, RestoreRequest, Result};

use super::filled::with_filled;
use super::replace::{self, ForeignKey, Name};
use super::{keys, largeobjects, sequences, triggers};
use crate::connect::Session;
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

/// What the transaction is to leave alone.
#[derive(Debug)]
pub(super) struct Within {
    /// The parts of what was asked for; the others are what that needs.
    asked: Arc<BTreeSet<PartId>>,
    /// Relations that are there and were not asked for: they stay what they are.
    kept: BTreeSet<Name>,
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
            keys: Vec::new(),
            filled: None,
            at_the_end: Vec::new(),
            made: Mutex::default(),
        };
        let replaces = request.existing == Existing::Replace;
        if request.content == Content::DataOnly {
            // No trigger fires and no foreign key is checked before the end, as when they are made behind the rows.
            session.execute(ctx, "SET LOCAL session_replication_role = replica").await?;
            within.filled = with_filled(parts)?;
            if let Some(filled) = &within.filled {
                keys::refuse_unseen(ctx, session, filled).await?;
                within.at_the_end = triggers::silence(ctx, session, filled).await?;
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
        let there = replace::relations(ctx, session).await?;
        let asked = replace::made_by(parts.iter().filter(|part| within.asked.contains(&part.id)));
        if replaces {
            within.keys = replace::drop(ctx, session, &asked, &there).await?;
        } else {
            replace::refuse(&asked, &there)?;
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
        // That of a view that was made without its query.
        if self.asked.contains(&part.id) || part.object.kind == "view definition" || is_function {
            // A function that is asked for takes the place of one that is there.
            let replaces = ["function", "procedure"].contains(&part.object.kind.as_str());
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
        for statement in &self.at_the_end {
            session.statement(ctx, statement).await?;
        }
        if let Some(filled) = &self.filled {
            keys::check(ctx, session, filled).await?;
        }
        session.execute(ctx, "COMMIT").await
    }
}
