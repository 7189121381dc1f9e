//! What every engine, storage and codec of lifeboat promises, as tests: one case for each promise, named after it.
//!
//! Ours and everybody's go through the same suites: [`engine_conformance!`], [`log_conformance!`],
//! [`storage_conformance!`], [`codec_conformance!`]. Each expands to one `#[test]` per case; each case is a public async function, so
//! that one alone can be run, or run in another way. [`faults`] holds the storage wrappers that the suites use.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failed promise is a panic")]
#![allow(clippy::large_futures, reason = "a case runs once")]

pub mod alone;
pub mod chance;
pub mod codec;
pub mod engine;
pub mod fake;
pub mod faults;
pub mod log;
pub mod proxy;
pub mod storage;
pub mod told;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

/// A case that takes longer hangs. The slowest takes two minutes on two busy cores.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Runs one case on a runtime of its own, with several threads as programs have them. One that hangs fails.
///
/// The macros call it, so a crate that uses them needs no runtime in its Cargo.toml.
pub fn run(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    let ended = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            tokio::time::timeout(LONGEST, case).await.expect("it hangs");
        });
    }));
    // Not dropped: that waits for threads that hang, and nobody would see what failed.
    runtime.shutdown_timeout(Duration::from_secs(60));
    ended.unwrap_or_else(|panic| resume_unwind(panic));
}

/// Expands to one test for each case of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! cases {
    ($fixture:expr, $suite:ident, $($case:ident)*) => {$(
        #[test]
        fn $case() {
            $crate::run(async {
                let fixture = $fixture;
                $crate::$suite::$case(&fixture).await;
            });
        }
    )*};
}
