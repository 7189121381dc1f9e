//! MySQL and MariaDB, by way of this engine, keep every promise that an engine makes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

mod accounts;
mod carried;
mod fixture;
mod odd;
mod places;
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

/// A newer one: what its age could make a difference to.
mod mariadb11 {
    use crate::{fixture::Fixture, server::Server};

    backup_testkit::cases! {
        match Server::find("mariadb11") {
            Some(server) => Fixture(server.into()),
            None => return,
        }, engine,
            every_type_and_object_comes_back_in_every_format
            hostile_names_and_texts_come_back_in_every_format
            foreign_key_cycles_come_back_in_every_format
            an_export_restores_like_its_backup
            a_script_loads_with_the_databases_own_client
            every_backup_under_writes_has_the_same_balance
            a_load_that_fails_leaves_the_target_as_it_was
            a_cancelled_restore_leaves_nothing
    }
}

mod mysql {
    use crate::{fixture::Fixture, server::Server};

    backup_testkit::engine_conformance!(match Server::find("mysql") {
        Some(server) => Fixture(server.into()),
        None => return,
    });
}
