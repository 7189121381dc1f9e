//! `unlock`: leases that were left behind.

use lifeboat::{LeaseInfo, Result};
use serde_json::json;

use crate::output::{plain, time};
use crate::session::Session;

const HELP: &str = "\
Whoever uses a repository holds a lease there. One whose process has ended on this host, or that was not renewed \
for too long, is stale, and is removed; others are only shown. No backup is lost by it: who loses a lease commits nothing any more. \
With --all good ones are removed too. Be sure that those who hold them are dead: a prune on another host that is not would go on deleting.

Examples:
  lifeboat unlock
  lifeboat unlock --all --yes";

/// Show who uses the repository; remove dead leases
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(crate) struct Args {
    /// Remove every lease, whoever holds it
    #[arg(long)]
    all: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        if self.all {
            session
                .require_confirmation(self.yes, "this removes the leases of whoever uses the repository")?;
        }
        let manager = session.manager()?;
        if self.all && !self.yes {
            let held: Vec<_> = manager.leases().await?.iter().map(name).collect();
            if !held.is_empty() {
                session.confirm(self.yes, &format!("Remove the lease of {}?", held.join("; of "))).await?;
            }
        }
        let leases = manager.unlock(self.all).await?;
        session.result(&json!({ "leases": leases }), || match leases.is_empty() {
            true => "nobody uses the repository".to_owned(),
            false => leases.iter().map(line).collect(),
        })
    }
}

fn name(lease: &LeaseInfo) -> String {
    let backup = lease.backup.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
    let (operation, host) = (plain(&lease.operation), plain(&lease.host));
    format!("{operation}{backup} of process {} on {host}, since {} UTC", lease.pid, time(lease.created_at))
}

fn line(lease: &LeaseInfo) -> String {
    let state = match (lease.removed, lease.ended, lease.stale) {
        (true, true, _) => "removed: its process has ended",
        (true, _, true) => "removed: it was not renewed",
        (true, ..) => "REMOVED, although it was good",
        (false, _, true) => "stale, but somebody was faster",
        (false, ..) => "in use",
    };
    format!("{}  {state}\n", name(lease))
}
