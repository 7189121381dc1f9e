//! A scratch database: made by a restore beside the target, to be compared with the backup, and dropped again.
//!
//! While it is in use, a session of ours has its number in its application's name. A session ends with its process however that ends, so what was
//! left behind is told apart from what is in use, and dropped the next time. Only databases are that have our mark besides such a name.

use std::sync::Arc;

use backup_core::{Ctx, Engine, Error, Result, Scratch, async_trait};

use crate::catalog::{shared, utf8};
use crate::config::Config;
use crate::connect::{Session, column};
use crate::engine::Postgres;
use crate::restore::{RESTORING, Staging, administer, is_marked};

/// What is between the target's name and a number that nobody else has.
const INFIX: &str = "-scratch-";
/// What is before it in the name of the application that uses it: servers keep ASCII alone there.
const IN_USE: &str = "lifeboat-scratch-";
/// How many bytes such a name may have: a restore says something behind it.
const NAME: usize = 44;

/// The place of a scratch database. Dropping it drops the database.
#[derive(Debug)]
pub(crate) struct ScratchDatabase {
    config: Config,
    /// How to drop it, and the session that says that it is in use.
    end: Option<(Staging, Session)>,
}

impl ScratchDatabase {
    /// One on the server of `config`, where those are dropped that nobody uses any more.
    pub(crate) async fn beside(ctx: &Ctx, config: &Config) -> Result<Self> {
        let mut number = [0; 8];
        getrandom::fill(&mut number)
            .map_err(|error| Error::internal(format!("the system gives no random number: {error}")))?;
        let number = u64::from_be_bytes(number);
        let name = name(&config.database, number);
        let (session, mut admin) = administer(ctx, config, &name).await?;
        drop_left_behind(ctx, &session, &admin).await?;
        admin.application_name = format!("{IN_USE}{number:016x}");
        let in_use = Session::open(ctx, &admin).await?;
        admin.application_name.clone_from(&config.application_name);
        let staging = Staging::named(admin, &name);
        Ok(Self { config: config.with_database(&name), end: Some((staging, in_use)) })
    }
}

fn name(target: &str, number: u64) -> String {
    let suffix = format!("{INFIX}{number:016x}");
    let mut end = target.len().min(NAME - suffix.len());
    while !target.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", target.get(..end).unwrap_or_default())
}

/// Whether a database of that name is a scratch database.
pub(crate) fn is_scratch(name: &str) -> bool {
    let number = name.rsplit_once(INFIX).map(|(_, number)| number);
    number.is_some_and(|n| n.len() == 16 && n.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f')))
}

async fn drop_left_behind(ctx: &Ctx, session: &Session, admin: &Config) -> Result<()> {
    let sql = format!(
        "SELECT {} AS name, d.datconnlimit AS mark FROM pg_catalog.pg_database d
         WHERE d.datname ~ '{INFIX}[0-9a-f]{{16}}'
           AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid
                           OR a.application_name = '{IN_USE}' || pg_catalog.substring(d.datname::text, '{INFIX}([0-9a-f]{{16}})'))",
        shared("d.datname")
    );
    for row in session.rows(ctx, &sql, &[]).await? {
        let (Ok(name), mark) = (utf8(column(&row, "name")?), column::<i32>(&row, "mark")?) else { continue };
        let left = Staging::named(admin.clone(), name.strip_suffix(RESTORING).unwrap_or(name));
        if !is_marked(mark) || !is_scratch(left.target()) {
            continue;
        }
        match left.drop_unused(ctx, session, name, mark).await {
            Ok(()) => ctx.warn(format!(
                "database {}, left by a run that was cut off, is dropped",
                name.escape_debug()
            )),
            Err(error) => ctx.warn(format!(
                "database {}, left by a run that was cut off, is still there: {error}",
                name.escape_debug()
            )),
        }
    }
    Ok(())
}

impl Drop for ScratchDatabase {
    fn drop(&mut self) {
        if let (Some((staging, in_use)), Ok(runtime)) =
            (self.end.take(), tokio::runtime::Handle::try_current())
        {
            runtime.spawn(async move {
                // If it cannot be dropped now, the next one drops it.
                let _ = staging.drop_both().await;
                drop(in_use);
            });
        }
    }
}

#[async_trait]
impl Scratch for ScratchDatabase {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Postgres::new(self.config.clone()))
    }

    async fn discard(mut self: Box<Self>) -> Result<()> {
        let Some((staging, in_use)) = self.end.take() else { return Ok(()) };
        let dropped = staging.drop_both().await;
        drop(in_use);
        dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_it_is_of_and_leaves_room_for_what_a_restore_says_behind_it() {
        assert_eq!(name("shop", 255), "shop-scratch-00000000000000ff");
        for target in ["shop", "", &"ö".repeat(31)] {
            let name = name(target, u64::MAX);
            assert!(name.len() + RESTORING.len() <= 63, "{name}");
            assert!(is_scratch(&name), "{name}");
        }
        for other in [
            "shop",
            "shop-scratch-",
            "shop-scratch-00000000000000FF",
            "shop-scratch-0",
            "a-scratch-00000000000000ff ",
        ] {
            assert!(!is_scratch(other), "{other}");
        }
    }
}
