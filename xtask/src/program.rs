//! Programs that a command runs: cargo, our own binary, and the tools that tests judge with.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Result;

/// The workspace.
pub(crate) fn root() -> Result<PathBuf> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    Ok(here.parent().ok_or("xtask is not in a workspace")?.to_owned())
}

/// `cargo`, in the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()?);
    Ok(command)
}

/// Runs a command to its end, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result {
    let status = command.status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}").into()) }
}

/// Builds the `lifeboat` binary and says where it is.
pub(crate) fn lifeboat(release: bool) -> Result<PathBuf> {
    let mut build = cargo(&["build", "--quiet", "--package", "backup-cli"])?;
    // Built together with this program, it needs nothing that was not built for that already.
    build.args(if release { ["--release"].as_slice() } else { &["--package", "xtask"] });
    run(&mut build)?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root()?.join("target"), PathBuf::from);
    Ok(root()?.join(target).join(if release { "release" } else { "debug" }).join("lifeboat"))
}

/// Whether a program is there.
pub(crate) fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok()
}

/// Installs those of the Debian packages whose program is not there. What cannot be installed is said, and missed by the tests that need
/// it, which fail if `LIFEBOAT_TEST_REQUIRE` names it.
pub(crate) fn install(programs_and_packages: &[(&str, &str)]) {
    let missing: Vec<_> = programs_and_packages.iter().filter(|(program, _)| !is_there(program)).collect();
    if missing.is_empty() {
        return;
    }
    let packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    if let Err(error) = install_packages(&packages) {
        eprintln!("could not install {}: {error}", packages.join(", "));
    }
}

/// Installs Debian packages.
pub(crate) fn install_packages(packages: &[&str]) -> Result {
    println!("installing {}", packages.join(", "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
        run(&mut command)
    };
    let mut install = vec!["install", "--yes", "--quiet", "--no-install-recommends"];
    install.extend(packages);
    apt(&["update", "--quiet"]).and_then(|()| apt(&install))
}
