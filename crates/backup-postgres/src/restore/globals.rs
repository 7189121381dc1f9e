//! Roles and tablespaces: what the server has of them stays as it is, and what a restore made that comes to nothing is dropped.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use backup_core::{Ctx, Part, Result};

use crate::catalog::{shared, utf8};
use crate::connect::{Session, column};
use crate::ddl::quote::ident;
use crate::error::sql_state;
use crate::spec::Global;

/// What the server had, and what was made.
#[derive(Debug, Default)]
pub(super) struct Globals {
    there: BTreeSet<Global>,
    made: Mutex<BTreeSet<Global>>,
}

impl Globals {
    /// Looks what the server has.
    pub(super) async fn look(ctx: &Ctx, session: &Session) -> Result<Self> {
        let sql = format!(
            "SELECT {} AS name, true AS role FROM pg_catalog.pg_roles UNION ALL SELECT {}, false FROM pg_catalog.pg_tablespace",
            shared("rolname"),
            shared("spcname")
        );
        let mut globals = Self::default();
        for row in session.rows(ctx, &sql, &[]).await? {
            // No backup has one whose name is no UTF-8.
            let Ok(name) = utf8(column(&row, "name")?).map(str::to_owned) else { continue };
            let is_role = column::<bool>(&row, "role")?;
            globals.there.insert(if is_role { Global::Role(name) } else { Global::Tablespace(name) });
        }
        Ok(globals)
    }

    fn made(&self) -> std::sync::MutexGuard<'_, BTreeSet<Global>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether objects can lie in this tablespace.
    pub(super) fn has_tablespace(&self, name: &str) -> bool {
        let tablespace = Global::Tablespace(name.to_owned());
        self.there.contains(&tablespace) || self.made().contains(&tablespace)
    }

    /// Whether the part is of something that the server had, or could not be given: the rest of it is left out.
    pub(super) fn stays(&self, ctx: &Ctx, part: &Part, global: &Global) -> bool {
        if !self.there.contains(global) {
            return false;
        }
        if matches!(part.object.kind.as_str(), "role" | "tablespace") {
            ctx.warn(format!("{} is there already, and stays as it is", part.object));
        }
        true
    }

    /// Executes the first statement of a part. A directory that is not there must not keep everything else from being restored: false.
    pub(super) async fn make(
        &self,
        ctx: &Ctx,
        session: &Session,
        part: &Part,
        global: &Global,
        sql: &str,
    ) -> Result<bool> {
        match session.statement(ctx, sql).await {
            Ok(()) => {
                self.made().insert(global.clone());
                Ok(true)
            }
            Err(error) if matches!(global, Global::Tablespace(_)) && sql_state(&error).is_some() => {
                ctx.warn(format!(
                    "{} could not be made, and what was there comes into the database's default one: {error}",
                    part.object
                ));
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Drops what was made, when nothing lies in it or is owned by it any more.
    pub(super) async fn take_back(&self, ctx: &Ctx, session: &Session) -> Result<()> {
        let made = std::mem::take(&mut *self.made());
        let mut roles = Vec::new();
        for global in made {
            match global {
                Global::Role(name) => roles.push(ident(&name)),
                Global::Tablespace(name) => {
                    session.execute(ctx, &format!("DROP TABLESPACE IF EXISTS {}", ident(&name))).await?;
                }
            }
        }
        if roles.is_empty() {
            return Ok(());
        }
        if session.version >= 150_000 {
            let sql = "SELECT parname::text AS name FROM pg_catalog.pg_parameter_acl";
            for row in session.rows(ctx, sql, &[]).await? {
                let parameter = ident(column::<&str>(&row, "name")?);
                let revoke = format!("REVOKE ALL ON PARAMETER {parameter} FROM {}", roles.join(", "));
                session.execute(ctx, &revoke).await?;
            }
        }
        // Together, since they may have granted each other something.
        session.execute(ctx, &format!("DROP ROLE IF EXISTS {}", roles.join(", "))).await
    }
}
