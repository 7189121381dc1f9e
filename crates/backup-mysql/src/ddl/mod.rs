//! SQL: quoting, and understanding what the server prints of itself.

pub(crate) mod create;
pub(crate) mod lex;
pub(crate) mod quote;
pub(crate) mod raw;
pub(crate) mod script;
pub(crate) mod value;
pub(crate) mod view;
