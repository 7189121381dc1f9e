//! The program `lifeboat`.

use std::process::ExitCode;

fn main() -> ExitCode {
    backup_cli::run(std::env::args_os())
}
