//! `cargo xtask servers up|down`: private database servers for the tests, on private ports, with their data in `target/servers`.

mod container;
mod debian;
mod mysql;
mod npm;
mod postgres;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::Result;
use crate::program::root;
pub(crate) use mysql::Running as MySql;
pub(crate) use postgres::Server as Postgres;

/// Where the servers of this workspace have their data.
fn directory() -> Result<PathBuf> {
    Ok(root()?.join("target/servers"))
}

/// Starts what there is, and prints where it answers.
pub(crate) fn up() -> Result {
    for (variable, urls) in start()? {
        println!("export {variable}='{urls}'");
    }
    Ok(())
}

/// Stops all of it. The data stay, so that the next start is quick.
pub(crate) fn down() -> Result {
    let directory = directory()?;
    mysql::stop_all(&directory).and(postgres::stop_all(&directory))
}

/// Starts a MariaDB or a MySQL, by the name of its directory.
pub(crate) fn mysql(name: &str) -> Result<MySql> {
    MySql::start(&directory()?, name)
}

/// Starts PostgreSQL of this major version.
pub(crate) fn postgres(major: u32) -> Result<Postgres> {
    Postgres::start(&directory()?, major)
}

/// Starts what there is: the environment variables by which tests find it. A server that cannot be had is said, and missed by
/// the tests that need it, which fail if `LIFEBOAT_TEST_REQUIRE` names it.
pub(crate) fn start() -> Result<BTreeMap<&'static str, String>> {
    let mut variables = mysql::start_all(&directory()?);
    if std::env::var_os(postgres::VARIABLE).is_none() {
        let urls = postgres::start_all(&directory()?)?;
        if !urls.is_empty() {
            variables.insert(postgres::VARIABLE, urls.join(" "));
        }
    }
    if std::env::var_os(postgres::OTHERS_VARIABLE).is_none() {
        let urls = postgres::start_others(&directory()?)?;
        if !urls.is_empty() {
            variables.insert(postgres::OTHERS_VARIABLE, urls.join(" "));
        }
    }
    Ok(variables)
}
