//! Sample databases that the project makes itself, the same every time.

use std::path::Path;

use rusqlite::{Connection, params};

use crate::Result;

/// Numbers that look random and are the same on every machine.
#[derive(Debug)]
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: i64) -> i64 {
        (self.next() >> 1).cast_signed() % n
    }

    pub(crate) fn bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    pub(crate) fn text(&mut self, words: i64) -> String {
        const WORDS: [&str; 16] = [
            "anchor",
            "beacon",
            "cargo",
            "deck",
            "ebb",
            "fathom",
            "galley",
            "harbour",
            "island",
            "jetty",
            "keel",
            "lantern",
            "mast",
            "northerly",
            "oar",
            "pilot",
        ];
        let words: Vec<_> = (0..words).map(|_| WORDS[self.below(16) as usize]).collect();
        words.join(" ")
    }
}

/// A database to be filled as fast as can be.
pub(crate) fn create(path: &Path) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536;")?;
    Ok(db)
}

/// A small shop: tables, keys, an index, a view, a trigger and a full-text index.
pub(crate) fn shop(path: &Path, orders: i64) -> Result {
    let db = create(path)?;
    db.execute_batch(
        "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT UNIQUE, joined TEXT);
         CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT, price NUMERIC, picture BLOB);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer, item INTEGER REFERENCES item,
           amount INTEGER CHECK (amount > 0), placed TEXT, note TEXT);
         CREATE INDEX orders_by_customer ON orders (customer, placed);
         CREATE VIEW turnover AS SELECT customer, sum(amount * price) AS total FROM orders JOIN item ON item.id = item GROUP BY 1;
         CREATE TRIGGER no_free_items BEFORE INSERT ON item WHEN new.price < 0 BEGIN SELECT raise(ABORT, 'free'); END;
         CREATE VIRTUAL TABLE notes USING fts5(note);
         BEGIN;",
    )?;
    let mut numbers = Numbers::new(1);
    let (customers, items) = (orders / 20 + 1, orders / 50 + 1);
    let mut insert = db.prepare("INSERT INTO customer VALUES (?1, ?2, ?3, ?4)")?;
    for id in 1..=customers {
        let name = numbers.text(2);
        insert.execute(params![
            id,
            name,
            format!("{}.{id}@example.org", name.replace(' ', ".")),
            day(&mut numbers)
        ])?;
    }
    let mut insert = db.prepare("INSERT INTO item (title, price, picture) VALUES (?1, ?2, ?3)")?;
    for _ in 0..items {
        insert.execute(params![
            numbers.text(3),
            numbers.below(100_000) as f64 / 100.0,
            numbers.bytes(900)
        ])?;
    }
    let mut insert = db.prepare("INSERT INTO orders VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
    for id in 1..=orders {
        let (customer, item) = (1 + numbers.below(customers), 1 + numbers.below(items));
        let (amount, placed, words) = (1 + numbers.below(9), day(&mut numbers), numbers.below(12));
        insert.execute(params![id, customer, item, amount, placed, numbers.text(words)])?;
    }
    db.execute_batch("INSERT INTO notes SELECT note FROM orders WHERE id % 100 = 0; COMMIT; PRAGMA wal_checkpoint(TRUNCATE);")?;
    Ok(())
}

pub(crate) fn day(numbers: &mut Numbers) -> String {
    format!("20{:02}-{:02}-{:02}", 10 + numbers.below(16), 1 + numbers.below(12), 1 + numbers.below(28))
}
