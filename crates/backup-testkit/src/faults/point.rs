//! The calls of a program by what they do, for trials of one that leaves something behind each time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use backup_core::storage::Key;
use backup_core::{Error, ErrorKind, Result};

use super::{Call, Fault};

/// A call of a program: the `n`-th (from 1) of one kind in one folder.
///
/// The number of a call among all calls says less: what failed runs left, leases or void manifests, is read by the next run, whose later
/// calls then have other numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Its kind.
    pub call: Call,
    /// The first word of its key.
    pub folder: String,
    /// How many there were of these, this one included.
    pub n: u64,
}

impl Point {
    pub(super) fn all(calls: &[(Call, Key)]) -> Vec<Self> {
        let mut counts: BTreeMap<(Call, &str), u64> = BTreeMap::new();
        let points = calls.iter().map(|(call, key)| {
            let n = counts.entry((*call, folder(key))).or_default();
            *n += 1;
            Self { call: *call, folder: folder(key).to_owned(), n: *n }
        });
        points.collect()
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} of {:?}", self.call, self.n, self.folder)
    }
}

fn folder(key: &Key) -> &str {
    key.as_str().split('/').next().unwrap_or_default()
}

/// Fails one call of a program, and every later one of any kind: a disk that is full, or gone, stays so.
#[derive(Debug)]
pub struct FailAt {
    point: Point,
    kind: ErrorKind,
    left: AtomicU64,
    failed: AtomicBool,
}

impl FailAt {
    /// Fails from `point` on, with an error of `kind`.
    pub fn new(point: &Point, kind: ErrorKind) -> Self {
        Self { point: point.clone(), kind, left: AtomicU64::new(point.n), failed: AtomicBool::new(false) }
    }

    /// Whether it has failed anything: a test of what a failure does has to reach one.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Fault for FailAt {
    async fn before(&self, call: Call, key: &Key) -> Result<()> {
        let here = call == self.point.call && folder(key) == self.point.folder;
        if here && self.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.failed.store(true, Ordering::SeqCst);
        }
        if self.has_failed() {
            return Err(Error::new(self.kind, format!("{call:?} of {key} fails on purpose")));
        }
        Ok(())
    }
}
