//! The file of a fake database.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use backup_core::{During, Error, ErrorKind, Result};
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use crate::engine::Row;

/// A fake database: a file whose first line is what the database once was, and each further line a transaction.
///
/// Forgetting log makes a later state the first line. Any number of threads and processes can use it: they take turns by a lock on its directory.
#[derive(Debug, Clone)]
pub struct FakeDatabase {
    path: PathBuf,
}

/// The tables of a database by name.
pub type Tables = BTreeMap<String, Table>;

/// A table. Rows may occur twice.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "they say it all")]
pub struct Table {
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
}

/// One change of a transaction. Making one twice is not the same as making it once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// Makes a table, by name, with these columns.
    Table(String, Vec<String>),
    /// Adds a row.
    Insert(String, Row),
    /// Adds so much to the amount of the rows that have this id.
    Add(String, i64, i64),
    /// Removes the rows that have this id.
    Delete(String, i64),
}

/// A transaction as it stands in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transaction {
    /// Its number, which is the position behind it.
    pub n: u64,
    /// When it committed.
    pub time: DateTime<Utc>,
    /// What it did.
    pub changes: Vec<Change>,
}

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Base {
    /// Names the log.
    log: String,
    /// The last transaction that is forgotten.
    n: u64,
    /// The clock there.
    time: DateTime<Utc>,
    /// Whether the clock is told by commits, and stands still between them.
    told: bool,
    tables: Tables,
}

/// A database as it was when it was read.
#[derive(Debug, Clone)]
pub(super) struct State {
    base: Base,
    pub(super) transactions: Vec<Transaction>,
    /// The clock when it was read.
    pub(super) time: DateTime<Utc>,
}

impl FakeDatabase {
    /// The database at `path`, whether there is one or not.
    pub fn at(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned() }
    }

    /// Makes an empty database with a log of its own, in the place of what may be there.
    pub fn create(&self) -> Result<()> {
        self.publish(Tables::new(), None)
    }

    /// The same, with a clock that stands at `time`, and from then on at the latest commit.
    pub fn create_at(&self, time: DateTime<Utc>) -> Result<()> {
        self.publish(Tables::new(), Some(time))
    }

    /// What people call it.
    pub(super) fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// The same place under another name.
    pub(super) fn renamed(&self, name: &str) -> Self {
        Self { path: self.path.with_file_name(format!("{name}.fake")) }
    }

    pub(super) fn exists(&self) -> bool {
        self.path.exists()
    }

    /// Commits a transaction now.
    pub fn commit(&self, changes: Vec<Change>) -> Result<()> {
        self.append(changes, None)
    }

    /// Commits a transaction at a time that may be any.
    pub fn commit_at(&self, changes: Vec<Change>, time: DateTime<Utc>) -> Result<()> {
        self.append(changes, Some(time))
    }

    fn append(&self, changes: Vec<Change>, time: Option<DateTime<Utc>>) -> Result<()> {
        self.turn(|| {
            let state = self.read()?;
            let time = time.unwrap_or(state.time);
            let mut tables = state.tables()?;
            apply(&mut tables, &changes)?;
            let mut line = json(&Transaction { n: state.last() + 1, time, changes })?;
            line.push('\n');
            let doing = || format!("write {}", self.path.display());
            let mut file = OpenOptions::new().append(true).open(&self.path).during(doing)?;
            file.write_all(line.as_bytes()).during(doing)
        })
    }

    /// The clock.
    pub fn clock(&self) -> Result<DateTime<Utc>> {
        Ok(self.read()?.time)
    }

    /// Forgets the log up to the `n`-th transaction, and never more than there is.
    pub fn forget(&self, n: u64) -> Result<()> {
        self.turn(|| {
            let mut state = self.read()?;
            let (gone, kept): (Vec<_>, Vec<_>) =
                state.transactions.into_iter().partition(|transaction| transaction.n <= n);
            for transaction in gone {
                apply(&mut state.base.tables, &transaction.changes)?;
                state.base.n = transaction.n;
                state.base.time = state.base.time.max(transaction.time);
            }
            self.write(&state.base, &kept)
        })
    }

    /// How many transactions there were, forgotten ones included.
    pub fn last(&self) -> Result<u64> {
        Ok(self.read()?.last())
    }

    /// How many of them are forgotten.
    pub fn forgotten(&self) -> Result<u64> {
        Ok(self.read()?.base.n)
    }

    /// The tables as they are.
    pub fn tables(&self) -> Result<Tables> {
        self.read()?.tables()
    }

    /// Puts a database with a log of its own in the place of what may be there, in one step.
    pub(super) fn publish(&self, tables: Tables, told: Option<DateTime<Utc>>) -> Result<()> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let log = format!("{:x}-{}-{made}", Utc::now().timestamp_micros(), std::process::id());
        let base = Base { log, n: 0, time: told.unwrap_or_else(now), told: told.is_some(), tables };
        self.turn(|| self.write(&base, &[]))
    }

    pub(super) fn read(&self) -> Result<State> {
        let doing = || format!("open {}", self.path.display());
        let mut time = now();
        let text = std::fs::read_to_string(&self.path).during(doing)?;
        // A line without its end is a transaction that never committed.
        let mut lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let base = lines.next().ok_or_else(|| Error::new(ErrorKind::Database, "the file is empty"));
        let base: Base = parse(base.during(doing)?).during(doing)?;
        let transactions: Vec<Transaction> = lines.map(parse).collect::<Result<_>>().during(doing)?;
        if base.told {
            let times = transactions.iter().map(|transaction| transaction.time);
            time = times.max().map_or(base.time, |latest| latest.max(base.time));
        }
        Ok(State { base, transactions, time })
    }

    fn write(&self, base: &Base, transactions: &[Transaction]) -> Result<()> {
        let mut text = json(base)? + "\n";
        for transaction in transactions {
            text += &json(transaction)?;
            text.push('\n');
        }
        let doing = || format!("write {}", self.path.display());
        let next = self.path.with_extension(format!("new-{}", std::process::id()));
        std::fs::write(&next, text).during(doing)?;
        std::fs::rename(next, &self.path).during(doing)
    }

    /// Takes a turn with all others that use this directory. The lock ends with the process, however that ends.
    fn turn<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let doing = || format!("lock the directory of {}", self.path.display());
        let directory = File::open(directory.unwrap_or(Path::new("."))).during(doing)?;
        rustix::fs::flock(&directory, rustix::fs::FlockOperation::LockExclusive)
            .map_err(std::io::Error::from)
            .during(doing)?;
        work()
    }
}

