//! The project's own commands. `cargo xtask` lists them.

mod bench;
mod demo;
mod program;
mod sample;
mod servers;
mod test;
mod tidy;

use std::process::ExitCode;

/// What every command returns: its errors are printed, not handled.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const USAGE: &str = "\
cargo xtask demo            back up, change, back up again, verify, lose it, restore, compare
cargo xtask test            install what the tests need, then every check and every test
cargo xtask servers up      start private servers for the tests (data in target/servers), and say where they answer
cargo xtask servers down    stop them
cargo xtask tidy [--write]  formatting, clippy, who depends on whom, generated docs (--write makes them anew)
cargo xtask bench blocks    column blocks against plain zstd, on data that is not friendly
cargo xtask bench sqlite    backup and restore of SQLite against sqlite3 and zstd
cargo xtask bench postgres  backup and restore of PostgreSQL against pg_dump and pg_restore
cargo xtask bench mysql     backup and restore of MariaDB or MySQL against their dump programs and mydumper
cargo xtask bench repository [BACKUPS CHUNKS]   list and check of a repository of 1,000 backups and 1,000,000 chunks
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["demo"] => demo::run(),
        ["test"] => test::run(),
        ["servers", "up"] => servers::up(),
        ["servers", "down"] => servers::down(),
        ["tidy"] => tidy::run(false),
        ["tidy", "--write"] => tidy::run(true),
        ["bench", "blocks"] => bench::blocks::run(),
        ["bench", "sqlite", rest @ ..] => bench::sqlite::run(rest),
        ["bench", "postgres", rest @ ..] => bench::postgres::run(rest),
        ["bench", "mysql", rest @ ..] => bench::mysql::run(rest),
        ["bench", "repository", rest @ ..] => bench::repository::run(rest),
        [] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
