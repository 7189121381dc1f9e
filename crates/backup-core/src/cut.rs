//! Where chunks end: at places that the content chooses, so that a change moves only its own neighbourhood.

use std::collections::VecDeque;
use std::hash::Hasher;

use fastcdc::v2020::FastCDC;
use siphasher::sip::SipHasher13;

use crate::block::{BLOCK_SIZE, RawChunk, Segment, SegmentKind};

/// No chunk of rows ends before this many bytes, unless its run of parts does.
const ROWS_MIN: usize = 1 << 20;
/// Behind that, one ends on average after as many more.
const ROWS_AVERAGE: usize = 3 << 19;
/// And at the latest here.
const ROWS_MAX: usize = 4 << 20;
/// Many tiny rows fill a chunk too.
const ROWS_MAX_COUNT: usize = 1 << 20;
const SEGMENTS_MAX: usize = 1 << 14;
/// The same for bytes that are not rows.
const BYTES_MIN: usize = 1 << 19;
const BYTES_AVERAGE: usize = 1 << 20;
const BYTES_MAX: usize = 4 << 20;

/// Which of a row's fragments is its first and its last is set when they are made.
const FRAGMENT: SegmentKind = SegmentKind::Fragment { first: false, last: false };

/// The keys that choose cuts, so that the sizes of chunks confirm no guess about what is in them.
#[derive(Clone)]
pub(crate) struct CutKeys {
    rows: [u8; 16],
    bytes: u64,
}

impl CutKeys {
    pub(crate) fn derive(chunk_key: &[u8; 32]) -> Self {
        let mut keys = [0; 24];
        let mut output =
            blake3::Hasher::new_derive_key("lifeboat 2026 chunk cuts").update(chunk_key).finalize_xof();
        output.fill(&mut keys);
        let (rows, bytes) = keys.split_at(16);
        let mut cut = Self { rows: [0; 16], bytes: 0 };
        cut.rows.copy_from_slice(rows);
        cut.bytes = bytes.iter().fold(0, |key, byte| key << 8 | u64::from(*byte));
        cut
    }
}

/// A chunk that has been cut off, and the part (as its place in the plan) that each of its segments belongs to.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) chunk: RawChunk,
    pub(crate) owners: Vec<usize>,
}

/// Gathers the rows and bytes of a run of parts into chunks.
pub(crate) struct Cutter {
    keys: CutKeys,
    chunk: RawChunk,
    owners: Vec<usize>,
    part: usize,
    /// Whether the last segment belongs to the present part and may grow.
    open: bool,
    /// Bytes that have no cut yet.
    pending: Vec<u8>,
    /// The next fragment is the first of its row.
    at_row_start: bool,
    ready: VecDeque<Cut>,
}

impl Cutter {
    pub(crate) fn new(keys: CutKeys) -> Self {
        Self {
            keys,
            chunk: empty_chunk(),
            owners: Vec::new(),
            part: 0,
            open: false,
            pending: Vec::new(),
            at_row_start: false,
            ready: VecDeque::new(),
        }
    }

    /// What follows belongs to the part at this place in the plan.
    pub(crate) fn start_part(&mut self, part: usize) {
        self.part = part;
        self.open = false;
        // Ends of bytes that have no cut of their own gather here, however many parts there are.
        if self.chunk.segments.len() >= SEGMENTS_MAX || self.chunk.bytes.len() >= BYTES_MAX {
            self.cut();
        }
    }

    /// Appends a row of at most a block. `hash` is its hash.
    pub(crate) fn row(&mut self, kind: SegmentKind, row: &[u8], hash: u128) {
        let room =
            self.open && self.chunk.segments.last().is_some_and(|s| s.bytes.len() + row.len() <= BLOCK_SIZE);
        if !room {
            self.start_segment(kind);
        }
        self.chunk.bytes.extend_from_slice(row);
        // A chunk is far below 4 GiB.
        self.chunk.ends.push(self.chunk.bytes.len() as u32);
        if let Some(segment) = self.chunk.segments.last_mut() {
            segment.bytes.end = self.chunk.bytes.len();
            segment.rows.end = self.chunk.ends.len();
        }
        let size = self.chunk.bytes.len();
        let full = size >= ROWS_MAX || self.chunk.ends.len() >= ROWS_MAX_COUNT;
        if full || size >= ROWS_MIN && self.ends_chunk(row.len(), hash) {
            self.cut();
        }
    }

