//! `restore`: a backup into a database.

use std::time::Instant;

use chrono::{DateTime, Utc};
use lifeboat::{BackupConfig, BackupRef, Pattern, Position, RestoreOptions, RestoreReport, Result};
use serde_json::json;

use super::flags::{self, Half, Reading};
use crate::output::{count, duration, fields, plain, rate, size, time, word};
use crate::session::Session;

const HELP: &str = "\
Everything that is needed is read and checked before the target is touched. A target that holds \
data is refused, unless --drop-existing says that it is to be replaced: on a terminal that is \
asked about, elsewhere it needs --yes.

An incremental or differential backup is restored with all that it continues. With --point-in-time or \
--until a chain of such backups is restored as it was between them: `lifeboat show` says what a chain \
reaches. A point that is not reached is refused (exit code 5) before anything is touched.

Examples:
  lifeboat restore latest --target sqlite:copy.db
  lifeboat restore 20250131-020000-5f3a9c01 --target shop --drop-existing
  lifeboat restore ./shop.sql --target sqlite:copy.db --table orders";

/// Restore a backup into a database
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The ID of a backup (its beginning will do), latest, or a file that was exported
    #[arg(value_name = "ID|latest|FILE")]
    backup: String,
    /// The URL of the database to restore into, or its name in the configuration file
    #[arg(long)]
    target: String,
    /// The name to restore under, in place of the one in the target's URL
    #[arg(long, value_name = "NAME")]
    target_database: Option<String>,
    /// Create the target database if there is none
    #[arg(long)]
    create_database: bool,
    /// Replace what is in the target
    #[arg(long)]
    drop_existing: bool,
    /// Restore the database as it was at this time, as in 2025-01-31T23:59:59Z
    #[arg(long, value_name = "RFC3339", value_parser = flags::time)]
    point_in_time: Option<DateTime<Utc>>,
    /// Restore the database as it was at this position of its change log, as `show` prints positions
    #[arg(long, value_name = "POSITION", value_parser = flags::position, conflicts_with = "point_in_time")]
    until: Option<Position>,
    /// Only tables like this, with what they need: [[database.]schema.]table, with * for any characters
    #[arg(long = "table", value_name = "PATTERN")]
    tables: Vec<Pattern>,
    #[command(flatten)]
    half: Half,
    /// With what lies outside databases, if the backup has it: accounts and the like that are there already stay as they are
    #[arg(long, conflicts_with = "data_only")]
    globals: bool,
    #[command(flatten)]
    reading: Reading,
    /// Leave out owners and grants
    #[arg(long)]
    no_owner: bool,
    /// Do not check what is stored before the target is touched, but while it is loaded; scripts, and
    /// archives in sealed repositories, are checked before all the same
    #[arg(long)]
    skip_verification: bool,
    /// How many parts to load at once [default: the number of processors, at most 8]
    #[arg(short, long, value_name = "N", value_parser = flags::jobs())]
    jobs: Option<usize>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let file = session.config_file()?;
        let target = session.source(&file, &self.target).await?;
        let replaced = match &self.target_database {
            Some(name) => target.url.with_database(name),
            None => target.url.clone(),
        };
        let mut backup: BackupRef = self.backup.parse()?;
        if self.drop_existing {
            session
                .require_confirmation(self.yes, &format!("--drop-existing replaces what is in {replaced}"))?;
        }
        let mut config = BackupConfig::default();
        target.apply(&mut config);
        let manager = session.reader(&file, config, &self.reading).await?;
        if self.drop_existing && !self.yes {
            let found = manager.get_backup(&backup).await?.info;
            let of = match (self.point_in_time, &self.until) {
                (Some(point), _) => format!("as of {} UTC", time(point)),
                (_, Some(position)) => format!("as of {}", word(position)),
                _ => {
                    // What was asked about is what is restored, whatever is added meanwhile.
                    if backup == BackupRef::Latest {
                        backup = BackupRef::from(&found.id);
                    }
                    format!("as of {} UTC ({})", time(found.created_at), found.id)
                }
            };
            let question = format!("Replace what is in {replaced} by {} {of}?", found.database);
            session.confirm(self.yes, &question).await?;
        }
        let started = Instant::now();
        let report = manager.restore(&backup, &target.url, self.options()).await?;
        session.result(&json!({ "restore": report }), || summary(&report, started.elapsed()))
    }

    fn options(self) -> RestoreOptions {
        let mut options = RestoreOptions::default();
        options.content = self.half.content();
        options.drop_existing = self.drop_existing;
        options.create_database = self.create_database;
        options.point_in_time = self.point_in_time;
        options.until = self.until;
        options.skip_verification = self.skip_verification;
        options.target_database = self.target_database;
        options.tables = self.tables;
        options.jobs = self.jobs;
        options.no_owner = self.no_owner;
        options.globals = self.globals;
        options
    }
}

fn summary(report: &RestoreReport, took: std::time::Duration) -> String {
    // What was left out, if anything, was warned of.
    let head = format!("restored {} into {}\n", report.backup, plain(&report.target));
    let log = match (&report.position, report.replayed.len()) {
        (Some(position), 1..) => {
            format!(
                "{} transactions behind {}, to {}",
                count(report.transactions),
                report.full,
                word(position)
            )
        }
        _ => String::new(),
    };
    head + &fields([
        ("replayed", log),
        ("rows", count(report.rows)),
        ("parts", count(report.parts)),
        ("size", size(report.bytes)),
        ("time", format!("{}, {}", duration(took), rate(report.bytes, took))),
    ])
}
