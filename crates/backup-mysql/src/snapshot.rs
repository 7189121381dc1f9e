//! One snapshot for all readers, by the lightest lock that the server and the account's privileges allow.

use backup_core::{Ctx, Error, ErrorKind, Result};

use crate::catalog::Reading;
use crate::config::Config;
use crate::connect::Connection;
use crate::ddl::quote::{identifier, text};
use crate::error::code;

/// How long to wait for a lock, in seconds, before the backup gives up: behind us every writer waits too.
const LOCK_WAIT: u32 = 60;
/// How often several snapshots are taken in the hope that nobody commits between them.
const TRIES: usize = 10;
const SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// Connections that see the same moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) readers: Vec<Connection>,
    /// Keeps tables locked that have no snapshots.
    pub(crate) holder: Option<Connection>,
}

/// The name of the database as the server has it.
pub(crate) async fn enter(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<String> {
    connection.execute(ctx, &format!("USE {}", identifier(database))).await?;
    Reading::new(connection.row(ctx, "SELECT DATABASE()").await?).text()
}

impl Snapshot {
    pub(crate) async fn take(ctx: &Ctx, config: &Config, jobs: usize) -> Result<Self> {
        let mut control = Connection::open(ctx, config, false).await?;
        let database = enter(ctx, &mut control, &config.database).await?;
        let mut readers = Vec::new();
        for _ in 0..jobs {
            let mut reader = Connection::open(ctx, config, false).await?;
            enter(ctx, &mut reader, &config.database).await?;
            reader.execute(ctx, "SET SESSION sql_mode = ''").await?;
            reader.execute(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
            readers.push(reader);
        }
        let wait = format!("SET SESSION lock_wait_timeout = {LOCK_WAIT}");
        control.execute(ctx, &wait).await?;
        let unsafe_tables = without_snapshots(ctx, &mut control, &database).await?;
        let mut taking = Taking { ctx, config, database, control, readers, unsafe_tables, holder: None };
        taking.hold().await?;
        let mut why = String::new();
        if taking.stages(&mut why).await?
            || taking.global_lock(&mut why).await?
            || taking.table_locks(&mut why).await?
        {
            return taking.done().await;
        }
        taking.without_lock(&why).await?;
        taking.done().await
    }
}

struct Taking<'a> {
    ctx: &'a Ctx,
    config: &'a Config,
    database: String,
    control: Connection,
    readers: Vec<Connection>,
    /// Tables whose rows are read as they are at that moment.
    unsafe_tables: Vec<String>,
    holder: Option<Connection>,
}

impl Taking<'_> {
    /// MariaDB's own lock for backups: commits wait for a moment, and nothing else does.
    async fn stages(&mut self, why: &mut String) -> Result<bool> {
        if !self.control.version.is_mariadb || self.control.version.number < (10, 4, 1) {
            return Ok(false);
        }
        if !self.allowed("BACKUP STAGE START", why).await? {
            return Ok(false);
        }
        self.lock("BACKUP STAGE BLOCK_COMMIT").await?;
        self.begin_all().await?;
        self.control.execute(self.ctx, "BACKUP STAGE END").await?;
        Ok(true)
    }

    /// Everything is read-only for a moment. On MySQL DDL is kept away until the end.
    async fn global_lock(&mut self, why: &mut String) -> Result<bool> {
        if !self.control.version.is_mariadb {
            self.allowed("LOCK INSTANCE FOR BACKUP", why).await?;
        }
        if !self.allowed("FLUSH TABLES WITH READ LOCK", why).await? {
            return Ok(false);
        }
        self.begin_all().await?;
        self.control.execute(self.ctx, "UNLOCK TABLES").await?;
        Ok(true)
    }

    /// The tables of this database are read-only for a moment.
    async fn table_locks(&mut self, why: &mut String) -> Result<bool> {
        let of = text(&self.database);
        let sql = format!(
            "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {of} \
             AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND ENGINE IS NOT NULL"
        );
        let tables = names(self.control.rows(self.ctx, &sql).await?)?;
        if !tables.is_empty() && !self.allowed(&lock_tables(&tables), why).await? {
            return Ok(false);
        }
        self.begin_all().await?;
        self.control.execute(self.ctx, "UNLOCK TABLES").await?;
        self.ctx.warn(format!(
            "the tables were locked for a moment to begin the backup, since no lighter lock is allowed: {why}"
        ));
        Ok(true)
    }

    /// Snapshots without a lock: several if the server proves that nobody committed between them, or else one.
    async fn without_lock(&mut self, why: &str) -> Result<()> {
        let log = "SHOW STATUS LIKE 'binlog_snapshot_%'";
        for _ in 0..TRIES {
            if self.readers.len() < 2 || !self.control.version.is_mariadb {
                break;
            }
            let mut places = Vec::new();
            for reader in &mut self.readers {
                reader.execute(self.ctx, SNAPSHOT).await?;
                places.push(reader.rows(self.ctx, log).await?);
            }
            let is_known = places
                .iter()
                .flatten()
                .any(|row| row.get(1).is_some_and(|value| value.as_ref().is_some_and(|v| !v.is_empty())));
            if is_known && places.windows(2).all(|pair| pair.first() == pair.get(1)) {
                return Ok(());
            }
            for reader in &mut self.readers {
                reader.execute(self.ctx, "ROLLBACK").await?;
            }
            if !is_known {
                break;
            }
        }
        if self.readers.len() > 1 {
            self.ctx.warn(format!("one connection reads everything, since no lock is allowed that several could share a snapshot by: {why}"));
        }
        for unused in self.readers.drain(1..) {
            unused.close().await;
        }
        for reader in &mut self.readers {
            reader.execute(self.ctx, SNAPSHOT).await?;
        }
        Ok(())
    }

    /// Begins the transactions of all readers, while nobody can commit.
    async fn begin_all(&mut self) -> Result<()> {
        for reader in &mut self.readers {
            reader.execute(self.ctx, SNAPSHOT).await?;
        }
        Ok(())
    }

    /// Locks what has no snapshots until the backup ends. Before all else: writers of these tables would keep the lighter locks waiting.
    async fn hold(&mut self) -> Result<()> {
        if self.unsafe_tables.is_empty() {
            return Ok(());
        }
        let mut holder = Connection::open(self.ctx, self.config, false).await?;
        enter(self.ctx, &mut holder, &self.database).await?;
        holder.execute(self.ctx, &format!("SET SESSION lock_wait_timeout = {LOCK_WAIT}")).await?;
        match lock(self.ctx, &mut holder, &lock_tables(&self.unsafe_tables)).await {
            Ok(()) => {
                self.ctx.warn(format!(
                    "writers of {} have to wait until the backup ends: the engine has no snapshots",
                    listed(&self.unsafe_tables)
                ));
                self.holder = Some(holder);
            }
            Err(error) if is_denied(&error) => {
                holder.close().await;
                self.warn_of_unsafe(&error.message());
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn warn_of_unsafe(&self, why: &str) {
        self.ctx.warn(format!(
            "the rows of {} are not of one moment: the engine has no snapshots, and no lock is allowed: {why}",
            listed(&self.unsafe_tables)
        ));
    }

    /// Takes a lock; false if the account or the server does not have it.
    async fn allowed(&mut self, lock: &str, why: &mut String) -> Result<bool> {
        match self.lock(lock).await {
            Ok(()) => Ok(true),
            Err(error) if is_denied(&error) => {
                if !why.is_empty() {
                    why.push_str("; ");
                }
                why.push_str(&error.message());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn lock(&mut self, sql: &str) -> Result<()> {
        lock(self.ctx, &mut self.control, sql).await
    }

    async fn done(self) -> Result<Snapshot> {
        let mut holder = self.holder;
        if self.control.version.is_mariadb {
            self.control.close().await;
        } else if holder.is_none() {
            // It may hold LOCK INSTANCE FOR BACKUP.
            holder = Some(self.control);
        }
        Ok(Snapshot { readers: self.readers, holder })
    }
}

async fn lock(ctx: &Ctx, connection: &mut Connection, sql: &str) -> Result<()> {
    connection.execute(ctx, sql).await.map(|_| ()).map_err(|error| match code(&error) {
        Some(1205) => Error::new(
            ErrorKind::Locked,
            format!("the snapshot cannot be had: something else has held its lock for {LOCK_WAIT} seconds"),
        )
        .hint("SHOW PROCESSLIST shows long statements and transactions; try again when they are done")
        .because(error),
        _ => error,
    })
}

/// No privilege, or no such statement on this server.
fn is_denied(error: &Error) -> bool {
    matches!(code(error), Some(1044 | 1045 | 1064 | 1142 | 1143 | 1227 | 1290 | 1370))
}

fn lock_tables(tables: &[String]) -> String {
    let tables: Vec<_> = tables.iter().map(|table| format!("{} READ", identifier(table))).collect();
    format!("LOCK TABLES {}", tables.join(", "))
}

/// For people.
fn listed(tables: &[String]) -> String {
    let shown: Vec<_> = tables.iter().take(5).map(|table| table.escape_debug().to_string()).collect();
    let more = tables.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

async fn without_snapshots(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<Vec<String>> {
    let of = text(database);
    let sql = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {of} AND ENGINE IS NOT NULL \
         AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') \
         AND ENGINE NOT IN ('InnoDB', 'ROCKSDB', 'TokuDB', 'BLACKHOLE', 'MRG_MyISAM') ORDER BY TABLE_NAME"
    );
    names(connection.rows(ctx, &sql).await?)
}

fn names(rows: Vec<crate::connect::Row>) -> Result<Vec<String>> {
    rows.into_iter().map(|row| Reading::new(row).text()).collect()
}
