//! Rows out of tables and into tables.

mod batch;
pub(crate) mod fields;
mod inexact;
pub(crate) mod length;
pub(crate) mod load;
mod members;
pub(crate) mod read;
pub(crate) mod said;
pub(crate) mod text;
