//! The storages of the core, held to their promises.
#![allow(clippy::unwrap_used, reason = "a fixture that fails is a panic")]

use std::sync::Arc;

use backup_core::async_trait;
use backup_core::storage::{LocalStorage, MemoryStorage, Storage, Throttled};
use backup_testkit::faults::{Counting, Faulty};
use backup_testkit::storage::StorageFixture;

struct Memory;

#[async_trait]
impl StorageFixture for Memory {
    async fn empty(&self) -> Arc<dyn Storage> {
        Arc::new(MemoryStorage::new())
    }
}

struct Local(tempfile::TempDir);

#[async_trait]
impl StorageFixture for Local {
    async fn empty(&self) -> Arc<dyn Storage> {
        Arc::new(LocalStorage::create(&self.0.path().join("repository")).unwrap())
    }
}

struct Limited;

#[async_trait]
impl StorageFixture for Limited {
    async fn empty(&self) -> Arc<dyn Storage> {
        Arc::new(Throttled::new(Arc::new(MemoryStorage::new()), 1 << 30))
    }
}

/// The fault wrapper is a storage too, as long as its fault does nothing.
struct Wrapped;

#[async_trait]
impl StorageFixture for Wrapped {
    async fn empty(&self) -> Arc<dyn Storage> {
        Faulty::around(Arc::new(MemoryStorage::new()), Arc::new(Counting::default()))
    }
}

mod memory {
    backup_testkit::storage_conformance!(super::Memory);
}

mod local {
    backup_testkit::storage_conformance!(super::Local(tempfile::tempdir().unwrap()));
}

mod throttled {
    backup_testkit::storage_conformance!(super::Limited);
}

mod wrapped {
    backup_testkit::storage_conformance!(super::Wrapped);
}
