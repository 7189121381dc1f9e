//! The parts of a backup as a script for the `sqlite3` shell.

use std::io::Write;

use backup_core::rows::{TaggedHead, TaggedValue, read_tagged, read_tagged_head};
use backup_core::{
    Column, Error, Item, Part, PartKind, PartSource, Result, Script, ScriptInfo, ScriptWriter,
};
use rusqlite::Connection;

use super::{float, literal};
use crate::backup::spec;
use crate::catalog::plan::{SEQUENCES, SqlSpec};
use crate::catalog::table::RowsSpec;
use crate::ddl::quote::identifier;
use crate::error::Doing;

/// How many rows, and about how many bytes, one INSERT has.
const ROWS: usize = 500;
const BYTES: usize = 256 << 10;

/// The longest statement that a shell takes, less what a large row's statement has besides its large values' digits: SQLite's
/// default, which few builds change (<https://sqlite.org/limits.html>, "Maximum Length Of An SQL Statement").
const STATEMENT: u64 = 1_000_000_000 - (8 << 20);

/// Writes scripts that make the same database out of an empty file.
#[derive(Debug)]
pub(crate) struct SqliteScript;

impl ScriptWriter for SqliteScript {
    fn client(&self) -> &'static str {
        "sqlite3 NEW.db < FILE"
    }

    fn header(&self, _info: &ScriptInfo, script: &mut Script<'_>) -> Result<()> {
        // SQLite's own tables and the rows of virtual tables in the schema can only be made so.
        say(script, "PRAGMA foreign_keys=OFF;\nPRAGMA writable_schema=ON;\n")
    }

    fn part(&self, part: &Part, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
        match &part.kind {
            PartKind::Sql => {
                let made_from: Option<SqlSpec> = spec(part).ok();
                while let Some(sql) = source.statement()? {
                    let sql = for_the_shell(part, made_from.as_ref(), sql);
                    script.statement(|script| say(script, &sql))?;
                    end(script, &sql)?;
                    if made_from.is_some() && !comes_back(&sql) {
                        say(script, &exact_text(part, &sql))?;
                    }
                }
                if made_from == Some(SqlSpec::Settings) {
                    say(script, "BEGIN TRANSACTION;\n")?;
                }
                Ok(())
            }
            PartKind::Rows { columns, .. } => {
                let spec: RowsSpec = spec(part)?;
                if spec.clear {
                    let sql = format!("DELETE FROM {SEQUENCES}");
                    script.statement(|script| say(script, &sql))?;
                    end(script, &sql)?;
                }
                Inserts::new(&part.object.name, columns, &spec)?.all(source, script)
            }
            _ => Err(Error::unsupported(format!("{} cannot be said in SQL", part.object))),
        }
    }

    fn footer(&self, _info: &ScriptInfo, script: &mut Script<'_>) -> Result<()> {
        say(script, "PRAGMA writable_schema=OFF;\nCOMMIT;\n")
    }
}

fn say(script: &mut Script<'_>, text: &str) -> Result<()> {
    script.write_all(text.as_bytes()).map_err(|error| Error::io("write the script", error))
}

/// The end of a statement; behind what may be a comment on a line of its own.
fn end(script: &mut Script<'_>, sql: &str) -> Result<()> {
    say(script, if sql.contains("--") { "\n;\n" } else { ";\n" })
}

/// The shell takes a line that is only `/` or `go` for the end of a statement, and waits forever for the end of a comment that has
/// none. Views and triggers can be said without such text standing free: as a row of the schema.
fn for_the_shell(part: &Part, made_from: Option<&SqlSpec>, sql: String) -> String {
    let misread = sql.contains("/*")
        || sql.lines().map(str::trim).any(|line| line == "/" || line.eq_ignore_ascii_case("go"));
    let kind = part.object.kind.as_str();
    match made_from {
        Some(SqlSpec::Schema { table, .. }) if misread && matches!(kind, "view" | "trigger") => {
            let row = [kind, &part.object.name, table, &sql].map(literal::quoted);
            let [kind, name, table, sql] = row;
            format!(
                "INSERT INTO sqlite_schema(type,name,tbl_name,rootpage,sql) VALUES({kind},{name},{table},0,{sql})"
            )
        }
        _ => sql,
    }
}

