//! Manifests: the truth about one backup. Written last; a backup exists from the moment its manifest does.
//!
//! A manifest file is a line of JSON (the header, in clear, so that listing needs no key), a line of JSON that proves it
//! (its hash, and a signature in a sealed repository), and the body: one frame of the header's codec holding JSON.

use std::collections::BTreeMap;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::config::{FORMAT_VERSION, newer};
use super::id::{BackupId, Hash32, random};
use super::seal::{AGE, Recipient, Sealer, Unsealer};
use super::sign::{Author, Proof, Purpose, SigningKey};
use crate::codec::{Codec, Level, codec};
use crate::engine::ServerInfo;
use crate::error::{Error, ErrorKind, Result};
use crate::part::{Part, PartKind};
use crate::position::{LogInfo, LogSpan, Position};
use crate::request::Content;
use crate::rows::RowDigest;
use crate::script::Place;

/// The header and its proof together are at most this long.
pub(crate) const HEADER_MAX: u64 = 64 << 10;
/// A body is at most this long when decoded.
const BODY_MAX: usize = 64 << 20;

/// How a backup is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Format {
    /// One script that the database's own client can load as well as we can.
    #[default]
    Sql,
    /// Chunks in the repository: parallel, deduplicated, resumable.
    Binary,
    /// One archive of the binary parts, for carrying a backup away.
    Compressed,
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum BackupType {
    /// Everything.
    #[default]
    Full,
    /// The change log since the newest backup of the chain.
    Incremental,
    /// The change log since the last full backup.
    Differential,
}

/// The clear part of a manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Header {
    /// The version of the format; first, so that anybody can see it.
    pub(crate) lifeboat: u32,
    /// The program that wrote it, for those too old to read it.
    pub(crate) writer: String,
    pub(crate) id: BackupId,
    pub(crate) repository: String,
    /// One more than the largest there was when the backup began: the order of backups, whatever clocks say.
    pub(crate) ordinal: u64,
    pub(crate) engine: String,
    pub(crate) product: String,
    pub(crate) database: String,
    #[serde(rename = "type")]
    pub(crate) backup_type: BackupType,
    pub(crate) format: Format,
    /// The backup whose log this one continues, and the full backup at the start of the chain.
    pub(crate) parent: Option<BackupId>,
    pub(crate) base: Option<BackupId>,
    pub(crate) started: DateTime<Utc>,
    pub(crate) finished: DateTime<Utc>,
    /// The places in the change log at which it starts and ends.
    pub(crate) start: Option<Position>,
    pub(crate) end: Option<Position>,
    /// What is known of the log there, if it can be continued.
    #[serde(default)]
    pub(crate) log: Option<LogRecord>,
    pub(crate) content: Content,
    /// Whether patterns selected what is in it.
    pub(crate) partial: bool,
    pub(crate) rows: u64,
    /// Bytes before compression; as stored; and of these, how many were not there before.
    pub(crate) raw_size: u64,
    pub(crate) stored_size: u64,
    pub(crate) new_size: u64,
    pub(crate) codec: String,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    /// The single file of the formats `sql` and `compressed`.
    pub(crate) file: Option<FileRecord>,
    /// The chunk lists, in order.
    pub(crate) lists: Vec<ListRecord>,
    /// Whom all of it is sealed for, in a sealed repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) body: BodyRecord,
    /// Who signed it. The repository knows whether that one counts.
    #[serde(skip)]
    pub(crate) author: Author,
}

/// What a header says of the change log, so that a restore to a point in time is planned from headers alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LogRecord {
    /// Which log it is.
    #[serde(flatten)]
    pub(crate) info: LogInfo,
    /// The server's clock at the end.
    pub(crate) end_time: DateTime<Utc>,
    /// Of an incremental or a differential backup: its transactions, and the range of their commit times.
    pub(crate) transactions: u64,
    pub(crate) earliest_commit: Option<DateTime<Utc>>,
    pub(crate) latest_commit: Option<DateTime<Utc>>,
}

/// A single file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    pub(crate) key: String,
    pub(crate) size: u64,
    /// The BLAKE3 of the file.
    pub(crate) hash: Hash32,
}

impl FileRecord {
    /// Whether it is where the file of the backup `id` is.
    pub(crate) fn belongs_to(&self, id: &BackupId) -> bool {
        self.rest(id).is_some()
    }

