//! The leases of others: whether they are good, and how one that is not is taken over.

use chrono::{DateTime, Utc};
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use super::lease::{Held, LeaseRecord, Purpose, Terms};
use super::process::Process;
use super::{BackupId, FORMAT_VERSION, Repository};
use crate::error::{During, Error, ErrorKind, Result};
use crate::info::LeaseInfo;
use crate::storage::{Key, ObjectMeta, PutMode, Version};

pub(super) const FOLDER: &str = "locks";
/// No lease holds longer without being renewed, whatever it says: a day.
const LENGTH_MAX: f64 = 86_400.0;
/// A larger object is no lease.
pub(super) const SIZE_MAX: u64 = 64 << 10;

/// Somebody's lease, as it was found.
#[derive(Debug, Clone)]
pub(super) struct Holder {
    pub(super) key: Key,
    version: Version,
    pub(super) modified: DateTime<Utc>,
    pub(super) record: LeaseRecord,
}

/// What is to be thought of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is to be respected.
    Good,
    /// It was not renewed for too long.
    Stale,
    /// Its process has ended.
    Gone,
}

impl Holder {
    fn new(meta: ObjectMeta, file: &[u8]) -> Self {
        let record = LeaseRecord::parse(file).unwrap_or_else(|| LeaseRecord {
            // What cannot be understood may be anything.
            lifeboat: FORMAT_VERSION,
            holder: meta.key.name().to_owned(),
            operation: "something unknown".to_owned(),
            exclusive: true,
            backup: None,
            seconds: LENGTH_MAX,
            created: meta.modified,
            renewed: meta.modified,
            process: Process::default(),
            taken_by: None,
        });
        Self { key: meta.key, version: meta.version, modified: meta.modified, record }
    }

    /// What it is at the time `now`, by the store's clock.
    pub(super) fn standing(&self, now: DateTime<Utc>) -> Standing {
        if self.record.process.has_ended() {
            return Standing::Gone;
        }
        let seconds =
            if self.record.seconds > 0.0 { self.record.seconds.min(LENGTH_MAX) } else { LENGTH_MAX };
        let seconds = if self.record.exclusive { 2.0 * seconds } else { seconds };
        let age = (now - self.modified).as_seconds_f64();
        // One that was stopped between two deletions goes on with them when it is continued.
        let may_delete = self.record.exclusive && self.record.process.is_stopped();
        if age > seconds && !may_delete { Standing::Stale } else { Standing::Good }
    }

    fn info(&self, now: DateTime<Utc>, removed: bool) -> LeaseInfo {
        let record = &self.record;
        LeaseInfo {
            operation: record.operation.clone(),
            exclusive: record.exclusive,
            backup: record.backup.clone(),
            host: record.process.host.clone(),
            pid: record.process.pid,
            created_at: record.created,
            renewed_at: self.modified,
            stale: self.standing(now) != Standing::Good,
            ended: record.process.has_ended(),
            removed,
        }
    }

    /// Who it is, for people.
    fn name(&self) -> String {
        let LeaseRecord { operation, process, created, .. } = &self.record;
        let backup = self.record.backup.as_ref().map(|id| format!(" {id}")).unwrap_or_default();
        let host = if process.host.is_empty() { "an unknown host" } else { &process.host };
        format!(
            "{operation}{backup} of process {} on {host}, since {}",
            process.pid,
            created.format("%F %T UTC")
        )
    }
}

/// The error of whoever finds `holder` in the way.
pub(super) fn locked(holder: &Holder, now: DateTime<Utc>) -> Error {
    let age = (now - holder.modified).num_seconds().max(0);
    let kind = if holder.record.exclusive { " alone" } else { "" };
    let message =
        format!("the repository is used{kind} by {} (renewed {age} s ago)", holder.name().escape_debug());
    let advice = if holder.record.process.is_stopped() {
        "that process is stopped: continue it (kill -CONT), or end it (kill -KILL); what an ended process left is taken over"
    } else {
        "wait for it to end, or for longer with --lock-wait; if you know it to be dead, `lifeboat unlock` says more"
    };
    Error::new(ErrorKind::Locked, message).hint(advice)
}

