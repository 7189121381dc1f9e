//! What leases promise.

use std::ops::Range;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::BoxStream;
use tokio::time::sleep;

use super::lease::{Held, LeaseRecord, Purpose, Terms};
use super::manifest::tests::sample;
use super::process::Process;
use super::{BackupId, Repository};
use crate::codec::NoCompression;
use crate::context::Ctx;
use crate::error::{Error, ErrorKind, Result};
use crate::storage::{Key, MemoryStorage, ObjectMeta, ObjectWriter, PutMode, Storage};

const LONG: Terms = Terms { length: Duration::from_secs(600), wait: Duration::ZERO };
const PATIENT: Terms = Terms { length: Duration::from_secs(600), wait: Duration::from_secs(60) };
/// So short that it is stale before anybody looks.
const SHORT: Duration = Duration::from_millis(1);

async fn repository() -> Repository {
    Repository::init(Arc::new(MemoryStorage::new()), None, &[]).await.unwrap()
}

fn backup() -> Purpose {
    Purpose::Backup(id())
}

fn id() -> BackupId {
    sample().header.id
}

async fn leases(repository: &Repository) -> usize {
    repository.holders().await.unwrap().len()
}

/// A lease that nobody renews, as if its process were stopped, of a host that is not this one.
async fn stopped(repository: &Repository, purpose: &Purpose) -> Arc<Held> {
    let (held, _) = Held::create(repository.storage(), SHORT, purpose).await.unwrap();
    change(repository, held.holder(), |record| record.process.host = "elsewhere".into()).await;
    sleep(Duration::from_millis(20)).await;
    held
}

async fn change(repository: &Repository, holder: &str, change: impl FnOnce(&mut LeaseRecord)) {
    let key = Key::new(["locks", holder]).unwrap();
    let json = repository.storage().get(&key, None).await.unwrap();
    let mut record = LeaseRecord::parse(&json).unwrap();
    change(&mut record);
    repository.storage().put(&key, record.to_bytes().unwrap(), PutMode::Overwrite).await.unwrap();
}

#[tokio::test]
async fn shared_leases_are_held_together_and_an_exclusive_one_alone() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let one = repository.lease(&ctx, LONG, backup()).await.unwrap();
    let two = repository.lease(&ctx, LONG, Purpose::Restore).await.unwrap();
    let error = repository.lease(&ctx, LONG, Purpose::Prune).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    one.end(Ok(())).await.unwrap();
    two.end(Ok(())).await.unwrap();
    assert_eq!(leases(&repository).await, 0);
    let alone = repository.lease(&ctx, LONG, Purpose::Prune).await.unwrap();
    for purpose in [backup(), Purpose::Verify, Purpose::Delete] {
        assert_eq!(repository.lease(&ctx, LONG, purpose).await.unwrap_err().kind(), ErrorKind::Locked);
    }
    drop(alone);
    while leases(&repository).await > 0 {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn whoever_waits_for_an_exclusive_lease_keeps_others_out_and_gets_it() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let reading = repository.lease(&ctx, LONG, Purpose::Restore).await.unwrap();
    let waiting = tokio::spawn({
        let (repository, ctx) = (repository.clone(), ctx.clone());
        async move { repository.lease(&ctx, PATIENT, Purpose::Prune).await }
    });
    while leases(&repository).await < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(repository.lease(&ctx, LONG, backup()).await.unwrap_err().kind(), ErrorKind::Locked);
    assert!(!waiting.is_finished());
    reading.end(Ok(())).await.unwrap();
    waiting.await.unwrap().unwrap().end(Ok(())).await.unwrap();
    assert_eq!(leases(&repository).await, 0);
}

#[tokio::test]
async fn cancelling_leaves_no_lease() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let reading = repository.lease(&Ctx::new(), LONG, Purpose::Restore).await.unwrap();
    let waiting = tokio::spawn({
        let (repository, ctx) = (repository.clone(), ctx.clone());
        async move { repository.lease(&ctx, PATIENT, Purpose::Prune).await.map(drop) }
    });
    while leases(&repository).await < 2 {
        sleep(Duration::from_millis(5)).await;
    }
    ctx.cancel();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(leases(&repository).await, 1);
    reading.end(Ok(())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_to_be_alone_each_is() {
    let (repository, inside) = (repository().await, Arc::new(AtomicU32::new(0)));
    let alone = (0..8).map(|i| {
        let (repository, inside) = (repository.clone(), Arc::clone(&inside));
        tokio::spawn(async move {
            let purpose = if i % 2 == 0 { Purpose::Prune } else { Purpose::Delete };
            let lease = repository.lease(&Ctx::new(), PATIENT, purpose).await.unwrap();
            assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
            sleep(Duration::from_millis(3)).await;
            inside.fetch_sub(1, Ordering::SeqCst);
            lease.end(Ok(())).await.unwrap();
        })
    });
    for done in join_all(alone).await {
        done.unwrap();
    }
    assert_eq!(leases(&repository).await, 0);
}

#[tokio::test]
async fn a_backup_whose_stale_lease_was_taken_over_commits_nothing() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let held = stopped(&repository, &backup()).await;
    // A shared one has no reason to take it over: it may only have slept.
    repository.lease(&ctx, LONG, Purpose::Verify).await.unwrap().end(Ok(())).await.unwrap();
    assert_eq!(leases(&repository).await, 1);
    let prune = repository.lease(&ctx, LONG, Purpose::Prune).await.unwrap();
    assert_eq!(held.renew().await.unwrap_err().kind(), ErrorKind::Locked);
    // Stopped behind its last look at the lease, it would go on with this.
    let error = repository.commit(&mut sample(), &NoCompression).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    // What is in its place is no backup.
    assert!(
        repository.listing(&ctx).await.is_ok_and(|all| all.headers.is_empty() && all.unreadable.is_empty())
    );
    assert_eq!(repository.manifest(&ctx, &id()).await.unwrap_err().kind(), ErrorKind::NotFound);
    prune.end(Ok(())).await.unwrap();
}

