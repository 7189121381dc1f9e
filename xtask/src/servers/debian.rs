//! Programs out of the packages of another Debian than this machine's: unpacked, not installed, and run with the libraries that they
//! came with.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Result;
use crate::program;

const MIRROR: &str = "http://deb.debian.org/debian";
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What is to be had.
pub(super) struct Packages {
    /// `sid`, or a release.
    pub(super) suite: &'static str,
    pub(super) names: &'static [&'static str],
    /// Below `/usr`. Each is put into `bin` under its own name.
    pub(super) programs: &'static [&'static str],
}

/// Unpacks the packages, and all that they depend on, into `place/root`, with scripts that start their programs in `place/bin`.
pub(super) fn unpack(place: &Path, packages: &Packages) -> Result {
    let (root, bin) = (place.join("root"), place.join("bin"));
    if bin.exists() {
        return Ok(());
    }
    println!("unpacking {} of Debian {}", packages.names.join(", "), packages.suite);
    let apt = place.join("apt");
    for directory in ["lists/partial", "archives/partial"] {
        fs::create_dir_all(apt.join(directory))?;
    }
    fs::write(
        apt.join("sources.list"),
        format!("deb [signed-by={KEYS}] {MIRROR} {} main\n", packages.suite),
    )?;
    // Nothing is installed there yet: so everything is brought.
    fs::write(apt.join("status"), "")?;
    get(&apt, &["update"])?;
    let mut install = vec!["install", "--yes", "--download-only"];
    install.extend(packages.names);
    get(&apt, &install)?;
    let partial = place.join("partial");
    let _ = fs::remove_dir_all(&partial);
    for entry in fs::read_dir(apt.join("archives"))? {
        let package = entry?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            program::run(Command::new("dpkg-deb").arg("--extract").args([&package, &partial]))?;
        }
    }
    let _ = fs::remove_dir_all(&root);
    fs::rename(&partial, &root)?;
    fs::remove_dir_all(&apt)?;
    let scripts = place.join("bin.partial");
    fs::create_dir_all(&scripts)?;
    for path in packages.programs {
        let name = path.rsplit('/').next().unwrap_or(path);
        let script = scripts.join(name);
        fs::write(&script, start(&root, path)?)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    }
    fs::rename(scripts, bin)?;
    Ok(())
}

/// A script that starts a program with its own loader.
fn start(root: &Path, path: &str) -> Result<String> {
    let usr = root.join("usr");
    let libraries = fs::read_dir(usr.join("lib"))?.find_map(|entry| {
        let path = entry.ok()?.path();
        path.join("libc.so.6").exists().then_some(path)
    });
    let libraries = libraries.ok_or("the packages have no C library")?;
    let loader = ["ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"].map(|loader| libraries.join(loader));
    let loader = loader.iter().find(|loader| loader.exists()).ok_or("the C library has no loader")?;
    let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
    let (loader, libraries, program) = (quoted(loader), quoted(&libraries), quoted(&usr.join(path)));
    Ok(format!("#!/bin/sh\nexec {loader} --library-path {libraries} {program} \"$@\"\n"))
}

/// apt-get, which keeps everything at `apt` and leaves the machine's own packages alone.
fn get(apt: &Path, arguments: &[&str]) -> Result {
    let mut command = Command::new("apt-get");
    for (option, value) in [
        ("Dir::Etc::sourcelist", apt.join("sources.list")),
        ("Dir::Etc::sourceparts", "/dev/null".into()),
        ("Dir::State::lists", apt.join("lists")),
        ("Dir::State::status", apt.join("status")),
        ("Dir::Cache", apt.to_owned()),
    ] {
        command.arg("-o").arg(format!("{option}={}", value.display()));
    }
    for option in [
        "APT::Install-Recommends=0",
        "APT::Sandbox::User=root",
        "Acquire::Languages=none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    ] {
        command.args(["-o", option]);
    }
    program::run(command.arg("--quiet").args(arguments).stdin(Stdio::null()).stdout(Stdio::null()))
}
