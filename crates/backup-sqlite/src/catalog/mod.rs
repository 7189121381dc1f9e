//! What is in a database, and the parts that it is backed up as.

pub(crate) mod plan;
pub(crate) mod schema;
pub(crate) mod settings;
pub(crate) mod size;
pub(crate) mod split;
pub(crate) mod table;
