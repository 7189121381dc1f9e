//! What a part waits for beyond what the core makes it wait for.
//!
//! The core begins, of all parts that are ready, the first in the plan, and plans are in the order of gates: so whoever waits here waits
//! for a part that is being loaded or is begun next.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use backup_core::{Ctx, Part, PartId, Result};
use tokio::sync::Notify;

use crate::spec::{Gate, SqlSpec, gate, read};

const GATES: [Gate; 6] =
    [Gate::Globals, Gate::Objects, Gate::Rows, Gate::Contents, Gate::Last, Gate::EventTriggers];

/// How many parts of each gate are not restored yet, and which extensions.
#[derive(Debug)]
pub(super) struct Gates {
    left: Mutex<[usize; 6]>,
    extensions: Mutex<BTreeSet<PartId>>,
    changed: Notify,
}

impl Gates {
    pub(super) fn new(parts: &[Part]) -> Result<Self> {
        let (mut left, mut extensions) = ([0; 6], BTreeSet::new());
        for part in parts {
            let gate = gate(part)?;
            for (count, of) in left.iter_mut().zip(GATES) {
                *count += usize::from(of == gate);
            }
            if read::<SqlSpec>(part).is_ok_and(|spec| spec.extension.is_some()) {
                extensions.insert(part.id);
            }
        }
        Ok(Self { left: Mutex::new(left), extensions: Mutex::new(extensions), changed: Notify::new() })
    }

    /// Returns when all parts of lower gates are restored, and, should one of them make what the part makes, the extensions before it.
    pub(super) async fn wait(&self, ctx: &Ctx, part: &Part) -> Result<()> {
        let gate = gate(part)?;
        let may_be_an_extensions = read::<SqlSpec>(part).is_ok_and(|spec| spec.identity.is_some());
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.is_open(gate) && !(may_be_an_extensions && self.has_extensions_before(part.id)) {
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

    fn has_extensions_before(&self, part: PartId) -> bool {
        let extensions = self.extensions.lock().unwrap_or_else(PoisonError::into_inner);
        extensions.range(..part).next().is_some()
    }

    /// Says that a part is restored.
    pub(super) fn done(&self, part: &Part) -> Result<()> {
        let gate = gate(part)?;
        self.extensions.lock().unwrap_or_else(PoisonError::into_inner).remove(&part.id);
        let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
        for (count, of) in left.iter_mut().zip(GATES) {
            if of == gate {
                *count = count.saturating_sub(1);
            }
        }
        drop(left);
        self.changed.notify_waiters();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use backup_core::{Object, Phase};

    use super::*;

    fn part(id: u32, gate: &str, more: serde_json::Value) -> Part {
        let mut spec = serde_json::json!({ "gate": gate, "owners-from": 1 });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Part::sql(id, Phase::PreData, Object::new("x", "x")).spec(spec)
    }

    #[tokio::test]
    async fn a_part_waits_for_all_of_lower_gates() {
        let none = || serde_json::json!({});
        let parts = [part(0, "objects", none()), part(1, "objects", none()), part(2, "rows", none())];
        let gates = Gates::new(&parts).unwrap();
        let ctx = Ctx::new();
        gates.wait(&ctx, &parts[1]).await.unwrap();
        gates.done(&parts[0]).unwrap();
        assert!(!gates.is_open(Gate::Rows));
        let (waited, done) = tokio::join!(gates.wait(&ctx, &parts[2]), async { gates.done(&parts[1]) });
        waited.unwrap();
        done.unwrap();
        assert!(!gates.is_open(Gate::Last));
        ctx.cancel();
        assert!(gates.wait(&ctx, &part(3, "last", none())).await.is_err());
    }

    #[tokio::test]
    async fn what_an_extension_may_make_waits_for_those_before_it() {
        let own = |id| part(id, "objects", serde_json::json!({ "identity": "FUNCTION f()" }));
        let extension = |id| part(id, "objects", serde_json::json!({ "extension": "e" }));
        let parts = [own(0), extension(1), own(2), extension(3)];
        let gates = Gates::new(&parts).unwrap();
        let ctx = Ctx::new();
        gates.wait(&ctx, &parts[0]).await.unwrap();
        gates.wait(&ctx, &parts[1]).await.unwrap();
        let late = async {
            tokio::task::yield_now().await;
            assert!(gates.has_extensions_before(PartId(2)));
            gates.done(&parts[1])
        };
        let (waited, done) = tokio::join!(gates.wait(&ctx, &parts[2]), late);
        waited.unwrap();
        done.unwrap();
        assert!(gates.has_extensions_before(PartId(4)));
    }
}
