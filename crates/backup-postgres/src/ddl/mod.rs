//! SQL: quoting, privileges, and the script for psql.

pub(crate) mod acl;
pub(crate) mod create;
pub(crate) mod quote;
pub(crate) mod script;
