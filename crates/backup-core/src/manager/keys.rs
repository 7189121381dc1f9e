//! The keys of a sealed repository: made, shown, changed.

use serde::Serialize;

use super::BackupManager;
use crate::error::{During, Error, ErrorKind, Result};
use crate::repository::{
    HostKey, Identity, Recipient, Repository, RepositoryConfig, Signer, identity_file, identity_key,
    no_host_key, seal_with_passphrase,
};
use crate::secret::Secret;
use crate::storage::{PutMode, Version};

/// A change of a sealed repository's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyChange {
    /// Seal for this one too, from now on.
    AddRecipient(Recipient),
    /// Seal for this one no longer. What was sealed for it stays readable for it.
    RemoveRecipient(Recipient),
    /// Believe what this one signs.
    AddSigner(Signer),
    /// Believe it no longer, and none of what it has signed.
    RemoveSigner(Signer),
}

/// What is known of a repository's keys: nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct KeyInfo {
    /// The id of the repository.
    pub repository: String,
    /// Whether it is sealed.
    pub sealed: bool,
    /// How often its keys were changed.
    pub revision: u64,
    /// Whom it is sealed for, as its description says.
    pub recipients: Vec<Recipient>,
    /// Whose signatures count, as its description says.
    pub signers: Vec<Signer>,
    /// Whether somebody known here signed the description.
    pub trusted: bool,
    /// Whose signatures count here.
    pub known_signers: Vec<Signer>,
    /// Who this host is, if it has a host key.
    pub this_host: Option<Signer>,
    /// Why this host could not write a backup now, if it could not.
    pub refused: Option<String>,
    /// Those for whom an identity is here.
    pub identities: Vec<Recipient>,
}

impl BackupManager {
    /// Makes the sealed repository that `host` is the key of. An identity that is given with a passphrase is stored in it, sealed by
    /// that. Save the host key first: without it nothing can be written there. Errors: as [`BackupManager::init`].
    pub async fn init_sealed(&self, host: &HostKey, stored: Option<(&Identity, &Secret)>) -> Result<()> {
        let mut identities = Vec::new();
        if let Some((identity, passphrase)) = stored {
            identities
                .push((identity.recipient(), self.sealed_identity(host, identity, passphrase).await?.into()));
        }
        let storage = self.storage(true)?;
        let repository = self.ctx.run(Repository::init(storage, Some(host), &identities)).await;
        repository.map(drop).during(|| self.place("make a repository in"))
    }

    async fn sealed_identity(
        &self,
        host: &HostKey,
        identity: &Identity,
        passphrase: &Secret,
    ) -> Result<Vec<u8>> {
        let file = identity_file(identity, host.repository(), host.signers());
        let passphrase = passphrase.clone();
        self.ctx.blocking(move || seal_with_passphrase(&file, &passphrase)).await
    }

    /// What is known of the repository's keys.
    pub async fn keys(&self) -> Result<KeyInfo> {
        let repository = self.repository().await?;
        let (config, access) = (repository.config(), repository.access());
        let unsealer = access.unsealer.as_ref();
        Ok(KeyInfo {
            repository: config.id.clone(),
            sealed: config.is_sealed(),
            revision: config.revision,
            recipients: config.recipients.clone(),
            signers: config.signers.clone(),
            trusted: repository.description_is_trusted(),
            known_signers: access.signers.iter().copied().collect(),
            this_host: access.host.as_ref().map(HostKey::signer),
            refused: repository.seal().err().map(|error| error.to_string()),
            identities: unsealer.map(crate::repository::Unsealer::recipients).unwrap_or_default(),
        })
    }