    /// What its name says after the backup `id`.
    fn rest(&self, id: &BackupId) -> Option<&str> {
        self.key.strip_prefix("files/")?.strip_prefix(id.as_str())?.strip_prefix('.')
    }

    /// Where this file of the backup `id` is put when it is sealed again. What is sealed is other bytes each time, so nobody else may write
    /// there: not even who was suspended while making the same copy, and wakes up when somebody else has made it.
    pub(crate) fn anew(&self, id: &BackupId) -> Result<String> {
        let rest = self.rest(id).unwrap_or_default();
        let is_word = |word: &str| word.len() == 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let kind = rest.split_once('.').filter(|(word, _)| is_word(word)).map_or(rest, |(_, kind)| kind);
        Ok(format!("files/{id}.{}.{kind}", hex::encode(random::<4>()?)))
    }
}

/// A chunk list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ListRecord {
    /// The BLAKE3 of the list, which is its name.
    pub(crate) id: Hash32,
    pub(crate) chunks: u32,
}

/// The body, as it follows the header.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BodyRecord {
    pub(crate) size: u64,
    /// The BLAKE3 of its stored bytes.
    pub(crate) hash: Hash32,
    pub(crate) codec: String,
    /// How it is sealed: `null` is not at all.
    pub(crate) sealed: Option<String>,
}

/// The part of a manifest that is sealed in a sealed repository.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Body {
    pub(crate) server: ServerInfo,
    /// The source as it was named, without secrets.
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) include: Vec<String>,
    #[serde(default)]
    pub(crate) exclude: Vec<String>,
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    /// The chunks (as places in the chunk lists) whose bytes together are the part list.
    pub(crate) part_list: Vec<u32>,
    pub(crate) parts: u64,
    /// The key of chunk ids, in a sealed repository: whoever may read a backup can check its chunks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) chunk_key: Option<Hash32>,
}

/// What a manifest is sealed and signed with.
#[derive(Debug, Clone)]
pub(crate) struct ManifestSeal {
    pub(crate) recipients: Vec<Recipient>,
    pub(crate) sealer: Sealer,
    pub(crate) signing: SigningKey,
    pub(crate) chunk_key: Hash32,
}

/// A part, what it came to, and where it is. One line of JSON each in the part list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PartRecord {
    /// The part as it was planned.
    #[serde(flatten)]
    pub part: Part,
    /// Its rows; of a part of bytes no rows, and the hash of the bytes as the sum.
    pub digest: RowDigest,
    /// Its size before compression.
    pub bytes: u64,
    /// Where it is in chunks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) spans: Vec<Span>,
    /// Where it is in the script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) script: Option<ScriptSpan>,
    /// What it covers, of a segment of the change log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<LogSpan>,
}

impl PartRecord {
    pub(crate) fn new(part: Part, digest: RowDigest, bytes: u64) -> Self {
        Self { part, digest, bytes, spans: Vec::new(), script: None, segment: None }
    }

    /// How many rows of a table it has: statements are not rows.
    pub fn rows(&self) -> u64 {
        if matches!(self.part.kind, PartKind::Rows { .. }) { self.digest.rows } else { 0 }
    }
}

/// Segments of a chunk: the chunk's place in the chunk lists, the first segment, how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span(pub(crate) u32, pub(crate) u32, pub(crate) u32);

/// A stretch of a script, with the places in it that our own restore takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScriptSpan {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) places: Vec<Place>,
}

/// A manifest as it was read: its hashes fit, but nobody has looked whether it makes sense.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) header: Header,
    pub(crate) body: Body,
}

impl Header {
    /// Reads and checks the header at the start of a manifest file.
    pub(crate) fn parse(file: &[u8]) -> Result<(Self, usize)> {
        let cut_off = || Error::damaged("the manifest is cut off");
        let head = file.get(..file.len().min(HEADER_MAX as usize)).unwrap_or(file);
        let line = head.iter().position(|b| *b == b'\n').ok_or_else(cut_off)?;
        let proof_end = head.iter().skip(line + 1).position(|b| *b == b'\n').ok_or_else(cut_off)? + line + 1;
        let (header, proof) = (&head[..line], &head[line + 1..proof_end]);
        let not_proof = || Error::damaged("the manifest's proof is not what it should be");
        let found: Proof = serde_json::from_slice(proof).map_err(|error| not_proof().because(error))?;
        // Nothing proves the proof, so no other way to say the same is taken for it.
        if serde_json::to_vec(&found).map_err(|error| not_proof().because(error))? != proof {
            return Err(not_proof());
        }
        let author = found.check(header, Purpose::Manifest, "the manifest")?;
        #[derive(Deserialize)]
        struct Version {
            lifeboat: u32,
            writer: String,
        }
        let malformed =
            |error: serde_json::Error| Error::damaged(format!("the manifest: {error}")).because(error);
        let version: Version = serde_json::from_slice(header).map_err(malformed)?;
        if version.lifeboat > FORMAT_VERSION {
            return Err(newer("the backup", version.lifeboat, &version.writer));
        }
        let mut header: Self = serde_json::from_slice(header).map_err(malformed)?;
        header.author = author;
        Ok((header, proof_end + 1))
    }
}

