//! What the suite has to be given to test an engine: how its database is made, changed and judged, by any means
//! but the engine's own.

use std::collections::BTreeSet;
use std::path::Path;

use async_trait::async_trait;
use backup_core::{DatabaseUrl, EngineFactory, Secret};

/// A table as the suite wants it: an integer, another integer, and a text that may be null.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Its name.
    pub name: &'a str,
    /// The names of its three columns.
    pub columns: [&'a str; 3],
    /// Whether the first column is its primary key. If not, rows may occur twice.
    pub keyed: bool,
}

impl<'a> Table<'a> {
    /// The usual columns, `id` the primary key.
    pub fn keyed(name: &'a str) -> Self {
        Self { name, columns: COLUMNS, keyed: true }
    }

    /// The usual columns, and no key.
    pub fn keyless(name: &'a str) -> Self {
        Self { name, columns: COLUMNS, keyed: false }
    }
}

/// The usual columns.
pub const COLUMNS: [&str; 3] = ["id", "amount", "note"];

/// A row of such a table.
pub type Row = (i64, i64, Option<String>);

/// A database that an engine is for, as the suite uses it.
///
/// Each method says what the suite wants and leaves to the fixture how its database says it. Those with a body
/// say it in plain SQL through [`run`](Self::run); a database that speaks another dialect, or no SQL, overrides them.
/// Methods panic when the database does not do as it is told. They are called from one task at a time.
#[async_trait]
pub trait EngineFixture: Send + Sync {
    /// The engine to be tested.
    fn factory(&self) -> &'static EngineFactory;

    /// A place for a database that holds nothing yet, another one each time: an empty database, or a path at which a
    /// file may come to be. Things made there go away with the fixture.
    async fn empty(&self) -> DatabaseUrl;

    /// Where a restore into `target` under the name `name` puts the database.
    fn renamed(&self, target: &DatabaseUrl, name: &str) -> DatabaseUrl;

    /// Runs statements one after the other, each as it stands, by the database's own means.
    async fn run(&self, url: &DatabaseUrl, statements: &[String]);

    /// Everything in the database as text, by the best means that is not the engine: somebody else's dump, the
    /// database's own tables about itself. Equal for equal databases, whatever order their rows lie in: the suite
    /// compares sources and copies by it. Every bit of every value counts, and so do objects without rows.
    async fn dump(&self, url: &DatabaseUrl) -> String;

    /// What is to be seen at `target` and around it: its file and those beside it, the databases of its server. A
    /// restore that failed or was cancelled leaves the same as before.
    async fn traces(&self, target: &DatabaseUrl) -> BTreeSet<String>;

    /// Makes the sample of everything: each type with its extreme values and NULL, and each kind of object that the
    /// engine knows (indexes, views, triggers, generated columns, sequences ...).
    async fn everything(&self, url: &DatabaseUrl);

    /// Makes tables `hen` and `egg` whose rows refer to each other by foreign keys, and a table `chick` whose rows
    /// refer to rows of its own: in no order can their rows be loaded one by one under the constraints.
    async fn cycle(&self, url: &DatabaseUrl);

    /// The sum of `amount` over the table, computed by the database.
    async fn total(&self, url: &DatabaseUrl, table: &str) -> i64;

    /// Moves `amount` from one row to another in one transaction, each named by its table and `id`. False if the
    /// database does not let anybody write just now.
    async fn transfer(&self, url: &DatabaseUrl, from: (&str, i64), to: (&str, i64), amount: i64) -> bool {
        let add = |(table, id): (&str, i64), amount: i64| {
            let table = self.quoted(table);
            format!("UPDATE {table} SET amount = amount + ({amount}) WHERE id = {id}")
        };
        let statements = ["BEGIN".to_owned(), add(from, -amount), add(to, amount), "COMMIT".to_owned()];
        self.run(url, &statements).await;
        true
    }

    /// Loads a script by the database's own client into an empty place; `false` if there is no such client here.
    async fn load_script(&self, url: &DatabaseUrl, script: &Path) -> bool {
        let _ = (url, script);
        false
    }

    /// Makes a table.
    async fn table(&self, url: &DatabaseUrl, table: Table<'_>) {
        let [id, amount, note] = table.columns.map(|column| self.quoted(column));
        let key = if table.keyed { " PRIMARY KEY" } else { "" };
        let name = self.quoted(table.name);
        let create = format!("CREATE TABLE {name} ({id} BIGINT NOT NULL{key}, {amount} BIGINT, {note} TEXT)");
        self.run(url, &[create]).await;
    }

    /// Adds rows to a table. The suite hands over at most a few megabytes at a time, unless it wants a huge value.
    async fn insert(&self, url: &DatabaseUrl, table: &str, rows: &[Row]) {
        let table = self.quoted(table);
        let row = |(id, amount, note): &Row| {
            let note = note.as_ref().map_or("NULL".to_owned(), |note| self.literal(note));
            format!("({id}, {amount}, {note})")
        };
        let insert = |rows: &[Row]| {
            let rows: Vec<_> = rows.iter().map(row).collect();
            format!("INSERT INTO {table} VALUES {}", rows.join(", "))
        };
        let statements: Vec<_> = rows.chunks(500).map(insert).collect();
        self.run(url, &statements).await;
    }

    /// At how many places in the course of a backup its repository is made to fail, spread evenly: at every one of some hundred, unless this says less.
    /// What a backup takes, and with a server that is a while, it takes once or twice at each.
    fn places(&self) -> u64 {
        u64::MAX
    }

    /// Names that tables and columns can have here and that somebody might have chosen out of malice. Those that the
    /// database cannot hold are taken out by overriding this, none because the engine cannot.
    fn hostile_names(&self) -> Vec<String> {
        HOSTILE.iter().map(|name| (*name).to_owned()).collect()
    }

    /// An identifier in a statement.
    fn quoted(&self, identifier: &str) -> String {
        format!("\"{}\"", identifier.replace('"', "\"\""))
    }

    /// A text in a statement.
    fn literal(&self, text: &str) -> String {
        format!("'{}'", text.replace('\'', "''"))
    }

    /// The same database, named by a URL that also holds `secret` wherever the engine takes secrets. It need not let
    /// us in: what is tested is that nobody repeats it.
    fn with_secret(&self, url: &DatabaseUrl, secret: &str) -> DatabaseUrl {
        let mut url = url.clone();
        url.password = Some(Secret::new(secret));
        url
    }
}

/// Newlines, every quote, comment marks, ends of statements, client commands, format directives, other scripts.
const HOSTILE: [&str; 14] = [
    "two\nlines",
    "\\! touch hacked",
    "; DROP TABLE victim; --",
    "\"double\"",
    "'single'",
    "`back`",
    "[brackets]]",
    "$$dollars$$",
    "*/ comment /*",
    "-- lifeboat end {}\n-- ",
    "per%s cent{}%00",
    " spaces\tand tabs ",
    "Großer Tisch 表 🐘",
    "select",
];
