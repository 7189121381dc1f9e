//! What every command needs: flags, configuration, repository, and somebody who watches.

use std::env::VarError;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lifeboat::keys::{HostKeys, place_name};
use lifeboat::{BackupConfig, BackupManager, ConfigFile, Ctx, Error, Keys, Registry, Result, SourceConfig};
use serde::Serialize;

use crate::args::Global;
use crate::commands::flags::Reading;
use crate::confirm;
use crate::output::{Output, shell_word};
use crate::progress::Watcher;

/// One run of the program.
pub(crate) struct Session {
    global: Global,
    output: Output,
    ctx: Ctx,
    watcher: Arc<dyn Watcher>,
}

/// How long leases hold, for tests that cannot wait for ten minutes.
fn test_lease() -> Result<Option<Duration>> {
    let Ok(seconds) = std::env::var("LIFEBOAT_TEST_LEASE") else { return Ok(None) };
    let lease = seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    lease.map(Some).ok_or_else(|| Error::usage("LIFEBOAT_TEST_LEASE is no number of seconds"))
}

/// Where the repository is if nobody says.
const DEFAULT_REPOSITORY: &str = "./backups";

impl Session {
    pub(crate) fn new(global: Global, output: Output, ctx: Ctx, watcher: Arc<dyn Watcher>) -> Self {
        Self { global, output, ctx, watcher }
    }

    /// The configuration file, or an empty one.
    pub(crate) fn config_file(&self) -> Result<ConfigFile> {
        ConfigFile::find(self.global.config.as_deref())
    }

    /// The directory of the repository: by flag, environment, file, or habit.
    pub(crate) fn directory(&self, file: &ConfigFile) -> Result<PathBuf> {
        let environment = match std::env::var("LIFEBOAT_REPO") {
            Err(VarError::NotUnicode(_)) => return Err(Error::usage("LIFEBOAT_REPO is not UTF-8")),
            place => place.ok().filter(|place| !place.is_empty()),
        };
        let place = self.global.repo.clone().or(environment).or_else(|| file.repository.clone());
        lifeboat::repository_directory(place.as_deref().unwrap_or(DEFAULT_REPOSITORY))
    }

    /// The manager of the repository, with the library's own defaults.
    pub(crate) fn manager(&self) -> Result<BackupManager> {
        let file = self.config_file()?;
        self.manager_with(&file, BackupConfig::default())
    }

    /// The manager of the repository, working as `config` says, with the keys of a host: it writes, and reads nothing that is sealed.
    pub(crate) fn manager_with(&self, file: &ConfigFile, config: BackupConfig) -> Result<BackupManager> {
        let keys = self.keys(file)?;
        self.manager_with_keys(file, config, keys)
    }

    /// The manager of the repository, which also reads what is sealed, as far as there is something to open it with.
    pub(crate) async fn reader(
        &self,
        file: &ConfigFile,
        config: BackupConfig,
        reading: &Reading,
    ) -> Result<BackupManager> {
        let mut keys = self.keys(file)?;
        self.add_reading(file, reading, &mut keys).await?;
        keys.passphrase =
            file.passphrase.clone().or_environment("LIFEBOAT_PASSPHRASE")?.read(&self.ctx).await?;
        self.manager_with_keys(file, config, keys)
    }

    /// The manager of another repository, with the keys of a host: the one in `host_key`, or else those in the usual place. The one that was
    /// named for this repository may be of the other too, if that is a copy of it, but need not be.
    pub(crate) async fn manager_of(
        &self,
        file: &ConfigFile,
        place: &str,
        config: BackupConfig,
        host_key: Option<PathBuf>,
        reading: &Reading,
    ) -> Result<BackupManager> {
        let directory = lifeboat::repository_directory(place)?;
        let place = place_name(&directory);
        let mut keys = HostKeys::find(host_key.as_deref(), false)?.keys(&place);
        if host_key.is_none()
            && let Some(named) = self.host_key_file(file)
        {
            keys.hosts.extend(HostKeys::find(Some(&named), false)?.keys(&place).hosts);
        }
        keys.recipients.clone_from(&file.recipients);
        keys.signers.clone_from(&file.signers);
        self.add_reading(file, reading, &mut keys).await?;
        self.manager_at(directory, config, keys)
    }

