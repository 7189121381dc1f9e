//! The file that a restore loads into, beside its target, until it is finished.

use std::fs::{self, File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use backup_core::{During, Error, ErrorKind, Result};
use rusqlite::Connection;

use crate::error::Doing;

/// What SQLite may put beside a database, by what it appends to the name.
pub(crate) const COMPANIONS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// What a staging file is called, around a word that nobody can foresee.
const PREFIX: &str = ".lifeboat-";
const SUFFIX: &str = ".tmp";

/// A new database file in the target's directory, which only its owner may read. Dropping it removes it.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    directory: PathBuf,
    /// The mode that a new file gets here when nobody asks for another.
    default_mode: u32,
    removed: bool,
}

impl Staging {
    /// Makes an empty one for `target`.
    pub(crate) fn beside(target: &Path) -> Result<Self> {
        let directory = target.parent().unwrap_or(Path::new("/")).to_owned();
        let default_mode = default_mode(&directory)?;
        let (_, path) = new_file(&directory, 0o600)?;
        Ok(Self { path, directory, default_mode, removed: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes its contents durable and gives it `mode`, or the mode of any new file. It must be closed, and its journals gone.
    pub(crate) fn seal(&self, mode: Option<u32>) -> Result<()> {
        let doing = || format!("finish {}", self.path.display());
        for companion in COMPANIONS {
            if companion_of(&self.path, companion).exists() {
                return Err(Error::internal("the restored database was not closed").during(doing()));
            }
        }
        let file = File::open(&self.path).during(doing)?;
        file.set_permissions(Permissions::from_mode(mode.unwrap_or(self.default_mode))).during(doing)?;
        file.sync_all().during(doing)
    }

    /// Gives it the name `target`, where nothing may be.
    pub(crate) fn publish_new(mut self, target: &Path) -> Result<()> {
        let doing = || format!("publish {}", target.display());
        match fs::hard_link(&self.path, target) {
            Ok(()) => fs::remove_file(&self.path).during(doing)?,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(Error::io(doing(), error));
            }
            // A file system without links: the gap between looking and renaming cannot be closed there.
            Err(_) if fs::symlink_metadata(target).is_ok() => {
                return Err(Error::new(ErrorKind::AlreadyExists, "something is there by now").during(doing()));
            }
            Err(_) => fs::rename(&self.path, target).during(doing)?,
        }
        self.removed = true;
        sync_directory(&self.directory)
    }

    /// Gives it the name `target` in place of what is there.
    pub(crate) fn publish_over(mut self, target: &Path) -> Result<()> {
        fs::rename(&self.path, target).during(|| format!("publish {}", target.display()))?;
        self.removed = true;
        sync_directory(&self.directory)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.removed {
            // Nothing can be done about a failure here; the name says what the file is.
            for companion in COMPANIONS {
                let _ = fs::remove_file(companion_of(&self.path, companion));
            }
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What other restores into this directory have in work, or left when they were cut off.
pub(crate) fn others(directory: &Path) -> Vec<PathBuf> {
    // A directory that cannot be listed is complained of when something is made in it.
    let names = fs::read_dir(directory).into_iter().flatten().flatten();
    let is_staging = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        name.starts_with(PREFIX) && name.ends_with(SUFFIX)
    };
    let mut others: Vec<_> = names.map(|entry| entry.path()).filter(is_staging).collect();
    others.sort();
    others
}

/// `shop.db-wal` for `shop.db`.
pub(crate) fn companion_of(database: &Path, companion: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(companion);
    PathBuf::from(name)
}

/// An open file that has no name any more, so that it goes when it is closed.
pub(crate) fn nameless_file(directory: &Path) -> Result<File> {
    let (file, path) = new_file(directory, 0o600)?;
    fs::remove_file(&path).during(|| format!("unlink {}", path.display()))?;
    Ok(file)
}

/// A name that nobody can foresee.
pub(crate) fn unpredictable() -> Result<String> {
    let random = || "make a name";
    let connection = Connection::open_in_memory().doing(random)?;
    connection.query_row("SELECT lower(hex(randomblob(8)))", (), |row| row.get(0)).doing(random)
}

fn new_file(directory: &Path, mode: u32) -> Result<(File, PathBuf)> {
    let path = directory.join(format!("{PREFIX}{}{SUFFIX}", unpredictable()?));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path);
    Ok((file.during(|| format!("create a file in {}", directory.display()))?, path))
}

/// What the umask leaves of the mode that SQLite gives to databases. It can only be seen on a file.
fn default_mode(directory: &Path) -> Result<u32> {
    let (file, path) = new_file(directory, 0o644)?;
    let mode = file.metadata().map(|metadata| metadata.permissions().mode() & 0o777);
    fs::remove_file(&path).during(|| format!("remove {}", path.display()))?;
    mode.during(|| format!("look at {}", path.display()))
}

/// Makes names in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory).and_then(|file| file.sync_all()).during(|| format!("sync {}", directory.display()))
}
