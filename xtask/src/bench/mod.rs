//! `cargo xtask bench`: figures, side by side with the peer, in alternating runs.

pub(crate) mod blocks;
mod measure;
mod mix;
pub(crate) mod mysql;
pub(crate) mod postgres;
pub(crate) mod repository;
mod runs;
pub(crate) mod sqlite;
