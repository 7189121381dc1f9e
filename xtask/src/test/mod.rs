//! `cargo xtask test`: everything that must be true of a commit.

mod binaries;

use crate::Result;
use crate::program::{self, cargo, install};
use crate::{servers, tidy};

/// Other people's tools, which judge what we restored: the program, and Debian's package of it.
const JUDGES: [(&str, &str); 5] =
    [("sqlite3", "sqlite3"), ("python3", "python3"), ("zstd", "zstd"), ("age", "age"), ("strace", "strace")];

pub(crate) fn run() -> Result {
    install(&JUDGES);
    tidy::run(false)?;
    // And the real binary, which the end-to-end tests run.
    let binaries = binaries::build()?;
    let variables = servers::start()?;
    // All of them, whatever fails: the next run takes as long again.
    let tested = binaries::run(binaries, &variables);
    // Servers that were there before are somebody else's to stop.
    let stopped = if variables.is_empty() { Ok(()) } else { servers::down() };
    tested.and(program::run(&mut cargo(&["test", "--workspace", "--doc"])?)).and(stopped)
}
