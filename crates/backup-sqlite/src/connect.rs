//! Opening databases, and the snapshot that several readers share.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backup_core::{Ctx, Error, ErrorKind, Result};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::error::Doing;
use crate::rows::page::Layout;

/// The longest that taking the snapshot waits for a writer.
const GATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens an existing file. SQLite falls back to reading where it may not write; asking to write lets it recover
/// a journal that a crash left behind, as any other program would.
pub(crate) fn open(path: &Path, busy_timeout: Duration) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let doing = || format!("open {}", path.display());
    if let Err(error) = std::fs::metadata(path) {
        return Err(Error::io(doing(), error));
    }
    let connection = Connection::open_with_flags(path, flags).doing(doing)?;
    connection.busy_timeout(busy_timeout).doing(doing)?;
    // Text in a schema is data here: it must not call functions that reach outside the database.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false).doing(doing)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false).doing(doing)?;
    Ok(connection)
}

/// Opens a database that is only read, and makes sure that it is one.
pub(crate) fn open_reader(config: &Config) -> Result<Connection> {
    let connection = open(&config.path, config.busy_timeout)?;
    // With writable_schema, SQLite reads as much of a malformed schema as it can. Each connection keeps
    // little in memory: rows are read once.
    connection
        .execute_batch(
            "PRAGMA query_only=ON; PRAGMA writable_schema=ON; PRAGMA cache_size=-4096; PRAGMA mmap_size=0;",
        )
        .and_then(|()| connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(())))
        .doing(|| format!("read {}", config.path.display()))?;
    Ok(connection)
}

/// How the database keeps its journal: `wal`, `delete` and so on.
pub(crate) fn journal_mode(connection: &Connection) -> Result<String> {
    connection.query_row("PRAGMA main.journal_mode", (), |row| row.get(0)).doing(|| "read the journal mode")
}

/// Connections that all read the database as it was at one moment.
#[derive(Debug)]
pub(crate) struct Readers {
    layout: Option<Layout>,
    count: usize,
    idle: Mutex<Vec<Connection>>,
    free: Arc<Semaphore>,
}

impl Readers {
    /// Opens up to `count` connections and starts a read transaction on each while nobody can write. Where that cannot
    /// be had there is a single reader.
    pub(crate) fn open(ctx: &Ctx, config: &Config, count: usize) -> Result<Self> {
        let mut readers = vec![open_reader(config)?];
        let gate = if count > 1 { Gate::close(config)? } else { None };
        if gate.is_some() {
            for _ in 1..count {
                ctx.check()?;
                readers.push(open_reader(config)?);
            }
        }
        for reader in &readers {
            begin(reader)?;
        }
        drop(gate);
        let layout = readers.first().and_then(Layout::of);
        let count = readers.len();
        Ok(Self { layout, count, free: Arc::new(Semaphore::new(count)), idle: Mutex::new(readers) })
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// What reading pages of the snapshot takes, where that can be done.
    pub(crate) fn layout(&self) -> Option<&Layout> {
        self.layout.as_ref()
    }

    /// Waits until a connection is free. What is returned is kept while [`Readers::lend`] is called.
    pub(crate) async fn wait(&self, ctx: &Ctx) -> Result<tokio::sync::OwnedSemaphorePermit> {
        let free = Arc::clone(&self.free);
        ctx.run(async { free.acquire_owned().await.map_err(|_| Error::internal("the readers are closed")) })
            .await
    }

    /// Lends a connection to `work`.
    pub(crate) fn lend<T>(&self, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let connection =
            idle().pop().ok_or_else(|| Error::internal("a reader was lent without waiting for it"))?;
        let result = work(&connection);
        idle().push(connection);
        result
    }
}

fn begin(reader: &Connection) -> Result<()> {
    // BEGIN alone starts nothing: the first read does.
    reader
        .execute_batch("BEGIN")
        .and_then(|()| reader.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(())))
        .doing(|| "begin the snapshot")
}

/// Holds the write lock, and writes nothing. Dropping it lets writers on.
struct Gate(#[expect(dead_code, reason = "held, not used")] Connection);

impl Gate {
    /// `None` if the file cannot be written, or somebody writes for too long.
    fn close(config: &Config) -> Result<Option<Self>> {
        let connection = open(&config.path, config.busy_timeout.min(GATE_TIMEOUT))?;
        match connection.execute_batch("BEGIN IMMEDIATE").doing(|| "hold writers back") {
            Ok(()) => Ok(Some(Self(connection))),
            Err(error) if matches!(error.kind(), ErrorKind::Locked | ErrorKind::PermissionDenied) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shop(directory: &Path) -> (Config, Connection) {
        let path = directory.join("shop.db");
        let writer = Connection::open(&path).unwrap();
        writer.execute_batch("PRAGMA journal_mode=WAL; CREATE TABLE t(a); INSERT INTO t VALUES(1)").unwrap();
        (Config { path, busy_timeout: Duration::from_millis(100) }, writer)
    }

    fn count(reader: &Connection) -> Result<i64> {
        reader.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).doing(|| "count")
    }

    #[test]
    fn readers_share_one_snapshot_while_writers_go_on() {
        let directory = tempfile::tempdir().unwrap();
        let (config, writer) = shop(directory.path());
        let readers = Readers::open(&Ctx::new(), &config, 3).unwrap();
        writer.execute_batch("INSERT INTO t VALUES(2)").unwrap();
        let connections = readers.idle.lock().unwrap();
        assert_eq!(connections.len(), 3);
        assert!(connections.iter().all(|reader| count(reader).unwrap() == 1));
    }

    #[test]
    fn a_writer_that_does_not_end_leaves_one_reader() {
        let directory = tempfile::tempdir().unwrap();
        let (config, writer) = shop(directory.path());
        writer.execute_batch("BEGIN IMMEDIATE").unwrap();
        let readers = Readers::open(&Ctx::new(), &config, 3).unwrap();
        assert_eq!(readers.idle.lock().unwrap().len(), 1);
        assert_eq!(readers.lend(count).unwrap(), 1);
    }

    #[test]
    fn what_is_no_database_is_called_damaged_and_what_is_missing_not_found() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.db");
        let config = Config { path: path.clone(), busy_timeout: Duration::ZERO };
        assert_eq!(open_reader(&config).unwrap_err().kind(), ErrorKind::NotFound);
        std::fs::write(&path, vec![b'x'; 5000]).unwrap();
        assert_eq!(open_reader(&config).unwrap_err().kind(), ErrorKind::Damaged);
    }
}
