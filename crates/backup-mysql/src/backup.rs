//! One running backup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex as Cell;
use std::sync::PoisonError;
use std::time::Duration;

use backup_core::{
    BackupRequest, BackupSession, Ctx, During, Error, ErrorKind, LogPoint, Object, Part, PartKind,
    PartWriter, Phase, Result, Turn, Turns, async_trait,
};
use tokio::sync::{MutexGuard, Semaphore, SemaphorePermit};

use crate::catalog::Reading;
use crate::catalog::objects::{Engine, Objects};
use crate::catalog::plan::{self, Planned};
use crate::catalog::readable::LeftOut;
use crate::catalog::spec::{RowsSpec, SqlSpec, spec};
use crate::config::Config;
use crate::connect::{Connection, Version};
use crate::ddl::quote::identifier;
use crate::keep::Keepers;
use crate::rows::length::{Longest, USUAL};
use crate::rows::load;
use crate::rows::read::{self, Read};
use crate::snapshot::{self, LET_GO, Snapshot};
use crate::statements;
use crate::witness::{Tables, Witness};

/// The snapshot and what was asked for.
#[derive(Debug)]
pub(crate) struct Backup {
    readers: Readers,
    /// Who reads the tables that it keeps locked, and which these are. Lost in the middle of an answer, it is gone.
    holder: tokio::sync::Mutex<Option<Reader>>,
    held: BTreeSet<String>,
    keeper: tokio::sync::Mutex<Option<Connection>>,
    keepers: tokio::sync::Mutex<Keepers>,
    /// The server that all connections are with, the tables that it had when the snapshot was taken, and those that have none.
    witness: Witness,
    tables: Option<Tables>,
    loose: BTreeSet<String>,
    subtracts: bool,
    /// The tables that somebody waits to alter.
    wanted: Cell<BTreeSet<String>>,
    turns: Turns,
    config: Config,
    database: String,
    place: Option<LogPoint>,
    request: BackupRequest,
    left_out: LeftOut,
    /// What turned out to be such that no server would take it back.
    lost: Cell<Vec<Object>>,
    /// How many rows were read of tables that are split by a collation.
    counted: Cell<BTreeMap<String, u64>>,
    /// How long statements of a script are at the most, of tables with large rows.
    long: Cell<BTreeMap<String, usize>>,
    /// What there was when the plan was made.
    planned: tokio::sync::Mutex<Option<Objects>>,
}

/// The connections that share the snapshot, lent to one part at a time; none where one has to do everything, which is the keeper then. One
/// that does not come back was lost in the middle of an answer, and with it the backup: none is opened in its place.
#[derive(Debug)]
struct Readers {
    count: usize,
    idle: Cell<Vec<Reader>>,
    free: Semaphore,
}

/// A connection, and whether texts come in their own character sets.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) connection: Connection,
    raw: bool,
    /// How many parts it has read since it let go of tables.
    parts: usize,
}

impl Reader {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, raw: false, parts: 0 }
    }

    pub(crate) fn version(&self) -> &Version {
        &self.connection.version
    }

    /// Asks for texts as they are stored, or else in UTF-8.
    pub(crate) async fn speak(&mut self, ctx: &Ctx, raw: bool) -> Result<&mut Connection> {
        if self.raw != raw {
            let charset = if raw { "NULL" } else { "utf8mb4" };
            self.connection.execute(ctx, &format!("SET SESSION character_set_results = {charset}")).await?;
            self.raw = raw;
        }
        Ok(&mut self.connection)
    }
}

/// A connection for one part. Unless it is given back it is lost, and with it the backup: nobody knows where in an answer it stopped.
struct Lent<'a> {
    reader: Reader,
    whose: Whose<'a>,
}

enum Whose<'a> {
    Readers(&'a Readers, SemaphorePermit<'a>),
    Holder(MutexGuard<'a, Option<Reader>>),
    Keepers(MutexGuard<'a, Keepers>, &'a str),
}

impl Lent<'_> {
    async fn give_back(mut self, ctx: &Ctx) -> Result<()> {
        match self.whose {
            Whose::Holder(mut holder) => *holder = Some(self.reader),
            Whose::Keepers(mut keepers, table) => keepers.give(table, self.reader),
            Whose::Readers(readers, _permit) => {
                self.reader.parts += 1;
                if self.reader.parts >= PARTS {
                    self.reader.connection.execute(ctx, LET_GO).await?;
                    self.reader.parts = 0;
                }
                readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(self.reader);
            }
        }
        Ok(())
    }
}

