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

/// Says of what the server lacks that it was not tested. What all servers have that the tests start has to be there.
fn look_for(server: &Server, database: &str, what: &str, found: &str, is_everywhere: bool) {
    if server.ask(database, &format!("SELECT EXISTS (SELECT FROM {found})")).trim() == "t" {
        return;
    }
    let lacks = format!("PostgreSQL {} lacks {what}", server.major());
    if is_everywhere {
        crate::server::missing(&lacks);
    } else {
        eprintln!("NOT TESTED: postgres: {lacks}");
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
    look_for(server, database, "pgcrypto", "pg_extension WHERE extname = 'pgcrypto'", false);
    look_for(server, database, "ICU", "pg_collation WHERE collname = 'numeric_order'", false);
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
    for extension in ["pg_trgm", "hstore"] {
        look_for(server, database, extension, &format!("pg_extension WHERE extname = '{extension}'"), true);
    }
    look_for(server, database, "ICU", "pg_collation WHERE collname = 'insensitive'", false);
}

/// Objects that need each other.
#[allow(dead_code, reason = "not every test file uses it")]
pub(crate) fn circles(server: &Server, database: &str) {
    roles(server);
    server.psql(database, include_str!("circles.sql"));
}

/// Of every kind one whose name, and whatever is said of it, would do harm if it were not quoted.
#[allow(dead_code, reason = "not every test file uses it")]
pub(crate) fn hostile(server: &Server, database: &str) {
    const HARM: &str = "'; $$ */ \"\n\\! touch hacked\n-- %";
    let quoted = |name: &str| format!("\"{}\"", format!("{name}{HARM}").replace('"', "\"\""));
    let role = quoted(&format!("role {database}"));
    let mut script = String::new();
    let mut rest = include_str!("hostile.sql");
    while let Some((before, behind)) = rest.split_once('<') {
        script += before;
        let name = behind.split_once('>').filter(|(name, _)| !name.is_empty());
        // What is no name is an operator.
        let (said, behind) = match name {
            None => ("<".to_owned(), behind),
            Some(("text", behind)) => (HARM.replace('\'', "''"), behind),
            Some(("role", behind)) => (role.clone(), behind),
            Some((name, behind)) => (quoted(name), behind),
        };
        script += &said;
        rest = behind;
    }
    script += rest;
    server.psql("postgres", &format!("CREATE ROLE {role}"));
    server.expect_role(&role);
    server.psql(database, &script);
}
