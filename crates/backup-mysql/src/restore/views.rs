//! Views, and what stands in for what they read while they are made.

use std::collections::BTreeSet;

use backup_core::{Ctx, Part, PartReader, Result};

use super::Restore;
use super::session::Session;
use crate::catalog::spec::SqlSpec;
use crate::catalog::stand_in::StandIns;
use crate::error::code;

/// ER_VIEW_NONUPD_CHECK: what a view with a CHECK OPTION reads cannot be updated.
const NOT_UPDATABLE: u16 = 1368;

impl Restore {
    /// Makes a view.
    pub(super) async fn view(
        &self,
        ctx: &Ctx,
        part: &Part,
        session: &mut Session,
        made_from: &SqlSpec,
        (invalid, stand_ins): (bool, &StandIns),
        input: &mut PartReader,
    ) -> Result<()> {
        self.target.note_made(part, made_from);
        let mut statements = Vec::new();
        while let Some(sql) = input.next_whole().await? {
            statements.push(sql);
        }
        // Beside what is there nothing is put aside, nor stands in for anything.
        let alone = !self.target.is_whole();
        // One that is valid may want nothing of that. The server knows.
        if alone || !invalid {
            let view = statements.iter().find(|sql| is_view(sql)).or(statements.first());
            let made = match view {
                Some(view) => {
                    let view = self.orphans.adopt(part, made_from, view.clone());
                    self.make_noted(ctx, session, part, made_from, view).await
                }
                None => Ok(()),
            };
            let is_refused = made.as_ref().is_err_and(|error| code(error) == Some(NOT_UPDATABLE));
            if alone || !is_refused || statements.len() < 2 {
                return made;
            }
        }
        // Of a database that is there the view reads what that has.
        let (mut there, mut refused) = (BTreeSet::new(), false);
        for sql in statements {
            if refused && stand_ins.names_itself(&sql) {
                continue;
            }
            if stand_ins.within(&sql).is_some_and(|database| there.contains(database)) {
                continue;
            }
            if let Some(database) = stand_ins.makes(&sql) {
                if !self.target.make_stand_in(ctx, session, database).await? {
                    there.insert(database);
                }
                continue;
            }
            match self.make(ctx, session, made_from, sql.clone()).await {
                // It was invalid in the source, which was said. What stands in is taken away again.
                Err(error) if invalid && is_view(&sql) && code(&error).is_some() => {
                    refused = true;
                    ctx.warn(format!(
                        "{} is not restored, since the server refuses it; its definition is in the backup: {error}",
                        part.object
                    ));
                }
                done => {
                    done?;
                    if let Some(database) = stand_ins.drops(&sql) {
                        self.target.forget_stand_in(ctx, session, database).await?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Whether a statement makes a view, as the server prints it, and not what stands in for what it reads.
fn is_view(sql: &[u8]) -> bool {
    sql.starts_with(b"CREATE ALGORITHM")
}
