//! `prune`: backups that retention drops, and space that nothing needs.

use lifeboat::{BackupConfig, PruneOptions, PruneReport, Result, Tally};
use serde_json::json;

use crate::output::{Align, Table, count, plain, size};
use crate::session::Session;

const HELP: &str = "\
The backups that the retention of the configuration file drops are deleted, and then what no backup \
needs any more. Without a retention no backup is. What the chunks of a deleted backup take comes back \
with a prune an hour later: somebody may still be reading it. Whoever uses the repository is waited \
for (--lock-wait). On a terminal it asks before it deletes backups, and deletes no others; \
elsewhere that needs --yes.

Examples:
  lifeboat prune --dry-run
  lifeboat prune --yes";

/// Delete what retention drops and what no backup needs
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Only show what would be done: each backup with the rules that keep it or do not
    #[arg(long)]
    dry_run: bool,
    /// Let a retention that keeps nothing be meant
    #[arg(long)]
    allow_empty: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let file = session.config_file()?;
        let mut config = BackupConfig::default();
        config.retention = file.retention()?;
        let manager = session.manager_with(&file, config)?;
        let mut options = PruneOptions::default();
        (options.dry_run, options.allow_empty) = (true, self.allow_empty);
        if !self.dry_run && !self.yes {
            let plan = manager.prune(options.clone()).await?.plan;
            let dropped: Vec<_> = plan.dropped().iter().map(|backup| backup.id.clone()).collect();
            if !dropped.is_empty() {
                session.require_confirmation(false, &format!("this deletes {} backups", dropped.len()))?;
                let names: Vec<_> = dropped.iter().map(ToString::to_string).collect();
                session.confirm(false, &format!("Delete the backups {}?", names.join(", "))).await?;
            }
            // It is planned again when everybody else has gone, and may be about others then.
            options.confirmed = Some(dropped);
        }
        options.dry_run = self.dry_run;
        let report = manager.prune(options).await?;
        session.result(&json!({ "prune": report }), || text(&report))
    }
}

fn text(report: &PruneReport) -> String {
    let mut text = String::new();
    let dropped = report.plan.dropped().len() as u64;
    if report.dry_run {
        let mut table = Table::new([
            ("ID", Align::Left),
            ("DATABASE", Align::Left),
            ("", Align::Left),
            ("BECAUSE", Align::Left),
        ]);
        for decision in &report.plan.decisions {
            let reasons: Vec<_> = decision.reasons.iter().map(ToString::to_string).collect();
            let verdict = if decision.keep { "keep" } else { "drop" };
            let database = plain(&decision.backup.database).into_owned();
            table.row([decision.backup.id.to_string(), database, verdict.into(), reasons.join("; ")]);
        }
        text += &table.to_string();
        text.push('\n');
    }
    let (delete, free) = if report.dry_run { ("would delete", "would free") } else { ("deleted", "freed") };
    let collected = &report.collected;
    let kept = report.plan.decisions.len() as u64 - dropped;
    text += &format!("{delete} {}, {} are kept\n", backups(dropped), count(kept));
    text += &format!("{free} {}", amount(collected.freed()));
    let parts = [
        ("chunks", collected.chunks),
        ("lists", collected.lists),
        ("single files", collected.files),
        ("records", collected.records),
        ("temporary files", collected.temporary),
    ];
    let parts: Vec<_> = parts
        .iter()
        .filter(|(_, tally)| tally.objects > 0)
        .map(|(what, tally)| format!("{} {what}", count(tally.objects)))
        .collect();
    if !parts.is_empty() {
        text += &format!(": {}", parts.join(", "));
    }
    text.push('\n');
    if collected.waiting.objects > 0 {
        let minutes = report.waiting_time.div_euclid(60);
        text += &format!(
            "{} more can go in {minutes} minutes, with another prune: somebody may still be reading them\n",
            amount(collected.waiting)
        );
    }
    text
}

fn backups(number: u64) -> String {
    if number == 1 { "1 backup".to_owned() } else { format!("{} backups", count(number)) }
}

fn amount(tally: Tally) -> String {
    format!("{} in {} objects", size(tally.bytes), count(tally.objects))
}
