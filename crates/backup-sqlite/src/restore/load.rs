//! Filling the new file.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use backup_core::{Ctx, During, Part, PartKind, PartSource, Result};
use rusqlite::Connection;
use rusqlite::config::DbConfig;

use super::schema::Schema;
use super::staging::Staging;
use crate::backup::spec;
use crate::catalog::plan::{SEQUENCES, SqlSpec};
use crate::catalog::settings::{Encoding, WRITE_AHEAD};
use crate::catalog::table::RowsSpec;
use crate::connect::open;
use crate::error::Doing;
use crate::rows::write::Target;

/// The one connection that writes.
#[derive(Debug)]
pub(crate) struct Loading {
    pub(super) connection: Connection,
    spool: PathBuf,
    begun: bool,
    write_ahead: bool,
    /// What is restored goes into a copy of an existing database, and this says which rows of SQLite's own stay.
    pub(super) into_copy: bool,
    pub(super) partial: bool,
    schema: Schema,
}

impl Loading {
    /// Into a new file, of the encoding that the rows of `parts` have.
    pub(super) fn into_new(staging: &Staging, parts: &[Part]) -> Result<Self> {
        let this = Self::new(staging)?;
        // The settings come as a part of their own, unless only some objects were selected.
        for part in parts.iter().filter(|part| matches!(part.kind, PartKind::Rows { .. })).take(1) {
            let RowsSpec { encoding, .. } = spec(part)?;
            this.execute(&encoding.statement())?;
        }
        Ok(this)
    }

    /// Into a file that is a copy of an existing database.
    pub(super) fn into_copy(staging: &Staging) -> Result<Self> {
        let mut this = Self::new(staging)?;
        this.into_copy = true;
        Ok(this)
    }

