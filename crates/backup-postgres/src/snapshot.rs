//! The snapshot that all sessions of a backup share, and its place in the write-ahead log.
//!
//! Only a replication slot makes a snapshot whose place the server says, and it waits for every running transaction to end. But where no
//! transaction that writes is running at all, any snapshot has one, and most servers have such moments.

use backup_core::{Ctx, Error, ErrorKind, LogPoint, Position, Result};
use chrono::DateTime;

use crate::connect::{Session, column};
use crate::error::sql_state;

/// Of a server where transactions that write never cease, so many snapshots are taken to no avail.
const ATTEMPTS: usize = 5;

pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Taken, and held by the session that took it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// By this name other sessions share it.
    pub(crate) id: String,
    /// None where it is not exactly known.
    pub(crate) place: Option<LogPoint>,
}

impl Snapshot {
    /// Takes it in a transaction of `session`. `other` looks where it is.
    pub(crate) async fn take(ctx: &Ctx, session: &Session, other: &Session) -> Result<Self> {
        let sql = "SELECT pg_catalog.pg_export_snapshot() AS id, pg_catalog.txid_current_snapshot()::text AS running";
        session.execute(ctx, BEGIN).await?;
        let mut attempt = 1;
        loop {
            let rows = session.rows(ctx, sql, &[]).await?;
            let row = rows.first().ok_or_else(|| Error::internal("a server says nothing of a snapshot"))?;
            let place = place(ctx, other, column(row, "running")?).await?;
            if place.is_some() || attempt == ATTEMPTS {
                return Ok(Self { id: column(row, "id")?, place });
            }
            session.execute(ctx, &format!("ROLLBACK; {BEGIN}")).await?;
            attempt += 1;
        }
    }
}

/// The place of a snapshot that has this to say of running transactions (the first one's number, the number behind the last that has
/// ended, and those in between: `10:12:10,11`). It has one if there were none, nor is there one now behind it: then whatever was committed before
/// is in it, and whoever is to commit begins later. On a standby there is none.
async fn place(ctx: &Ctx, other: &Session, running: &str) -> Result<Option<LogPoint>> {
    // In this order: first where the log is, then a number of our own, which is the next one if nobody began to write meanwhile.
    let sql = "SELECT pg_catalog.pg_current_wal_insert_lsn()::text AS lsn,
                      (EXTRACT(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::bigint AS time,
                      pg_catalog.txid_current() AS next,
                      pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()) AS file";
    let rows = match other.rows(ctx, sql, &[]).await {
        // A standby, or a service that has no log to speak of.
        Err(error) if sql_state(&error).is_some() && error.kind() != ErrorKind::Cancelled => return Ok(None),
        rows => rows?,
    };
    let Some(row) = rows.first() else { return Ok(None) };
    let next: i64 = column(row, "next")?;
    if running != format!("{next}:{next}:") {
        return Ok(None);
    }
    let (lsn, file): (&str, &str) = (column(row, "lsn")?, column(row, "file")?);
    let timeline = file.get(..8).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let time = DateTime::from_timestamp_micros(column(row, "time")?);
    let position = Position(serde_json::json!({ "timeline": timeline, "lsn": lsn }));
    Ok(time.map(|time| LogPoint::new(position, time)))
}
