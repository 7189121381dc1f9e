//! Storage that fails, dawdles or counts, and objects that are damaged on purpose.
//!
//! ```
//! # use std::sync::Arc;
//! # use backup_core::storage::{MemoryStorage, Storage};
//! use backup_testkit::faults::{Call, FailNth, Faulty};
//!
//! let disk_full_at_the_third_put = Arc::new(FailNth::new(&[Call::Put], 3));
//! let storage: Arc<dyn Storage> = Faulty::around(Arc::new(MemoryStorage::new()), disk_full_at_the_third_put);
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use backup_core::storage::{Key, ObjectMeta, ObjectWriter, PutMode, Storage};
use backup_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

/// One kind of call to a storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// [`Storage::put`].
    Put,
    /// [`Storage::writer`].
    Writer,
    /// [`ObjectWriter::write`].
    Write,
    /// [`ObjectWriter::finish`].
    Finish,
    /// [`Storage::get`].
    Get,
    /// [`Storage::head`].
    Head,
    /// [`Storage::list`].
    List,
    /// [`Storage::delete`].
    Delete,
}

impl Call {
    /// Every kind of call.
    pub const ALL: [Self; 8] =
        [Self::Put, Self::Writer, Self::Write, Self::Finish, Self::Get, Self::Head, Self::List, Self::Delete];
}

/// What happens before a call reaches the storage.
#[async_trait]
pub trait Fault: Debug + Send + Sync + 'static {
    /// Called before every call; if it returns an error, the call fails with that and is never made.
    async fn before(&self, call: Call, key: &Key) -> Result<()>;
}

/// A storage with a [`Fault`] in front of it.
#[derive(Debug)]
pub struct Faulty {
    inner: Arc<dyn Storage>,
    fault: Arc<dyn Fault>,
}

impl Faulty {
    /// Puts `fault` in front of `inner`.
    pub fn around(inner: Arc<dyn Storage>, fault: Arc<dyn Fault>) -> Arc<dyn Storage> {
        Arc::new(Self { inner, fault })
    }
}

#[async_trait]
impl Storage for Faulty {
    async fn put(&self, key: &Key, bytes: Bytes, mode: PutMode) -> Result<ObjectMeta> {
        self.fault.before(Call::Put, key).await?;
        self.inner.put(key, bytes, mode).await
    }

    async fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>> {
        self.fault.before(Call::Writer, key).await?;
        let inner = self.inner.writer(key).await?;
        Ok(Box::new(FaultyWriter { inner, key: key.clone(), fault: Arc::clone(&self.fault) }))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.fault.before(Call::Get, key).await?;
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>> {
        self.fault.before(Call::Head, key).await?;
        self.inner.head(key).await
    }

    fn list(&self, prefix: &Key) -> BoxStream<'_, Result<ObjectMeta>> {
        let prefix = prefix.clone();
        let listed = async move {
            self.fault.before(Call::List, &prefix).await?;
            Ok::<_, Error>(self.inner.list(&prefix))
        };
        stream::once(listed).try_flatten().boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.fault.before(Call::Delete, key).await?;
        self.inner.delete(key).await
    }
}

#[derive(Debug)]
struct FaultyWriter {
    inner: Box<dyn ObjectWriter>,
    key: Key,
    fault: Arc<dyn Fault>,
}

#[async_trait]
impl ObjectWriter for FaultyWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.fault.before(Call::Write, &self.key).await?;
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta> {
        self.fault.before(Call::Finish, &self.key).await?;
        self.inner.finish().await
    }
}

/// Fails the N-th of certain calls, and every later one: a disk that is full, or gone, stays so.
#[derive(Debug)]
pub struct FailNth {
    calls: BTreeSet<Call>,
    left: AtomicU64,
    kind: ErrorKind,
}

impl FailNth {
    /// Fails from the `n`-th (from 1) of `calls` on, with [`ErrorKind::Io`].
    pub fn new(calls: &[Call], n: u64) -> Self {
        Self::with_kind(calls, n, ErrorKind::Io)
    }

    /// Fails from the `n`-th (from 1) of `calls` on, with an error of `kind`.
    pub fn with_kind(calls: &[Call], n: u64, kind: ErrorKind) -> Self {
        Self { calls: calls.iter().copied().collect(), left: AtomicU64::new(n), kind }
    }

    /// Whether it has failed anything: a test of what a failure does has to reach one.
    pub fn has_failed(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

#[async_trait]
impl Fault for FailNth {
    async fn before(&self, call: Call, key: &Key) -> Result<()> {
        if !self.calls.contains(&call) {
            return Ok(());
        }
        let before =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        if before.is_ok_and(|left| left > 1) {
            return Ok(());
        }
        Err(Error::new(self.kind, format!("{call:?} of {key} fails on purpose")))
    }
}

/// Makes certain calls take their time.
#[derive(Debug)]
pub struct Slow {
    calls: BTreeSet<Call>,
    delay: Duration,
}

impl Slow {
    /// Delays each of `calls`.
    pub fn new(calls: &[Call], delay: Duration) -> Self {
        Self { calls: calls.iter().copied().collect(), delay }
    }
}

#[async_trait]
impl Fault for Slow {
    async fn before(&self, call: Call, _key: &Key) -> Result<()> {
        if self.calls.contains(&call) {
            tokio::time::sleep(self.delay).await;
        }
        Ok(())
    }
}

/// Counts calls by their kind.
#[derive(Debug, Default)]
pub struct Counting(Mutex<BTreeMap<Call, u64>>);

impl Counting {
    /// How many calls of that kind there were.
    pub fn of(&self, call: Call) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&call).copied().unwrap_or(0)
    }
}

#[async_trait]
impl Fault for Counting {
    async fn before(&self, call: Call, _key: &Key) -> Result<()> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(call).or_default() += 1;
        Ok(())
    }
}

/// Everything below `prefix` ([`Key::ROOT`] for all), sorted.
pub async fn keys(storage: &dyn Storage, prefix: &Key) -> BTreeSet<Key> {
    storage.list(prefix).map_ok(|meta| meta.key).try_collect().await.expect("the storage lists its objects")
}

/// Flips one bit of the byte at `at` of an object. Doing it again mends it.
pub async fn flip(storage: &dyn Storage, key: &Key, at: usize) {
    let mut bytes = storage.get(key, None).await.expect("the object is there").to_vec();
    bytes[at] ^= 0x20;
    replace(storage, key, bytes).await;
}

/// Cuts an object off behind its first `length` bytes.
pub async fn truncate(storage: &dyn Storage, key: &Key, length: usize) {
    let mut bytes = storage.get(key, None).await.expect("the object is there").to_vec();
    bytes.truncate(length);
    replace(storage, key, bytes).await;
}

/// Removes an object that is there.
pub async fn remove(storage: &dyn Storage, key: &Key) {
    assert!(
        storage.head(key).await.expect("the storage answers").is_some(),
        "{key} is not there to be removed"
    );
    storage.delete(key).await.expect("the object goes");
}

async fn replace(storage: &dyn Storage, key: &Key, bytes: Vec<u8>) {
    storage.put(key, bytes.into(), PutMode::Overwrite).await.expect("the object is replaced");
}
