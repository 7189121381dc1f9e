//! Taking back what was done to the target.

use std::collections::BTreeSet;
use std::sync::PoisonError;
use std::time::Duration;

use backup_core::{Ctx, Error, ErrorKind, Result};

use super::{Mode, Target, contents, defaults};
use crate::catalog::Reading;
use crate::catalog::stand_in::drop_database;
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::quote::identifier;
use crate::error::code;
use crate::restore::contents::MARKER;
use crate::restore::some;

/// How long taking back may take.
const TAKE_BACK: Duration = Duration::from_secs(120);

/// ER_NO_SUCH_THREAD: the connection to be killed ended by itself.
const NO_SUCH_THREAD: u16 = 1094;

impl Target {
    /// Makes the target what it was, or says what it is now.
    pub(in crate::restore) async fn take_back(&self, config: &Config) -> Result<()> {
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
        self.alone.admit(&ctx, &mut connection).await?;
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
            }
            Mode::Some => contents::drop_all(ctx, connection, database, made.iter()).await?,
            Mode::Rows => {
                connection.execute(ctx, "SET SESSION foreign_key_checks = 0").await?;
                for (_, table) in made.iter().filter(|(kind, _)| *kind == "TABLE") {
                    // What is not one of the target's tables was made for the moment.
                    if self.names.contains(table) {
                        self.empty(ctx, connection, database, table).await?;
                    } else {
                        let full_name = format!("{}.{}", identifier(database), identifier(table));
                        connection.execute(ctx, &format!("DROP TABLE IF EXISTS {full_name}")).await?;
                    }
                }
            }
        }
        // Programs are made while the database has the collation that it had for them. Who changed nothing may not be allowed to.
        let now = defaults(ctx, connection, database).await?;
        if let Some(before) = self.defaults.as_ref().filter(|before| Some(*before) != now.as_ref()) {
            connection.execute(ctx, before).await?;
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
}
