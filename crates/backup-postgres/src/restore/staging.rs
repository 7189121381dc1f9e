//! A new database, which takes the target's place when it is complete.

use std::time::Duration;

use backup_core::{Ctx, Error, ErrorKind, Existing, Result};

use super::globals::Globals;
use crate::catalog::{self, Reader};
use crate::config::Config;
use crate::connect::{Session, column};
use crate::ddl::quote::{ident, literal};
use crate::error::sql_state;
use crate::scratch::is_scratch;
use crate::spec::{DatabaseSpec, PlaceSpec};

/// The connection limit of an unfinished database, and of one that was replaced: only what has it is dropped by a later restore. CREATE DATABASE sets
/// it, so no moment is without it. (It is the text `life` as a number, and more than any server has connections.)
pub(super) const MARK: i32 = 0x6c69_6665;
/// The connection limit by which the server says that dropping a database was begun and did not end: nobody can connect to it.
const INVALID: i32 = -2;
/// Databases that every server has.
pub(crate) const ADMINISTERED_FROM: [&str; 2] = ["postgres", "template1"];
/// How long cleaning up may take.
const CLEANING: Duration = Duration::from_secs(60);
/// What is behind the name of a database that is being restored.
pub(crate) const RESTORING: &str = "-lifeboat-restoring";
/// The most bytes of a name.
const NAME: usize = 63;

/// The database that is loaded, and the one whose place it takes.
#[derive(Debug, Clone)]
pub(crate) struct Staging {
    /// A configuration that connects to no database of concern.
    pub(super) admin: Config,
    pub(super) name: String,
    pub(super) target: String,
    pub(super) replaced: String,
    /// If there is a target, what may become of what is in it: it was empty, or is to be replaced.
    pub(super) existing: Option<Existing>,
    /// If there is none, whose the new database is to be, as the backup has it.
    pub(super) place: Option<PlaceSpec>,
}

