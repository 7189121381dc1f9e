//! A repository of a case's own, with an engine in front of it.

use std::sync::Arc;

use backup_core::storage::{Key, MemoryStorage, Storage};
use backup_core::{
    BackupConfig, BackupInfo, BackupManager, BackupRef, Ctx, DatabaseUrl, Error, ErrorKind, Format, Registry,
    RestoreOptions, RestoreReport, Result,
};

use super::EngineFixture;

/// A repository in memory, and the manager of it.
pub(crate) struct Repository<'a> {
    fixture: &'a dyn EngineFixture,
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) config: BackupConfig,
    pub(crate) ctx: Ctx,
}

impl<'a> Repository<'a> {
    /// An empty one, for binary backups with two jobs.
    pub(crate) fn new(fixture: &'a dyn EngineFixture) -> Self {
        let mut config = BackupConfig::default();
        config.format = Format::Binary;
        config.jobs = 2;
        Self { fixture, storage: Arc::new(MemoryStorage::new()), config, ctx: Ctx::new() }
    }

    pub(crate) fn jobs(mut self, jobs: usize) -> Self {
        self.config.jobs = jobs;
        self
    }

    pub(crate) fn format(mut self, format: Format) -> Self {
        self.config.format = format;
        self
    }

    /// Backups are complete when they are stored.
    pub(crate) fn unverified(mut self) -> Self {
        self.config.verify = false;
        self
    }

    /// The same repository, watched and cancelled by `ctx`.
    pub(crate) fn under(&self, ctx: Ctx) -> Self {
        Self { fixture: self.fixture, storage: Arc::clone(&self.storage), config: self.config.clone(), ctx }
    }

    /// The same repository behind another storage.
    pub(crate) fn behind(&self, storage: Arc<dyn Storage>) -> Self {
        Self { fixture: self.fixture, storage, config: self.config.clone(), ctx: self.ctx.clone() }
    }

    pub(crate) fn manager(&self) -> BackupManager {
        BackupManager::new(self.config.clone())
            .with_registry(Registry::new().with(self.fixture.factory()))
            .with_storage(Arc::clone(&self.storage))
            .with_context(self.ctx.clone())
    }

    pub(crate) async fn backup(&self, source: &DatabaseUrl) -> BackupInfo {
        self.manager().backup(source).await.unwrap_or_else(|error| panic!("no backup: {}", told(&error)))
    }

    pub(crate) async fn try_restore(
        &self,
        backup: &BackupRef,
        target: &DatabaseUrl,
        change: impl FnOnce(&mut RestoreOptions),
    ) -> Result<RestoreReport> {
        let mut options = RestoreOptions::default();
        options.create_database = true;
        change(&mut options);
        self.manager().restore(backup, target, options).await
    }

    pub(crate) async fn restore(&self, backup: &BackupInfo, target: &DatabaseUrl) -> RestoreReport {
        let restored = self.try_restore(&BackupRef::from(&backup.id), target, |_| {}).await;
        restored.unwrap_or_else(|error| panic!("no restore: {}", told(&error)))
    }

    /// Backs `source` up, restores it into an empty place and returns that.
    pub(crate) async fn copy(&self, source: &DatabaseUrl) -> DatabaseUrl {
        let backup = self.backup(source).await;
        let target = self.fixture.empty().await;
        self.restore(&backup, &target).await;
        target
    }

    /// How many backups are listed; none where there is no repository yet.
    pub(crate) async fn listed(&self) -> usize {
        match self.manager().list_backups().await {
            Ok(backups) => backups.len(),
            Err(error) if error.kind() == ErrorKind::NoRepository => 0,
            Err(error) => panic!("backups cannot be listed: {}", told(&error)),
        }
    }
}

/// The keys below a folder of a repository.
pub(crate) fn folder(name: &str) -> Key {
    name.parse().expect("a folder has a name")
}

/// An error and its causes.
pub(crate) fn told(error: &Error) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told += &format!("\n  because {error}");
        cause = error.source();
    }
    told
}

/// Fails if two dumps differ, showing the first line that does.
#[track_caller]
pub(crate) fn assert_same(expected: &str, found: &str, what: &str) {
    if expected == found {
        return;
    }
    let short = |line: Option<&str>| line.map(|line| line.chars().take(300).collect::<String>());
    let (mut a, mut b) = (expected.lines(), found.lines());
    let mut number = 1;
    loop {
        match (a.next(), b.next()) {
            (x, y) if x != y => {
                panic!("{what}: line {number} is\n{:?}\nwhere there should be\n{:?}", short(y), short(x))
            }
            (None, None) => panic!("{what}: they differ in their line ends"),
            _ => number += 1,
        }
    }
}
