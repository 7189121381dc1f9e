//! Temporary files whose writers were cut off.

use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, Dir, FileType};
use rustix::io::Errno;

use super::{Root, io_error, meta};
use crate::error::Result;
use crate::storage::Key;

impl Root {
    /// Counts the temporary files directly in `directory` that were last written before `before`, and their bytes, and
    /// removes them if that is wanted.
    pub(super) fn abandoned_in(&self, key: &Key, before: DateTime<Utc>, remove: bool) -> Result<(u64, u64)> {
        let failed = |errno| io_error(errno, self.doing("look for what was left in", key));
        let words: Vec<_> = key.words().collect();
        let (mut files, mut bytes) = (0, 0);
        let Some(directory) = self.walk(key, &words, false)? else { return Ok((files, bytes)) };
        for entry in Dir::read_from(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !entry.file_name().to_str().is_ok_and(is_temporary) {
                continue;
            }
            let stat = match rustix::fs::statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            let meta = meta(key.clone(), &stat);
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || meta.modified >= before {
                continue;
            }
            if remove {
                match rustix::fs::unlinkat(&directory, entry.file_name(), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(failed(errno)),
                }
            }
            (files, bytes) = (files + 1, bytes + meta.size);
        }
        Ok((files, bytes))
    }
}

/// Whether it is a name that a writer gives to what is not finished: a dot, 16 hexadecimal digits, a hyphen and a number.
fn is_temporary(name: &str) -> bool {
    let Some((word, number)) = name.strip_prefix('.').and_then(|name| name.split_once('-')) else {
        return false;
    };
    word.len() == 16
        && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::storage::{LocalStorage, PutMode, Storage};

    #[tokio::test]
    async fn what_writers_left_is_removed_when_it_is_old_and_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(directory.path()).unwrap();
        storage.put(&"a/b".parse().unwrap(), "kept".into(), PutMode::Create).await.unwrap();
        let old = [".0123456789abcdef-7", "a/.fedcba9876543210-12", ".hidden", ".0123456789abcdef", "plain"];
        let write = |name: &str, age: u64| {
            let file = std::fs::File::create(directory.path().join(name)).unwrap();
            std::io::Write::write_all(&mut &file, b"12345").unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
        };
        old.iter().for_each(|name| write(name, 7200));
        write("a/.0123456789abcdef-8", 60);
        let hour_ago = Utc::now() - chrono::Duration::hours(1);
        assert_eq!(storage.abandoned(hour_ago, false).await.unwrap(), (2, 10));
        assert!(old.iter().all(|name| directory.path().join(name).exists()));
        assert_eq!(storage.abandoned(hour_ago, true).await.unwrap(), (2, 10));
        let left: Vec<_> = old.iter().filter(|name| directory.path().join(name).exists()).collect();
        assert_eq!(left, [&".hidden", &".0123456789abcdef", &"plain"]);
        assert!(directory.path().join("a/.0123456789abcdef-8").exists());
        assert_eq!(storage.abandoned(Utc::now(), true).await.unwrap(), (1, 5));
    }
}
