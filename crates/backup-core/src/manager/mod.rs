//! The manager: back up, restore, list, show, verify, check, export, delete.

mod backup;
mod check;
mod copy;
mod copy_as_it_is;
mod copy_file;
mod dump;
mod export;
mod failure;
mod keys;
mod log;
mod open;
mod prune;
mod replay;
mod restore;
mod unlock;
mod verify;
mod verify_restore;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

pub use check::{Affected, CheckReport, Damage, Orphans};
pub use keys::{KeyChange, KeyInfo};

use crate::chain::Chains;
use crate::codec::codec;
use crate::context::Ctx;
use crate::engine::{Engine, ServerInfo};
use crate::error::{During, Error, ErrorKind, Result};
use crate::info::{BackupDetails, BackupInfo, ExportReport, RestoreReport, TableSummary, VerifyReport};
use crate::options::{BackupConfig, BackupOptions, BackupRef, RestoreOptions};
use crate::progress::Stage;
use crate::registry::Registry;
use crate::repository::{
    BackupId, Format, Header, Keys, Lease, Purpose, Repository, Terms, unknown_manifest,
};
use crate::retention::RetentionPlan;
use crate::storage::{LocalStorage, Storage, Throttled};
use crate::url::DatabaseUrl;

pub use prune::{PruneOptions, PruneReport};

/// Backs databases up into a repository, and restores them.
///
/// ```no_run
/// # async fn example() -> backup_core::Result<()> {
/// use backup_core::{BackupConfig, BackupManager, BackupRef, RestoreOptions};
///
/// let manager = BackupManager::new(BackupConfig::default());
/// let backup = manager.backup(&"sqlite:shop.db".parse()?).await?;
/// manager.restore(&BackupRef::from(&backup.id), &"sqlite:copy.db".parse()?, RestoreOptions::default()).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct BackupManager {
    config: BackupConfig,
    registry: Registry,
    storage: Option<Arc<dyn Storage>>,
    keys: Keys,
    ctx: Ctx,
}

/// What a verification reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// What the backup itself stores.
    Alone,
    /// That, and what it continues.
    Path,
}

impl BackupManager {
    /// A manager with every linked engine, and the repository in the directory that `config` names. Touches nothing yet.
    pub fn new(config: BackupConfig) -> Self {
        Self { config, registry: Registry::linked(), storage: None, keys: Keys::default(), ctx: Ctx::new() }
    }

