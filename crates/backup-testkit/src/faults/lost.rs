//! Programs that die at a call, and storage that forgets.

use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use backup_core::storage::{Key, ObjectMeta, ObjectWriter, PutMode, Storage};
use backup_core::{Error, ErrorKind, Result};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::{Either, select};
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

use super::{Call, Fault};

/// Stops the program at its N-th call: that call and all that are under way never return, and no later one is made.
///
/// As if the process had been killed, or the power cut, at that moment. What was under way has arrived or has not: the N-th
/// call itself as [`StopNth::new`] is told, the others as it happens.
#[derive(Debug)]
pub struct StopNth {
    left: AtomicU64,
    arrives: bool,
    stopped: CancellationToken,
    over: CancellationToken,
}

impl StopNth {
    /// At the `n`-th call (from 1) of any kind, which reaches the storage if it `arrives`.
    pub fn new(n: u64, arrives: bool) -> Self {
        Self {
            left: AtomicU64::new(n),
            arrives,
            stopped: CancellationToken::new(),
            over: CancellationToken::new(),
        }
    }

    /// Runs `program` until it ends, and returns what it did; or until it is stopped, and returns `None`. All that it left
    /// running gets errors from then on.
    pub async fn until<T>(&self, program: impl Future<Output = T>) -> Option<T> {
        let ended = match select(pin!(program), pin!(self.stopped.cancelled())).await {
            Either::Left((done, _)) => Some(done),
            Either::Right(_) => None,
        };
        // The program is gone here: its future has been dropped. Threads of it that still wait must end.
        self.over.cancel();
        ended
    }

    async fn never(&self) -> Result<()> {
        self.stopped.cancel();
        self.over.cancelled().await;
        Err(Error::new(ErrorKind::Io, "the program was stopped on purpose"))
    }
}

#[async_trait]
impl Fault for StopNth {
    async fn before(&self, _call: Call, _key: &Key) -> Result<()> {
        let left =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        match left.unwrap_or(0) {
            0 => self.never().await,
            1 if !self.arrives => self.never().await,
            _ => Ok(()),
        }
    }

    async fn after(&self, _call: Call, _key: &Key) -> Result<()> {
        if self.left.load(Ordering::SeqCst) == 0 { self.never().await } else { Ok(()) }
    }
}

/// A storage that says "durable" too early: what was written since the last [`Unsynced::sync`] is lost in
/// [`Unsynced::cut_power`].
#[derive(Debug)]
pub struct Unsynced {
    inner: Arc<dyn Storage>,
    /// What each changed object was before, in the order of the changes.
    before: Arc<Before>,
}

type Before = Mutex<Vec<(Key, Option<Bytes>)>>;

impl Unsynced {
    /// In front of `inner`, whose objects are durable.
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, before: Arc::default() }
    }

    /// Makes all that was written so far durable.
    pub fn sync(&self) {
        self.before.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Loses what is not durable, and returns how many changes these were.
    pub async fn cut_power(&self) -> Result<usize> {
        let before = std::mem::take(&mut *self.before.lock().unwrap_or_else(PoisonError::into_inner));
        let lost = before.len();
        for (key, bytes) in before.into_iter().rev() {
            match bytes {
                Some(bytes) => drop(self.inner.put(&key, bytes, PutMode::Overwrite).await?),
                None => self.inner.delete(&key).await?,
            }
        }
        Ok(lost)
    }

    async fn remember(inner: &dyn Storage, before: &Before, key: &Key) -> Result<()> {
        let bytes = match inner.head(key).await? {
            Some(_) => Some(inner.get(key, None).await?),
            None => None,
        };
        before.lock().unwrap_or_else(PoisonError::into_inner).push((key.clone(), bytes));
        Ok(())
    }
}

#[async_trait]
impl Storage for Unsynced {
    async fn put(&self, key: &Key, bytes: Bytes, mode: PutMode) -> Result<ObjectMeta> {
        Self::remember(&*self.inner, &self.before, key).await?;
        self.inner.put(key, bytes, mode).await
    }

    async fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>> {
        let (writer, inner) = (self.inner.writer(key).await?, Arc::clone(&self.inner));
        Ok(Box::new(UnsyncedWriter { writer, inner, key: key.clone(), before: Arc::clone(&self.before) }))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        self.inner.get(key, range).await
    }

    async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>> {
        self.inner.head(key).await
    }

    fn list(&self, prefix: &Key) -> BoxStream<'_, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        Self::remember(&*self.inner, &self.before, key).await?;
        self.inner.delete(key).await
    }

    async fn abandoned(&self, before: DateTime<Utc>, remove: bool) -> Result<(u64, u64)> {
        self.inner.abandoned(before, remove).await
    }
}

#[derive(Debug)]
struct UnsyncedWriter {
    writer: Box<dyn ObjectWriter>,
    inner: Arc<dyn Storage>,
    key: Key,
    before: Arc<Before>,
}

#[async_trait]
impl ObjectWriter for UnsyncedWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.writer.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta> {
        Unsynced::remember(&*self.inner, &self.before, &self.key).await?;
        self.writer.finish().await
    }
}
