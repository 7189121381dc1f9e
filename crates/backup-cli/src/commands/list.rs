//! `list`: the backups there are.

use lifeboat::{BackupInfo, Result};
use serde_json::json;

use crate::output::{Align, Table, count, size, time, word};
use crate::session::Session;

const HELP: &str = "\
SIZE is what a backup needs in the repository, shared chunks included; NEW is what it added. \
Of a sealed backup VERIFIED may be `stored bytes`, where nobody who can read it has checked it, or say that nobody known signed it.

Examples:
  lifeboat list
  lifeboat list --engine sqlite --database shop.db --json";

/// List the backups, newest last
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Only backups made by this engine
    #[arg(long)]
    engine: Option<String>,
    /// Only backups of databases of this name
    #[arg(long)]
    database: Option<String>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let wanted =
            |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        let mut backups = session.manager()?.list_backups().await?;
        backups.retain(|backup| {
            wanted(&self.engine, &backup.engine) && wanted(&self.database, &backup.database)
        });
        if backups.is_empty() {
            session.note("there are no such backups");
        }
        session.result(&json!({ "backups": backups }), || table(&backups))
    }
}

/// Whether it was verified; but first, whether it can be believed at all.
fn standing(backup: &BackupInfo) -> &'static str {
    match (backup.trusted, backup.signer.is_some(), backup.verified.is_some(), backup.decoded.is_some()) {
        (false, false, ..) => "UNSIGNED",
        (false, true, ..) => "UNKNOWN SIGNER",
        (true, _, true, true) => "yes",
        (true, _, true, false) => "stored bytes",
        (true, _, false, _) => "no",
    }
}

fn table(backups: &[BackupInfo]) -> String {
    if backups.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        ("ID", Align::Left),
        ("DATABASE", Align::Left),
        ("ENGINE", Align::Left),
        ("TYPE", Align::Left),
        ("FORMAT", Align::Left),
        ("CREATED (UTC)", Align::Left),
        ("ROWS", Align::Right),
        ("SIZE", Align::Right),
        ("NEW", Align::Right),
        ("VERIFIED", Align::Left),
        ("CONTINUES", Align::Left),
    ]);
    for backup in backups {
        table.row([
            backup.id.to_string(),
            backup.database.clone(),
            backup.engine.clone(),
            word(&backup.backup_type),
            word(&backup.format),
            time(backup.created_at),
            count(backup.rows),
            size(backup.size),
            size(backup.new_size),
            standing(backup).to_owned(),
            backup.parent.as_ref().map(ToString::to_string).unwrap_or_default(),
        ]);
    }
    table.to_string()
}
