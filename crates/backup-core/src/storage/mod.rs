//! Storage: where a repository's objects live. Storage never sees databases, codecs or keys.

mod key;
mod local;
mod memory;
mod throttle;

use std::fmt::Debug;
use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;

use crate::error::{Error, ErrorKind, Result};

pub use key::Key;
pub use local::LocalStorage;
pub(crate) use local::create_file;
pub use memory::MemoryStorage;
pub use throttle::Throttled;

/// What [`Storage::put`] does about an object that is there already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PutMode {
    /// Replace it.
    Overwrite,
    /// Fail with [`crate::ErrorKind::AlreadyExists`]. Of several at once exactly one succeeds.
    Create,
    /// Replace it only if it still has this version, else fail with [`crate::ErrorKind::AlreadyExists`].
    Update(Version),
}

/// A version of an object, opaque; it changes with every put.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(pub String);

/// What is known of an object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectMeta {
    /// Its name.
    pub key: Key,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, by the clock of the store.
    pub modified: DateTime<Utc>,
    /// Its version.
    pub version: Version,
}

impl ObjectMeta {
    /// What a store knows of the object `key`.
    pub fn new(key: Key, size: u64, modified: DateTime<Utc>, version: Version) -> Self {
        Self { key, size, modified, version }
    }
}

/// A store of objects under names: a directory, memory, an object store.
///
/// Every method may be cancelled by dropping its future; an object is then either untouched or whole, never
/// half. Methods are called from many tasks at once. Errors that mean "later, perhaps" have been tried again
/// by the store itself before it returns them.
#[async_trait]
pub trait Storage: Debug + Send + Sync + 'static {
    /// Stores `bytes` under `key`. When it returns, the object is durable (it survives a power cut) and
    /// visible whole; if it fails, the object is what it was before. Errors: `AlreadyExists` as `mode` says,
    /// `NoSpace`, `PermissionDenied`, `Io`.
    async fn put(&self, key: &Key, bytes: Bytes, mode: PutMode) -> Result<ObjectMeta>;

    /// Starts a large object that is written piece by piece and is invisible until
    /// [`ObjectWriter::finish`]. An object of that name is replaced then.
    async fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>>;

    /// Reads an object, or the bytes of it in `range`. A range that does not lie within the object is an
    /// error, a missing object is `NotFound`.
    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes>;

    /// Reads an object of at most `most` bytes; a larger one is `Damaged`, and is not read. This is how lifeboat reads what has to be in
    /// memory whole, so that an object that somebody made huge takes none. A store that learns the size while it reads can do this in one
    /// call.
    async fn get_at_most(&self, key: &Key, most: u64) -> Result<Bytes> {
        let meta = self.head(key).await?.ok_or_else(|| missing(key))?;
        if meta.size > most {
            return Err(too_large(key, meta.size, most));
        }
        self.get(key, None).await
    }

    /// What is known of an object; `None` if there is none.
    async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>>;

    /// All objects whose key is `prefix` or begins with `prefix` and a slash (all of them if it is the
    /// root), in no order. Unfinished and temporary objects are not listed.
    fn list(&self, prefix: &Key) -> BoxStream<'_, Result<ObjectMeta>>;

    /// Removes an object. When it returns, that is durable: no power cut brings the object back, not even one that deleting found gone
    /// already. One that is not there is no error.
    async fn delete(&self, key: &Key) -> Result<()>;

    /// Counts what puts and writers that were cut off have left under temporary names, last written before `before`
    /// by the store's clock, and their bytes; and removes it if `remove` says so. A store that leaves nothing need not
    /// implement it.
    async fn abandoned(&self, before: DateTime<Utc>, remove: bool) -> Result<(u64, u64)> {
        let _ = (before, remove);
        Ok((0, 0))
    }
}

/// A large object while it is being written. Dropping it unfinished leaves nothing visible.
#[async_trait]
pub trait ObjectWriter: Send + Debug {
    /// Appends. Once it has failed, or was cut short, what is written is not known: the writer is good for nothing but dropping.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes it durable and visible.
    async fn finish(self: Box<Self>) -> Result<ObjectMeta>;
}

fn missing(key: &Key) -> Error {
    Error::new(ErrorKind::NotFound, format!("the object {key} is missing"))
}

fn outside(key: &Key, range: &Range<u64>, size: u64) -> Error {
    Error::damaged(format!("the object {key} has {size} bytes, not {}..{}", range.start, range.end))
}

fn too_large(key: &Key, size: u64, most: u64) -> Error {
    Error::damaged(format!(
        "the object {key} has {size} bytes, and none that lifeboat wrote has more than {most}"
    ))
}

fn conflict(key: &Key, mode: &PutMode) -> Error {
    let what = if *mode == PutMode::Create { "is there already" } else { "was changed by somebody else" };
    Error::new(ErrorKind::AlreadyExists, format!("the object {key} {what}"))
}
