//! Leases that were left behind.

use super::BackupManager;
use crate::error::{During, Result};
use crate::info::LeaseInfo;

impl BackupManager {
    /// Who uses the repository, the oldest first.
    pub async fn leases(&self) -> Result<Vec<LeaseInfo>> {
        self.look_at_leases(|_| false).await
    }

    /// Removes the leases that need not be respected any more, or `all`, and tells of every one.
    ///
    /// Who loses a lease fails before it commits anything. But a prune or delete of another host that goes on all the
    /// same could delete what a later backup relies on: remove its lease only if it is dead.
    pub async fn unlock(&self, all: bool) -> Result<Vec<LeaseInfo>> {
        self.look_at_leases(move |good| all || !good).await
    }

    async fn look_at_leases(&self, remove: impl Fn(bool) -> bool) -> Result<Vec<LeaseInfo>> {
        let repository = self.repository().await?;
        self.ctx
            .run(repository.unlock(self.terms(), remove))
            .await
            .during(|| self.place("look at the leases in"))
    }
}
