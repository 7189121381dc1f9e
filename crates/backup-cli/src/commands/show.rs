//! `show`: all that is known of a backup.

use lifeboat::{
    BackupConfig, BackupDetails, BackupInfo, BackupRef, ChainInfo, Content, ErrorKind, Reach, Result,
    TableSummary,
};
use serde_json::json;

use super::flags::Reading;
use crate::output::{Align, Table, count, fields, plain, size, time, word};
use crate::session::Session;

const HELP: &str = "\
Its tables are listed with their rows, their bytes before compression, and a digest: the sum of \
the hashes of their rows, which is the same for the same rows in any order.

Of a backup with a place in a change log, `reaches` says which times and positions its chain can be restored to, \
and how exact the times are.

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
    #[command(flatten)]
    reading: Reading,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let backup: BackupRef = self.backup.parse()?;
        let manager = session.reader(&session.config_file()?, BackupConfig::default(), &self.reading).await?;
        let details = match manager.get_backup(&backup).await {
            // The clear header says something without a key, and whatever its author: the rest is an error.
            Err(error) if matches!(error.kind(), ErrorKind::MissingKey | ErrorKind::UnknownSigner) => {
                let Ok(info) = manager.get_info(&backup).await else { return Err(error) };
                session.result(&json!({ "backup": info }), || header(&info, None))?;
                return Err(error);
            }
            details => details?,
        };
        session.result(&json!({ "backup": details }), || {
            let named = match &backup {
                BackupRef::File(path) => crate::output::shell_word(&path.display().to_string()).into_owned(),
                _ => details.info.id.to_string(),
            };
            let restore = session.restore_line(&plain(&named), &details.info.engine);
            let warnings: String =
                details.warnings.iter().map(|warning| format!("  warning: {}\n", plain(warning))).collect();
            let head = header(&details.info, Some(&details));
            format!("{head}{warnings}\n{}restore it with: {restore}\n", tables(&details.tables))
        })
    }
}

/// What is said of a backup, all of it or what its clear header says.
fn header(info: &BackupInfo, details: Option<&BackupDetails>) -> String {
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
    let verified = match (info.verified, info.decoded) {
        (None, _) => "no".to_owned(),
        (Some(at), Some(decoded)) if at == decoded => format!("{} UTC", time(at)),
        (Some(at), Some(decoded)) => format!("{} UTC, its contents on {} UTC", time(at), time(decoded)),
        (Some(at), None) => {
            format!("{} UTC, its stored bytes: nobody who can read it has checked its contents", time(at))
        }
    };
    let sealed: Vec<_> = info.recipients.iter().map(ToString::to_string).collect();
    let signed = match (&info.signer, info.trusted) {
        (None, true) => String::new(),
        (None, false) => "by nobody: it may be forged".to_owned(),
        (Some(signer), true) => signer.to_string(),
        (Some(signer), false) => format!("{signer}, who is not known here: it may be forged"),
    };
    let chain = details.and_then(|details| details.chain.as_ref());
    let reach = chain.and_then(|chain| chain.reach.as_ref());
    let text = format!("backup {} of {}\n", info.id, plain(&info.database));
    text + &fields([
        ("source", details.map(|details| details.source.clone()).unwrap_or_default()),
        (
            "server",
            details.map_or_else(
                || info.product.clone(),
                |details| format!("{} {}", details.server.product, details.server.version),
            ),
        ),
        ("engine", info.engine.clone()),
        ("type", word(&info.backup_type)),
        ("format", format!("{}, {}", word(&info.format), info.codec)),
        ("created", format!("{} UTC", time(info.created_at))),
        ("complete", format!("{} UTC", time(info.finished_at))),
        ("verified", verified),
        ("sealed for", sealed.join(", ")),
        ("signed by", signed),
        ("content", format!("{}{only}", content(info.content))),
        ("rows", count(info.rows)),
        ("size", stored),
        ("parent", info.parent.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("position", position(info)),
        ("restored", chain.map(restored).unwrap_or_default()),
        ("reaches", reach.map(times).unwrap_or_default()),
        ("", reach.map(positions).unwrap_or_default()),
        ("path", info.path.clone()),
        ("tags", tags.join(", ")),
    ])
}

/// What it covers of the change log, or where it is in it.
fn position(info: &BackupInfo) -> String {
    match (&info.start, &info.position) {
        (Some(start), Some(end)) => {
            format!("{} to {}, {} transactions", word(start), word(end), count(info.transactions))
        }
        (None, Some(position)) => word(position),
        _ => String::new(),
    }
}

/// What restoring it takes, if that is more than itself.
fn restored(chain: &ChainInfo) -> String {
    match chain.path.as_slice() {
        [full, log @ ..] if !log.is_empty() => {
            let log: Vec<_> = log.iter().map(ToString::to_string).collect();
            format!("from {full}, then the log in {}", log.join(", "))
        }
        _ => String::new(),
    }
}

fn times(reach: &Reach) -> String {
    if reach.from >= reach.before {
        return "only itself, until another backup continues it".to_owned();
    }
    let exact = match reach.precision_us {
        us @ 0..1000 => format!("{us} µs"),
        us @ 1000..1_000_000 => format!("{} ms", us.div_ceil(1000)),
        us => format!("{} s", us.div_ceil(1_000_000)),
    };
    let time =
        |time: chrono::DateTime<chrono::Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true);
    format!("from {} until before {}, exact to {exact}", time(reach.from), time(reach.before))
}

fn positions(reach: &Reach) -> String {
    let ends: Vec<_> = reach.ends.iter().map(word).collect();
    format!("positions {} to {}", word(&reach.start), ends.join(" or "))
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
