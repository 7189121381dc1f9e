//! Large tables are read in ranges of their primary keys: every row once, whatever the keys are and however the server orders them.

use std::collections::BTreeMap;
use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, BackupRequest, Ctx, DatabaseUrl, Format, PartKind, Registry,
    RestoreOptions,
};

use crate::server::Server;

/// Rows of so many bytes make a part.
const PART: &str = "8192";
const ROWS: u64 = 900;

/// A source of values that are the same every time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 16
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// What collations, character sets and paddings make of texts: equal though different, one as two, ends that do not count.
const LETTERS: &[&str] = &[
    "a",
    "A",
    "ä",
    "Á",
    "b",
    "B",
    "z",
    "Z",
    "ß",
    "ss",
    "ch",
    "aa",
    "ij",
    "0",
    "9",
    "_",
    "-",
    ".",
    " ",
    "  ",
    "é",
    "e\u{301}",
    "ø",
    "İ",
    "ı",
    "ソ",
    "表",
    "能",
    "中",
    "Я",
    "я",
    "\u{1f418}",
    "\u{1f600}",
    "\\",
    "'",
    "\u{0}",
    "\u{1}",
    "\t",
    "~",
    "\u{ff41}",
    "\u{feff}",
];

fn text(chance: &mut Chance) -> String {
    let letters = chance.below(7);
    let text: String = (0..letters).map(|_| chance.one(LETTERS)).collect();
    let digits: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
    format!("_utf8mb4 X'{digits}'")
}

fn binary(chance: &mut Chance) -> String {
    let bytes = chance.below(6);
    let digits: String =
        (0..bytes).map(|_| chance.one(&["00", "20", "41", "61", "7F", "80", "FF", "5C", "27"])).collect();
    format!("X'{digits}'")
}

fn number(chance: &mut Chance) -> String {
    let shift = chance.below(40);
    let sign = chance.one(&["", "-"]);
    format!("{sign}{}", chance.next() >> shift)
}

fn unsigned(chance: &mut Chance) -> String {
    let (high, shift) = (chance.next() << 16, chance.below(60));
    format!("{}", (high | chance.next() & 0xffff) >> shift)
}

fn decimal(chance: &mut Chance) -> String {
    format!("{}.{:06}", number(chance), chance.below(1_000_000))
}

fn date(chance: &mut Chance) -> String {
    match chance.below(20) {
        0 => "'0000-00-00'".to_owned(),
        1 => format!("'{:04}-00-00'", chance.below(9999)),
        _ => format!(
            "'{:04}-{:02}-{:02}'",
            1000 + chance.below(1100),
            1 + chance.below(12),
            1 + chance.below(31)
        ),
    }
}

fn time(chance: &mut Chance) -> String {
    let day = date(chance);
    let (hour, minute, micros) = (chance.below(24), chance.below(60), chance.below(1_000_000));
    format!("'{} {hour:02}:{minute:02}:59.{micros:06}'", day.trim_matches('\''))
}

fn stamp(chance: &mut Chance) -> String {
    format!("FROM_UNIXTIME({}.{:03})", 1 + chance.below(1 << 31), chance.below(1000))
}

fn few(chance: &mut Chance) -> String {
    format!("{}", chance.below(3))
}

fn member(chance: &mut Chance) -> String {
    chance.one(&["'z'", "'y'", "'x'", "''"]).to_owned()
}

type Make = fn(&mut Chance) -> String;

/// The columns of a key as they are declared, what makes their values, and the key itself if it is not these.
struct Key {
    columns: &'static [(&'static str, Make)],
    key: &'static str,
    /// Whether a table of such a key can be split.
    splits: bool,
}

const fn key(columns: &'static [(&'static str, Make)]) -> Key {
    Key { columns, key: "", splits: true }
}

const fn whole(columns: &'static [(&'static str, Make)]) -> Key {
    Key { columns, key: "", splits: false }
}

