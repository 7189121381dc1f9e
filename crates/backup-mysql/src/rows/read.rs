//! Rows out of a table: from the wire to the backup as they come.

use backup_core::{Ctx, PartWriter, Result};

use crate::backup::Reader;
use crate::catalog::plan::RowsSpec;
use crate::connect::Piece;

/// Reads the rows of a part, and says how many there were.
pub(crate) async fn rows(
    ctx: &Ctx,
    reader: &mut Reader,
    spec: &RowsSpec,
    out: &mut PartWriter,
) -> Result<u64> {
    let connection = reader.speak(ctx, true).await?;
    let copy = async {
        let mut rows = connection.stream(&spec.select).await?;
        let mut count = 0;
        while let Some(piece) = rows.next().await? {
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
        Ok(count)
    };
    ctx.run(copy).await
}
