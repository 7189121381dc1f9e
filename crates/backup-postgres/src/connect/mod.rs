//! Getting in: one session with a server, its settings pinned, and what it does cancelled on the server when the operation is.

mod copy;
mod dial;
mod wire;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backup_core::{Ctx, Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, Client, Row, SimpleQueryMessage};

use crate::config::{Config, Host, SessionAttrs};
use crate::error::{classify, not_as_expected, sql_state};
use wire::Tap;

pub(crate) use copy::HeldRows;
pub(crate) use wire::ASKED;

/// The oldest major version whose catalogs are known.
const OLDEST: u32 = 12;
/// The newest version whose catalogs are known.
pub(crate) const NEWEST: u32 = 18;

/// Whatever the database, the account and the environment have set, this is what holds: texts mean the same here and where they
/// are restored, and names mean nothing but what they say.
const SETTINGS: &str = "
SET search_path = '';
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET datestyle = ISO;
SET intervalstyle = postgres;
SET extra_float_digits = 3;
SET array_nulls = on;
SET timezone = 'UTC';
SET lc_monetary = 'C';
SET bytea_output = hex;
SET xmloption = content;
SET quote_all_identifiers = off;
SET synchronize_seqscans = off;
SET check_function_bodies = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
SET row_security = off;
SET idle_in_transaction_session_timeout = 0;
SET client_min_messages = error;
SET jit = off;
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('transaction_timeout', 'idle_session_timeout')";

/// How long others of an operation have to tell why it fails.
const TELLING: Duration = Duration::from_secs(1);

/// How long a server may take to hear that a statement is to be cancelled.
const CANCELLING: Duration = Duration::from_secs(5);

/// How long an answer that the server has sent may be under way.
const UNDER_WAY: Duration = Duration::from_secs(5);

/// How often a statement is tried that others of ours get in the way of.
const ATTEMPTS: usize = 20;

/// Lets whoever has lost a session say why: who finds it gone knows less, and the first error is the one that people see.
pub(crate) async fn first_error(ctx: &Ctx) {
    let _ = ctx
        .run(async {
            tokio::time::sleep(TELLING).await;
            Ok(())
        })
        .await;
}

/// One session.
pub(crate) struct Session {
    client: Client,
    connection: JoinHandle<()>,
    cancel: CancelToken,
    /// Takes rows out of the connection before the driver sees them.
    tap: Arc<Tap>,
    /// How others are opened that look after this one. It names one host.
    config: Config,
    /// Its number on the server; none for one that looks after another.
    process: Option<i32>,
    /// Whether a statement may be running.
    busy: AtomicBool,
    /// `server_version_num`.
    pub(crate) version: u32,
}

impl Session {
    /// Connects to the database of `config`, which names one host (see [`choose`]), and pins the settings.
    pub(crate) async fn open(ctx: &Ctx, config: &Config) -> Result<Self> {
        let opened = Self::log_in(ctx, config).await;
        let mut session = opened.map_err(|error| error.during(format!("connect to {}", place(config))))?;
        let about = "SELECT pg_catalog.current_setting('server_version_num')::int AS version, pg_catalog.pg_backend_pid() AS process";
        let rows = session.rows(ctx, about, &[]).await?;
        let row = rows.first().ok_or_else(|| Error::internal("a server says nothing of itself"))?;
        session.version = column::<i32>(row, "version")?.unsigned_abs();
        session.process = Some(column(row, "process")?);
        let timeouts = format!(
            "SET lock_timeout = {}; SET statement_timeout = {}",
            config.lock_timeout, config.statement_timeout
        );
        session.execute(ctx, &timeouts).await?;
        Ok(session)
    }

    async fn log_in(ctx: &Ctx, config: &Config) -> Result<Self> {
        let tap = Arc::new(Tap::default());
        let log_in = tokio::time::timeout(config.connect_timeout, dial::log_in(config, &tap));
        let (client, connection) = ctx.run(async { log_in.await.unwrap_or_else(|_| Err(silent())) }).await?;
        // Older ones do not know all settings.
        new_enough(connection.parameter("server_version").unwrap_or_default())?;
        let session = Self {
            cancel: client.cancel_token(),
            client,
            connection: tokio::spawn(async move {
                // Whoever waits for an answer hears of the error.
                let _ = connection.await;
            }),
            tap,
            config: config.clone(),
            process: None,
            busy: AtomicBool::new(false),
            version: 0,
        };
        session.execute(ctx, SETTINGS).await?;
        Ok(session)
    }

