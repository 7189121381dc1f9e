//! What proves that several connections are with one server, and that it has the tables of its snapshot still: an address may be that of
//! several servers, and whoever alters a table does not wait for who has not looked into it yet.

use std::collections::BTreeMap;

use backup_core::{Ctx, Error, ErrorKind, Result};

use crate::catalog::Reading;
use crate::config::Config;
use crate::connect::{Connection, place};
use crate::ddl::quote::text;
use crate::error::code;

/// How a server is told from others: by a lock of a name that nobody else takes, which its holder's server alone knows; or where
/// such are not allowed, as on a cluster of Percona's, by what it says of itself.
#[derive(Debug, Clone)]
pub(crate) enum Witness {
    Lock(String),
    Said(String),
}

const ITSELF: &str = "SELECT CONCAT_WS(' ', @@hostname, @@port, @@server_id)";

impl Witness {
    /// It lasts as long as `connection`.
    pub(crate) async fn of(ctx: &Ctx, connection: &mut Connection) -> Result<Self> {
        let name = Reading::new(connection.row(ctx, "SELECT CONCAT('lifeboat-', UUID())").await?).text()?;
        match connection.row(ctx, &format!("SELECT GET_LOCK({}, 0)", text(&name))).await {
            Ok(_) => Ok(Self::Lock(name)),
            Err(error) if code(&error).is_none() => Err(error),
            Err(_) => Ok(Self::Said(Reading::new(connection.row(ctx, ITSELF).await?).text()?)),
        }
    }

    /// An error unless `connection` is with the same server.
    pub(crate) async fn check(&self, ctx: &Ctx, config: &Config, connection: &mut Connection) -> Result<()> {
        let is_same = match self {
            Self::Lock(name) => {
                let sql = format!("SELECT IS_USED_LOCK({}) IS NOT NULL", text(name));
                Reading::new(connection.row(ctx, &sql).await?).number()? == 1
            }
            Self::Said(said) => Reading::new(connection.row(ctx, ITSELF).await?).text()? == *said,
        };
        if is_same {
            return Ok(());
        }
        let message =
            format!("{} is the address of several servers, which have no snapshot together", place(config));
        Err(Error::new(ErrorKind::Connect, message)
            .hint("name one of them, and not what divides connections up among them"))
    }
}

/// The tables of a database, and what changes of one if it becomes another.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    all: BTreeMap<String, Made>,
    /// By the server's clock.
    read_at: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Made {
    kind: String,
    /// When, if the server knows it: of a table that it has just opened MariaDB does not always.
    at: Option<String>,
}

impl Tables {
    /// Those that there are now. In a transaction with a snapshot MySQL says those of the snapshot.
    pub(crate) async fn now(ctx: &Ctx, connection: &mut Connection, database: &str) -> Result<Self> {
        let read_at = Reading::new(connection.row(ctx, "SELECT NOW()").await?).text()?;
        let sql = format!(
            "SELECT TABLE_NAME, CONCAT_WS(' ', TABLE_TYPE, ENGINE), CREATE_TIME FROM information_schema.TABLES \
             WHERE TABLE_SCHEMA = {} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED')",
            text(database)
        );
        let rows = connection.rows(ctx, &sql).await?;
        let table = |row| {
            let mut row = Reading::new(row);
            Ok((row.text()?, Made { kind: row.text()?, at: row.maybe()? }))
        };
        Ok(Self { all: rows.into_iter().map(table).collect::<Result<_>>()?, read_at })
    }

    /// One of those that are read, of `now` or of these, that is not what it was.
    pub(crate) fn changed<'a>(
        &'a self,
        now: &Self,
        read: impl Iterator<Item = &'a str>,
        selects: impl Fn(&str) -> bool,
    ) -> Option<&'a str> {
        let were = self.all.keys().map(String::as_str).filter(|name| selects(name));
        let is_same = |name: &str| match (self.all.get(name), now.all.get(name)) {
            (Some(was), Some(is)) => {
                let is_as_old = match (&was.at, &is.at) {
                    (Some(was), Some(is)) => was == is,
                    (None, Some(is)) => *is <= self.read_at,
                    (_, None) => true,
                };
                was.kind == is.kind && is_as_old
            }
            _ => false,
        };
        were.chain(read).find(|name| !is_same(name))
    }
}

#[cfg(test)]
mod tests {
    use super::{Made, Tables};

    fn tables(all: &[(&str, &str, Option<&str>)]) -> Tables {
        let made = |kind: &str, at: Option<&str>| Made { kind: kind.to_owned(), at: at.map(str::to_owned) };
        let all = all.iter().map(|(name, kind, at)| ((*name).to_owned(), made(kind, *at)));
        Tables { all: all.collect(), read_at: "5".to_owned() }
    }

    #[test]
    fn a_table_that_came_went_or_became_another_is_named_if_it_is_read() {
        let before = tables(&[("a", "InnoDB", None), ("b", "InnoDB", Some("2"))]);
        let changed = |now: &[(&str, &str, Option<&str>)], read: &[&'static str]| {
            let found = before.changed(&tables(now), read.iter().copied(), |name| read.contains(&name));
            found.map(str::to_owned)
        };
        let (all, is_b) = (["a", "b", "c"], Some("b".to_owned()));
        let (a, b) = (("a", "InnoDB", Some("4")), ("b", "InnoDB", Some("2")));
        assert_eq!(changed(&[a, b], &all[..2]), None);
        assert_eq!(changed(&[("a", "InnoDB", None), ("b", "InnoDB", None)], &all[..2]), None);
        assert_eq!(changed(&[a], &all[..2]), is_b);
        assert_eq!(changed(&[a, ("b", "InnoDB", Some("3"))], &all[..2]), is_b);
        assert_eq!(changed(&[a, ("b", "MyISAM", Some("2"))], &all[..2]), is_b);
        assert_eq!(changed(&[("a", "InnoDB", Some("6")), b], &all[..2]), Some("a".to_owned()));
        assert_eq!(changed(&[a, b, ("c", "InnoDB", Some("4"))], &all), Some("c".to_owned()));
        assert_eq!(changed(&[a, ("b", "InnoDB", Some("3"))], &all[..1]), None);
    }
}
