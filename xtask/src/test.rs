//! `cargo xtask test`: everything that must be true of a commit.

use crate::Result;
use crate::program::{self, cargo, install};
use crate::tidy;

/// Other people's tools, which judge what we restored: the program, and Debian's package of it.
const JUDGES: [(&str, &str); 4] =
    [("sqlite3", "sqlite3"), ("python3", "python3"), ("zstd", "zstd"), ("age", "age")];

pub(crate) fn run() -> Result {
    install(&JUDGES);
    tidy::run(false)?;
    // The end-to-end tests run the real binary.
    program::run(&mut cargo(&["build", "--package", "backup-cli"])?)?;
    program::run(&mut cargo(&["test", "--workspace"])?)
}
