//! `copy`: backups into another repository.

use std::path::PathBuf;

use lifeboat::{BackupConfig, BackupRef, CopyReport, Result};
use serde_json::json;

use super::flags::{self, Reading};
use crate::output::{Align, Table, count, size};
use crate::session::Session;

const HELP: &str = "\
A backup keeps its ID, its place in the order and its chain; whatever it continues is copied with it. \
Only what the other repository has not got is sent, and what was sent is verified there. Copying again \
after it was cut off sends the rest. A repository can also be copied or moved with cp, rsync or tar.

What is sealed here is read for that, which takes an identity, and sealed again for those who may read what \
lies there. Between two copies of one sealed repository bytes go over as they are, without an identity.

Examples:
  lifeboat copy --to /mnt/offsite/backups
  lifeboat copy --to /mnt/offsite/backups latest
  lifeboat copy --to /mnt/offsite/backups --identity identity.txt";

/// Copy backups into another repository
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The IDs of backups (their beginnings will do), or latest; none means all
    #[arg(value_name = "ID")]
    backups: Vec<String>,
    /// The other repository; an empty place is made one, unless what comes there is sealed here
    #[arg(long, value_name = "PLACE")]
    to: String,
    /// The host key of the other repository, if it is sealed and the key is not where host keys are
    #[arg(long, value_name = "FILE")]
    to_host_key: Option<PathBuf>,
    /// What compresses the chunks that have to be written anew
    #[arg(long, value_parser = flags::codec())]
    codec: Option<String>,
    /// How many chunks are worked on at once
    #[arg(short, long, value_name = "N", value_parser = flags::jobs())]
    jobs: Option<usize>,
    /// Do not verify what was copied
    #[arg(long)]
    no_verify: bool,
    #[command(flatten)]
    reading: Reading,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let backups: Vec<BackupRef> = self.backups.iter().map(|text| text.parse()).collect::<Result<_>>()?;
        let mut config = BackupConfig::default();
        config.verify = !self.no_verify;
        config.jobs = self.jobs.unwrap_or(config.jobs);
        config.codec = self.codec.unwrap_or(config.codec);
        let file = session.config_file()?;
        let from = session.reader(&file, BackupConfig::default(), &self.reading).await?;
        let to = session.manager_of(&file, &self.to, config, self.to_host_key, &self.reading).await?;
        let report = from.copy(&to, &backups).await?;
        session.result(&json!({ "copy": report }), || text(&report))
    }
}

fn text(report: &CopyReport) -> String {
    let mut text = String::new();
    if !report.copied.is_empty() {
        let mut table = Table::new([
            ("COPIED", Align::Left),
            ("SIZE", Align::Right),
            ("CHUNKS", Align::Right),
            ("SENT", Align::Right),
            ("BYTES SENT", Align::Right),
        ]);
        for copied in &report.copied {
            table.row([
                copied.backup.to_string(),
                size(copied.size),
                count(copied.chunks),
                count(copied.chunks_sent),
                size(copied.bytes_sent),
            ]);
        }
        text += &table.to_string();
    }
    let (copied, there) = (report.copied.len() as u64, report.there.len() as u64);
    text + &format!("{} copied, {} were there already\n", count(copied), count(there))
}
