//! About 1.15 GB of rows in the mix that all servers are measured with, as tab-separated text: wide rows of 280 bytes make two thirds of
//! it, then a narrow table, documents, and 200 small tables. The tables are as large, and as hard to compress, as those that the
//! targets were set with: `zstd -3` makes 0.38 of them and `zstd -1` an eighth more.

use std::io::Write;

use crate::Result;
use crate::sample::{Numbers, day};

pub(crate) const SMALL_TABLES: u32 = 200;

/// Words as they come in texts: some thousands, a few of them often.
struct Words(Vec<String>);

impl Words {
    fn new() -> Self {
        const SYLLABLES: [&str; 32] = [
            "an", "cho", "r", "bea", "con", "car", "go", "de", "ck", "fa", "thom", "gal", "ley", "ha",
            "bour", "is", "land", "je", "tty", "ke", "el", "lan", "tern", "ma", "st", "nor", "the", "ly",
            "oa", "pi", "lot", "er",
        ];
        let mut numbers = Numbers::new(1);
        let mut word = || {
            let length = [1, 2, 2, 3, 3, 4][numbers.below(6) as usize];
            (0..length).map(|_| SYLLABLES[numbers.below(32) as usize]).collect()
        };
        Self((0..8000).map(|_| word()).collect())
    }

    fn text(&self, numbers: &mut Numbers, length: i64) -> String {
        let mut word = || {
            let chance = numbers.below(1 << 40) as f64 / (1u64 << 40) as f64;
            self.0[(self.0.len() as f64 * chance * chance.sqrt()) as usize].as_str()
        };
        (0..length).map(|_| word()).collect::<Vec<_>>().join(" ")
    }
}

/// The columns of `big`: id, customer, placed, state, amount, price, reference, email, note, address.
pub(crate) fn big(out: &mut dyn Write) -> Result {
    let mut numbers = Numbers::new(2);
    let vocabulary = Words::new();
    for id in 1..=3_000_000i64 {
        let customer = numbers.below(200_000);
        let state = ["new", "paid", "sent", "returned"][numbers.below(4) as usize];
        let (placed, price) = (day(&mut numbers), numbers.below(1_000_000) as f64 / 100.0);
        let (amount, reference) = (1 + numbers.below(20), numbers.next());
        let words = 12 + numbers.below(18);
        let (note, address) = (vocabulary.text(&mut numbers, words), vocabulary.text(&mut numbers, 6));
        writeln!(
            out,
            "{id}\t{customer}\t{placed}\t{state}\t{amount}\t{price}\t{reference:016x}\tcustomer.{customer}@example.org\t{note}\t{address}"
        )?;
    }
    Ok(())
}

/// Three integers.
pub(crate) fn narrow(out: &mut dyn Write) -> Result {
    let mut numbers = Numbers::new(3);
    for i in 0..5_000_000i64 {
        writeln!(out, "{i}\t{}\t{}", numbers.below(1000), numbers.next() as i32)?;
    }
    Ok(())
}

/// An id, JSON of about 1.5 KB, and up to 800 random bytes as hexadecimal digits behind `prefix`.
pub(crate) fn docs(out: &mut dyn Write, prefix: &str) -> Result {
    let mut numbers = Numbers::new(4);
    let vocabulary = Words::new();
    for id in 1..=100_000i64 {
        write!(out, "{id}\t{{\"order\":{id},\"items\":[")?;
        for i in 0..20 {
            let comma = if i == 0 { "" } else { "," };
            let (name, price) = (vocabulary.text(&mut numbers, 3), numbers.below(9999));
            write!(out, "{comma}{{\"id\":{},\"name\":\"{name}\",\"price\":{price}}}", id * 20 + i)?;
        }
        write!(out, "]}}\t{prefix}")?;
        let length = numbers.below(800) as usize;
        for byte in numbers.bytes(length) {
            write!(out, "{byte:02x}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// An id, two words, and a fraction.
pub(crate) fn small(out: &mut dyn Write, table: u32) -> Result {
    let mut numbers = Numbers::new(1000 + u64::from(table));
    for id in 0..100 {
        writeln!(out, "{id}\t{}\t{}", numbers.text(2), numbers.below(1000) as f64 / 7.0)?;
    }
    Ok(())
}
