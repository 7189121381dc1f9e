//! The core of lifeboat.

pub mod codec;
mod error;
pub mod rows;

pub use error::{During, Error, ErrorKind, Result};
