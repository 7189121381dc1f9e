//! What every engine, storage and codec of lifeboat promises, as tests: one case for each promise, named after it.
//!
//! Ours and everybody's go through the same suites: [`engine_conformance!`], [`log_conformance!`],
//! [`storage_conformance!`], [`codec_conformance!`]. Each expands to one `#[test]` per case; each case is a public async function, so
//! that one alone can be run, or run in another way. [`faults`] holds the storage wrappers that the suites use.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a failed promise is a panic")]
#![allow(clippy::large_futures, reason = "a case runs once")]

pub mod alone;
pub mod codec;
pub mod engine;
pub mod fake;
pub mod faults;
pub mod log;
pub mod proxy;
pub mod storage;

use std::future::Future;

/// Runs one case on a runtime of its own, with several threads as programs have them.
///
/// The macros call it, so a crate that uses them needs no runtime in its Cargo.toml.
pub fn run(case: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts")
        .block_on(case);
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
