//! A connection that loads: rows as they are, whatever the server would make of them otherwise.

use backup_core::{Ctx, Error, Result};

use super::otherwise;
use crate::catalog::Reading;
use crate::catalog::context::Context;
use crate::catalog::spec::RowsSpec;
use crate::config::Config;
use crate::connect::{Collations, Connection, Version};
use crate::ddl::create::CreateTable;
use crate::ddl::quote::identifier;
use crate::ddl::{PLAIN, SUBTRACTING, in_zone};
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
    /// A column TIMESTAMP NOT NULL gets a default where none is said.
    adds_defaults: bool,
}

/// What not every server has, or lets everybody set.
const OPTIONAL: [&str; 5] = [
    "max_error_count = 65535",
    "innodb_strict_mode = 0",
    "sql_require_primary_key = 0",
    "sql_generate_invisible_primary_key = 0",
    "explicit_defaults_for_timestamp = 1",
];

async fn set(ctx: &Ctx, connection: &mut Connection, setting: &str) -> Result<()> {
    match connection.execute(ctx, &format!("SET SESSION {setting}")).await {
        Err(error) if matches!(code(&error), Some(1193 | 1227 | 1231 | 1238)) => Ok(()),
        done => done.map(|_| ()),
    }
}

impl Session {
    /// `is_unique` says of what is restored that no two of its rows are alike in a unique key, as the server will compare them. Tables that were there
    /// look at their own CHECKs (`checks`); others are what they were.
    pub(super) async fn open(
        ctx: &Ctx,
        config: &Config,
        subtracts: bool,
        is_unique: bool,
        checks: bool,
    ) -> Result<Self> {
        let mut connection = Connection::open(ctx, config, true).await?;
        connection.execute(ctx, &format!("USE {}", identifier(&config.database))).await?;
        connection.execute(ctx, "SET SESSION foreign_key_checks = 0, lock_wait_timeout = 3600").await?;
        // On MariaDB it would take longer without: rows into an empty table were sorted before they are stored, though they come in order.
        let unique_checks = u8::from(!is_unique || connection.version.is_mariadb);
        connection.execute(ctx, &format!("SET SESSION unique_checks = {unique_checks}")).await?;
        let unchecked = connection.version.is_mariadb && !checks;
        for setting in unchecked.then_some("check_constraint_checks = 0").into_iter().chain(OPTIONAL) {
            set(ctx, &mut connection, setting).await?;
        }
        let explicit = connection.row(ctx, "SELECT @@explicit_defaults_for_timestamp").await?;
        let adds_defaults = Reading::new(explicit).number()? == 0;
        Ok(Self { connection, is_plain: false, has_history: false, subtracts, adds_defaults })
    }

    /// Gives character sets the collations that they have by default in `source`: what that prints may leave them out.
    pub(super) async fn with_collations_of(&mut self, ctx: &Ctx, source: &Version) -> Result<()> {
        let here = &self.connection.version;
        let collations = source.collations();
        if collations == here.collations() {
            return Ok(());
        }
        let setting = match (here.is_mariadb, collations) {
            (false, Collations::General) => "default_collation_for_utf8mb4 = utf8mb4_general_ci",
            (true, Collations::General) => "character_set_collations = ''",
            (true, Collations::Unicode9) => {
                "character_set_collations = 'utf8mb4=utf8mb4_uca1400_nopad_ai_ci'"
            }
            (true, Collations::Unicode14) => {
                "character_set_collations = 'utf8mb3=utf8mb3_uca1400_ai_ci,ucs2=ucs2_uca1400_ai_ci,utf8mb4=utf8mb4_uca1400_ai_ci,\
                 utf16=utf16_uca1400_ai_ci,utf32=utf32_uca1400_ai_ci'"
            }
            (false, _) => return Ok(()),
        };
        if collations == Collations::General {
            return self.connection.execute(ctx, &format!("SET SESSION {setting}")).await.map(|_| ());
        }
        // Servers that do print the collations of tables.
        set(ctx, &mut self.connection, setting).await
    }

    /// An error if the server would give a column of the table a default that was not said.
    pub(super) fn check_defaults(&self, sql: &[u8]) -> Result<()> {
        if !self.adds_defaults || !sql.starts_with(b"CREATE TABLE") {
            return Ok(());
        }
        let sql = String::from_utf8_lossy(sql);
        let table = CreateTable::parse(&sql)?;
        let Some(column) = table.undefaulted_timestamp() else { return Ok(()) };
        let why = format!(
            "the server would give column {} of table {} a default, since explicit_defaults_for_timestamp is off, and does not let it be set",
            column.escape_debug(),
            table.name().unwrap_or_default().escape_debug()
        );
        Err(Error::unsupported(why)
            .hint("set explicit_defaults_for_timestamp=1 at the server, or leave the table out (--exclude)"))
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

    /// Makes it ready for these rows.
    pub(super) async fn for_rows(&mut self, ctx: &Ctx, rows: &RowsSpec) -> Result<()> {
        self.plain(ctx).await?;
        if let Some(zone) = &rows.time_zone {
            self.is_plain = false;
            self.connection.execute(ctx, &in_zone(zone)).await?;
        }
        if rows.versioned && self.connection.version.takes_history() {
            self.with_history(ctx).await
        } else {
            Ok(())
        }
    }

    /// Lets rows have versions of the past.
    async fn with_history(&mut self, ctx: &Ctx) -> Result<()> {
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
        let done = match self.connection.define(ctx, sql).await {
            Ok(done) => otherwise::tell_of_program(ctx, &mut self.connection, sql, done).await,
            Err(error) => Err(error),
        };
        if let (Some(reset), false) = (context.reset(), self.connection.version.is_mariadb) {
            done?;
            return self.connection.execute(ctx, reset).await.map(|_| ());
        }
        done
    }
}
