//! What is in a database, and the parts that it is backed up as.

pub(crate) mod accounts;
pub(crate) mod below_zero;
pub(crate) mod column;
pub(crate) mod context;
pub(crate) mod empty;
mod expression;
pub(crate) mod histograms;
mod inserts;
pub(crate) mod library;
mod misplaced;
pub(crate) mod momentary;
pub(crate) mod objects;
mod order;
pub(crate) mod parameters;
pub(crate) mod plan;
pub(crate) mod readable;
pub(crate) mod reference;
mod scale;
pub(crate) mod size;
pub(crate) mod spec;
pub(crate) mod split;
pub(crate) mod stand_in;
pub(crate) mod statistics;
pub(crate) mod table;
pub(crate) mod trigger;
pub(crate) mod uncounted;
mod undoubled;
mod visible;
pub(crate) mod want;
pub(crate) mod word;
mod zone;

use backup_core::{Ctx, Error, Result};

use crate::connect::{Connection, Row};
use crate::ddl::quote::identifier;
use crate::error::malformed;

/// The databases of the server's own, which are nobody's to back up or to restore into.
const OF_THE_SERVER: [&str; 4] = ["information_schema", "performance_schema", "mysql", "sys"];

pub(crate) fn is_of_the_server(database: &str) -> bool {
    OF_THE_SERVER.iter().any(|name| database.eq_ignore_ascii_case(name))
}

/// The statement that makes a table.
pub(crate) async fn create_table(ctx: &Ctx, connection: &mut Connection, table: &str) -> Result<String> {
    to_text(shown_table(ctx, connection, table).await?)
}

/// The same as the server prints it: a text of another character set in it may be no UTF-8.
pub(crate) async fn shown_table(ctx: &Ctx, connection: &mut Connection, table: &str) -> Result<Vec<u8>> {
    let row = connection.row(ctx, &format!("SHOW CREATE TABLE {}", identifier(table))).await?;
    let sql = row.into_iter().nth(1).flatten();
    let sql = sql.ok_or_else(|| malformed("a definition of a table without its text"))?;
    undoubled::doubled(ctx, connection, table, sql).await
}

fn to_text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        Error::unsupported("the server names something in bytes that are no UTF-8").because(error)
    })
}

/// Reads the fields of a row of metadata one after the other.
pub(crate) struct Reading(std::vec::IntoIter<Option<Vec<u8>>>);

impl Reading {
    pub(crate) fn new(row: Row) -> Self {
        Self(row.into_iter())
    }

    /// The next field, which may be NULL.
    pub(crate) fn maybe(&mut self) -> Result<Option<String>> {
        let field = self.0.next().ok_or_else(|| malformed("a row with too few fields"))?;
        field.map(to_text).transpose()
    }

    /// The next field.
    pub(crate) fn text(&mut self) -> Result<String> {
        self.maybe()?.ok_or_else(|| malformed("NULL where there must be a value"))
    }

    /// The next field, a number.
    pub(crate) fn number(&mut self) -> Result<u64> {
        self.text()?.parse().map_err(|_| malformed("no number where there must be one"))
    }
}