impl Readers {
    async fn lend(&self, ctx: &Ctx) -> Result<Lent<'_>> {
        let permit = ctx.run(async { self.free.acquire().await.map_err(|_| lost()) }).await?;
        let reader = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some(reader) = reader else {
            // Whoever has lost it is about to say why, and the first error is the one that people see.
            let _ = ctx
                .run(async {
                    tokio::time::sleep(TELLING).await;
                    Ok(())
                })
                .await;
            return Err(lost());
        };
        Ok(Lent { reader, whose: Whose::Readers(self, permit) })
    }
}

/// How long others have to tell why the backup fails.
const TELLING: Duration = Duration::from_secs(1);

/// After how many parts the tables are let go of that were read: each costs a little at every other.
const PARTS: usize = 32;

pub(crate) fn lost() -> Error {
    Error::new(ErrorKind::Connect, "a connection with the snapshot was lost").hint("run the backup again")
}

fn altered(what: &str) -> Error {
    Error::new(ErrorKind::Database, format!("{what} was made, altered or dropped during the backup"))
        .hint("run the backup again when nobody changes the schema")
}

impl Backup {
    pub(crate) fn new(
        snapshot: Snapshot,
        config: Config,
        database: String,
        request: BackupRequest,
        left_out: LeftOut,
    ) -> Self {
        let count = snapshot.readers.len();
        let free = Semaphore::new(count);
        let readers = snapshot.readers.into_iter().map(Reader::new);
        let (holder, held) =
            snapshot.holder.map_or_else(Default::default, |holder| (Some(holder.connection), holder.tables));
        Self {
            readers: Readers { count, idle: Cell::new(readers.collect()), free },
            holder: tokio::sync::Mutex::new(holder.map(Reader::new)),
            held,
            keeper: tokio::sync::Mutex::new(snapshot.keeper),
            keepers: tokio::sync::Mutex::new(Keepers::new(snapshot.keepers)),
            witness: snapshot.witness,
            tables: snapshot.tables,
            loose: snapshot.loose,
            subtracts: snapshot.subtracts,
            wanted: Cell::default(),
            turns: Turns::default(),
            config,
            database,
            place: snapshot.place,
            request,
            left_out,
            lost: Cell::default(),
            counted: Cell::default(),
            long: Cell::default(),
            planned: tokio::sync::Mutex::default(),
        }
    }

