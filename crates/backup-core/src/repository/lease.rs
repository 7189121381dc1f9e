//! Leases: who uses the repository. docs/format.md has the protocol, and why no backup loses a chunk under it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::holders::{self, Holder, Standing};
use super::id::{BackupId, Hash32, random};
use super::process::{Process, uptime};
use super::{Manifest, Repository};
use crate::codec::Codec;
use crate::context::Ctx;
use crate::error::{During, Error, ErrorKind, Result};
use crate::storage::{Key, PutMode, Storage, Version};

/// How long a store may take to answer, also where leases are shorter.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a lease is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purpose {
    Backup(BackupId),
    Restore,
    Verify,
    Export,
    Check,
    /// A dry run of prune.
    Look,
    Delete,
    Prune,
    /// Not to work but to look at the leases of others.
    Unlock,
}

impl Purpose {
    fn name(&self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Restore => "restore",
            Self::Verify => "verify",
            Self::Export => "export",
            Self::Check => "check",
            Self::Look => "prune --dry-run",
            Self::Delete => "delete",
            Self::Prune => "prune",
            Self::Unlock => "unlock",
        }
    }

    fn is_exclusive(&self) -> bool {
        matches!(self, Self::Delete | Self::Prune)
    }

    /// Whether nothing in the repository changes by it, so that it may go on where it cannot say that it is there.
    fn only_reads(&self) -> bool {
        matches!(self, Self::Restore | Self::Verify | Self::Export | Self::Check | Self::Look)
    }
}

/// How leases are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    /// How long one holds without being renewed.
    pub(crate) length: Duration,
    /// For how long it is tried to get one.
    pub(crate) wait: Duration,
}

impl Terms {
    /// How long garbage is left alone: longer than any lease.
    pub(crate) fn waiting_time(&self) -> chrono::Duration {
        chrono::Duration::from_std(self.length * 6).unwrap_or(chrono::Duration::MAX)
    }
}

/// The stored form of a lease.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LeaseRecord {
    pub(super) lifeboat: u32,
    pub(super) holder: String,
    pub(super) operation: String,
    pub(super) exclusive: bool,
    pub(super) backup: Option<BackupId>,
    pub(super) seconds: f64,
    pub(super) created: DateTime<Utc>,
    pub(super) renewed: DateTime<Utc>,
    #[serde(flatten)]
    pub(super) process: Process,
    /// The holder that took it over, which it is no longer good after.
    pub(super) taken_by: Option<String>,
}

impl LeaseRecord {
    /// A line of JSON, and a line that is its hash: flipped digits of a process must not make it one that has ended.
    pub(super) fn to_bytes(&self) -> Result<bytes::Bytes> {
        let mut file = serde_json::to_vec(self)
            .map_err(|error| Error::internal("a lease is not JSON").because(error))?;
        let hash = Hash32::of(&file);
        file.extend_from_slice(format!("\n{hash}\n").as_bytes());
        Ok(file.into())
    }

    /// What [`LeaseRecord::to_bytes`] wrote; nothing if it is anything else.
    pub(super) fn parse(file: &[u8]) -> Option<Self> {
        let line = file.get(..file.iter().position(|byte| *byte == b'\n')?)?;
        let whole = file.get(line.len()..)? == format!("\n{}\n", Hash32::of(line)).as_bytes();
        serde_json::from_slice(line).ok().filter(|_| whole)
    }
}

/// A lease that is held and renewed. Ended with [`Lease::end`]; dropped, it goes a little later.
#[derive(Debug)]
pub(crate) struct Lease {
    ctx: Ctx,
    /// `None` for an operation that only reads what it may not write to.
    held: Option<Arc<Held>>,
    renewing: Option<AbortOnDropHandle<()>>,
}

#[derive(Debug)]
pub(super) struct Held {
    storage: Arc<dyn Storage>,
    key: Key,
    record: LeaseRecord,
    length: Duration,
    version: tokio::sync::Mutex<Version>,
    /// Until when it is certainly good, on our own clock.
    good_until: AtomicU64,
    lost: OnceLock<&'static str>,
    removed: AtomicBool,
}

