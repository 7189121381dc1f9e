//! Marks: what was found out about a backup after it was made.

use chrono::{DateTime, SubsecRound, Utc};
use serde::{Deserialize, Serialize};

use super::id::{BackupId, Hash32};
use super::manifest::Header;
use crate::error::{Error, Result};
use crate::storage::{Key, PutMode, Storage};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mark {
    /// The manifest's body that was checked: a mark says nothing of another backup under the same id.
    body: Hash32,
    verified: DateTime<Utc>,
    writer: String,
}

pub(super) fn key(id: &BackupId) -> Result<Key> {
    Key::new(["marks", id.as_str()])
}

pub(super) async fn write(storage: &dyn Storage, header: &Header) -> Result<DateTime<Utc>> {
    let verified = Utc::now().trunc_subsecs(0);
    let writer = format!("lifeboat {}", env!("CARGO_PKG_VERSION"));
    let mark = Mark { body: header.body.hash, verified, writer };
    let json =
        serde_json::to_vec(&mark).map_err(|error| Error::internal("a mark is not JSON").because(error))?;
    storage.put(&key(&header.id)?, json.into(), PutMode::Overwrite).await?;
    Ok(verified)
}

/// A mark that cannot be understood counts as none: the backup is only verified once more.
pub(super) async fn read(storage: &dyn Storage, header: &Header) -> Result<Option<DateTime<Utc>>> {
    let key = key(&header.id)?;
    if storage.head(&key).await?.is_none() {
        return Ok(None);
    }
    let mark = serde_json::from_slice::<Mark>(&storage.get(&key, None).await?).ok();
    Ok(mark.filter(|mark| mark.body == header.body.hash).map(|mark| mark.verified))
}
