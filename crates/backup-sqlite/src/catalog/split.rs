//! Cutting a large table into ranges of rowids.
//!
//! Ranges are blocks whose size is a power of two and whose start is a multiple of it, so that the same rows lie in the same
//! range from one backup to the next. A block is halved while the rows in it seem to be more than a part should have. How
//! many rows a block has is not known without reading it; a few probes say how dense they lie. Where they lie in clusters the probes
//! say too much, and the next halving, which starts from the rows that are really there, corrects it.

use backup_core::Result;

/// How many bytes a part should have.
pub(crate) const TARGET: u64 = 32 << 20;
/// The most ranges of one table: beyond that, parts become larger instead.
const MOST_RANGES: usize = 4096;
/// Where a block is probed, and how many rows each time.
const PROBES: u64 = 8;
pub(crate) const ROWS_PER_PROBE: usize = 8;

/// What can be asked about a table's rows without reading it.
pub(crate) trait Rows {
    /// The lowest and the highest rowid between `low` and `high`, if there are any.
    fn ends(&mut self, low: i64, high: i64) -> Result<Option<(i64, i64)>>;

    /// The rowid and the size in bytes of up to [`ROWS_PER_PROBE`] rows from `low` on.
    fn probe(&mut self, low: i64) -> Result<Vec<(i64, u64)>>;
}

/// A range of rowids, both ends included, and roughly how many bytes it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) low: i64,
    pub(crate) high: i64,
    pub(crate) bytes: u64,
}

/// The ranges that a table should be read in, from the lowest rowid to the highest; none if it has no rows.
pub(crate) fn ranges(rows: &mut dyn Rows, target: u64) -> Result<Vec<Range>> {
    let mut found: Vec<Range> = Vec::new();
    let mut blocks = vec![Block { start: 0, bits: 64 }];
    while let Some(block) = blocks.pop() {
        let Some((low, high)) = rows.ends(block.low(), block.high())? else { continue };
        let bytes = estimate(rows, low, high)?;
        // The halves of the smallest block around what is there: none of them is empty.
        let tight = Block::around(low, high);
        if bytes <= target || tight.bits == 0 || found.len() + blocks.len() >= MOST_RANGES {
            found.push(Range { low: block.low(), high: block.high(), bytes });
        } else {
            blocks.extend(tight.halves().into_iter().rev());
        }
    }
    Ok(found)
}

/// Bytes of the rows between `low` and `high`, both of which are there. The span is probed at even distances, and each stretch
/// from one probe to the next is taken to be as dense as the rows that were seen there.
fn estimate(rows: &mut dyn Rows, low: i64, high: i64) -> Result<u64> {
    let (first, last) = (shifted(low), shifted(high));
    let stride = (last - first) / PROBES;
    let mut total = 0u128;
    let mut start = first;
    for i in 1..=PROBES {
        let sample = rows.probe(unshifted(start))?;
        let sample: Vec<_> = sample.into_iter().take_while(|(rowid, _)| *rowid <= high).collect();
        let Some((end, _)) = sample.last() else { break };
        let end = shifted(*end);
        let stretch_end = if i == PROBES { last } else { end.max(first + stride * i) };
        let bytes: u128 = sample.iter().map(|(_, size)| u128::from(*size)).sum();
        let (seen, stretch) = (u128::from(end - start) + 1, u128::from(stretch_end - start) + 1);
        total = total.saturating_add(bytes.saturating_mul(stretch) / seen);
        if stretch_end >= last {
            break;
        }
        start = stretch_end + 1;
    }
    Ok(u64::try_from(total).unwrap_or(u64::MAX))
}

/// 2^`bits` rowids from `start` on, which is a multiple of that. Starts are shifted so that they are unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    start: u64,
    bits: u32,
}

impl Block {
    fn around(low: i64, high: i64) -> Self {
        let (low, high) = (shifted(low), shifted(high));
        let bits = u64::BITS - (low ^ high).leading_zeros();
        Self { start: low & !mask(bits), bits }
    }