impl Repository {
    /// Takes a lease, waiting as `terms` allow. Stale ones in its way are taken over. Errors: `Locked`.
    pub(crate) async fn lease(&self, ctx: &Ctx, terms: Terms, purpose: Purpose) -> Result<Lease> {
        match self.try_lease(ctx, terms, &purpose).await {
            Ok(held) => Ok(Lease::start(ctx, Some(held))),
            Err(error) => match error.kind() {
                ErrorKind::PermissionDenied | ErrorKind::NoSpace if purpose.only_reads() => {
                    Ok(Lease::none(ctx))
                }
                _ => Err(error.during(format!("take a lease for {}", purpose.name()))),
            },
        }
    }

    async fn try_lease(&self, ctx: &Ctx, terms: Terms, purpose: &Purpose) -> Result<Arc<Held>> {
        let deadline = Instant::now() + terms.wait;
        let mut pause = Duration::from_millis(100);
        let mut held: Option<Arc<Held>> = None;
        loop {
            let (own, now) = match held.take() {
                Some(own) => match own.renew().await {
                    Ok(now) => (own, now),
                    Err(error) => return own.give_up(error).await,
                },
                None => ctx.run(Held::create(self.storage(), terms.length, purpose)).await?,
            };
            let holder = match ctx.run(self.conflict(ctx, &own, now)).await {
                Ok(None) => return Ok(own),
                Ok(Some(holder)) => holder,
                Err(error) => return own.give_up(error).await,
            };
            if Instant::now() >= deadline {
                return own.give_up(holders::locked(&holder, now)).await;
            }
            // An exclusive lease among shared ones keeps new ones out; anything else makes room.
            if own.record.exclusive && !holder.record.exclusive {
                held = Some(Arc::clone(&own));
            } else {
                own.remove().await;
            }
            let jitter = u64::from(random::<1>()?[0]) + 256;
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(error) = ctx.sleep(pause.mul_f64(jitter as f64 / 256.0).min(left)).await {
                return own.give_up(error).await;
            }
            pause = (pause * 3 / 2).min(terms.length / 6).min(Duration::from_secs(5));
        }
    }

    /// Takes over what need not be waited for, and returns a lease that must be.
    async fn conflict(&self, ctx: &Ctx, own: &Held, now: DateTime<Utc>) -> Result<Option<Holder>> {
        let mut found: Option<Holder> = None;
        for holder in self.holders().await? {
            if holder.key == own.key {
                continue;
            }
            let standing = holder.standing(now);
            // Two copies of one backup would write each other's file. (A stale one cannot commit any more, and taking it over would
            // keep this one from committing too.)
            let is_same = own.record.backup.is_some() && own.record.backup == holder.record.backup;
            let conflicts =
                own.record.exclusive || holder.record.exclusive || is_same && standing == Standing::Good;
            let may_go = standing == Standing::Gone || conflicts && standing == Standing::Stale;
            if may_go && self.take_over(&holder, &own.record.holder).await? {
                ctx.warn(holders::left_behind(&holder, standing, now));
                continue;
            }
            if conflicts && found.as_ref().is_none_or(|found| !found.record.exclusive) {
                found = Some(holder);
            }
        }
        Ok(found)
    }
}

impl Held {
    pub(super) async fn create(
        storage: &Arc<dyn Storage>,
        length: Duration,
        purpose: &Purpose,
    ) -> Result<(Arc<Self>, DateTime<Utc>)> {
        let holder = hex::encode(random::<16>()?);
        let now = Utc::now().trunc_subsecs(3);
        let record = LeaseRecord {
            lifeboat: super::FORMAT_VERSION,
            operation: purpose.name().to_owned(),
            exclusive: purpose.is_exclusive(),
            backup: if let Purpose::Backup(id) = purpose { Some(id.clone()) } else { None },
            seconds: length.as_secs_f64(),
            created: now,
            renewed: now,
            process: Process::own(),
            taken_by: None,
            holder,
        };
        let key = Key::new([holders::FOLDER, &record.holder])?;
        let good_until = uptime() + good_for(length);
        let meta = storage.put(&key, record.to_bytes()?, PutMode::Create).await?;
        let held = Self {
            storage: Arc::clone(storage),
            key,
            record,
            length,
            version: meta.version.into(),
            good_until: good_until.into(),
            lost: OnceLock::new(),
            removed: AtomicBool::new(false),
        };
        Ok((Arc::new(held), meta.modified))
    }

