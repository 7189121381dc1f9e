//! The new database takes the target's place, and what was there is looked at again before it goes.

use std::time::Duration;

use backup_core::{Ctx, Error, ErrorKind, Existing, Result};
use tokio::time::{Instant, sleep};

use super::preflight;
use super::staging::{MARK, Staging, end_sessions, is_marked};
use crate::catalog::{self, Reader};
use crate::connect::{Session, column};
use crate::ddl::quote::ident;
use crate::error::sql_state;
use crate::scratch::is_scratch;
use crate::spec::PlaceSpec;

/// How long is tried to end the sessions of a database that is replaced.
const ENDING: Duration = Duration::from_secs(30);
/// How long a server is asked what became of a transaction whose end was not heard of, and how often.
const ASKING: Duration = Duration::from_secs(30);
const AGAIN: Duration = Duration::from_millis(200);

/// Why the new database is not in the target's place, or is not known to be.
#[derive(Debug)]
pub(super) struct Unpublished {
    pub(super) error: Error,
    /// Whether the target is as it was. Where that is not known, nothing may be dropped.
    pub(super) is_as_it_was: bool,
}

impl From<Error> for Unpublished {
    fn from(error: Error) -> Self {
        Self { error, is_as_it_was: true }
    }
}

/// Databases that change their names in one transaction.
struct Exchange<'a> {
    sql: String,
    /// The databases whose sessions are ended.
    of: [&'a str; 2],
    /// The number of the new database, and what it is called when that is done.
    new: u32,
    then: &'a str,
}

