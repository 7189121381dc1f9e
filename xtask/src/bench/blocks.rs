//! `cargo xtask bench blocks`: how blocks do on data that is less friendly than business tables.
//!
//! Each set is about 100 MB of MySQL rows, made with a fixed seed. It is encoded and decoded on one core, in blocks
//! of a mebibyte: as rows at zstd 1 and 3, and by column as a backup does it by default. Plain zstd over all the
//! bytes at once runs beside it, so that the rates of one machine compare. Cells read: MB stored @ MB/s of original
//! bytes to encode / to decode.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backup_core::block::{
    BLOCK_SIZE, ChunkEncoder, RawChunk, Segment, SegmentKind, TableHints, decode_chunk,
};
use backup_core::codec::{Level, codec};
use backup_core::rows::RowLayout;

type Outcome<T> = Result<T, Box<dyn Error>>;
/// Appends a row's fields.
type MakeRow = fn(&mut Random, &mut Row);

/// How large each set is.
const SET_BYTES: usize = 100_000_000;

/// Makes every set and prints the table.
pub(crate) fn run() -> Outcome<()> {
    println!("| MB @ MB/s in / out | zstd -1 | zstd -3 | rows L1 | rows L3 | columns |");
    println!("|---|---|---|---|---|---|");
    let sets: [(&str, MakeRow); 7] = [
        ("random 20 KB blobs", blobs),
        ("binary UUIDs", binary_uuids),
        ("text UUIDs", text_uuids),
        ("500 columns", many_columns),
        ("2 KB JSON", json),
        ("95% NULL", sparse),
        ("correlated columns", correlated),
    ];
    for (name, make_row) in sets {
        let set = Set::make(make_row);
        let by_column = || Arc::new(TableHints::default());
        print!("| {name} | {} | {}", set.plain(1)?, set.plain(3)?);
        print!(" | {}", set.blocks(RowLayout::Opaque, Level::of(1), by_column())?);
        print!(" | {}", set.blocks(RowLayout::Opaque, Level::of(3), by_column())?);
        println!(" | {} |", set.blocks(RowLayout::LengthEncoded, Level::default(), by_column())?);
        if name == "correlated columns" {
            let always = Arc::new(TableHints::always_columns());
            let before = set.blocks(RowLayout::LengthEncoded, Level::default(), always)?;
            println!("| {name}, without the trial | | | | | {before} |");
        }
    }
    Ok(())
}

/// Some table's rows.
struct Set {
    bytes: Vec<u8>,
    /// Where each row ends.
    ends: Vec<usize>,
    columns: u16,
}

/// One way of storing a set, measured.
struct Measured {
    raw: usize,
    stored: usize,
    encode: Duration,
    decode: Duration,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mb = self.raw as f64 / 1e6;
        // The last row may have exceeded the size of the set a little.
        let stored = self.stored as f64 / self.raw as f64 * 100.0;
        let (encode, decode) = (mb / self.encode.as_secs_f64(), mb / self.decode.as_secs_f64());
        write!(f, "{stored:.1} @{encode:.0} / {decode:.0}")
    }
}

impl Set {
    fn make(make_row: MakeRow) -> Self {
        let mut random = Random(42);
        let mut row = Row { bytes: Vec::with_capacity(SET_BYTES + (1 << 20)), fields: 0, number: 0 };
        let mut ends = Vec::new();
        while row.bytes.len() < SET_BYTES {
            row.fields = 0;
            row.number += 1;
            make_row(&mut random, &mut row);
            ends.push(row.bytes.len());
        }
        Self { bytes: row.bytes, ends, columns: row.fields }
    }

    /// One frame of plain zstd over everything.
    fn plain(&self, level: i32) -> Outcome<Measured> {
        let zstd = codec("zstd")?;
        let mut stored = touched(self.bytes.len());
        let start = Instant::now();
        zstd.encode(&self.bytes, &[], Level::of(level), &mut stored)?;
        let encode = start.elapsed();
        let mut back = touched(self.bytes.len());
        let start = Instant::now();
        zstd.decode(&stored, &mut back, self.bytes.len())?;
        let decode = start.elapsed();
        same(back == self.bytes)?;
        Ok(Measured { raw: self.bytes.len(), stored: stored.len(), encode, decode })
    }

    /// Chunks of one block each.
    fn blocks(&self, layout: RowLayout, level: Level, hints: Arc<TableHints>) -> Outcome<Measured> {
        let encoder = ChunkEncoder { codec: codec("zstd")?, level };
        let hints = [hints];
        let mut measured =
            Measured { raw: self.bytes.len(), stored: 0, encode: Duration::ZERO, decode: Duration::ZERO };
        let mut stored = Vec::new();
        for chunk in self.chunks(layout) {
            stored.clear();
            let start = Instant::now();
            encoder.encode(&chunk, &hints, &mut stored)?;
            measured.encode += start.elapsed();
            measured.stored += stored.len();
            let start = Instant::now();
            let back = decode_chunk(&stored)?;
            measured.decode += start.elapsed();
            same(back == chunk)?;
        }
        Ok(measured)
    }