    fn new(staging: &Staging) -> Result<Self> {
        let connection = open(staging.path(), Duration::ZERO)?;
        let doing = || format!("prepare {}", staging.path().display());
        // Triggers have fired already, for the source. Names and texts of SQLite's own tables may be written.
        let configs = [
            (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
            (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, false),
            (DbConfig::SQLITE_DBCONFIG_WRITABLE_SCHEMA, true),
        ];
        for (config, value) in configs {
            connection.set_db_config(config, value).doing(doing)?;
        }
        // If this fails the file is removed, so nothing needs to be safe before the end.
        connection
            .execute_batch(
                "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-32768;
                 PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON; PRAGMA temp_store=FILE;",
            )
            .doing(doing)?;
        Ok(Self {
            connection,
            spool: staging.directory().to_owned(),
            begun: false,
            write_ahead: false,
            into_copy: false,
            partial: false,
            schema: Schema::default(),
        })
    }

    /// Loads one part.
    pub(super) fn part(&mut self, ctx: &Ctx, part: &Part, source: &mut dyn PartSource) -> Result<()> {
        let watched = ctx.clone();
        self.connection
            .progress_handler(100_000, Some(move || watched.is_cancelled()))
            .doing(|| "watch for cancellation")?;
        let loaded = match &part.kind {
            PartKind::Rows { columns, .. } => {
                let spec: RowsSpec = spec(part)?;
                if self.into_copy && self.stays(&part.object.name)? {
                    return drain(source);
                }
                self.begin()?;
                self.need(&part.object.name)?;
                if spec.clear {
                    self.execute(&format!("DELETE FROM {SEQUENCES}"))?;
                }
                let target = Target {
                    connection: &self.connection,
                    table: &part.object.name,
                    columns,
                    spec: &spec,
                    spool: &self.spool,
                };
                target.load(source)
            }
            _ => self.statements(part, source),
        };
        loaded.during(|| format!("restore {}", part.object))
    }

    /// Whether the rows of a table of SQLite's own stay as they are: all but the counters, and these too when they
    /// are of other tables as well.
    fn stays(&self, table: &str) -> Result<bool> {
        if !table.starts_with("sqlite_") {
            return Ok(false);
        }
        Ok(self.partial || table != SEQUENCES || !self.counts()?)
    }

    /// Whether there is a table of counters.
    fn counts(&self) -> Result<bool> {
        self.schema.has(&self.connection, SEQUENCES).doing(|| "read the schema of the target")
    }

    /// The names of all objects, in lower case.
    pub(super) fn names(&self) -> Result<HashSet<String>> {
        let doing = || "read the schema of the target";
        let mut select =
            self.connection.prepare("SELECT lower(name) FROM main.sqlite_schema").doing(doing)?;
        let names = select.query_map((), |row| row.get(0)).doing(doing)?;
        names.collect::<rusqlite::Result<_>>().doing(doing)
    }

    fn statements(&mut self, part: &Part, source: &mut dyn PartSource) -> Result<()> {
        // Rows that come out of a script have a spec of their own.
        let made_from: Option<SqlSpec> = spec(part).ok();
        if self.into_copy && (made_from == Some(SqlSpec::Settings) || self.stays(&part.object.name)?) {
            return drain(source);
        }
        if made_from != Some(SqlSpec::Settings) {
            self.begin()?;
        }
        if made_from.is_none() {
            self.need(&part.object.name)?;
        }
        while let Some(sql) = source.statement()? {
            if sql == WRITE_AHEAD {
                self.write_ahead = true;
                continue;
            }
            match &made_from {
                Some(SqlSpec::Schema { row, table }) => self.make(part, *row, table, sql)?,
                _ => self.execute(&sql)?,
            }
        }
        Ok(())
    }

    /// Makes an object of the schema, which is in row `place` of the source's.
    fn make(&mut self, part: &Part, place: i64, table: &str, sql: String) -> Result<()> {
        let object = (part.object.kind.as_str(), part.object.name.as_str());
        // A script of ours, and the plan for virtual tables, may write the row by themselves.
        let is_create = !sql.starts_with("INSERT");
        if is_create && matches!(object.0, "view" | "trigger") {
            self.schema.make_row(object, table, place, sql);
            return Ok(());
        }
        if object.0 == "index" {
            self.need(table)?;
        }
        self.execute(&sql)?;
        let text = Some(sql).filter(|_| is_create && object.1 != SEQUENCES);
        self.schema.made(&self.connection, object, place, text).doing(|| "write the schema")
    }

    /// Makes sure that SQLite knows `table`.
    fn need(&mut self, table: &str) -> Result<()> {
        self.schema.need(&self.connection, table).doing(|| "show a part of the schema")
    }

    /// Executes what must be one statement.
    pub(super) fn execute(&self, sql: &str) -> Result<()> {
        let run = || {
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query(())?;
            while rows.next()?.is_some() {}
            Ok(())
        };
        run().doing(|| {
            let start: String = sql.chars().take(80).collect();
            format!("execute {}", start.escape_debug())
        })
    }

    /// Begins the one transaction, once the settings are made: some of them cannot be within one.
    pub(super) fn begin(&mut self) -> Result<()> {
        if !self.begun {
            self.execute("BEGIN")?;
            self.begun = true;
        }
        Ok(())
    }

    /// Ends the transaction, makes the schema's texts exact, and closes the database at `path`, which is then complete.
    pub(super) fn complete(mut self, ctx: &Ctx, path: &Path) -> Result<()> {
        ctx.check()?;
        let doing = || format!("complete {}", path.display());
        self.begin()?;
        std::mem::take(&mut self.schema).put_back(&self.connection).doing(doing)?;
        self.execute("COMMIT")?;
        self.connection.close().map_err(|(_, error)| error).doing(doing)?;

        // Opened like anybody would: a schema that cannot be read comes out here, and not later.
        let connection = open(path, Duration::ZERO)?;
        let encoding = Encoding::of(&connection)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(())).doing(doing)?;
        if self.write_ahead {
            let mode: String =
                connection.query_row("PRAGMA journal_mode=WAL", (), |row| row.get(0)).doing(doing)?;
            if mode != "wal" {
                ctx.warn(format!(
                    "the restored database ({}) keeps a journal of mode {mode}, not wal",
                    encoding.name()
                ));
            }
        }
        connection.close().map_err(|(_, error)| error).doing(doing)
    }
}

/// Reads a part that is of no use here to its end.
fn drain(source: &mut dyn PartSource) -> Result<()> {
    while source.next()?.is_some() {}
    Ok(())
}
