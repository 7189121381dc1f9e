//! Rows out of tables and into tables.

pub(crate) mod fields;
mod inexact;
pub(crate) mod load;
mod members;
pub(crate) mod read;
pub(crate) mod text;
