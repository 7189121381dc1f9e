//! The fake engine keeps every promise of an engine with a log, and so does the core that drives it.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a fixture that fails is a panic")]

mod fakes;

backup_testkit::log_conformance!(fakes::FakeFixture::of(&backup_testkit::fake::ENGINE));
