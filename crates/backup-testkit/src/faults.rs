//! Storage that fails, dawdles, lies, dies or counts, and objects that are damaged on purpose: around any [`Storage`].
//!
//! A [`Fault`] stands in front of a storage and sees every call: [`FailNth`], [`FailAt`], [`ShortNth`], [`Slow`], [`StopNth`],
//! [`Counting`], [`Recording`], or one of your own. [`Unsynced`] is a storage that forgets what it had said was durable.
//! [`flip`], [`truncate`], [`swap`], [`duplicate`] and [`remove`] damage objects that are there.
//!
//! ```
//! # use std::sync::Arc;
//! # use backup_core::storage::{MemoryStorage, Storage};
//! use backup_testkit::faults::{Call, FailNth, Faulty};
//!
//! let disk_full_at_the_third_put = Arc::new(FailNth::new(&[Call::Put], 3));
//! let storage: Arc<dyn Storage> = Faulty::around(Arc::new(MemoryStorage::new()), disk_full_at_the_third_put);
//! ```
//!
//! A trial of your own storage, or of a program that uses one: what is left when it dies at its N-th call?
//!
//! ```
//! # use std::sync::Arc;
//! # use backup_core::storage::{Key, MemoryStorage, PutMode, Storage};
//! use backup_testkit::faults::{Faulty, StopNth, keys};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
//! // The second call still arrives, and nobody lives to hear of it.
//! let stop = Arc::new(StopNth::new(2, true));
//! let dying = Faulty::around(Arc::clone(&storage), stop.clone());
//! let program = async {
//!     for name in ["a", "b", "c"] {
//!         dying.put(&name.parse()?, name.into(), PutMode::Create).await?;
//!     }
//!     Ok::<_, backup_core::Error>(())
//! };
//! assert!(stop.until(program).await.is_none());
//! assert_eq!(keys(&*storage, &Key::ROOT).await.len(), 2);
//! # });
//! ```

mod lost;
mod objects;
mod point;

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
use chrono::{DateTime, Utc};
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

pub use lost::{StopNth, Unsynced};
pub use objects::{duplicate, flip, keys, remove, swap, truncate};
pub use point::{FailAt, Point};

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

/// What happens around a call to a storage.
#[async_trait]
pub trait Fault: Debug + Send + Sync + 'static {
    /// Called before every call; if it returns an error, the call fails with that and is never made.
    async fn before(&self, call: Call, key: &Key) -> Result<()>;

    /// What arrives of the bytes of a [`Call::Put`] or [`Call::Write`].
    fn bytes(&self, _call: Call, _key: &Key, bytes: Bytes) -> Bytes {
        bytes
    }

    /// Called when a call was made and went well; if it returns an error, that is what the caller hears.
    async fn after(&self, _call: Call, _key: &Key) -> Result<()> {
        Ok(())
    }
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

    async fn around_call<T>(
        &self,
        call: Call,
        key: &Key,
        made: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.fault.before(call, key).await?;
        let done = made.await?;
        self.fault.after(call, key).await.map(|()| done)
    }
}

#[async_trait]
impl Storage for Faulty {
    async fn put(&self, key: &Key, bytes: Bytes, mode: PutMode) -> Result<ObjectMeta> {
        let bytes = self.fault.bytes(Call::Put, key, bytes);
        self.around_call(Call::Put, key, self.inner.put(key, bytes, mode)).await
    }

    async fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.around_call(Call::Writer, key, self.inner.writer(key)).await?;
        Ok(Box::new(FaultyWriter { inner, key: key.clone(), fault: Arc::clone(&self.fault) }))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.around_call(Call::Get, key, self.inner.get(key, range)).await
    }

    async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>> {
        self.around_call(Call::Head, key, self.inner.head(key)).await
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
        self.around_call(Call::Delete, key, self.inner.delete(key)).await
    }

    async fn abandoned(&self, before: DateTime<Utc>, remove: bool) -> Result<(u64, u64)> {
        let call = if remove { Call::Delete } else { Call::List };
        self.around_call(call, &Key::ROOT, self.inner.abandoned(before, remove)).await
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
        self.inner.write(self.fault.bytes(Call::Write, &self.key, bytes)).await?;
        self.fault.after(Call::Write, &self.key).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta> {
        self.fault.before(Call::Finish, &self.key).await?;
        let meta = self.inner.finish().await?;
        self.fault.after(Call::Finish, &self.key).await.map(|()| meta)
    }
}

