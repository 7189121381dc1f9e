//! Storage in a local directory: atomic, fsynced, private, and blind to planted symlinks.
//!
//! Every path is walked with `openat` and `O_NOFOLLOW` from a directory that was opened once, so no symlink below the
//! repository is ever followed. An object is written to a temporary name (which no [`Key`] can be), fsynced, renamed
//! and its directory fsynced.

mod abandoned;

use std::ffi::OsString;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt};
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::{Key, ObjectMeta, ObjectWriter, PutMode, Storage, Version};
use crate::error::{During, Error, ErrorKind, Result};

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const DIRECTORY_MODE: Mode = Mode::RWXU;
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);

/// How long another process is waited for that has locked a directory.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Objects as files below a directory: files of mode 0600 in directories of mode 0700.
#[derive(Debug, Clone)]
pub struct LocalStorage(Arc<Root>);

#[derive(Debug)]
struct Root {
    path: PathBuf,
    directory: OwnedFd,
    /// Makes temporary names differ within the process; across processes the random word does.
    temporary: AtomicU64,
    word: String,
}

impl LocalStorage {
    /// Opens the directory `path`. Errors: `NotFound`, `PermissionDenied`.
    pub fn open(path: &Path) -> Result<Self> {
        // The repository's own path may be a symlink: the user typed it.
        let flags = DIRECTORY.difference(OFlags::NOFOLLOW);
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| io_error(errno, format!("open the directory {}", path.display())))?;
        let root =
            Root { path: path.to_owned(), directory, temporary: AtomicU64::new(0), word: random_word()? };
        Ok(Self(Arc::new(root)))
    }

    /// Opens the directory `path`, making it (and those above) if it is not there.
    pub fn create(path: &Path) -> Result<Self> {
        create_directory(path).during(|| format!("create the directory {}", path.display()))?;
        Self::open(path)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Root) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let root = Arc::clone(&self.0);
        blocking(move || work(&root)).await
    }
}

/// Makes a directory, those above it first, and the names of all of them durable.
fn create_directory(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_directory(above)?;
    match std::fs::DirBuilder::new().mode(0o700).create(path) {
        // Somebody else made it just now.
        Err(_) if path.is_dir() => {}
        made => {
            made?;
            // Whatever the umask took away.
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))?;
        }
    }
    std::fs::File::open(above)?.sync_all()
}

fn io_error(errno: Errno, doing: String) -> Error {
    match errno {
        Errno::LOOP | Errno::NOTDIR => {
            Error::new(ErrorKind::PermissionDenied, "a symlink or file is in the way")
                .during(doing)
                .hint("somebody planted it, or this is no repository; nothing was read or written through it")
        }
        errno => Error::io(doing, errno.into()),
    }
}

impl Root {
    fn doing(&self, verb: &str, key: &Key) -> String {
        format!("{verb} {}", self.path.join(key.as_str()).display())
    }

    /// Opens the directory that `key` is in; `None` if it is not there.
    fn parent(&self, key: &Key, create: bool) -> Result<Option<OwnedFd>> {
        let words: Vec<_> = key.words().collect();
        let parents = words.split_last().map_or(&[][..], |(_, parents)| parents);
        self.walk(key, parents, create)
    }

    fn walk(&self, key: &Key, words: &[&str], create: bool) -> Result<Option<OwnedFd>> {
        let failed = |errno| io_error(errno, self.doing("open", key));
        let mut directory =
            rustix::fs::openat(&self.directory, ".", DIRECTORY, Mode::empty()).map_err(failed)?;
        for word in words {
            let mut next = rustix::fs::openat(&directory, *word, DIRECTORY, Mode::empty());
            if create && next.as_ref().err() == Some(&Errno::NOENT) {
                match rustix::fs::mkdirat(&directory, *word, DIRECTORY_MODE) {
                    Ok(()) => {
                        // Whatever the umask took away.
                        rustix::fs::chmodat(&directory, *word, DIRECTORY_MODE, AtFlags::empty())
                            .and_then(|()| rustix::fs::fsync(&directory))
                            .map_err(|errno| {
                                // Who finds it takes it for durable. (It stays if somebody has used it already.)
                                let _ = rustix::fs::unlinkat(&directory, *word, AtFlags::REMOVEDIR);
                                failed(errno)
                            })?;
                    }
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(failed(errno)),
                }
                next = rustix::fs::openat(&directory, *word, DIRECTORY, Mode::empty());
            }
            directory = match next {
                Ok(next) => next,
                Err(Errno::NOENT) => return Ok(None),
                Err(errno) => return Err(failed(errno)),
            };
        }
        Ok(Some(directory))
    }