    /// Uses these engines in place of the linked ones.
    #[must_use]
    pub fn with_registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Uses the repository in this storage.
    #[must_use]
    pub fn with_storage(mut self, storage: Arc<dyn Storage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// Opens repositories with these keys: see [`Keys`].
    #[must_use]
    pub fn with_keys(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// The same manager, which opens nothing that is sealed.
    fn without_identities(mut self) -> Self {
        self.keys.identities.clear();
        self.keys.passphrase = None;
        self
    }

    /// Runs operations under this context: it cancels them, and hears of their progress.
    #[must_use]
    pub fn with_context(mut self, ctx: Ctx) -> Self {
        self.ctx = ctx;
        self
    }

    /// The engines that can be used.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// How it works.
    pub fn config(&self) -> &BackupConfig {
        &self.config
    }

    fn storage(&self, create: bool) -> Result<Arc<dyn Storage>> {
        let storage = match &self.storage {
            Some(storage) => Arc::clone(storage),
            None if create => {
                refuse_foreign(&self.config.directory)?;
                Arc::new(LocalStorage::create(&self.config.directory)?)
            }
            None => match LocalStorage::open(&self.config.directory) {
                Ok(storage) => Arc::new(storage),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let message = format!("there is no directory {}", self.config.directory.display());
                    return Err(Error::new(ErrorKind::NoRepository, message)
                        .hint("check --repo; `lifeboat init` or a first backup makes a repository"));
                }
                Err(error) => return Err(error),
            },
        };
        Ok(match self.config.bytes_per_second {
            Some(limit) => Arc::new(Throttled::new(storage, limit)),
            None => storage,
        })
    }

    async fn repository(&self) -> Result<Repository> {
        let storage = self.storage(false)?;
        let opened = self.ctx.run(Repository::open(storage, &self.keys)).await;
        let repository = opened.during(|| self.place("open the repository"))?;
        self.note_place(&repository).await;
        Ok(repository)
    }

    /// The repository, which is made if its place is empty.
    async fn repository_or_new(&self) -> Result<Repository> {
        let opened = self.ctx.run(Repository::open_or_init(self.storage(true)?, &self.keys)).await;
        let repository = opened.during(|| self.place("open the repository"))?;
        self.note_place(&repository).await;
        Ok(repository)
    }

    /// Notes on this host that a sealed repository is here, so that nothing else will be taken for it.
    async fn note_place(&self, repository: &Repository) {
        let host = self.keys.host(&repository.config().id);
        let (Some(host), Some(place)) = (host.cloned(), self.keys.place.clone()) else { return };
        if !repository.is_sealed() || !repository.description_is_trusted() || host.places().contains(&place) {
            return;
        }
        let noted = self.ctx.blocking(move || host.note_place(&place)).await;
        // Where the key was named, nothing else is taken for its repository in any place.
        if let (Err(error), None) = (noted, &self.keys.expected) {
            self.ctx.warn(format!("that a sealed repository is here cannot be noted on this host: {error}"));
        }
    }

    fn terms(&self) -> Terms {
        Terms { length: self.config.lease.max(Duration::from_millis(100)), wait: self.config.lock_wait }
    }

    /// Takes a lease of the repository.
    async fn lease(&self, repository: &Repository, purpose: Purpose) -> Result<Lease> {
        repository.lease(&self.ctx, self.terms(), purpose).await
    }

    /// Takes the lease of an operation that reads `backup`: a file carried from elsewhere needs none.
    async fn lease_for(&self, backup: &BackupRef, purpose: Purpose) -> Result<Lease> {
        match backup {
            BackupRef::File(_) => Ok(Lease::none(&self.ctx)),
            _ => self.lease(&self.repository().await?, purpose).await,
        }
    }

    /// The same manager, stopped when the lease is lost.
    fn under(&self, lease: &Lease) -> Self {
        self.clone().with_context(lease.ctx().clone())
    }

    fn place(&self, doing: &str) -> String {
        match &self.storage {
            Some(_) => doing.to_owned(),
            None => format!("{doing} {}", self.config.directory.display()),
        }
    }

    /// Makes the repository, which is not sealed, and returns its id. Errors: `AlreadyExists`; `NoRepository` if the place holds something
    /// else; `MissingKey` if the keys ask for a sealed one.
    pub async fn init(&self) -> Result<String> {
        if let Some(expected) = self.keys.expected.as_ref() {
            let message = format!("the sealed repository {expected} was here: this one would not be sealed");
            return Err(Error::new(ErrorKind::MissingKey, message)
                .hint("give --recipient, or move the host key file of the old one away"));
        }
        if !self.keys.recipients.is_empty() || self.keys.of_sealed().is_some() {
            return Err(Error::new(ErrorKind::MissingKey, "the keys ask for a sealed repository")
                .hint("give --recipient; or leave out of the configuration whose signatures count"));
        }
        let storage = self.storage(true)?;
        let repository = self.ctx.run(Repository::init(storage, None, &[])).await;
        Ok(repository.during(|| self.place("make a repository in"))?.config().id.clone())
    }

    /// Asks a database what it is and what can be done with it.
    pub async fn probe(&self, source: &DatabaseUrl) -> Result<ServerInfo> {
        let engine = (self.registry.by_scheme(&source.scheme)?.from_url)(source)?;
        self.ctx.run(engine.probe(&self.ctx)).await.during(|| format!("probe {source}"))
    }

    /// Backs up everything in `source`, in the configured format.
    pub async fn backup(&self, source: &DatabaseUrl) -> Result<BackupInfo> {
        self.backup_with(source, BackupOptions::default()).await
    }

    /// Backs up `source`. A first backup into an empty place makes the repository.
    ///
    /// When it returns `Ok`, the backup is durable, and unless the configuration says otherwise it has been read back and
    /// checked. After an error no new backup is listed, except where checking it failed: that one stays, unverified,
    /// to be looked into. Cancelling leaves nothing visible, or the complete backup if it was being checked already.
    pub async fn backup_with(&self, source: &DatabaseUrl, options: BackupOptions) -> Result<BackupInfo> {
        let factory = self.registry.by_scheme(&source.scheme)?;
        let engine = (factory.from_url)(source)?;
        // Whatever is wrong with the configuration or the repository shows before the database is asked for anything.
        let codec = codec(&self.config.codec)?;
        let repository = self.repository_or_new().await?;
        repository.seal().during(|| self.place("write to the repository"))?;
        let id = BackupId::new(chrono::Utc::now())?;
        let lease =
            self.lease(&repository, Purpose::Backup(id)).await.during(|| format!("back up {source}"))?;
        let (ctx, warnings) = lease.ctx().remembering_warnings();
        let job = backup::Job {
            ctx: &ctx,
            config: &self.config,
            repository,
            factory,
            codec,
            source,
            options,
            lease: &lease,
            warnings,
        };
        let made = self.under(&lease).make_backup(job, engine).await;
        lease.end(made).await
    }

    async fn make_backup(&self, job: backup::Job<'_>, engine: Arc<dyn Engine>) -> Result<BackupInfo> {
        let source = job.source;
        let backup::Made { repository, header, left_out, log } =
            job.run(engine).await.during(|| format!("back up {source}"))?;
        if self.config.verify {
            let id = BackupRef::from(&header.id);
            self.verify_now(&id, Reading::Alone).await.map_err(|error| {
                let hint = "the backup is kept, unverified; do not rely on it, and back up again";
                if error.kind() == ErrorKind::Cancelled { error } else { error.hint(hint) }
            })?;
        }
        if let Some(log) = log {
            log::confirm(&self.ctx, log, &header, !repository.can_read()).await;
        }
        // It is committed: that its mark cannot be read just now does not make it fail.
        let mark = repository.verified(&header).await.unwrap_or_default();
        let info = BackupInfo::of(&header, mark, repository.trusts(&header));
        Ok(BackupInfo { left_out, ..info })
    }

    /// Restores `backup` into `target`.
    ///
    /// What is stored is checked, and the engine agrees to the target, before anything there is touched. After an error the
    /// target is as it was, or the error says what state it is in.
    pub async fn restore(
        &self,
        backup: &BackupRef,
        target: &DatabaseUrl,
        options: RestoreOptions,
    ) -> Result<RestoreReport> {
        let factory = self.registry.by_scheme(&target.scheme)?;
        let engine = (factory.from_url)(target)?;
        let lease = self.lease_for(backup, Purpose::Restore).await?;
        let restored = async {
            let until = options.until()?;
            let (opened, log) = self.under(&lease).open_point(factory.name, &*engine, backup, until).await?;
            let id = log.ids().last().unwrap_or(&opened.header.id).clone();
            let job = restore::Job { ctx: lease.ctx(), config: &self.config, target, options };
            job.run(engine, opened, log).await.during(|| format!("restore {id} into {target}"))
        };
        let restored = restored.await;
        lease.end(restored).await
    }

    /// All backups, oldest first, also those of a sealed repository that nobody known signed ([`BackupInfo::trusted`]). Those whose
    /// manifest cannot be read are warned of.
    pub async fn list_backups(&self) -> Result<Vec<BackupInfo>> {
        let repository = self.repository().await?;
        let listing = repository.listing(&self.ctx).await?;
        listing.warn(&self.ctx);
        self.infos(&repository, listing.headers).await
    }

    /// What retention keeps and drops now, and by which rule. Nothing is deleted. Errors: `Usage` for a policy that keeps nothing, unless
    /// `allow_empty`.
    pub async fn retention_plan(&self, allow_empty: bool) -> Result<RetentionPlan> {
        let mut backups = self.list_backups().await?;
        // One that was forged must not push a true one out.
        backups.retain(|backup| backup.trusted);
        RetentionPlan::new(&backups, &self.config.retention, chrono::Utc::now(), allow_empty)
    }

    /// The backups whose manifest cannot be read, by name: they cannot be listed, and must not be forgotten.
    pub async fn unreadable_backups(&self) -> Result<Vec<(String, Error)>> {
        let unreadable = self.repository().await?.listing(&self.ctx).await?.unreadable;
        Ok(unreadable.into_iter().map(|(key, error)| (key.name().to_owned(), error)).collect())
    }

    /// What the clear header of a backup says, which needs no identity.
    pub async fn get_info(&self, backup: &BackupRef) -> Result<BackupInfo> {
        let repository = self.repository().await?;
        let headers = self.nameable(&repository, backup).await?;
        let header = self.resolve(&repository, backup, &headers).await?;
        self.info(&repository, header).await
    }

    /// All that is known of a backup. Errors: `MissingKey` if it is sealed and there is no identity.
    pub async fn get_backup(&self, backup: &BackupRef) -> Result<BackupDetails> {
        let opened = self.open(backup).await?;
        let mut chain = None;
        let info = match &opened.repository {
            Some(repository) => {
                let headers = repository.counted(&self.ctx).await?.headers;
                match Chains::new(&headers).info(&opened.header) {
                    Ok(found) => chain = found,
                    // It can be shown all the same.
                    Err(error) => self.ctx.warn(error.to_string()),
                }
                self.info(repository, opened.header.clone()).await?
            }
            None => {
                let mut info = BackupInfo::of(&opened.header, None, true);
                if let Some((source, _)) = &opened.file {
                    (info.path, info.size) = (source.name(), source.size());
                }
                info
            }
        };
        Ok(BackupDetails {
            info,
            server: opened.body.server,
            source: opened.body.source,
            warnings: opened.body.warnings,
            tables: TableSummary::of(&opened.parts),
            parts: opened.parts,
            chain,
        })
    }

    /// Deletes a backup and says what it was. Chunks that other backups share stay. Errors: `Locked` if other backups continue it; those
    /// of a manifest that cannot be read, if that may continue it.
    pub async fn delete_backup(&self, backup: &BackupRef) -> Result<BackupInfo> {
        let repository = self.repository().await?;
        let lease = self.lease(&repository, Purpose::Delete).await?;
        let deleted = self.under(&lease).delete_now(&lease, &repository, backup).await;
        lease.end(deleted).await
    }

    async fn delete_now(
        &self,
        lease: &Lease,
        repository: &Repository,
        backup: &BackupRef,
    ) -> Result<BackupInfo> {
        let headers = self.nameable(repository, backup).await?;
        let header = self.resolve(repository, backup, &headers).await?;
        let continues = |other: &&Header| {
            other.parent.as_ref() == Some(&header.id) || other.base.as_ref() == Some(&header.id)
        };
        let all = repository.listing(&self.ctx).await?;
        if let Some(other) = all.headers.iter().find(continues) {
            return Err(Error::new(ErrorKind::Locked, format!("{} continues {}", other.id, header.id))
                .hint("delete the newer one first"));
        }
        let can_be_continued = header.log.is_some() || header.base.is_some();
        // Nobody else deletes now: one that is listed and cannot be found is there.
        let unread = all.unreadable.into_iter().chain(all.gone).next();
        if can_be_continued && let Some((key, error)) = unread {
            return Err(unknown_manifest(&key, error));
        }
        let info = self.info(repository, header.clone()).await?;
        repository.delete(lease, &header).await.during(|| format!("delete {}", header.id))?;
        Ok(info)
    }

    /// Reads everything that a restore of a backup would need, decodes it, hashes and counts it again, and notes beside the backup, and beside
    /// each that it continues, that it was found good; or, if it is damaged, not good any more. Of a script the bytes are hashed, and what it says
    /// at its end of its parts is compared. Of a sealed backup, without an identity, only the stored bytes are hashed: see
    /// [`VerifyReport::decoded`]. Errors: `Damaged`.
    pub async fn verify(&self, backup: &BackupRef) -> Result<VerifyReport> {
        self.verify_leased(backup, Reading::Path).await
    }

    /// The same of what the backup itself stores. Those that it continues are checked to be there and to fit, and are not read: for who
    /// verifies these too.
    pub async fn verify_alone(&self, backup: &BackupRef) -> Result<VerifyReport> {
        self.verify_leased(backup, Reading::Alone).await
    }

    async fn verify_leased(&self, backup: &BackupRef, reading: Reading) -> Result<VerifyReport> {
        let lease = self.lease_for(backup, Purpose::Verify).await?;
        let verified = self.under(&lease).verify_now(backup, reading).await;
        lease.end(verified).await
    }

    async fn verify_now(&self, backup: &BackupRef, reading: Reading) -> Result<VerifyReport> {
        if matches!(backup, BackupRef::File(_)) {
            let opened = self.open(backup).await?;
            self.ctx.emit(crate::Event::Stage(Stage::Verify));
            let id = opened.header.id.clone();
            let report = verify::run(&self.ctx, self.config.jobs, opened).await;
            return report.during(|| format!("verify {id}"));
        }
        let repository = self.repository().await?;
        let headers = repository.headers(&self.ctx).await?;
        let header = self.resolve(&repository, backup, &headers).await?;
        self.ctx.emit(crate::Event::Stage(Stage::Verify));
        let doing = || format!("verify {}", header.id);
        let path = Chains::new(&headers).path(&header).during(doing)?;
        let mut report = VerifyReport { decoded: true, ..VerifyReport::default() };
        for member in path.iter().filter(|member| reading == Reading::Path || member.id == header.id) {
            // Boxed: it is large.
            let verified = Box::pin(self.verify_stored(&repository, member)).await;
            let noted = self.note_verified(&repository, member, verified).await;
            report += if member.id == header.id { noted? } else { noted.during(doing)? };
        }
        Ok(report)
    }

    /// Verifies what one backup itself stores.
    async fn verify_stored(&self, repository: &Repository, header: &Header) -> Result<VerifyReport> {
        if !repository.can_read() {
            return verify::stored(&self.ctx, self.config.jobs, repository, header).await;
        }
        let opened = self.open_listed(repository, header).await?;
        if header.base.is_some() {
            replay::check(header, &opened.parts)?;
        }
        verify::run(&self.ctx, self.config.jobs, opened).await
    }

    async fn note_verified(
        &self,
        repository: &Repository,
        header: &Header,
        report: Result<VerifyReport>,
    ) -> Result<VerifyReport> {
        if matches!(&report, Err(error) if matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotFound)) {
            repository.unmark(&self.ctx, header).await;
        }
        let report = report.during(|| format!("verify {}", header.id))?;
        // What nobody known signed is not vouched for by a mark either.
        if !repository.trusts(header) {
            return Ok(report);
        }
        let id = &header.id;
        match repository.mark_verified(header, report.decoded).await {
            // It is as good as before, and nobody can note it.
            Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::NoSpace) => {
                self.ctx.warn(format!("that {id} is verified cannot be noted: {error}"));
            }
            other => {
                if other?.is_none() {
                    self.ctx.warn(format!(
                        "that {id} is verified is not noted: marks are signed, and this host has no signing key"
                    ));
                }
            }
        }
        Ok(report)
    }

    /// Writes a full backup as one file. The file appears when it is complete, and replaces none. Errors: `AlreadyExists`;
    /// `Unsupported` where the format cannot be made of this backup.
    pub async fn export(&self, backup: &BackupRef, path: &Path, format: Format) -> Result<ExportReport> {
        let lease = self.lease_for(backup, Purpose::Export).await?;
        let exported = self.under(&lease).export_now(backup, path, format).await;
        lease.end(exported).await
    }

    async fn export_now(&self, backup: &BackupRef, path: &Path, format: Format) -> Result<ExportReport> {
        let opened = self.open(backup).await?;
        self.ctx.emit(crate::Event::Stage(Stage::Export));
        let id = opened.header.id.clone();
        let job =
            export::Job { ctx: &self.ctx, config: &self.config, registry: &self.registry, path, format };
        let size = job.run(opened).await.during(|| format!("export {id}"))?;
        Ok(ExportReport { backup: id, path: path.to_owned(), size })
    }

    /// The same backups with what is known of them: each has a mark to be looked for.
    async fn infos(&self, repository: &Repository, headers: Vec<Header>) -> Result<Vec<BackupInfo>> {
        let infos = stream::iter(headers).map(|header| self.info(repository, header));
        infos.buffered(16).boxed().try_collect().await
    }

    async fn info(&self, repository: &Repository, header: Header) -> Result<BackupInfo> {
        let mark = self.ctx.run(repository.verified(&header)).await?;
        Ok(BackupInfo::of(&header, mark, repository.trusts(&header)))
    }

    /// The headers of all backups that can be named: also of those that do not count, unless it is the latest that is meant.
    async fn nameable(&self, repository: &Repository, backup: &BackupRef) -> Result<Vec<Header>> {
        match backup {
            BackupRef::Latest => repository.headers(&self.ctx).await,
            _ => Ok(repository.listing(&self.ctx).await?.headers),
        }
    }

    /// Finds the backup that is meant.
    async fn resolve(
        &self,
        repository: &Repository,
        backup: &BackupRef,
        headers: &[Header],
    ) -> Result<Header> {
        let choose = |what: String| Error::usage(what).hint("name it by its id; `lifeboat list` shows them");
        match backup {
            BackupRef::File(path) => {
                Err(Error::usage(format!("{} is a file, not a backup here", path.display())))
            }
            BackupRef::Latest => {
                let Some(last) = headers.last() else {
                    // If there are some that do not count, it is said why.
                    let all = repository.listing(&self.ctx).await?.headers;
                    all.last().map_or(Ok(()), |newest| repository.refuse_unknown(newest))?;
                    return Err(Error::new(ErrorKind::NotFound, "the repository has no backups"));
                };
                let same =
                    |other: &Header| (&other.engine, &other.database) == (&last.engine, &last.database);
                if let Some(other) = headers.iter().find(|header| !same(header)) {
                    let message = format!("`latest` could be of {} or of {}", other.database, last.database);
                    return Err(choose(message));
                }
                Ok(last.clone())
            }
            BackupRef::Id(start) => {
                if let Some(whole) = headers.iter().find(|header| header.id.as_str() == start) {
                    return Ok(whole.clone());
                }
                let mut found = headers.iter().filter(|header| header.id.as_str().starts_with(start));
                match (found.next(), found.next()) {
                    (Some(header), None) => Ok(header.clone()),
                    (Some(_), Some(_)) => Err(choose(format!("several backups begin with {start}"))),
                    // A manifest that cannot be read is not among the headers: say what is wrong with it.
                    (None, _) => {
                        let id: BackupId = start.parse()?;
                        Ok(repository.manifest(&self.ctx, &id).await?.header)
                    }
                }
            }
        }
    }
}