impl Body {
    /// Checks the stored bytes of the body that `header` names.
    pub(crate) fn check(header: &Header, stored: &[u8]) -> Result<()> {
        if stored.len() as u64 != header.body.size || Hash32::of(stored) != header.body.hash {
            return Err(Error::damaged("the manifest's body does not fit its hash"));
        }
        Ok(())
    }

    /// Reads and checks the body that `header` names, `stored` behind it.
    pub(crate) fn parse(header: &Header, stored: &[u8], unsealer: Option<&Unsealer>) -> Result<Self> {
        Self::check(header, stored)?;
        let unsealed = match (header.body.sealed.as_deref(), unsealer) {
            (None, _) => None,
            (Some(AGE), Some(unsealer)) => Some(unsealer.unseal(stored, "the manifest's body")?),
            (Some(AGE), None) => return Err(no_identity(header)),
            (Some(other), _) => {
                return Err(Error::unsupported(format!(
                    "the manifest is sealed in an unknown way ({other})"
                )));
            }
        };
        let mut json = Vec::new();
        let stored = unsealed.as_deref().unwrap_or(stored);
        codec(&header.body.codec)?.decode(stored, &mut json, BODY_MAX)?;
        serde_json::from_slice(&json)
            .map_err(|error| Error::damaged(format!("the manifest's body: {error}")).because(error))
    }
}

/// The error of who would have to read a sealed backup, and has nothing to do so with.
pub(crate) fn no_identity(header: &Header) -> Error {
    let recipients: Vec<_> = header.recipients.iter().map(ToString::to_string).collect();
    let message = format!("it is sealed for {}, and no identity was given", recipients.join(", "));
    Error::new(ErrorKind::MissingKey, message)
        .hint("give --identity FILE; or the passphrase, in LIFEBOAT_PASSPHRASE, if one was set")
}

impl Manifest {
    /// Reads and checks a whole manifest file that is not sealed.
    #[cfg(test)]
    pub(crate) fn parse(file: &[u8]) -> Result<Self> {
        let (header, start) = Header::parse(file)?;
        let body = Body::parse(&header, file.get(start..).unwrap_or_default(), None)?;
        Ok(Self { header, body })
    }