    fn begin(&self, key: &Key) -> Result<LocalWriter> {
        let parent = self.parent(key, true)?.ok_or_else(|| super::missing(key))?;
        let temporary = format!(".{}-{}", self.word, self.temporary.fetch_add(1, Ordering::Relaxed));
        LocalWriter::begin(key.clone(), self.path.join(key.as_str()), parent, key.name().into(), temporary)
    }

    fn put(&self, key: &Key, bytes: &[u8], mode: &PutMode) -> Result<ObjectMeta> {
        let mut writer = self.begin(key)?;
        writer.write(bytes)?;
        writer.publish(mode)
    }

    fn open_file(&self, key: &Key) -> Result<Option<(std::fs::File, Stat)>> {
        let failed = |errno| io_error(errno, self.doing("read", key));
        let Some(parent) = self.parent(key, false)? else { return Ok(None) };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match rustix::fs::openat(&parent, key.name(), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(failed)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(failed(Errno::LOOP));
        }
        Ok(Some((file.into(), stat)))
    }

    /// Reads an object of at most `most` bytes, or the bytes of it in `range`.
    fn get(&self, key: &Key, range: Option<Range<u64>>, most: u64) -> Result<Bytes> {
        let doing = || self.doing("read", key);
        let (mut file, stat) = self.open_file(key)?.ok_or_else(|| super::missing(key).during(doing()))?;
        let size = stat.st_size as u64;
        let range = range.unwrap_or(0..size);
        if range.start > range.end || range.end > size {
            return Err(super::outside(key, &range, size));
        }
        if range.end - range.start > most {
            return Err(super::too_large(key, size, most));
        }
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.seek(SeekFrom::Start(range.start)).during(doing)?;
        file.read_exact(&mut bytes).during(doing)?;
        Ok(bytes.into())
    }

