//! Databases that stand in for others while something is made that names them. The mark of the restore has their names, and each has a mark of its
//! own: so a restore that is killed leaves none for the next to take for real.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use backup_core::{Ctx, Result};

use super::{Mode, Target, was_there};
use crate::catalog::Reading;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};
use crate::error::code;
use crate::restore::contents::{self, MARKER};
use crate::restore::session::Session;

/// The table that such a database has, whatever else is in it.
const MARK: &str = "lifeboat_stands_in";
/// ER_BAD_FIELD_ERROR: the mark of an earlier version.
const NO_COLUMN: u16 = 1054;

impl Target {
    /// Makes one; false if there is one of its name, which is somebody's.
    pub(in crate::restore) async fn make_stand_in(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        database: &str,
    ) -> Result<bool> {
        session.plain(ctx).await?;
        if is_there(ctx, &mut session.connection, database).await? {
            return Ok(false);
        }
        if self.mode == Mode::Whole {
            let note = format!("INSERT IGNORE INTO {} VALUES ({})", identifier(MARKER), text(database));
            session.connection.execute(ctx, &note).await?;
        }
        self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner).insert(database.to_owned());
        let make = format!("CREATE DATABASE {}", identifier(database));
        let made = session.connection.define(ctx, make.as_bytes()).await;
        if made.as_ref().err().and_then(code).is_some() {
            self.forget_stand_in(ctx, session, database).await?;
        }
        match made {
            Err(error) if was_there(&error) => return Ok(false),
            made => made?,
        };
        let mark = format!("CREATE TABLE {}.{} (a INT PRIMARY KEY)", identifier(database), identifier(MARK));
        session.connection.define(ctx, mark.as_bytes()).await?;
        Ok(true)
    }

    /// It is gone again, or was not made.
    pub(in crate::restore) async fn forget_stand_in(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        database: &str,
    ) -> Result<()> {
        session.plain(ctx).await?;
        self.stand_ins.lock().unwrap_or_else(PoisonError::into_inner).remove(database);
        if self.mode == Mode::Whole {
            let forget = format!("DELETE FROM {} WHERE name = {}", identifier(MARKER), text(database));
            session.connection.execute(ctx, &forget).await?;
        }
        Ok(())
    }
}

/// Those that an earlier restore into the database has left: marked, or empty still.
pub(super) async fn left(ctx: &Ctx, connection: &mut Connection, target: &str) -> Result<BTreeSet<String>> {
    let names = format!("SELECT name FROM {}.{}", identifier(target), identifier(MARKER));
    let names = match connection.rows(ctx, &names).await {
        Err(error) if code(&error) == Some(NO_COLUMN) => Vec::new(),
        names => names?,
    };
    let mut left = BTreeSet::new();
    for name in names {
        let name = Reading::new(name).text()?;
        if !is_there(ctx, connection, &name).await? {
            continue;
        }
        let there = contents::read(ctx, connection, &name).await?;
        if there.is_empty() || there.contains(&("TABLE", MARK.to_owned())) {
            left.insert(name);
        }
    }
    Ok(left)
}

async fn is_there(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<bool> {
    let sql =
        format!("SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}", text(database));
    Ok(Reading::new(connection.row(ctx, &sql).await?).number()? > 0)
}
