//! The new schema while it is being made.
//!
//! For every CREATE, SQLite searches the whole of `sqlite_schema` for the row that it has just written there, so that many objects
//! would take the square of their number. What it has once read it keeps in memory, and never looks at the row again:
//! rows are taken out of the table meanwhile, and put back at the end, in the order that the source has them in.

use std::collections::HashMap;

use rusqlite::Connection;
use rusqlite::types::Value;

/// How many objects are made before their rows are taken out.
const BATCH: usize = 64;

/// The rows that are not in `sqlite_schema` at present, and what is known of those that were made.
#[derive(Debug, Default)]
pub(super) struct Schema {
    rows: Vec<Row>,
    /// By type and name.
    made: HashMap<(String, String), Made>,
    /// How many were made since rows were taken out.
    waiting: usize,
}

/// An object that was made.
#[derive(Debug)]
struct Made {
    /// The rowid that it has in the source's schema.
    place: i64,
    /// Its text there, where SQLite may write it down differently.
    text: Option<String>,
}

#[derive(Debug)]
struct Row {
    kind: String,
    name: String,
    table: String,
    root: Value,
    sql: Value,
}

impl Schema {
    /// Notes that an object was made.
    pub(super) fn made(
        &mut self,
        connection: &Connection,
        kind: &str,
        name: &str,
        place: i64,
        text: Option<String>,
    ) -> rusqlite::Result<()> {
        self.made.insert((kind.to_owned(), name.to_owned()), Made { place, text });
        self.waiting += 1;
        if self.waiting < BATCH { Ok(()) } else { self.take_out(connection) }
    }

    /// Whether there is an object called `name`.
    pub(super) fn has(&self, connection: &Connection, name: &str) -> rusqlite::Result<bool> {
        let is_out = self.rows.iter().any(|row| row.name.eq_ignore_ascii_case(name));
        Ok(is_out
            || connection
                .prepare_cached("SELECT 1 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE")?
                .exists([name])?)
    }

    /// Puts all rows back: first those that were there before, then those that were made, in the source's order. Nothing can be made
    /// any more.
    pub(super) fn put_back(mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.made.is_empty() {
            return Ok(());
        }
        self.take_out(connection)?;
        let Self { mut rows, made, .. } = self;
        // An index comes behind its table in any case: SQLite could not read the schema otherwise.
        let place =
            |kind: &str, name: &str| made.get(&(kind.to_owned(), name.to_owned())).map(|made| made.place);
        rows.sort_by_cached_key(|row| place(&row.kind, &row.name).max(place("table", &row.table)));
        let mut insert = connection.prepare(
            "INSERT INTO main.sqlite_schema(type, name, tbl_name, rootpage, sql) VALUES(?1, ?2, ?3, ?4, ?5)",
        )?;
        rows.into_iter()
            .try_for_each(|row| insert.execute((row.kind, row.name, row.table, row.root, row.sql)).map(drop))
    }

    fn take_out(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut select = connection
            .prepare("SELECT type, name, tbl_name, rootpage, sql FROM main.sqlite_schema ORDER BY rowid")?;
        let mut found = select.query(())?;
        while let Some(row) = found.next()? {
            let mut row = Row {
                kind: row.get(0)?,
                name: row.get(1)?,
                table: row.get(2)?,
                root: row.get(3)?,
                sql: row.get(4)?,
            };
            let made = self.made.get_mut(&(row.kind.clone(), row.name.clone()));
            if let Some(text) = made.and_then(|made| made.text.take()) {
                row.sql = Value::Text(text);
            }
            self.rows.push(row);
        }
        connection.execute("DELETE FROM main.sqlite_schema", ())?;
        self.waiting = 0;
        Ok(())
    }
}
