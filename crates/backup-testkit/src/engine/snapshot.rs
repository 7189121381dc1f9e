//! One moment, the same every time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use backup_core::{BackupRequest, Ctx, DatabaseUrl, Engine, ErrorKind, Event, Part, PartId, Progress};

use super::content::rows;
use super::repository::{Repository, assert_same, folder, told};
use super::{EngineFixture, Table};
use crate::faults::{Call, Faulty, Slow, keys};

fn engine(fixture: &dyn EngineFixture, url: &DatabaseUrl) -> Arc<dyn Engine> {
    (fixture.factory().from_url)(url).expect("the engine takes the fixture's URL")
}

async fn plan(fixture: &dyn EngineFixture, url: &DatabaseUrl, jobs: usize) -> Vec<Part> {
    let ctx = Ctx::new();
    let session = engine(fixture, url).begin_backup(&ctx, BackupRequest::new(jobs)).await.expect("a session");
    let plan = session.plan(&ctx).await.expect("a plan");
    drop(session);
    plan
}

/// Several tables, of which one fills several chunks.
async fn bulk(fixture: &dyn EngineFixture) -> DatabaseUrl {
    let url = fixture.empty().await;
    fixture.everything(&url).await;
    for name in ["small one", "small two", "large"] {
        fixture.table(&url, Table::keyed(name)).await;
    }
    fixture.insert(&url, "small one", &rows(0..50, 100)).await;
    fixture.insert(&url, "small two", &rows(0..50, 100)).await;
    for start in (0..12_000).step_by(500) {
        fixture.insert(&url, "large", &rows(start..start + 500, 1000)).await;
    }
    url
}

/// Ids, order, bounds and hints.
pub async fn a_plan_is_the_same_whatever_the_jobs(fixture: &dyn EngineFixture) {
    let url = bulk(fixture).await;
    let first = plan(fixture, &url, 1).await;
    assert!(!first.is_empty(), "the plan of a database with tables is empty");
    for jobs in [1, 2, 8] {
        assert_eq!(first, plan(fixture, &url, jobs).await, "with {jobs} jobs");
    }
}

/// Parts come behind those that they are after.
pub async fn a_plan_can_be_restored_in_its_order(fixture: &dyn EngineFixture) {
    let url = bulk(fixture).await;
    fixture.cycle(&url).await;
    let mut before: Vec<PartId> = Vec::new();
    for part in plan(fixture, &url, 2).await {
        let missing = part.after.iter().find(|id| !before.contains(id));
        assert_eq!(missing, None, "{} (part {}) comes before it", part.object, part.id);
        assert!(!before.contains(&part.id), "there are two parts {}", part.id);
        before.push(part.id);
    }
}

/// The same bytes in the same bundles: what did not change is not stored again, however many workers there are.
pub async fn chunk_ids_are_the_same_whatever_the_jobs(fixture: &dyn EngineFixture) {
    let url = bulk(fixture).await;
    let mut repository = Repository::new(fixture).jobs(1);
    repository.backup(&url).await;
    let stored = |storage: &Arc<dyn backup_core::storage::Storage>| {
        let storage = Arc::clone(storage);
        async move {
            let mut all = keys(&*storage, &folder("chunks")).await;
            all.append(&mut keys(&*storage, &folder("lists")).await);
            all
        }
    };
    let first = stored(&repository.storage).await;
    assert!(first.len() > 4, "there are too few chunks to compare: {first:?}");
    for jobs in [1, 8, 3] {
        repository = repository.jobs(jobs);
        let again = repository.backup(&url).await;
        let now = stored(&repository.storage).await;
        assert_eq!(first, now, "a backup with {jobs} jobs stored other chunks than one with one job");
        assert_eq!(again.new_size, 0, "a backup with {jobs} jobs of an unchanged database stored something");
    }
}

/// Tells when the rows are being read.
#[derive(Default)]
struct Dumping(AtomicBool);

impl Progress for Dumping {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Advanced { .. } => self.0.store(true, Ordering::SeqCst),
            Event::Stage(_) => self.0.store(false, Ordering::SeqCst),
            _ => {}
        }
    }
}

