//! SQLite keeps every promise that an engine makes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use backup_core::{DatabaseUrl, EngineFactory};
use backup_testkit::engine::{EngineFixture, Table};
use rusqlite::Connection;
use tempfile::TempDir;

mod wicked;

struct Sqlite {
    directory: TempDir,
    made: AtomicU32,
}

impl Sqlite {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), made: AtomicU32::new(0) }
    }
}

fn open(url: &DatabaseUrl) -> Connection {
    let connection = Connection::open(&url.path).unwrap();
    connection.busy_timeout(Duration::from_secs(30)).unwrap();
    connection
}

#[backup_core::async_trait]
impl EngineFixture for Sqlite {
    fn factory(&self) -> &'static EngineFactory {
        &backup_sqlite::ENGINE
    }

    async fn empty(&self) -> DatabaseUrl {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        // A directory each, since what lies beside a target is looked at.
        let directory = self.directory.path().join(number.to_string());
        std::fs::create_dir(&directory).unwrap();
        format!("sqlite:{}/sample.db", directory.display()).parse().unwrap()
    }

    fn renamed(&self, target: &DatabaseUrl, name: &str) -> DatabaseUrl {
        let path = Path::new(&target.path).with_file_name(name);
        format!("sqlite:{}", path.display()).parse().unwrap()
    }

    async fn run(&self, url: &DatabaseUrl, statements: &[String]) {
        let connection = open(url);
        // Writers go on while a backup reads.
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF;")
            .unwrap();
        for statement in statements {
            connection.execute_batch(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// By SQLite itself, value by value; the shell's own dump judges in the workspace's end-to-end tests.
    async fn dump(&self, url: &DatabaseUrl) -> String {
        let connection = open(url);
        let mut dump = String::new();
        for pragma in ["encoding", "page_size", "auto_vacuum", "user_version", "application_id"] {
            let value = connection
                .query_row(&format!("PRAGMA {pragma}"), [], |row| Ok(format!("{:?}", row.get_ref(0)?)));
            writeln!(dump, "{pragma} {}", value.unwrap()).unwrap();
        }
        let mut objects = connection
            .prepare("SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql NOT NULL")
            .unwrap();
        let mut objects: Vec<(String, String, String, Option<String>)> = objects
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        // In the order in which they lie; but of each kind by itself, since no .dump tells more.
        objects.sort_by(|a, b| a.0.cmp(&b.0));
        for object in &objects {
            writeln!(dump, "{object:?}").unwrap();
            let is_virtual = object.3.as_ref().is_some_and(|sql| sql.starts_with("CREATE VIRTUAL"));
            if object.0 != "table" || is_virtual {
                continue;
            }
            let table = self.quoted(&object.1);
            let mut select = connection.prepare(&format!("SELECT * FROM {table}")).unwrap();
            let columns = select.column_count();
            let mut rows: Vec<String> = select
                .query_map([], |row| (0..columns).map(|i| Ok(format!("{:?} ", row.get_ref(i)?))).collect())
                .unwrap()
                .collect::<Result<_, _>>()
                .unwrap();
            rows.sort_unstable();
            writeln!(dump, "{}", rows.join("\n")).unwrap();
        }
        dump
    }

    async fn traces(&self, target: &DatabaseUrl) -> BTreeSet<String> {
        let directory = Path::new(&target.path).parent().unwrap();
        let names = std::fs::read_dir(directory).unwrap();
        names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
    }

    async fn everything(&self, url: &DatabaseUrl) {
        wicked::wicked(Path::new(&url.path));
    }

    async fn cycle(&self, url: &DatabaseUrl) {
        let statements = [
            "CREATE TABLE hen (id INTEGER PRIMARY KEY, egg INTEGER NOT NULL REFERENCES egg (id))",
            "CREATE TABLE egg (id INTEGER PRIMARY KEY, hen INTEGER NOT NULL REFERENCES hen (id))",
            "CREATE TABLE chick (id INTEGER PRIMARY KEY, mother INTEGER REFERENCES chick (id))",
            "INSERT INTO hen VALUES (1, 2), (2, 1)",
            "INSERT INTO egg VALUES (1, 2), (2, 1)",
            "INSERT INTO chick VALUES (1, 3), (2, 1), (3, 2), (4, NULL)",
        ];
        self.run(url, &statements.map(str::to_owned)).await;
    }

    async fn total(&self, url: &DatabaseUrl, table: &str) -> i64 {
        let total = format!("SELECT total(amount) FROM {}", self.quoted(table));
        open(url).query_row(&total, [], |row| row.get::<_, f64>(0)).unwrap() as i64
    }

    async fn load_script(&self, url: &DatabaseUrl, script: &Path) -> bool {
        let script = std::fs::File::open(script).unwrap();
        let shell = Command::new("sqlite3").arg("-bail").arg(&url.path).stdin(script).output();
        let Ok(output) = shell else { return false };
        assert!(output.status.success(), "sqlite3: {}", String::from_utf8_lossy(&output.stderr));
        true
    }

    async fn table(&self, url: &DatabaseUrl, table: Table<'_>) {
        let [id, amount, note] = table.columns.map(|column| self.quoted(column));
        let key = if table.keyed { " PRIMARY KEY" } else { "" };
        let name = self.quoted(table.name);
        // A key of this type is the rowid itself, by which large tables are split.
        let create = format!("CREATE TABLE {name} ({id} INTEGER{key}, {amount} INTEGER, {note} TEXT)");
        self.run(url, &[create]).await;
    }
}

backup_testkit::engine_conformance!(Sqlite::new());