    /// Waits for `statement`, unless the operation is cancelled.
    pub(crate) async fn run<T>(
        &self,
        ctx: &Ctx,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        self.set_busy(true);
        let result = self.wait(ctx, async { Ok(statement.await) }).await?;
        self.set_busy(false);
        result.map_err(classify)
    }

    /// Waits for an answer of the server, unless the operation is cancelled: then the server is told so, and has heard it when this
    /// returns, if it hears anything.
    pub(crate) async fn wait<T>(&self, ctx: &Ctx, answer: impl Future<Output = Result<T>>) -> Result<T> {
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            biased;
            () = ctx.cancelled() => {}
            answer = self.wait_while_at_work(ctx, answer.as_mut()) => return answer,
        }
        if self.is_busy() {
            let called_off = async {
                cancel(&self.cancel, &self.config).await;
                answer.await
            };
            if tokio::time::timeout(CANCELLING, called_off).await.is_ok() {
                self.set_busy(false);
            }
        }
        Err(Error::cancelled())
    }

    /// Waits for an answer. Where none comes for long, another session looks whether the server is at work on it: an
    /// answer may take hours, but a server that has gone silent, or a connection on which nothing arrives, is an error.
    async fn wait_while_at_work<T>(
        &self,
        ctx: &Ctx,
        mut answer: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        loop {
            if let Ok(answer) = tokio::time::timeout(self.config.silence_timeout, answer.as_mut()).await {
                return answer;
            }
            if self.process.is_none() {
                // So long nothing takes that is said at first.
                return Err(silent());
            }
            let at_work = Box::pin(self.is_at_work(ctx));
            // Meanwhile the answer may come.
            tokio::select! {
                biased;
                answer = answer.as_mut() => return answer,
                at_work = at_work => if at_work? { continue },
            }
            if let Ok(answer) = tokio::time::timeout(UNDER_WAY, answer.as_mut()).await {
                return answer;
            }
            let message = "the server has answered, but the answer does not arrive";
            return Err(Error::new(ErrorKind::TimedOut, message)
                .hint("check the network between here and the server"));
        }
    }

    /// Whether the server is at work on what this session has asked for. Errors if it does not answer at all.
    async fn is_at_work(&self, ctx: &Ctx) -> Result<bool> {
        let look = async {
            let other = Self::log_in(ctx, &self.config).await?;
            // One who may not see what others do sees no state.
            let sql = "SELECT a.state IS NULL OR a.state NOT LIKE 'idle%' AND a.wait_event IS DISTINCT FROM 'ClientWrite' AS works
                       FROM pg_catalog.pg_stat_activity a WHERE a.pid = $1";
            let rows = other.rows(ctx, sql, &[&self.process]).await?;
            Ok(rows.first().map(|row| column::<bool>(row, "works")).transpose()?.unwrap_or(false))
        };
        let looked = match tokio::time::timeout(self.config.connect_timeout * 2, look).await {
            Ok(looked) => looked,
            Err(_) => Err(Error::new(ErrorKind::TimedOut, "the server does not answer any more")
                .hint("check that the server runs, and the network between here and there")),
        };
        match looked {
            // It speaks, if only to say that it has no room for another session.
            Err(error) if sql_state(&error).is_some() => Ok(true),
            looked => looked.map_err(|error| {
                let waited = self.config.silence_timeout.as_secs();
                error.during(format!("see why the server has said nothing for {waited} s"))
            }),
        }
    }

    /// Executes statements that return nothing of interest, as one message.
    pub(crate) async fn execute(&self, ctx: &Ctx, sql: &str) -> Result<()> {
        self.run(ctx, self.client.batch_execute(sql)).await
    }

    /// Executes what must be one statement: the server refuses text that is several.
    pub(crate) async fn statement(&self, ctx: &Ctx, sql: &str) -> Result<()> {
        let executed = self.run(ctx, self.client.execute_typed(sql, &[])).await;
        executed.map(drop).map_err(|error| error.during(format!("execute {}", told(sql).escape_debug())))
    }

    /// The same outside of a transaction, where it left nothing if another session of ours was in its way, which is no reason to give up.
    pub(crate) async fn statement_alone(&self, ctx: &Ctx, sql: &str) -> Result<()> {
        for _ in 1..ATTEMPTS {
            match self.statement(ctx, sql).await {
                Err(error) if is_in_the_way(&error) => {}
                executed => return executed,
            }
        }
        self.statement(ctx, sql).await
    }

    /// The rows of a query.
    pub(crate) async fn rows(
        &self,
        ctx: &Ctx,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>> {
        self.run(ctx, self.client.query(sql, parameters)).await
    }

    /// Executes statements as one message, and says the first value of the first row, as text.
    pub(crate) async fn said(&self, ctx: &Ctx, sql: &str) -> Result<Option<String>> {
        let heard = self.run(ctx, self.client.simple_query(sql)).await?;
        let row = heard.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        row.map_or(Ok(None), |row| Ok(row.try_get(0).map_err(not_as_expected)?.map(str::to_owned)))
    }

    /// The driver's own client, for COPY into the server. Its statements run inside [`Session::run`].
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Its number on the server.
    pub(crate) fn process(&self) -> Option<i32> {
        self.process
    }

    /// Whether a statement may be running, even though nobody waits for its end any more.
    pub(crate) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::SeqCst)
    }

    /// Says that a statement is running, or that it ended, for those that take their time.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Whoever waited for an answer went away, and nobody waits for this either.
        if self.is_busy()
            && !self.client.is_closed()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (token, config) = (self.cancel.clone(), self.config.clone());
            runtime.spawn(async move { tokio::time::timeout(CANCELLING, cancel(&token, &config)).await });
        }
        self.connection.abort();
    }
}

