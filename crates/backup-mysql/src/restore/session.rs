//! A connection that loads: rows as they are, whatever the server would make of them otherwise.

use backup_core::{Ctx, Result};

use crate::catalog::context::Context;
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::quote::identifier;
use crate::ddl::{PLAIN, SUBTRACTING};
use crate::error::code;

/// One connection to the target, and what state it is in.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    /// As rows and tables need it; not as some object's context has made it.
    is_plain: bool,
    has_history: bool,
    /// All of them are: MariaDB computes as the session says that opens a table first.
    subtracts: bool,
}

impl Session {
    pub(super) async fn open(ctx: &Ctx, config: &Config, subtracts: bool) -> Result<Self> {
        let mut connection = Connection::open(ctx, config, true).await?;
        connection.execute(ctx, &format!("USE {}", identifier(&config.database))).await?;
        connection
            .execute(
                ctx,
                "SET SESSION foreign_key_checks = 0, lock_wait_timeout = 3600, max_error_count = 65535",
            )
            .await?;
        // On MariaDB it would take longer: rows into an empty table were sorted before they are stored, though they come in order.
        if !connection.version.is_mariadb {
            connection.execute(ctx, "SET SESSION unique_checks = 0").await?;
        }
        // What not every server has, or lets everybody set.
        let checks = connection.version.is_mariadb.then_some("check_constraint_checks = 0");
        for setting in checks.into_iter().chain(["innodb_strict_mode = 0", "sql_require_primary_key = 0"]) {
            match connection.execute(ctx, &format!("SET SESSION {setting}")).await {
                Err(error) if matches!(code(&error), Some(1193 | 1227 | 1231 | 1238)) => {}
                done => {
                    done?;
                }
            }
        }
        Ok(Self { connection, is_plain: false, has_history: false, subtracts })
    }

    /// Gives character sets the collations that they had by default before MariaDB 11.5: what another server prints may leave those out.
    pub(super) async fn with_old_collations(&mut self, ctx: &Ctx) -> Result<()> {
        let version = &self.connection.version;
        if version.is_mariadb && version.number >= (11, 2, 0) {
            self.connection.execute(ctx, "SET SESSION character_set_collations = ''").await?;
        }
        Ok(())
    }

    /// Makes it ready for rows and tables.
    pub(super) async fn plain(&mut self, ctx: &Ctx) -> Result<()> {
        if !self.is_plain {
            for settings in PLAIN.into_iter().chain(self.subtracts.then_some(SUBTRACTING)) {
                self.connection.execute(ctx, settings).await?;
            }
            self.is_plain = true;
        }
        Ok(())
    }

    /// Lets rows have versions of the past.
    pub(super) async fn with_history(&mut self, ctx: &Ctx) -> Result<()> {
        if !self.has_history {
            self.connection.execute(ctx, "SET SESSION system_versioning_insert_history = 1").await?;
            self.has_history = true;
        }
        Ok(())
    }

    /// Runs a statement in the session that its object was made in.
    pub(super) async fn in_context(&mut self, ctx: &Ctx, context: &Context, sql: &[u8]) -> Result<()> {
        self.is_plain = false;
        self.connection.execute(ctx, &context.settings()).await?;
        self.connection.define(ctx, sql).await.map(|_| ())
    }
}
