//! One snapshot for all readers, by the lightest lock that the server and the account's privileges allow.

use std::collections::BTreeSet;
use std::time::Duration;

use backup_core::{Ctx, Error, ErrorKind, LogPoint, Result};

use crate::catalog::Reading;
use crate::catalog::objects::is_unfit;
use crate::config::Config;
use crate::connect::{Connection, PATIENT, Row};
use crate::ddl::quote::{identifier, text};
use crate::ddl::{READING, SUBTRACTING};
use crate::error::code;
use crate::witness::{Tables, Witness};
use crate::{keep, log};

/// How long to wait for a lock, in seconds, before the backup gives up: behind us every writer waits too.
const LOCK_WAIT: u32 = 60;
/// How long the server waits for a word of who holds such a lock, in seconds, before it ends his session: he may be gone, and the network with him.
const SILENCE: u32 = LOCK_WAIT + 30;
/// How long to wait for a lock that stops every writer of the server, in seconds, and how long to let them go on before it is tried again.
const SHORT_WAIT: u32 = 5;
const PAUSE: Duration = Duration::from_secs(2);
/// How long to wait for somebody's ALTER TABLE and the like, in seconds: for one that is at work, and for one that itself waits for those who
/// keep the table.
const READ_WAIT: u32 = 60;
const KEPT_WAIT: u32 = 3;
/// How often several snapshots are taken in the hope that nobody commits between them, and how long to wait in between.
const TRIES: usize = 100;
const BETWEEN: Duration = Duration::from_millis(10);
/// Not READ ONLY: there the server does not even print a view that calls a function which writes.
const SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT";
/// What a reader goes back to, to let go of the tables that it has read.
const SAVEPOINT: &str = "SAVEPOINT lifeboat";
pub(crate) const LET_GO: &str = "ROLLBACK TO SAVEPOINT lifeboat";

pub(crate) type Selects<'a> = &'a (dyn Fn(&str) -> bool + Sync);

/// Connections that see the same moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// None where one connection has to do everything.
    pub(crate) readers: Vec<Connection>,
    /// Those who keep tables from being altered: at least one.
    pub(crate) keepers: Vec<Connection>,
    pub(crate) holder: Option<Holder>,
    /// Keeps DDL away.
    pub(crate) keeper: Option<Connection>,
    /// Its exact place in the binary log, if there is one and it can be known.
    pub(crate) place: Option<LogPoint>,
    /// The server that all of them are with.
    pub(crate) witness: Witness,
    /// The tables at that moment, unless nobody can alter any until the backup ends.
    pub(crate) tables: Option<Tables>,
    /// Those whose rows are read as they are just then: locked, or said not to be of one moment.
    pub(crate) loose: BTreeSet<String>,
    /// All of them compute as in the mode NO_UNSIGNED_SUBTRACTION.
    pub(crate) subtracts: bool,
}

/// Keeps tables locked that have no snapshots, and is the one that reads them: where somebody flushes tables meanwhile, any other would
/// wait for its lock to go.
#[derive(Debug)]
pub(crate) struct Holder {
    pub(crate) connection: Connection,
    pub(crate) tables: BTreeSet<String>,
}

