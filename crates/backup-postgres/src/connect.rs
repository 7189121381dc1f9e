//! Getting in: one session with a server, its settings pinned, and cancelled on the server when it is dropped at work.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backup_core::{Ctx, Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, Client, Row};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::clear::Guarded;
use crate::config::{ChannelBinding, Config, Host};
use crate::error::{Doing, classify};
use crate::tls;

/// The oldest version whose catalogs are known, as `server_version_num` has it.
const OLDEST: u32 = 120_000;

/// Whatever the database, the account and the environment have set, this is what holds: texts mean the same here and where they
/// are restored, and names mean nothing but what they say.
const SETTINGS: &str = "
SET search_path = '';
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET datestyle = ISO;
SET intervalstyle = postgres;
SET extra_float_digits = 3;
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
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name = 'transaction_timeout'";

/// How long a server may take to hear that a statement is to be cancelled.
const CANCELLING: Duration = Duration::from_secs(5);

/// How often a statement is tried that deadlocks with another.
const DEADLOCKS: usize = 20;

/// One session.
pub(crate) struct Session {
    client: Client,
    connection: JoinHandle<()>,
    cancel: CancelToken,
    tls: Guarded<MakeRustlsConnect>,
    /// Whether a statement may be running.
    busy: AtomicBool,
    /// `server_version_num`.
    pub(crate) version: u32,
}

impl Session {
    /// Connects to the database of `config` and pins the settings.
    pub(crate) async fn open(ctx: &Ctx, config: &Config) -> Result<Self> {
        let doing = || format!("connect to {}", Self::place(config));
        let tls = Guarded {
            tls: tls::connector(&config.tls)?,
            mode: config.tls.mode,
            allows: config.allows_clear_password(),
        };
        let connect = async {
            let driver = driver_config(config);
            let connected = driver.connect(tls.clone());
            match tokio::time::timeout(config.connect_timeout, connected).await {
                Ok(connected) => connected.map_err(classify),
                Err(_) => Err(Error::new(ErrorKind::Connect, "the server does not answer")
                    .hint("check the host and the port, or raise connect_timeout in the URL")),
            }
        };
        let (client, connection) = ctx.run(connect).await.map_err(|error| error.during(doing()))?;
        let cancel = client.cancel_token();
        let connection = tokio::spawn(async move {
            // Whoever waits for an answer hears of the error.
            let _ = connection.await;
        });
        let mut session = Self { client, connection, cancel, tls, busy: AtomicBool::new(false), version: 0 };
        session.execute(ctx, SETTINGS).await.map_err(|error| error.during(doing()))?;
        let version =
            session.rows(ctx, "SELECT pg_catalog.current_setting('server_version_num')::int", &[]).await?;
        session.version = version.first().map_or(0, |row| row.get::<_, i32>(0)).unsigned_abs();
        if session.version < OLDEST {
            let message = format!("PostgreSQL {} is too old", session.version / 10_000);
            return Err(Error::unsupported(message)
                .hint("versions 12 and later can be backed up")
                .during(doing()));
        }
        let timeouts = format!(
            "SET lock_timeout = {}; SET statement_timeout = {}",
            config.lock_timeout, config.statement_timeout
        );
        session.execute(ctx, &timeouts).await?;
        Ok(session)
    }

    fn place(config: &Config) -> String {
        let database = config.database.escape_debug();
        match &config.host {
            Host::Tcp(host) => format!("{database} on {}:{}", host.escape_debug(), config.port),
            Host::Socket(directory) => format!("{database} by the socket in {}", directory.display()),
        }
    }

    /// Waits for `statement`, unless the operation is cancelled. What was cancelled is cancelled on the server when the session is
    /// dropped.
    pub(crate) async fn run<T>(
        &self,
        ctx: &Ctx,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T> {
        self.busy.store(true, Ordering::SeqCst);
        let result = ctx.run(async { Ok(statement.await) }).await?;
        self.busy.store(false, Ordering::SeqCst);
        result.map_err(classify)
    }

    /// Executes statements that return nothing of interest, as one message.
    pub(crate) async fn execute(&self, ctx: &Ctx, sql: &str) -> Result<()> {
        self.run(ctx, self.client.batch_execute(sql)).await
    }

    /// Executes what must be one statement: the server refuses text that is several.
    pub(crate) async fn statement(&self, ctx: &Ctx, sql: &str) -> Result<()> {
        let executed = self.run(ctx, self.client.execute_typed(sql, &[])).await;
        executed.map(drop).map_err(|error| {
            let start: String = sql.chars().take(80).collect();
            error.during(format!("execute {}", start.escape_debug()))
        })
    }

    /// The same outside of a transaction, where a deadlock with another session of ours (two foreign keys between two tables) left
    /// nothing and is no reason to give up.
    pub(crate) async fn statement_alone(&self, ctx: &Ctx, sql: &str) -> Result<()> {
        for _ in 1..DEADLOCKS {
            match self.statement(ctx, sql).await {
                Err(error) if is_deadlock(&error) => {}
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

    /// The driver's own client, for COPY. Its statements run inside [`Session::run`].
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Says that a statement is running, or that it ended, for those that come back row by row.
    pub(crate) fn set_busy(&self, busy: bool) {
        self.busy.store(busy, Ordering::SeqCst);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.busy.load(Ordering::SeqCst)
            && !self.client.is_closed()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (cancel, tls) = (self.cancel.clone(), self.tls.clone());
            runtime.spawn(async move {
                // If it cannot be heard, the server finds the connection closed by itself.
                let _ = tokio::time::timeout(CANCELLING, cancel.cancel_query(tls)).await;
            });
        }
        self.connection.abort();
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("version", &self.version).finish_non_exhaustive()
    }
}

fn is_deadlock(error: &Error) -> bool {
    error.message().contains("(SQLSTATE 40P01)")
}

fn driver_config(config: &Config) -> tokio_postgres::Config {
    use tokio_postgres::config as driver;
    let mut made = tokio_postgres::Config::new();
    made.user(&config.user).dbname(&config.database).port(config.port);
    made.application_name(&config.application_name).connect_timeout(config.connect_timeout);
    // A peer that has gone silent is found out within a minute or two.
    made.keepalives(true).keepalives_idle(Duration::from_secs(30));
    made.keepalives_interval(Duration::from_secs(10)).keepalives_retries(6);
    made.tcp_user_timeout(Duration::from_secs(90));
    if let Some(password) = &config.password {
        made.password(password.expose());
    }
    match &config.host {
        Host::Tcp(host) => made.host(host),
        Host::Socket(directory) => made.host_path(directory),
    };
    match &config.host {
        // Nobody listens within the machine.
        Host::Socket(_) => made.ssl_mode(driver::SslMode::Disable),
        // `Guarded` asks for TLS, or does without, whatever the driver thinks.
        Host::Tcp(_) => {
            made.ssl_mode(driver::SslMode::Require).ssl_negotiation(driver::SslNegotiation::Direct)
        }
    };
    made.channel_binding(match config.tls.binding {
        ChannelBinding::Disable => driver::ChannelBinding::Disable,
        ChannelBinding::Prefer => driver::ChannelBinding::Prefer,
        ChannelBinding::Require => driver::ChannelBinding::Require,
    });
    made
}

/// A column of a row, by its name.
pub(crate) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(row: &'a Row, name: &str) -> Result<T> {
    row.try_get(name).doing(|| format!("read column {name} of a catalog"))
}