    fn delete(&self, key: &Key) -> Result<()> {
        let failed = |errno| io_error(errno, self.doing("delete", key));
        let Some(parent) = self.parent(key, false)? else { return Ok(()) };
        match rustix::fs::unlinkat(&parent, key.name(), AtFlags::empty()) {
            // Also if it is gone already: that may not be durable yet.
            Ok(()) | Err(Errno::NOENT) => rustix::fs::fsync(&parent).map_err(failed),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// The objects and directories directly in the directory `key`.
    fn entries(&self, key: &Key) -> Result<(Vec<ObjectMeta>, Vec<Key>)> {
        let failed = |errno| io_error(errno, self.doing("list", key));
        let words: Vec<_> = key.words().collect();
        let (mut objects, mut directories) = (Vec::new(), Vec::new());
        let Some(directory) = self.walk(key, &words, false)? else { return Ok((objects, directories)) };
        for entry in Dir::read_from(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            // What no key can name is not ours: temporary files, lost+found.
            let Some(child) = entry.file_name().to_str().ok().and_then(|name| key.join(name).ok()) else {
                continue;
            };
            let stat = match rustix::fs::statat(&directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => objects.push(meta(child, &stat)),
                FileType::Directory => directories.push(child),
                // Where objects are, it stands in the place of one: who lists it finds that it cannot be read, and does not take it for
                // gone.
                FileType::Symlink if !words.is_empty() => objects.push(meta(child, &stat)),
                _ => {}
            }
        }
        Ok((objects, directories))
    }
}

fn meta(key: Key, stat: &Stat) -> ObjectMeta {
    let (seconds, nanoseconds) = (stat.st_mtime, stat.st_mtime_nsec as u32);
    // Every put makes a new inode, so inode and time together change with it.
    let version = Version(format!("{}-{seconds}.{nanoseconds:09}", stat.st_ino));
    let modified = DateTime::from_timestamp(seconds, nanoseconds).unwrap_or_default();
    ObjectMeta { key, size: stat.st_size as u64, modified, version }
}

#[async_trait]
impl Storage for LocalStorage {
    async fn put(&self, key: &Key, bytes: Bytes, mode: PutMode) -> Result<ObjectMeta> {
        let key = key.clone();
        self.blocking(move |root| root.put(&key, &bytes, &mode)).await
    }

    async fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>> {
        let key = key.clone();
        let writer = self.blocking(move |root| root.begin(&key)).await?;
        Ok(Box::new(OpenWriter { writer: Some(writer), mode: PutMode::Overwrite }))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let key = key.clone();
        self.blocking(move |root| root.get(&key, range, u64::MAX)).await
    }

    async fn get_at_most(&self, key: &Key, most: u64) -> Result<Bytes> {
        let key = key.clone();
        self.blocking(move |root| root.get(&key, None, most)).await
    }

    async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>> {
        let key = key.clone();
        self.blocking(move |root| Ok(root.open_file(&key)?.map(|(_, stat)| meta(key, &stat)))).await
    }

    fn list(&self, prefix: &Key) -> BoxStream<'_, Result<ObjectMeta>> {
        let start = (vec![prefix.clone()], Some(prefix.clone()));
        let storage = self.clone();
        stream::try_unfold(start, move |(mut directories, itself)| {
            let storage = storage.clone();
            async move {
                // The prefix may name an object instead of a directory.
                if let Some(itself) = itself.filter(|key| *key != Key::ROOT) {
                    let object = storage.blocking(move |root| match root.open_file(&itself) {
                        Ok(found) => Ok(found.map(|(_, stat)| meta(itself, &stat))),
                        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(None),
                        Err(error) => Err(error),
                    });
                    if let Some(object) = object.await? {
                        return Ok(Some((vec![object], (Vec::new(), None))));
                    }
                }
                let Some(directory) = directories.pop() else { return Ok(None) };
                let (objects, below) = storage.blocking(move |root| root.entries(&directory)).await?;
                directories.extend(below);
                Ok(Some((objects, (directories, None))))
            }
        })
        .flat_map(|batch: Result<Vec<ObjectMeta>>| match batch {
            Ok(objects) => stream::iter(objects.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        })
        .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let key = key.clone();
        self.blocking(move |root| root.delete(&key)).await
    }

    async fn abandoned(&self, before: DateTime<Utc>, remove: bool) -> Result<(u64, u64)> {
        let (mut directories, mut found) = (vec![Key::ROOT], (0, 0));
        while let Some(directory) = directories.pop() {
            let (files, bytes, below) = self
                .blocking(move |root| {
                    let (files, bytes) = root.abandoned_in(&directory, before, remove)?;
                    Ok((files, bytes, root.entries(&directory)?.1))
                })
                .await?;
            found = (found.0 + files, found.1 + bytes);
            directories.extend(below);
        }
        Ok(found)
    }
}

/// A file under its temporary name. Dropping it removes it.
#[derive(Debug)]
struct LocalWriter {
    key: Key,
    /// Where it will be, for messages.
    path: PathBuf,
    parent: OwnedFd,
    name: OsString,
    temporary: Option<String>,
    file: std::fs::File,
}

impl LocalWriter {
    fn begin(key: Key, path: PathBuf, parent: OwnedFd, name: OsString, temporary: String) -> Result<Self> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The mode once more, for whatever the umask took away.
        let file = rustix::fs::openat(&parent, &temporary, flags, FILE_MODE)
            .and_then(|file| rustix::fs::fchmod(&file, FILE_MODE).map(|()| file))
            .map_err(|errno| io_error(errno, format!("write {}", path.display())))?;
        Ok(Self { key, path, parent, name, temporary: Some(temporary), file: file.into() })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).during(|| format!("write {}", self.path.display()))
    }

    fn failed(&self, errno: Errno) -> Error {
        io_error(errno, format!("write {}", self.path.display()))
    }

