//! Programs out of a container, where a machine has docker and none of Debian's packages: the image is taken for a machine that has them.
//!
//! Each program is a script here that has the container execute it. The container sees the workspace and the directory of temporary files
//! where they are, and shares this machine's network and accounts, so that nobody has to know where a program is from.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::program;

/// The directory of the scripts, beside a server's data.
pub(super) const SCRIPTS: &str = "container";

/// An image, and those of its programs that are wanted. They are found as it has been told to find them.
pub(super) struct Image {
    pub(super) name: &'static str,
    pub(super) programs: &'static [&'static str],
}

/// What tests tell programs by their environment.
const VARIABLES: [&str; 4] = ["MYSQL_PWD", "PGOPTIONS", "PGPASSWORD", "PGTZ"];

/// What `packages` finds; or none, if it fails or did so before: then a container of the image runs, and executes what the scripts ask for as
/// `account`, or as whoever calls them.
pub(super) fn or_else<T>(
    place: &Path,
    image: &Image,
    account: Option<&str>,
    packages: impl FnOnce() -> Result<T>,
) -> Result<Option<T>> {
    if !place.join(SCRIPTS).exists() {
        let error = match packages() {
            Ok(found) => return Ok(Some(found)),
            Err(error) => error,
        };
        if !program::is_there("docker") {
            return Err(error);
        }
        eprintln!("a container it is, since packages cannot be had: {error}");
    }
    let container = name(place);
    if !is_running(&container) {
        run(&container, image)?;
    }
    let partial = place.join("container.partial");
    fs::create_dir_all(&partial)?;
    for program in image.programs {
        let script = partial.join(program);
        fs::write(&script, text(&container, program, account))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    let _ = fs::remove_dir_all(place.join(SCRIPTS));
    fs::rename(partial, place.join(SCRIPTS))?;
    Ok(None)
}

/// Whether a program is such a script.
pub(super) fn is_of(program: &Path) -> bool {
    let script = fs::canonicalize(program).unwrap_or_default();
    script.parent().is_some_and(|directory| directory.ends_with(SCRIPTS))
}

/// Removes the container of a server that was stopped, if it had one.
pub(super) fn remove(place: &Path) -> Result {
    if !place.join(SCRIPTS).exists() || !is_running(&name(place)) {
        return Ok(());
    }
    program::run(Command::new("docker").args(["rm", "--force", &name(place)]).stdout(Stdio::null()))
}

/// Another workspace has others.
fn name(place: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    place.hash(&mut hasher);
    let server = place.file_name().unwrap_or_default().to_string_lossy();
    format!("lifeboat-{server}-{:016x}", hasher.finish())
}

fn is_running(container: &str) -> bool {
    let mut inspect = Command::new("docker");
    inspect.args(["inspect", "--format", "{{.State.Running}}", container]).stderr(Stdio::null());
    inspect.output().is_ok_and(|output| output.stdout.starts_with(b"true"))
}

fn run(container: &str, image: &Image) -> Result {
    println!("starting a container of {}", image.name);
    // One of an earlier start of this machine may be there.
    let _ = Command::new("docker")
        .args(["rm", "--force", container])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let mut run = Command::new("docker");
    run.args(["run", "--detach", "--init", "--network=host", "--name", container]);
    for path in [program::root()?, std::env::temp_dir()] {
        run.arg("--volume").arg(format!("{0}:{0}", path.display()));
    }
    for path in ["/etc/passwd", "/etc/group"] {
        run.arg(format!("--volume={path}:{path}:ro"));
    }
    run.args(["--entrypoint=sleep", image.name, "infinity"]);
    program::run(run.stdout(Stdio::null()))
}

/// The script of a program. The container knows accounts by their numbers alone.
fn text(container: &str, program: &str, account: Option<&str>) -> String {
    let account = account.unwrap_or_default();
    let variables: String = VARIABLES.iter().map(|name| format!(" --env {name}")).collect();
    format!(
        "#!/bin/sh\nuser=\"$(id -u {account}):$(id -g {account})\"\n\
         exec docker exec --interactive --user \"$user\"{variables} '{container}' {program} \"$@\"\n"
    )
}
