//! MariaDB, by way of this engine, keeps every promise that an engine makes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

mod fixture;
mod server;
mod wicked;

use fixture::Fixture;
use server::Server;

backup_testkit::engine_conformance!(match Server::find("mariadb") {
    Some(server) => Fixture(server.into()),
    None => return,
});