    fn publish(mut self, mode: &PutMode) -> Result<ObjectMeta> {
        self.file.sync_all().during(|| format!("sync {}", self.path.display()))?;
        let Some(temporary) = &self.temporary else { return Err(super::missing(&self.key)) };
        match mode {
            PutMode::Overwrite => self.rename(temporary)?,
            PutMode::Create => {
                let flags = RenameFlags::NOREPLACE;
                match rustix::fs::renameat_with(&self.parent, temporary, &self.parent, &self.name, flags) {
                    Ok(()) => {}
                    Err(Errno::EXIST) => return Err(super::conflict(&self.key, mode)),
                    // Some file systems know no NOREPLACE; a hard link is as exclusive.
                    Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.link(temporary)?,
                    Err(errno) => return Err(self.failed(errno)),
                }
            }
            PutMode::Update(expected) => {
                // Of several processes one comes first.
                self.lock_directory()?;
                let present = match rustix::fs::statat(&self.parent, &self.name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => Some(meta(self.key.clone(), &stat).version),
                    Err(Errno::NOENT) => None,
                    Err(errno) => return Err(self.failed(errno)),
                };
                if present.as_ref() != Some(expected) {
                    return Err(super::conflict(&self.key, mode));
                }
                self.rename(temporary)?;
                // Not held while the disk works: whoever is suspended then would keep everybody waiting.
                rustix::fs::flock(&self.parent, FlockOperation::Unlock)
                    .map_err(|errno| self.failed(errno))?;
            }
        }
        self.temporary = None;
        if let Err(errno) = rustix::fs::fsync(&self.parent) {
            if *mode == PutMode::Create {
                // It failed, so the object is not there: who finds it would take it for durable.
                let _ = rustix::fs::unlinkat(&self.parent, &self.name, AtFlags::empty());
            }
            return Err(self.failed(errno));
        }
        let stat = rustix::fs::fstat(&self.file).map_err(|errno| self.failed(errno))?;
        Ok(meta(self.key.clone(), &stat))
    }

    /// Locks the directory until it is closed or unlocked. A lock is held for no longer than it takes to look and to rename.
    fn lock_directory(&self) -> Result<()> {
        let until = Instant::now() + LOCK_TIMEOUT;
        loop {
            match rustix::fs::flock(&self.parent, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(Errno::WOULDBLOCK) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(Errno::WOULDBLOCK) => {
                    return Err(Error::new(
                        ErrorKind::TimedOut,
                        "another process has locked the directory and does not let go",
                    )
                    .during(format!("write {}", self.path.display()))
                    .hint(
                        "it is suspended: continue or kill it (`fuser` or `lsof` on the directory names it)",
                    ));
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.failed(errno)),
            }
        }
    }

    fn rename(&self, temporary: &str) -> Result<()> {
        rustix::fs::renameat(&self.parent, temporary, &self.parent, &self.name)
            .map_err(|errno| self.failed(errno))
    }

    fn link(&self, temporary: &str) -> Result<()> {
        match rustix::fs::linkat(&self.parent, temporary, &self.parent, &self.name, AtFlags::empty()) {
            Ok(()) => rustix::fs::unlinkat(&self.parent, temporary, AtFlags::empty())
                .map_err(|errno| self.failed(errno)),
            Err(Errno::EXIST) => Err(super::conflict(&self.key, &PutMode::Create)),
            Err(errno) => Err(self.failed(errno)),
        }
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // Nothing more can be done about it here; prune removes what is left.
            let _ = rustix::fs::unlinkat(&self.parent, temporary, AtFlags::empty());
        }
    }
}

