//! How things are said in SQL.

pub(crate) mod float;
pub(crate) mod literal;
pub(crate) mod quote;
pub(crate) mod script;
