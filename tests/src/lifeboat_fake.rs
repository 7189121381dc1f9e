//! `lifeboat` as it is, with the testkit's fake engine beside the others: the engine that has a change log.

use std::process::ExitCode;

lifeboat::inventory::submit!(lifeboat::Registration(&backup_testkit::fake::ENGINE));

fn main() -> ExitCode {
    backup_cli::run(std::env::args_os())
}