    /// A row ends a chunk with a chance in proportion to its length, so that sizes do not depend on the rows'.
    fn ends_chunk(&self, length: usize, hash: u128) -> bool {
        let mut hasher = SipHasher13::new_with_key(&self.keys.rows);
        hasher.write(&hash.to_le_bytes());
        let chance = ((length as u128) << 64) / ROWS_AVERAGE as u128;
        u128::from(hasher.finish()) < chance
    }

    /// Appends bytes that are not rows; call it with at most a few MiB at once.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.cut_pending(SegmentKind::Bytes, false);
    }

    /// The bytes end here.
    pub(crate) fn end_bytes(&mut self) {
        self.cut_pending(SegmentKind::Bytes, true);
    }

    /// A row that turned out larger than a block begins with `start`: it gets chunks of its own.
    pub(crate) fn start_long_row(&mut self, start: &[u8]) {
        self.cut();
        self.at_row_start = true;
        self.continue_long_row(start);
    }

    pub(crate) fn continue_long_row(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        self.cut_pending(FRAGMENT, false);
    }

    pub(crate) fn end_long_row(&mut self) {
        self.cut_pending(FRAGMENT, true);
        if let Some(Segment { kind: SegmentKind::Fragment { last, .. }, .. }) = self.chunk.segments.last_mut()
        {
            *last = true;
        }
        self.cut();
    }

    /// Nothing follows in this run of parts.
    pub(crate) fn end_run(&mut self) {
        self.cut();
    }

    /// The next chunk that was cut off.
    pub(crate) fn next_cut(&mut self) -> Option<Cut> {
        self.ready.pop_front()
    }

    /// Cuts off what can be: always less than all, unless this is the `end`.
    fn cut_pending(&mut self, kind: SegmentKind, end: bool) {
        let pending = std::mem::take(&mut self.pending);
        let mut start = 0;
        while pending.len() - start > if end { 0 } else { BYTES_MAX } {
            let rest = &pending[start..];
            let mut chunker = FastCDC::with_level_and_seed(
                rest,
                BYTES_MIN,
                BYTES_AVERAGE,
                BYTES_MAX,
                fastcdc::v2020::Normalization::Level1,
                self.keys.bytes,
            );
            let length = chunker.next().map_or(rest.len(), |piece| piece.length);
            let is_tail = end && length == rest.len();
            self.piece(kind, &rest[..length]);
            if !is_tail {
                self.cut();
            }
            start += length;
        }
        self.pending.extend_from_slice(&pending[start..]);
    }

    fn piece(&mut self, kind: SegmentKind, piece: &[u8]) {
        for bytes in piece.chunks(BLOCK_SIZE) {
            let kind = match kind {
                SegmentKind::Fragment { last, .. } => {
                    SegmentKind::Fragment { first: std::mem::take(&mut self.at_row_start), last }
                }
                other => other,
            };
            self.start_segment(kind);
            self.chunk.bytes.extend_from_slice(bytes);
            if let Some(segment) = self.chunk.segments.last_mut() {
                segment.bytes.end = self.chunk.bytes.len();
            }
        }
        self.open = false;
    }

    fn start_segment(&mut self, kind: SegmentKind) {
        let (bytes, rows) = (self.chunk.bytes.len(), self.chunk.ends.len());
        self.chunk.segments.push(Segment { kind, bytes: bytes..bytes, rows: rows..rows });
        self.owners.push(self.part);
        self.open = true;
    }

    fn cut(&mut self) {
        self.open = false;
        if !self.chunk.segments.is_empty() {
            let chunk = std::mem::replace(&mut self.chunk, empty_chunk());
            self.ready.push_back(Cut { chunk, owners: std::mem::take(&mut self.owners) });
        }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        // A run ends with an empty chunk, whose memory the next run uses.
        std::mem::take(&mut self.chunk).recycle();
    }
}

