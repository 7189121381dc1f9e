//! Whose turn it is: large tables first, the largest before all others, and their indexes as soon as they are loaded, so that at the end
//! there are small ones for every session.

use std::collections::HashMap;

use backup_core::{Part, PartId, PartKind, Result};

use crate::spec::{Gate, gate};

/// A table of fewer bytes waits for its place in the plan.
const LARGE: u64 = 16 << 20;

/// The turn of each part.
#[derive(Debug, Default)]
pub(super) struct Turns(HashMap<PartId, u64>);

impl Turns {
    pub(super) fn new(parts: &[Part]) -> Result<Self> {
        let mut sizes: HashMap<_, u64> = HashMap::new();
        let mut tables = HashMap::new();
        for part in parts.iter().filter(|part| matches!(part.kind, PartKind::Rows { .. })) {
            let table = (part.object.schema.as_deref(), part.object.name.as_str());
            *sizes.entry(table).or_default() += part.size_hint;
            tables.insert(part.id, table);
        }
        let mut turns = Self::default();
        for part in parts {
            let gate = gate(part)?;
            let large = match tables.get(&part.id) {
                _ if gate != Gate::Rows => None,
                None if part.object.kind != "index" && part.object.kind != "constraint" => None,
                Some(table) => Some(*table),
                // What is of two tables, a foreign key, would make others wait for its locks.
                None => {
                    let mut of = part.after.iter().filter_map(|id| tables.get(id));
                    of.next().copied().filter(|first| of.all(|table| table == first))
                }
            };
            let size = large.and_then(|table| sizes.get(&table)).filter(|size| **size >= LARGE);
            turns.0.insert(part.id, turn(gate, size.copied().unwrap_or_default()));
        }
        Ok(turns)
    }

    pub(super) fn of(&self, part: &Part) -> u64 {
        self.0.get(&part.id).copied().unwrap_or(u64::MAX)
    }

    /// Whether the part is of a large table.
    pub(super) fn is_of_large(&self, part: &Part) -> bool {
        self.of(part) % SIZES < SIZES - 1
    }
}

/// More than the bytes of a table, and how far the turns of one gate are from those of the next.
const SIZES: u64 = 1 << 56;

/// Parts of a higher gate wait for all of lower ones, and would keep these from being begun.
fn turn(gate: Gate, size: u64) -> u64 {
    gate as u64 * SIZES + (SIZES - 1).saturating_sub(size)
}

#[cfg(test)]
mod tests {
    use backup_core::{Object, Phase, RowLayout};

    use super::*;

    fn rows(id: u32, name: &str, megabytes: u64) -> Part {
        Part::rows(id, Object::new("table", name), RowLayout::CopyText, vec![])
            .size_hint(megabytes << 20)
            .spec(serde_json::json!({ "gate": "rows" }))
    }

    fn made(id: u32, kind: &str, gate: &str, after: &[u32]) -> Part {
        Part::sql(id, Phase::PostData, Object::new(kind, format!("{kind} {id}")))
            .after(after.iter().copied().map(PartId))
            .spec(serde_json::json!({ "gate": gate }))
    }

    #[test]
    fn large_tables_and_their_indexes_come_first_and_nothing_before_a_lower_gate() {
        let parts = [
            rows(0, "small", 1),
            rows(1, "wide", 40),
            rows(2, "huge", 50),
            rows(3, "huge", 50),
            made(4, "index", "rows", &[0]),
            made(5, "constraint", "rows", &[1]),
            made(6, "constraint", "rows", &[1, 2, 3]),
            made(7, "trigger", "rows", &[2, 3]),
            made(8, "index", "rows", &[2, 3]),
            made(9, "index", "contents", &[2, 3]),
            made(10, "function", "objects", &[]),
        ];
        let turns = Turns::new(&parts).unwrap();
        let mut order: Vec<_> = parts.iter().map(|part| (turns.of(part), part.id.0)).collect();
        order.sort_unstable();
        let order: Vec<_> = order.into_iter().map(|(_, id)| id).collect();
        assert_eq!(order, [10, 2, 3, 8, 1, 5, 0, 4, 6, 7, 9]);
        let large: Vec<_> =
            parts.iter().filter(|part| turns.is_of_large(part)).map(|part| part.id.0).collect();
        assert_eq!(large, [1, 2, 3, 5, 8]);
    }
}