/// How a statement begins, as far as that can be told: up to the first text in it, which may be a password.
fn told(sql: &str) -> &str {
    const MOST: usize = 80;
    let most = sql.char_indices().nth(MOST).map_or(sql.len(), |(end, _)| end);
    let end = sql.find(['\'', '$']).map_or(most, |text| text.min(most));
    sql.get(..end).unwrap_or_default().trim_end()
}

/// Asks the server to cancel what a session is doing. If it cannot be reached, it finds the connection closed by itself.
async fn cancel(token: &CancelToken, config: &Config) {
    let encrypts = config.tls.mode > backup_tls::SslMode::Allow;
    if let Ok(wire) = dial::reach(config, &Arc::default(), encrypts).await {
        let _ = token.cancel_query_raw(wire, dial::Through).await;
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("version", &self.version).finish_non_exhaustive()
    }
}

/// An error for versions whose catalogs are not known. What is no number may be a version to come.
fn new_enough(version: &str) -> Result<()> {
    let major =
        version.split(|c: char| !c.is_ascii_digit()).next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major >= OLDEST) {
        return Ok(());
    }
    Err(Error::unsupported(format!("PostgreSQL {} is too old", version.escape_debug()))
        .hint("versions 12 and later can be backed up and restored into"))
}

/// Whether another session is the reason of an error, and will not be for long.
fn is_in_the_way(error: &Error) -> bool {
    match sql_state(error) {
        // Two foreign keys between two tables.
        Some("40P01") => true,
        // The type of a table's arrays took the name that a table wants, or the other way round: `_a` is that of `a`, until a table wants it.
        Some("23505") => error.message().contains("pg_type_typname_nsp_index"),
        // So it did between two looks of the server's.
        Some("42710") => true,
        // Such a type gets another name while its table gets an owner. The server says it like this in every language.
        Some("XX000") => error.message().contains("tuple concurrently updated"),
        _ => false,
    }
}

fn silent() -> Error {
    Error::new(ErrorKind::Connect, "the server does not answer")
        .hint("check the host and the port, or raise connect_timeout in the URL")
}

/// For people: which database, and where.
fn place(config: &Config) -> String {
    let database = config.database.escape_debug();
    match &config.host {
        Host::Tcp(host) => format!("{database} on {}:{}", host.escape_debug(), config.port),
        Host::Socket(directory) => format!("{database} by the socket in {}", directory.display()),
    }
}

