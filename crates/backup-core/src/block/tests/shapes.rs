//! Awkward rows, one by one.

use super::*;
use crate::rows::TaggedRow;

/// Rows of `fields`, often enough for a block of their own.
fn table(layout: RowLayout, fields: &[&[&[u8]]]) -> RawChunk {
    let rows: Vec<Vec<u8>> = fields
        .iter()
        .map(|row| {
            let row: Vec<_> = row.iter().map(|field| (*field != b"NULL").then(|| field.to_vec())).collect();
            row_of(layout, &row)
        })
        .collect();
    let bytes = rows.concat().len().max(1);
    let mut chunk = RawChunk::default();
    let columns = fields.first().map_or(0, |row| row.len() as u16);
    chunk.push_rows(layout, columns, &repeat(&rows, OWN_BLOCK.div_ceil(bytes)));
    chunk
}

/// A table of one column.
fn single(layout: RowLayout, values: &[&str]) -> RawChunk {
    let fields: Vec<[&[u8]; 1]> = values.iter().map(|value| [value.as_bytes()]).collect();
    table(layout, &fields.iter().map(|row| &row[..]).collect::<Vec<_>>())
}

#[track_caller]
fn assert_stored_as(chunk: &RawChunk, kind: BlockKind) {
    assert_comes_back(chunk);
    assert_eq!(block_kinds(&encode_by_column(chunk, "zstd")), [kind]);
}

#[test]
fn numbers_that_do_not_print_back_to_themselves_stay_text() {
    for values in [
        &["-0", "1"][..],
        &["007", "008"],
        &["1.5", "1.25", "1"],
        &["0.10", "0.1"],
        &["-0.00", "0.00"],
        &["999999999999999999", "-999999999999999999"],
        &["1000000000000000000", "9999999999999999999"],
        &["9223372036854775807", "-9223372036854775808"],
        &["1", "NULL", "", "2"],
        &["+1", "1e5", " 1"],
        &["NULL"],
        &["", ""],
        &["\u{e9}", "\\N", "\\\\N", "\\t"],
    ] {
        for layout in &LAYOUTS[1..] {
            assert_stored_as(&single(*layout, values), BlockKind::Columns);
        }
    }
}

#[test]
fn look_alikes_of_null_and_escaped_tabs_in_copy_text_stay_what_they_are() {
    let fields: &[&[&[u8]]] = &[
        &[b"NULL", b"\\\\N", b"a\\tb"],
        &[b"\\n", b"\\Nx", b"x\\N"],
        &[b"", b"", b""],
        &[b"\\", b"N", b"\xff\xfe"],
        &[b"a\nb", b"1", b"2"],
    ];
    assert_stored_as(&table(RowLayout::CopyText, fields), BlockKind::Columns);
}

#[test]
fn a_copy_row_without_its_newline_or_with_other_fields_falls_back_to_rows() {
    for odd in [&b"1\t2"[..], b"1\n", b"1\t2\t3\n", b"", b"\n"] {
        let mut rows = vec![b"1\t2\n".to_vec(); OWN_BLOCK / 4];
        rows.insert(100, odd.to_vec());
        let mut chunk = RawChunk::default();
        chunk.push_rows(RowLayout::CopyText, 2, &rows);
        assert_stored_as(&chunk, BlockKind::Rows);
    }
}

#[test]
fn lengths_in_a_longer_form_than_needed_fall_back_to_rows() {
    for odd in [
        &[0xfc, 1, 0, b'a'][..],
        &[0xfd, 1, 0, 0, b'a'],
        &[0xfe, 1, 0, 0, 0, 0, 0, 0, 0, b'a'],
        &[0xff],
        &[0xfc, 1],
        &[0xfe, 255, 255, 255, 255, 255, 255, 255, 255, b'a'],
        &[5, b'a'],
        &[1, b'a', 0],
        &[],
    ] {
        let mut rows = vec![b"\x05hello".to_vec(); OWN_BLOCK / 6 + 1];
        rows.push(odd.to_vec());
        let mut chunk = RawChunk::default();
        chunk.push_rows(RowLayout::LengthEncoded, 1, &rows);
        assert_stored_as(&chunk, BlockKind::Rows);
    }
}

#[test]
fn every_width_of_length_is_regrouped() {
    let mut chunk = RawChunk::default();
    let rows: Vec<Vec<u8>> = [0, 1, 250, 251, 252, 255, 256, 65_535, 65_536, 70_000, 1 << 20]
        .iter()
        .map(|&length| row_of(RowLayout::LengthEncoded, &[Some(vec![b'x'; length]), None]))
        .collect();
    chunk.push_rows(RowLayout::LengthEncoded, 2, &rows);
    assert_stored_as(&chunk, BlockKind::Columns);
}

#[test]
fn tagged_values_in_an_unusual_form_fall_back_to_rows() {
    for odd in [&[1, 0x80, 0][..], &[3, 0x81, 0, b'a'], &[5, 0], &[9], &[2, 0, 0], &[3, 200], &[0, 0], &[]] {
        let mut usual = TaggedRow::new();
        usual.integer(1_000_000);
        let mut rows = vec![usual.as_bytes().to_vec(); OWN_BLOCK / 4 + 1];
        rows.push(odd.to_vec());
        let mut chunk = RawChunk::default();
        chunk.push_rows(RowLayout::Tagged, 1, &rows);
        assert_stored_as(&chunk, BlockKind::Rows);
    }
}

