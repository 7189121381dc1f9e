//! That one restore at a time is at work in a database. What another has not finished yet would be taken for what one left that was killed.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use backup_core::{Ctx, Error, ErrorKind, Result};
use tokio::sync::Mutex;

use crate::catalog::Reading;
use crate::connect::Connection;
use crate::ddl::quote::text;
use crate::error::{code, is_broken_off};

/// How long to wait, in seconds: for a restore that has just ended, and whose session the server has yet to end.
const WAIT: u32 = 5;

/// How many connections of one restore are told apart; it has about as many as it has jobs.
const MOST: u32 = 256;

/// A lock by the database's name, which the server lets go of when the session ends that has it, however it ends.
#[derive(Debug)]
pub(super) struct Alone {
    /// None where the server has no such locks, as on a cluster of Percona's.
    name: Option<String>,
    /// The session that has it.
    id: u64,
    session: Mutex<Option<Connection>>,
    /// The connections that were admitted.
    admitted: AtomicU32,
}

impl Alone {
    /// It is an error if another restore is at work in the database.
    pub(super) async fn of(ctx: &Ctx, mut connection: Connection, database: &str) -> Result<Self> {
        // Servers that fold the names of databases know this one by others too, and no name of a lock is longer than 64 characters.
        let name = format!(
            "SELECT CONCAT('lifeboat restore ', LEFT(SHA2(IF(@@lower_case_table_names, LOWER({0}), {0}), 256), 40))",
            text(database)
        );
        let name = Reading::new(connection.row(ctx, &name).await?).text()?;
        let name = match lock(ctx, &mut connection, &name, database).await {
            Err(error) if code(&error).is_some() && !is_broken_off(&error) => {
                ctx.warn(format!(
                    "nothing keeps another restore away from the database meanwhile: the server has no locks by name: {error}"
                ));
                None
            }
            done => {
                done?;
                outlast(ctx, &mut connection, &name, database).await?;
                Some(name)
            }
        };
        // What stands between may have greeted us by another number.
        let id = Reading::new(connection.row(ctx, "SELECT CONNECTION_ID()").await?).number()?;
        Ok(Self { name, id, session: Mutex::new(Some(connection)), admitted: AtomicU32::new(0) })
    }

    /// Whether the lock is still held, and by the server that `connection` is with.
    pub(super) async fn is_held(&self, ctx: &Ctx, connection: &mut Connection) -> Result<bool> {
        let Some(name) = &self.name else { return Ok(true) };
        let sql = format!("SELECT COALESCE(IS_USED_LOCK({}), 0)", text(name));
        Ok(Reading::new(connection.row(ctx, &sql).await?).number()? == self.id)
    }

    /// An error unless it is.
    pub(super) async fn check(&self, ctx: &Ctx, connection: &mut Connection) -> Result<()> {
        if self.is_held(ctx, connection).await? {
            return Ok(());
        }
        let lost = "the connection was lost that kept other restores away from the database";
        Err(Error::new(ErrorKind::Connect, lost)
            .hint("restore into it again; where an address is that of several servers, name one of them"))
    }

    /// Keeps others away until this connection of ours is gone too: a server that was told something does it, though who told it was killed.
    pub(super) async fn admit(&self, ctx: &Ctx, connection: &mut Connection) -> Result<()> {
        let Some(name) = &self.name else { return Ok(()) };
        let number = self.admitted.fetch_add(1, Ordering::Relaxed) % MOST;
        connection.row(ctx, &format!("SELECT GET_LOCK({}, 0)", admitted(name, number))).await.map(|_| ())
    }

    /// Keeps others away by another connection, since that was lost.
    pub(super) async fn again(&self, ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<()> {
        match &self.name {
            Some(name) => lock(ctx, connection, name, database).await,
            None => Ok(()),
        }
    }

    /// Lets others in.
    pub(super) async fn release(&self, ctx: &Ctx) {
        let Some(mut connection) = self.session.lock().await.take() else { return };
        if let Some(name) = &self.name {
            // The server does it in any case when the session ends, and a little later.
            let _ = connection.row(ctx, &format!("SELECT RELEASE_LOCK({})", text(name))).await;
        }
        connection.close().await;
    }
}

/// The lock of an admitted connection, as SQL.
fn admitted(name: &str, number: u32) -> String {
    text(&format!("{name} {number}"))
}

/// Waits for the connections of a restore whose lock is gone.
async fn outlast(ctx: &Ctx, connection: &mut Connection, name: &str, database: &str) -> Result<()> {
    let each: Vec<_> = (0..MOST).map(|number| format!("IS_USED_LOCK({})", admitted(name, number))).collect();
    let sql = format!("SELECT COALESCE({}, 0)", each.join(", "));
    let begun = Instant::now();
    loop {
        let who = Reading::new(connection.row(ctx, &sql).await?).number()?;
        if who == 0 {
            return Ok(());
        }
        if begun.elapsed() > Duration::from_secs(WAIT.into()) {
            return Err(at_work(who, database));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn lock(ctx: &Ctx, connection: &mut Connection, name: &str, database: &str) -> Result<()> {
    let name = text(name);
    let got = connection.row(ctx, &format!("SELECT COALESCE(GET_LOCK({name}, {WAIT}), 0)")).await?;
    if Reading::new(got).number()? == 1 {
        return Ok(());
    }
    let who = connection.row(ctx, &format!("SELECT COALESCE(IS_USED_LOCK({name}), 0)")).await?;
    Err(at_work(Reading::new(who).number()?, database))
}

fn at_work(who: u64, database: &str) -> Error {
    let database = database.escape_debug();
    let what =
        format!("another restore is at work in the database {database}, by connection {who} of the server");
    Error::new(ErrorKind::Locked, what).hint(
        "wait until it has ended; if it is gone and the server does not know yet, end its connection (KILL)",
    )
}
