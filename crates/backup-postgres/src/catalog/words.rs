//! Names that are words of the language in newer versions: where the server says them without quotes, those take them for something else.

use backup_core::{Ctx, Result};

use crate::connect::{Session, column};

/// From which version on the server itself quotes all of them. (SQL Key Words, appendix C of the manual.)
const KNOWN_SINCE: u32 = 170_000;

/// Anything may have this name before version 16, and be named without its schema: columns, and what queries call their tables.
const RESERVED: &str = "system_user";

/// Arguments of functions may have these before version 17.
const OF_FUNCTIONS: &str = "ARRAY['system_user', 'json', 'json_array', 'json_arrayagg', 'json_exists', 'json_object', 'json_objectagg', 'json_query',
  'json_scalar', 'json_serialize', 'json_table', 'json_value', 'merge_action', 'normalize']";

/// Has the server quote all names that these sessions get to hear, if there are such.
pub(crate) async fn quote_new(ctx: &Ctx, sessions: &[&Session]) -> Result<()> {
    let Some(first) = sessions.first().filter(|first| first.version < KNOWN_SINCE) else { return Ok(()) };
    let sql = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attname = '{RESERVED}')
             OR EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE p.oid >= 16384 AND p.proargnames && {OF_FUNCTIONS})
             OR EXISTS (SELECT FROM pg_catalog.pg_rewrite r WHERE r.oid >= 16384 AND r.ev_action::text LIKE '%{RESERVED}%') AS are_there"
    );
    for row in first.rows(ctx, &sql, &[]).await? {
        if column(&row, "are_there")? {
            for session in sessions {
                session.execute(ctx, "SET quote_all_identifiers = on").await?;
            }
        }
    }
    Ok(())
}
