//! Places in the binary log. It is not read yet: a place is kept for who replays the log with the server's own programs.

use backup_core::{Ctx, Error, LogPoint, Position, Result};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::catalog::Reading;
use crate::connect::{Connection, Row};
use crate::ddl::quote::text;
use crate::error::{code, malformed};
use crate::snapshot::is_denied;

/// A place in the binary log, as manifests have it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Place {
    file: String,
    offset: u64,
    /// MySQL: the GTIDs of all transactions before it. MariaDB: the last GTID of each domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gtid: Option<String>,
}

/// ER_XAER_RMERR.
const XA_FAILED: u16 = 1401;

/// What transactions with a snapshot say of where they are, each a file and an offset.
#[derive(Debug)]
pub(crate) struct Places(Vec<Vec<Row>>);

/// What the readers of a MariaDB say.
pub(crate) async fn of_readers(ctx: &Ctx, readers: &mut [Connection]) -> Result<Places> {
    let mut places = Vec::with_capacity(readers.len());
    for reader in readers {
        places.push(reader.rows(ctx, "SHOW STATUS LIKE 'binlog_snapshot_%'").await?);
    }
    Ok(Places(places))
}

impl Places {
    fn first(&self) -> Option<(String, u64)> {
        let value = |name: &[u8]| {
            let mut rows = self
                .0
                .first()?
                .iter()
                .filter_map(|row| Some((row.first()?.as_ref()?, row.get(1)?.as_ref()?)));
            let (_, value) = rows.find(|(found, _)| found.eq_ignore_ascii_case(name))?;
            String::from_utf8(value.clone()).ok().filter(|value| !value.is_empty())
        };
        Some((value(b"binlog_snapshot_file")?, value(b"binlog_snapshot_position")?.parse().ok()?))
    }

    /// There is no binary log.
    pub(crate) fn are_unknown(&self) -> bool {
        self.first().is_none()
    }

    /// All are at one place: nobody committed between them.
    pub(crate) fn are_one(&self) -> bool {
        !self.are_unknown() && self.0.windows(2).all(|pair| pair.first() == pair.get(1))
    }
}

/// Where those snapshots of MariaDB are.
pub(crate) async fn of_mariadb(
    ctx: &Ctx,
    control: &mut Connection,
    places: &Places,
) -> Result<Option<LogPoint>> {
    let Some((file, offset)) = places.first().filter(|_| places.are_one()) else { return Ok(None) };
    // By the log itself: what the server says of now may be later.
    let sql = format!("SELECT BINLOG_GTID_POS({}, {offset})", text(&file));
    let gtid = match control.row(ctx, &sql).await {
        Ok(row) => Reading::new(row).maybe()?.filter(|gtid| !gtid.is_empty()),
        Err(error) if is_denied(&error) => None,
        Err(error) => return Err(error),
    };
    point(ctx, control, Place { file, offset, gtid }).await.map(Some)
}

/// Where the log of a MySQL is on which nobody can commit.
pub(crate) async fn of_mysql(ctx: &Ctx, control: &mut Connection) -> Result<Option<LogPoint>> {
    let what = if control.version.number < (8, 2, 0) { "MASTER" } else { "BINARY LOG" };
    let rows = match control.rows(ctx, &format!("SHOW {what} STATUS")).await {
        Err(error) if is_denied(&error) => {
            ctx.note(format!("the place in the binary log is not known: {}", error.message()));
            return Ok(None);
        }
        rows => rows?,
    };
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let mut row = Reading::new(row);
    let (file, offset) = (row.text()?, row.number()?);
    row.maybe()?;
    row.maybe()?;
    // Of several servers, one a line.
    let gtid = row.maybe()?.map(|set| set.replace('\n', "")).filter(|set| !set.is_empty());
    point(ctx, control, Place { file, offset, gtid }).await.map(Some)
}

/// How many transactions of XA are prepared: their rows are in the log as of then, and in tables when they are committed. Nothing if the account may
/// not ask: MySQL says so as if its own data were wrong.
pub(crate) async fn prepared(ctx: &Ctx, control: &mut Connection) -> Result<Option<usize>> {
    match control.rows(ctx, "XA RECOVER").await {
        Err(error) if is_denied(&error) || code(&error) == Some(XA_FAILED) => Ok(None),
        prepared => Ok(Some(prepared?.len())),
    }
}

/// How often anybody has begun to end one that was prepared.
pub(crate) async fn ended(ctx: &Ctx, control: &mut Connection) -> Result<Vec<Row>> {
    control.rows(ctx, "SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_xa_commit', 'Com_xa_rollback')").await
}

async fn point(ctx: &Ctx, control: &mut Connection, place: Place) -> Result<LogPoint> {
    let now = Reading::new(control.row(ctx, "SELECT UNIX_TIMESTAMP()").await?).number()?;
    let now = i64::try_from(now).ok().and_then(|now| DateTime::<Utc>::from_timestamp(now, 0));
    let position =
        serde_json::to_value(place).map_err(|error| Error::internal("a place is no JSON").because(error))?;
    Ok(LogPoint::new(Position(position), now.ok_or_else(|| malformed("no time"))?))
}
