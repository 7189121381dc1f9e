//! What a server makes otherwise than it was told, and only warns of.

use backup_core::{Ctx, Result};

use crate::connect::{Connection, Done};
use crate::ddl::lex::{Token, words};

/// A key that is cut off to what its pages have room for, and a directory that it does not take (ER_TOO_LONG_KEY, WARN_OPTION_IGNORED).
const OTHERWISE: [&[u8]; 2] = [b"1071", b"1618"];

/// Tells what became of a statement that defines something, if that is not what it says.
pub(super) async fn tell(ctx: &Ctx, connection: &mut Connection, sql: &[u8], done: Done) -> Result<()> {
    if done.warnings == 0 {
        return Ok(());
    }
    for row in connection.rows(ctx, "SHOW WARNINGS").await? {
        let [_level, Some(number), Some(message)] = row.as_slice() else { continue };
        if OTHERWISE.contains(&number.as_slice()) {
            let sql = String::from_utf8_lossy(sql);
            let table = words(&sql).find_map(Token::name).unwrap_or_default();
            ctx.warn(format!(
                "table {} is made otherwise than it was: {}",
                table.escape_debug(),
                String::from_utf8_lossy(message).escape_debug()
            ));
        }
    }
    Ok(())
}