/// A chunk with room for all that it may come to hold, so that it need not be moved while it grows.
fn empty_chunk() -> RawChunk {
    let mut chunk = RawChunk::recycled();
    chunk.bytes.reserve(ROWS_MAX + BLOCK_SIZE);
    chunk
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_128;

    const ROWS: SegmentKind = SegmentKind::Rows { layout: crate::rows::RowLayout::Opaque, columns: 0 };

    fn cutter() -> Cutter {
        Cutter::new(CutKeys::derive(&[7; 32]))
    }

    fn cuts(cutter: &mut Cutter) -> Vec<Cut> {
        cutter.end_run();
        std::iter::from_fn(|| cutter.next_cut()).collect()
    }

    fn row(i: u64) -> Vec<u8> {
        (0..i % 7 + 3)
            .flat_map(|n| xxh3_128(&(i, n).0.wrapping_mul(n + 1).to_le_bytes()).to_le_bytes())
            .collect()
    }

    fn chunks_of(rows: impl Iterator<Item = u64>) -> Vec<[u8; 32]> {
        let mut cutter = cutter();
        for i in rows {
            let row = row(i);
            cutter.row(ROWS, &row, xxh3_128(&row));
        }
        cuts(&mut cutter).iter().map(|cut| cut.chunk.hash(&[1; 32])).collect()
    }

    #[test]
    fn many_short_parts_of_bytes_make_no_huge_chunk() {
        let mut cutter = cutter();
        for part in 0..200 {
            cutter.start_part(part);
            cutter.bytes(&[part as u8; 300 << 10]);
            cutter.end_bytes();
        }
        let cuts = cuts(&mut cutter);
        assert!(cuts.iter().all(|cut| cut.chunk.bytes.len() <= 2 * BYTES_MAX));
        assert_eq!(cuts.iter().map(|cut| cut.chunk.bytes.len()).sum::<usize>(), 200 * (300 << 10));
    }

    #[test]
    fn an_inserted_row_changes_only_its_neighbourhood() {
        let before = chunks_of(0..300_000);
        let after = chunks_of((0..150_000).chain([999_999_999]).chain(150_000..300_000));
        assert!(before.len() > 8, "{}", before.len());
        let new = after.iter().filter(|id| !before.contains(id)).count();
        assert!((1..=2).contains(&new), "{new} of {}", after.len());
    }

    #[test]
    fn a_long_row_is_cut_into_fragments_that_are_its_bytes() {
        let bytes: Vec<u8> =
            (0..3_000_000u64).flat_map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes()).collect();
        let mut cutter = cutter();
        cutter.row(ROWS, b"before", xxh3_128(b"before"));
        cutter.start_long_row(&bytes[..1_500_000]);
        for piece in bytes[1_500_000..].chunks(700_000) {
            cutter.continue_long_row(piece);
        }
        cutter.end_long_row();
        cutter.row(ROWS, b"behind", xxh3_128(b"behind"));
        let cuts = cuts(&mut cutter);
        let fragments: Vec<_> = cuts[1..cuts.len() - 1].iter().flat_map(|cut| &cut.chunk.segments).collect();
        let kinds: Vec<_> = fragments.iter().map(|segment| segment.kind).collect();
        let ends = |kind: &SegmentKind| match kind {
            SegmentKind::Fragment { first, last } => (*first, *last),
            other => panic!("{other:?}"),
        };
        for (i, kind) in kinds.iter().enumerate() {
            assert_eq!(ends(kind), (i == 0, i == kinds.len() - 1));
        }
        assert!(fragments.iter().all(|segment| segment.bytes.len() <= BLOCK_SIZE));
        let joined: Vec<u8> =
            cuts[1..cuts.len() - 1].iter().flat_map(|cut| cut.chunk.bytes.clone()).collect();
        assert!(joined == bytes);
        assert_eq!(
            (cuts[0].chunk.bytes.as_slice(), cuts.last().unwrap().chunk.bytes.as_slice()),
            (&b"before"[..], &b"behind"[..])
        );
    }

    #[test]
    fn small_parts_share_a_chunk_and_keep_their_owners() {
        let mut cutter = cutter();
        for part in 0..10 {
            cutter.start_part(part);
            cutter.row(ROWS, b"x", 1);
            cutter.bytes(b"bytes");
            cutter.end_bytes();
        }
        let cuts = cuts(&mut cutter);
        assert_eq!(cuts.len(), 1);
        assert_eq!(cuts[0].owners, (0..10).flat_map(|part| [part, part]).collect::<Vec<_>>());
    }

    #[test]
    fn equal_rows_without_end_are_cut_all_the_same() {
        let mut cutter = cutter();
        for _ in 0..100_000 {
            cutter.row(ROWS, &[0; 100], 5);
        }
        let cuts = cuts(&mut cutter);
        assert!(cuts.len() > 2 && cuts.iter().all(|cut| cut.chunk.bytes.len() < ROWS_MAX + 100));
    }
}
