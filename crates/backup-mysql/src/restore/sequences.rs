//! Sequences that others may count by, too, and sequences that are not there any more and stand in while the tables that name them are made and filled.

use backup_core::{Ctx, Part, PartReader, Result};

use super::session::Session;
use super::{Restore, was_there};
use crate::catalog::Reading;
use crate::ddl::lex::{Token, words};
use crate::ddl::quote::identifier;
use crate::ddl::raw;
use crate::error::{code, malformed};
use crate::snapshot::is_denied;

/// ER_NO_SUCH_TABLE, ER_NOT_SEQUENCE, ER_UNKNOWN_SEQUENCES.
const IS_NOT_THERE: [u16; 3] = [1146, 4089, 4091];

/// Lets a sequence of the target go on to where it is in the backup, by the statement `sql` that would have set it so; never back, since others may have
/// counted on.
pub(super) async fn advance(ctx: &Ctx, part: &Part, session: &mut Session, sql: Vec<u8>) -> Result<()> {
    let sql = raw::to_text(sql)?;
    let (next, round) = place(&sql).ok_or_else(|| malformed("a sequence's value that is none"))?;
    session.plain(ctx).await?;
    let name = identifier(&part.object.name);
    // Nothing where it is there already or beyond.
    let row = match session.connection.row(ctx, &format!("SELECT SETVAL({name}, {next}, 0, {round})")).await {
        // Rows alone go into a table that counts otherwise.
        Err(error) if code(&error).is_some_and(|code| IS_NOT_THERE.contains(&code)) => {
            ctx.warn(format!("{} is not in the target, and is left out", part.object));
            return Ok(());
        }
        row => row?,
    };
    let went = Reading::new(row).maybe()?.is_some();
    ctx.warn(format!(
        "{} is there, and others may count by it: it stays as it is, {}",
        part.object,
        if went { "and goes on from where it is in the backup" } else { "and goes on from where it was" }
    ));
    Ok(())
}

/// The next value and the number of rounds, out of all that there is to know of a sequence.
fn place(sql: &str) -> Option<(String, String)> {
    let values = words(sql).skip_while(|token| *token != Token::Other("(")).skip(1);
    let values: String = values.take_while(|token| *token != Token::Other(")")).map(Token::as_str).collect();
    let values: Vec<_> = values.split(',').collect();
    let [next, .., round] = values.as_slice() else { return None };
    [next, round]
        .iter()
        .all(|value| value.parse::<i128>().is_ok())
        .then(|| ((*next).to_owned(), (*round).to_owned()))
}

impl Restore {
    /// Makes one for a table, unless it is there for another one, or is somebody's; or drops it when `is_over`, behind the last table that
    /// wanted it. If it is of another `database`, that one too; one that is there is let alone.
    pub(super) async fn lost_sequence(
        &self,
        ctx: &Ctx,
        part: &Part,
        session: &mut Session,
        is_over: bool,
        database: Option<&str>,
        input: &mut PartReader,
    ) -> Result<()> {
        let mut statements = Vec::new();
        while let Some(sql) = input.next_whole().await? {
            statements.push(sql);
        }
        let name = part.object.name.as_str();
        let key = (database.map(str::to_owned), name.to_owned());
        let mut lost = self.lost.lock().await;
        let of_database = |(of, _): &&(Option<String>, String)| of.is_some() && of.as_deref() == database;
        let is_made = lost.keys().any(|key| of_database(&key));
        match (lost.get_mut(&key), is_over) {
            // It is somebody's.
            (None, true) => {}
            (None, false) => {
                if let Some(database) = database.filter(|_| !is_made) {
                    match self.target.make_stand_in(ctx, session, database).await {
                        Err(error) if is_denied(&error) => return Ok(()),
                        Ok(false) => return Ok(()),
                        made => made?,
                    };
                }
                // The last makes the sequence.
                if let Some(sql) = statements.last() {
                    match session.connection.define(ctx, sql).await {
                        Err(error) if database.is_some() && is_denied(&error) || was_there(&error) => {
                            return Ok(());
                        }
                        made => made?,
                    };
                }
                if database.is_none() {
                    self.target.note_momentary("SEQUENCE", name, true);
                }
                lost.insert(key, 1);
            }
            (Some(tables), false) => *tables += 1,
            (Some(tables), true) => {
                *tables -= 1;
                if *tables > 0 {
                    return Ok(());
                }
                lost.remove(&key);
                let is_last = !lost.keys().any(|key| of_database(&key));
                for sql in statements.iter().take(if is_last { 2 } else { 1 }) {
                    session.connection.define(ctx, sql).await?;
                }
                match database {
                    Some(database) if is_last => self.target.forget_stand_in(ctx, session, database).await?,
                    Some(_) => {}
                    None => self.target.note_momentary("SEQUENCE", name, false),
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::place;

    #[test]
    fn where_a_sequence_is_is_found_in_what_sets_it() {
        let sql = "INSERT INTO `a (1,2` VALUES (-501, -9223372036854775807, -1, -1, -2, 1000, 0, 3)";
        assert_eq!(place(sql), Some(("-501".to_owned(), "3".to_owned())));
        assert_eq!(place("INSERT INTO `s` VALUES ()"), None);
    }
}
