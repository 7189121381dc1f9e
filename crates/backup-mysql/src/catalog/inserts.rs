//! Rows as statements, where a load would not do.

use backup_core::{Ctx, Error, Result};

use super::column::Kind;
use crate::connect::{Connection, Piece};
use crate::ddl::value::Literals;

/// About how long one INSERT is, if no row is longer.
const INSERT: usize = 512 << 10;

/// How many bytes of statements are held at most.
const MOST: usize = 256 << 20;

/// The rows that a query finds as INSERTs that begin with `head`: of one row each, or of as many as are not too long.
pub(super) async fn of(
    ctx: &Ctx,
    connection: &mut Connection,
    head: &str,
    kinds: &[Kind],
    select: &str,
    one_each: bool,
) -> Result<Vec<Vec<u8>>> {
    let read = async {
        let (mut inserts, mut insert, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut rows = connection.stream(select).await?;
        let mut literals = Literals::new(kinds);
        while let Some(piece) = rows.next().await? {
            let is_whole = match piece {
                Piece::Whole(bytes) => {
                    literals.piece(bytes)?;
                    true
                }
                Piece::First(bytes) | Piece::Next(bytes) => {
                    literals.piece(&bytes)?;
                    false
                }
                Piece::End => true,
            };
            if !is_whole {
                continue;
            }
            literals.end()?;
            bytes += literals.out.len();
            insert.extend_from_slice(if insert.is_empty() { head.as_bytes() } else { b",\n" });
            insert.append(&mut literals.out);
            if bytes > MOST {
                return Err(Error::unsupported(
                    "rows that have to be statements are more than 256 MiB: leave the table out (--exclude)",
                ));
            }
            if one_each || insert.len() >= INSERT {
                inserts.push(std::mem::take(&mut insert));
            }
        }
        inserts.extend((!insert.is_empty()).then_some(insert));
        Ok(inserts)
    };
    ctx.run(read).await
}
