//! A scratch database: a file in a directory of its own beside the target, which goes with all that is in it.
//!
//! While it is in use, its directory holds a locked file. A lock ends with its process however that ends, so what was left behind is told
//! apart from what is in use, and removed the next time. The lock is the first that comes into a directory and the last that goes: one that is
//! cut off in between leaves an empty directory, which is removed as well. Whoever had just made that makes another.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_core::{Ctx, During, Engine, Error, ErrorKind, Result, Scratch, async_trait};
use rustix::fs::FlockOperation;

use crate::config::Config;
use crate::engine::Sqlite;
use crate::restore::staging::unpredictable;

const PREFIX: &str = ".lifeboat-scratch-";
const LOCK: &str = "lock";
/// What a directory is called until it is locked.
const NEW: &str = ".new";
/// How often a directory is made that somebody else takes for one that was left behind.
const ATTEMPTS: u32 = 10;

/// The directory, and the lock that says that it is in use. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct ScratchFile {
    directory: PathBuf,
    config: Config,
    lock: Option<File>,
}

impl ScratchFile {
    /// Makes one beside the database of `config`, and removes those there that nobody uses any more.
    pub(crate) fn beside(ctx: &Ctx, config: &Config) -> Result<Self> {
        let parent = config.path.parent().unwrap_or(Path::new("/"));
        for (left, _lock) in left_behind(parent)? {
            remove(&left)?;
            ctx.warn(format!("{} was left behind by a run that was cut off, and is removed", left.display()));
        }
        let mut attempts = 0;
        let (directory, lock) = loop {
            attempts += 1;
            match make(parent) {
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Locked)
                        && attempts < ATTEMPTS => {}
                made => break made?,
            }
        };
        let name = config.path.file_name().unwrap_or_default();
        let config = Config { path: directory.join(name), busy_timeout: config.busy_timeout };
        Ok(Self { directory, config, lock: Some(lock) })
    }

    fn remove(&mut self) -> Result<()> {
        match self.lock.take() {
            Some(_lock) => remove(&self.directory),
            None => Ok(()),
        }
    }
}

impl Drop for ScratchFile {
    fn drop(&mut self) {
        // Nothing can be done about a failure here; the next one beside the same target removes it.
        let _ = self.remove();
    }
}

#[async_trait]
impl Scratch for ScratchFile {
    fn engine(&self) -> Arc<dyn Engine> {
        Arc::new(Sqlite::new(self.config.clone()))
    }

    async fn discard(mut self: Box<Self>) -> Result<()> {
        let removed = tokio::task::spawn_blocking(move || self.remove());
        removed.await.map_err(|error| Error::internal("a thread did not end").because(error))?
    }
}

/// Makes a scratch directory in `parent`, and locks it. Errors: `NotFound` or `Locked` if somebody removed it before it was locked.
fn make(parent: &Path) -> Result<(PathBuf, File)> {
    let directory = parent.join(format!("{PREFIX}{}", unpredictable()?));
    let doing = || format!("make {}", directory.display());
    // Made under another name, so that nobody takes it for one that is not in use before it is locked.
    let hidden = parent.join(format!("{PREFIX}{}{NEW}", unpredictable()?));
    DirBuilder::new().mode(0o700).create(&hidden).during(doing)?;
    let made = lock(&hidden, true).and_then(|lock| {
        fs::rename(&hidden, &directory).during(doing)?;
        Ok(lock)
    });
    let lock = made.inspect_err(|_| drop(remove(&hidden)))?;
    Ok((directory, lock))
}

/// Takes the lock of a scratch directory, making its file if asked to. Errors: `Locked`.
fn lock(directory: &Path, create: bool) -> Result<File> {
    let path = directory.join(LOCK);
    let doing = || format!("lock {}", path.display());
    let file =
        OpenOptions::new().read(true).write(true).create(create).truncate(false).mode(0o600).open(&path);
    let file = file.during(doing)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            Err(Error::new(ErrorKind::Locked, "somebody else uses it").during(doing()))
        }
        Err(errno) => Err(Error::io(doing(), errno.into())),
    }
}