/// Money moves between rows far apart and between tables all the while, and is never lost or made: a backup that
/// read anything at two moments would have another balance.
pub async fn every_backup_under_writes_has_the_same_balance(fixture: &dyn EngineFixture) {
    const ROWS: i64 = 3000;
    const TABLES: [&str; 2] = ["accounts", "zz savings"];
    let source = fixture.empty().await;
    for table in TABLES {
        fixture.table(&source, Table::keyed(table)).await;
        for start in (0..ROWS).step_by(500) {
            fixture.insert(&source, table, &rows(start..start + 500, 2000)).await;
        }
    }
    let balance = |url: DatabaseUrl| async move {
        fixture.total(&url, TABLES[0]).await + fixture.total(&url, TABLES[1]).await
    };
    let expected = balance(source.clone()).await;
    assert_eq!(expected, 2 * 100 * ROWS, "the fixture's own sum");
    let inner = Repository::new(fixture).unverified();
    // A slow sink keeps the reader from being through before anything happens.
    let slow = Faulty::around(
        Arc::clone(&inner.storage),
        Arc::new(Slow::new(&[Call::Put], Duration::from_millis(150))),
    );
    let dumping = Arc::new(Dumping::default());
    let repository = inner.behind(slow).under(Ctx::new().with_progress(dumping.clone()));
    let capabilities = engine(fixture, &source).probe(&Ctx::new()).await.expect("it answers").capabilities;
    let (done, moved) = (AtomicBool::new(false), AtomicU32::new(0));
    let move_money = async {
        for i in 0.. {
            if done.load(Ordering::SeqCst) {
                break;
            }
            let reading = dumping.0.load(Ordering::SeqCst);
            // From the rows that are read first to those that are read last, and now and then back.
            let (first, last) = ((TABLES[0], i % 50), (TABLES[1], ROWS - 1 - i % 50));
            let near = (TABLES[0], ROWS - 1 - i % 50);
            let (from, to) = match i % 4 {
                0 | 1 => (first, last),
                2 => (first, near),
                _ => (last, first),
            };
            if fixture.transfer(&source, from, to, 1 + i % 7).await && reading {
                moved.fetch_add(1, Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let back_up = async {
        let mut backups = Vec::new();
        for _ in 0..3 {
            let backup = repository.manager().backup(&source).await;
            backups.push(backup.unwrap_or_else(|error| panic!("no backup: {}", told(&error))));
        }
        done.store(true, Ordering::SeqCst);
        backups
    };
    let ((), backups) = tokio::join!(move_money, back_up);
    let moved = moved.into_inner();
    if capabilities.concurrent_writers {
        assert!(moved > 0, "writers go on while a backup reads, it says, but none did");
    }
    assert_eq!(balance(source.clone()).await, expected, "the fixture's transfers lose money");
    for backup in backups {
        let target = fixture.empty().await;
        inner.restore(&backup, &target).await;
        assert_eq!(balance(target).await, expected, "a backup read more than one moment ({moved} transfers)");
    }
}

/// Not an empty backup, not a new database.
pub async fn a_missing_database_is_an_error(fixture: &dyn EngineFixture) {
    let place = fixture.empty().await;
    let missing = fixture.renamed(&place, "missing");
    let before = fixture.traces(&missing).await;
    let repository = Repository::new(fixture);
    let error = repository.manager().backup(&missing).await.expect_err("there is nothing to back up");
    assert!(matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Connect), "{error}");
    assert_eq!(before, fixture.traces(&missing).await, "looking for a database made something");
    assert_eq!(repository.listed().await, 0);
}

/// A backup is a reader.
pub async fn a_backup_changes_nothing_at_its_source(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    fixture.everything(&source).await;
    let (dump, traces) = (fixture.dump(&source).await, fixture.traces(&source).await);
    Repository::new(fixture).backup(&source).await;
    assert_same(&dump, &fixture.dump(&source).await, "the source after its backup");
    assert_eq!(traces, fixture.traces(&source).await, "a backup left something at its source");
}
