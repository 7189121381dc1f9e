//! kv databases as the suite uses them.
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use backup_core::{DatabaseUrl, EngineFactory, async_trait};
use backup_testkit::engine::{EngineFixture, Row, Table};
use example_engine::statement::Statement;
use serde_json::{Value, json};

/// kv databases in a scratch directory, each in a directory of its own.
pub(crate) struct KvFixture {
    factory: &'static EngineFactory,
    scratch: tempfile::TempDir,
    made: AtomicU32,
}

impl KvFixture {
    /// Databases for the toy's engine, or for one that speaks its language.
    pub(crate) fn of(factory: &'static EngineFactory) -> Self {
        Self { factory, scratch: tempfile::tempdir().unwrap(), made: AtomicU32::new(0) }
    }
}

fn path(url: &DatabaseUrl) -> PathBuf {
    PathBuf::from(&url.path)
}

fn url(path: &Path) -> DatabaseUrl {
    format!("kv:{}", path.display()).parse().unwrap()
}

#[async_trait]
impl EngineFixture for KvFixture {
    fn factory(&self) -> &'static EngineFactory {
        self.factory
    }

    async fn empty(&self) -> DatabaseUrl {
        let directory = self.scratch.path().join(self.made.fetch_add(1, Ordering::Relaxed).to_string());
        std::fs::create_dir(&directory).unwrap();
        url(&directory.join("shop.kv"))
    }

    fn renamed(&self, target: &DatabaseUrl, name: &str) -> DatabaseUrl {
        url(&path(target).with_file_name(format!("{name}.kv")))
    }

    async fn run(&self, url: &DatabaseUrl, statements: &[String]) {
        let file = OpenOptions::new().append(true).create(true).open(path(url)).unwrap();
        let mut file = BufWriter::new(file);
        for statement in statements {
            writeln!(file, "{statement}").unwrap();
        }
        file.flush().unwrap();
    }

    async fn dump(&self, url: &DatabaseUrl) -> String {
        let text = std::fs::read_to_string(path(url)).unwrap();
        let mut lines: Vec<_> = text.lines().filter(|line| !line.starts_with("--")).collect();
        lines.sort_unstable();
        lines.join("\n")
    }

    async fn traces(&self, target: &DatabaseUrl) -> BTreeSet<String> {
        let directory = std::fs::read_dir(path(target).parent().unwrap()).unwrap();
        directory.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    async fn everything(&self, url: &DatabaseUrl) {
        let columns = json!([["i", "integer"], ["f", "float"], ["t", "text"], ["b", "bytes"]]);
        let mut statements = vec![
            format!("table {}", json!({ "name": "types", "columns": columns })),
            format!("table {}", json!({ "name": "no columns", "columns": [] })),
            "row \"no columns\" []".to_owned(),
            "row \"no columns\" []".to_owned(),
        ];
        let floats = [0.0, -0.0, 0.1, f64::MIN_POSITIVE / 4.0, f64::MAX, f64::INFINITY, f64::NAN, -f64::NAN];
        let integers = [i64::MIN, -1, 0, 1, i64::MAX];
        let texts = ["", "\0", "\u{feff}", "\u{10ffff}", "a\r\nb", "\\N", "NULL"];
        let bytes: [&[u8]; 4] = [b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80"];
        let floats = floats.map(|float: f64| json!({ "float": float.to_bits() })).to_vec();
        let bytes = bytes.map(|bytes| json!({ "bytes": bytes })).to_vec();
        let columns = [integers.map(Value::from).to_vec(), floats, texts.map(Value::from).to_vec(), bytes];
        for (place, values) in columns.iter().enumerate() {
            for value in values.iter().chain([&Value::Null]) {
                let mut row = vec![Value::Null; 4];
                row[place] = value.clone();
                statements.push(format!("row \"types\" {}", json!(row)));
            }
        }
        statements.push(reference("itself", "types", "i", "types"));
        self.run(url, &statements).await;
    }

    async fn cycle(&self, url: &DatabaseUrl) {
        let columns = json!([["id", "integer"], ["other", "integer"]]);
        let mut statements: Vec<_> = ["hen", "egg", "chick"]
            .map(|name| format!("table {}", json!({ "name": name, "columns": columns })))
            .to_vec();
        for id in 0..100 {
            statements.push(format!("row \"hen\" [{id},{}]", 99 - id));
            statements.push(format!("row \"egg\" [{id},{}]", (id + 50) % 100));
            statements.push(format!("row \"chick\" [{id},{}]", (id + 1) % 100));
        }
        statements.push(reference("laid", "egg", "other", "hen"));
        statements.push(reference("hatched", "hen", "other", "egg"));
        statements.push(reference("sibling", "chick", "other", "chick"));
        self.run(url, &statements).await;
    }

    async fn total(&self, url: &DatabaseUrl, table: &str) -> i64 {
        let prefix = Statement::row_prefix(table);
        let lines = BufReader::new(File::open(path(url)).unwrap()).lines();
        let amount = |line: String| line.strip_prefix(&prefix).map(|values| amount_of(values).1);
        lines.filter_map(|line| amount(line.unwrap())).sum()
    }

    async fn transfer(&self, url: &DatabaseUrl, from: (&str, i64), to: (&str, i64), amount: i64) -> bool {
        let path = path(url);
        let next = path.with_extension("next");
        let changes = [(from, -amount), (to, amount)]
            .map(|((table, id), change)| (format!("{}[{id},", Statement::row_prefix(table)), change));
        let mut changed = 0;
        let mut file = BufWriter::new(File::create(&next).unwrap());
        for line in BufReader::new(File::open(&path).unwrap()).lines() {
            let mut line = line.unwrap();
            for (prefix, change) in &changes {
                if line.starts_with(prefix) {
                    let row = line.find('[').unwrap();
                    let (_, amount, rest) = amount_of(&line[row..]);
                    line = format!("{prefix}{},{rest}", amount + change);
                    changed += 1;
                }
            }
            writeln!(file, "{line}").unwrap();
        }
        file.flush().unwrap();
        assert_eq!(changed, 2, "a transfer changes two rows");
        // Everybody sees the old database, or the new one.
        std::fs::rename(next, path).unwrap();
        true
    }

    async fn load_script(&self, url: &DatabaseUrl, script: &Path) -> bool {
        std::fs::copy(script, path(url)).unwrap();
        true
    }

    async fn table(&self, url: &DatabaseUrl, table: Table<'_>) {
        let [id, amount, note] = table.columns;
        let columns = json!([[id, "integer"], [amount, "integer"], [note, "text"]]);
        self.run(url, &[format!("table {}", json!({ "name": table.name, "columns": columns }))]).await;
    }

    async fn insert(&self, url: &DatabaseUrl, table: &str, rows: &[Row]) {
        let prefix = Statement::row_prefix(table);
        let statement = |row: &Row| format!("{prefix}{}", json!(row));
        self.run(url, &rows.iter().map(statement).collect::<Vec<_>>()).await;
    }
}

fn reference(name: &str, table: &str, column: &str, to: &str) -> String {
    // In the order in which kv writes its keys.
    format!("reference {}", json!({ "name": name, "table": table, "column": column, "to": to }))
}

/// The id, the amount and the rest of the values of a row: `[1,100,"..."]`.
fn amount_of(values: &str) -> (i64, i64, &str) {
    let (id, rest) = values[1..].split_once(',').unwrap();
    let (amount, rest) = rest.split_once(',').unwrap();
    (id.parse().unwrap(), amount.parse().unwrap(), rest)
}