#[tokio::test]
async fn what_fails_because_the_lease_was_taken_over_says_so() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let held = stopped(&repository, &backup()).await;
    // As a write fails whose temporary file was removed.
    let gone = || Error::new(ErrorKind::NotFound, "gone");
    assert_eq!(held.or_lost(gone()).await.kind(), ErrorKind::NotFound);
    sleep(Duration::from_millis(20)).await;
    let prune = repository.lease(&ctx, LONG, Purpose::Prune).await.unwrap();
    assert_eq!(held.or_lost(gone()).await.kind(), ErrorKind::Locked);
    prune.end(Ok(())).await.unwrap();
}

#[tokio::test]
async fn a_backup_that_came_first_stays_though_its_lease_is_taken_over() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let _held = stopped(&repository, &backup()).await;
    repository.commit(&mut sample(), &NoCompression).await.unwrap();
    let prune = repository.lease(&ctx, LONG, Purpose::Prune).await.unwrap();
    assert_eq!(repository.headers(&ctx).await.unwrap().len(), 1);
    prune.end(Ok(())).await.unwrap();
}

#[tokio::test]
async fn a_taker_that_was_cut_off_is_finished_by_the_next() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let held = stopped(&repository, &backup()).await;
    change(&repository, held.holder(), |record| record.taken_by = Some("a taker".into())).await;
    sleep(Duration::from_millis(20)).await;
    repository.lease(&ctx, LONG, Purpose::Delete).await.unwrap().end(Ok(())).await.unwrap();
    assert!(repository.commit(&mut sample(), &NoCompression).await.is_err());
}

#[tokio::test]
async fn a_lease_that_is_taken_away_stops_the_operation_and_that_is_what_it_says() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let terms = Terms { length: Duration::from_millis(200), wait: Duration::ZERO };
    let lease = repository.lease(&ctx, terms, backup()).await.unwrap();
    let removed = repository.unlock(LONG, |_| true).await.unwrap();
    assert!(removed.len() == 1 && removed[0].removed && removed[0].backup == Some(id()), "{removed:?}");
    lease.ctx().cancelled().await;
    assert!(!ctx.is_cancelled());
    assert!(lease.check().await.is_err());
    let committed = lease.commit(&repository, &mut sample(), &NoCompression).await;
    assert_eq!(committed.unwrap_err().kind(), ErrorKind::Locked);
    let error = lease.end(Err::<(), _>(Error::cancelled())).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Locked && error.to_string().contains("took it over"), "{error}");
    assert!(repository.headers(&ctx).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_lease_is_renewed_as_long_as_it_is_held() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let terms = Terms { length: Duration::from_millis(400), wait: Duration::ZERO };
    let lease = repository.lease(&ctx, terms, backup()).await.unwrap();
    let first = repository.holders().await.unwrap()[0].modified;
    while repository.holders().await.unwrap()[0].modified - first < chrono::Duration::milliseconds(900) {
        sleep(Duration::from_millis(20)).await;
    }
    lease.commit(&repository, &mut sample(), &NoCompression).await.unwrap();
    lease.end(Ok(())).await.unwrap();
    assert_eq!(repository.headers(&ctx).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_lease_of_an_ended_process_or_of_a_number_used_again_is_taken_over_at_once() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    for reused in [false, true] {
        let (held, _) = Held::create(repository.storage(), LONG.length, &Purpose::Prune).await.unwrap();
        change(&repository, held.holder(), |record| {
            if reused {
                record.process.start = record.process.start.map(|start| start + 1);
            } else {
                record.process.pid = child.id();
            }
        })
        .await;
        repository.lease(&ctx, LONG, backup()).await.unwrap().end(Ok(())).await.unwrap();
        assert_eq!(leases(&repository).await, 0);
    }
}

#[tokio::test]
async fn an_exclusive_lease_of_a_stopped_process_never_goes_stale() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let mut child = Command::new("sleep").arg("600").spawn().unwrap();
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
    };
    let (held, _) = Held::create(repository.storage(), SHORT, &Purpose::Prune).await.unwrap();
    change(&repository, held.holder(), |record| record.process = Process::of(child.id())).await;
    signal("-STOP");
    while !Process::of(child.id()).is_stopped() {
        sleep(Duration::from_millis(5)).await;
    }
    sleep(Duration::from_millis(20)).await;
    // It may have been stopped between two deletions.
    assert_eq!(repository.lease(&ctx, LONG, backup()).await.unwrap_err().kind(), ErrorKind::Locked);
    assert!(repository.unlock(LONG, |good| !good).await.unwrap().iter().all(|lease| !lease.removed));
    signal("-CONT");
    while Process::of(child.id()).is_stopped() {
        sleep(Duration::from_millis(5)).await;
    }
    repository.lease(&ctx, LONG, backup()).await.unwrap().end(Ok(())).await.unwrap();
    assert_eq!(leases(&repository).await, 0);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn an_exclusive_lease_of_another_host_goes_stale() {
    let (repository, ctx) = (repository().await, Ctx::new());
    stopped(&repository, &Purpose::Prune).await;
    repository.lease(&ctx, LONG, backup()).await.unwrap().end(Ok(())).await.unwrap();
    assert_eq!(leases(&repository).await, 0);
}

