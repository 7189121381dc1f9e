//! What can be done with a repository by whoever opened it: read, write, and whom to believe.

use std::collections::BTreeSet;

use futures::TryStreamExt;

use super::config::RepositoryConfig;
use super::id::Hash32;
use super::keys::{HostKey, Keys, vouched};
use super::manifest::{Header, ManifestSeal};
use super::seal::{Identity, Recipient, Sealer, Unsealer, unseal_with_passphrase};
use super::sign::{Author, Signer};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Secret;
use crate::storage::{Key, Storage};

/// A larger object is no identity.
const IDENTITY_MAX: u64 = 64 << 10;

/// The keys of one repository. Of one that is not sealed there are none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Access {
    pub(crate) host: Option<HostKey>,
    pub(crate) unsealer: Option<Unsealer>,
    /// Whose signatures count.
    pub(crate) signers: BTreeSet<Signer>,
    /// Who must be able to read what is written.
    wanted: Vec<Recipient>,
    trust_unsigned: bool,
}

impl Access {
    /// Finds out what `keys` are good for in the repository that `config` describes. Refuses a description that was put in the place
    /// of another.
    pub(crate) async fn resolve(
        storage: &dyn Storage,
        config: &RepositoryConfig,
        keys: &Keys,
    ) -> Result<Self> {
        if let Some(expected) = keys.expected.as_ref().filter(|id| !config.is_sealed() || **id != config.id) {
            let what =
                if config.is_sealed() { "another sealed repository" } else { "one that is not sealed" };
            let message =
                format!("the sealed repository {expected} was here, and now there is {what}, {}", config.id);
            return Err(Error::new(ErrorKind::WrongKey, message).hint(
                "somebody replaced lifeboat.json: do not back up to it; if it was you, move the host key file of the old one away",
            ));
        }
        if !config.is_sealed() {
            return refuse_unsealed(config, keys).map(|()| Self::default());
        }
        let mut host = keys.host(&config.id).cloned();
        if let (Some(host), Some(place)) = (&mut host, &keys.place) {
            host.seen_at(place);
        }
        let mut known: BTreeSet<Signer> = keys.signers_of(&config.id).collect();
        let mut identities = keys.identities.clone();
        if let Some(passphrase) = &keys.passphrase {
            let file = keys.unlocked.get_or_try_init(|| stored_identities(storage, passphrase)).await?;
            identities.extend(Identity::parse_file(file)?);
            known.extend(
                vouched(file).into_iter().filter(|(id, _)| *id == config.id).map(|(_, signer)| signer),
            );
        }
        // Whoever is known to be a signer may name others. Where nobody is known, nobody counts.
        let vouches = matches!(config.author(), Ok(Author::Signed(signer)) if known.contains(&signer));
        if vouches {
            known.extend(&config.signers);
        } else if !known.is_empty() && !keys.trust_unsigned {
            let message = "lifeboat.json is not signed by anybody who is known here";
            return Err(Error::new(ErrorKind::UnknownSigner, message).hint(
                "somebody changed it, or gave the wrong --signer: compare with what `lifeboat init` printed, or with a copy of the repository",
            ));
        }
        if let Some(host) =
            host.as_ref().filter(|host| host.revision > config.revision && !keys.trust_unsigned)
        {
            let message =
                format!("lifeboat.json is revision {}, and {} was here", config.revision, host.revision);
            return Err(Error::new(ErrorKind::UnknownSigner, message).hint(
                "somebody brought back an older one: get the newer one from a copy of the repository",
            ));
        }
        Ok(Self {
            host,
            unsealer: Unsealer::new(identities),
            signers: known,
            wanted: keys.recipients.clone(),
            trust_unsigned: keys.trust_unsigned,
        })
    }

    /// Whether somebody known signed the header of a backup in this repository.
    pub(crate) fn trusts(&self, config: &RepositoryConfig, header: &Header) -> bool {
        !config.is_sealed()
            || matches!(header.author, Author::Signed(signer) if self.signers.contains(&signer))
                && header.repository == config.id
    }

    /// Refuses a backup that nobody known signed, unless that was asked for.
    pub(crate) fn refuse_unknown(&self, config: &RepositoryConfig, header: &Header) -> Result<()> {
        if self.trust_unsigned || self.trusts(config, header) {
            return Ok(());
        }
        let id = &header.id;
        let (message, hint) = match header.author {
            _ if header.repository != config.id => (
                format!("{id} was signed as a backup of another repository, {}", header.repository),
                "somebody put it here: delete it",
            ),
            Author::Nobody => (
                format!("{id} is not signed, in a repository whose backups are"),
                "somebody put it here: do not restore it; --trust-unsigned does so all the same",
            ),
            Author::Signed(signer) if self.signers.is_empty() => (
                format!("{id} is signed by {signer}, and nothing here says whether that is one of yours"),
                "compare with what `lifeboat init` printed, and give --signer; or --trust-unsigned to take it all the same",
            ),
            Author::Signed(signer) => (
                format!("{id} is signed by {signer}, who is not known here"),
                "if it is one of yours, give --signer; otherwise somebody put the backup here",
            ),
        };
        Err(Error::new(ErrorKind::UnknownSigner, message).hint(hint))
    }