/// Whether the schema has a statement's text as it is written in a script. SQLite writes the first words in its own way, and the shell
/// drops carriage returns at the ends of lines.
fn comes_back(sql: &str) -> bool {
    const STARTS: [&str; 5] = ["TABLE ", "INDEX ", "UNIQUE INDEX ", "VIEW ", "TRIGGER "];
    if sql.starts_with("INSERT") || sql.starts_with("PRAGMA") {
        return true;
    }
    let Some(rest) = sql.strip_prefix("CREATE ") else { return false };
    let name = STARTS.iter().find_map(|start| rest.strip_prefix(start));
    name.is_some_and(|name| !name.starts_with([' ', '\t', '\n', '/', '-'])) && !sql.contains('\r')
}

/// Makes the schema's text of an object what it was. Our own restore compares them by itself.
fn exact_text(part: &Part, sql: &str) -> String {
    let [kind, name, sql] = [part.object.kind.as_str(), &part.object.name, sql].map(literal::quoted);
    format!("UPDATE sqlite_schema SET sql={sql} WHERE type={kind} AND name={name};\n")
}

/// The INSERTs of one part.
struct Inserts<'a> {
    table: &'a str,
    columns: &'a [Column],
    spec: &'a RowsSpec,
    /// Reads numbers as SQLite does.
    check: Connection,
    /// Several rows, as many as one statement should have.
    rows: String,
    count: usize,
}

impl<'a> Inserts<'a> {
    fn new(table: &'a str, columns: &'a [Column], spec: &'a RowsSpec) -> Result<Self> {
        let check = Connection::open_in_memory().doing(|| "open a database in memory")?;
        Ok(Self { table, columns, spec, check, rows: String::new(), count: 0 })
    }

    fn all(mut self, source: &mut dyn PartSource, script: &mut Script<'_>) -> Result<()> {
        let mut item = source.next()?;
        while let Some(found) = item {
            match found {
                Item::Row(row) => self.row(row, script)?,
                Item::Fragment { bytes, last, .. } => {
                    self.flush(script)?;
                    let start = self.start();
                    let first = (bytes.to_vec(), last);
                    script.statement(|script| {
                        say(script, &start)?;
                        say(script, "(")?;
                        Fragments { inserts: &self, left: None, fields: 0, digits: 0, head: Vec::new() }
                            .all(first, source, script)?;
                        say(script, ")")
                    })?;
                    say(script, ";\n")?;
                }
                _ => return Err(Error::damaged("a part of rows holds something else")),
            }
            item = source.next()?;
        }
        self.flush(script)
    }

    fn start(&self) -> String {
        format!("INSERT INTO {}({}) VALUES", identifier(self.table), self.spec.names(self.columns).join(","))
    }

    fn row(&mut self, mut row: &[u8], script: &mut Script<'_>) -> Result<()> {
        self.rows.push_str(if self.count == 0 { "(" } else { ",\n(" });
        for i in 0..self.columns.len() {
            let value = read_tagged(&mut row).ok_or_else(|| self.malformed())?;
            if i > 0 {
                self.rows.push(',');
            }
            match value {
                TaggedValue::Null => self.rows.push_str("NULL"),
                TaggedValue::Integer(value) => self.rows.push_str(&literal::integer(value)),
                TaggedValue::Float(value) => self.rows.push_str(&float::literal(value, &self.check)?),
                TaggedValue::Text(value) => self.rows.push_str(&literal::text(value, self.spec.encoding)),
                TaggedValue::Bytes(value) => self.rows.push_str(&literal::blob(value)),
            }
        }
        if !row.is_empty() {
            return Err(self.malformed());
        }
        self.rows.push(')');
        self.count += 1;
        if self.count >= ROWS || self.rows.len() >= BYTES { self.flush(script) } else { Ok(()) }
    }

