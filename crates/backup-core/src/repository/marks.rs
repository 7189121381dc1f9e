//! Marks: what was found out about a backup after it was made. A line of JSON, and in a sealed repository one that signs it.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use super::id::{BackupId, Hash32};
use super::manifest::Header;
use super::sign::{Author, Proof, Purpose, SigningKey};
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Key, PutMode, Storage};

/// A mark is at most this long.
const MARK_MAX: u64 = 64 << 10;

/// What was found out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Mark {
    /// The manifest's body that was checked: a mark says nothing of another backup under the same id.
    body: Hash32,
    /// When all stored bytes were last hashed.
    pub(crate) verified: DateTime<Utc>,
    /// When what is in them was last decoded and counted too: who cannot read a sealed backup cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) decoded: Option<DateTime<Utc>>,
    writer: String,
}

pub(super) fn key(id: &BackupId) -> Result<Key> {
    Key::new(["marks", id.as_str()])
}

/// Notes that a backup was verified just now. `before` is what was known until now.
pub(super) async fn write(
    storage: &dyn Storage,
    header: &Header,
    decoded: bool,
    before: Option<Mark>,
    signing: Option<&SigningKey>,
) -> Result<Mark> {
    let verified = Utc::now().trunc_subsecs(0);
    let writer = format!("lifeboat {}", env!("CARGO_PKG_VERSION"));
    let decoded = if decoded { Some(verified) } else { before.and_then(|mark| mark.decoded) };
    let mark = Mark { body: header.body.hash, verified, decoded, writer };
    let not_json = |error: serde_json::Error| Error::internal("a mark is not JSON").because(error);
    let mut file = serde_json::to_vec(&mark).map_err(not_json)?;
    let proof = serde_json::to_vec(&Proof::of(&file, Purpose::Mark, signing)).map_err(not_json)?;
    file.push(b'\n');
    file.extend(proof);
    file.push(b'\n');
    storage.put(&key(&header.id)?, file.into(), PutMode::Overwrite).await?;
    Ok(mark)
}

/// A mark that cannot be understood, or that nobody signed who `counts`, is none: the backup is only verified once more.
pub(super) async fn read(
    storage: &dyn Storage,
    header: &Header,
    counts: impl Fn(Author) -> bool,
) -> Result<Option<Mark>> {
    let file = match storage.get_at_most(&key(&header.id)?, MARK_MAX).await {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => return Ok(None),
        read => read?,
    };
    Ok(parse(&file, counts).filter(|mark| mark.body == header.body.hash))
}

fn parse(file: &[u8], counts: impl Fn(Author) -> bool) -> Option<Mark> {
    let mut lines = file.split(|byte| *byte == b'\n');
    let line = lines.next()?;
    // The first versions wrote no proof.
    let author = match lines.next().filter(|proof| !proof.is_empty()) {
        None => Author::Nobody,
        Some(proof) => {
            serde_json::from_slice::<Proof>(proof).ok()?.check(line, Purpose::Mark, "the mark").ok()?
        }
    };
    let mut mark: Mark = serde_json::from_slice(line).ok().filter(|_| counts(author))?;
    if author == Author::Nobody && mark.decoded.is_none() {
        // Without a seal everything that is verified is decoded.
        mark.decoded = Some(mark.verified);
    }
    Some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::manifest::tests::sample;
    use crate::storage::MemoryStorage;

    #[tokio::test]
    async fn a_mark_that_is_flipped_or_cut_anywhere_says_the_same_or_nothing() {
        let (storage, header) = (MemoryStorage::new(), sample().header);
        let signing = SigningKey::generate().unwrap();
        for signing in [None, Some(&signing)] {
            let mark = write(&storage, &header, true, None, signing).await.unwrap();
            let whole = storage.get(&key(&header.id).unwrap(), None).await.unwrap();
            let counts = |author: Author| matches!(author, Author::Signed(_)) == signing.is_some();
            assert_eq!(parse(&whole, counts), Some(mark.clone()));
            for at in 0..whole.len() {
                for bit in 0..8 {
                    let mut flipped = whole.to_vec();
                    flipped[at] ^= 1 << bit;
                    let read = parse(&flipped, counts);
                    assert!(read.is_none() || read == Some(mark.clone()), "bit {bit} of byte {at}");
                }
                let read = parse(&whole[..at], counts);
                // Of an unsealed repository's, which nobody has to prove, the first line is enough.
                assert!(read.is_none() || read == Some(mark.clone()), "cut at {at}");
            }
        }
    }
}
