//! Databases with as many kinds of objects as there are, each with its awkward variants.

use crate::server::Server;

/// Roles that the samples need; roles are shared by all databases of a server.
pub(crate) fn roles(server: &Server) {
    for role in ["postgres", "lb_reader", "\"lb WRITER\"", "lb_owner"] {
        let sql = format!(
            "DO $$ BEGIN CREATE ROLE {role}; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;"
        );
        server.psql("postgres", &sql);
    }
}

/// One of every kind.
#[allow(dead_code, reason = "not every test file uses it")]
pub(crate) fn everything(server: &Server, database: &str) {
    roles(server);
    server.psql(database, include_str!("everything.sql"));
    if server.major() >= 18 {
        server.psql(database, include_str!("since_18.sql"));
    }
}

/// What makes copies differ from their sources.
#[allow(dead_code, reason = "not every test file uses it")]
pub(crate) fn awkward(server: &Server, database: &str) {
    roles(server);
    server.psql(database, include_str!("awkward.sql"));
    server.psql(database, include_str!("awkward_order.sql"));
    if server.major() >= 18 {
        server.psql(database, include_str!("awkward_since_18.sql"));
    }
}
