//! The PostgreSQL engine of lifeboat, on tokio-postgres. No program of PostgreSQL's is ever started.
//!
//! | where | what |
//! |---|---|
//! | `config`, `passfile`, `service` | what a `postgres:` URL, a service file, the environment and `~/.pgpass` say |
//! | `connect` | one session with a server, its settings pinned; no password in clear; rows past the driver |
//! | `catalog` | what is in a database, in which order, and the parts that it is backed up as |
//! | `begin` | how a backup begins: the sessions, the locks, and again if something changed meanwhile |
//! | `backup` | one running backup: sessions that share a snapshot |
//! | `snapshot` | the snapshot, and its place in the log |
//! | `ahead` | small tables, read many at a time |
//! | `rows` | rows out of tables and into tables, by COPY |
//! | `restore` | one running restore: a new database that takes the target's place, or one transaction in it |
//! | `scratch` | databases that are made only to be compared with |
//! | `ddl` | SQL: quoting, privileges, and the script for psql |
//! | `spec` | what a part says of itself for the restore |
//! | `error` | PostgreSQL's errors in the words of the core |
//!
//! There is no `log` yet, so there are only full backups.

mod ahead;
mod backup;
mod begin;
mod catalog;
mod config;
mod connect;
mod ddl;
mod engine;
mod error;
mod passfile;
mod restore;
mod rows;
mod scratch;
mod service;
mod snapshot;
mod spec;

use std::sync::Arc;

use backup_core::{DatabaseUrl, EngineFactory, Registration, inventory};

/// How the engine is made: from URLs like `postgres://user@host/database`.
pub static ENGINE: EngineFactory = EngineFactory::new(
    "postgres",
    &["postgres", "postgresql"],
    "postgres://user@host:5432/database",
    |url| Ok(Arc::new(engine::Postgres::new(config::Config::from_url(url)?))),
)
.with_script(|| Box::new(ddl::script::PostgresScript::new()))
.with_database(DatabaseUrl::database_of_server);

inventory::submit!(Registration(&ENGINE));