    /// The manifest file. Fills in what the header says of the body, and who vouches for it.
    pub(crate) fn encode(&mut self, codec: &dyn Codec, seal: Option<&ManifestSeal>) -> Result<Bytes> {
        let not_json = |error: serde_json::Error| Error::internal("a manifest is not JSON").because(error);
        let mut body = Vec::new();
        self.body.chunk_key = seal.map(|seal| seal.chunk_key);
        self.header.recipients = seal.map(|seal| seal.recipients.clone()).unwrap_or_default();
        let json = serde_json::to_vec(&self.body).map_err(not_json)?;
        if json.len() > BODY_MAX {
            return Err(Error::unsupported(
                "the manifest's body is larger than 64 MiB: there are too many warnings",
            ));
        }
        codec.encode(&json, &[], Level::default(), &mut body)?;
        if let Some(seal) = seal {
            body = seal.sealer.seal(&body)?;
        }
        self.header.body = BodyRecord {
            size: body.len() as u64,
            hash: Hash32::of(&body),
            codec: codec.name().to_owned(),
            sealed: seal.map(|_| AGE.to_owned()),
        };
        let mut file = serde_json::to_vec(&self.header).map_err(not_json)?;
        let proof = Proof::of(&file, Purpose::Manifest, seal.map(|seal| &seal.signing));
        self.header.author =
            proof.signature.as_ref().map_or(Author::Nobody, |signature| Author::Signed(signature.signer));
        file.push(b'\n');
        file.extend(serde_json::to_vec(&proof).map_err(not_json)?);
        file.push(b'\n');
        if file.len() as u64 > HEADER_MAX {
            return Err(Error::unsupported("the manifest's header is larger than 64 KiB")
                .hint("use fewer or shorter tags"));
        }
        file.extend(body);
        Ok(file.into())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::codec::NoCompression;

    pub(crate) fn sample() -> Manifest {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        Manifest {
            header: Header {
                lifeboat: FORMAT_VERSION,
                writer: "lifeboat 0.1.0".into(),
                id: "20231114-221320-00000000".parse().unwrap(),
                repository: "r".into(),
                ordinal: 1,
                engine: "fake".into(),
                product: "Fake".into(),
                database: "d\nb".into(),
                backup_type: BackupType::Full,
                format: Format::Binary,
                parent: None,
                base: None,
                started: now,
                finished: now,
                start: None,
                end: None,
                log: None,
                content: Content::All,
                partial: false,
                rows: 0,
                raw_size: 0,
                stored_size: 0,
                new_size: 0,
                codec: "none".into(),
                tags: BTreeMap::new(),
                file: None,
                lists: Vec::new(),
                recipients: Vec::new(),
                body: BodyRecord { size: 0, hash: Hash32([0; 32]), codec: String::new(), sealed: None },
                author: Author::Nobody,
            },
            body: Body {
                server: ServerInfo::new("Fake", "1", "d"),
                source: "fake:d".into(),
                include: Vec::new(),
                exclude: Vec::new(),
                warnings: Vec::new(),
                part_list: Vec::new(),
                parts: 0,
                chunk_key: None,
            },
        }
    }

    #[tokio::test]
    async fn a_part_list_that_names_a_chunk_twice_is_refused_before_it_fills_the_memory() {
        use crate::block::{ChunkEncoder, RawChunk, Segment, SegmentKind};
        use crate::chunks::{ChunkReader, ChunkStore};
        use crate::{context::Ctx, error::ErrorKind, repository::Repository, storage::MemoryStorage};
        let repository =
            Repository::init(std::sync::Arc::new(MemoryStorage::new()), None, &[]).await.unwrap();
        let mut manifest = sample();
        let encoder =
            ChunkEncoder { codec: std::sync::Arc::new(NoCompression), level: crate::codec::Level::default() };
        let known = crate::repository::Known::default();
        let store = ChunkStore::new(&repository, &manifest.header.id, known, encoder, 1).unwrap();
        let lines = Segment { kind: SegmentKind::Bytes, bytes: 0..9, rows: 0..0 };
        let chunk = RawChunk { bytes: vec![b'\n'; 9], ends: Vec::new(), segments: vec![lines] };
        let ctx = Ctx::new();
        let entry = store.put(&ctx, chunk, vec![std::sync::Arc::default()]).await.unwrap();
        let chunks = ChunkReader::new(&repository, Some(*store.key()), vec![entry]);
        manifest.body.part_list = vec![0];
        assert!(repository.parts(&ctx, &manifest, &chunks).await.unwrap().is_empty());
        manifest.body.part_list = vec![0; 2];
        let error = repository.parts(&ctx, &manifest, &chunks).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }

    #[test]
    fn a_manifest_comes_back_and_no_flipped_byte_or_cut_goes_unnoticed() {
        let mut manifest = sample();
        let file = manifest.encode(&NoCompression, None).unwrap();
        let again = Manifest::parse(&file).unwrap();
        assert_eq!((&again.header, &again.body), (&manifest.header, &manifest.body));
        for i in 0..file.len() {
            let mut flipped = file.to_vec();
            flipped[i] ^= 1;
            assert!(Manifest::parse(&flipped).is_err(), "byte {i}");
            assert!(Manifest::parse(&file[..i]).is_err(), "cut at {i}");
        }
    }

    #[test]
    fn a_newer_manifest_is_refused_with_the_program_that_reads_it() {
        let mut manifest = sample();
        manifest.header.lifeboat = FORMAT_VERSION + 1;
        manifest.header.writer = "lifeboat 9.9".into();
        let error = Manifest::parse(&manifest.encode(&NoCompression, None).unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NewerFormat);
        assert!(error.to_string().contains("lifeboat 9.9"), "{error}");
    }
}
