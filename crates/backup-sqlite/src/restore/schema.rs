//! The new schema while it is being made.
//!
//! For every CREATE, SQLite goes through all rows of `sqlite_schema` and through all tables that it knows, so that many objects
//! take the square of their number. Here it knows only a few at a time. The rows of the others are kept aside, and put back at the
//! end in the order that the source has them in.

use std::collections::HashMap;
use std::ops::Range;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::catalog::plan::SEQUENCES;

/// How many objects are made before they are set aside, and how many tables are shown at a time.
const BATCH: usize = 64;

/// What is set aside, and what is known of all that was made.
#[derive(Debug, Default)]
pub(super) struct Schema {
    rows: Vec<Row>,
    /// The rows that each table has set aside: its own, and those of its indexes.
    tables: Vec<Vec<usize>>,
    /// Where in `tables` a table is, by its name in lower case.
    places: HashMap<String, usize>,
    /// Those of `tables` that SQLite is shown again.
    shown: Range<usize>,
    /// The last rowid in `sqlite_schema` that is so shown: rows behind it are new.
    last_shown: i64,
    /// How many objects SQLite has made since the last were set aside.
    fresh: usize,
    /// By type and name.
    made: HashMap<(String, String), Made>,
}

/// An object that was made.
#[derive(Debug)]
struct Made {
    /// The rowid that it has in the source's schema.
    place: i64,
    /// Its text there, where SQLite may write it down differently.
    text: Option<String>,
}

/// A row of `sqlite_schema`.
#[derive(Debug)]
struct Row {
    kind: String,
    name: String,
    table: String,
    root: Value,
    sql: Value,
}

impl Row {
    fn insert(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO main.sqlite_schema(type, name, tbl_name, rootpage, sql) VALUES(?1, ?2, ?3, ?4, ?5)";
        let values = (&self.kind, &self.name, &self.table, &self.root, &self.sql);
        connection.prepare_cached(sql)?.execute(values).map(drop)
    }
}

impl Schema {
    /// Notes that SQLite made an object, which is in row `place` of the source's schema.
    pub(super) fn made(
        &mut self,
        connection: &Connection,
        (kind, name): (&str, &str),
        place: i64,
        text: Option<String>,
    ) -> rusqlite::Result<()> {
        self.made.insert((kind.to_owned(), name.to_owned()), Made { place, text });
        self.fresh += 1;
        if self.fresh < BATCH { Ok(()) } else { self.show(connection, 0..0) }
    }

    /// Makes an object that is nothing but its row: a view or a trigger. What SQLite does not accept as new (any more), it may well
    /// have in an old database.
    pub(super) fn make_row(&mut self, (kind, name): (&str, &str), table: &str, place: i64, sql: String) {
        let (kind, name) = (kind.to_owned(), name.to_owned());
        self.made.insert((kind.clone(), name.clone()), Made { place, text: None });
        let (root, sql) = (Value::Integer(0), Value::Text(sql));
        self.rows.push(Row { kind, name, table: table.to_owned(), root, sql });
    }

    /// Makes sure that SQLite knows `table`, if there is such a table.
    pub(super) fn need(&mut self, connection: &Connection, table: &str) -> rusqlite::Result<()> {
        match self.places.get(&table.to_ascii_lowercase()) {
            // Tables are asked for in about the order in which they were made.
            Some(&place) if !self.shown.contains(&place) => self.show(connection, place..place + BATCH),
            _ => Ok(()),
        }
    }

    /// Whether there is an object called `name`.
    pub(super) fn has(&self, connection: &Connection, name: &str) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM main.sqlite_schema WHERE name = ?1 COLLATE NOCASE";
        let is_aside = self.rows.iter().any(|row| row.name.eq_ignore_ascii_case(name));
        Ok(is_aside || connection.prepare_cached(sql)?.exists([name])?)
    }

    /// Puts all rows back: first those that were there before, then those that were made. It is the end: SQLite is not told of them.
    pub(super) fn put_back(mut self, connection: &Connection) -> rusqlite::Result<()> {
        if self.made.is_empty() {
            return Ok(());
        }
        self.set_aside(connection)?;
        let Self { mut rows, made, .. } = self;
        let place =
            |kind: &str, name: &str| made.get(&(kind.to_owned(), name.to_owned())).map(|made| made.place);
        // What belongs to a table comes behind it in any case: SQLite could not read the schema otherwise.
        rows.sort_by_cached_key(|row| place(&row.kind, &row.name).max(place("table", &row.table)));
        rows.iter().try_for_each(|row| row.insert(connection))
    }

    /// Shows SQLite some of the tables, and nothing else.
    fn show(&mut self, connection: &Connection, tables: Range<usize>) -> rusqlite::Result<()> {
        self.set_aside(connection)?;
        // Without this one, tables that count can neither be made nor be filled.
        let sequences = self.places.get(SEQUENCES).copied().filter(|place| !tables.contains(place));
        for place in tables.clone().chain(sequences) {
            for row in self.tables.get(place).into_iter().flatten().filter_map(|row| self.rows.get(*row)) {
                row.insert(connection)?;
                self.last_shown = connection.last_insert_rowid();
            }
        }
        self.shown = tables;
        // Now it forgets what it has read of the schema. With that the permission to write to it ends.
        connection.execute_batch("PRAGMA writable_schema=RESET; PRAGMA writable_schema=ON")
    }

    /// Empties `sqlite_schema`, and keeps what is new in it.
    fn set_aside(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "SELECT type, name, tbl_name, rootpage, sql FROM main.sqlite_schema WHERE rowid > ?1 ORDER BY rowid";
        let mut select = connection.prepare(sql)?;
        let mut found = select.query([self.last_shown])?;
        while let Some(row) = found.next()? {
            let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
            let (table, root, sql) = (row.get(2)?, row.get(3)?, row.get(4)?);
            let mut row = Row { kind, name, table, root, sql };
            let made = self.made.get_mut(&(row.kind.clone(), row.name.clone()));
            if let Some(text) = made.and_then(|made| made.text.take()) {
                row.sql = Value::Text(text);
            }
            if matches!(row.kind.as_str(), "table" | "index") {
                let next = self.tables.len();
                let place = *self.places.entry(row.table.to_ascii_lowercase()).or_insert(next);
                if place == next {
                    self.tables.push(Vec::new());
                }
                self.tables.get_mut(place).into_iter().for_each(|rows| rows.push(self.rows.len()));
            }
            self.rows.push(row);
        }
        connection.execute("DELETE FROM main.sqlite_schema", ())?;
        (self.last_shown, self.fresh) = (0, 0);
        Ok(())
    }
}
