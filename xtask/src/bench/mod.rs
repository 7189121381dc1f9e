//! `cargo xtask bench`: figures, side by side with the peer, in alternating runs.

pub(crate) mod blocks;
mod measure;
pub(crate) mod repository;
pub(crate) mod sqlite;