/// A session with a database of the server that is not `target`.
pub(crate) async fn administer(ctx: &Ctx, config: &Config, target: &str) -> Result<(Session, Config)> {
    let mut failure = None;
    for database in ADMINISTERED_FROM.into_iter().filter(|database| *database != target) {
        let admin = config.with_database(database);
        match Session::open(ctx, &admin).await {
            Ok(session) => return Ok((session, admin)),
            Err(error) if error.kind() == ErrorKind::NotFound => failure = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(failure.unwrap_or_else(|| Error::internal("there is no database to administer from")))
}

fn with_suffix(name: &str, suffix: &str) -> String {
    let mut end = name.len().min(NAME - suffix.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", name.get(..end).unwrap_or_default())
}

impl Staging {
    /// That of a database which is not there.
    pub(crate) fn named(admin: Config, target: &str) -> Self {
        Self {
            admin,
            name: with_suffix(target, RESTORING),
            target: target.to_owned(),
            replaced: with_suffix(target, "-lifeboat-replaced"),
            existing: None,
            place: None,
        }
    }

    pub(crate) fn target(&self) -> &str {
        &self.target
    }

    /// Creates the new database. `existing` says what may become of one of the target's name, if there is one.
    pub(super) async fn create(
        ctx: &Ctx,
        session: &Session,
        admin: Config,
        target: &str,
        existing: Option<Existing>,
        spec: Option<&DatabaseSpec>,
    ) -> Result<Self> {
        let mut staging = Self::named(admin, target);
        staging.existing = existing;
        staging.drop_stale(ctx, session).await?;
        let place = match existing {
            Some(_) => catalog::place(Reader::new(ctx, session), target).await?,
            // One that is compared and dropped again is nobody's.
            None if is_scratch(target) => None,
            None => {
                staging.place = spec.and_then(|spec| spec.place.clone());
                staging.place.clone()
            }
        };
        let mut sql =
            format!("CREATE DATABASE {} TEMPLATE template0 CONNECTION LIMIT {MARK}", ident(&staging.name));
        if let Some(spec) = spec {
            check_locale(spec, session.version / 10_000)?;
            sql += &options(spec, session.version);
        }
        if let Some(tablespace) = place.and_then(|place| place.tablespace) {
            sql += &in_tablespace(ctx, session, &tablespace).await?;
        }
        let Err(error) = session.execute(ctx, &sql).await else { return Ok(staging) };
        let error = error.during(format!("create database {}", staging.name.escape_debug()));
        if sql_state(&error).is_none() {
            // It may be there all the same.
            if let Err(state) = staging.drop_database(&Globals::default()).await {
                return Err(error.afterwards(&state));
            }
            if session.is_busy() {
                return Err(error.hint("the server may still be creating it: the next restore drops it"));
            }
        }
        Err(match error.kind() {
            ErrorKind::PermissionDenied => error.hint("the account needs CREATEDB to restore"),
            _ => error,
        })
    }

    /// Gives the new database to whom it belongs, if it takes nobody's place.
    pub(super) async fn give(&self, ctx: &Ctx, session: &Session) -> Result<()> {
        let Some(place) = &self.place else { return Ok(()) };
        for statement in place.owning(&self.name, &mut Default::default())? {
            session.statement(ctx, &statement).await?;
        }
        Ok(())
    }

    /// How to connect to the new database.
    pub(super) fn config(&self) -> Config {
        self.admin.with_database(&self.name)
    }

    /// Drops what a restore that was killed has left, and refuses what is not known to be that.
    async fn drop_stale(&self, ctx: &Ctx, session: &Session) -> Result<()> {
        let sql = "SELECT d.datname::text AS name, d.datconnlimit AS mark,
                          EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid) AS used
                   FROM pg_catalog.pg_database d WHERE d.datname IN ($1, $2)";
        for row in session.rows(ctx, sql, &[&self.name, &self.replaced]).await? {
            let name = column::<&str>(&row, "name")?;
            let (mark, used) = (column::<i32>(&row, "mark")?, column::<bool>(&row, "used")?);
            let ours = is_marked(mark);
            if ours && used {
                return Err(Error::new(
                    ErrorKind::Locked,
                    format!("another restore into {} is running", self.target.escape_debug()),
                )
                .hint(format!("wait for it, or end the sessions of database {}", name.escape_debug())));
            }
            if !ours {
                let message = format!("there is a database {} already", name.escape_debug());
                return Err(Error::new(ErrorKind::AlreadyExists, message)
                    .hint("it may be what an earlier restore replaced: look at it, and drop or rename it"));
            }
            ctx.warn(format!(
                "database {}, left by a restore that did not end, is dropped",
                name.escape_debug()
            ));
            self.drop_unused(ctx, session, name, mark).await?;
        }
        Ok(())
    }

    /// Drops one of the databases, unless somebody is connected to it.
    pub(crate) async fn drop_unused(
        &self,
        ctx: &Ctx,
        session: &Session,
        name: &str,
        mark: i32,
    ) -> Result<()> {
        // What was replaced has none: such a database is refused.
        if mark != INVALID && name != self.replaced {
            self.forget_subscriptions(ctx, name).await?;
        }
        session.execute(ctx, &format!("DROP DATABASE {}", ident(name))).await
    }

    /// Drops the subscriptions of the new database, without which it cannot be dropped. They have connected to nothing yet, so the slots
    /// that they name are not theirs to drop.
    async fn forget_subscriptions(&self, ctx: &Ctx, name: &str) -> Result<()> {
        let session = match Session::open(ctx, &self.admin.with_database(name)).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let sql = "SELECT s.subname::text AS name FROM pg_catalog.pg_subscription s
                   JOIN pg_catalog.pg_database d ON d.oid = s.subdbid AND d.datname = pg_catalog.current_database()";
        for row in session.rows(ctx, sql, &[]).await? {
            let name = ident(column::<&str>(&row, "name")?);
            for statement in [
                format!("ALTER SUBSCRIPTION {name} DISABLE"),
                format!("ALTER SUBSCRIPTION {name} SET (slot_name = NONE)"),
                format!("DROP SUBSCRIPTION {name}"),
            ] {
                session.execute(ctx, &statement).await?;
            }
        }
        Ok(())
    }

    /// Drops the new database, whatever is connected to it, and what was made for it.
    pub(super) async fn drop_database(&self, globals: &Globals) -> Result<()> {
        let ctx = Ctx::new();
        let dropped = bounded(Box::pin(self.drop_by_force(&ctx, &self.name))).await;
        let session = dropped.map_err(|error| {
            let state = format!(
                "the target is as it was, but the unfinished database {} may still be there",
                self.name.escape_debug()
            );
            error.during(state).hint("the next restore drops it")
        })?;
        bounded(Box::pin(globals.take_back(&ctx, &session))).await.map_err(|error| {
            let state = "the target is as it was, but some of the roles and tablespaces that were made may still be there";
            error.during(state)
        })
    }

    /// Drops the new database and the target, whatever is connected to them.
    pub(crate) async fn drop_both(&self) -> Result<()> {
        let ctx = Ctx::new();
        let drop = async {
            self.drop_by_force(&ctx, &self.name).await?;
            self.drop_by_force(&ctx, &self.target).await.map(drop)
        };
        bounded(Box::pin(drop)).await
    }

    /// Drops a database, if it is there, and gives the session that did it.
    async fn drop_by_force(&self, ctx: &Ctx, name: &str) -> Result<Session> {
        self.forget_subscriptions(ctx, name).await?;
        let session = Session::open(ctx, &self.admin).await?;
        end_sessions(ctx, &session, name).await?;
        let force = if session.version >= 130_000 { " WITH (FORCE)" } else { "" };
        session.execute(ctx, &format!("DROP DATABASE IF EXISTS {}{force}", ident(name))).await?;
        Ok(session)
    }
}

/// Whether a database of this connection limit is one of ours that nobody needs.
pub(crate) fn is_marked(limit: i32) -> bool {
    limit == MARK || limit == INVALID
}

/// Waits so long as cleaning up may take.
async fn bounded<T>(clean: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(CLEANING, clean).await {
        Ok(cleaned) => cleaned,
        Err(_) => Err(Error::new(ErrorKind::TimedOut, "the server does not answer")),
    }
}

/// Ends the sessions of a database that the account may end: not those of superusers, unless it is one. The server's own, which clean up, are
/// nobody's, and give way.
pub(super) async fn end_sessions(ctx: &Ctx, session: &Session, database: &str) -> Result<()> {
    let sql = "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a
               JOIN pg_catalog.pg_roles u ON u.oid = a.usesysid JOIN pg_catalog.pg_roles me ON me.rolname = CURRENT_USER
               WHERE a.datname = $1 AND a.pid <> pg_catalog.pg_backend_pid()
                 AND (me.rolsuper OR NOT u.rolsuper AND (pg_catalog.pg_has_role(u.oid, 'USAGE')
                                                         OR pg_catalog.pg_has_role('pg_signal_backend'::pg_catalog.name, 'USAGE')))";
    session.rows(ctx, sql, &[&database]).await.map(drop)
}

/// What puts a new database into a tablespace, if it may be there.
async fn in_tablespace(ctx: &Ctx, session: &Session, name: &str) -> Result<String> {
    let sql = "SELECT pg_catalog.has_tablespace_privilege(s.oid, 'CREATE') AS allowed FROM pg_catalog.pg_tablespace s WHERE s.spcname = $1";
    let rows = session.rows(ctx, sql, &[&name]).await?;
    let why = match rows.first().map(|row| column::<bool>(row, "allowed")).transpose()? {
        Some(true) => return Ok(format!(" TABLESPACE {}", ident(name))),
        Some(false) => "the account may not create there",
        None => "the server lacks it",
    };
    ctx.warn(format!("the new database does not lie in tablespace {}: {why}", name.escape_debug()));
    Ok(String::new())
}

/// An error if the version does not sort as the database does.
fn check_locale(spec: &DatabaseSpec, version: u32) -> Result<()> {
    let (since, what) = match spec.provider.as_str() {
        "i" if spec.rules.is_some() => (16, "rules of ICU's"),
        "i" => (15, "ICU"),
        "b" => (17, "the built-in provider"),
        _ => return Ok(()),
    };
    if version >= since {
        return Ok(());
    }
    Err(Error::unsupported(format!("the database sorts by {what}, which PostgreSQL {version} does not"))
        .hint("make an empty database as it should be, and restore into that"))
}

fn options(spec: &DatabaseSpec, version: u32) -> String {
    let mut sql = format!(
        " ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        literal(&spec.encoding),
        literal(&spec.collate),
        literal(&spec.ctype)
    );
    if version >= 150_000 {
        let (provider, option) = match spec.provider.as_str() {
            "i" => ("icu", "ICU_LOCALE"),
            "b" => ("builtin", "BUILTIN_LOCALE"),
            _ => ("libc", ""),
        };
        sql += &format!(" LOCALE_PROVIDER {provider}");
        if let Some(locale) = spec.locale.as_ref().filter(|_| !option.is_empty()) {
            sql += &format!(" {option} {}", literal(locale));
        }
        if let Some(rules) = spec.rules.as_ref().filter(|_| version >= 160_000) {
            sql += &format!(" ICU_RULES {}", literal(rules));
        }
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_leaves_room_for_what_is_said_behind_it() {
        assert_eq!(with_suffix("shop", "-x"), "shop-x");
        let long = with_suffix(&"ö".repeat(31), "-lifeboat-restoring");
        assert!(long.len() <= NAME && long.ends_with("ö-lifeboat-restoring"), "{long}");
    }
}
