//! MySQL and MariaDB, by way of this engine, keep every promise that an engine makes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

mod accounts;
mod carried;
mod fixture;
mod odd;
mod places;
mod private;
mod server;
mod splitting;
mod wicked;

mod mariadb {
    use crate::{fixture::Fixture, server::Server};

    backup_testkit::engine_conformance!(match Server::find("mariadb") {
        Some(server) => Fixture(server.into()),
        None => return,
    });
}

mod mariadb11 {
    use crate::{fixture::Fixture, server::Server};

    backup_testkit::engine_conformance!(match Server::find("mariadb11") {
        Some(server) => Fixture(server.into()),
        None => return,
    });
}

mod mysql {
    use crate::{fixture::Fixture, server::Server};

    backup_testkit::engine_conformance!(match Server::find("mysql") {
        Some(server) => Fixture(server.into()),
        None => return,
    });
}
