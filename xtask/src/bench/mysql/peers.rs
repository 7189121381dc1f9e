//! What lifeboat is compared with: the server's own dump program, and mydumper.

use std::process::Command;

use super::Bench;
use crate::Result;
use crate::bench::measure::{Run, measure};

impl Bench {
    pub(super) fn dump_name(&self) -> &'static str {
        if self.server.is_mariadb { "mariadb-dump" } else { "mysqldump" }
    }

    pub(super) fn versions(&self) -> Result<String> {
        let mydumper = Command::new("mydumper").arg("--version").output()?.stdout;
        let dump = self.server.program("dump").arg("--version").output()?.stdout;
        Ok(format!(
            "{}; {}",
            String::from_utf8_lossy(&dump).trim(),
            String::from_utf8_lossy(&mydumper).trim()
        ))
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
        command.args(["--threads=2", "--compress", "--database", database, "--outputdir", directory]);
        measure(command.args(["--routines", "--events", "--triggers", "--trx-consistency-only"]))
    }

    pub(super) fn myloader(&self, directory: &str, database: &str) -> Result<Run> {
        let mut command = self.other("myloader");
        measure(command.args(["--threads=2", "--database", database, "--directory", directory]))
    }

    fn other(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        self.server.connect(&mut command);
        command.current_dir(&self.directory);
        command
    }
}
