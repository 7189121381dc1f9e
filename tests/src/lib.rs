//! What the end-to-end tests share: other people's tools, and how they judge.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::process::{Command, Stdio};

/// Whether the program `name` is there. Where it is not, says so loudly, and fails if `LIFEBOAT_TEST_REQUIRE` names it: a
/// test that did not run must not look like one that passed.
pub fn has(name: &str) -> bool {
    let found =
        Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        let required = std::env::var("LIFEBOAT_TEST_REQUIRE").unwrap_or_default();
        assert!(!required.split(',').any(|required| required == name), "{name} is required, and not there");
        eprintln!("NOT TESTED: {name} is not installed (`cargo xtask test` installs it)");
    }
    found
}

/// Runs a program to its end and returns what it printed.
pub fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The judge of SQLite: what its own shell says of a whole database.
pub fn dump(database: &Path) -> String {
    output(Command::new("sqlite3").arg("-readonly").arg(database).arg(".dump"))
}
