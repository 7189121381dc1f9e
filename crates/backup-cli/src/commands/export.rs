//! `export`: a backup as one file.

use std::path::{Path, PathBuf};

use lifeboat::codec::codecs;
use lifeboat::{BackupConfig, BackupRef, Format, Result};
use serde_json::json;

use super::flags::{self, Reading};
use crate::output::{plain, size};
use crate::session::Session;

const HELP: &str = "\
A script (sql) can be loaded by the database's own client too; an archive (compressed) holds what \
is stored. Neither is encrypted, also if the repository is. `lifeboat restore` takes both in place of an ID. The end of the file's name says how it is compressed: .sql is \
plain text, .sql.zst is not. No database is needed.

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
    #[command(flatten)]
    reading: Reading,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let backup: BackupRef = self.backup.parse()?;
        let mut config = BackupConfig::default();
        config.codec = codec(&self.output, self.format, config.codec);
        let manager = session.reader(&session.config_file()?, config, &self.reading).await?;
        let report = manager.export(&backup, &self.output, self.format).await?;
        session.result(&json!({ "export": report }), || {
            let path = report.path.display().to_string();
            format!("wrote {} into {} ({})", report.backup, plain(&path), size(report.size))
        })
    }
}

/// The codec whose files end like `path`. Without such an ending an archive gets the `default`, and a script none:
/// other programs are to read it.
fn codec(path: &Path, format: Format, default: String) -> String {
    let ending = path.extension().and_then(|ending| ending.to_str());
    let named = codecs().into_iter().find(|codec| codec.extension().is_some() && codec.extension() == ending);
    match named {
        Some(codec) => codec.name().to_owned(),
        None if format == Format::Sql => "none".to_owned(),
        None => default,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(feature = "zstd", feature = "gzip"))]
    #[test]
    fn the_end_of_the_name_says_how_a_file_is_compressed() {
        for (path, format, expected) in [
            ("shop.sql", Format::Sql, "none"),
            ("shop.sql.zst", Format::Sql, "zstd"),
            ("shop.sql.gz", Format::Sql, "gzip"),
            ("zst", Format::Sql, "none"),
            ("shop.tar.gz", Format::Compressed, "gzip"),
            ("shop", Format::Compressed, "the default"),
        ] {
            assert_eq!(codec(Path::new(path), format, "the default".to_owned()), expected, "{path}");
        }
    }
}
