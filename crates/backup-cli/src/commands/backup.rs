//! `backup`: a database into the repository.

use std::time::Instant;

use lifeboat::codec::Level;
use lifeboat::config::parse_rate;
use lifeboat::{
    BackupConfig, BackupInfo, BackupOptions, BackupType, Error, ErrorKind, Format, Pattern, Result,
    SourceConfig,
};
use serde_json::json;

use super::flags::{self, Half};
use crate::output::{count, duration, fields, plain, rate, size, word};
use crate::session::Session;

const HELP: &str = "\
The backup appears in the repository when it is complete, and not before. It is then read back \
and checked, unless --no-verify is given. If there is no repository, it is made.

Where the database keeps a change log, an incremental backup is what that says since the newest backup of \
the chain, and a differential one what it says since the last full one. Both continue the newest full backup of \
the whole database, whatever its format.

Examples:
  lifeboat backup sqlite:shop.db
  lifeboat backup sqlite:shop.db --format binary --exclude 'cache_*'
  lifeboat backup shop    # a [source.shop] of the configuration file";

/// Back up a database
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// The URL of a database, or the name of a source in the configuration file
    source: String,
    /// All of it, or what changed since the last backup or the last full one
    #[arg(long = "type", value_name = "TYPE", value_parser = flags::backup_type(), default_value = "full")]
    backup_type: BackupType,
    /// Make a full backup if there is none to continue
    #[arg(long)]
    or_full: bool,
    /// A script, deduplicated chunks, or one archive [default: sql]
    #[arg(long, value_parser = flags::format())]
    format: Option<Format>,
    /// How many parts to work on at once [default: the number of processors, at most 8]
    #[arg(short, long, value_name = "N", value_parser = flags::jobs())]
    jobs: Option<usize>,
    /// Only tables like this: [[database.]schema.]table, with * for any characters
    #[arg(long, value_name = "PATTERN")]
    include: Vec<Pattern>,
    /// No tables like this
    #[arg(long, value_name = "PATTERN")]
    exclude: Vec<Pattern>,
    #[command(flatten)]
    half: Half,
    /// With what lies outside the database: accounts, roles, tablespaces
    #[arg(long, conflicts_with = "data_only")]
    globals: bool,
    /// Leave out the tables that cannot be read, name them, and end with exit code 3
    #[arg(long)]
    skip_unreadable: bool,
    /// How to compress [default: the first of those possible]
    #[arg(long, value_parser = flags::codec())]
    codec: Option<String>,
    /// How hard to compress, in the codec's own numbers
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    level: Option<i32>,
    /// At most so many bytes a second to and from the repository, as in 50MiB/s
    #[arg(long, value_name = "RATE", value_parser = parse_rate)]
    limit: Option<u64>,
    /// Do not read the backup back and check it
    #[arg(long)]
    no_verify: bool,
    /// Words to find the backup by
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = flags::tag)]
    tags: Vec<(String, String)>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let file = session.config_file()?;
        let source = session.source(&file, &self.source).await?;
        let manager = session.manager_with(&file, self.config(&source))?;
        let started = Instant::now();
        let backup = manager.backup_with(&source.url, self.options(&source)).await?;
        let took = started.elapsed();
        session.result(&json!({ "backup": backup }), || {
            if session.quiet() {
                return backup.id.to_string();
            }
            let restore = session.restore_line(backup.id.as_str(), &backup.engine);
            format!("{}restore it with: {restore}\n", summary(&backup, took))
        })?;
        if backup.left_out.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = backup.left_out.iter().map(|table| plain(table).into_owned()).collect();
        let message = format!("not in {}, because they cannot be read: {}", backup.id, names.join(", "));
        Err(Error::new(ErrorKind::Incomplete, message).hint(
            "the backup has everything else; let the account read them, or repair them, and back up again",
        ))
    }

    /// What the flags, the source and the defaults say about the work, in this order.
    fn config(&self, source: &SourceConfig) -> BackupConfig {
        let mut config = BackupConfig::default();
        source.apply(&mut config);
        config.format = self.format.unwrap_or(config.format);
        config.jobs = self.jobs.unwrap_or(config.jobs);
        config.level = self.level.map_or(config.level, Level::of);
        config.bytes_per_second = self.limit.or(config.bytes_per_second);
        config.verify &= !self.no_verify;
        if let Some(codec) = &self.codec {
            config.codec.clone_from(codec);
        }
        config
    }

    fn options(&self, source: &SourceConfig) -> BackupOptions {
        let mut options = source.options();
        options.backup_type = self.backup_type;
        options.or_full = self.or_full;
        options.content = self.half.content();
        options.globals = self.globals;
        options.skip_unreadable = self.skip_unreadable;
        if !self.include.is_empty() {
            options.include.clone_from(&self.include);
        }
        if !self.exclude.is_empty() {
            options.exclude.clone_from(&self.exclude);
        }
        options.tags.extend(self.tags.iter().cloned());
        options
    }
}

