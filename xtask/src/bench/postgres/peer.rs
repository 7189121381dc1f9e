//! pg_dump and pg_restore that know zstd: those beside the server, or else those of Debian's newest release.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{Result, program};

/// How to run the client programs of one version.
pub(super) struct Peer {
    /// What comes before the path of a program.
    loader: Vec<PathBuf>,
    programs: PathBuf,
}

impl Peer {
    /// Programs of the major version that `programs` are of.
    pub(super) fn find(programs: &Path, major: u32) -> Result<Self> {
        let beside = Self { loader: Vec::new(), programs: programs.to_owned() };
        if beside.knows_zstd()? {
            return Ok(beside);
        }
        eprintln!("{} has no zstd: taking the one of Debian sid", programs.join("pg_dump").display());
        let system = program::root()?.join(format!("target/servers/debian-sid-postgresql-{major}"));
        if !system.join("bin").exists() {
            program::install(&[("debootstrap", "debootstrap")]);
            let mut debootstrap = Command::new("debootstrap");
            debootstrap.arg("--variant=minbase").arg(format!("--include=postgresql-client-{major}"));
            program::run(debootstrap.arg("sid").arg(&system).stdout(Stdio::null()))?;
        }
        // Its programs run with its own libraries; nothing has to be mounted or become root.
        let libraries = system.join("usr/lib/x86_64-linux-gnu");
        let loader = vec![system.join("usr/lib64/ld-linux-x86-64.so.2"), "--library-path".into(), libraries];
        let debian = Self { loader, programs: system.join(format!("usr/lib/postgresql/{major}/bin")) };
        if debian.knows_zstd()? { Ok(debian) } else { Err("there is no pg_dump with zstd".into()) }
    }

    /// A program that is about to be told its arguments.
    pub(super) fn program(&self, name: &str) -> Command {
        let mut words = self.loader.iter().cloned().chain([self.programs.join(name)]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        command
    }

    pub(super) fn version(&self) -> Result<String> {
        let output = self.program("pg_dump").arg("--version").output()?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn knows_zstd(&self) -> Result<bool> {
        // It looks at its options before it looks for a server, of which there is none at this port.
        let mut dump = self.program("pg_dump");
        dump.args([
            "--format=custom",
            "--compress=zstd:3",
            "--host=127.0.0.1",
            "--port=1",
            "--file=/dev/null",
        ]);
        let complaint = String::from_utf8_lossy(&dump.output()?.stderr).into_owned();
        Ok(complaint.contains("connection to server"))
    }
}
