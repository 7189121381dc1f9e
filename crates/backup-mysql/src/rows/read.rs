//! Rows out of a table: from the wire to the backup as they come.

use backup_core::{Ctx, Error, PartWriter, Result};

use super::length::Longest;
use crate::backup::Reader;
use crate::catalog::spec::RowsSpec;
use crate::connect::Piece;
use crate::ddl::{UTC, in_zone};
use crate::error::code;

/// What came of reading rows.
pub(crate) enum Read {
    /// So many were read.
    Done(u64),
    /// None was read: somebody else waits to lock the table, and would be waited for.
    Waits(Error),
}

/// Reads the rows of a part. If they go into a script, it is looked how `long` its statements become.
pub(crate) async fn rows(
    ctx: &Ctx,
    reader: &mut Reader,
    spec: &RowsSpec,
    out: &mut PartWriter,
    mut long: Option<&mut Longest<'_>>,
) -> Result<Read> {
    let connection = reader.speak(ctx, true).await?;
    if let Some(zone) = &spec.time_zone {
        connection.execute(ctx, &in_zone(zone)).await?;
    }
    let copy = async {
        let mut rows = match connection.stream(&spec.select).await {
            Err(error) if code(&error) == Some(1205) => return Ok(Read::Waits(error)),
            rows => rows?,
        };
        let mut count = 0;
        while let Some(piece) = rows.next().await? {
            if let Some(long) = &mut long {
                long.see(&piece)?;
            }
            match piece {
                Piece::Whole(row) => {
                    count += 1;
                    out.row(row).await?;
                }
                Piece::First(bytes) => {
                    count += 1;
                    out.begin_row()?;
                    out.fragment(&bytes).await?;
                }
                Piece::Next(bytes) => out.fragment(&bytes).await?,
                Piece::End => out.end_row().await?,
            }
        }
        Ok(Read::Done(count))
    };
    let read = ctx.run(copy).await?;
    if spec.time_zone.is_some() {
        connection.execute(ctx, &in_zone(UTC)).await?;
    }
    Ok(read)
}
