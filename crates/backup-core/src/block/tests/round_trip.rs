//! Properties: what goes in comes out.

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::rows::TaggedRow;

/// A table's worth of values: each column has a manner, so that the encodings other than strings come up.
fn column(rows: usize) -> BoxedStrategy<Vec<Option<Vec<u8>>>> {
    let some = |text: String| Some(text.into_bytes());
    let vec = move |field: BoxedStrategy<Option<Vec<u8>>>| prop::collection::vec(field, rows);
    prop_oneof![
        vec(any::<i32>().prop_map(move |n| some(n.to_string())).boxed()),
        vec(any::<i64>().prop_map(move |n| some(n.to_string())).boxed()),
        any::<i32>().prop_map(move |from| (0..rows)
            .map(|i| some((i64::from(from) + i as i64).to_string()))
            .collect()),
        vec((any::<i32>(), 0u32..100).prop_map(move |(n, d)| some(format!("{n}.{d:02}"))).boxed()),
        vec("20[0-9]{2}-[01][0-9]-[0-3][0-9]".prop_map(some).boxed()),
        vec("[0-9]{0,20}".prop_map(some).boxed()),
        vec("-?0?[0-9]{0,3}[.]?[0-9]{0,3}".prop_map(some).boxed()),
        vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..30)).boxed()),
        vec(prop::option::weighted(0.1, "[a-z]{3}".prop_map(String::into_bytes)).boxed()),
        Just(vec![None; rows]),
        vec(Just(some("same".into())).boxed()),
    ]
    .boxed()
}

/// Rows of several columns, many enough for a block of their own.
fn table() -> impl Strategy<Value = (u16, Vec<Vec<Option<Vec<u8>>>>)> {
    (1usize..5, prop_oneof![1usize..20, 2000usize..2500]).prop_flat_map(|(columns, rows)| {
        let columns: Vec<_> = (0..columns).map(|_| column(rows)).collect();
        columns.prop_map(move |columns| {
            let rows =
                (0..rows).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect();
            (columns.len() as u16, rows)
        })
    })
}

/// Any segment at all: as often as not, one that its layout does not fit.
fn any_rows() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let field = prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..8)), 0..4);
    let row = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        (select(&LAYOUTS[..]), field).prop_map(|(layout, fields)| row_of(layout, &fields)),
    ];
    (prop::collection::vec(row, 0..20), select(&[1usize, 1, 2000][..])).prop_map(|(rows, times)| {
        let n = rows.len() * times;
        rows.into_iter().cycle().take(n).collect()
    })
}

fn any_chunk() -> impl Strategy<Value = RawChunk> {
    let segment = prop_oneof![
        3 => (select(&LAYOUTS[..]), 0u16..5, any_rows()).prop_map(|(layout, columns, rows)| (
            SegmentKind::Rows { layout, columns }, rows
        )),
        1 => prop::collection::vec(any::<u8>(), 0..100).prop_map(|b| (SegmentKind::Bytes, vec![b])),
        1 => (any::<bool>(), any::<bool>(), 0usize..40_000).prop_map(|(first, last, n)| (
            SegmentKind::Fragment { first, last }, vec![vec![7; n]]
        )),
    ];
    prop::collection::vec(segment, 0..6).prop_map(|segments| {
        let mut chunk = RawChunk::default();
        for (kind, parts) in segments {
            match kind {
                SegmentKind::Rows { layout, columns } => {
                    let rows = if columns == 4 && parts.concat().is_empty() { &[] } else { &parts[..] };
                    chunk.push_rows(layout, columns, rows);
                }
                kind => chunk.push_other(kind, &parts.concat()),
            }
        }
        chunk
    })
}

/// Rows of the tagged layout whose columns mostly keep to one type.
fn tagged_table() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let value = (0u8..10, any::<i64>(), any::<u64>(), prop::collection::vec(any::<u8>(), 0..12));
    let row = (value.clone(), value);
    (prop::collection::vec(row, 1..30), any::<bool>(), select(&[1usize, 500][..])).prop_map(
        |(rows, mixed, times)| {
            let mut out = Vec::new();
            for ((kind, integer, bits, bytes), (kind2, small, _, text)) in rows {
                let mut row = TaggedRow::new();
                match if mixed { kind % 5 } else { kind.min(1) } {
                    0 => row.null(),
                    1 => row.integer(integer),
                    2 => row.float(f64::from_bits(bits)),
                    3 => row.text(&bytes),
                    _ => row.bytes(&bytes),
                }
                row.float(f64::from_bits(bits));
                match kind2 {
                    0 => row.null(),
                    1..5 => row.text((small % 1000).to_string().as_bytes()),
                    _ => row.text(if mixed { &text } else { b"17" }),
                }
                out.push(row.as_bytes().to_vec());
            }
            repeat(&out, times)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_chunk_comes_back(chunk in any_chunk()) {
        assert_comes_back(&chunk);
    }

    #[test]
    fn tables_come_back_and_are_regrouped((columns, rows) in table(), layout in select(&LAYOUTS[1..])) {
        let rows: Vec<_> = rows.iter().map(|row| row_of(layout, row)).collect();
        let mut chunk = RawChunk::default();
        chunk.push_rows(layout, columns, &rows);
        assert_comes_back(&chunk);
        // A tab within a COPY field makes two of it.
        if layout != RowLayout::CopyText && chunk.bytes.len() >= OWN_BLOCK {
            prop_assert_eq!(block_kinds(&encode_by_column(&chunk, "none")), [BlockKind::Columns]);
        }
    }

    #[test]
    fn tagged_rows_come_back_and_are_regrouped(rows in tagged_table()) {
        let mut chunk = RawChunk::default();
        chunk.push_rows(RowLayout::Tagged, 3, &rows);
        assert_comes_back(&chunk);
        if chunk.bytes.len() >= OWN_BLOCK {
            prop_assert_eq!(block_kinds(&encode_by_column(&chunk, "none")), [BlockKind::Columns]);
        }
    }

    #[test]
    fn hints_change_sizes_and_never_content(chunks in prop::collection::vec(any_chunk(), 1..4)) {
        // One table's hints for segments that have nothing to do with one another.
        let hints: Arc<TableHints> = Arc::default();
        for chunk in chunks {
            let all: Vec<_> = chunk.segments.iter().map(|_| Arc::clone(&hints)).collect();
            let stored = encode_with(&chunk, "none", &all);
            prop_assert!(decode_chunk(&stored).unwrap() == chunk);
        }
    }
}
