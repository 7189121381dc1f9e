//! The objects of a database, as `sqlite_schema` lists them.

use std::collections::HashMap;

use backup_core::{Error, Result};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::error::Doing;

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Table,
    VirtualTable,
    Index,
    View,
    Trigger,
}

impl Kind {
    /// SQLite's own word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Table | Self::VirtualTable => "table",
            Self::Index => "index",
            Self::View => "view",
            Self::Trigger => "trigger",
        }
    }
}

/// A row of `sqlite_schema` that has SQL. Rows without are indexes that come with their table.
#[derive(Debug, Clone)]
pub(crate) struct SchemaObject {
    pub(crate) rowid: i64,
    pub(crate) kind: Kind,
    pub(crate) name: String,
    /// The table that it is of; its own name for tables and views.
    pub(crate) table: String,
    pub(crate) sql: String,
}

impl SchemaObject {
    /// Whether rows that are inserted here count in `sqlite_sequence`. A false yes costs nothing.
    pub(crate) fn may_autoincrement(&self) -> bool {
        self.kind == Kind::Table && self.mentions("AUTOINCREMENT")
    }

    /// Whether `word` is anywhere in the SQL. Cheaper than asking SQLite about what only that word brings about.
    pub(crate) fn mentions(&self, word: &str) -> bool {
        self.sql.as_bytes().windows(word.len()).any(|w| w.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// Every object that has SQL, in the order in which the schema keeps them.
pub(crate) fn objects(connection: &Connection) -> Result<Vec<SchemaObject>> {
    let reading = || "read the schema";
    let sql = "SELECT rowid, type, name, tbl_name, rootpage, sql FROM main.sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid";
    let mut statement = connection.prepare(sql).doing(reading)?;
    let mut rows = statement.query(()).doing(reading)?;
    let mut objects = Vec::new();
    while let Some(row) = rows.next().doing(reading)? {
        let rowid: i64 = row.get(0).doing(reading)?;
        let text = |i: usize| -> Result<String> {
            let unreadable = || {
                Error::unsupported(format!("row {rowid} of sqlite_schema is not made of UTF-8 text")).hint(
                    "repair it with PRAGMA writable_schema; a name that is no text cannot be said in SQL",
                )
            };
            match row.get_ref(i).doing(reading)? {
                ValueRef::Text(bytes) if !bytes.contains(&0) => {
                    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| unreadable().because(error))
                }
                _ => Err(unreadable()),
            }
        };
        let (word, sql) = (text(1)?, text(5)?);
        let has_root = matches!(row.get_ref(4).doing(reading)?, ValueRef::Integer(page) if page > 0);
        let kind = match word.to_ascii_lowercase().as_str() {
            "table" if has_root => Kind::Table,
            "table" => Kind::VirtualTable,
            "index" => Kind::Index,
            "view" => Kind::View,
            "trigger" => Kind::Trigger,
            _ => {
                return Err(Error::unsupported(format!(
                    "sqlite_schema has an object of the unknown type {word:?}"
                )));
            }
        };
        objects.push(SchemaObject { rowid, kind, name: text(2)?, table: text(3)?, sql });
    }
    Ok(objects)
}

/// The virtual tables, to tell whose shadow a table is: the ordinary tables in which a virtual one keeps its contents.
#[derive(Debug, Default)]
pub(crate) struct VirtualTables {
    /// By name in lower case: the name as it is written, and what follows it and an underscore in names of shadows.
    tables: HashMap<String, (String, &'static [&'static str])>,
}

impl VirtualTables {
    pub(crate) fn of(objects: &[SchemaObject]) -> Self {
        let virtuals = objects.iter().filter(|object| object.kind == Kind::VirtualTable);
        let tables = virtuals.map(|o| (o.name.to_lowercase(), (o.name.clone(), shadow_suffixes(&o.sql))));
        Self { tables: tables.collect() }
    }

    /// The virtual table whose shadow `table` is by its name: `docs` for `docs_content`.
    pub(crate) fn owner(&self, table: &str) -> Option<&str> {
        let lower = table.to_lowercase();
        let cuts = lower.rmatch_indices('_').map(|(at, _)| (&lower[..at], &lower[at + 1..]));
        for (name, suffix) in cuts.take_while(|_| !self.tables.is_empty()) {
            if let Some((written, suffixes)) = self.tables.get(name)
                && (suffixes.is_empty() || suffixes.contains(&suffix))
            {
                return Some(written);
            }
        }
        None
    }
}

/// How the modules that come with SQLite name their shadows. Of another module nothing is known, so any suffix counts:
/// no suffixes here means that.
fn shadow_suffixes(sql: &str) -> &'static [&'static str] {
    match module(sql).unwrap_or_default().to_ascii_lowercase().as_str() {
        "fts5" => &["data", "idx", "content", "docsize", "config"],
        "fts3" | "fts4" => &["content", "segments", "segdir", "docsize", "stat"],
        "rtree" | "rtree_i32" | "geopoly" => &["node", "rowid", "parent"],
        _ => &[],
    }
}

/// The module in `CREATE VIRTUAL TABLE name USING module`, as SQLite itself wrote that down.
fn module(sql: &str) -> Option<&str> {
    let name = sql.get("CREATE VIRTUAL TABLE ".len()..)?.trim_start();
    let close = match name.chars().next()? {
        '[' => ']',
        quote @ ('"' | '\'' | '`') => quote,
        _ => return after_using(name.split_once(char::is_whitespace)?.1),
    };
    let mut rest = &name[1..];
    loop {
        rest = rest.split_once(close)?.1;
        match rest.strip_prefix(close).filter(|_| close != ']') {
            Some(more) => rest = more,
            None => return after_using(rest),
        }
    }
}

fn after_using(sql: &str) -> Option<&str> {
    let sql = sql.trim_start();
    let using = sql.get(..5).filter(|word| word.eq_ignore_ascii_case("using"))?;
    let module = sql[using.len()..].trim_start();
    let end = module.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(module.len());
    Some(&module[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shadow_belongs_to_the_virtual_table_with_the_longest_name() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch(
                "CREATE VIRTUAL TABLE doc USING fts5(a); CREATE VIRTUAL TABLE Doc_X USING fts5(a); CREATE TABLE other(a);",
            )
            .unwrap();
        let objects = objects(&connection).unwrap();
        let virtuals = VirtualTables::of(&objects);
        assert_eq!(virtuals.owner("doc_content"), Some("doc"));
        assert_eq!(virtuals.owner("doc_x_content"), Some("Doc_X"));
        assert_eq!(virtuals.owner("doc"), None);
        assert_eq!(virtuals.owner("other"), None);
        assert_eq!(virtuals.owner("doc_orders"), None);
        assert!(objects.iter().filter(|o| o.kind == Kind::VirtualTable).count() == 2);
    }

    #[test]
    fn the_module_is_found_behind_any_name() {
        assert_eq!(module("CREATE VIRTUAL TABLE t USING fts5(a)"), Some("fts5"));
        assert_eq!(module("CREATE VIRTUAL TABLE \"a\"\" using x\" using  Vec0 (a)"), Some("Vec0"));
        assert_eq!(module("CREATE VIRTUAL TABLE [a ' b] USING rtree"), Some("rtree"));
        assert_eq!(module("CREATE"), None);
    }
}