#[tokio::test]
async fn what_cannot_be_understood_keeps_everybody_out_until_it_is_unlocked() {
    let (repository, ctx) = (repository().await, Ctx::new());
    for json in ["", "{}", "[1]", "{\"lifeboat\":9}", "\0"] {
        let key = "locks/a".parse().unwrap();
        repository.storage().put(&key, json.into(), PutMode::Overwrite).await.unwrap();
        assert_eq!(repository.lease(&ctx, LONG, backup()).await.unwrap_err().kind(), ErrorKind::Locked);
        assert!(repository.unlock(LONG, |_| true).await.unwrap()[0].removed);
        repository.lease(&ctx, LONG, backup()).await.unwrap().end(Ok(())).await.unwrap();
    }
}

#[tokio::test]
async fn no_flipped_byte_of_a_lease_makes_another_lease_of_it() {
    let (repository, ctx) = (repository().await, Ctx::new());
    let held = stopped(&repository, &backup()).await;
    let key = Key::new(["locks", held.holder()]).unwrap();
    let whole = repository.storage().get(&key, None).await.unwrap();
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1 << bit;
            assert!(LeaseRecord::parse(&flipped).is_none(), "bit {bit} of byte {at}");
        }
        assert!(LeaseRecord::parse(&whole[..at]).is_none(), "cut at {at}");
    }
    // It keeps everybody out, who had been let in beside the whole one; and until it is stale.
    let mut flipped = whole.to_vec();
    flipped[whole.len() / 2] ^= 1;
    repository.storage().put(&key, flipped.into(), PutMode::Overwrite).await.unwrap();
    assert_eq!(repository.lease(&ctx, LONG, backup()).await.unwrap_err().kind(), ErrorKind::Locked);
}

#[tokio::test]
async fn a_backup_that_must_not_be_committed_any_more_is_none() {
    let repository = repository().await;
    let purpose = backup();
    let Purpose::Backup(id) = &purpose else { panic!("{purpose:?}") };
    assert!(!repository.has(id).await.unwrap() && !repository.is_void(id).await.unwrap());
    stopped(&repository, &purpose).await;
    assert!(repository.unlock(LONG, |_| true).await.unwrap()[0].removed);
    assert!(repository.is_void(id).await.unwrap(), "it was taken over, and may be committed all the same");
    assert!(!repository.has(id).await.unwrap(), "what stands in its place counts as a backup");
}

#[tokio::test]
async fn reading_goes_on_without_a_lease_where_nothing_can_be_written_and_writing_does_not() {
    #[derive(Debug)]
    struct ReadOnly(MemoryStorage);

    #[async_trait::async_trait]
    impl Storage for ReadOnly {
        async fn put(&self, _: &Key, _: Bytes, _: PutMode) -> Result<ObjectMeta> {
            Err(Error::new(ErrorKind::PermissionDenied, "read-only"))
        }
        async fn writer(&self, key: &Key) -> Result<Box<dyn ObjectWriter>> {
            self.0.writer(key).await
        }
        async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
            self.0.get(key, range).await
        }
        async fn head(&self, key: &Key) -> Result<Option<ObjectMeta>> {
            self.0.head(key).await
        }
        fn list(&self, prefix: &Key) -> BoxStream<'_, Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn delete(&self, key: &Key) -> Result<()> {
            self.0.delete(key).await
        }
    }

    let (memory, ctx) = (MemoryStorage::new(), Ctx::new());
    Repository::init(Arc::new(memory.clone()), None, &[]).await.unwrap();
    let repository = Repository::open(Arc::new(ReadOnly(memory)), &super::Keys::default()).await.unwrap();
    for purpose in [Purpose::Restore, Purpose::Verify, Purpose::Export] {
        repository.lease(&ctx, LONG, purpose).await.unwrap().end(Ok(())).await.unwrap();
    }
    for purpose in [backup(), Purpose::Delete, Purpose::Prune] {
        let error = repository.lease(&ctx, LONG, purpose).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    }
}
