//! One table: its columns, its rowid, and how its rows are written down.

use backup_core::{Column, Error, Result};
use rusqlite::{CachedStatement, Connection};
use serde::{Deserialize, Serialize};

use super::schema::SchemaObject;
use super::settings::Encoding;
use crate::ddl::quote::identifier;
use crate::error::Doing;

/// The most columns that a SELECT or INSERT can have.
const MOST_COLUMNS: usize = 2000;

/// A word by which SQL speaks of the rowid, where no column has that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RowidWord {
    #[serde(rename = "rowid")]
    Rowid,
    #[serde(rename = "oid")]
    Oid,
    #[serde(rename = "_rowid_")]
    Underscored,
}

impl RowidWord {
    pub(crate) fn sql(self) -> &'static str {
        match self {
            Self::Rowid => "rowid",
            Self::Oid => "oid",
            Self::Underscored => "_rowid_",
        }
    }
}

/// How a rows part is read and written: the `spec` of the part.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct RowsSpec {
    /// The encoding of its text.
    pub(crate) encoding: Encoding,
    /// The first field is the rowid, and this is its name. Otherwise all fields are columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rowid: Option<RowidWord>,
    /// The field that is the rowid, as a field of its own or as INTEGER PRIMARY KEY.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) key: Option<usize>,
    /// The rowids that this part has, both ends included; all if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) range: Option<(i64, i64)>,
    /// Whether single values can be read and written piece by piece.
    #[serde(default)]
    pub(crate) incremental: bool,
    /// Whether rows that are there already (SQLite put them there) give way to these.
    #[serde(default)]
    pub(crate) clear: bool,
}

impl RowsSpec {
    /// The fields as SQL names.
    pub(crate) fn names(&self, columns: &[Column]) -> Vec<String> {
        let name = |(i, column): (usize, &Column)| match self.rowid {
            Some(word) if i == 0 => word.sql().to_owned(),
            _ => identifier(&column.name),
        };
        columns.iter().enumerate().map(name).collect()
    }
}

/// A table's rows: the fields, and the spec of a part that has them all.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) spec: RowsSpec,
}

/// Asks about tables, one after another.
pub(crate) struct Tables<'c> {
    connection: &'c Connection,
    encoding: Encoding,
    columns: CachedStatement<'c>,
    primary_keys: CachedStatement<'c>,
}

impl<'c> Tables<'c> {
    pub(crate) fn of(connection: &'c Connection) -> Result<Self> {
        let columns = "SELECT name, type, pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid";
        let primary_keys = "SELECT 1 FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'";
        Ok(Self {
            connection,
            encoding: Encoding::of(connection)?,
            columns: connection.prepare_cached(columns).doing(|| "read the columns")?,
            primary_keys: connection.prepare_cached(primary_keys).doing(|| "read the keys")?,
        })
    }

    pub(crate) fn table(&mut self, object: &SchemaObject) -> Result<Table> {
        let name = object.name.as_str();
        let reading = || format!("read the columns of table {}", name.escape_debug());
        let described = self
            .columns
            .query_map([name], |row| {
                Ok((
                    Column::new(row.get::<_, String>(0)?, row.get::<_, String>(1)?),
                    row.get(2)?,
                    row.get(3)?,
                ))
            })
            .and_then(|rows| rows.collect::<rusqlite::Result<Vec<(Column, i64, i64)>>>())
            .doing(reading)?;
        if described.is_empty() {
            return Err(Error::damaged("the schema names a table that cannot be read").during(reading()));
        }
        // A generated column has no value of its own; 2 is VIRTUAL and 3 is STORED.
        let is_generated = |hidden: i64| hidden == 2 || hidden == 3;
        let has_generated = described.iter().any(|(_, _, hidden)| is_generated(*hidden));
        let alias = self.alias(object, &described).doing(reading)?;
        let rowid = match alias {
            Some(_) => None,
            None => self.rowid_word(object, &described),
        };
        let kept =
            described.into_iter().filter(|(_, _, hidden)| !is_generated(*hidden)).map(|(column, ..)| column);
        let mut columns: Vec<_> = kept.collect();
        let rowid = rowid.filter(|_| columns.len() < MOST_COLUMNS);
        if let Some(word) = rowid {
            columns.insert(0, Column::new(word.sql(), "INTEGER"));
        }
        let key = match (&alias, rowid) {
            (Some(alias), _) => columns.iter().position(|column| column.name == *alias),
            (None, rowid) => rowid.map(|_| 0),
        };
        let incremental = key.is_some() && !has_generated;
        Ok(Table {
            columns,
            spec: RowsSpec { encoding: self.encoding, rowid, key, incremental, ..RowsSpec::default() },
        })
    }

