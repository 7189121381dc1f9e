//! Plans: whether they make sense, and which parts one worker dumps together.

use std::collections::HashMap;
use std::hash::Hasher;
use std::ops::Range;

use siphasher::sip::SipHasher13;

use crate::error::{Error, Result};
use crate::part::Part;

/// A part of this many bytes or more is dumped alone.
const LARGE: u64 = 256 << 10;
/// What a part counts for at least.
const TINY: u64 = 256;
/// A bundle ends when its parts are about this many bytes,
const BUNDLE_BYTES: u64 = 4 << 20;
/// or this many,
const BUNDLE_PARTS: usize = 1024;
/// or behind one object in so many, chosen by name: a new table then moves only its own bundle.
const BUNDLE_CHANCE: u64 = 256;

/// Checks that ids are unique and that every part's `after` come before it.
pub(crate) fn check(parts: &[Part]) -> Result<()> {
    let mut places = HashMap::with_capacity(parts.len());
    for (place, part) in parts.iter().enumerate() {
        if places.insert(part.id, place).is_some() {
            return Err(Error::internal(format!("the plan has part {} twice", part.id)));
        }
        if let Some(missing) = part.after.iter().find(|after| places.get(after).is_none_or(|p| *p == place)) {
            let message = format!(
                "{} (part {}) is after part {missing}, which does not come before it",
                part.object, part.id
            );
            return Err(Error::internal(message));
        }
    }
    Ok(())
}

/// The runs of parts that one worker dumps one after the other, as ranges of the plan.
pub(crate) fn runs(parts: &[Part]) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    let mut bytes = 0;
    for (place, part) in parts.iter().enumerate() {
        let large = part.size_hint >= LARGE;
        let follows = place > start;
        let other_phase = follows && parts.get(place - 1).is_some_and(|before| before.phase != part.phase);
        if follows && (large || other_phase) {
            runs.push(start..place);
            (start, bytes) = (place, 0);
        }
        bytes += part.size_hint.max(TINY);
        if large || bytes >= BUNDLE_BYTES || place + 1 - start >= BUNDLE_PARTS || ends_bundle(part) {
            runs.push(start..place + 1);
            (start, bytes) = (place + 1, 0);
        }
    }
    if start < parts.len() {
        runs.push(start..parts.len());
    }
    runs
}

fn ends_bundle(part: &Part) -> bool {
    let mut hasher = SipHasher13::new();
    for word in
        [&part.object.kind, part.object.schema.as_ref().unwrap_or(&part.object.kind), &part.object.name]
    {
        hasher.write(word.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish().is_multiple_of(BUNDLE_CHANCE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::part::{Object, PartId, Phase};

    fn table(id: u32, hint: u64) -> Part {
        Part::sql(id, Phase::PreData, Object::new("table", format!("t{id}"))).size_hint(hint)
    }

    #[test]
    fn runs_cover_the_plan_in_order_and_large_parts_are_alone() {
        let parts: Vec<_> = (0..5000).map(|i| table(i, if i % 1000 == 7 { 1 << 30 } else { 100 })).collect();
        let runs = runs(&parts);
        assert!(runs.iter().map(|run| run.clone().count()).sum::<usize>() == 5000);
        assert!(runs.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!([7usize, 1007, 2007].iter().all(|large| runs.contains(&(*large..large + 1))));
        assert!(runs.len() < 100, "{}", runs.len());
    }

    #[test]
    fn a_new_table_moves_only_the_bundles_near_it() {
        let names = |skip: u32| -> Vec<Vec<String>> {
            let parts: Vec<_> = (0..5000).filter(|i| *i != skip).map(|i| table(i, 100)).collect();
            runs(&parts)
                .into_iter()
                .map(|run| parts[run].iter().map(|part| part.object.name.clone()).collect())
                .collect()
        };
        let (with, without) = (names(u32::MAX), names(2500));
        assert!(with.iter().filter(|bundle| !without.contains(bundle)).count() <= 2);
    }

    #[test]
    fn a_plan_that_cannot_be_restored_in_order_is_refused() {
        assert!(check(&[table(1, 0), table(1, 0)]).is_err());
        assert!(check(&[table(1, 0).after([PartId(2)]), table(2, 0)]).is_err());
        assert!(check(&[table(1, 0).after([PartId(1)])]).is_err());
        assert!(check(&[table(1, 0), table(2, 0).after([PartId(1)])]).is_ok());
    }
}