    /// Lends a connection that may read this object: for what belongs to a locked table the one that has locked it, and for one that somebody
    /// waits to alter the one that keeps it; so too for a statement that `reads_rows` of it, which nobody waits to repeat.
    async fn lend<'a>(
        &'a self,
        ctx: &Ctx,
        turn: &Turn<'_>,
        object: &'a Object,
        reads_rows: bool,
    ) -> Result<Lent<'a>> {
        let table = object.table.as_ref().unwrap_or(&object.name);
        if self.held.contains(table) {
            let mut holder = ctx.run(async { Ok(self.holder.lock().await) }).await?;
            return Ok(Lent { reader: holder.take().ok_or_else(lost)?, whose: Whose::Holder(holder) });
        }
        let is_wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).contains(table);
        if is_wanted || reads_rows || self.readers.count == 0 {
            turn.comes(ctx).await?;
            let mut keepers = ctx.run(async { Ok(self.keepers.lock().await) }).await?;
            return Ok(Lent { reader: keepers.take(table)?, whose: Whose::Keepers(keepers, table) });
        }
        self.readers.lend(ctx).await
    }

    /// What is to be done when reading from a table would have had to wait: it is left to the one who keeps it.
    fn leave(&self, ctx: &Ctx, table: &str) {
        if self.wanted.lock().unwrap_or_else(PoisonError::into_inner).insert(table.to_owned()) {
            ctx.warn(format!(
                "somebody waits to alter table {}, and whoever else wants it waits too, until the backup ends",
                table.escape_debug()
            ));
        }
    }

    async fn rows(
        &self,
        ctx: &Ctx,
        turn: &Turn<'_>,
        table: &Object,
        spec: &RowsSpec,
        out: &mut PartWriter,
        mut long: Option<&mut Longest<'_>>,
    ) -> Result<u64> {
        loop {
            let mut lent = self.lend(ctx, turn, table, false).await?;
            let may_wait = matches!(lent.whose, Whose::Readers(..));
            let read = read::rows(ctx, &mut lent.reader, spec, out, long.as_deref_mut()).await?;
            if may_wait && matches!(read, Read::Waits(_)) {
                // Were its transaction gone, so would be the savepoint, and this an error.
                lent.reader.connection.execute(ctx, LET_GO).await?;
            }
            lent.give_back(ctx).await?;
            match read {
                Read::Done(rows) => return Ok(rows),
                Read::Waits(_) if may_wait => self.leave(ctx, &table.name),
                Read::Waits(error) => return Err(error),
            }
        }
    }

    /// Ranges of texts are as right as the order of the index is: one that was built by another version of its collation would hide rows.
    async fn count(&self, ctx: &Ctx) -> Result<()> {
        let counted = std::mem::take(&mut *self.counted.lock().unwrap_or_else(PoisonError::into_inner));
        for (table, read) in counted {
            let sql = format!("SELECT COUNT(*) FROM {}", identifier(&table));
            let mut keepers = ctx.run(async { Ok(self.keepers.lock().await) }).await?;
            let row = keepers.of(&table)?.connection.row(ctx, &sql).await?;
            let rows = Reading::new(row).number()?;
            if rows != read {
                let table = table.escape_debug();
                let wrong =
                    format!("{read} of {rows} rows of table {table} were found by ranges of its primary key");
                return Err(Error::new(ErrorKind::Database, wrong)
                    .hint("its index is damaged, or its collation changed with a new version of the server: OPTIMIZE TABLE builds it anew"));
            }
        }
        Ok(())
    }

    /// Warns of statements of a script that this server would not read.
    async fn tell_long(&self, ctx: &Ctx) -> Result<()> {
        if !self.request.in_order {
            return Ok(());
        }
        let mut keepers = ctx.run(async { Ok(self.keepers.lock().await) }).await?;
        let limit = load::limit(ctx, &mut keepers.of("")?.connection).await?;
        if limit < USUAL {
            ctx.warn(format!(
                "the server reads statements of {limit} bytes (max_allowed_packet), and those of a script have up to {USUAL}"
            ));
        }
        let long = std::mem::take(&mut *self.long.lock().unwrap_or_else(PoisonError::into_inner));
        for (table, length) in long.iter().filter(|(_, length)| **length > limit.max(USUAL)) {
            ctx.warn(format!(
                "table {}: a row makes a statement of up to {length} bytes in the script, and the server reads {limit} of one: raise max_allowed_packet before it is loaded, at the client as well",
                table.escape_debug()
            ));
        }
        Ok(())
    }

    /// One that sees the server as it is now: on MySQL a connection of its own, which is kept `outside`, since in a snapshot it says what there
    /// was then.
    async fn present<'r>(
        &self,
        ctx: &Ctx,
        keepers: &'r mut Keepers,
        outside: &'r mut Option<Reader>,
    ) -> Result<&'r mut Reader> {
        let keeper = keepers.of("")?;
        if keeper.version().is_mariadb {
            return Ok(keeper);
        }
        if outside.is_none() {
            let mut connection = snapshot::reader(ctx, &self.config, self.subtracts).await?;
            self.witness.check(ctx, &self.config, &mut connection).await?;
            *outside = Some(Reader::new(connection));
        }
        outside.as_mut().ok_or_else(lost)
    }

    /// An error if a table was made, altered or dropped before somebody kept it: it would be read as the snapshot has it, which may be empty.
    async fn refuse_changed(&self, ctx: &Ctx, objects: &Objects, keepers: &mut Keepers) -> Result<()> {
        // Whatever keeps tables as they are: one without a snapshot that came when those were listed is not locked.
        let mut plain = objects.tables.iter().filter(|table| table.engine == Engine::Plain);
        if let Some(table) = plain.find(|table| !self.loose.contains(&table.name)) {
            return Err(altered(&format!("table {}", table.name.escape_debug())));
        }
        let Some(before) = &self.tables else { return Ok(()) };
        let mut outside = None;
        let reader = self.present(ctx, keepers, &mut outside).await?;
        let now = Tables::now(ctx, reader.speak(ctx, false).await?, &self.database).await?;
        if let Some(outside) = outside {
            outside.connection.close().await;
        }
        let selects = |name: &str| self.left_out.reads(&self.request.filter, &self.database, name);
        let read = objects.tables.iter().map(|table| table.name.as_str());
        let changed = before.changed(&now, read, selects);
        changed.map_or(Ok(()), |name| Err(altered(&format!("table {}", name.escape_debug()))))
    }

    async fn objects(&self, ctx: &Ctx, reader: &mut Reader) -> Result<Objects> {
        let connection = reader.speak(ctx, false).await?;
        let Self { database, request, left_out, held, .. } = self;
        Objects::read(ctx, connection, database, &request.filter, left_out, held).await
    }
}

#[async_trait]
impl BackupSession for Backup {
    fn position(&self) -> Option<&LogPoint> {
        self.place.as_ref()
    }

