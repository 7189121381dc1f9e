//! A connection that loads: rows as they are, whatever the server would make of them otherwise.

use backup_core::{Ctx, Result};

use crate::catalog::context::Context;
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::quote::identifier;
use crate::error::code;

/// Zeros are values, dates may be invalid, and a table whose engine is missing is an error.
pub(crate) const SQL_MODE: &str = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION";

/// One connection to the target, and what state it is in.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) connection: Connection,
    /// As rows and tables need it; not as some object's context has made it.
    is_plain: bool,
    has_history: bool,
}

impl Session {
    pub(super) async fn open(ctx: &Ctx, config: &Config) -> Result<Self> {
        let mut connection = Connection::open(ctx, config, true).await?;
        connection.execute(ctx, &format!("USE {}", identifier(&config.database))).await?;
        connection
            .execute(ctx, "SET SESSION foreign_key_checks = 0, unique_checks = 0, lock_wait_timeout = 3600, max_error_count = 65535")
            .await?;
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
        Ok(Self { connection, is_plain: false, has_history: false })
    }

    /// Makes it ready for rows and tables.
    pub(super) async fn plain(&mut self, ctx: &Ctx) -> Result<()> {
        if !self.is_plain {
            let settings = format!(
                "SET NAMES utf8mb4, SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00', timestamp = DEFAULT"
            );
            self.connection.execute(ctx, &settings).await?;
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
    pub(super) async fn in_context(&mut self, ctx: &Ctx, context: &Context, sql: &str) -> Result<()> {
        let bytes = if context.takes_utf8(sql) {
            sql.as_bytes().to_vec()
        } else {
            self.plain(ctx).await?;
            self.encoded(ctx, sql, &context.charset).await?
        };
        self.is_plain = false;
        self.connection.execute(ctx, &context.settings()).await?;
        self.connection.define(ctx, &bytes).await.map(|_| ())
    }

    /// The bytes of a text in another character set, as the server itself knows them.
    async fn encoded(&mut self, ctx: &Ctx, sql: &str, charset: &str) -> Result<Vec<u8>> {
        let word: String = charset.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        let hex = crate::ddl::quote::bytes(sql.as_bytes());
        let query = format!("SELECT HEX(CONVERT(_utf8mb4 {hex} USING {word}))");
        let hex = crate::catalog::Reading::new(self.connection.row(ctx, &query).await?).text()?;
        let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
        Ok(hex
            .as_bytes()
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, d| byte << 4 | digit(*d)))
            .collect())
    }
}
