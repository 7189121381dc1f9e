//! `export`: a backup as one file.

use std::path::PathBuf;

use lifeboat::{BackupRef, Format, Result};
use serde_json::json;

use super::flags;
use crate::output::{plain, size};
use crate::session::Session;

const HELP: &str = "\
A script (sql) can be loaded by the database's own client too; an archive (compressed) holds what \
is stored. `lifeboat restore` takes both in place of an ID. No database is needed.

Examples:
  lifeboat export latest -o shop.sql
  lifeboat export latest -o shop.tar.zst --format compressed";

/// Write a backup into one file, to carry away
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The ID of a backup (its beginning will do), or latest
    #[arg(value_name = "ID|latest")]
    backup: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A script or an archive
    #[arg(long, value_parser = flags::file_format(), default_value = "sql")]
    format: Format,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let backup: BackupRef = self.backup.parse()?;
        let report = session.manager()?.export(&backup, &self.output, self.format).await?;
        session.result(&json!({ "export": report }), || {
            let path = report.path.display().to_string();
            format!("wrote {} into {} ({})", report.backup, plain(&path), size(report.size))
        })
    }
}