/// Of several hosts the first that answers and is what `target_session_attrs` asks for: all sessions of an operation go there.
pub(crate) async fn choose(ctx: &Ctx, config: &Config, databases: &[&str]) -> Result<Config> {
    let wanted = config.session_attrs;
    if config.others.is_empty() && wanted == SessionAttrs::Any {
        return Ok(config.clone());
    }
    let passes = if wanted == SessionAttrs::PreferStandby { 2 } else { 1 };
    let mut failures = Vec::new();
    for pass in 0..passes {
        let wanted = if pass == 0 { wanted } else { SessionAttrs::Any };
        for host in config.hosts() {
            match suits(ctx, &host, wanted, databases).await {
                Ok(true) => return Ok(host),
                Ok(false) => failures.push(Error::new(
                    ErrorKind::Connect,
                    format!("{} is not what target_session_attrs asks for", place(&host)),
                )),
                Err(error) if error.kind() == ErrorKind::Cancelled => return Err(error),
                Err(error) => failures.push(error),
            }
        }
    }
    if failures.len() == 1
        && let Some(failure) = failures.pop()
    {
        return Err(failure);
    }
    let failures: Vec<String> = failures.iter().map(ToString::to_string).collect();
    Err(Error::new(ErrorKind::Connect, format!("no host will do: {}", failures.join("; ")))
        .hint("check that one of them runs and is as target_session_attrs says"))
}

/// Whether the server is as wanted. A restore may be about to make the database: then any of `databases` will do to ask in.
async fn suits(ctx: &Ctx, config: &Config, wanted: SessionAttrs, databases: &[&str]) -> Result<bool> {
    let mut opened = Session::open(ctx, config).await;
    for database in databases {
        if opened.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            opened = Session::open(ctx, &config.with_database(database)).await;
        }
    }
    let sql = "SELECT pg_catalog.pg_is_in_recovery() AS standby,
                      pg_catalog.current_setting('default_transaction_read_only')::bool AS read_only";
    let rows = opened?.rows(ctx, sql, &[]).await?;
    let row = rows.first().ok_or_else(|| Error::internal("a server says nothing of itself"))?;
    let (standby, read_only) = (column::<bool>(row, "standby")?, column::<bool>(row, "read_only")?);
    Ok(match wanted {
        SessionAttrs::Any => true,
        SessionAttrs::ReadWrite => !standby && !read_only,
        SessionAttrs::ReadOnly => standby || read_only,
        SessionAttrs::Primary => !standby,
        SessionAttrs::Standby | SessionAttrs::PreferStandby => standby,
    })
}

/// A column of a row, by its name.
pub(crate) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, name: &str) -> Result<T> {
    let value = row.try_get(name);
    value.map_err(|error| not_as_expected(error).during(format!("read column {name} of a catalog")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_statement_no_text_is_told() {
        let long = format!("CREATE TABLE {} (x int)", "ö".repeat(90));
        for (sql, start) in [
            ("ALTER ROLE a PASSWORD 'SCRAM-SHA-256$4096:x'", "ALTER ROLE a PASSWORD"),
            (
                "CREATE SUBSCRIPTION \"odd\" CONNECTION 'password=x' PUBLICATION p",
                "CREATE SUBSCRIPTION \"odd\" CONNECTION",
            ),
            (
                "CREATE USER MAPPING FOR u SERVER s OPTIONS (password E'x')",
                "CREATE USER MAPPING FOR u SERVER s OPTIONS (password E",
            ),
            ("DO $$ BEGIN END $$", "DO"),
            ("DROP TABLE t", "DROP TABLE t"),
            (&long, &format!("CREATE TABLE {}", "ö".repeat(67))),
        ] {
            assert_eq!(told(sql), start);
        }
    }

    #[test]
    fn a_version_whose_catalogs_are_not_known_is_refused_by_name() {
        for version in ["11.22", "9.6.24", "11beta1 (Debian)"] {
            let error = new_enough(version).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(&format!("PostgreSQL {version} is too old")), "{error}");
        }
        for version in ["12.0", "18.6 (Debian 18.6-3)", "19devel", "", "odd"] {
            new_enough(version).unwrap();
        }
    }
}
