//! Connections that keep tables from being altered until the backup ends.
//!
//! Who looks into a table within a transaction keeps everybody from altering it until that transaction ends. MariaDB goes through all that a
//! connection keeps so, one after the other, whenever it opens a table: many tables would take a time that grows by the square of their
//! number. So a few connections do nothing but keep tables, and those that read let go of them again.

use std::collections::HashMap;

use backup_core::{Ctx, During, Result};

use crate::catalog::table::Table;
use crate::config::Config;
use crate::connect::Connection;
use crate::snapshot;

/// How many tables one connection keeps, unless that would be more than [`MOST`] connections.
const TABLES: usize = 1000;
const MOST: usize = 8;

/// The connections, and which table is kept by which.
#[derive(Debug, Default)]
pub(crate) struct Keepers {
    connections: Vec<Connection>,
    by_table: HashMap<String, usize>,
}

impl Keepers {
    /// Opens the connections. A table is kept from when its own has looked into it.
    pub(crate) async fn open(ctx: &Ctx, config: &Config, tables: &[&Table]) -> Result<Self> {
        let mut keepers = Self::default();
        let count = tables.len().div_ceil(TABLES).min(MOST);
        for _ in 0..count {
            let mut connection = snapshot::reader(ctx, config).await?;
            // No rows of the past are kept for it.
            connection.execute(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED").await?;
            connection.execute(ctx, "START TRANSACTION").await?;
            keepers.connections.push(connection);
        }
        let place = |i: usize| i * count / tables.len();
        keepers.by_table =
            tables.iter().enumerate().map(|(i, table)| (table.name.clone(), place(i))).collect();
        Ok(keepers)
    }

    /// The connections, and the tables out of `tables` that each is to keep.
    pub(crate) fn shares<'t>(&mut self, tables: &[&'t Table]) -> Vec<(&mut Connection, Vec<&'t Table>)> {
        let by_table = &self.by_table;
        let share =
            |at| tables.iter().filter(|table| by_table.get(&table.name) == Some(&at)).copied().collect();
        self.connections.iter_mut().enumerate().map(|(at, keeper)| (keeper, share(at))).collect()
    }

    /// The one that keeps a table.
    pub(crate) fn of(&mut self, table: &str) -> Option<&mut Connection> {
        self.connections.get_mut(*self.by_table.get(table)?)
    }

    /// Lets go of all tables. Had a connection been lost, so had been what it kept.
    pub(crate) async fn close(self, ctx: &Ctx) -> Result<()> {
        for mut connection in self.connections {
            connection
                .execute(ctx, "SELECT 1")
                .await
                .during(|| "look whether the tables were kept as they were")?;
            connection.close().await;
        }
        Ok(())
    }
}
