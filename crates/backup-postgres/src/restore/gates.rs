//! What a part waits for beyond what the core makes it wait for.
//!
//! The core begins, of all parts that are ready, the first in the plan, and plans are in the order of gates: so whoever waits here waits
//! for a part that is being loaded or is begun next.

use std::sync::{Mutex, PoisonError};

use backup_core::{Ctx, Part, Result};
use tokio::sync::Notify;

use crate::spec::{Gate, gate};

const GATES: [Gate; 6] =
    [Gate::Globals, Gate::Objects, Gate::Rows, Gate::Contents, Gate::Last, Gate::EventTriggers];

/// How many parts of each gate are not restored yet.
#[derive(Debug)]
pub(super) struct Gates {
    left: Mutex<[usize; 6]>,
    changed: Notify,
}

impl Gates {
    pub(super) fn new(parts: &[Part]) -> Result<Self> {
        let mut left = [0; 6];
        for part in parts {
            let gate = gate(part)?;
            for (count, of) in left.iter_mut().zip(GATES) {
                *count += usize::from(of == gate);
            }
        }
        Ok(Self { left: Mutex::new(left), changed: Notify::new() })
    }

    /// Returns when all parts of lower gates are restored.
    pub(super) async fn wait(&self, ctx: &Ctx, gate: Gate) -> Result<()> {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.is_open(gate) {
                return Ok(());
            }
            ctx.run(async {
                changed.await;
                Ok(())
            })
            .await?;
        }
    }

    fn is_open(&self, gate: Gate) -> bool {
        let left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        left.iter().zip(GATES).all(|(count, of)| of >= gate || *count == 0)
    }

    /// Says that a part is restored.
    pub(super) fn done(&self, gate: Gate) {
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        for (count, of) in left.iter_mut().zip(GATES) {
            if of == gate {
                *count = count.saturating_sub(1);
            }
        }
        drop(left);
        self.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use backup_core::{Object, Phase};

    use super::*;

    #[tokio::test]
    async fn a_part_waits_for_all_of_lower_gates() {
        let part = |id, gate| {
            Part::sql(id, Phase::PreData, Object::new("x", "x")).spec(serde_json::json!({ "gate": gate }))
        };
        let gates = Gates::new(&[part(0, "objects"), part(1, "objects"), part(2, "rows")]).unwrap();
        let ctx = Ctx::new();
        gates.wait(&ctx, Gate::Objects).await.unwrap();
        gates.done(Gate::Objects);
        assert!(!gates.is_open(Gate::Rows));
        let (waited, ()) = tokio::join!(gates.wait(&ctx, Gate::Rows), async { gates.done(Gate::Objects) });
        waited.unwrap();
        assert!(!gates.is_open(Gate::Last));
        ctx.cancel();
        assert!(gates.wait(&ctx, Gate::Last).await.is_err());
    }
}
