//! A process that dies, without a last word, before any call to its storage or its database: with the log read and not stored,
//! stored and not committed, committed and not confirmed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backup_core::storage::{Key, LocalStorage, Storage};
use backup_core::{
    BackupConfig, BackupInfo, BackupManager, BackupOptions, BackupRef, BackupRequest, BackupSession,
    BackupType, Ctx, DatabaseUrl, Engine, EngineFactory, Format, LogPoint, LogSegment, LogSession, Part,
    PartWriter, Position, Registry, RestoreOptions, RestoreRequest, RestoreSession, Result, ServerInfo,
    async_trait,
};
use backup_testkit::fake::{self, Change, FakeDatabase};
use backup_testkit::faults::{Call, Fault, Faulty};

/// Where the process that is to die works, and before which call it dies.
const PLACE: &str = "LIFEBOAT_TESTKIT_PLACE";
const DIES_AT: &str = "LIFEBOAT_TESTKIT_DIES_AT";

static CALLS_LEFT: AtomicU64 = AtomicU64::new(u64::MAX);

/// One call: the last one is never made.
fn call() {
    if CALLS_LEFT.fetch_sub(1, Ordering::SeqCst) == 1 {
        std::process::abort();
    }
}

#[derive(Debug)]
struct Dies;

#[async_trait]
impl Fault for Dies {
    async fn before(&self, _call: Call, _key: &Key) -> Result<()> {
        call();
        Ok(())
    }
}

static DYING: EngineFactory = EngineFactory::new("fake", &["fake"], "fake:shop.fake", |url| {
    Ok(Arc::new(DyingEngine((fake::ENGINE.from_url)(url)?)))
});

#[derive(Debug)]
struct DyingEngine(Arc<dyn Engine>);

#[async_trait]
impl Engine for DyingEngine {
    async fn probe(&self, ctx: &Ctx) -> Result<ServerInfo> {
        call();
        self.0.probe(ctx).await
    }

    async fn begin_backup(&self, ctx: &Ctx, request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        self.0.begin_backup(ctx, request).await
    }

    async fn begin_restore(
        &self,
        ctx: &Ctx,
        request: RestoreRequest,
        parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>> {
        self.0.begin_restore(ctx, request, parts).await
    }

    async fn open_log(&self, ctx: &Ctx, from: &Position) -> Result<Box<dyn LogSession>> {
        call();
        Ok(Box::new(DyingLog(self.0.open_log(ctx, from).await?)))
    }
}

struct DyingLog(Box<dyn LogSession>);

#[async_trait]
impl LogSession for DyingLog {
    fn end(&self) -> &LogPoint {
        self.0.end()
    }

    async fn next(&mut self, ctx: &Ctx, out: &mut PartWriter) -> Result<Option<LogSegment>> {
        call();
        let segment = self.0.next(ctx, out).await;
        call();
        segment
    }

    async fn confirm(&mut self, ctx: &Ctx, durable: &Position) -> Result<()> {
        call();
        let confirmed = self.0.confirm(ctx, durable).await;
        call();
        confirmed
    }
}

fn url(place: &Path, name: &str) -> DatabaseUrl {
    format!("fake:{}", place.join(name).display()).parse().unwrap()
}

fn manager(place: &Path, factory: &'static EngineFactory, dies: bool) -> BackupManager {
    let mut config = BackupConfig::default();
    config.format = Format::Binary;
    config.jobs = 1;
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::create(&place.join("backups")).unwrap());
    let storage = if dies { Faulty::around(storage, Arc::new(Dies)) } else { storage };
    BackupManager::new(config).with_registry(Registry::new().with(factory)).with_storage(storage)
}

async fn back_up(manager: &BackupManager, place: &Path, n: u64) -> Result<BackupInfo> {
    let mut options = BackupOptions::default();
    options.backup_type = if n % 3 == 2 { BackupType::Differential } else { BackupType::Incremental };
    manager.backup_with(&url(place, "shop.fake"), options).await
}