#[test]
fn the_edges_of_integers_and_floats_come_back_bit_for_bit() {
    let integers = [i64::MIN, i64::MAX, 0, -1, i64::MAX, i64::MIN];
    let floats =
        [0.0, -0.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::from_bits(0x7ff4_0000_dead_beef)];
    let mut rows = Vec::new();
    for i in 0..2000 {
        let mut row = TaggedRow::new();
        row.integer(integers[i % 6]);
        row.float(floats[i % 6]);
        row.integer(i as i64 * 1_000_000_007);
        row.null();
        row.bytes(&[0xff; 3][..i % 4]);
        rows.push(row.as_bytes().to_vec());
    }
    let mut chunk = RawChunk::default();
    chunk.push_rows(RowLayout::Tagged, 5, &rows);
    assert_stored_as(&chunk, BlockKind::Columns);
}

#[test]
fn a_table_of_4096_columns_and_one_of_the_most_columns_there_can_be_are_regrouped() {
    for columns in [4096u16, u16::MAX] {
        for layout in &LAYOUTS[1..] {
            let rows: Vec<_> = (0..6)
                .map(|row| {
                    let fields: Vec<_> = (0..u32::from(columns))
                        .map(|i| (i % 5 != 0).then(|| (i * row % 97).to_string().into_bytes()))
                        .collect();
                    row_of(*layout, &fields)
                })
                .collect();
            let mut chunk = RawChunk::default();
            chunk.push_rows(*layout, columns, &rows);
            assert_stored_as(&chunk, BlockKind::Columns);
        }
    }
}

#[test]
fn rows_without_columns_and_rows_without_bytes_come_back() {
    for layout in LAYOUTS {
        for rows in [0usize, 1, 100_000] {
            let mut chunk = RawChunk::default();
            chunk.push_rows(layout, 0, &vec![b""; rows]);
            chunk.push_rows(layout, 3, &vec![b""; rows]);
            chunk.push_rows(layout, 0, &vec![b"\n"; rows]);
            assert_comes_back(&chunk);
        }
    }
    assert_comes_back(&RawChunk::default());
}

#[test]
fn a_row_of_a_mebibyte_and_the_largest_chunk_come_back() {
    for layout in LAYOUTS {
        let mut chunk = RawChunk::default();
        let large = row_of(layout, &[Some(vec![b'z'; 1 << 20]), Some(b"1".to_vec())]);
        let small = row_of(layout, &[Some(b"abc".to_vec()), Some(b"2".to_vec())]);
        chunk.push_rows(layout, 2, &[small.clone(), large, small]);
        let left = MAX_CHUNK_BYTES - chunk.bytes.len();
        chunk.push_other(SegmentKind::Fragment { first: true, last: false }, &vec![1; left - 5]);
        chunk.push_other(SegmentKind::Bytes, b"five!");
        assert_comes_back(&chunk);
    }
}

#[test]
fn small_segments_share_a_block_and_large_ones_have_their_own() {
    let mut chunk = RawChunk::default();
    for i in 0..1000 {
        chunk.push_other(SegmentKind::Bytes, format!("CREATE TABLE t{i} (id INT PRIMARY KEY)").as_bytes());
        chunk.push_rows(RowLayout::LengthEncoded, 1, &[b"\x011", b"\x012"]);
    }
    chunk.push_other(SegmentKind::Bytes, &[0; OWN_BLOCK]);
    chunk.push_other(SegmentKind::Bytes, b"the last");
    let stored = encode_with(&chunk, "zstd", &new_hints(&chunk));
    assert_eq!(block_kinds(&stored), [BlockKind::Bundle, BlockKind::Bytes, BlockKind::Bundle]);
    assert!(stored.len() < chunk.bytes.len() / 4);
    assert_comes_back(&chunk);
}

#[test]
fn correlated_columns_stay_rows_and_others_do_not() {
    let hints = Arc::new(TableHints::default());
    let mut correlated = RawChunk::default();
    // Few different rows, in no order: one match each as rows, one for each field as columns.
    let rows: Vec<_> = (0u64..8000)
        .map(|i| {
            let customer = i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
            let field =
                |k: u64| Some(format!("{:x}", customer.wrapping_mul(k * 0x2545_f491_4f6c_dd1d)).into());
            row_of(RowLayout::LengthEncoded, &(1..7).map(field).collect::<Vec<_>>())
        })
        .collect();
    correlated.push_rows(RowLayout::LengthEncoded, 6, &rows);
    assert_eq!(block_kinds(&encode_with(&correlated, "zstd", &[hints])), [BlockKind::Rows]);

    let mut numbers = RawChunk::default();
    let rows: Vec<_> = (0u32..20_000).map(|i| format!("{i}\t{}\n", i.wrapping_mul(2_654_435_761))).collect();
    numbers.push_rows(RowLayout::CopyText, 2, &rows);
    assert_eq!(block_kinds(&encode_with(&numbers, "zstd", &new_hints(&numbers))), [BlockKind::Columns]);
}

#[test]
fn a_chunk_beyond_the_limits_is_refused() {
    let encoder = ChunkEncoder { codec: codec("none").unwrap(), level: Level::default() };
    let mut chunk = RawChunk::default();
    chunk.push_other(SegmentKind::Bytes, &vec![0; MAX_CHUNK_BYTES + 1]);
    assert!(encoder.encode(&chunk, &new_hints(&chunk), &mut Vec::new()).is_err());
    let mut chunk = RawChunk::default();
    chunk.push_rows(RowLayout::Opaque, 0, &vec![b""; MAX_CHUNK_ROWS + 1]);
    assert!(encoder.encode(&chunk, &new_hints(&chunk), &mut Vec::new()).is_err());
    let mut chunk = RawChunk::default();
    for _ in 0..=MAX_CHUNK_SEGMENTS {
        chunk.push_other(SegmentKind::Bytes, b"");
    }
    assert!(encoder.encode(&chunk, &new_hints(&chunk), &mut Vec::new()).is_err());
    chunk.segments.pop();
    assert_comes_back(&chunk);
}
