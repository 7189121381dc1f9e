//! The core of lifeboat.

pub mod block;
pub mod codec;
mod error;
pub mod rows;

pub use error::{During, Error, ErrorKind, Result};