    /// Adds what sealed backups are read with, but for the passphrase, which belongs to one repository; and whom to believe.
    async fn add_reading(&self, file: &ConfigFile, reading: &Reading, keys: &mut Keys) -> Result<()> {
        for path in &reading.identities {
            let text = lifeboat::keys::read_secret_file(path)?;
            keys.add_identity_file(&text)
                .map_err(|error| error.during(format!("read {}", path.display())))?;
        }
        if reading.identities.is_empty()
            && let Some(text) =
                file.identity.clone().or_environment("LIFEBOAT_IDENTITY")?.read(&self.ctx).await?
        {
            keys.add_identity_file(&text)?;
        }
        keys.signers.extend(&reading.signers);
        keys.trust_unsigned = reading.trust_unsigned;
        Ok(())
    }

    /// The manager of the repository with these keys.
    pub(crate) fn manager_with_keys(
        &self,
        file: &ConfigFile,
        config: BackupConfig,
        keys: Keys,
    ) -> Result<BackupManager> {
        self.manager_at(self.directory(file)?, config, keys)
    }

    fn manager_at(&self, directory: PathBuf, mut config: BackupConfig, keys: Keys) -> Result<BackupManager> {
        config.directory = directory;
        if let Some(seconds) = self.global.lock_wait {
            config.lock_wait = Duration::from_secs(seconds.into());
        }
        if let Some(lease) = test_lease()? {
            config.lease = lease;
        }
        Ok(BackupManager::new(config).with_keys(keys).with_context(self.ctx.clone()))
    }

    /// The keys of this host for the repository.
    pub(crate) fn keys(&self, file: &ConfigFile) -> Result<Keys> {
        let mut keys = self.host_keys(file, false)?.keys(&place_name(&self.directory(file)?));
        keys.recipients.clone_from(&file.recipients);
        keys.signers.clone_from(&file.signers);
        Ok(keys)
    }

    /// The host keys that there are.
    pub(crate) fn host_keys(&self, file: &ConfigFile, to_be_made: bool) -> Result<HostKeys> {
        HostKeys::find(self.host_key_file(file).as_deref(), to_be_made)
    }

    /// The file of this host's key, if one was named: by flag, environment or file.
    pub(crate) fn host_key_file(&self, file: &ConfigFile) -> Option<PathBuf> {
        let environment = std::env::var_os("LIFEBOAT_HOST_KEY").filter(|path| !path.is_empty());
        self.global.host_key.clone().or(environment.map(PathBuf::from)).or_else(|| file.host_key.clone())
    }

    /// The source or target that `name_or_url` stands for. An engine that is not there is refused here, before
    /// anything is made. Its URL has the password, wherever that is kept.
    pub(crate) async fn source(&self, file: &ConfigFile, name_or_url: &str) -> Result<SourceConfig> {
        let mut source = file.source(name_or_url)?;
        Registry::linked().by_scheme(&source.url.scheme)?;
        source.url = source.url_with_password(&self.ctx).await?;
        Ok(source)
    }

    /// Prints the result: one JSON document, or text.
    pub(crate) fn result(&self, json: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
        self.watcher.close();
        self.output.result(json, text)
    }

    /// Tells something that is no part of the result.
    pub(crate) fn note(&self, text: &str) {
        self.watcher.note(text);
    }

    pub(crate) fn quiet(&self) -> bool {
        self.global.quiet
    }

    /// Refuses at once what would have to be confirmed and cannot be.
    pub(crate) fn require_confirmation(&self, yes: bool, what: &str) -> Result<()> {
        if yes || (!self.global.json && confirm::is_possible()) {
            Ok(())
        } else {
            Err(confirm::impossible(what))
        }
    }

    /// Asks, unless `yes` was said beforehand; an error unless the answer is yes.
    pub(crate) async fn confirm(&self, yes: bool, question: &str) -> Result<()> {
        if yes {
            return Ok(());
        }
        self.watcher.close();
        confirm::ask(&self.ctx, question).await
    }

    /// The command line that restores the backup `id` of `engine`: to be read, completed and typed.
    pub(crate) fn restore_line(&self, id: &str, engine: &str) -> String {
        let repo = self.global.repo.as_deref().map(|repo| format!(" --repo {}", shell_word(repo)));
        let target = Registry::linked().by_name(engine).map_or("TARGET", |engine| engine.example);
        format!("lifeboat{} restore {id} --target {target}", repo.unwrap_or_default())
    }
}