/// Refuses to make a repository in a directory that holds somebody else's files, also those that no object could be
/// named like.
fn refuse_foreign(directory: &Path) -> Result<()> {
    let Ok(mut entries) = directory.read_dir() else { return Ok(()) };
    let foreign = entries.find_map(|entry| {
        let name = entry.ok()?.file_name();
        // A file system of its own has this one; a put that was cut off leaves names with a dot.
        (name != "lost+found" && !name.to_string_lossy().starts_with('.')).then_some(name)
    });
    match foreign {
        // Looked for only now: somebody else may be making a repository of it, and writes this file first.
        Some(name) if !directory.join("lifeboat.json").exists() => {
            let message = format!("{} is no repository, but holds {}", directory.display(), name.display());
            Err(Error::new(ErrorKind::NoRepository, message)
                .hint("give an empty place, or one that does not exist yet"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_can_be_spawned() {
        fn is_send(_: impl Send) {}
        let (manager, backup) = (BackupManager::new(BackupConfig::default()), BackupRef::Latest);
        let url: DatabaseUrl = "sqlite:shop.db".parse().unwrap();
        is_send(manager.init());
        is_send(manager.probe(&url));
        is_send(manager.backup(&url));
        is_send(manager.restore(&backup, &url, RestoreOptions::default()));
        is_send(manager.list_backups());
        is_send(manager.unreadable_backups());
        is_send(manager.get_backup(&backup));
        is_send(manager.delete_backup(&backup));
        is_send(manager.verify(&backup));
        is_send(manager.leases());
        is_send(manager.unlock(true));
        is_send(manager.prune(PruneOptions::default()));
        is_send(manager.export(&backup, Path::new("file"), Format::Sql));
    }
}
