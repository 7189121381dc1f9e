//! Rows of any kind, in any layout: what is encoded must come back byte for byte.

#![no_main]

use std::sync::Arc;

use arbitrary::Arbitrary;
use backup_core::block::{ChunkEncoder, RawChunk, Segment, SegmentKind, TableHints, decode_chunk};
use backup_core::codec::{Level, codec};
use backup_core::rows::RowLayout;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Part {
    Rows { layout: u8, columns: u8, rows: Vec<Row>, times: u16 },
    Bytes(Vec<u8>),
    Fragment { first: bool, last: bool, bytes: Vec<u8> },
}

#[derive(Debug, Arbitrary)]
enum Row {
    Raw(Vec<u8>),
    Fields(Vec<Field>),
}

#[derive(Debug, Arbitrary)]
enum Field {
    Null,
    Integer(i64),
    Decimal(i32, u8),
    Float(u64),
    Text(Vec<u8>),
}

const LAYOUTS: [RowLayout; 4] =
    [RowLayout::Opaque, RowLayout::LengthEncoded, RowLayout::CopyText, RowLayout::Tagged];

impl Field {
    fn text(&self) -> Vec<u8> {
        match self {
            Field::Null => b"\\N".to_vec(),
            Field::Integer(value) => value.to_string().into_bytes(),
            Field::Decimal(whole, decimals) => format!("{whole}.{:02}", decimals % 100).into_bytes(),
            Field::Float(bits) => f64::from_bits(*bits).to_string().into_bytes(),
            Field::Text(text) => text.clone(),
        }
    }

    fn write(&self, layout: RowLayout, row: &mut Vec<u8>) {
        let text = self.text();
        match (layout, self) {
            (RowLayout::LengthEncoded, Field::Null) => row.push(0xfb),
            (RowLayout::LengthEncoded, _) if text.len() <= 250 => {
                row.push(text.len() as u8);
                row.extend(text);
            }
            (RowLayout::LengthEncoded, _) => {
                row.push(0xfc);
                row.extend((text.len() as u16).to_le_bytes());
                row.extend(text);
            }
            (RowLayout::Tagged, _) => {
                let mut tagged = backup_core::rows::TaggedRow::new();
                match self {
                    Field::Null => tagged.null(),
                    Field::Integer(value) => tagged.integer(*value),
                    Field::Float(bits) => tagged.float(f64::from_bits(*bits)),
                    Field::Decimal(..) => tagged.text(&text),
                    Field::Text(text) => tagged.bytes(text),
                }
                row.extend_from_slice(tagged.as_bytes());
            }
            _ => row.extend(text),
        }
    }
}

impl Row {
    fn bytes(&self, layout: RowLayout) -> Vec<u8> {
        let fields = match self {
            Row::Raw(bytes) => return bytes.clone(),
            Row::Fields(fields) => fields,
        };
        let mut row = Vec::new();
        for (i, field) in fields.iter().enumerate() {
            if layout == RowLayout::CopyText && i > 0 {
                row.push(b'\t');
            }
            field.write(layout, &mut row);
        }
        if layout == RowLayout::CopyText {
            row.push(b'\n');
        }
        row
    }
}

fuzz_target!(|input: (Vec<Part>, u8)| {
    let (parts, choice) = input;
    let mut chunk = RawChunk::default();
    for part in &parts {
        let (byte, row) = (chunk.bytes.len(), chunk.ends.len());
        let kind = match part {
            Part::Rows { layout, columns, rows, times } => {
                let layout = LAYOUTS[usize::from(layout % 4)];
                // Enough of them for a block of their own.
                let times = usize::from(*times % 2000);
                for row in rows.iter().cycle().take(rows.len() * times) {
                    if chunk.bytes.len() > 1 << 20 {
                        break;
                    }
                    chunk.bytes.extend(row.bytes(layout));
                    chunk.ends.push(chunk.bytes.len() as u32);
                }
                SegmentKind::Rows { layout, columns: (*columns).into() }
            }
            Part::Bytes(bytes) => {
                chunk.bytes.extend(bytes);
                SegmentKind::Bytes
            }
            Part::Fragment { first, last, bytes } => {
                chunk.bytes.extend(bytes);
                SegmentKind::Fragment { first: *first, last: *last }
            }
        };
        chunk.segments.push(Segment { kind, bytes: byte..chunk.bytes.len(), rows: row..chunk.ends.len() });
    }
    let name = ["none", "zstd", "gzip"][usize::from(choice % 16).saturating_sub(13)];
    let encoder = ChunkEncoder { codec: codec(name).unwrap(), level: Level::default() };
    let hints: Arc<TableHints> = Arc::default();
    let hints: Vec<_> = chunk.segments.iter().map(|_| Arc::clone(&hints)).collect();
    for _ in 0..2 {
        let mut stored = Vec::new();
        encoder.encode(&chunk, &hints, &mut stored).unwrap();
        assert!(decode_chunk(&stored).unwrap() == chunk);
    }
});