/// Fails the N-th of certain calls, and every later one: a disk that is full, or gone, stays so.
#[derive(Debug)]
pub struct FailNth {
    calls: BTreeSet<Call>,
    left: AtomicU64,
    kind: ErrorKind,
    once: bool,
    afterwards: bool,
}

impl FailNth {
    /// Fails from the `n`-th (from 1) of `calls` on, with [`ErrorKind::Io`].
    pub fn new(calls: &[Call], n: u64) -> Self {
        Self::with_kind(calls, n, ErrorKind::Io)
    }

    /// Fails from the `n`-th (from 1) of `calls` on, with an error of `kind`.
    pub fn with_kind(calls: &[Call], n: u64, kind: ErrorKind) -> Self {
        Self {
            calls: calls.iter().copied().collect(),
            left: AtomicU64::new(n),
            kind,
            once: false,
            afterwards: false,
        }
    }

    /// Makes the calls all the same and only then says that they failed: a network that loses the answer.
    #[must_use]
    pub fn afterwards(mut self) -> Self {
        self.afterwards = true;
        self
    }

    /// Fails that one call only, and none after it.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// Whether it has failed anything: a test of what a failure does has to reach one.
    pub fn has_failed(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

#[async_trait]
impl Fault for FailNth {
    async fn before(&self, call: Call, key: &Key) -> Result<()> {
        if self.afterwards { Ok(()) } else { self.fail(call, key) }
    }

    async fn after(&self, call: Call, key: &Key) -> Result<()> {
        if self.afterwards { self.fail(call, key) } else { Ok(()) }
    }
}

impl FailNth {
    fn fail(&self, call: Call, key: &Key) -> Result<()> {
        if !self.calls.contains(&call) {
            return Ok(());
        }
        let before =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        if before.is_ok_and(|left| left > 1 || (left == 0 && self.once)) {
            return Ok(());
        }
        Err(Error::new(self.kind, format!("{call:?} of {key} fails on purpose")))
    }
}

/// Loses the second half of what the N-th call brings, and says that all is well: a disk that lies.
#[derive(Debug)]
pub struct ShortNth(AtomicU64);

impl ShortNth {
    /// At the `n`-th (from 1) [`Call::Put`] or [`Call::Write`].
    pub fn new(n: u64) -> Self {
        Self(AtomicU64::new(n))
    }

    /// Whether it has lost anything.
    pub fn has_lost(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

#[async_trait]
impl Fault for ShortNth {
    async fn before(&self, _call: Call, _key: &Key) -> Result<()> {
        Ok(())
    }

    fn bytes(&self, _call: Call, _key: &Key, bytes: Bytes) -> Bytes {
        let before =
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        if before == Ok(1) { bytes.slice(..bytes.len() / 2) } else { bytes }
    }
}

/// Makes certain calls take their time.
#[derive(Debug)]
pub struct Slow {
    calls: BTreeSet<Call>,
    /// Calls until the slow one; none where all are.
    left: Option<AtomicU64>,
    delay: Duration,
}

impl Slow {
    /// Delays each of `calls`.
    pub fn new(calls: &[Call], delay: Duration) -> Self {
        Self { calls: calls.iter().copied().collect(), left: None, delay }
    }

    /// Delays the `n`-th (from 1) of `calls`.
    pub fn nth(calls: &[Call], n: u64, delay: Duration) -> Self {
        Self { left: Some(AtomicU64::new(n)), ..Self::new(calls, delay) }
    }
}

#[async_trait]
impl Fault for Slow {
    async fn before(&self, call: Call, _key: &Key) -> Result<()> {
        let is_slow = self.calls.contains(&call)
            && self.left.as_ref().is_none_or(|left| left.fetch_sub(1, Ordering::SeqCst) == 1);
        if is_slow {
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

/// Keeps which calls were made, in their order.
#[derive(Debug, Default)]
pub struct Recording(Mutex<Vec<(Call, Key)>>);

impl Recording {
    /// The calls of that kind below `prefix`.
    pub fn of(&self, call: Call, prefix: &Key) -> Vec<Key> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        calls
            .iter()
            .filter(|(made, key)| *made == call && key.is_below(prefix))
            .map(|(_, key)| key.clone())
            .collect()
    }

    /// Every call, by what it does.
    pub fn points(&self) -> Vec<Point> {
        Point::all(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many calls there were.
    pub fn count(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

#[async_trait]
impl Fault for Recording {
    async fn before(&self, call: Call, key: &Key) -> Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((call, key.clone()));
        Ok(())
    }
}