    /// The column that is the rowid under another name: a lone primary key of type INTEGER for which there is no index.
    fn alias(
        &mut self,
        table: &SchemaObject,
        described: &[(Column, i64, i64)],
    ) -> rusqlite::Result<Option<String>> {
        let mut keys = described.iter().filter(|(_, pk, _)| *pk > 0);
        match (keys.next(), keys.next()) {
            (Some((column, ..)), None) if column.declared_type.eq_ignore_ascii_case("INTEGER") => {
                // Only these two words make an index for such a key.
                let may_be = table.mentions("DESC") || table.mentions("WITHOUT");
                let indexed = may_be && self.primary_keys.exists([&table.name])?;
                Ok((!indexed).then(|| column.name.clone()))
            }
            _ => Ok(None),
        }
    }

    /// A word for the rowid that is no column's name; `None` also for a table WITHOUT ROWID.
    fn rowid_word(&self, table: &SchemaObject, described: &[(Column, i64, i64)]) -> Option<RowidWord> {
        let taken = |word: RowidWord| {
            described.iter().any(|(column, ..)| column.name.eq_ignore_ascii_case(word.sql()))
        };
        let words = [RowidWord::Rowid, RowidWord::Oid, RowidWord::Underscored];
        let word = words.into_iter().find(|word| !taken(*word))?;
        if !table.mentions("WITHOUT") {
            return Some(word);
        }
        let sql = format!("SELECT {} FROM main.{}", word.sql(), identifier(&table.name));
        self.connection.prepare(&sql).ok().map(|_| word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(sql: &str) -> Table {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(sql).unwrap();
        let objects = crate::catalog::schema::objects(&connection).unwrap();
        let t = objects.iter().find(|object| object.name == "t").unwrap();
        Tables::of(&connection).unwrap().table(t).unwrap()
    }

    fn names(table: &Table) -> Vec<&str> {
        table.columns.iter().map(|column| column.name.as_str()).collect()
    }

    #[test]
    fn a_rowid_without_a_name_becomes_the_first_field() {
        let t = table("CREATE TABLE t(a, rowid TEXT, b)");
        assert_eq!((t.spec.rowid, t.spec.key), (Some(RowidWord::Oid), Some(0)));
        assert_eq!(names(&t), ["oid", "a", "rowid", "b"]);
        let t = table("CREATE TABLE t(_rowid_, ROWID, oid)");
        assert_eq!((t.spec.rowid, t.spec.key), (None, None));
    }

    #[test]
    fn an_integer_primary_key_is_the_rowid() {
        let t = table("CREATE TABLE t(a, b INTEGER PRIMARY KEY)");
        assert_eq!((t.spec.rowid, t.spec.key), (None, Some(1)));
        // These two are not: the one by an old bug that SQLite keeps, the other by its type.
        let t = table("CREATE TABLE t(a, b INTEGER PRIMARY KEY DESC)");
        assert_eq!((t.spec.rowid, t.spec.key), (Some(RowidWord::Rowid), Some(0)));
        let t = table("CREATE TABLE t(a, b INT PRIMARY KEY)");
        assert_eq!(t.spec.rowid, Some(RowidWord::Rowid));
    }

    #[test]
    fn a_table_without_rowid_has_no_key_and_generated_columns_are_no_fields() {
        let t =
            table("CREATE TABLE t(a INTEGER PRIMARY KEY, b AS (a + 1), c AS (a + 2) STORED) WITHOUT ROWID");
        assert_eq!((t.spec.rowid, t.spec.key), (None, None));
        assert_eq!(names(&t), ["a"]);
        assert!(!table("CREATE TABLE t(a, b AS (a))").spec.incremental);
        assert!(table("CREATE TABLE t(a, b)").spec.incremental);
    }
}
