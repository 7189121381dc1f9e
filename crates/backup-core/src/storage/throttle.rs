//! A rate limit around any storage.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use tokio::time::Instant;

use super::{Key, ObjectMeta, ObjectWriter, PutMode, Storage};
use crate::error::Result;

/// Objects that are never waited with.
const SMALL: usize = 4 << 10;

/// Passes at most so many bytes a second to and from a storage, averaged over a second.
#[derive(Debug)]
pub struct Throttled {
    inner: Arc<dyn Storage>,
    limit: Arc<Limit>,
}

#[derive(Debug)]
struct Limit {
    bytes_per_second: f64,
    /// When the bytes that were let through so far are paid for.
    paid_until: Mutex<Instant>,
}

impl Limit {
    async fn spend(&self, bytes: usize) {
        let wait_until = {
            let mut paid_until = self.paid_until.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            // A pause earns no more than one second.
            let start = (*paid_until).max(now.checked_sub(Duration::from_secs(1)).unwrap_or(now));
            *paid_until = start + Duration::from_secs_f64(bytes as f64 / self.bytes_per_second);
            *paid_until
        };
        // A lease is renewed in time, whatever waits: small objects are paid for by those that come after them.
        if bytes <= SMALL {
            return;
        }
        tokio::time::sleep_until(wait_until).await;
    }
}

impl Throttled {
    /// Limits `inner` to `bytes_per_second`, at least one.
    pub fn new(inner: Arc<dyn Storage>, bytes_per_second: u64) -> Self {
        let limit = Limit {
            bytes_per_second: bytes_per_second.max(1) as f64,
            paid_until: Mutex::new(Instant::now()),
        };
        Self { inner, limit: Arc::new(limit) }
    }
}

#[async_trait]
impl Storage for Throttled {
    async fn put(&self, key: &Key, bytes: Bytes, mode: PutMode) -> Result<ObjectMeta> {
        self.limit.spend(bytes.len()).await;
        self.inner.put(key, bytes, mode).await
    }

    async fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>> {
        let inner = self.inner.writer(key).await?;
        Ok(Box::new(ThrottledWriter { inner, limit: Arc::clone(&self.limit) }))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let bytes = self.inner.get(key, range).await?;
        self.limit.spend(bytes.len()).await;
        Ok(bytes)
    }

    async fn get_at_most(&self, key: &Key, most: u64) -> Result<Bytes> {
        let bytes = self.inner.get_at_most(key, most).await?;
        self.limit.spend(bytes.len()).await;
        Ok(bytes)
    }

    async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>> {
        self.inner.head(key).await
    }

    fn list(&self, prefix: &Key) -> BoxStream<'_, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.inner.delete(key).await
    }

    async fn abandoned(&self, before: DateTime<Utc>, remove: bool) -> Result<(u64, u64)> {
        self.inner.abandoned(before, remove).await
    }
}

#[derive(Debug)]
struct ThrottledWriter {
    inner: Box<dyn ObjectWriter>,
    limit: Arc<Limit>,
}

#[async_trait]
impl ObjectWriter for ThrottledWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.limit.spend(bytes.len()).await;
        self.inner.write(bytes).await
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta> {
        self.inner.finish().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::MemoryStorage;

    #[tokio::test(start_paused = true)]
    async fn ten_seconds_of_bytes_take_ten_seconds() {
        let storage = Throttled::new(Arc::new(MemoryStorage::new()), 10_000);
        let start = Instant::now();
        for _ in 0..10 {
            storage
                .put(&"a".parse().unwrap(), Bytes::from(vec![0; 10_000]), PutMode::Overwrite)
                .await
                .unwrap();
        }
        let took = start.elapsed().as_secs_f64();
        assert!((9.0..=10.1).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_object_does_not_wait_for_large_ones() {
        let storage = Arc::new(Throttled::new(Arc::new(MemoryStorage::new()), 1000));
        let large = Arc::clone(&storage);
        let large = tokio::spawn(async move {
            large.put(&"a".parse().unwrap(), Bytes::from(vec![0; 100_000]), PutMode::Overwrite).await
        });
        tokio::task::yield_now().await;
        let start = Instant::now();
        storage
            .put(&"locks/b".parse().unwrap(), Bytes::from(vec![0; 500]), PutMode::Overwrite)
            .await
            .unwrap();
        assert!(start.elapsed() < Duration::from_secs(1) && !large.is_finished());
        large.await.unwrap().unwrap();
        assert!(start.elapsed() > Duration::from_secs(90));
    }
}
