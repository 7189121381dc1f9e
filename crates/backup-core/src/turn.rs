//! For engines: whose turn it is to read by a connection that all have to share.
//!
//! Who writes a script takes in rows in the order of the plan. A later part that has that connection could wait until an earlier one has
//! been taken in, which waits for the connection: so it goes to the parts in their order.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use crate::context::Ctx;
use crate::error::Result;
use crate::part::PartId;

/// The parts that wait for each other and have not been read. None where they are not taken in by their order.
#[derive(Debug, Default)]
pub struct Turns {
    unread: Mutex<BTreeSet<PartId>>,
    read: Notify,
}

/// A part is being read until this is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    turns: &'a Turns,
    part: PartId,
}

impl Turns {
    /// From now on these go one after the other, by their ids.
    pub fn plan(&self, parts: impl IntoIterator<Item = PartId>) {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).extend(parts);
    }

    /// Begins to read a part, whoever reads it.
    pub fn begin(&self, part: PartId) -> Turn<'_> {
        Turn { turns: self, part }
    }
}

impl Turn<'_> {
    /// Waits until all earlier parts have been read.
    pub async fn comes(&self, ctx: &Ctx) -> Result<()> {
        let wait = async {
            loop {
                let mut read = std::pin::pin!(self.turns.read.notified());
                read.as_mut().enable();
                let first = self.turns.unread.lock().unwrap_or_else(PoisonError::into_inner).first().copied();
                if first.is_none_or(|first| first >= self.part) {
                    return Ok(());
                }
                read.await;
            }
        };
        ctx.run(wait).await
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.unread.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.part);
        self.turns.read.notify_waiters();
    }
}
