//! The fault wrappers do what they say: a fault that never happens would make every test of it pass.
#![allow(clippy::unwrap_used, reason = "a call that fails is a panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use backup_core::ErrorKind;
use backup_core::storage::{Key, MemoryStorage, PutMode, Storage};
use backup_testkit::faults::{Call, Counting, FailNth, Faulty, Slow, flip, keys, remove, truncate};

fn key(text: &str) -> Key {
    text.parse().unwrap()
}

async fn put(storage: &dyn Storage, name: &str) -> backup_core::Result<()> {
    storage.put(&key(name), "bytes".into(), PutMode::Overwrite).await.map(drop)
}

#[tokio::test]
async fn the_nth_call_fails_and_so_do_those_after_it_and_none_of_another_kind() {
    let memory = Arc::new(MemoryStorage::new());
    let fault = Arc::new(FailNth::with_kind(&[Call::Put], 3, ErrorKind::NoSpace));
    let storage = Faulty::around(memory.clone(), fault.clone());
    put(&*storage, "1").await.unwrap();
    put(&*storage, "2").await.unwrap();
    assert!(!fault.has_failed());
    for name in ["3", "4"] {
        assert_eq!(put(&*storage, name).await.unwrap_err().kind(), ErrorKind::NoSpace);
    }
    assert!(fault.has_failed());
    storage.get(&key("1"), None).await.unwrap();
    assert_eq!(keys(&*memory, &Key::ROOT).await.len(), 2);
}

#[tokio::test]
async fn every_kind_of_call_can_fail_and_is_counted() {
    for call in Call::ALL {
        let counting = Arc::new(Counting::default());
        let counted = Faulty::around(Arc::new(MemoryStorage::new()), counting.clone());
        let storage = Faulty::around(counted, Arc::new(FailNth::new(&[call], 2)));
        for expected in [true, false] {
            let done = match call {
                Call::Put => put(&*storage, "a").await.is_ok(),
                Call::Writer => storage.writer(&key("a")).await.is_ok(),
                Call::Write => storage.writer(&key("a")).await.unwrap().write("x".into()).await.is_ok(),
                Call::Finish => storage.writer(&key("a")).await.unwrap().finish().await.is_ok(),
                Call::Get => storage.get(&key("a"), None).await.is_ok_and(|bytes| bytes == "bytes"),
                Call::Head => storage.head(&key("a")).await.is_ok(),
                Call::List => {
                    use futures::StreamExt;
                    storage.list(&Key::ROOT).all(|meta| async move { meta.is_ok() }).await
                }
                Call::Delete => storage.delete(&key("a")).await.is_ok(),
            };
            // There is nothing to get: that a call was made is what counts.
            assert_eq!(done, expected && call != Call::Get, "{call:?}");
        }
        assert_eq!(counting.of(call), 1, "{call:?}");
    }
}

#[tokio::test]
async fn slow_calls_take_their_time() {
    let slow = Slow::new(&[Call::Put], Duration::from_millis(50));
    let storage = Faulty::around(Arc::new(MemoryStorage::new()), Arc::new(slow));
    let start = Instant::now();
    put(&*storage, "1").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
async fn objects_are_damaged_as_asked() {
    let storage = MemoryStorage::new();
    put(&storage, "a").await.unwrap();
    flip(&storage, &key("a"), 1).await;
    assert_eq!(storage.get(&key("a"), None).await.unwrap(), "bYtes");
    flip(&storage, &key("a"), 1).await;
    assert_eq!(storage.get(&key("a"), None).await.unwrap(), "bytes");
    truncate(&storage, &key("a"), 2).await;
    assert_eq!(storage.get(&key("a"), None).await.unwrap(), "by");
    remove(&storage, &key("a")).await;
    assert!(keys(&storage, &Key::ROOT).await.is_empty());
}
