//! The toy keeps every promise that an engine makes, and so does the core that drives it.

#![allow(clippy::unwrap_used, reason = "a fixture that fails is a panic")]

mod kv;

backup_testkit::engine_conformance!(kv::KvFixture::of(&example_engine::ENGINE));