    fn flush(&mut self, script: &mut Script<'_>) -> Result<()> {
        if self.count > 0 {
            let (start, rows) = (self.start(), std::mem::take(&mut self.rows));
            script.statement(|script| {
                say(script, &start)?;
                say(script, &rows)
            })?;
            say(script, ";\n")?;
            self.count = 0;
        }
        Ok(())
    }

    fn too_long(&self) -> Error {
        let table = self.table.escape_debug();
        Error::unsupported(format!(
            "table {table} has a row that no script can hold: the sqlite3 shell takes no statement above 1 GB"
        ))
        .hint("use --format binary or compressed, which have no such limit")
    }

    fn malformed(&self) -> Error {
        Error::damaged(format!(
            "a row of table {} has not the fields that it should have",
            self.table.escape_debug()
        ))
    }
}

/// A row that comes in fragments: its large values are written as they come.
struct Fragments<'a> {
    inserts: &'a Inserts<'a>,
    /// How many bytes of the value that was begun are missing, and what closes it.
    left: Option<(u64, &'static str)>,
    fields: usize,
    /// The digits of the values so far.
    digits: u64,
    head: Vec<u8>,
}

impl Fragments<'_> {
    fn all(
        &mut self,
        first: (Vec<u8>, bool),
        source: &mut dyn PartSource,
        script: &mut Script<'_>,
    ) -> Result<()> {
        let (bytes, mut ended) = first;
        self.push(&bytes, script)?;
        drop(bytes);
        while !ended {
            let Some(Item::Fragment { bytes, last, .. }) = source.next()? else {
                return Err(self.inserts.malformed());
            };
            self.push(bytes, script)?;
            ended = last;
        }
        let complete =
            self.left.is_none() && self.head.is_empty() && self.fields == self.inserts.columns.len();
        if complete { Ok(()) } else { Err(self.inserts.malformed()) }
    }

    fn push(&mut self, mut bytes: &[u8], script: &mut Script<'_>) -> Result<()> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if let Some((missing, _)) = &mut self.left {
                let n = usize::try_from(*missing).unwrap_or(usize::MAX).min(bytes.len());
                let (piece, rest) = bytes.split_at(n);
                literal::stream_hex(piece, script)?;
                *missing -= n as u64;
                bytes = rest;
            } else {
                self.head.push(byte);
                bytes = rest;
                if let Some(head) = read_tagged_head(&mut self.head.as_slice()) {
                    self.head.clear();
                    self.begin(head, script)?;
                } else if self.head.len() > 11 {
                    return Err(self.inserts.malformed());
                }
            }
            if let Some((_, close)) = self.left.take_if(|(missing, _)| *missing == 0) {
                say(script, close)?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, head: TaggedHead, script: &mut Script<'_>) -> Result<()> {
        if self.fields > 0 {
            say(script, ",")?;
        }
        self.fields += 1;
        if let TaggedHead::Text(length) | TaggedHead::Bytes(length) = head {
            self.digits = self.digits.saturating_add(length.saturating_mul(2));
        }
        if self.digits > STATEMENT {
            return Err(self.inserts.too_long());
        }
        match head {
            TaggedHead::Null => say(script, "NULL"),
            TaggedHead::Integer(value) => say(script, &literal::integer(value)),
            TaggedHead::Float(value) => say(script, &float::literal(value, &self.inserts.check)?),
            TaggedHead::Text(length) => {
                self.left = Some((length, "' AS TEXT)"));
                say(script, "CAST(X'")
            }
            TaggedHead::Bytes(length) => {
                self.left = Some((length, "'"));
                say(script, "X'")
            }
        }
    }
}
