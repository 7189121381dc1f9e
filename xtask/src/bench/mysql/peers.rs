//! What lifeboat is compared with: the server's own dump program, and mydumper: Debian's 0.10, which has gzip only, or a newer one if that
//! stands first in the PATH.

use std::process::Command;

use super::Bench;
use crate::Result;
use crate::bench::measure::{Run, measure};

impl Bench {
    pub(super) fn dump_name(&self) -> &'static str {
        if self.server.is_mariadb { "mariadb-dump" } else { "mysqldump" }
    }

    pub(super) fn versions(&self) -> Result<String> {
        let dump = self.server.program("dump").arg("--version").output()?.stdout;
        Ok(format!("{}; {}", String::from_utf8_lossy(&dump).trim(), mydumper_version()?))
    }

    pub(super) fn mydumper_name(&self) -> &'static str {
        if self.old_mydumper { "mydumper 0.10 -t 2 -c (gzip)" } else { "mydumper -t 2 --compress=zstd" }
    }

    /// The server's own program, its output through zstd with two threads.
    pub(super) fn dump(&self, database: &str, file: &str) -> Result<Run> {
        let dump = self.server.program("dump");
        let mut words = vec![dump.get_program().to_owned()];
        words.extend(dump.get_args().map(ToOwned::to_owned));
        let mut shell = Command::new("bash");
        shell.args([
            "-o",
            "pipefail",
            "-c",
            r#"file=$1; shift; "$@" | zstd -3 -T2 --quiet --force -o "$file""#,
            "bash",
            file,
        ]);
        shell.args(words).args(["--single-transaction", "--quick", "--routines", "--events", database]);
        if !self.server.is_mariadb {
            shell.arg("--set-gtid-purged=OFF");
        }
        shell.envs(dump.get_envs().filter_map(|(name, value)| Some((name, value?))));
        measure(shell.current_dir(&self.directory))
    }

    pub(super) fn mydumper(&self, database: &str, directory: &str) -> Result<Run> {
        self.remove(directory)?;
        let mut command = self.other("mydumper");
        command.args(["--threads=2", "--database", database, "--outputdir", directory]);
        command.args(if self.old_mydumper {
            ["--compress", "--trx-consistency-only"]
        } else {
            ["--compress=zstd", "--trx-tables"]
        });
        measure(command.args(["--routines", "--events", "--triggers"]))
    }

    /// Into the binary log too, as lifeboat does.
    pub(super) fn myloader(&self, directory: &str, database: &str) -> Result<Run> {
        let mut command = self.other("myloader");
        command.args(["--threads=2", "--enable-binlog", "--database", database, "--directory", directory]);
        measure(&mut command)
    }

    fn other(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        self.server.connect(&mut command);
        command.current_dir(&self.directory);
        command
    }
}

/// What the mydumper of this machine calls itself.
pub(super) fn mydumper_version() -> Result<String> {
    let version = Command::new("mydumper").arg("--version").output()?.stdout;
    Ok(String::from_utf8_lossy(&version).trim().to_owned())
}
