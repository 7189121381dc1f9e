//! What a server is told beside the objects of a database. Where it does not take that, everything else is as it was, and a warning says so.

use std::collections::BTreeSet;

use backup_core::{Ctx, ErrorKind, Part, Result};

use super::Restore;
use super::carry::named;
use super::session::Session;
use crate::catalog::parameters::OTHER;
use crate::catalog::reference;
use crate::catalog::spec::{SqlSpec, spec};
use crate::catalog::statistics::FLUSH;
use crate::connect::Connection;
use crate::error::code;
use crate::snapshot::is_denied;

/// Whether a session may give utf8mb4 the collation that it had when routines were made. Where it may not, they are named.
pub(super) async fn gives_collations(ctx: &Ctx, connection: &mut Connection, parts: &[Part]) -> Result<bool> {
    let wants = |part: &&Part| {
        spec::<SqlSpec>(part)
            .is_ok_and(|spec| spec.context().is_some_and(|context| context.utf8mb4.is_some()))
    };
    let wanted: BTreeSet<_> = parts.iter().filter(wants).map(|part| part.object.to_string()).collect();
    if wanted.is_empty() || connection.version.is_mariadb {
        return Ok(false);
    }
    let set = format!("SET SESSION default_collation_for_utf8mb4 = {OTHER}");
    match connection.execute(ctx, &set).await {
        Err(error) if code(&error).is_some() && error.kind() != ErrorKind::Connect => {
            ctx.warn(format!(
                "parameters without a collation have the server's, and not {OTHER} as they had ({}): {error}",
                named(&wanted)
            ));
            Ok(false)
        }
        done => done.map(|_| true),
    }
}

impl Restore {
    /// Notes statistics of MariaDB's. Who may not do that has them made anew.
    pub(super) async fn statistics(
        &self,
        ctx: &Ctx,
        part: &Part,
        session: &mut Session,
        sql: &[u8],
    ) -> Result<()> {
        if !session.connection.version.is_mariadb {
            return Ok(());
        }
        session.plain(ctx).await?;
        // An older server would cut off a histogram of a kind that it does not know.
        let strictly: &[u8] = b"SET STATEMENT sql_mode = 'STRICT_ALL_TABLES' FOR ";
        let is_flush = sql.starts_with(FLUSH.as_bytes());
        let sql = [if is_flush { &[] } else { strictly }, sql].concat();
        match session.connection.execute_bytes(ctx, &sql).await {
            // It looks when the table is opened anew.
            Err(error) if is_flush && is_denied(&error) => Ok(()),
            Err(error) if error.kind() != ErrorKind::Connect && code(&error).is_some() => {
                ctx.warn(format!(
                    "{} are not as they were; ANALYZE TABLE makes them anew: {error}",
                    part.object
                ));
                Ok(())
            }
            done => done.map(|_| ()),
        }
    }

    /// Makes one, unless there is one of its number, which stays as it is.
    pub(super) async fn reference_system(
        &self,
        ctx: &Ctx,
        part: &Part,
        session: &mut Session,
        sql: &[u8],
    ) -> Result<()> {
        if !reference::has_any(&session.connection.version) {
            ctx.warn(format!("{} is left out: the server has none of its own making", part.object));
            return Ok(());
        }
        session.plain(ctx).await?;
        match session.connection.define(ctx, sql).await {
            Err(error) if is_denied(&error) => {
                ctx.warn(format!(
                    "{} is not made, and what is in it cannot be used, or restored, where the server has none of its number: {error}",
                    part.object
                ));
                Ok(())
            }
            done => done.map(|_| ()),
        }
    }

    /// The restore is complete: from here on nothing is changed.
    pub(super) async fn set_read_only(&self, ctx: &Ctx, session: &mut Session, sql: &[u8]) {
        if !self.target.is_whole() {
            return;
        }
        let can = session.connection.version.has_read_only_databases();
        let done = if can { session.connection.define(ctx, sql).await.map(|_| ()) } else { Ok(()) };
        let why = match done {
            Ok(()) if can => return,
            Ok(()) => "the server has no such databases".to_owned(),
            Err(error) => error.to_string(),
        };
        ctx.warn(format!("the database is not READ ONLY, as it was in the source: {why}"));
    }
}
