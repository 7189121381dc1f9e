//! Where a kv database is, and opening it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use backup_core::{During, Error, ErrorKind, Result};

/// The file of a kv database.
#[derive(Debug, Clone)]
pub(crate) struct Database {
    pub(crate) path: PathBuf,
}

/// A database as it was when it was opened. Whoever changes a row replaces the whole file, and whoever adds one
/// appends, so an open file and its length are a snapshot, which any number of threads can read.
#[derive(Debug, Clone)]
pub(crate) struct Snapshot {
    file: Arc<File>,
    pub(crate) length: u64,
}

impl Database {
    pub(crate) fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned() }
    }

    /// The same place under another name.
    pub(crate) fn renamed(&self, name: &str) -> Result<Self> {
        if name.is_empty() || name.contains('/') || name.starts_with('.') {
            return Err(Error::usage(format!("a kv database cannot be called {name:?}")));
        }
        Ok(Self { path: self.path.with_file_name(format!("{name}.kv")) })
    }

    /// What people call it.
    pub(crate) fn name(&self) -> String {
        self.path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
    }

    pub(crate) fn open(&self) -> Result<Snapshot> {
        let doing = || format!("open {}", self.path.display());
        let file = File::open(&self.path).during(doing)?;
        let metadata = file.metadata().during(doing)?;
        if !metadata.is_file() {
            return Err(Error::new(ErrorKind::Connect, "it is not a file").during(doing()));
        }
        Ok(Snapshot { file: Arc::new(file), length: metadata.len() })
    }
}

impl Snapshot {
    /// Reads `length` bytes from `offset` on.
    pub(crate) fn reader(&self, offset: u64, length: u64) -> BufReader<impl Read + use<>> {
        BufReader::with_capacity(1 << 16, Window { snapshot: self.clone(), at: offset, end: offset + length })
    }
}

/// Reads at a place of its own, so that many can read one file.
struct Window {
    snapshot: Snapshot,
    at: u64,
    end: u64,
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let room = buffer.len().min(left);
        let n = self.snapshot.file.read_at(&mut buffer[..room], self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}
