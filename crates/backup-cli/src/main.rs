//! The program `lifeboat`.

use std::process::ExitCode;

/// See `docs/decisions/007-memory-by-jemalloc.md`.
#[cfg(all(unix, feature = "jemalloc"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    backup_cli::run(std::env::args_os())
}