    fn chunks(&self, layout: RowLayout) -> impl Iterator<Item = RawChunk> {
        let kind = SegmentKind::Rows { layout, columns: self.columns };
        let mut begin = 0;
        let mut ends = self.ends.iter().copied();
        std::iter::from_fn(move || {
            let mut chunk_ends = Vec::new();
            let mut end = begin;
            while end - begin < BLOCK_SIZE
                && let Some(next) = ends.next()
            {
                end = next;
                chunk_ends.push((end - begin) as u32);
            }
            let bytes = self.bytes.get(begin..end)?.to_vec();
            begin = end;
            let segment = Segment { kind, bytes: 0..bytes.len(), rows: 0..chunk_ends.len() };
            (!bytes.is_empty()).then(|| RawChunk { bytes, ends: chunk_ends, segments: vec![segment] })
        })
    }
}

/// Room for `n` bytes that the operating system has really given, so that no rate includes waiting for it.
fn touched(n: usize) -> Vec<u8> {
    let mut room = vec![1; n + n / 64];
    room.clear();
    room
}

fn same(same: bool) -> Outcome<()> {
    if same { Ok(()) } else { Err("what was decoded is not what was encoded".into()) }
}

/// The rows so far, as MySQL sends them; fields are appended to the last one.
struct Row {
    bytes: Vec<u8>,
    fields: u16,
    /// Which row this is: its AUTO_INCREMENT.
    number: u64,
}

impl Row {
    fn field(&mut self, value: &[u8]) {
        self.fields += 1;
        match value.len() {
            length @ 0..=250 => self.bytes.push(length as u8),
            length => {
                self.bytes.push(0xfc);
                self.bytes.extend((length as u16).to_le_bytes());
            }
        }
        self.bytes.extend_from_slice(value);
    }

    fn text(&mut self, value: impl std::fmt::Display) {
        self.field(value.to_string().as_bytes());
    }

    fn null(&mut self) {
        self.fields += 1;
        self.bytes.push(0xfb);
    }

    fn id(&mut self) {
        self.text(self.number);
    }
}

fn blobs(random: &mut Random, row: &mut Row) {
    row.id();
    let blob = random.bytes(20_000);
    row.field(&blob);
}

fn binary_uuids(random: &mut Random, row: &mut Row) {
    row.id();
    for _ in 0..3 {
        row.field(&random.uuid());
    }
}

fn text_uuids(random: &mut Random, row: &mut Row) {
    row.id();
    for _ in 0..3 {
        let hex: String = random.uuid().iter().map(|byte| format!("{byte:02x}")).collect();
        row.text(format_args!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        ));
    }
}

fn many_columns(random: &mut Random, row: &mut Row) {
    row.id();
    for column in 1..500u64 {
        match column % 10 {
            0 => row.text(random.below(2)),
            1 => row.text(random.below(50)),
            2 => row.text(random.below(10_000)),
            3 => row.text(random.below(1_000_000)),
            4 => row.text(format_args!("{}.{:02}", random.below(1000), random.below(100))),
            5 => row.text(format_args!("2026-{:02}-{:02}", 1 + random.below(12), 1 + random.below(28))),
            6 => row.text(random.word()),
            7 => row.text(format_args!("{} {}", random.word(), random.word())),
            8 => row.text(random.below(1 << 31)),
            _ => row.text(random.skewed(100)),
        }
    }
}

fn json(random: &mut Random, row: &mut Row) {
    row.id();
    let mut text = String::from("{\"items\": [");
    while text.len() < 2000 {
        text += &format!(
            "{{\"sku\": \"{}-{:07}\", \"name\": \"{} {}\", \"quantity\": {}, \"price\": {}.{:02}, \"code\": \"{:x}\", \"gift\": {}}}, ",
            random.word(),
            random.below(10_000_000),
            random.word(),
            random.word(),
            random.below(20),
            random.below(500),
            random.below(100),
            random.below(1 << 36),
            random.below(2) == 0,
        );
    }
    text += "null]}";
    row.text(text);
}

fn sparse(random: &mut Random, row: &mut Row) {
    row.id();
    for column in 1..60u64 {
        if random.below(100) < 95 {
            row.null();
        } else {
            match column % 4 {
                0 => row.text(random.below(10)),
                1 => row.text(random.word()),
                _ => row.text(
                    [
                        "waiting for the payment to arrive",
                        "confirmed by mail",
                        "on its way to the customer",
                        "returned",
                    ][random.skewed(4) as usize],
                ),
            }
        }
    }
}

fn correlated(random: &mut Random, row: &mut Row) {
    row.id();
    // Everything else follows from the product, of which there are few.
    let product = random.below(190);
    let mut of = Random(product);
    row.text(1000 + product);
    row.text(format_args!("{} {} of {:x}{:x}", of.word(), of.word(), of.next(), of.next()));
    row.text(format_args!("{}/{}/{:x}.jpeg", of.word(), of.word(), of.next()));
    row.text(random.below(1000));
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Small numbers more often than large ones.
    fn skewed(&mut self, n: u64) -> u64 {
        let widest = self.below(n) + 1;
        self.below(widest)
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n.div_ceil(8)).flat_map(|_| self.next().to_le_bytes()).take(n).collect()
    }

    fn uuid(&mut self) -> [u8; 16] {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        // Version 4, variant 1.
        (bits & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62).to_be_bytes()
    }

    /// One of 500 words.
    fn word(&mut self) -> String {
        const SYLLABLES: [&str; 16] = [
            "ka", "lor", "mi", "sen", "tu", "ber", "do", "fan", "gi", "hol", "ner", "po", "ra", "st", "vel",
            "win",
        ];
        let mut of = Random(self.skewed(500));
        (0..2 + of.below(3)).map(|_| SYLLABLES[of.below(16) as usize]).collect()
    }
}
