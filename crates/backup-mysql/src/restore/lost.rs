//! Sequences that defaults count by and that are not there any more: they stand in while the tables that name them are made and filled.

use backup_core::{Ctx, Part, Result};

use super::session::Session;
use super::{IS_THERE, Restore};
use crate::error::code;

impl Restore {
    /// Makes one for a table, unless it is there for another one, or is somebody's; or drops it when `is_over`, behind the last table that
    /// wanted it.
    pub(super) async fn lost_sequence(
        &self,
        ctx: &Ctx,
        part: &Part,
        session: &mut Session,
        is_over: bool,
        sql: &[u8],
    ) -> Result<()> {
        let name = part.object.name.as_str();
        let mut lost = self.lost.lock().await;
        match (lost.get_mut(name), is_over) {
            // It is somebody's.
            (None, true) => {}
            (None, false) => {
                match session.connection.define(ctx, sql).await {
                    Err(error) if code(&error).is_some_and(|code| IS_THERE.contains(&code)) => return Ok(()),
                    made => made?,
                };
                self.target.note_sequence(name, true);
                lost.insert(name.to_owned(), 1);
            }
            (Some(tables), false) => *tables += 1,
            (Some(tables), true) => {
                *tables -= 1;
                if *tables == 0 {
                    session.connection.define(ctx, sql).await?;
                    self.target.note_sequence(name, false);
                    lost.remove(name);
                }
            }
        }
        Ok(())
    }
}