fn summary(backup: &BackupInfo, took: std::time::Duration) -> String {
    let head = format!("backed up {} as {}\n", plain(&backup.database), backup.id);
    let stored = format!(
        "{} stored as {} ({}, {}), {} of it new",
        size(backup.raw_size),
        size(backup.size),
        word(&backup.format),
        backup.codec,
        size(backup.new_size)
    );
    let verified = match (backup.verified, backup.decoded) {
        (Some(_), Some(_)) => "yes: it was read back",
        // What was stored is what was decoded and compared before it was sealed; more is not claimed.
        (Some(_), None) => {
            "its stored bytes; sealed, so its contents were compared before, and not read back"
        }
        (None, _) => "no",
    };
    head + &fields([
        ("rows", count(backup.rows)),
        ("size", stored),
        ("time", format!("{}, {}", duration(took), rate(backup.raw_size, took))),
        ("verified", verified.to_owned()),
    ])
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Wrapper {
        #[command(flatten)]
        args: Args,
    }

    fn parse(flags: &[&str]) -> Args {
        let line = ["backup", "sqlite:shop.db"].iter().chain(flags);
        Wrapper::try_parse_from(line).unwrap().args
    }

    fn source() -> SourceConfig {
        let mut source = SourceConfig::new("sqlite:shop.db".parse().unwrap());
        source.format = Some(Format::Binary);
        source.jobs = Some(3);
        source.exclude = vec!["cache".parse().unwrap()];
        source.tags.insert("team".into(), "web".into());
        source
    }

    #[test]
    fn flags_go_before_what_the_source_says() {
        let args =
            parse(&["--format", "sql", "-j", "5", "--level", "-3", "--limit", "2MiB/s", "--no-verify"]);
        let config = args.config(&source());
        assert_eq!((config.format, config.jobs, config.level), (Format::Sql, 5, Level::of(-3)));
        assert_eq!((config.bytes_per_second, config.verify), (Some(2 << 20), false));
        let config = parse(&[]).config(&source());
        assert_eq!((config.format, config.jobs, config.verify), (Format::Binary, 3, true));
    }

    #[test]
    fn patterns_replace_those_of_the_source_and_tags_are_added() {
        let texts = |patterns: &[Pattern]| patterns.iter().map(ToString::to_string).collect::<Vec<_>>();
        let options = parse(&["--exclude", "tmp_*", "--tag", "tier=1"]).options(&source());
        assert_eq!(texts(&options.exclude), ["tmp_*"]);
        assert_eq!(options.tags.len(), 2);
        let options = parse(&["--tag", "team=db"]).options(&source());
        assert_eq!(texts(&options.exclude), ["cache"]);
        assert_eq!(options.tags.get("team").map(String::as_str), Some("db"));
    }

    #[test]
    fn the_two_halves_exclude_each_other() {
        assert!(Wrapper::try_parse_from(["backup", "sqlite:a", "--schema-only", "--data-only"]).is_err());
        assert_eq!(parse(&["--data-only"]).half.content(), lifeboat::Content::DataOnly);
    }
}
