//! Connections that keep tables from being altered until the backup ends.
//!
//! Who looks into a table within a transaction keeps everybody from altering it until that transaction ends. MariaDB goes through all that a
//! connection keeps so, one after the other, whenever it opens a table: many tables would take a time that grows by the square of their
//! number. So a few connections keep tables, and those that read let go of them again. They share the snapshot: where somebody waits to alter a
//! table, and whoever else wants it waits behind, the one who keeps it can read it.

use std::collections::HashMap;

use backup_core::{Ctx, During, Result};

use crate::backup::{Reader, lost};
use crate::catalog::table::Table;
use crate::connect::Connection;

/// How many tables one connection keeps, unless that would be more than [`MOST`] connections.
const TABLES: u64 = 1000;
const MOST: u64 = 8;

/// How many connections it takes to keep that many tables.
pub(crate) fn count(tables: u64) -> usize {
    tables.div_ceil(TABLES).clamp(1, MOST) as usize
}

/// The connections, and which table is kept by which. One that was lost in the middle of an answer is gone.
#[derive(Debug)]
pub(crate) struct Keepers {
    readers: Vec<Option<Reader>>,
    by_table: HashMap<String, usize>,
}

impl Keepers {
    pub(crate) fn new(connections: Vec<Connection>) -> Self {
        let readers = connections.into_iter().map(|connection| Some(Reader::new(connection))).collect();
        Self { readers, by_table: HashMap::new() }
    }

    /// Divides tables up. Each is kept from when its keeper has looked into it.
    pub(crate) fn divide<'t>(
        &mut self,
        tables: &[&'t Table],
    ) -> Result<Vec<(&mut Connection, Vec<&'t Table>)>> {
        let share = tables.len().div_ceil(self.readers.len().max(1)).max(1);
        self.by_table = tables.iter().enumerate().map(|(i, table)| (table.name.clone(), i / share)).collect();
        let mut shares = tables.chunks(share);
        let keepers = self.readers.iter_mut().map(|keeper| {
            let keeper = keeper.as_mut().ok_or_else(lost)?;
            Ok((&mut keeper.connection, shares.next().unwrap_or_default().to_vec()))
        });
        keepers.collect()
    }

    /// Takes away the one that keeps a table, until it is given back.
    pub(crate) fn take(&mut self, table: &str) -> Result<Reader> {
        self.place(table).and_then(Option::take).ok_or_else(lost)
    }

    pub(crate) fn give(&mut self, table: &str, keeper: Reader) {
        if let Some(place) = self.place(table) {
            *place = Some(keeper);
        }
    }

    /// The one that keeps a table, or any for what nobody keeps.
    pub(crate) fn of(&mut self, table: &str) -> Result<&mut Reader> {
        self.place(table).and_then(Option::as_mut).ok_or_else(lost)
    }

    fn place(&mut self, table: &str) -> Option<&mut Option<Reader>> {
        let at = self.by_table.get(table).copied().unwrap_or_default();
        self.readers.get_mut(at)
    }

    /// Lets go of all tables. Had a connection been lost, so had been what it kept.
    pub(crate) async fn close(&mut self, ctx: &Ctx) -> Result<()> {
        for keeper in self.readers.drain(..) {
            let mut connection = keeper.ok_or_else(lost)?.connection;
            connection
                .execute(ctx, "SELECT 1")
                .await
                .during(|| "look whether the tables were kept as they were")?;
            connection.close().await;
        }
        Ok(())
    }
}