    /// Changes the repository's keys, and returns the host key as it must be kept from now on. A change that the repository has already, made
    /// on another host, is only made known here. Errors: `MissingKey` without a host key; `UnknownSigner`; `Usage`.
    pub async fn change_keys(&self, change: KeyChange) -> Result<HostKey> {
        let (repository, version, host) = self.changeable().await?;
        let mut host = host;
        apply(&change, &mut host.recipients, &mut host.signers);
        if host.recipients.is_empty() {
            return Err(Error::usage("this is the only recipient: nobody could read what is stored then")
                .hint("add another first"));
        }
        if !host.signers.contains(&host.signer()) {
            return Err(Error::usage("this is the key that this host signs with")
                .hint("remove it on another host; if it was stolen, this host needs a new one: `lifeboat key add --new-host` there"));
        }
        let mut config = repository.config().clone();
        apply(&change, &mut config.recipients, &mut config.signers);
        if config != *repository.config() {
            repository.seal().during(|| "change the keys of the repository")?;
            self.write(&repository, &mut config, version, &host).await?;
        }
        host.revision = config.revision;
        Ok(host)
    }

    /// Adds an identity that is stored in the repository, sealed by `passphrase`, to those who can read what is stored from now on.
    pub async fn add_passphrase(&self, passphrase: &Secret) -> Result<(Recipient, HostKey)> {
        let (repository, _, host) = self.changeable().await?;
        repository.seal().during(|| "change the keys of the repository")?;
        let identity = Identity::generate();
        let sealed = self.sealed_identity(&host, &identity, passphrase).await?;
        let key = identity_key(&identity.recipient())?;
        // First: sealed for an identity that nobody has, nothing could be read.
        self.ctx.run(repository.storage().put(&key, sealed.into(), PutMode::Create)).await?;
        let host = self.change_keys(KeyChange::AddRecipient(identity.recipient())).await?;
        Ok((identity.recipient(), host))
    }

    /// A host key for another host, whose signatures count from now on; and this host's, as it must be kept.
    pub async fn new_host(&self) -> Result<(HostKey, HostKey)> {
        let (.., host) = self.changeable().await?;
        let mut other = host.for_another_host()?;
        let host = self.change_keys(KeyChange::AddSigner(other.signer())).await?;
        other.signers.clone_from(&host.signers);
        other.revision = host.revision;
        Ok((other, host))
    }

    /// The repository, the version of its description, and the key of this host, if its keys can be changed here.
    async fn changeable(&self) -> Result<(Repository, Version, HostKey)> {
        let repository = self.repository().await?;
        if !repository.is_sealed() {
            return Err(Error::unsupported("this repository is not sealed, and stays so")
                .hint("make a sealed one with `lifeboat init --recipient`, and back up into that"));
        }
        let host = repository.access().host.clone().ok_or_else(|| no_host_key(repository.config()))?;
        if !repository.description_is_trusted() {
            return Err(Error::new(
                ErrorKind::UnknownSigner,
                "lifeboat.json is not signed by anybody who is known here",
            )
            .hint("get the true one from a copy of the repository first"));
        }
        let meta = repository.storage().head(&RepositoryConfig::key()?).await?;
        let version =
            meta.ok_or_else(|| Error::new(ErrorKind::NoRepository, "lifeboat.json vanished"))?.version;
        Ok((repository, version, host))
    }

    async fn write(
        &self,
        repository: &Repository,
        config: &mut RepositoryConfig,
        version: Version,
        host: &HostKey,
    ) -> Result<()> {
        config.revision += 1;
        config.sign(&host.signing);
        let (key, bytes) = (RepositoryConfig::key()?, config.to_bytes()?);
        match self.ctx.run(repository.storage().put(&key, bytes, PutMode::Update(version))).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::new(ErrorKind::Locked, "somebody else changed the repository's keys just now")
                    .hint("look at `lifeboat key show`, and run it again"))
            }
            written => written.map(drop),
        }
    }
}

fn apply(change: &KeyChange, recipients: &mut Vec<Recipient>, signers: &mut Vec<Signer>) {
    match change {
        KeyChange::AddRecipient(recipient) => insert(recipients, recipient.clone()),
        KeyChange::RemoveRecipient(recipient) => recipients.retain(|other| other != recipient),
        KeyChange::AddSigner(signer) => insert(signers, *signer),
        KeyChange::RemoveSigner(signer) => signers.retain(|other| other != signer),
    }
}

fn insert<T: PartialEq>(set: &mut Vec<T>, item: T) {
    if !set.contains(&item) {
        set.push(item);
    }
}
