//! `lifeboat.json`: what a repository says about itself.

use bytes::Bytes;
use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use super::id::{Hash32, random};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Key, PutMode, Storage};

/// The version of the format that this program writes, and the newest that it reads.
pub(crate) const FORMAT_VERSION: u32 = 1;
/// A larger file of this name is not ours.
const MAX_SIZE: u64 = 1 << 20;

/// The repository's description of itself. Written once.
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
    pub(crate) recipients: Vec<String>,
    /// Whose signatures count: Ed25519 public keys.
    #[serde(default)]
    pub(crate) signers: Vec<String>,
}

impl RepositoryConfig {
    fn new() -> Result<Self> {
        Ok(Self {
            format: FORMAT_VERSION,
            reader: format!("lifeboat {}", env!("CARGO_PKG_VERSION")),
            id: hex::encode(random::<16>()?),
            created: Utc::now().trunc_subsecs(0),
            chunk_key: Some(Hash32(random()?)),
            recipients: Vec::new(),
            signers: Vec::new(),
        })
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
        let key = Self::key()?;
        match storage.head(&key).await? {
            None => Ok(None),
            Some(meta) if meta.size > MAX_SIZE => Err(not_ours("its lifeboat.json is too large")),
            Some(_) => Self::parse(&storage.get(&key, None).await?).map(Some),
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
        if config.chunk_key.is_none() || !config.recipients.is_empty() {
            return Err(Error::unsupported("this repository is sealed, which this version cannot read yet"));
        }
        Ok(config)
    }

    /// Describes the empty place `storage` as a repository, or reads what somebody else just wrote there.
    pub(crate) async fn create(storage: &dyn Storage) -> Result<Self> {
        let config = Self::new()?;
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