    fn halves(self) -> [Self; 2] {
        let bits = self.bits.saturating_sub(1);
        [Self { start: self.start, bits }, Self { start: self.start | (mask(self.bits) & !mask(bits)), bits }]
    }

    fn low(self) -> i64 {
        unshifted(self.start)
    }

    fn high(self) -> i64 {
        unshifted(self.start | mask(self.bits))
    }
}

fn mask(bits: u32) -> u64 {
    u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0)
}

fn shifted(rowid: i64) -> u64 {
    rowid.cast_unsigned() ^ (1 << 63)
}

fn unshifted(rowid: u64) -> i64 {
    (rowid ^ (1 << 63)).cast_signed()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    impl Rows for BTreeMap<i64, u64> {
        fn ends(&mut self, low: i64, high: i64) -> Result<Option<(i64, i64)>> {
            let mut range = self.range(low..=high).map(|(rowid, _)| *rowid);
            let first = range.next();
            Ok(first.map(|first| (first, range.next_back().unwrap_or(first))))
        }

        fn probe(&mut self, low: i64) -> Result<Vec<(i64, u64)>> {
            Ok(self.range(low..).take(ROWS_PER_PROBE).map(|(rowid, size)| (*rowid, *size)).collect())
        }
    }

    fn evenly(count: i64, step: i64) -> BTreeMap<i64, u64> {
        (0..count).map(|i| (1 + i * step, 100)).collect()
    }

    #[test]
    fn even_rows_are_cut_at_multiples_of_a_power_of_two() {
        let ranges = ranges(&mut evenly(10_000, 1), 100_000).unwrap();
        assert!((10..=32).contains(&ranges.len()), "{ranges:?}");
        for pair in ranges.windows(2) {
            assert_eq!(pair[0].high + 1, pair[1].low);
            assert_eq!(pair[1].low % 256, 0);
        }
    }

    #[test]
    fn appending_moves_no_earlier_bound() {
        let before = ranges(&mut evenly(10_000, 1), 100_000).unwrap();
        let after = ranges(&mut evenly(15_000, 1), 100_000).unwrap();
        let whole = before.len() - 1;
        assert_eq!(before[..whole], after[..whole]);
    }

    #[test]
    fn extreme_and_lonely_rowids_make_few_ranges() {
        let mut rows: BTreeMap<i64, u64> = [(i64::MIN, 100), (-1, 100), (0, 100), (i64::MAX, 100)].into();
        assert!(ranges(&mut rows, 100_000).unwrap().len() <= 4);
        rows.extend(evenly(10_000, 1));
        assert!(ranges(&mut rows, 100_000).unwrap().len() < 64);
        assert_eq!(ranges(&mut BTreeMap::new(), 100_000).unwrap(), []);
        let mut huge: BTreeMap<i64, u64> = [(7, 1 << 30), (8, 1 << 30)].into();
        assert_eq!(ranges(&mut huge, TARGET).unwrap().len(), 2);
    }

    #[test]
    fn sparse_rows_are_estimated_by_their_density() {
        let ranges = ranges(&mut evenly(10_000, 1 << 40), 100_000).unwrap();
        assert!((10..=40).contains(&ranges.len()), "{}", ranges.len());
    }

    proptest! {
        #[test]
        fn every_row_lies_in_exactly_one_range(rowids: std::collections::BTreeSet<i64>, clusters: Vec<(i64, u8)>, target in 1u64..5000) {
            let mut rows: BTreeMap<i64, u64> = rowids.into_iter().map(|rowid| (rowid, 100)).collect();
            for (start, count) in clusters {
                rows.extend((0..i64::from(count)).filter_map(|i| Some((start.checked_add(i)?, 50))));
            }
            let ranges = ranges(&mut rows, target).unwrap();
            for rowid in rows.keys() {
                prop_assert_eq!(ranges.iter().filter(|r| (r.low..=r.high).contains(rowid)).count(), 1);
            }
            prop_assert!(ranges.windows(2).all(|pair| pair[0].high < pair[1].low));
        }
    }
}