impl State {
    pub(super) fn log(&self) -> &str {
        &self.base.log
    }

    pub(super) fn forgotten(&self) -> u64 {
        self.base.n
    }

    pub(super) fn last(&self) -> u64 {
        self.transactions.last().map_or(self.base.n, |transaction| transaction.n)
    }

    pub(super) fn tables(&self) -> Result<Tables> {
        let mut tables = self.base.tables.clone();
        for transaction in &self.transactions {
            apply(&mut tables, &transaction.changes)?;
        }
        Ok(tables)
    }
}

/// Makes changes in order.
pub(super) fn apply(tables: &mut Tables, changes: &[Change]) -> Result<()> {
    for change in changes {
        let name = match change {
            Change::Table(name, _)
            | Change::Insert(name, _)
            | Change::Add(name, ..)
            | Change::Delete(name, _) => name,
        };
        if let Change::Table(_, columns) = change {
            if tables.contains_key(name) {
                return Err(Error::new(ErrorKind::Database, format!("there is a table {name:?} already")));
            }
            tables.insert(name.clone(), Table { columns: columns.clone(), rows: Vec::new() });
            continue;
        }
        let table = tables
            .get_mut(name)
            .ok_or_else(|| Error::new(ErrorKind::Database, format!("there is no table {name:?}")))?;
        match change {
            Change::Table(..) => {}
            Change::Insert(_, row) => table.rows.push(row.clone()),
            Change::Add(_, id, amount) => {
                table.rows.iter_mut().filter(|row| row.0 == *id).for_each(|row| row.1 += amount);
            }
            Change::Delete(_, id) => table.rows.retain(|row| row.0 != *id),
        }
    }
    Ok(())
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(3)
}

pub(super) fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| Error::internal("not JSON").because(error))
}

pub(super) fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        Error::new(ErrorKind::Database, format!("not of a fake database: {error}")).because(error)
    })
}