    pub(super) fn holder(&self) -> &str {
        &self.record.holder
    }

    /// Renews it, and returns the time by the store's clock. Errors: `Locked` if somebody has taken it over.
    pub(super) async fn renew(&self) -> Result<DateTime<Utc>> {
        let mut version = self.version.lock().await;
        loop {
            let record = LeaseRecord { renewed: Utc::now().trunc_subsecs(3), ..self.record.clone() };
            let good_until = uptime() + good_for(self.length);
            let put = self.storage.put(&self.key, record.to_bytes()?, PutMode::Update(version.clone()));
            match self.answer(put).await {
                Ok(meta) => {
                    *version = meta.version;
                    self.good_until.store(good_until, Ordering::SeqCst);
                    return Ok(meta.modified);
                }
                // A renewal whose answer got lost changed the version as well.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    match self.answer(self.version_if_ours()).await? {
                        Some(ours) if ours != *version => *version = ours,
                        _ => return Err(self.lose("somebody took it over")),
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// What the store says, if it says something before it is of no use any more.
    async fn answer<T>(&self, asked: impl Future<Output = Result<T>>) -> Result<T> {
        let answer = tokio::time::timeout(self.length.max(PATIENCE), asked).await;
        answer.unwrap_or_else(|_| Err(Error::new(ErrorKind::TimedOut, "the store does not answer")))
    }

    async fn version_if_ours(&self) -> Result<Option<Version>> {
        let Some(meta) = self.storage.head(&self.key).await? else { return Ok(None) };
        match self.storage.get_at_most(&self.key, holders::SIZE_MAX).await {
            Ok(json) => {
                let ours = LeaseRecord::parse(&json)
                    .is_some_and(|record| record.holder == self.record.holder && record.taken_by.is_none());
                Ok(ours.then_some(meta.version))
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn lose(&self, why: &'static str) -> Error {
        let why = self.lost.get_or_init(|| why);
        self.good_until.store(0, Ordering::SeqCst);
        Error::new(ErrorKind::Locked, format!("the lease of this {} is lost: {why}", self.record.operation))
            .hint("the process was stopped, or the store could not be reached, for too long; run it again")
    }

    /// The cause of an error: that the lease was lost, or else the error itself. Whoever took it over may have removed what was being
    /// written, long before the next renewal would have told.
    pub(super) async fn or_lost(&self, error: Error) -> Error {
        if let (ErrorKind::Cancelled, Some(why)) = (error.kind(), self.lost.get()) {
            return self.lose(why);
        }
        if self.is_good() {
            return error;
        }
        match self.renew().await {
            Err(lost) if lost.kind() == ErrorKind::Locked => lost.because(error),
            // Whether it was lost is not known: the error is.
            _ => error,
        }
    }

    /// When it is of no use to try any longer. Until then a renewal that succeeds shows that nobody has taken it over.
    fn give_up_at(&self) -> u64 {
        let patience = (self.length * 2).max(PATIENCE).as_millis() as u64;
        self.good_until.load(Ordering::SeqCst).saturating_add(patience)
    }

    fn is_good(&self) -> bool {
        uptime() < self.good_until.load(Ordering::SeqCst)
    }

    /// Renews it in time, until it is lost.
    async fn keep(self: Arc<Self>, ctx: Ctx) {
        let mut pause = self.length / 4;
        loop {
            tokio::time::sleep(pause).await;
            match self.renew().await {
                Ok(_) => pause = self.length / 4,
                Err(_) if self.lost.get().is_none() && uptime() < self.give_up_at() => {
                    pause = self.length / 20
                }
                Err(_) => {
                    self.lose("it could not be renewed");
                    ctx.cancel();
                    return;
                }
            }
        }
    }

    pub(super) async fn remove(&self) {
        if self.removed.swap(true, Ordering::SeqCst) {
            return;
        }
        // If it stays, it goes stale: the operation is not worse for it.
        let _ = tokio::time::timeout(Duration::from_secs(10), self.storage.delete(&self.key)).await;
    }

    async fn give_up<T>(&self, error: Error) -> Result<T> {
        self.remove().await;
        Err(error)
    }
}

/// For how long, in milliseconds, a lease counts as good by our own clock, which may be slower than the store's.
fn good_for(length: Duration) -> u64 {
    (length * 3 / 4).as_millis() as u64
}

impl Lease {
    /// The lease of whoever needs none.
    pub(crate) fn none(ctx: &Ctx) -> Self {
        Self { ctx: ctx.clone(), held: None, renewing: None }
    }

    fn start(ctx: &Ctx, held: Option<Arc<Held>>) -> Self {
        let ctx = ctx.child();
        let renewing = held
            .as_ref()
            .map(|held| tokio::spawn(Arc::clone(held).keep(ctx.clone())))
            .map(AbortOnDropHandle::new);
        Self { ctx, held, renewing }
    }

    /// The context of what is done under it: cancelled when it is lost.
    pub(crate) fn ctx(&self) -> &Ctx {
        &self.ctx
    }

    /// The backup that it is for.
    pub(crate) fn backup(&self) -> Result<&BackupId> {
        let backup = self.held.as_ref().and_then(|held| held.record.backup.as_ref());
        backup.ok_or_else(|| Error::internal("a backup without a lease"))
    }

    /// An error unless it is certainly good now.
    pub(crate) async fn check(&self) -> Result<()> {
        self.ctx.check()?;
        match &self.held {
            Some(held) if !held.is_good() => self.prove().await.map(drop),
            _ => Ok(()),
        }
    }

    /// The time by the store's clock; by our own for one who only reads what he may not write to.
    pub(crate) async fn now(&self) -> Result<DateTime<Utc>> {
        if self.held.is_some() { self.prove().await } else { Ok(Utc::now()) }
    }

    /// Renews it, and returns the time by the store's clock: nobody has taken it over until now.
    pub(crate) async fn prove(&self) -> Result<DateTime<Utc>> {
        match &self.held {
            Some(held) => held.renew().await.during(|| "renew the lease"),
            None => Err(Error::internal("there is no lease to be proven")),
        }
    }

    /// Makes the backup that this is the lease of exist, unless the lease was lost.
    pub(crate) async fn commit(
        &self,
        repository: &Repository,
        manifest: &mut Manifest,
        codec: &dyn Codec,
    ) -> Result<()> {
        let file = manifest.encode(codec, repository.seal()?.as_ref())?;
        self.commit_file(repository, &manifest.header.id, file).await
    }

    /// The same of a manifest that was made elsewhere.
    pub(crate) async fn commit_file(
        &self,
        repository: &Repository,
        id: &BackupId,
        file: bytes::Bytes,
    ) -> Result<()> {
        let held = self.held.as_ref().ok_or_else(|| Error::internal("a backup without a lease"))?;
        if self.backup()? != id {
            return Err(Error::internal("the lease is that of another backup"));
        }
        self.prove().await?;
        match repository.commit_file(id, file).await {
            // Nobody else knows this name, unless somebody took the lease over.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(held.lose("somebody took it over").because(error))
            }
            other => other,
        }
    }

    /// Ends it. If it was lost, that is the error, whatever came of it.
    pub(crate) async fn end<T>(mut self, result: Result<T>) -> Result<T> {
        self.renewing = None;
        let Some(held) = self.held.take() else { return result };
        let result = match result {
            Err(error) => Err(held.or_lost(error).await),
            done => done,
        };
        held.remove().await;
        result
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(held) = self.held.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { held.remove().await });
        }
    }
}
