//! Stored chunks that were changed, cut off or made up: an error or some other chunk, never a panic.

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::rows::TaggedRow;

/// A few chunks, uncompressed, that use every kind of block and every encoding: their damage reaches everything.
fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for layout in LAYOUTS {
        let rows: Vec<_> = (0..700u32)
            .map(|i| {
                let fields = [
                    i.to_string(),
                    (i.wrapping_mul(2_654_435_761)).to_string(),
                    format!("{}.{:02}", i % 90, i % 100),
                    format!("2026-11-{:02}", i % 28 + 1),
                    "x".repeat(i as usize % 9),
                ];
                let mut fields: Vec<_> = fields.map(|field| Some(field.into_bytes())).into();
                if i % 7 == 0 {
                    fields[1] = None;
                }
                fields.push(None);
                row_of(layout, &fields)
            })
            .collect();
        let mut chunk = RawChunk::default();
        chunk.push_rows(layout, 6, &rows);
        chunk.push_rows(layout, 6, &rows[..3]);
        chunk.push_other(SegmentKind::Bytes, b"CREATE TABLE t");
        samples.push(encode_by_column(&chunk, "none"));
    }
    let mut tagged = RawChunk::default();
    let rows: Vec<_> = (0..1500i64)
        .map(|i| {
            let mut row = TaggedRow::new();
            row.integer(i * i);
            row.float(i as f64);
            if i % 3 == 0 {
                row.null()
            } else {
                row.integer(i)
            }
            if i % 5 == 0 {
                row.text(b"five")
            } else {
                row.bytes(b"no")
            }
            row.as_bytes().to_vec()
        })
        .collect();
    tagged.push_rows(RowLayout::Tagged, 4, &rows);
    tagged.push_other(SegmentKind::Fragment { first: true, last: false }, &[9; OWN_BLOCK]);
    samples.push(encode_by_column(&tagged, "none"));
    samples.push(encode_by_column(&tagged, "zstd"));
    samples
}

/// Decodes, and checks what every outcome owes.
fn decode_checked(stored: &[u8]) {
    match decode_chunk(stored) {
        // Whatever it is, it is a chunk, and can be stored again.
        Ok(chunk) => chunk.check().unwrap(),
        Err(error) => assert!(
            matches!(error.kind(), ErrorKind::Damaged | ErrorKind::Unsupported | ErrorKind::NewerFormat),
            "{error}"
        ),
    }
}

/// A small generator with a fixed seed: the cases are the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 27
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }
}

#[test]
fn twenty_thousand_changed_chunks_do_no_harm() {
    let samples = samples();
    let mut random = Random(1);
    for case in 0..20_000 {
        let mut stored = samples[case % samples.len()].clone();
        for _ in 0..=random.below(3) {
            // Headers and the heads of columns are few bytes among many: aim at them half of the time.
            let near = if random.below(2) == 0 { 120 } else { stored.len() };
            let at = random.below(near.min(stored.len()));
            match random.below(5) {
                0 => stored[at] ^= 1 << random.below(8),
                1 => stored[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
                2 => stored.truncate(at.max(20)),
                3 => {
                    let value = (random.next() >> random.below(64)) as u32;
                    let end = (at + 4).min(stored.len());
                    stored[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                }
                _ => {
                    let from = random.below(stored.len());
                    let length = random.below(64).min(stored.len() - from.max(at));
                    stored.copy_within(from..from + length, at);
                }
            }
        }
        decode_checked(&stored);
    }
}

#[test]
fn a_chunk_cut_off_anywhere_is_damaged() {
    for stored in samples() {
        for at in (0..200).chain((200..stored.len()).step_by(97)) {
            let error = decode_chunk(&stored[..at.min(stored.len() - 1)]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Damaged);
        }
        let longer = [&stored[..], b"x"].concat();
        assert_eq!(decode_chunk(&longer).unwrap_err().kind(), ErrorKind::Damaged);
    }
}

#[test]
fn a_header_that_promises_everything_takes_no_more_memory_than_a_chunk() {
    // Many rows of many columns, in a few bytes.
    let mut stored = Vec::new();
    ChunkHeader { codec: "none", bytes: MAX_CHUNK_BYTES, rows: MAX_CHUNK_ROWS, segments: 1 }
        .write(&mut stored);
    let n = vec![1; 65_535];
    let frame = stored::Frame { stored: n.len(), raw: n.len() };
    let block = BlockHeader {
        kind: BlockKind::Columns,
        detail: 1,
        columns: u16::MAX,
        count: MAX_CHUNK_ROWS,
        bytes: MAX_CHUNK_BYTES,
        n: frame,
        s: stored::Frame::default(),
    };
    stored.extend(block.to_bytes());
    stored.extend(n);
    assert_eq!(decode_chunk(&stored).unwrap_err().kind(), ErrorKind::Damaged);
}

proptest! {
    #[test]
    fn bytes_that_are_no_chunk_do_no_harm(junk: Vec<u8>) {
        decode_checked(&junk);
        let mut stored = Vec::new();
        ChunkHeader { codec: "none", bytes: 100, rows: 10, segments: 2 }.write(&mut stored);
        stored.extend(junk);
        decode_checked(&stored);
    }

    #[test]
    fn made_up_columns_do_no_harm(
        n in prop::collection::vec(prop_oneof![0u8..12, any::<u8>()], 0..200), s: Vec<u8>,
        layout in 1u8..4, columns in 1u16..6, rows in 1usize..40, bytes in 0usize..500,
    ) {
        let mut stored = Vec::new();
        ChunkHeader { codec: "none", bytes, rows, segments: 1 }.write(&mut stored);
        let frame = |bytes: &[u8]| stored::Frame { stored: bytes.len(), raw: bytes.len() };
        let (detail, count) = (layout, rows);
        let block =
            BlockHeader { kind: BlockKind::Columns, detail, columns, count, bytes, n: frame(&n), s: frame(&s) };
        stored.extend(block.to_bytes());
        stored.extend(n);
        stored.extend(s);
        decode_checked(&stored);
    }
}
