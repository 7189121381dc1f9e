//! The sample databases that others have made.

use crate::server::{self, Server};

/// A new database with pagila in it; none where its files are not there.
pub(crate) fn pagila(server: &Server) -> Option<String> {
    let files = [server::corpus("pagila/pagila-schema.sql")?, server::corpus("pagila/pagila-data.sql")?];
    server.psql(
        "postgres",
        "DO $$ BEGIN CREATE ROLE postgres; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;",
    );
    let source = server.create();
    for file in files {
        // It was written by a newer version than some that it is loaded into.
        let script = std::fs::read_to_string(file).unwrap().replace("SET transaction_timeout = 0;", "");
        let stop = if server.major() < 17 { "\\set ON_ERROR_STOP 0\n" } else { "" };
        let script = stop.to_owned() + &script;
        server.psql(&source, &script);
    }
    Some(source)
}

/// A new database with Chinook in it; none where its file is not there.
pub(crate) fn chinook(server: &Server) -> Option<String> {
    let file = server::corpus("chinook/Chinook_PostgreSql.sql")?;
    let script = String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    let of_database = |line: &&str| {
        line.starts_with("\\c") || line.starts_with("CREATE DATABASE") || line.starts_with("DROP DATABASE")
    };
    let script: String =
        script.lines().filter(|line| !of_database(line)).map(|line| format!("{line}\n")).collect();
    let source = server.create();
    server.psql(&source, &script);
    Some(source)
}
