//! `docs/recover.py` reads what the encoder writes, so the specification says what is true.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use backup_core::block::{ChunkEncoder, RawChunk, Segment, SegmentKind, TableHints, decode_chunk};
use backup_core::codec::{Level, codecs};
use backup_core::rows::{RowLayout, TaggedRow};

/// Decodes every `*.chunk` and writes its rows and bytes, each behind its kind and length, to `*.out`.
const SCRIPT: &str = r#"
import pathlib, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
from recover import decode_chunk
for path in pathlib.Path(sys.argv[2]).glob("*.chunk"):
    with open(path.with_suffix(".out"), "wb") as out:
        for kind, detail, columns, content in decode_chunk(path.read_bytes()):
            out.write(f"{kind} {detail} {columns}\n".encode())
            for piece in content if kind == "rows" else [content]:
                out.write(f"{len(piece)}:".encode() + piece + b"\n")
"#;

/// What the script writes for `chunk`.
fn expected(chunk: &RawChunk) -> Vec<u8> {
    let mut out = Vec::new();
    let piece = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.extend(format!("{}:", bytes.len()).bytes());
        out.extend_from_slice(bytes);
        out.push(b'\n');
    };
    for (i, segment) in chunk.segments.iter().enumerate() {
        match segment.kind {
            SegmentKind::Rows { layout, columns } => {
                let layout = match layout {
                    RowLayout::LengthEncoded => "length-encoded",
                    RowLayout::CopyText => "copy-text",
                    RowLayout::Tagged => "tagged",
                    _ => "opaque",
                };
                out.extend(format!("rows {layout} {columns}\n").bytes());
                chunk.segment_rows(i).for_each(|row| piece(&mut out, row));
            }
            SegmentKind::Bytes => {
                out.extend(b"bytes 0 0\n");
                piece(&mut out, chunk.segment_bytes(i));
            }
            SegmentKind::Fragment { first, last } => {
                out.extend(format!("fragment {} 0\n", u8::from(first) + 2 * u8::from(last)).bytes());
                piece(&mut out, chunk.segment_bytes(i));
            }
        }
    }
    out
}

fn push(chunk: &mut RawChunk, kind: SegmentKind, pieces: &[Vec<u8>]) {
    let (byte, row) = (chunk.bytes.len(), chunk.ends.len());
    for piece in pieces {
        chunk.bytes.extend_from_slice(piece);
        if matches!(kind, SegmentKind::Rows { .. }) {
            chunk.ends.push(chunk.bytes.len() as u32);
        }
    }
    chunk.segments.push(Segment { kind, bytes: byte..chunk.bytes.len(), rows: row..chunk.ends.len() });
}

type MakeRow = fn(u64) -> Vec<u8>;

/// Values that bring up every encoding.
fn texts(i: u64) -> [Option<String>; 9] {
    let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [
        Some((1_000_000 + i).to_string()),
        Some((mixed.cast_signed() / 100).to_string()),
        Some(format!("{}{}.{:02}", if i.is_multiple_of(3) { "-1" } else { "" }, i % 50, i % 100)),
        Some(format!("2026-11-{:02} {:08x}", i % 28 + 1, mixed as u32)),
        Some("word ".repeat((mixed % 7) as usize)),
        (!i.is_multiple_of(5)).then(|| (i % 13).to_string()),
        None,
        i.is_multiple_of(50).then(|| "x".repeat((mixed % 400) as usize)),
        Some("same".into()),
    ]
}

fn length_encoded(i: u64) -> Vec<u8> {
    let mut row = Vec::new();
    for text in texts(i) {
        let Some(text) = text else {
            row.push(0xfb);
            continue;
        };
        match text.len() {
            length @ 0..=250 => row.push(length as u8),
            length => {
                row.push(0xfc);
                row.extend((length as u16).to_le_bytes());
            }
        }
        row.extend(text.as_bytes());
    }
    row
}

fn copy_text(i: u64) -> Vec<u8> {
    let fields: Vec<_> = texts(i).into_iter().map(|text| text.unwrap_or_else(|| "\\N".into())).collect();
    format!("{}\n", fields.join("\t")).into_bytes()
}

fn tagged(i: u64) -> Vec<u8> {
    let mixed = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut row = TaggedRow::new();
    row.integer(mixed.cast_signed());
    row.integer([i64::MIN, i64::MAX, -1][(i % 3) as usize]);
    row.float(f64::from_bits(mixed));
    match i % 4 {
        0 => row.null(),
        1 => row.text(b"text"),
        2 => row.bytes(&mixed.to_le_bytes()),
        _ => row.integer(-5),
    }
    match &texts(i)[5] {
        Some(text) => row.text(text.as_bytes()),
        None => row.null(),
    }
    row.as_bytes().to_vec()
}

fn sample() -> RawChunk {
    let mut chunk = RawChunk::default();
    let makers: [(RowLayout, u16, MakeRow); 4] = [
        (RowLayout::Opaque, 0, length_encoded),
        (RowLayout::LengthEncoded, 9, length_encoded),
        (RowLayout::CopyText, 9, copy_text),
        (RowLayout::Tagged, 5, tagged),
    ];
    // Large segments with a block each, one that does not split, and small ones in a bundle.
    for n in [1001, 3] {
        for (layout, columns, make) in makers {
            let rows: Vec<_> = (0..n).map(make).collect();
            push(&mut chunk, SegmentKind::Rows { layout, columns }, &rows);
            push(&mut chunk, SegmentKind::Rows { layout, columns: columns + 1 }, &rows);
        }
    }
    push(&mut chunk, SegmentKind::Bytes, &[b"CREATE TABLE t (i INT)".to_vec()]);
    push(&mut chunk, SegmentKind::Fragment { first: true, last: false }, &[vec![7; 50_000]]);
    push(&mut chunk, SegmentKind::Fragment { first: false, last: true }, &[b"its end".to_vec()]);
    chunk
}

#[test]
fn the_recovery_script_reads_every_kind_of_block() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let dir = tempfile::tempdir().unwrap();
    let chunk = sample();
    let hints: Vec<_> = chunk.segments.iter().map(|_| Arc::new(TableHints::always_columns())).collect();
    for codec in codecs() {
        let name = codec.name();
        let mut stored = Vec::new();
        ChunkEncoder { codec, level: Level::default() }.encode(&chunk, &hints, &mut stored).unwrap();
        assert!(decode_chunk(&stored).unwrap() == chunk);
        std::fs::write(dir.path().join(name).with_extension("chunk"), stored).unwrap();
    }
    let python = Command::new("python3").arg("-c").arg(SCRIPT).arg(docs).arg(dir.path()).output();
    let python = python.expect("this test needs python3, and a zstd module or program");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    for codec in codecs() {
        let out = std::fs::read(dir.path().join(codec.name()).with_extension("out")).unwrap();
        assert!(out == expected(&chunk), "{} came back differently", codec.name());
    }
}