/// The name of the database as the server has it.
pub(crate) async fn enter(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<String> {
    connection.execute(ctx, &format!("USE {}", identifier(database))).await?;
    Reading::new(connection.row(ctx, "SELECT DATABASE()").await?).text()
}

impl Snapshot {
    /// `selects` says which tables are read, and so have to be locked; `subtracts` that some are opened in the mode NO_UNSIGNED_SUBTRACTION alone.
    pub(crate) async fn take(
        ctx: &Ctx,
        config: &Config,
        jobs: usize,
        selects: Selects<'_>,
        subtracts: bool,
    ) -> Result<Self> {
        let mut control = Connection::open(ctx, config, false).await?;
        let database = enter(ctx, &mut control, &config.database).await?;
        if subtracts {
            control.execute(ctx, SUBTRACTING).await?;
        }
        let tables = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()";
        let tables = Reading::new(control.row(ctx, tables).await?).number()?;
        let witness = Witness::of(ctx, &mut control).await?;
        let mut readers = Vec::new();
        for _ in 0..jobs + keep::count(tables) {
            let mut reader = reader(ctx, config, subtracts).await?;
            witness.check(ctx, config, &mut reader).await?;
            reader.execute(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
            // A server with a binary log lets go of tables only if nothing can be written to it.
            match reader.execute(ctx, "SET SESSION sql_log_bin = 0").await {
                Err(error) if is_denied(&error) => {}
                done => {
                    done?;
                }
            }
            readers.push(reader);
        }
        let wait = format!("SET SESSION lock_wait_timeout = {LOCK_WAIT}, wait_timeout = {SILENCE}");
        control.execute(ctx, &wait).await?;
        let unsafe_tables = without_snapshots(ctx, &mut control, &database, selects).await?;
        let mut taking = Taking {
            ctx,
            config,
            database,
            selects,
            control,
            jobs,
            readers,
            loose: unsafe_tables.iter().cloned().collect(),
            unsafe_tables,
            holder: None,
            witness,
            tables: None,
            subtracts,
            is_one_moment: true,
            place: None,
            before: None,
            why: String::new(),
        };
        if !(taking.stages().await? || taking.global_lock().await? || taking.table_locks().await?) {
            taking.without_lock().await?;
        }
        taking.done().await
    }
}

struct Taking<'a> {
    ctx: &'a Ctx,
    config: &'a Config,
    database: String,
    selects: Selects<'a>,
    control: Connection,
    /// How many are to read at once; none if the one who keeps the tables has to.
    jobs: usize,
    /// As many as there are jobs, and behind them those who keep tables.
    readers: Vec<Connection>,
    /// Tables whose rows are read as they are at that moment.
    unsafe_tables: Vec<String>,
    loose: BTreeSet<String>,
    holder: Option<Holder>,
    witness: Witness,
    tables: Option<Tables>,
    subtracts: bool,
    /// No table is read as it is at another moment.
    is_one_moment: bool,
    place: Option<LogPoint>,
    /// How often transactions of XA had been ended before the snapshot, and how many were prepared: where others commit meanwhile.
    before: Option<(Vec<Row>, Option<usize>)>,
    /// Which locks could not be had, and why.
    why: String,
}

impl Taking<'_> {
    /// MariaDB's own lock for backups: commits wait for a moment, and nothing else does.
    async fn stages(&mut self) -> Result<bool> {
        if !self.control.version.is_mariadb || self.control.version.number < (10, 4, 1) {
            return Ok(false);
        }
        if !self.allowed("BACKUP STAGE START").await? {
            return Ok(false);
        }
        // Here writers of tables that have no snapshots have ended, and none begins: one that waited for us to let go of a table would keep
        // this lock waiting.
        self.lock("BACKUP STAGE BLOCK_DDL").await?;
        self.list().await?;
        self.hold().await?;
        self.lock("BACKUP STAGE BLOCK_COMMIT").await?;
        self.begin_all().await?;
        self.note_place(true).await?;
        self.control.execute(self.ctx, "BACKUP STAGE END").await?;
        self.ctx.note("the snapshot was taken under BACKUP STAGE BLOCK_COMMIT");
        Ok(true)
    }

    /// Everything is read-only for a moment. On MySQL DDL is kept away until the end: by a lock that is taken under the other, since a
    /// statement that waited for it would be in the way of that one, and end in a deadlock.
    async fn global_lock(&mut self) -> Result<bool> {
        if !self.allowed_soon("FLUSH TABLES WITH READ LOCK").await? {
            return Ok(false);
        }
        let keeps_ddl_away =
            !self.control.version.is_mariadb && self.allowed("LOCK INSTANCE FOR BACKUP").await?;
        // Not before: it waits for whoever has locked a table.
        self.hold().await?;
        self.begin_all().await?;
        if !keeps_ddl_away {
            self.list().await?;
        }
        self.note_place(true).await?;
        self.control.execute(self.ctx, "UNLOCK TABLES").await?;
        self.ctx.note(if keeps_ddl_away {
            "the snapshot was taken under FLUSH TABLES WITH READ LOCK; LOCK INSTANCE FOR BACKUP keeps DDL waiting until the backup ends"
        } else {
            "the snapshot was taken under FLUSH TABLES WITH READ LOCK"
        });
        Ok(true)
    }

    /// The tables of this database are read-only for a moment.
    async fn table_locks(&mut self) -> Result<bool> {
        self.hold().await?;
        let of = text(&self.database);
        let sql = format!(
            "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {of} \
             AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND ENGINE IS NOT NULL"
        );
        // A second lock of a table, or a look at it, would wait behind who waits for the first to go.
        let held = self.holder.as_ref().map(|holder| &holder.tables);
        let selects = |name: &str| (self.selects)(name) && !held.is_some_and(|held| held.contains(name));
        let tables = lockable(self.ctx, &mut self.control, &self.database, &sql, &selects).await?;
        if !tables.is_empty() && !self.allowed(&lock_tables(&tables)).await? {
            return Ok(false);
        }
        self.list().await?;
        self.look_at_prepared().await?;
        self.begin_all().await?;
        self.note_place(false).await?;
        self.control.execute(self.ctx, "UNLOCK TABLES").await?;
        self.ctx.warn(format!(
            "the tables were locked for a moment to begin the backup, since no lighter lock is allowed: {}",
            self.why
        ));
        Ok(true)
    }

    /// Snapshots without a lock: several if the server proves that nobody committed between them, or else one.
    async fn without_lock(&mut self) -> Result<()> {
        self.list().await?;
        for _ in 0..TRIES {
            if !self.control.version.is_mariadb {
                break;
            }
            // Not all that is committed is in the log: what a replica applies may not be, nor what filters leave out.
            let before = self.commits().await?;
            self.look_at_prepared().await?;
            self.begin_all().await?;
            let places = log::of_readers(self.ctx, &mut self.readers).await?;
            if places.are_one() && self.commits().await? == before {
                self.note_place(false).await?;
                self.ctx.note(
                    "no lock is allowed: the places in the binary log prove that all snapshots are one",
                );
                return Ok(());
            }
            for reader in &mut self.readers {
                reader.execute(self.ctx, "ROLLBACK").await?;
            }
            if places.are_unknown() {
                break;
            }
            self.ctx.sleep(BETWEEN).await?;
        }
        if self.jobs > 1 {
            self.ctx.warn(format!("one connection reads everything, since no lock is allowed that several could share a snapshot by: {}", self.why));
        }
        self.jobs = 0;
        for unused in self.readers.drain(1..) {
            unused.close().await;
        }
        self.look_at_prepared().await?;
        self.begin_all().await?;
        self.note_place(false).await
    }

    /// How often anybody has committed anything on the server.
    async fn commits(&mut self) -> Result<String> {
        let row = self.control.row(self.ctx, "SHOW GLOBAL STATUS LIKE 'Handler_commit'").await?;
        let mut row = Reading::new(row);
        row.text()?;
        row.text()
    }

    /// Notes which tables there are.
    async fn list(&mut self) -> Result<()> {
        self.tables = Some(Tables::now(self.ctx, &mut self.control, &self.database).await?);
        Ok(())
    }

    /// Notes what has to be known of transactions of XA before a snapshot that is taken while others commit.
    async fn look_at_prepared(&mut self) -> Result<()> {
        let ended = log::ended(self.ctx, &mut self.control).await?;
        self.before = Some((ended, log::prepared(self.ctx, &mut self.control).await?));
        Ok(())
    }

    /// The place is that of the snapshot only if no transaction was prepared before it and committed later, or has yet to be: its rows are in the
    /// log before the place, and not in the snapshot.
    async fn check_prepared(&mut self) -> Result<()> {
        let now = log::prepared(self.ctx, &mut self.control).await?;
        let (before, has_moved) = match self.before.take() {
            // Nobody commits.
            None => (Some(0), false),
            Some((ended, before)) => (before, log::ended(self.ctx, &mut self.control).await? != ended),
        };
        let why = match (before, now) {
            (Some(0), Some(0)) if !has_moved => return Ok(()),
            (Some(_), Some(_)) => {
                "some transaction of XA was prepared, so its rows are in the log before that, and not in the backup: commit or roll back those that XA RECOVER shows"
            }
            _ => {
                self.place = None;
                self.ctx.note("the place in the binary log is not known: the account may not ask for transactions that are prepared (XA_RECOVER_ADMIN)");
                return Ok(());
            }
        };
        self.place = None;
        self.ctx.warn(format!("the place in the binary log is not known: {why}"));
        Ok(())
    }

    /// Finds out where in the binary log the snapshot is: what its transactions know of it themselves on MariaDB; on MySQL what the
    /// server says while nobody can commit. Rows of another moment have no place.
    async fn note_place(&mut self, nobody_commits: bool) -> Result<()> {
        if !self.is_one_moment {
            return Ok(());
        }
        self.place = if self.control.version.is_mariadb {
            let places = log::of_readers(self.ctx, &mut self.readers).await?;
            log::of_mariadb(self.ctx, &mut self.control, &places).await?
        } else if nobody_commits {
            log::of_mysql(self.ctx, &mut self.control).await?
        } else {
            None
        };
        if self.place.is_some() { self.check_prepared().await } else { Ok(()) }
    }

    /// Begins the transactions of all readers, while nobody can commit.
    async fn begin_all(&mut self) -> Result<()> {
        for reader in &mut self.readers {
            reader.execute(self.ctx, SNAPSHOT).await?;
            reader.execute(self.ctx, SAVEPOINT).await?;
        }
        Ok(())
    }

    /// Locks what has no snapshots until the backup ends. It is done, or said to be impossible, once.
    async fn hold(&mut self) -> Result<()> {
        let unsafe_tables = std::mem::take(&mut self.unsafe_tables);
        if unsafe_tables.is_empty() {
            return Ok(());
        }
        let mut holder = reader(self.ctx, self.config, self.subtracts).await?;
        self.witness.check(self.ctx, self.config, &mut holder).await?;
        holder.execute(self.ctx, &format!("SET SESSION lock_wait_timeout = {LOCK_WAIT}")).await?;
        match lock(self.ctx, &mut holder, &lock_tables(&unsafe_tables)).await {
            Ok(()) => {
                self.ctx.warn(format!(
                    "writers of {} have to wait until the backup ends: the engine has no snapshots",
                    listed(&unsafe_tables)
                ));
                self.holder =
                    Some(Holder { connection: holder, tables: unsafe_tables.into_iter().collect() });
            }
            Err(error) if is_denied(&error) => {
                holder.close().await;
                self.is_one_moment = false;
                self.ctx.warn(format!(
                    "the rows of {} are not of one moment: the engine has no snapshots, and no lock is allowed: {}",
                    listed(&unsafe_tables), error.message()
                ));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Takes a lock; false if the account or the server does not have it.
    async fn allowed(&mut self, lock: &str) -> Result<bool> {
        match self.lock(lock).await {
            Ok(()) => Ok(true),
            Err(error) if is_denied(&error) => {
                if !self.why.is_empty() {
                    self.why.push_str("; ");
                }
                self.why.push_str(&error.message());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// The same for a lock behind which all writers wait: for a while, and again after another.
    async fn allowed_soon(&mut self, lock: &str) -> Result<bool> {
        let wait = |seconds: u32| format!("SET SESSION lock_wait_timeout = {seconds}");
        self.control.execute(self.ctx, &wait(SHORT_WAIT)).await?;
        let mut left = LOCK_WAIT / SHORT_WAIT;
        let allowed = loop {
            left -= 1;
            match self.allowed(lock).await {
                Err(error) if error.kind() == ErrorKind::Locked && left > 0 => {
                    // Half of it is held even so.
                    self.control.execute(self.ctx, "UNLOCK TABLES").await?;
                    self.ctx.sleep(PAUSE).await?;
                }
                other => break other?,
            }
        };
        self.control.execute(self.ctx, &wait(LOCK_WAIT)).await?;
        Ok(allowed)
    }

    async fn lock(&mut self, sql: &str) -> Result<()> {
        lock(self.ctx, &mut self.control, sql).await
    }

    async fn done(self) -> Result<Snapshot> {
        let Self {
            ctx,
            jobs,
            mut readers,
            holder,
            mut control,
            place,
            witness,
            tables,
            loose,
            subtracts,
            ..
        } = self;
        let keepers = readers.split_off(jobs);
        for reader in &mut readers {
            reader.execute(ctx, &format!("SET SESSION lock_wait_timeout = {KEPT_WAIT}")).await?;
        }
        let keeper = if control.version.is_mariadb {
            control.close().await;
            None
        } else {
            control.execute(ctx, PATIENT).await?;
            Some(control)
        };
        Ok(Snapshot { readers, keepers, holder, keeper, place, witness, tables, loose, subtracts })
    }
}

/// A connection that reads what is backed up, where it `subtracts` in the mode NO_UNSIGNED_SUBTRACTION.
pub(crate) async fn reader(ctx: &Ctx, config: &Config, subtracts: bool) -> Result<Connection> {
    let mut reader = Connection::open(ctx, config, false).await?;
    enter(ctx, &mut reader, &config.database).await?;
    reader.execute(ctx, &format!("{READING}, lock_wait_timeout = {READ_WAIT}")).await?;
    if subtracts {
        reader.execute(ctx, SUBTRACTING).await?;
    }
    if reader.version.is_mariadb {
        // A transaction may have nothing to do for hours.
        let patient = "SET SESSION idle_transaction_timeout = 0, idle_readonly_transaction_timeout = 0, idle_write_transaction_timeout = 0";
        reader.execute(ctx, patient).await?;
    }
    Ok(reader)
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
pub(crate) fn is_denied(error: &Error) -> bool {
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

async fn without_snapshots(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    selects: Selects<'_>,
) -> Result<Vec<String>> {
    let of = text(database);
    // Whoever looks at a MERGE table opens those that it is made of, and on MySQL waits where they are locked and flushed. On MariaDB its
    // lock would be in the way of BACKUP STAGE.
    let merged = if connection.version.is_mariadb { ", 'MRG_MyISAM'" } else { "" };
    let sql = format!(
        "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = {of} AND ENGINE IS NOT NULL \
         AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') \
         AND ENGINE NOT IN ('InnoDB', 'ROCKSDB', 'TokuDB', 'BLACKHOLE'{merged}) ORDER BY TABLE_NAME"
    );
    lockable(ctx, connection, database, &sql, selects).await
}

/// Tables of a database out of those that `selects` has, by their names and engines, without those that nobody can lock: MERGE tables whose parts do not fit.
async fn lockable(
    ctx: &Ctx,
    connection: &mut Connection,
    database: &str,
    sql: &str,
    selects: Selects<'_>,
) -> Result<Vec<String>> {
    let mut tables = Vec::new();
    for row in connection.rows(ctx, sql).await? {
        let mut row = Reading::new(row);
        let (name, engine) = (row.text()?, row.text()?);
        if !selects(&name) {
            continue;
        }
        let is_merge = engine.eq_ignore_ascii_case("mrg_myisam");
        let full_name = format!("{}.{}", identifier(database), identifier(&name));
        if !is_merge || !is_unfit(ctx, connection, &full_name).await? {
            tables.push(name);
        }
    }
    Ok(tables)
}
