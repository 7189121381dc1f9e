//! Records of deleted backups: their chunks go after a waiting time, for those who are reading them.

use super::BackupId;
use crate::error::Result;
use crate::storage::Key;

pub(super) const FOLDER: &str = "deleted";

pub(super) fn key(id: &BackupId) -> Result<Key> {
    Key::new([FOLDER, id.as_str()])
}
