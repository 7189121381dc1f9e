//! Fake databases as the suites use them.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use backup_core::{DatabaseUrl, EngineFactory, async_trait};
use backup_testkit::engine::{EngineFixture, Row, Table};
use backup_testkit::fake::{Change, FakeDatabase};
use backup_testkit::log::LogFixture;
use chrono::{DateTime, Utc};

/// Fake databases in a scratch directory, each in a directory of its own.
pub(crate) struct FakeFixture {
    factory: &'static EngineFactory,
    scratch: tempfile::TempDir,
    made: AtomicU32,
}

impl FakeFixture {
    /// Databases for the fake engine, or for one that speaks its language.
    pub(crate) fn of(factory: &'static EngineFactory) -> Self {
        Self { factory, scratch: tempfile::tempdir().unwrap(), made: AtomicU32::new(0) }
    }
}

fn path(url: &DatabaseUrl) -> PathBuf {
    PathBuf::from(&url.path)
}

fn database(url: &DatabaseUrl) -> FakeDatabase {
    FakeDatabase::at(path(url))
}

fn commit(url: &DatabaseUrl, changes: Vec<Change>) {
    database(url).commit(changes).unwrap();
}

#[async_trait]
impl EngineFixture for FakeFixture {
    fn factory(&self) -> &'static EngineFactory {
        self.factory
    }

    async fn empty(&self) -> DatabaseUrl {
        let directory = self.scratch.path().join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&directory).unwrap();
        let url = format!("fake:{}/shop.fake", directory.display()).parse().unwrap();
        database(&url).create().unwrap();
        url
    }

    fn renamed(&self, target: &DatabaseUrl, name: &str) -> DatabaseUrl {
        format!("fake:{}", path(target).with_file_name(format!("{name}.fake")).display()).parse().unwrap()
    }

    /// Statements are changes, as in its scripts.
    async fn run(&self, url: &DatabaseUrl, statements: &[String]) {
        commit(url, statements.iter().map(|statement| serde_json::from_str(statement).unwrap()).collect());
    }

    async fn dump(&self, url: &DatabaseUrl) -> String {
        let mut tables = database(url).tables().unwrap();
        tables.values_mut().for_each(|table| table.rows.sort());
        tables
            .iter()
            .map(|(name, table)| format!("{name:?} {:?}\n{:#?}\n", table.columns, table.rows))
            .collect()
    }

    async fn traces(&self, target: &DatabaseUrl) -> BTreeSet<String> {
        let mut traces: BTreeSet<_> = std::fs::read_dir(path(target).parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        // There is always a file, so what is in it counts.
        traces.insert(std::fs::read_to_string(path(target)).unwrap_or_default());
        traces
    }

    async fn everything(&self, url: &DatabaseUrl) {
        self.cycle(url).await;
        let rows =
            [(i64::MIN, i64::MAX, None), (0, 0, Some(String::new())), (1, -1, Some("\0\u{10ffff}\n".into()))];
        self.insert(url, "chick", &rows).await;
    }

    async fn cycle(&self, url: &DatabaseUrl) {
        for name in ["hen", "egg", "chick"] {
            self.table(url, Table::keyed(name)).await;
            self.insert(url, name, &(0..100).map(|id| (id, 99 - id, None)).collect::<Vec<_>>()).await;
        }
    }

    async fn total(&self, url: &DatabaseUrl, table: &str) -> i64 {
        database(url).tables().unwrap()[table].rows.iter().map(|row| row.1).sum()
    }

    async fn transfer(&self, url: &DatabaseUrl, from: (&str, i64), to: (&str, i64), amount: i64) -> bool {
        let add = |(table, id): (&str, i64), amount| Change::Add(table.to_owned(), id, amount);
        commit(url, vec![add(from, -amount), add(to, amount)]);
        true
    }

    async fn table(&self, url: &DatabaseUrl, table: Table<'_>) {
        let columns = table.columns.iter().map(|column| (*column).to_owned()).collect();
        commit(url, vec![Change::Table(table.name.to_owned(), columns)]);
    }

    async fn insert(&self, url: &DatabaseUrl, table: &str, rows: &[Row]) {
        commit(url, rows.iter().map(|row| Change::Insert(table.to_owned(), row.clone())).collect());
    }
}

#[async_trait]
impl LogFixture for FakeFixture {
    async fn clock(&self, url: &DatabaseUrl) -> DateTime<Utc> {
        database(url).clock().unwrap()
    }

    async fn forget(&self, url: &DatabaseUrl) -> bool {
        database(url).forget(u64::MAX).unwrap();
        true
    }

    async fn insert_at(&self, url: &DatabaseUrl, table: &str, id: i64, time: DateTime<Utc>) -> bool {
        database(url).commit_at(vec![Change::Insert(table.to_owned(), (id, 0, None))], time).unwrap();
        true
    }
}
