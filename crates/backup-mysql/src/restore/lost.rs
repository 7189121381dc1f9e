//! Sequences that defaults count by and that are not there any more: they stand in while the tables that name them are made and filled.

use std::collections::BTreeMap;

use backup_core::{Ctx, Result};
use tokio::sync::Mutex;

use super::IS_THERE;
use super::session::Session;
use super::target::Target;
use crate::error::code;

/// How many tables still want each of those that were made.
#[derive(Debug, Default)]
pub(super) struct LostSequences(Mutex<BTreeMap<String, usize>>);

impl LostSequences {
    /// Makes one for a table, unless it is there for another one, or is somebody's.
    pub(super) async fn make(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        target: &Target,
        name: &str,
        sql: &[u8],
    ) -> Result<()> {
        let mut wanted = self.0.lock().await;
        if !wanted.contains_key(name) {
            match session.connection.define(ctx, sql).await {
                Err(error) if code(&error).is_some_and(|code| IS_THERE.contains(&code)) => return Ok(()),
                made => made?,
            };
            target.note_sequence(name, true);
        }
        *wanted.entry(name.to_owned()).or_default() += 1;
        Ok(())
    }

    /// Drops it behind the last table that wanted it.
    pub(super) async fn forget(
        &self,
        ctx: &Ctx,
        session: &mut Session,
        target: &Target,
        name: &str,
        sql: &[u8],
    ) -> Result<()> {
        let mut wanted = self.0.lock().await;
        let Some(tables) = wanted.get_mut(name) else { return Ok(()) };
        *tables -= 1;
        if *tables == 0 {
            session.connection.define(ctx, sql).await?;
            target.note_sequence(name, false);
            wanted.remove(name);
        }
        Ok(())
    }
}
