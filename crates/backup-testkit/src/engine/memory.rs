//! Memory is bounded by the number of jobs, not by the database.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use backup_core::storage::{LocalStorage, Storage};
use backup_core::{Ctx, Event, Progress};

use super::content::rows;
use super::repository::Repository;
use super::{EngineFixture, Table};
use crate::alone::{forget_peak, peak_memory};
use crate::faults::{Call, Faulty, Slow};

/// How far the reader is ahead of the repository, in bytes, and was at most.
#[derive(Default)]
struct Ahead {
    now: AtomicI64,
    most: AtomicI64,
    read: AtomicI64,
}

impl Progress for Ahead {
    fn event(&self, event: Event<'_>) {
        let change = match event {
            Event::Advanced { bytes, .. } => {
                self.read.fetch_add(bytes as i64, Ordering::SeqCst);
                bytes as i64
            }
            Event::ChunkStored { raw, .. } => -(raw as i64),
            _ => return,
        };
        let now = self.now.fetch_add(change, Ordering::SeqCst) + change;
        self.most.fetch_max(now, Ordering::SeqCst);
    }
}

/// The size of the sample.
const DATABASE: i64 = 160 << 20;
/// One job holds chunks of at most 4 MiB: one that is filled, two on their way, two that are stored; and what an event is late.
const AHEAD: i64 = 24 << 20;
/// The same once more encoded and once decoded to prove it, and what a program needs.
const MEMORY: u64 = 128 << 20;

/// Reads a database much larger than what may be held, into a repository that takes its time. Runs alone in a process
/// (see [`crate::alone`]), since what is measured is the process.
pub async fn memory_is_bounded_while_the_sink_is_slow(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    fixture.table(&source, Table::keyed("large")).await;
    let batch = 256;
    for start in (0..DATABASE / 4096).step_by(batch) {
        fixture.insert(&source, "large", &rows(start..start + batch as i64, 4096)).await;
    }
    let directory = tempfile::tempdir().expect("a scratch directory");
    let local: Arc<dyn Storage> = Arc::new(LocalStorage::open(directory.path()).expect("it opens"));
    let slow = Faulty::around(local, Arc::new(Slow::new(&[Call::Put], Duration::from_millis(120))));
    let ahead = Arc::new(Ahead::default());
    let repository = Repository::new(fixture)
        .jobs(1)
        .unverified()
        .behind(slow)
        .under(Ctx::new().with_progress(ahead.clone()));
    let before = forget_peak();
    repository.backup(&source).await;
    let (most, read) = (ahead.most.load(Ordering::SeqCst), ahead.read.load(Ordering::SeqCst));
    assert!(read > DATABASE * 3 / 4, "only {read} bytes were said to be read");
    assert!(most < AHEAD, "the reader was {} MiB ahead of the repository", most >> 20);
    if let Some((before, peak)) = before.zip(peak_memory()) {
        let grown = peak.saturating_sub(before);
        eprintln!(
            "{} MiB ahead, {} MiB of memory beyond the {} MiB before",
            most >> 20,
            grown >> 20,
            before >> 20
        );
        assert!(grown < MEMORY, "a backup took {} MiB of memory", grown >> 20);
    }
}