const KEYS: &[Key] = &[
    key(&[("BIGINT", number)]),
    key(&[("BIGINT UNSIGNED", unsigned)]),
    key(&[("DECIMAL(38,6)", decimal)]),
    key(&[("BIT(64)", unsigned)]),
    key(&[("DATE", date)]),
    key(&[("DATETIME(6)", time)]),
    key(&[("TIMESTAMP(3)", stamp)]),
    key(&[("VARCHAR(40) COLLATE utf8mb4_general_ci", text)]),
    key(&[("VARCHAR(40) COLLATE utf8mb4_unicode_ci", text)]),
    key(&[("VARCHAR(40) COLLATE utf8mb4_unicode_520_ci", text)]),
    key(&[("VARCHAR(40) COLLATE utf8mb4_bin", text)]),
    key(&[("VARCHAR(40) COLLATE utf8mb4_czech_ci", text)]),
    key(&[("VARCHAR(40) COLLATE utf8mb4_danish_ci", text)]),
    key(&[("CHAR(40) COLLATE utf8mb4_turkish_ci", text)]),
    key(&[("VARCHAR(40) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci", text)]),
    key(&[("VARCHAR(40) CHARACTER SET latin1", text)]),
    key(&[("VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_general_cs", text)]),
    key(&[("VARCHAR(40) CHARACTER SET sjis", text)]),
    key(&[("VARCHAR(40) CHARACTER SET gbk", text)]),
    key(&[("VARCHAR(40) CHARACTER SET utf16", text)]),
    key(&[("BINARY(5)", binary)]),
    key(&[("VARBINARY(20)", binary)]),
    Key {
        columns: &[("TEXT COLLATE utf8mb4_unicode_ci", text), ("INT", number)],
        key: "k0(3), k1",
        splits: false,
    },
    Key { columns: &[("BLOB", binary), ("INT", number)], key: "k0(2), k1", splits: false },
    key(&[("INT", few), ("VARCHAR(40) COLLATE utf8mb4_unicode_ci", text)]),
    key(&[("VARCHAR(10) COLLATE utf8mb4_general_ci", few), ("DATE", date), ("INT", number)]),
    key(&[("BINARY(2)", binary), ("TINYINT", few), ("BIGINT", number)]),
    key(&[("VARCHAR(8) COLLATE utf8mb4_general_ci", text), ("INT UNSIGNED", unsigned)]),
    whole(&[("ENUM('z','y','x')", member), ("INT", number)]),
    whole(&[("DOUBLE", decimal)]),
    whole(&[("TIME(6)", few), ("INT", number)]),
];

/// Keys that one of the products has.
const OF_MYSQL: &[Key] = &[
    key(&[("VARCHAR(40) COLLATE utf8mb4_0900_ai_ci", text)]),
    key(&[("VARCHAR(40) COLLATE utf8mb4_0900_as_cs", text)]),
    key(&[("VARCHAR(40) COLLATE utf8mb4_ja_0900_as_cs_ks", text)]),
    Key { columns: &[("INT", few), ("INT", number)], key: "k0 DESC, k1 ASC", splits: true },
];
const OF_MARIADB: &[Key] = &[
    key(&[("VARCHAR(40) COLLATE utf8mb4_unicode_nopad_ci", text)]),
    whole(&[("UUID", |_| "UUID()".to_owned())]),
];

fn statements(name: &str, key: &Key) -> Vec<String> {
    let columns: String =
        key.columns.iter().enumerate().map(|(i, (kind, _))| format!("k{i} {kind} NOT NULL, ")).collect();
    let names: Vec<_> = (0..key.columns.len()).map(|i| format!("k{i}")).collect();
    let of = if key.key.is_empty() { names.join(", ") } else { key.key.to_owned() };
    let mut chance = Chance(7);
    let mut rows = Vec::new();
    for row in 0..ROWS {
        let values: Vec<_> = key.columns.iter().map(|(_, make)| make(&mut chance)).collect();
        rows.push(format!("({}, REPEAT('x', {}))", values.join(", "), 60 + row % 50));
    }
    let mut statements = vec![
        "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'".to_owned(),
        format!(
            "CREATE TABLE {name} ({columns}filler VARCHAR(200), PRIMARY KEY ({of})) CHARACTER SET utf8mb4"
        ),
    ];
    // What is equal to one that is there, or cannot be in this character set, is left out or changed by the server.
    statements
        .extend(rows.chunks(300).map(|rows| format!("INSERT IGNORE INTO {name} VALUES {}", rows.join(", "))));
    statements.push(format!("ANALYZE TABLE {name}"));
    statements
}

fn url(server: &Server, database: &DatabaseUrl) -> DatabaseUrl {
    format!("{}?part-size={PART}", server.url_text(&database.path)).parse().unwrap()
}

/// What each part of a table selects.
async fn parts(url: &DatabaseUrl) -> BTreeMap<String, Vec<String>> {
    let ctx = Ctx::new();
    let engine = (backup_mysql::ENGINE.from_url)(url).unwrap();
    let session = engine.begin_backup(&ctx, BackupRequest::new(1)).await.unwrap();
    let mut parts = BTreeMap::<_, Vec<_>>::new();
    for part in session.plan(&ctx).await.unwrap() {
        if matches!(part.kind, PartKind::Rows { .. }) {
            let select = part.spec.get("select").unwrap().as_str().unwrap().to_owned();
            parts.entry(part.object.name).or_default().push(select);
        }
    }
    session.finish(&ctx).await.unwrap();
    parts
}

async fn every_row_is_in_one_part(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let more = if server.is_mariadb() { OF_MARIADB } else { OF_MYSQL };
    let keys: Vec<_> = KEYS.iter().chain(more).enumerate().map(|(i, key)| (format!("t{i}"), key)).collect();
    for (name, key) in &keys {
        server.run(Some(&source.path), &statements(name, key));
    }
    let url = url(&server, &source);
    let parts = parts(&url).await;
    for (name, key) in &keys {
        let declared: Vec<_> = key.columns.iter().map(|(kind, _)| *kind).collect();
        let parts = &parts[name];
        assert_eq!(parts.len() > 1, key.splits, "{declared:?}: {parts:#?}");
        // The server counts every row once, and each is read by way of the key.
        let counts: Vec<_> =
            parts.iter().map(|select| format!("(SELECT COUNT(*) FROM ({select}) part)")).collect();
        let query = format!("SELECT {} = COUNT(*), COUNT(*) FROM {name}", counts.join(" + "));
        let answer = server.ask(Some(&source.path), &query);
        assert!(answer.starts_with("1\t"), "{declared:?}: {answer}: {parts:#?}");
    }
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (Format::Binary, 2);
    let manager = BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()));
    let backup = manager.backup(&url).await.unwrap();
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert!(server.dump(&target.path) == server.dump(&source.path));
}