/// The warning that a lease was taken over.
pub(super) fn left_behind(holder: &Holder, standing: Standing, now: DateTime<Utc>) -> String {
    let why = match standing {
        Standing::Gone => "that process has ended".to_owned(),
        _ => format!("it was not renewed for {} s", (now - holder.modified).num_seconds()),
    };
    format!("took over the lease of {}: {why}", holder.name().escape_debug())
}

/// What stands in place of a manifest that must not be committed any more.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Void {
    lifeboat: u32,
    void: BackupId,
}

/// Whether the manifest file of `name` that begins with `head` only keeps a backup from being committed.
pub(super) fn is_void(head: &[u8], name: &str) -> bool {
    serde_json::from_slice::<Void>(head).is_ok_and(|void| void.void.as_str() == name)
}

impl Repository {
    /// All leases there are.
    pub(super) async fn holders(&self) -> Result<Vec<Holder>> {
        let folder: Key = FOLDER.parse()?;
        let mut listed = self.storage().list(&folder);
        let mut holders = Vec::new();
        while let Some(meta) = listed.next().await.transpose()? {
            match self.storage().get_at_most(&meta.key, SIZE_MAX).await {
                Ok(json) => holders.push(Holder::new(meta, &json)),
                Err(error) => match error.kind() {
                    ErrorKind::NotFound => {}
                    // Like one that cannot be understood.
                    ErrorKind::Damaged => holders.push(Holder::new(meta, b"")),
                    _ => return Err(error),
                },
            }
        }
        Ok(holders)
    }

    /// Looks at all leases, removes those that `remove` chooses, given whether they are good, and tells of all.
    pub(crate) async fn unlock(&self, terms: Terms, remove: impl Fn(bool) -> bool) -> Result<Vec<LeaseInfo>> {
        let (own, now) = Held::create(self.storage(), terms.length, &Purpose::Unlock).await?;
        let looked_at = async {
            let mut infos = Vec::new();
            for holder in self.holders().await?.into_iter().filter(|holder| holder.key.name() != own.holder())
            {
                let remove = remove(holder.standing(now) == Standing::Good);
                let removed = remove && self.take_over(&holder, own.holder()).await?;
                infos.push(holder.info(now, removed));
            }
            infos.sort_by_key(|info| info.created_at);
            Ok(infos)
        };
        let infos = looked_at.await;
        own.remove().await;
        infos
    }

    /// Removes a lease that is not good any more; `false` if its holder or another taker came first.
    pub(super) async fn take_over(&self, holder: &Holder, taker: &str) -> Result<bool> {
        let doing = || format!("take over {}", holder.key);
        let record = LeaseRecord { taken_by: Some(taker.to_owned()), ..holder.record.clone() };
        let mode = PutMode::Update(holder.version.clone());
        match self.storage().put(&holder.key, record.to_bytes()?, mode).await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            Err(error) => return Err(error.during(doing())),
        }
        if let Some(backup) = &holder.record.backup
            && !holder.record.process.has_ended()
        {
            self.void(backup).await.during(doing)?;
        }
        self.storage().delete(&holder.key).await.during(doing)?;
        Ok(true)
    }

    /// Keeps the backup `id` from being committed from now on, unless it is committed already.
    async fn void(&self, id: &BackupId) -> Result<()> {
        let void = Void { lifeboat: FORMAT_VERSION, void: id.clone() };
        let mut json = serde_json::to_vec(&void)
            .map_err(|error| Error::internal("a void is not JSON").because(error))?;
        json.push(b'\n');
        match self.storage().put(&Self::manifest_key(id)?, json.into(), PutMode::Create).await {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
            _ => Ok(()),
        }
    }
}
