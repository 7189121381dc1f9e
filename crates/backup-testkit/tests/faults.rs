//! The fault wrappers do what they say: a fault that never happens would make every test of it pass.
#![allow(clippy::unwrap_used, reason = "a call that fails is a panic")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use backup_core::ErrorKind;
use backup_core::storage::{Key, MemoryStorage, PutMode, Storage};
use backup_testkit::faults::{
    Call, Counting, FailNth, Faulty, Recording, ShortNth, Slow, StopNth, Unsynced, duplicate, flip, keys,
    remove, swap, truncate,
};

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
    duplicate(&storage, &key("a"), &key("b")).await;
    assert_eq!(storage.get(&key("b"), None).await.unwrap(), "by");
    flip(&storage, &key("b"), 1).await;
    swap(&storage, &key("a"), &key("b")).await;
    assert_eq!(storage.get(&key("a"), None).await.unwrap(), "bY");
    assert_eq!(storage.get(&key("b"), None).await.unwrap(), "by");
    remove(&storage, &key("b")).await;
    remove(&storage, &key("a")).await;
    assert!(keys(&storage, &Key::ROOT).await.is_empty());
}

#[tokio::test]
async fn one_call_fails_or_loses_half_and_those_after_it_do_not() {
    let memory = Arc::new(MemoryStorage::new());
    let failing = Faulty::around(memory.clone(), Arc::new(FailNth::new(&[Call::Put], 2).once()));
    put(&*failing, "1").await.unwrap();
    assert!(put(&*failing, "2").await.is_err());
    put(&*failing, "3").await.unwrap();
    put(&*failing, "4").await.unwrap();
    let short = Arc::new(ShortNth::new(2));
    let lying = Faulty::around(memory.clone(), short.clone());
    for name in ["a", "b", "c"] {
        assert_eq!(short.has_lost(), name == "c");
        put(&*lying, name).await.unwrap();
    }
    assert_eq!(memory.get(&key("a"), None).await.unwrap(), "bytes");
    assert_eq!(memory.get(&key("b"), None).await.unwrap(), "by");
    assert_eq!(memory.get(&key("c"), None).await.unwrap(), "bytes");
}

#[tokio::test]
async fn a_program_that_is_stopped_makes_no_further_call() {
    for arrives in [false, true] {
        let memory = Arc::new(MemoryStorage::new());
        let (stop, calls) = (Arc::new(StopNth::new(2, arrives)), Arc::new(Recording::default()));
        let storage = Faulty::around(Faulty::around(memory.clone(), calls.clone()), stop.clone());
        let all = async {
            // Two at once: neither hears of the second call.
            tokio::join!(put(&*storage, "1"), put(&*storage, "2")).0.unwrap();
            put(&*storage, "3").await.unwrap();
        };
        assert!(stop.until(all).await.is_none());
        assert_eq!(calls.of(Call::Put, &Key::ROOT).len(), if arrives { 2 } else { 1 });
        assert_eq!(calls.count(), keys(&*memory, &Key::ROOT).await.len() as u64);
        // What it left running hears of its end.
        assert!(put(&*storage, "4").await.is_err());
    }
    let stop = StopNth::new(2, true);
    assert_eq!(stop.until(async { 7 }).await, Some(7), "a program that makes no call ends by itself");
}

#[tokio::test]
async fn what_was_not_synced_is_lost_with_the_power() {
    let memory = Arc::new(MemoryStorage::new());
    let storage = Unsynced::new(memory.clone());
    put(&storage, "a").await.unwrap();
    put(&storage, "b").await.unwrap();
    storage.sync();
    storage.put(&key("a"), "new".into(), PutMode::Overwrite).await.unwrap();
    storage.put(&key("a"), "newer".into(), PutMode::Overwrite).await.unwrap();
    storage.delete(&key("b")).await.unwrap();
    let mut writer = storage.writer(&key("c")).await.unwrap();
    writer.write("large".into()).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(keys(&*memory, &Key::ROOT).await.len(), 2);
    assert_eq!(storage.cut_power().await.unwrap(), 4);
    for name in ["a", "b"] {
        assert_eq!(memory.get(&key(name), None).await.unwrap(), "bytes");
    }
    assert_eq!(keys(&*memory, &Key::ROOT).await.len(), 2);
}

#[tokio::test]
async fn one_call_is_slow() {
    let slow = Slow::nth(&[Call::Put], 2, Duration::from_millis(50));
    let storage = Faulty::around(Arc::new(MemoryStorage::new()), Arc::new(slow));
    put(&*storage, "1").await.unwrap();
    let start = Instant::now();
    put(&*storage, "2").await.unwrap();
    assert!(start.elapsed() >= Duration::from_millis(50));
    put(&*storage, "3").await.unwrap();
}
