//! Routines whose libraries are not there any more.

use std::collections::BTreeSet;

use backup_core::{Ctx, Part, PartReader, Result};

use super::session::Session;
use super::{Restore, was_there};
use crate::catalog::library::LostLibraries;
use crate::catalog::spec::SqlSpec;

impl Restore {
    /// Makes one beside what stands in for its libraries: those that are there are somebody's.
    pub(super) async fn routine_of_lost(
        &self,
        ctx: &Ctx,
        part: &Part,
        session: &mut Session,
        made_from: &SqlSpec,
        lost: &LostLibraries,
        input: &mut PartReader,
    ) -> Result<()> {
        let mut made = BTreeSet::new();
        while let Some(sql) = input.next_whole().await? {
            if let Some(library) = lost.drops(&sql) {
                if made.remove(library) {
                    self.make(ctx, session, made_from, sql.clone()).await?;
                    self.target.note_momentary("LIBRARY", library, false);
                }
                continue;
            }
            let Some(library) = lost.makes(&sql) else {
                self.make_noted(ctx, session, part, made_from, sql).await?;
                continue;
            };
            match self.make(ctx, session, made_from, sql.clone()).await {
                Err(error) if was_there(&error) => {}
                done => {
                    done?;
                    self.target.note_momentary("LIBRARY", library, true);
                    made.insert(library);
                }
            }
        }
        Ok(())
    }
}