/// Starts a single file outside any repository. It appears under `path` when it is finished, and never
/// replaces a file that is there.
pub(crate) fn create_file(path: &Path) -> Result<Box<dyn ObjectWriter>> {
    let doing = || format!("write {}", path.display());
    let name =
        path.file_name().ok_or_else(|| Error::usage(format!("{} is not a file's name", path.display())))?;
    if path.symlink_metadata().is_ok() {
        return Err(Error::new(ErrorKind::AlreadyExists, "there is a file of that name")
            .during(doing())
            .hint("give another name, or move that file away"));
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let parent = rustix::fs::open(directory, DIRECTORY.difference(OFlags::NOFOLLOW), Mode::empty())
        .map_err(|errno| io_error(errno, doing()))?;
    let temporary = format!(".lifeboat-{}", random_word()?);
    let writer = LocalWriter::begin(Key::ROOT, path.to_owned(), parent, name.to_owned(), temporary)?;
    Ok(Box::new(OpenWriter { writer: Some(writer), mode: PutMode::Create }))
}

fn random_word() -> Result<String> {
    let mut word = [0; 8];
    getrandom::fill(&mut word)
        .map_err(|error| Error::new(ErrorKind::Io, format!("no random numbers: {error}")))?;
    Ok(hex::encode(word))
}

/// The writer is on a blocking thread while it writes.
#[derive(Debug)]
struct OpenWriter {
    writer: Option<LocalWriter>,
    mode: PutMode,
}

impl OpenWriter {
    fn take(&mut self) -> Result<LocalWriter> {
        self.writer.take().ok_or_else(|| Error::internal("a file was written to after it had failed"))
    }
}

#[async_trait]
impl ObjectWriter for OpenWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let mut writer = self.take()?;
        self.writer = Some(blocking(move || writer.write(&bytes).map(|()| writer)).await?);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<ObjectMeta> {
        let writer = self.take()?;
        blocking(move || writer.publish(&self.mode)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("a storage thread did not end").because(error))?
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn key(text: &str) -> Key {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn files_and_directories_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let storage = LocalStorage::create(&directory.path().join("repository")).unwrap();
        storage.put(&key("chunks/ab/x"), Bytes::from_static(b"1"), PutMode::Create).await.unwrap();
        let mode = |path: &str| {
            std::fs::metadata(directory.path().join("repository").join(path)).unwrap().permissions().mode()
                & 0o777
        };
        assert_eq!((mode(""), mode("chunks/ab"), mode("chunks/ab/x")), (0o700, 0o700, 0o600));
    }

    #[tokio::test]
    async fn a_process_that_is_suspended_with_a_lock_holds_nobody_up_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let storage = LocalStorage::create(directory.path()).unwrap();
        let old = storage.put(&key("locks/x"), Bytes::from_static(b"1"), PutMode::Create).await.unwrap();
        let locks = std::fs::File::open(directory.path().join("locks")).unwrap();
        rustix::fs::flock(&locks, FlockOperation::LockExclusive).unwrap();
        let update = async || {
            let mode = PutMode::Update(old.version.clone());
            storage.put(&key("locks/x"), Bytes::from_static(b"2"), mode).await
        };
        assert_eq!(update().await.unwrap_err().kind(), ErrorKind::TimedOut);
        assert_eq!(&*storage.get(&key("locks/x"), None).await.unwrap(), b"1");
        drop(locks);
        update().await.unwrap();
        // Nor does whoever has updated.
        let locks = std::fs::File::open(directory.path().join("locks")).unwrap();
        rustix::fs::flock(&locks, FlockOperation::NonBlockingLockExclusive).unwrap();
    }

    #[tokio::test]
    async fn planted_symlinks_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("inside"), directory.path().join("outside"));
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("file"), b"precious").unwrap();
        let storage = LocalStorage::create(&inside).unwrap();
        symlink(&outside, inside.join("chunks")).unwrap();
        symlink(outside.join("file"), inside.join("link")).unwrap();
        for planted in ["chunks/file", "chunks/new"] {
            let put = storage.put(&key(planted), Bytes::from_static(b"evil"), PutMode::Overwrite).await;
            assert_eq!(put.unwrap_err().kind(), ErrorKind::PermissionDenied);
            assert_eq!(
                storage.get(&key(planted), None).await.unwrap_err().kind(),
                ErrorKind::PermissionDenied
            );
            assert!(storage.delete(&key(planted)).await.is_err());
        }
        assert!(storage.get(&key("link"), None).await.is_err());
        std::fs::create_dir(inside.join("manifests")).unwrap();
        symlink(outside.join("file"), inside.join("manifests/one")).unwrap();
        let listed: Vec<_> = storage.list(&key("manifests")).map(|meta| meta.unwrap().key).collect().await;
        assert_eq!(listed, [key("manifests/one")]);
        assert_eq!(
            storage.get(&key("manifests/one"), None).await.unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
        storage.put(&key("link"), Bytes::from_static(b"ours"), PutMode::Overwrite).await.unwrap();
        assert_eq!(std::fs::read(outside.join("file")).unwrap(), b"precious");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn an_unfinished_object_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let storage = LocalStorage::open(directory.path()).unwrap();
        let mut writer = storage.writer(&key("file")).await.unwrap();
        writer.write(Bytes::from_static(b"half")).await.unwrap();
        assert_eq!(storage.list(&Key::ROOT).count().await, 0);
        drop(writer);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
