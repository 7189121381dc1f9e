//! Security labels. The server takes them only in a session that has loaded their provider, and they mean nothing where nobody has.

use backup_core::{Ctx, Error, Part, Result};

use crate::connect::Session;
use crate::ddl::quote::literal;
use crate::error::sql_state;

/// A value that cannot be: here, a provider that is not loaded.
const INVALID_VALUE: &str = "22023";

/// Loads what sessions with the source begin with: the provider of its labels may be among it, and the new database has no settings yet. What
/// cannot be loaded here is missed, and told, by the labels that want it.
pub(super) async fn load_providers(ctx: &Ctx, session: &Session, libraries: &[String]) -> Result<()> {
    for library in libraries {
        let loaded = session.execute(ctx, &format!("LOAD {}", literal(library))).await;
        loaded.or_else(|error| if sql_state(&error).is_some() { Ok(()) } else { Err(error) })?;
    }
    Ok(())
}

/// Whether a statement sets a label, and its provider is not there.
pub(super) fn lacks_provider(part: &Part, sql: &str, error: &Error) -> bool {
    const LABEL: &str = "SECURITY LABEL FOR ";
    // That of the database is said without its name, in a block.
    let of_database = part.object.kind == "database" && sql.contains(LABEL);
    sql_state(error) == Some(INVALID_VALUE) && (sql.starts_with(LABEL) || of_database)
}

pub(super) fn left_out(part: &Part, error: &Error) -> String {
    format!("a security label of {} is left out: {error}", part.object)
}
