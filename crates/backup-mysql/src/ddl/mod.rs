//! SQL: quoting, and understanding what the server prints of itself.

pub(crate) mod create;
mod item;
pub(crate) mod json;
pub(crate) mod lex;
pub(crate) mod program;
pub(crate) mod quote;
pub(crate) mod raw;
pub(crate) mod routine;
pub(crate) mod script;
pub(crate) mod translate;
pub(crate) mod trigger;
pub(crate) mod value;
pub(crate) mod view;

/// The session that tables and rows need: zeros are values, dates may be invalid, and a table whose engine is missing is an error, but not an
/// option that its engine does not know, which MariaDB keeps; MySQL lets foreign keys refer to keys that are not unique. The first has to be said alone: the session may be one of UTF-16, and a
/// time zone has to be ASCII.
pub(crate) const PLAIN: [&str; 2] = [
    "SET NAMES utf8mb4",
    "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION' /*M!100000 ',IGNORE_BAD_TABLE_OPTIONS' */, \
     time_zone = '+00:00', timestamp = DEFAULT /*!80400 , restrict_fk_on_non_standard_key = OFF */",
];

/// The modes of the sessions that read. Without the one, MariaDB prints the options that an engine does not know as comments.
pub(crate) const READING: &str = "SET SESSION sql_mode = '' /*M!100000 'IGNORE_BAD_TABLE_OPTIONS' */";

/// And what is computed of unsigned numbers may be below zero.
pub(crate) const SUBTRACTING: &str =
    "SET SESSION sql_mode = CONCAT(@@SESSION.sql_mode, ',NO_UNSIGNED_SUBTRACTION')";

/// The time zone of all that is read and written, but rows whose table wants another.
pub(crate) const UTC: &str = "+00:00";

/// Gives a session a time zone.
pub(crate) fn in_zone(zone: &str) -> String {
    format!("SET SESSION time_zone = {}", quote::text(zone))
}

/// MySQL encrypts the tables that are made in the database of the session, unless they say otherwise.
pub(crate) const ENCRYPTED: &str = "ALTER DATABASE DEFAULT ENCRYPTION = 'Y'";

/// Nothing of the database of the session may be changed any more.
pub(crate) const READ_ONLY: &str = "ALTER DATABASE READ ONLY = 1";

/// Brings a session that prints views back to UTF-8, whatever it gets texts in.
pub(crate) const UTF8: &str =
    "SET SESSION character_set_client = utf8mb4, character_set_connection = utf8mb4";