    fn readers(&self) -> usize {
        // Tables that are kept locked have one reader of their own.
        if self.held.is_empty() { self.readers.count.max(1) } else { 1 }
    }

    fn left_out(&self) -> Vec<Object> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        self.left_out.objects.iter().chain(lost.iter()).cloned().collect()
    }

    async fn plan(&self, ctx: &Ctx) -> Result<Vec<Part>> {
        let mut keepers = self.keepers.lock().await;
        let objects = self.objects(ctx, keepers.of("")?).await?;
        for view in objects.views.iter().filter(|view| view.invalid) {
            ctx.warn(format!(
                "view {} refers to something that is not there or not in the backup, or that its definer may not use; its definition is kept",
                view.name.escape_debug()
            ));
        }
        let mut holder = self.holder.lock().await;
        let holder = holder.as_mut().map(|holder| &mut holder.connection);
        let mut readers =
            plan::Readers { config: &self.config, keepers: &mut keepers, holder, held: &self.held };
        let Planned { parts, left_out } =
            plan::plan(ctx, &mut readers, &self.database, &objects, &self.request).await?;
        self.refuse_changed(ctx, &objects, &mut keepers).await?;
        *self.lost.lock().unwrap_or_else(PoisonError::into_inner) = left_out;
        *self.planned.lock().await = Some(objects);
        if self.request.in_order {
            self.turns.plan(parts.iter().filter(|part| part.phase == Phase::Data).map(|part| part.id));
        }
        Ok(parts)
    }

    async fn dump(&self, ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        let database = &self.database;
        let turn = self.turns.begin(part.id);
        match &part.kind {
            PartKind::Rows { columns, .. } => {
                let spec: RowsSpec = spec(part)?;
                let table = &part.object.name;
                let mut long = self.request.in_order.then(|| Longest::of(table, columns, &spec.columns));
                let rows = self.rows(ctx, &turn, &part.object, &spec, out, long.as_mut()).await?;
                if let Some(long) = long.and_then(|long| long.longest()) {
                    let mut all = self.long.lock().unwrap_or_else(PoisonError::into_inner);
                    let longest = all.entry(table.clone()).or_default();
                    *longest = long.max(*longest);
                }
                if spec.by_collation {
                    let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
                    *counted.entry(table.clone()).or_default() += rows;
                }
                Ok(())
            }
            PartKind::Sql => {
                let spec: SqlSpec = spec(part)?;
                let reads_rows =
                    matches!(spec, SqlSpec::Momentary(_) | SqlSpec::Uncounted(_) | SqlSpec::Empty(_));
                // They lie in tables of the server's own, which who has locked others may not read.
                let elsewhere = Object::new("statistics", "");
                let object = if matches!(spec, SqlSpec::Statistics) { &elsewhere } else { &part.object };
                let mut lent = self.lend(ctx, &turn, object, reads_rows).await?;
                let sql = statements::of(ctx, &mut lent.reader, database, &part.object, &spec).await?;
                lent.give_back(ctx).await?;
                for statement in sql {
                    // A statement need not be UTF-8.
                    out.row(&statement).await?;
                }
                Ok(())
            }
            _ => Err(Error::internal("a part is planned that MySQL has not")),
        }
    }

    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        self.count(ctx).await?;
        self.tell_long(ctx).await?;
        let mut keepers = self.keepers.lock().await;
        // Definitions are read as they are at the time, and not as of the snapshot: none may have changed.
        let planned = self.planned.lock().await.take();
        if let Some(planned) = planned {
            let doing = || "look whether something was altered meanwhile";
            let (mut outside, mut changed) = (None, None);
            // What a server does not know at the first look it knows at the second.
            for _ in 0..2 {
                let reader = self.present(ctx, &mut keepers, &mut outside).await.during(doing)?;
                changed = planned.changed(&self.objects(ctx, reader).await.during(doing)?);
                if changed.is_none() {
                    break;
                }
            }
            if let Some(changed) = changed {
                return Err(altered(&changed));
            }
            if let Some(outside) = outside {
                outside.connection.close().await;
            }
        }
        let holder = self.holder.lock().await.take();
        if !self.held.is_empty() && holder.is_none() {
            return Err(lost());
        }
        keepers.close(ctx).await?;
        let keeper = self.keeper.lock().await.take();
        for mut connection in holder.map(|holder| holder.connection).into_iter().chain(keeper) {
            // Were it lost, so were its locks.
            connection.execute(ctx, "SELECT 1").await.during(|| "look whether the locks are still held")?;
            connection.close().await;
        }
        let readers = std::mem::take(&mut *self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for reader in readers {
            reader.connection.close().await;
        }
        Ok(())
    }
}
