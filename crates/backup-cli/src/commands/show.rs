//! `show`: all that is known of a backup.

use lifeboat::{BackupDetails, BackupRef, Content, Result, TableSummary};
use serde_json::json;

use crate::output::{Align, Table, count, fields, plain, size, time, word};
use crate::session::Session;

const HELP: &str = "\
Its tables are listed with their rows, their bytes before compression, and a digest: the sum of \
the hashes of their rows, which is the same for the same rows in any order.

Examples:
  lifeboat show latest
  lifeboat show 20250131-020000-5f3a9c01 --json";

/// Show what a backup holds
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The ID of a backup (its beginning will do), latest, or a file that was exported
    #[arg(value_name = "ID|latest|FILE")]
    backup: String,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let backup: BackupRef = self.backup.parse()?;
        let details = session.manager()?.get_backup(&backup).await?;
        session.result(&json!({ "backup": details }), || {
            let named = match &backup {
                BackupRef::File(path) => crate::output::shell_word(&path.display().to_string()).into_owned(),
                _ => details.info.id.to_string(),
            };
            let restore = session.restore_line(&plain(&named), &details.info.engine);
            format!("{}\n{}restore it with: {restore}\n", header(&details), tables(&details.tables))
        })
    }
}

fn header(details: &BackupDetails) -> String {
    let info = &details.info;
    // A script does not say its own size within itself.
    let stored = match info.size {
        0 => size(info.raw_size),
        stored => {
            let new = size(info.new_size);
            format!("{} stored as {}, {new} of it new", size(info.raw_size), size(stored))
        }
    };
    let only = if info.partial { ", only the tables that were selected" } else { "" };
    let tags: Vec<_> = info.metadata.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let verified = info.verified.map_or_else(|| "no".to_owned(), |at| format!("{} UTC", time(at)));
    let text = format!("backup {} of {}\n", info.id, plain(&info.database));
    let text = text
        + &fields([
            ("source", details.source.clone()),
            ("server", format!("{} {}", details.server.product, details.server.version)),
            ("engine", info.engine.clone()),
            ("type", word(&info.backup_type)),
            ("format", format!("{}, {}", word(&info.format), info.codec)),
            ("created", format!("{} UTC", time(info.created_at))),
            ("complete", format!("{} UTC", time(info.finished_at))),
            ("verified", verified),
            ("content", format!("{}{only}", content(info.content))),
            ("rows", count(info.rows)),
            ("size", stored),
            ("parent", info.parent.as_ref().map(ToString::to_string).unwrap_or_default()),
            ("position", info.position.as_ref().map(word).unwrap_or_default()),
            ("path", info.path.clone()),
            ("tags", tags.join(", ")),
        ]);
    details.warnings.iter().fold(text, |text, warning| text + &format!("  warning: {}\n", plain(warning)))
}

fn content(content: Content) -> &'static str {
    match content {
        Content::All => "objects and rows",
        Content::SchemaOnly => "objects without rows",
        Content::DataOnly => "rows without objects",
    }
}

fn tables(tables: &[TableSummary]) -> String {
    if tables.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        ("TABLE", Align::Left),
        ("ROWS", Align::Right),
        ("SIZE", Align::Right),
        ("PARTS", Align::Right),
        ("DIGEST", Align::Left),
    ]);
    for summary in tables {
        let schema = summary.table.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
        table.row([
            format!("{schema}{}", summary.table.name),
            count(summary.digest.rows),
            size(summary.bytes),
            count(summary.parts),
            summary.digest.to_string(),
        ]);
    }
    format!("{table}\n")
}
