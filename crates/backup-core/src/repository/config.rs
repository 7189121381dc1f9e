//! `lifeboat.json`: what a repository says about itself.

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use super::id::{Hash32, random};
use super::keys::HostKey;
use super::seal::Recipient;
use super::sign::{Author, Purpose, Signature, Signer, SigningKey};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Key, PutMode, Storage};

/// The version of the format that this program writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// A larger file of this name is not ours.
const MAX_SIZE: u64 = 1 << 20;

/// The repository's description of itself. Written once; in a sealed repository again, and signed, when its keys change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct RepositoryConfig {
    /// The version of the format.
    pub(crate) format: u32,
    /// The program that can read this version, for those that cannot.
    pub(crate) reader: String,
    /// Names this repository among others.
    pub(crate) id: String,
    pub(crate) created: DateTime<Utc>,
    /// The key of chunk ids and cuts. Here in an unsealed repository only; in a sealed one the hosts keep it.
    pub(crate) chunk_key: Option<Hash32>,
    /// Whom chunks and bodies are sealed for: age X25519 recipients.
    #[serde(default)]
    pub(crate) recipients: Vec<Recipient>,
    /// Whose signatures count: Ed25519 public keys.
    #[serde(default)]
    pub(crate) signers: Vec<Signer>,
    /// How often the keys of a sealed repository were changed, so that nobody brings back an older description unnoticed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) revision: u64,
    /// Who vouches for all of this, in a sealed repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signature: Option<Signature>,
}

fn is_zero(revision: &u64) -> bool {
    *revision == 0
}

impl RepositoryConfig {
    /// A repository of this name that is not sealed.
    pub(crate) fn plain(id: String) -> Result<Self> {
        Ok(Self {
            format: FORMAT_VERSION,
            reader: format!("lifeboat {}", env!("CARGO_PKG_VERSION")),
            id,
            created: Utc::now().trunc_subsecs(0),
            chunk_key: Some(Hash32(random()?)),
            recipients: Vec::new(),
            signers: Vec::new(),
            revision: 0,
            signature: None,
        })
    }

    /// The sealed repository that `host` holds the key of.
    pub(crate) fn sealed(host: &HostKey) -> Result<Self> {
        let mut config = Self::plain(host.repository.clone())?;
        config.chunk_key = None;
        config.recipients.clone_from(&host.recipients);
        config.signers.clone_from(&host.signers);
        config.revision = host.revision;
        config.sign(&host.signing);
        Ok(config)
    }

    pub(crate) fn is_sealed(&self) -> bool {
        self.chunk_key.is_none()
    }

    /// What a signature of the description is about.
    fn hash(&self) -> Hash32 {
        let created = self.created.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut text = format!(
            "format {}\nid {}\ncreated {created}\nrevision {}\n",
            self.format, self.id, self.revision
        );
        text.extend(self.recipients.iter().map(|recipient| format!("recipient {recipient}\n")));
        text.extend(self.signers.iter().map(|signer| format!("signer {signer}\n")));
        Hash32::of(text.as_bytes())
    }

    pub(crate) fn sign(&mut self, key: &SigningKey) {
        self.signature = Some(key.sign(Purpose::Description, &self.hash()));
    }

    /// Who vouches for the description. Whether that one is known is another question.
    pub(crate) fn author(&self) -> Result<Author> {
        match &self.signature {
            None => Ok(Author::Nobody),
            Some(signature) => signature.check(Purpose::Description, &self.hash()).map(Author::Signed),
        }
    }

    pub(crate) fn key() -> Result<Key> {
        "lifeboat.json".parse()
    }

    pub(crate) fn to_bytes(&self) -> Result<Bytes> {
        let mut json = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::internal("the repository's description is not JSON").because(error))?;
        // The last line but one is the hash of all before it.
        json.truncate(json.len() - "\n}".len());
        json.extend_from_slice(b",\n");
        let end = end(&Hash32::of(&json));
        json.extend_from_slice(end.as_bytes());
        Ok(json.into())
    }

    /// Reads the description; `None` if there is none.
    pub(crate) async fn read(storage: &dyn Storage) -> Result<Option<Self>> {
        match storage.get_at_most(&Self::key()?, MAX_SIZE).await {
            Ok(json) => Self::parse(&json).map(Some),
            Err(error) => match error.kind() {
                ErrorKind::NotFound => Ok(None),
                ErrorKind::Damaged => Err(not_ours("its lifeboat.json is too large").because(error)),
                _ => Err(error),
            },
        }
    }

    pub(crate) fn parse(json: &[u8]) -> Result<Self> {
        // The version first: what a newer one looks like is not known.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
            reader: Option<String>,
        }
        let version: Version = serde_json::from_slice(json)
            .map_err(|error| not_ours("its lifeboat.json says no format version").because(error))?;
        if version.format > FORMAT_VERSION {
            let reader = version.reader.unwrap_or_else(|| "a newer lifeboat".to_owned());
            return Err(newer("the repository", version.format, &reader));
        }
        let before = json.len().saturating_sub(end(&Hash32::default()).len());
        let (before, found) = json.split_at(before);
        if found != end(&Hash32::of(before)).as_bytes() {
            return Err(Error::damaged("lifeboat.json does not fit its hash")
                .hint("get it from another copy of the repository: without it no backup can be read"));
        }
        let config: Self = serde_json::from_slice(json)
            .map_err(|error| Error::damaged(format!("lifeboat.json: {error}")).because(error))?;
        if config.is_sealed() == (config.recipients.is_empty() || config.signers.is_empty()) {
            return Err(Error::damaged(
                "lifeboat.json does not say clearly whether the repository is sealed",
            ));
        }
        Ok(config)
    }

    /// Describes the empty place `storage` as a repository, or reads what somebody else just wrote there.
    pub(crate) async fn create(storage: &dyn Storage) -> Result<Self> {
        let config = Self::plain(hex::encode(random::<16>()?))?;
        match storage.put(&Self::key()?, config.to_bytes()?, PutMode::Create).await {
            Ok(_) => Ok(config),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Self::read(storage).await?.ok_or_else(|| not_ours("its lifeboat.json vanished"))
            }
            Err(error) => Err(error),
        }
    }
}

/// The end of the file: its hash.
fn end(hash: &Hash32) -> String {
    format!("  \"hash\": \"{hash}\"\n}}\n")
}

pub(crate) fn newer(what: &str, format: u32, reader: &str) -> Error {
    let message = format!("{what} has format {format}; this program reads up to {FORMAT_VERSION}");
    Error::new(ErrorKind::NewerFormat, message).hint(format!("use {}", reader.escape_debug()))
}

fn not_ours(why: &'static str) -> Error {
    Error::new(ErrorKind::NoRepository, format!("this is not a lifeboat repository: {why}"))
        .hint("check --repo; another directory or prefix can be given there")
}
