//! Prune: retention is applied, and what nothing needs any more is deleted.

use serde::Serialize;

use super::BackupManager;
use crate::error::{During, Error, ErrorKind, Result};
use crate::repository::{
    BackupId, Collected, Collector, Header, Lease, Listing, PASS, Purpose, Repository, unknown_manifest,
};
use crate::retention::RetentionPlan;

/// What [`BackupManager::prune`] is to do.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PruneOptions {
    /// Only find out: delete nothing.
    pub dry_run: bool,
    /// Let a retention that keeps nothing be meant.
    pub allow_empty: bool,
    /// The backups that somebody said may go: if retention drops any other by now, nothing is deleted. `None` is for all that it drops.
    pub confirmed: Option<Vec<BackupId>>,
}

/// What prune did, or would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct PruneReport {
    /// Whether nothing was deleted.
    pub dry_run: bool,
    /// What retention says of every backup. Those not kept were deleted.
    #[serde(flatten)]
    pub plan: RetentionPlan,
    /// What was deleted that no backup needs.
    pub collected: Collected,
    /// For how many seconds what nothing needs any more is left, for those who are reading it.
    pub waiting_time: i64,
}

impl BackupManager {
    /// Deletes the backups that retention drops, and then what no backup needs any more.
    ///
    /// It waits for everybody else who uses the repository. Chunks of a backup go only some time after it was deleted (six times
    /// the length of a lease, by the store's clock), with a later prune. Cut off anywhere, it leaves every listed backup whole, and the rest to the next one.
    /// Memory: about 100 MiB, and some kilobytes a backup, whatever the number of chunks. Errors: `Locked`, also if others than the
    /// confirmed backups would be deleted; `Damaged` if a manifest or a chunk
    /// list cannot be read, and then nothing is deleted; `Usage` as [`RetentionPlan::new`].
    pub async fn prune(&self, options: PruneOptions) -> Result<PruneReport> {
        let repository = self.repository().await?;
        let purpose = if options.dry_run { Purpose::Look } else { Purpose::Prune };
        let lease = self.lease(&repository, purpose).await?;
        let pruned = self.under(&lease).prune_now(&lease, &repository, options).await;
        lease.end(pruned).await
    }

    async fn prune_now(
        &self,
        lease: &Lease,
        repository: &Repository,
        options: PruneOptions,
    ) -> Result<PruneReport> {
        let dry_run = options.dry_run;
        let Listing { headers, unreadable, gone, .. } = repository.listing(&self.ctx).await?;
        // Nobody else deletes now: one that is listed and cannot be found is there.
        if let Some((key, error)) = unreadable.into_iter().chain(gone).next() {
            return Err(unknown_manifest(&key, error));
        }
        // Whoever forges backups shall not fill the places of real ones: they do not count, and are left alone.
        let counted = headers.iter().filter(|header| repository.trusts(header)).cloned().collect();
        let infos = self.infos(repository, counted).await?;
        let now = lease.now().await?;
        let plan = RetentionPlan::new(&infos, &self.config.retention, now, options.allow_empty)?;
        let dropped = plan.dropped();
        if let (false, Some(confirmed)) = (dry_run, &options.confirmed)
            && let Some(other) = dropped.iter().find(|backup| !confirmed.contains(&backup.id))
        {
            let message = format!("retention drops {} by now, which nobody confirmed", other.id);
            return Err(Error::new(ErrorKind::Locked, message)
                .hint("nothing was deleted; look at `lifeboat prune --dry-run`, and run it again"));
        }
        let is_dropped = |header: &Header| dropped.iter().any(|backup| backup.id == header.id);
        let (dropping, kept): (Vec<_>, Vec<_>) = headers.into_iter().partition(is_dropped);
        // What is known of the chunk lists is known before anything is deleted.
        let waiting_time = self.terms().waiting_time();
        let collector = Collector { repository, lease, dry_run, now, waiting_time, pass: PASS };
        let needed = collector.needed(&kept).await?;
        if !dry_run {
            // Newest first: no backup goes before one that continues it.
            for backup in &dropped {
                let header = dropping.iter().find(|header| header.id == backup.id);
                let header = header.ok_or_else(|| Error::internal("retention drops what is not there"))?;
                repository.delete(lease, header).await.during(|| format!("delete {}", header.id))?;
            }
        }
        let collected = collector.run(needed, &dropping).await?;
        Ok(PruneReport { dry_run, collected, waiting_time: collector.waiting_time.num_seconds(), plan })
    }
}
