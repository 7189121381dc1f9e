//! One running backup: sessions that share one snapshot, and what they found in it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use backup_core::{
    BackupRequest, BackupSession, Ctx, Error, ErrorKind, LogPoint, Object, Part, PartKind, PartWriter,
    Result, Turns, async_trait,
};
use tokio::sync::{self, Semaphore, SemaphorePermit};

use crate::ahead::{self, Ahead};
use crate::begin::{Begun, begin};
use crate::catalog::{self, Plan, Reader};
use crate::config::Config;
use crate::connect::{HeldRows, Session, first_error};
use crate::error::{NOT_AT_ONCE, sql_state};
use crate::rows;

/// Whatever is locked from here on is let go of again: the server's lock table has room for some thousand locks, and all databases use it.
pub(crate) const SAVEPOINT: &str = "SAVEPOINT part";
pub(crate) const RELEASE: &str = "ROLLBACK TO SAVEPOINT part";

/// Who reads a part.
enum Idle<'a> {
    Main(sync::MutexGuard<'a, Option<Session>>),
    Worker(SemaphorePermit<'a>),
}

/// What came of reading a part.
enum Read {
    Written,
    Held(HeldRows),
    /// Nothing: somebody waits to alter the table, and whoever wants a lock on it now would wait behind them. They wait for the session
    /// that has one.
    LeftToMain,
}

/// The snapshot, and the plan that was made in it.
#[derive(Debug)]
pub(crate) struct Backup {
    place: Option<LogPoint>,
    /// The session that took the snapshot and holds the locks, unless it was lost.
    main: sync::Mutex<Option<Session>>,
    /// The others that are idle, and how many these are.
    workers: Mutex<Vec<Session>>,
    free: Semaphore,
    /// Whether the main one reads only what is left to it: where parts are taken in by their order, one that waits for that would keep it
    /// from those before.
    spares_main: bool,
    turns: Turns,
    plan: Plan,
    left_out: Vec<Object>,
    ahead: Ahead,
    /// If there was no room to lock all tables: what they were like in the snapshot, and how to look again.
    unlocked: Option<(HashMap<u32, i64>, Config)>,
}

impl Backup {
    pub(crate) async fn begin(ctx: &Ctx, config: &Config, request: BackupRequest) -> Result<Self> {
        let Begun { main, workers, spares_main, place, plan, left_out, unlocked } =
            begin(ctx, config, &request).await?;
        let turns = Turns::default();
        if request.in_order {
            turns.plan(plan.parts.iter().map(|part| part.id));
        }
        Ok(Self {
            place,
            main: sync::Mutex::new(Some(main)),
            free: Semaphore::new(workers.len()),
            workers: Mutex::new(workers),
            spares_main,
            turns,
            ahead: Ahead::new(&plan.parts),
            plan,
            left_out,
            unlocked,
        })
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Session>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tables of parts.
    fn tables(&self, parts: &[&Part]) -> Vec<(u32, String)> {
        let table = |part: &&Part| Some((*self.plan.tables.get(&part.id)?, rows::table(part)));
        parts.iter().filter_map(table).collect()
    }

    /// Locks the tables of parts for as long as they are read, where they are not locked all the while. Of several tables none is waited
    /// for, since others may wait for those that are locked already.
    async fn lock(&self, ctx: &Ctx, session: &Session, parts: &[&Part]) -> Result<()> {
        let reader = Reader::new(ctx, session);
        catalog::lock_some(reader, &self.tables(parts), parts.len() == 1).await
    }

    /// Reads a part, by a session that `has_locks` or does not. One that has none does not wait for any.
    async fn read(
        &self,
        ctx: &Ctx,
        session: &Session,
        has_locks: bool,
        part: &Part,
        out: &mut PartWriter,
    ) -> Result<Read> {
        if let Some(rows) = self.read_ahead(ctx, session, has_locks, part).await? {
            return Ok(Read::Held(rows));
        }
        if self.unlocked.is_some() {
            self.lock(ctx, session, &[part]).await?;
        } else if !has_locks && let Some(sql) = catalog::locking(&self.tables(&[part]), false) {
            // Apart from the rows, of which none is written before it is known who reads them.
            if let Err(error) = session.execute(ctx, &sql).await {
                if sql_state(&error) != Some(NOT_AT_ONCE) {
                    return Err(error.during(format!("lock {}", rows::table(part).escape_debug())));
                }
                session.execute(ctx, RELEASE).await?;
                return Ok(Read::LeftToMain);
            }
        }
        session.copy_out(ctx, &format!("{}; {RELEASE}", rows::reading(part)?), out).await?;
        Ok(Read::Written)
    }

    /// The same by the session that has the locks.
    async fn read_by_main(
        &self,
        ctx: &Ctx,
        mut main: sync::MutexGuard<'_, Option<Session>>,
        part: &Part,
        out: &mut PartWriter,
    ) -> Result<Read> {
        // A session that failed is not used again: its transaction is over.
        let Some(session) = main.take() else {
            first_error(ctx).await;
            return Err(Self::lost());
        };
        let read = self.read(ctx, &session, true, part, out).await?;
        *main = Some(session);
        Ok(read)
    }

    /// Waits for a session that is idle.
    async fn idle(&self, ctx: &Ctx) -> Result<Idle<'_>> {
        ctx.run(async {
            tokio::select! {
                biased;
                permit = self.free.acquire() => permit.map(Idle::Worker).map_err(|_| Self::lost()),
                main = self.main.lock(), if !self.spares_main => Ok(Idle::Main(main)),
            }
        })
        .await
    }

    /// Reads a small part together with small ones behind it, which are likely to be wanted next. None if it has to be read alone.
    async fn read_ahead(
        &self,
        ctx: &Ctx,
        session: &Session,
        has_locks: bool,
        part: &Part,
    ) -> Result<Option<HeldRows>> {
        let parts = self.ahead.choose(&self.plan.parts, part.id);
        if parts.is_empty() {
            return Ok(None);
        }
        let read = async {
            let mut sql = String::new();
            if self.unlocked.is_some() {
                self.lock(ctx, session, &parts).await?;
            } else if !has_locks && let Some(lock) = catalog::locking(&self.tables(&parts), false) {
                sql += &lock;
                sql += "; ";
            }
            for part in &parts {
                sql += &rows::reading(part)?;
                sql += "; ";
            }
            session.copies_out(ctx, &(sql + RELEASE), parts.len(), ahead::HELD).await
        };
        match read.await {
            Ok(held) => Ok(self.ahead.keep(&parts, held)),
            Err(error) if sql_state(&error).is_some() && error.kind() != ErrorKind::Cancelled => {
                // Whichever of them it was, it is to be named: from here on each is read by itself. A lock is soon had again.
                if sql_state(&error) != Some(NOT_AT_ONCE) {
                    self.ahead.stop();
                }
                session.execute(ctx, RELEASE).await?;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// An error that names the tables of the backup that are not what they were in the snapshot.
    async fn refuse_changed(&self, ctx: &Ctx, shapes: &HashMap<u32, i64>, config: &Config) -> Result<()> {
        let fresh = Session::open(ctx, config).await?;
        let now = catalog::shapes(Reader::new(ctx, &fresh)).await?;
        let is_changed =
            |part: &&Part| self.plan.tables.get(&part.id).is_some_and(|oid| shapes.get(oid) != now.get(oid));
        let mut names: Vec<String> = self.plan.parts.iter().filter(is_changed).map(rows::table).collect();
        names.dedup();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        if names.is_empty() { Ok(()) } else { Err(catalog::changed(&names)) }
    }

    /// Locks keep tables as they are, but not the names of their schemas, by which they were read.
    async fn refuse_renamed(&self, ctx: &Ctx) -> Result<()> {
        let mut tables = self.tables(&self.plan.parts.iter().collect::<Vec<_>>());
        tables.dedup();
        let main = ctx.run(async { Ok(self.main.lock().await) }).await?;
        let main = main.as_ref().ok_or_else(Self::lost)?;
        let names = catalog::others(Reader::new(ctx, main), &tables).await?;
        if names.is_empty() {
            return Ok(());
        }
        let message =
            format!("others took the names of these while the backup ran: {}", catalog::listed(&names));
        Err(Error::new(ErrorKind::Locked, message).hint("run it again when nobody renames schemas"))
    }

    fn lost() -> Error {
        Error::new(ErrorKind::Connect, "a session with the server was lost, and its snapshot with it")
            .hint("run the backup again")
    }
}

#[async_trait]
impl BackupSession for Backup {
    fn position(&self) -> Option<&LogPoint> {
        self.place.as_ref()
    }

    fn left_out(&self) -> Vec<Object> {
        self.left_out.clone()
    }

    async fn plan(&self, ctx: &Ctx) -> Result<Vec<Part>> {
        ctx.check()?;
        Ok(self.plan.parts.clone())
    }

    async fn dump(&self, ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        let turn = self.turns.begin(part.id);
        if !matches!(part.kind, PartKind::Rows { .. }) {
            for statement in self.plan.statements.get(&part.id).into_iter().flatten() {
                out.statement(statement).await?;
            }
            return Ok(());
        }
        if let Some(rows) = self.ahead.take(part.id) {
            return rows.write_to(out).await;
        }
        let mut read = match self.idle(ctx).await? {
            Idle::Main(main) => self.read_by_main(ctx, main, part, out).await?,
            Idle::Worker(_permit) => {
                let Some(session) = self.workers().pop() else {
                    first_error(ctx).await;
                    return Err(Self::lost());
                };
                let read = self.read(ctx, &session, false, part, out).await?;
                self.workers().push(session);
                read
            }
        };
        if matches!(read, Read::LeftToMain) {
            turn.comes(ctx).await?;
            let main = ctx.run(async { Ok(self.main.lock().await) }).await?;
            read = self.read_by_main(ctx, main, part, out).await?;
        }
        match read {
            Read::Held(rows) => rows.write_to(out).await,
            Read::Written => Ok(()),
            Read::LeftToMain => {
                Err(Error::internal("the session that has the locks leaves a part to itself"))
            }
        }
    }

    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        // What else changed was found out before the first part.
        match &self.unlocked {
            Some((shapes, config)) => self.refuse_changed(ctx, shapes, config).await?,
            None => self.refuse_renamed(ctx).await?,
        }
        let workers = std::mem::take(&mut *self.workers());
        for session in workers.into_iter().chain(self.main.into_inner()) {
            session.execute(ctx, "COMMIT").await?;
        }
        Ok(())
    }
}
