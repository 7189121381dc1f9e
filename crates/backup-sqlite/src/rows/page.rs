//! Pages of the database file, as SQLite's own pager gives them.
//!
//! The pager is asked through the virtual table `sqlite_dbpage`, on the connection that has the snapshot: what is in the write-ahead log, which
//! locks are held, and which pages are still those of the snapshot stays SQLite's business.

use std::collections::HashMap;

use rusqlite::{CachedStatement, Connection};

/// The table-valued form: no ordinary table that somebody forged can stand in for it.
const PAGE: &str = "SELECT data FROM sqlite_dbpage('main') WHERE pgno = ?1";
const MODULE: &str = "sqlite_dbpage";
/// Where page 1 says how many bytes at the end of each page are not SQLite's.
const RESERVED_AT: usize = 20;
/// The smallest page without those bytes.
const LEAST_USABLE: usize = 480;

/// Where the tables of a snapshot begin, and how large its pages are.
#[derive(Debug)]
pub(crate) struct Layout {
    usable: usize,
    roots: HashMap<String, u32>,
}

impl Layout {
    /// `None` if this SQLite does not give out pages (it has to be built with `SQLITE_ENABLE_DBPAGE_VTAB`), or anything is odd: rows
    /// are read with SQL then.
    pub(crate) fn of(connection: &Connection) -> Option<Self> {
        let mut pages = Pages { statement: connection.prepare_cached(PAGE).ok()?, usable: 0 };
        let first = pages.image(1)?;
        let reserved = usize::from(*first.get(RESERVED_AT)?);
        let usable = first.len().checked_sub(reserved).filter(|usable| *usable >= LEAST_USABLE)?;
        let mut roots = HashMap::new();
        let mut schema = connection.prepare("SELECT type, name, rootpage FROM main.sqlite_schema").ok()?;
        let mut rows = schema.query(()).ok()?;
        while let Some(row) = rows.next().ok()? {
            let (Ok(kind), Ok(name)) = (row.get::<_, String>(0), row.get::<_, String>(1)) else { continue };
            if name.eq_ignore_ascii_case(MODULE) {
                return None;
            }
            let root = row.get(2).ok().filter(|root| *root > 1);
            if let Some(root) = root.filter(|_| kind.eq_ignore_ascii_case("table"))
                && roots.insert(name, root).is_some()
            {
                // Two tables of one name: which one SQLite means is not for us to say.
                return None;
            }
        }
        Some(Self { usable, roots })
    }

    /// The root page of a table, and pages to read from there on.
    pub(super) fn table<'c>(&self, connection: &'c Connection, table: &str) -> Option<(u32, Pages<'c>)> {
        // Outside a transaction each page could be of another snapshot.
        let root = *self.roots.get(table).filter(|_| !connection.is_autocommit())?;
        Some((root, Pages { statement: connection.prepare_cached(PAGE).ok()?, usable: self.usable }))
    }
}

/// Reads pages.
pub(super) struct Pages<'c> {
    statement: CachedStatement<'c>,
    usable: usize,
}

impl Pages<'_> {
    /// How many bytes of a page are SQLite's.
    pub(super) fn usable(&self) -> usize {
        self.usable
    }

    /// Gives page `number` to `look`. `None` if SQLite does not give it: what it has to say about that, it says
    /// again to who reads the table with SQL.
    pub(super) fn read<T>(&mut self, number: u32, look: impl FnOnce(&[u8]) -> Option<T>) -> Option<T> {
        let mut rows = self.statement.query([number]).ok()?;
        let image = rows.next().ok()??.get_ref(0).ok()?.as_blob().ok()?;
        look(image.get(..self.usable)?)
    }

    /// A whole page.
    fn image(&mut self, number: u32) -> Option<Vec<u8>> {
        self.statement.query_row([number], |row| row.get(0)).ok()
    }
}