    /// What a backup is sealed and signed with; `None` where nothing is. Refuses whatever would let the wrong people read, or the
    /// right ones not.
    pub(crate) fn for_writing(&self, config: &RepositoryConfig) -> Result<Option<ManifestSeal>> {
        if !config.is_sealed() {
            return Ok(None);
        }
        let host = self.host.as_ref().ok_or_else(|| no_host_key(config))?;
        let (here, there): (BTreeSet<_>, BTreeSet<_>) =
            (host.recipients.iter().collect(), config.recipients.iter().collect());
        if let Some(added) = there.difference(&here).next() {
            let message =
                format!("the repository is now also sealed for {added}, who is not known on this host");
            return Err(Error::new(ErrorKind::WrongKey, message).hint(format!(
                "if you added it: `lifeboat key add --recipient {added}` here too; if not, somebody wants to read your backups"
            )));
        }
        if let Some(removed) = here.difference(&there).next() {
            let message =
                format!("the repository is no longer sealed for {removed}, who is known on this host");
            return Err(Error::new(ErrorKind::WrongKey, message)
                .hint(format!("if you removed it: `lifeboat key remove --recipient {removed}` here too")));
        }
        if let Some(wanted) = self.wanted.iter().find(|wanted| !here.contains(wanted)) {
            return Err(not_sealed_for(wanted, "the repository is sealed for others"));
        }
        if !config.signers.contains(&host.signer()) {
            let message =
                format!("this host signs as {}, which is none of the repository's signers", host.signer());
            return Err(Error::new(ErrorKind::UnknownSigner, message).hint(
                "`lifeboat key add --signer` on a host that is one; nobody would restore what this one signs",
            ));
        }
        let mut recipients = config.recipients.clone();
        recipients.sort();
        Ok(Some(ManifestSeal {
            sealer: Sealer::new(&recipients)?,
            recipients,
            signing: host.signing.clone(),
            chunk_key: host.chunk_key,
        }))
    }

    /// The key of chunk ids and cuts, as far as it is known without reading a backup.
    pub(crate) fn chunk_key(&self, config: &RepositoryConfig) -> Option<Hash32> {
        config.chunk_key.or(self.host.as_ref().map(|host| host.chunk_key))
    }
}

/// The error of who would have to write and has not the key.
pub(crate) fn no_host_key(config: &RepositoryConfig) -> Error {
    let message = format!("this host has no key of the sealed repository {}", config.id);
    Error::new(ErrorKind::MissingKey, message).hint(
        "name its key file with --host-key, or restore it from your copy; without any, make a new repository: this one can still be restored from",
    )
}

/// Refuses a repository that is not sealed if somebody counts on signatures: whoever may write to it says what is restored, and that may
/// be why it is not sealed.
fn refuse_unsealed(config: &RepositoryConfig, keys: &Keys) -> Result<()> {
    if let Some(recipient) = keys.recipients.first() {
        return Err(not_sealed_for(recipient, "the repository is not sealed at all"));
    }
    if keys.host(&config.id).is_some() {
        let message =
            format!("this host has the key of {}, which is sealed, and what is here is not", config.id);
        return Err(Error::new(ErrorKind::WrongKey, message)
            .hint("somebody replaced lifeboat.json: get the true one from a copy of the repository"));
    }
    match keys.of_sealed() {
        Some(given) if !keys.trust_unsigned && !keys.may_be_unsealed => {
            let message = format!("{given}, and this repository is not sealed: nobody signed what is in it");
            Err(Error::new(ErrorKind::UnknownSigner, message).hint(
                "if yours is sealed, somebody replaced lifeboat.json; if it is not, leave that out, or give --trust-unsigned: whoever may write to it says what is restored",
            ))
        }
        _ => Ok(()),
    }
}

fn not_sealed_for(recipient: &Recipient, why: &str) -> Error {
    let message = format!("the configuration asks for backups that {recipient} can read, but {why}");
    Error::new(ErrorKind::WrongKey, message).hint(
        "nothing is stored otherwise than it was asked for: use another repository, or change the recipients",
    )
}

/// Where the identity of `recipient` is stored, itself sealed with a passphrase.
pub(crate) fn identity_key(recipient: &Recipient) -> Result<Key> {
    let hash = Hash32::of(recipient.to_string().as_bytes()).to_string();
    Key::new(["keys", &format!("{}.age", hash.get(..16).unwrap_or_default())])
}

/// The identity files in the repository that `passphrase` opens, one behind the other.
async fn stored_identities(storage: &dyn Storage, passphrase: &Secret) -> Result<Secret> {
    let found: Vec<_> = storage.list(&"keys".parse()?).try_collect().await?;
    let mut text = String::new();
    for meta in found.iter().filter(|meta| meta.size <= IDENTITY_MAX) {
        let (sealed, passphrase, name) =
            (storage.get(&meta.key, None).await?, passphrase.clone(), meta.key.clone());
        let opened = tokio::task::spawn_blocking(move || {
            unseal_with_passphrase(&sealed, &passphrase, &format!("the identity {name}"))
        });
        let opened = opened.await.map_err(|error| Error::internal("a thread did not end").because(error))?;
        // One that is damaged does not keep another from being opened.
        if let Ok(Some(identity)) = opened {
            text.push_str(identity.expose());
            text.push('\n');
        }
    }
    if text.is_empty() {
        let message = match found.len() {
            0 => "the repository stores no identity that a passphrase would open".to_owned(),
            n => format!("the passphrase opens none of the {n} identities that the repository stores"),
        };
        return Err(Error::new(ErrorKind::WrongKey, message)
            .hint("check the passphrase, or give the identity itself with --identity"));
    }
    Ok(Secret::new(text))
}
