//! `check`: the repository itself.

use lifeboat::{BackupConfig, CheckReport, Error, Result};
use serde_json::json;

use super::flags::Reading;
use crate::output::{count, plain, size};
use crate::session::Session;

const HELP: &str = "\
Every manifest and every chunk list is read, and every chunk and file must be there and have its size. \
With --read-data every stored byte is read and hashed, once, however many backups share it, and every \
chunk is decoded, where what is sealed can be read. Damage ends with exit code 4, after the names of the backups that it affects and \
what of them can still be restored.

Examples:
  lifeboat check
  lifeboat check --read-data";

/// Check the whole repository: every manifest, every list, every chunk
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Read every stored byte
    #[arg(long)]
    read_data: bool,
    #[command(flatten)]
    reading: Reading,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let file = session.config_file()?;
        let manager = session.reader(&file, BackupConfig::default(), &self.reading).await?;
        let report = manager.check(self.read_data).await?;
        session.result(&json!({ "check": report, "ok": report.is_good() }), || text(&report))?;
        conclude(&report)
    }
}

fn text(report: &CheckReport) -> String {
    let mut text = format!(
        "{} backups, {} chunks and {} files, {}",
        count(report.backups),
        count(report.chunks),
        count(report.files),
        size(report.bytes)
    );
    text += &match (report.chunks_read, report.chunks_decoded) {
        (0, _) => String::new(),
        (read, decoded) if read == decoded => "; all read, hashed and decoded".to_owned(),
        (read, decoded) => format!("; {} chunks read and hashed, {} decoded", count(read), count(decoded)),
    };
    text.push('\n');
    let orphans = &report.orphans;
    let objects = orphans.chunks + orphans.lists + orphans.files + orphans.marks;
    let objects = objects + orphans.pending + orphans.deleted;
    if objects > 0 {
        let bytes = size(orphans.bytes);
        text += &format!("{} objects of {bytes} belong to no backup; they do no harm\n", count(objects));
    }
    for damage in &report.damage {
        let backups = damage.backups.join(", ");
        let needed = if backups.is_empty() { String::new() } else { format!("  (needed by {backups})") };
        text += &plain(&format!("DAMAGED  {}: {}{needed}", damage.object, damage.what));
        text.push('\n');
    }
    if report.more_damage > 0 {
        text += &format!("DAMAGED  {} more objects\n", count(report.more_damage));
    }
    for affected in &report.affected {
        let database = affected.database.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
        text += &plain(&format!("AFFECTED {}{database}", affected.backup));
        text.push('\n');
        let lines = [
            ("lost", affected.lost.join(", ")),
            ("can be restored with --table", affected.restorable.join(", ")),
            ("", affected.note.clone().unwrap_or_default()),
        ];
        for (what, said) in lines.iter().filter(|(_, said)| !said.is_empty()) {
            let colon = if what.is_empty() { "" } else { ": " };
            text += &format!("         {what}{colon}{}\n", plain(said));
        }
    }
    text
}

fn conclude(report: &CheckReport) -> Result<()> {
    if report.is_good() {
        return Ok(());
    }
    let objects = report.damage.len() as u64 + report.more_damage;
    let message = format!(
        "{} damaged or missing, and {} of {} backups affected",
        if objects == 1 { "1 object is".to_owned() } else { format!("{} objects are", count(objects)) },
        count(report.affected.len() as u64),
        count(report.backups)
    );
    Err(Error::damaged(message)
        .hint("delete the damaged chunks and back up again: what the databases still have is stored anew; check again whether older backups are whole then"))
}
