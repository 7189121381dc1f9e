//! Storage in memory: for tests, and for programs that keep a backup for a moment.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::{self, BoxStream};

use super::{Key, ObjectMeta, ObjectWriter, PutMode, Storage, Version};
use crate::error::Result;

/// Objects in memory. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage(Arc<Mutex<Objects>>);

#[derive(Debug, Default)]
struct Objects {
    objects: BTreeMap<Key, Stored>,
    puts: u64,
}

#[derive(Debug)]
struct Stored {
    bytes: Bytes,
    modified: DateTime<Utc>,
    version: u64,
}

impl Stored {
    fn meta(&self, key: &Key) -> ObjectMeta {
        let version = Version(self.version.to_string());
        ObjectMeta { key: key.clone(), size: self.bytes.len() as u64, modified: self.modified, version }
    }
}

impl MemoryStorage {
    /// No objects.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        // Nothing that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn put(&self, key: &Key, bytes: Bytes, mode: PutMode) -> Result<ObjectMeta> {
        let mut all = self.lock();
        let present = all.objects.get(key).map(|stored| Version(stored.version.to_string()));
        match (&mode, present) {
            (PutMode::Overwrite, _) | (PutMode::Create, None) => {}
            (PutMode::Update(expected), Some(present)) if *expected == present => {}
            _ => return Err(super::conflict(key, &mode)),
        }
        all.puts += 1;
        let stored = Stored { bytes, modified: Utc::now(), version: all.puts };
        let meta = stored.meta(key);
        all.objects.insert(key.clone(), stored);
        Ok(meta)
    }

    async fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>> {
        Ok(Box::new(MemoryWriter { storage: self.clone(), key: key.clone(), bytes: BytesMut::new() }))
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        let all = self.lock();
        let stored = all.objects.get(key).ok_or_else(|| super::missing(key))?;
        match range {
            None => Ok(stored.bytes.clone()),
            Some(range) if range.start <= range.end && range.end <= stored.bytes.len() as u64 => {
                Ok(stored.bytes.slice(range.start as usize..range.end as usize))
            }
            Some(range) => Err(super::outside(key, &range, stored.bytes.len() as u64)),
        }
    }

    async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>> {
        Ok(self.lock().objects.get(key).map(|stored| stored.meta(key)))
    }

    fn list(&self, prefix: &Key) -> BoxStream<'_, Result<ObjectMeta>> {
        let found: Vec<_> = (self.lock().objects.iter())
            .filter(|(key, _)| key.is_below(prefix))
            .map(|(key, stored)| Ok(stored.meta(key)))
            .collect();
        stream::iter(found).boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        self.lock().objects.remove(key);
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryWriter {
    storage: MemoryStorage,
    key: Key,
    bytes: BytesMut,
}

#[async_trait]
impl ObjectWriter for MemoryWriter {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<ObjectMeta> {
        self.storage.put(&self.key, self.bytes.freeze(), PutMode::Overwrite).await
    }
}