/// Rows that are new, changed or gone in one place move no bounds elsewhere.
async fn bounds_stay_where_they_were(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let rows: Vec<_> = (0..3000).map(|i| format!("({}, 'key-{i:05}', REPEAT('x', 80))", i * 3)).collect();
    let fill = |table: &str, columns: &str| {
        rows.chunks(500)
            .map(|rows| format!("INSERT INTO {table} (a, b, c) VALUES {}", rows.join(", ")))
            .chain([format!("ANALYZE TABLE {table}")])
            .fold(vec![format!("CREATE TABLE {table} ({columns})")], |mut all, one| {
                all.push(one);
                all
            })
    };
    server.run(Some(&source.path), &fill("numbers", "a INT PRIMARY KEY, b VARCHAR(20), c TEXT"));
    server.run(Some(&source.path), &fill("texts", "a INT, b VARCHAR(20) PRIMARY KEY, c TEXT"));
    let url = url(&server, &source);
    let before = parts(&url).await;
    assert_eq!(before, parts(&url).await, "nothing has changed");
    server.run(
        Some(&source.path),
        &["numbers", "texts"].map(|table| {
            format!(
                "DELETE FROM {table} WHERE a BETWEEN 3000 AND 3300; UPDATE {table} SET c = 'short' WHERE a < 60; \
                 INSERT INTO {table} (a, b, c) VALUES (3001, 'key-01000x', 'new'), (9001, 'key-09999', 'new'), (-5, 'a', 'new'); ANALYZE TABLE {table}"
            )
        }),
    );
    let after = parts(&url).await;
    for (table, before) in before {
        let stay = before.iter().filter(|part| after[&table].contains(part)).count();
        assert!(before.len() > 20 && stay * 10 >= before.len() * 8, "{table}: {stay} of {}", before.len());
    }
}

/// Where the server would not look for it by its key, either.
async fn a_row_in_a_partition_that_is_not_its_own_is_read(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let rows: Vec<_> = (0..900).map(|i| format!("({i}, REPEAT('x', 100))")).collect();
    let fill = |table: &str| format!("INSERT INTO {table} VALUES {}", rows.join(", "));
    let mut statements = vec![
        "CREATE TABLE parted (id INT PRIMARY KEY, c TEXT) PARTITION BY RANGE (id) \
         (PARTITION a VALUES LESS THAN (300), PARTITION `b``` VALUES LESS THAN (600), PARTITION c VALUES LESS THAN MAXVALUE)".to_owned(),
        "CREATE TABLE hashed (id INT PRIMARY KEY, c TEXT) PARTITION BY RANGE (id) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 \
         (PARTITION a VALUES LESS THAN (300), PARTITION b VALUES LESS THAN MAXVALUE)".to_owned(),
        fill("parted"),
        fill("hashed"),
    ];
    // Older ones look before they exchange anything.
    let version = server.version();
    if !server.is_mariadb() || version >= (11, 4) {
        statements.extend(
            [
                "CREATE TABLE aside LIKE parted",
                "ALTER TABLE aside REMOVE PARTITIONING",
                "INSERT INTO aside SELECT * FROM parted WHERE id >= 600",
                "INSERT INTO aside VALUES (-7, 'lost')",
                "ALTER TABLE parted EXCHANGE PARTITION c WITH TABLE aside WITHOUT VALIDATION",
                "DROP TABLE aside",
            ]
            .map(str::to_owned),
        );
    }
    statements.push("ANALYZE TABLE parted, hashed".to_owned());
    server.run(Some(&source.path), &statements);
    let url = url(&server, &source);
    let parts = parts(&url).await;
    assert_eq!((parts["parted"].len(), parts["hashed"].len()), (3, 4), "{parts:#?}");
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (Format::Binary, 2);
    let manager = BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()));
    let backup = manager.backup(&url).await.unwrap();
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert!(server.dump(&target.path) == server.dump(&source.path));
}

macro_rules! on {
    ($($server:ident)*) => {$(
        mod $server {
            #[tokio::test(flavor = "multi_thread")]
            async fn every_row_is_in_one_part() {
                super::every_row_is_in_one_part(stringify!($server)).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn a_row_in_a_partition_that_is_not_its_own_is_read() {
                super::a_row_in_a_partition_that_is_not_its_own_is_read(stringify!($server)).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn bounds_stay_where_they_were() {
                super::bounds_stay_where_they_were(stringify!($server)).await;
            }
        }
    )*};
}

on! { mariadb mariadb11 mysql }