/// The scratch directories of ours in `parent` that nobody uses, locked.
fn left_behind(parent: &Path) -> Result<Vec<(PathBuf, File)>> {
    let doing = || format!("look into {}", parent.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(parent).during(doing)? {
        let entry = entry.during(doing)?;
        let name = entry.file_name();
        let is_ours = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).is_some_and(|word| {
            let word = word.strip_suffix(NEW).unwrap_or(word);
            word.len() == 16 && word.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        // A directory and no link to one, with a lock file in it that is one, or with nothing.
        let path = entry.path();
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        match fs::symlink_metadata(path.join(LOCK)) {
            Ok(metadata) if metadata.is_file() => {
                if let Ok(lock) = lock(&path, false) {
                    found.push((path, lock));
                }
            }
            // It may hold something by now, and then it stays.
            Err(_) if fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_none()) => {
                let _ = fs::remove_dir(&path);
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Removes a directory with all that is in it, its lock last. No link in it is followed.
fn remove(directory: &Path) -> Result<()> {
    let removed = fs::read_dir(directory).and_then(|entries| {
        for entry in entries {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => fs::remove_dir_all(entry.path())?,
                false if entry.file_name() != LOCK => fs::remove_file(entry.path())?,
                false => {}
            }
        }
        fs::remove_dir_all(directory)
    });
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        removed => removed.during(|| format!("remove {}", directory.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beside(directory: &Path) -> ScratchFile {
        let url = format!("sqlite:{}", directory.join("shop.db").display());
        ScratchFile::beside(&Ctx::new(), &Config::from_url(&url.parse().unwrap()).unwrap()).unwrap()
    }

    fn names(directory: &Path) -> Vec<String> {
        let names = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_in_use_stays_and_what_was_left_behind_goes() {
        let directory = tempfile::tempdir().unwrap();
        let used = beside(directory.path());
        fs::write(&used.config.path, "a database").unwrap();
        let mut left = beside(directory.path());
        fs::write(&left.config.path, "a database").unwrap();
        // As if its process had been killed: the lock is gone, the files are not.
        left.lock = None;
        let left_directory = left.directory.clone();
        drop(left);
        assert!(left_directory.exists());
        let third = beside(directory.path());
        assert!(!left_directory.exists());
        assert!(used.config.path.exists() && third.directory.exists());
        drop((used, third));
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn what_was_cut_off_while_it_was_made_or_removed_goes_and_what_is_being_made_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        for name in ["0000000000000001", "0000000000000002.new"] {
            fs::create_dir(path(&format!("{PREFIX}{name}"))).unwrap();
        }
        for name in ["0000000000000003", "0000000000000004.new", "0000000000000005.new"] {
            fs::create_dir(path(&format!("{PREFIX}{name}"))).unwrap();
            fs::write(path(&format!("{PREFIX}{name}")).join(LOCK), "").unwrap();
        }
        let made = lock(&path(".lifeboat-scratch-0000000000000005.new"), false).unwrap();
        drop(beside(directory.path()));
        assert_eq!(names(directory.path()), [".lifeboat-scratch-0000000000000005.new"]);
        drop(made);
        drop(beside(directory.path()));
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn many_that_are_made_at_once_and_clean_up_after_each_other_are_all_made() {
        let directory = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let scratch = beside(directory.path());
                        assert!(scratch.directory.join(LOCK).exists());
                    }
                });
            }
        });
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn nothing_else_is_taken_for_one_that_was_left_behind() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join(LOCK), "").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), path(".lifeboat-scratch-0123456789abcdef")).unwrap();
        for name in [
            ".lifeboat-scratch-mine",
            ".lifeboat-scratch-0123456789ABCDEF",
            "lifeboat-scratch-0123456789abcdef",
        ] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join(LOCK), "").unwrap();
        }
        for name in [".lifeboat-scratch-0123456789abcde0", ".lifeboat-scratch-0123456789abcde1.new"] {
            fs::create_dir(path(name)).unwrap();
            fs::write(path(name).join("precious"), "").unwrap();
        }
        let before = names(directory.path());
        drop(beside(directory.path()));
        assert_eq!(names(directory.path()), before);
        assert!(elsewhere.path().join(LOCK).exists());
    }
}
