//! The storages of the core, held to their promises.
#![allow(clippy::unwrap_used, reason = "a fixture that fails is a panic")]

use std::sync::Arc;

use backup_core::storage::{Key, LocalStorage, MemoryStorage, Storage, Throttled};
use backup_core::{Result, async_trait};
use backup_testkit::faults::{Call, Counting, Fault, Faulty, Unsynced};
use backup_testkit::storage::{self, StorageFixture};

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

/// A storage that makes durable what it does, all but one kind of call.
#[derive(Debug)]
struct Forgets {
    behind: Arc<Unsynced>,
    but: Option<Call>,
}

impl Forgets {
    fn new(but: Option<Call>) -> Arc<Self> {
        Arc::new(Self { behind: Arc::new(Unsynced::new(Arc::new(MemoryStorage::new()))), but })
    }
}

#[async_trait]
impl Fault for Forgets {
    async fn before(&self, _call: Call, _key: &Key) -> Result<()> {
        Ok(())
    }

    async fn after(&self, call: Call, _key: &Key) -> Result<()> {
        if Some(call) != self.but {
            self.behind.sync();
        }
        Ok(())
    }
}

struct Cut(Arc<Forgets>);

#[async_trait]
impl StorageFixture for Cut {
    async fn empty(&self) -> Arc<dyn Storage> {
        Faulty::around(self.0.behind.clone(), self.0.clone())
    }

    async fn cut_power(&self) -> bool {
        self.0.behind.cut_power().await.unwrap();
        true
    }
}

mod durable {
    backup_testkit::storage_conformance!(super::Cut(super::Forgets::new(None)));
}

#[test]
fn what_a_storage_forgets_in_a_power_cut_is_noticed_be_it_a_put_a_writer_or_a_delete() {
    let mut noticed = Vec::new();
    for but in [Call::Put, Call::Finish, Call::Delete] {
        let run = std::panic::AssertUnwindSafe(|| {
            backup_testkit::run(async {
                storage::what_has_returned_survives_a_power_cut(&Cut(Forgets::new(Some(but)))).await;
            });
        });
        assert!(std::panic::catch_unwind(run).is_err(), "{but:?} noticed nothing");
        noticed.push(but);
    }
    println!("noticed: {noticed:?}");
}