impl Staging {
    /// Puts the new database in the target's place, in one transaction, and drops the other one.
    pub(super) async fn publish(&self, ctx: &Ctx) -> std::result::Result<(), Unpublished> {
        let session = Session::open(ctx, &self.admin).await?;
        let number = "SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = $1";
        let rows = session.rows(ctx, number, &[&self.name]).await?;
        let new = rows.first().map(|row| column::<u32>(row, "oid")).transpose()?;
        let new = new.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("database {} went away", self.name.escape_debug()))
        })?;
        if self.existing.is_some() {
            self.look_again(ctx, &session, &self.target).await?;
        }
        let limit = match self.existing {
            Some(_) => self.inherit(ctx, &session).await?,
            // It may be left behind.
            None if is_scratch(&self.target) => MARK,
            None => {
                let limit = self.place.as_ref().map(|place| place.connections);
                limit.filter(|limit| !is_marked(*limit)).unwrap_or(-1)
            }
        };
        let of = [self.target.as_str(), self.name.as_str()];
        let swap = Exchange { sql: self.swap(limit), of, new, then: &self.target };
        self.exchange(ctx, swap).await.map_err(|unpublished| {
            let doing = format!("put the new database in the place of {}", self.target.escape_debug());
            Unpublished { error: unpublished.error.during(doing), ..unpublished }
        })?;
        if self.existing.is_some() {
            // From here on it is not cancelled: it is to end as one of both.
            let to_the_end = Ctx::new();
            if let Err(error) = self.look_again(&to_the_end, &session, &self.replaced).await {
                let back = Exchange { sql: self.swap_back(limit), of, new, then: &self.name };
                return Err(match self.exchange(&to_the_end, back).await {
                    Ok(()) => error.into(),
                    Err(Unpublished { error: state, .. }) => {
                        let doing = format!(
                            "{} is restored, and what was there before may be {}",
                            self.target.escape_debug(),
                            self.replaced.escape_debug()
                        );
                        Unpublished { error: error.afterwards(&state.during(doing)), is_as_it_was: false }
                    }
                });
            }
            let drop = format!("DROP DATABASE {}", ident(&self.replaced));
            if let Err(error) = session.execute(&to_the_end, &drop).await {
                ctx.warn(format!(
                    "the replaced database is still there as {}: {error}",
                    self.replaced.escape_debug()
                ));
            }
        }
        Ok(())
    }

    /// The target is renamed and the new database gets its name. A target that was to be replaced is marked, so that the next restore drops
    /// it, should this one not get to it. One that was empty is not: somebody may have put something into it.
    fn swap(&self, limit: i32) -> String {
        let (new, old, replaced) = (ident(&self.name), ident(&self.target), ident(&self.replaced));
        let mut sql = format!("BEGIN; ALTER DATABASE {new} CONNECTION LIMIT {limit}; ");
        if self.existing == Some(Existing::Replace) {
            sql += &format!("ALTER DATABASE {old} CONNECTION LIMIT {MARK}; ");
        }
        if self.existing.is_some() {
            sql += &format!("ALTER DATABASE {old} RENAME TO {replaced}; ");
        }
        sql + &format!("ALTER DATABASE {new} RENAME TO {old}; COMMIT")
    }

    /// And back.
    fn swap_back(&self, limit: i32) -> String {
        let (new, old, replaced) = (ident(&self.name), ident(&self.target), ident(&self.replaced));
        format!(
            "BEGIN; ALTER DATABASE {old} CONNECTION LIMIT {MARK}; ALTER DATABASE {old} RENAME TO {new};
             ALTER DATABASE {replaced} CONNECTION LIMIT {limit}; ALTER DATABASE {replaced} RENAME TO {old}; COMMIT"
        )
    }

    /// An error if what is to go is held on to, or was empty and is not any more. It is there by the name `name`.
    async fn look_again(&self, ctx: &Ctx, session: &Session, name: &str) -> Result<()> {
        preflight::refuse_held(ctx, session, name, &self.target).await?;
        if self.existing == Some(Existing::Refuse) {
            let there = Session::open(ctx, &self.admin.with_database(name)).await?;
            if !preflight::is_empty(ctx, &there).await? {
                return Err(preflight::not_empty(&self.target));
            }
        }
        Ok(())
    }

    /// Executes an exchange, and ends the sessions that are in its way.
    async fn exchange(&self, ctx: &Ctx, exchange: Exchange<'_>) -> std::result::Result<(), Unpublished> {
        let session = Session::open(ctx, &self.admin).await?;
        let ender = Session::open(ctx, &self.admin).await?;
        let deadline = Instant::now() + ENDING;
        // From here on it is not cancelled: what was done would not be known.
        let to_the_end = Ctx::new();
        loop {
            ctx.check()?;
            // The first renaming keeps new sessions out and waits some seconds for those that are there.
            let end = async {
                for database in exchange.of {
                    end_sessions(&to_the_end, &ender, database).await?;
                }
                Ok(())
            };
            let (ended, done): (Result<()>, _) =
                tokio::join!(end, session.execute(&to_the_end, &exchange.sql));
            let Err(error) = done else { return Ok(()) };
            if sql_state(&error).is_none() {
                return self.ask(session, &exchange, error).await;
            }
            if error.kind() != ErrorKind::Locked || Instant::now() >= deadline {
                // Sessions may be in the way because they could not be ended.
                return Err(match ended {
                    Ok(()) => error.into(),
                    Err(ending) => {
                        error.afterwards(&ending.during("end the sessions that are in the way")).into()
                    }
                });
            }
            session.execute(&to_the_end, "ROLLBACK").await?;
        }
    }

    /// What became of an exchange of whose end nothing was heard but `error`.
    async fn ask(
        &self,
        session: Session,
        exchange: &Exchange<'_>,
        error: Error,
    ) -> std::result::Result<(), Unpublished> {
        let process = session.process();
        drop(session);
        let deadline = Instant::now() + ASKING;
        let mut name = self.name_of(exchange.new, process).await;
        while !matches!(name, Ok(Some(_))) && Instant::now() < deadline {
            sleep(AGAIN).await;
            name = self.name_of(exchange.new, process).await;
        }
        match name {
            Ok(Some(name)) if name == exchange.then => Ok(()),
            Ok(Some(_)) => Err(error.into()),
            _ => {
                let message = format!(
                    "it is not known whether {} is the restored database: {}",
                    self.target.escape_debug(),
                    error.message()
                );
                let hint = format!(
                    "look at the server: it is, unless there is a database {}",
                    self.name.escape_debug()
                );
                let error = Error::new(error.kind(), message).hint(hint).because(error);
                Err(Unpublished { error, is_as_it_was: false })
            }
        }
    }

    /// What a database is called, if nobody is about to change that any more.
    async fn name_of(&self, number: u32, process: Option<i32>) -> Result<Option<String>> {
        let ctx = Ctx::new();
        let session = Session::open(&ctx, &self.admin).await?;
        let runs = "SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = $1";
        if !session.rows(&ctx, runs, &[&process]).await?.is_empty() {
            return Ok(None);
        }
        let name = "SELECT d.datname::text AS name FROM pg_catalog.pg_database d WHERE d.oid = $1";
        session.rows(&ctx, name, &[&number]).await?.first().map(|row| column(row, "name")).transpose()
    }

    /// An error if the account may not do what is done when the new database takes the target's place: it is tried and taken back, before
    /// anything takes its time.
    pub(super) async fn rehearse(&self, ctx: &Ctx, session: &Session) -> Result<()> {
        if self.existing.is_none() {
            return Ok(());
        }
        let Some(place) = catalog::place(Reader::new(ctx, session), &self.target).await? else {
            return Ok(());
        };
        session.execute(ctx, "BEGIN").await?;
        let owned = self.own(ctx, session, &place).await;
        session.execute(ctx, "ROLLBACK").await?;
        owned.map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => error.hint(
                "the database that is replaced belongs to another role, or another has granted privileges on it: restore as a superuser, or take these back first",
            ),
            _ => error,
        })
    }

    /// Gives the new database the owner and the privileges of the target.
    async fn own(&self, ctx: &Ctx, session: &Session, place: &PlaceSpec) -> Result<()> {
        for statement in place.owning(&self.name, &mut Default::default())? {
            session
                .execute(ctx, &statement)
                .await
                .map_err(|error| error.during("keep what belonged to the database that is replaced"))?;
        }
        Ok(())
    }

    /// Gives the new database what belongs to the place and not to what is in it: what is said of the target, its owner and its privileges.
    /// Returns the connection limit that it is to have.
    async fn inherit(&self, ctx: &Ctx, session: &Session) -> Result<i32> {
        let reader = Reader::new(ctx, session);
        let Some(place) = catalog::place(reader, &self.target).await? else { return Ok(-1) };
        // While it is still the account's.
        self.keep_said(ctx, session).await?;
        self.own(ctx, session, &place).await?;
        Ok(place.connections)
    }

    /// Says of the new database what is said of the target, even where the backup has it otherwise: that is warned of.
    async fn keep_said(&self, ctx: &Ctx, session: &Session) -> Result<()> {
        let reader = Reader::new(ctx, session);
        let brought = catalog::sayings(reader, &self.name).await?;
        for saying in catalog::sayings(reader, &self.target).await? {
            if brought.contains(&saying) {
                continue;
            }
            let told = format!("{} of database {}", saying.what, self.target.escape_debug());
            match session.statement(ctx, &saying.of(&self.name)).await {
                Ok(()) if brought.iter().any(|of| of.what == saying.what) => {
                    ctx.warn(format!("{told} stays as it is, which is not as the backup has it"));
                }
                Ok(()) => {}
                // Such as of a module that is no more: it is no reason to lose what has been loaded.
                Err(error) if sql_state(&error).is_some() => ctx.warn(format!("{told} is lost: {error}")),
                Err(error) => return Err(error.during(format!("keep {told}"))),
            }
        }
        Ok(())
    }
}