/// Backs up in a process of its own, which dies before its `n`-th call.
fn back_up_and_die(place: &Path, n: u64) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["a_backup_of_the_log_that_dies_anywhere_leaves_no_hole", "--exact", "--nocapture"])
        .env(PLACE, place)
        .env(DIES_AT, n.to_string())
        .output()
        .unwrap()
        .status
}

fn behind(position: &Option<Position>) -> u64 {
    position.as_ref().unwrap().0.as_str().unwrap().rsplit_once('/').unwrap().1.parse().unwrap()
}

fn once(place: &Path, n: u64) -> Option<usize> {
    let mut died = None;
    backup_testkit::run(async { died = dies_once(place, n).await });
    died
}

#[test]
fn a_backup_of_the_log_that_dies_anywhere_leaves_no_hole() {
    if let Some(place) = std::env::var_os(PLACE) {
        let n: u64 = std::env::var(DIES_AT).unwrap().parse().unwrap();
        let place = PathBuf::from(place);
        CALLS_LEFT.store(n, Ordering::SeqCst);
        backup_testkit::run(async {
            drop(back_up(&manager(&place, &DYING, true), &place, n).await.unwrap())
        });
        return;
    }
    let (mut deaths, mut committed) = (0, 0);
    for n in 1.. {
        let scratch = tempfile::tempdir().unwrap();
        match once(scratch.path(), n) {
            Some(new) => (deaths, committed) = (deaths + 1, committed + new),
            None => break,
        }
    }
    println!(
        "{deaths} deaths, {committed} of them behind the commit; none left a hole, or replayed anything twice"
    );
    assert!(deaths > 20 && committed > 2, "{deaths} deaths, {committed} behind the commit");
}

/// Dies before the `n`-th call of the second backup of a log, and runs it again. Returns how many backups were left by the
/// one that died; `None` if it makes fewer calls.
async fn dies_once(place: &Path, n: u64) -> Option<usize> {
    let database = FakeDatabase::at(place.join("shop.fake"));
    let change = |n: i64| database.commit(vec![Change::Insert("account".into(), (n, 0, None))]).unwrap();
    database.create().unwrap();
    database.commit(vec![Change::Table("account".into(), vec!["id".into()])]).unwrap();
    let manager = manager(place, &fake::ENGINE, false);
    manager.backup(&url(place, "shop.fake")).await.unwrap();
    (0..6).for_each(change);
    back_up(&manager, place, 0).await.unwrap();
    (6..12).for_each(change);
    let before = manager.list_backups().await.unwrap();
    let status = back_up_and_die(place, n);
    let after = manager.list_backups().await.unwrap();
    assert!(manager.unreadable_backups().await.unwrap().is_empty(), "call {n}");
    // The server has forgotten nothing that is not in a backup.
    let newest = after.last().unwrap();
    assert!(database.forgotten().unwrap() <= behind(&newest.position), "call {n}");
    if status.success() {
        assert_eq!(after.len(), before.len() + 1);
        return None;
    }
    assert_eq!(status.code(), None, "call {n}: it failed, and was to die");
    // A rerun continues, also behind one that was committed and not confirmed.
    change(12);
    let again = back_up(&manager, place, n).await.unwrap_or_else(|error| panic!("call {n}: {error}"));
    assert_eq!(again.base, Some(after[0].id.clone()), "call {n}: a chain of its own");
    let mut options = RestoreOptions::default();
    options.create_database = true;
    let restored = manager.restore(&BackupRef::Latest, &url(place, "copy.fake"), options).await;
    restored.unwrap_or_else(|error| panic!("call {n}: {error}"));
    let copy = FakeDatabase::at(place.join("copy.fake")).tables().unwrap();
    assert!(copy == database.tables().unwrap(), "call {n}: the copy is another database");
    Some(after.len() - before.len())
}
