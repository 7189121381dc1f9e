//! The MySQL and MariaDB engine of lifeboat.
//!
//! | where | what |
//! |---|---|
//! | `config`, `my_cnf` | what a URL says, and what it leaves to `~/.my.cnf` |
//! | `connect` | the connection: packets, logging in, TLS, statements, rows as they come, LOAD DATA LOCAL |
//! | `snapshot` | one moment for all connections of a backup, and the lock that it takes |
//! | `keep` | tables that nobody alters meanwhile |
//! | `witness` | that all connections are with one server, and that it has the tables of the snapshot still |
//! | `catalog` | what is in a database, and the parts that it is backed up as |
//! | `statements` | the statements that make its objects |
//! | `backup` | one running backup |
//! | `rows` | rows out of tables and into tables |
//! | `restore` | one running restore, in place |
//! | `ddl` | SQL: quoting, taking apart what the server prints, and the script for the `mariadb` and `mysql` clients |
//! | `log` | places in the binary log, which is not read yet: there are only full backups |
//! | `error` | the server's errors in the words of the core |

mod backup;
mod catalog;
mod config;
mod connect;
mod ddl;
mod engine;
mod error;
mod keep;
mod log;
mod my_cnf;
mod restore;
mod rows;
mod snapshot;
mod statements;
mod witness;

use std::sync::Arc;

use backup_core::{DatabaseUrl, EngineFactory, Registration, inventory};

/// How the engine is made: from URLs like `mysql://user@host:3306/shop`.
pub static ENGINE: EngineFactory =
    EngineFactory::new("mysql", &["mysql", "mariadb"], "mysql://user@host:3306/database", |url| {
        Ok(Arc::new(engine::MySql::new(config::Config::from_url(url)?)))
    })
    .with_script(|| Box::new(ddl::script::MySqlScript))
    .with_database(DatabaseUrl::database_of_server);

inventory::submit!(Registration(&ENGINE));
