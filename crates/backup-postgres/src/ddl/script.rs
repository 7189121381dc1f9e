//! The parts of a backup as a script for psql.

use std::io::Write;

use backup_core::{Error, Item, Part, PartKind, PartSource, Result, Script, ScriptInfo, ScriptWriter};

use crate::ddl::quote::ident;
use crate::rows::{RowsSpec, copy_in, statement};
use crate::spec::{SqlSpec, read};

/// What psql has to be told before anything else: the same as our own sessions.
const SETTINGS: &str = "\
SET statement_timeout = 0;
SET lock_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET datestyle = ISO;
SET intervalstyle = postgres;
SET array_nulls = on;
SET timezone = 'UTC';
SET lc_monetary = 'C';
SET default_tablespace = '';
SET default_table_access_method = heap;
";

/// Writes scripts that make the same objects and rows in an empty database.
#[derive(Debug)]
pub(crate) struct PostgresScript {
    /// What ends psql's restricted mode: nothing in a database can know it.
    token: Result<String, getrandom::Error>,
}

impl PostgresScript {
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 24];
        Self { token: getrandom::fill(&mut bytes).map(|()| hex::encode(bytes)) }
    }

    fn token(&self) -> Result<&str> {
        self.token
            .as_deref()
            .map_err(|error| Error::internal(format!("there are no random numbers: {error}")))
    }
}

impl ScriptWriter for PostgresScript {
    fn client(&self) -> &'static str {
        "psql -v ON_ERROR_STOP=1 -d NEW_DATABASE -f FILE"
    }

    fn header(&self, _info: &ScriptInfo, script: &mut Script<'_>) -> Result<()> {
        say(script, &format!("\\restrict {}\n{SETTINGS}", self.token()?))
    }

    fn part(&self, part: &Part, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
        match &part.kind {
            PartKind::Sql => {
                let tablespace = read::<SqlSpec>(part).ok().and_then(|spec| spec.tablespace);
                if let Some(tablespace) = &tablespace {
                    say(script, &format!("SET default_tablespace = {};\n", ident(tablespace)))?;
                }
                statements(source, script)?;
                if tablespace.is_some() { say(script, "SET default_tablespace = '';\n") } else { Ok(()) }
            }
            PartKind::Rows { columns, .. } => {
                let spec: RowsSpec = read(part)?;
                if !matches!(spec, RowsSpec::Table { .. }) {
                    return rows_as_statements(part, &spec, source, script);
                }
                say(script, &format!("{};\n", copy_in(part, columns, &spec)))?;
                script.rows(|script| rows(source, script))?;
                say(script, "\\.\n")
            }
            _ => Err(Error::unsupported(format!("{} cannot be said in SQL", part.object))),
        }
    }

    fn footer(&self, _info: &ScriptInfo, script: &mut Script<'_>) -> Result<()> {
        say(script, &format!("\\unrestrict {}\n", self.token()?))
    }
}

fn say(script: &mut Script<'_>, text: &str) -> Result<()> {
    write(script, text.as_bytes())
}

fn write(script: &mut Script<'_>, bytes: &[u8]) -> Result<()> {
    script.write_all(bytes).map_err(|error| Error::io("write the script", error))
}

/// Each statement as the server or we have written it, and the semicolon behind it.
fn statements(source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
    while let Some(sql) = source.next_whole()? {
        script.statement(|script| write(script, &sql))?;
        say(script, ";\n")?;
    }
    Ok(())
}

/// Rows as the server sent them, each ended by a newline.
fn rows(source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
    while let Some(item) = source.next()? {
        match item {
            Item::Row(bytes) | Item::Fragment { bytes, .. } => write(script, bytes)?,
            _ => return Err(Error::damaged("a part of rows holds something else")),
        }
    }
    Ok(())
}

/// Rows that are no table's.
fn rows_as_statements(
    part: &Part,
    spec: &RowsSpec,
    source: &mut dyn PartSource,
    script: &mut Script<'_>,
) -> Result<()> {
    while let Some(item) = source.next()? {
        let Item::Row(row) = item else { return Err(Error::damaged("a row is longer than it can be")) };
        if let Some(sql) = statement(part, spec, row)? {
            script.statement(|script| say(script, &sql))?;
            say(script, ";\n")?;
        }
    }
    Ok(())
}
