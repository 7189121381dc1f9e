//! Rows out of pages are the rows that SQL gives, to the byte.

use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::prelude::*;
use rusqlite::params_from_iter;
use rusqlite::types::Value;

use super::*;
use crate::catalog::schema::objects;
use crate::catalog::table::Tables;

#[derive(Debug, Default, PartialEq)]
struct Kept(Vec<Vec<u8>>);

impl RowSink for Kept {
    fn row(&mut self, row: &[u8]) -> Result<()> {
        self.0.push(row.to_vec());
        Ok(())
    }

    fn begin_row(&mut self) -> Result<()> {
        self.0.push(Vec::new());
        Ok(())
    }

    fn fragment(&mut self, fragment: &[u8]) -> Result<()> {
        self.0.last_mut().unwrap().extend_from_slice(fragment);
        Ok(())
    }

    fn end_row(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What table t gives, with pages or without, and how many rows came out of pages; `None` where all did.
fn read(connection: &Connection, range: Option<(i64, i64)>, by_page: bool) -> Result<(Kept, Option<u64>)> {
    let table = objects(connection)?.into_iter().find(|object| object.name == "t");
    let table = Tables::of(connection)?.table(&table.ok_or_else(|| Error::damaged("no table"))?)?;
    let spec = RowsSpec { range, ..table.spec };
    let layout = Layout::of(connection).filter(|_| by_page);
    let (mut kept, mut paged) = (Kept::default(), Kept::default());
    rows(connection, layout.as_ref(), "t", &table.columns, &spec, &mut kept)?;
    let reader = Reader::of(connection, layout.as_ref(), "t", &table.columns, &spec);
    let left = reader.by_page(&mut TaggedRow::new(), &mut paged)?;
    assert!(kept.0.starts_with(&paged.0));
    Ok((kept, left))
}

fn begin(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("PRAGMA writable_schema=ON; BEGIN").unwrap();
    connection
}

/// Reads both ways; says how many rows there were, and how many pages gave if not all.
#[track_caller]
fn assert_alike(path: &Path, range: Option<(i64, i64)>) -> (usize, Option<u64>) {
    let connection = begin(path);
    let (by_sql, _) = read(&connection, range, false).unwrap();
    let (by_page, left) = read(&connection, range, true).unwrap();
    if let Some(i) = (0..by_sql.0.len().max(by_page.0.len())).find(|i| by_sql.0.get(*i) != by_page.0.get(*i))
    {
        panic!("row {i}: SQL {:?}, pages {:?}", by_sql.0.get(i), by_page.0.get(i));
    }
    (by_sql.0.len(), left)
}

/// An empty database of such pages.
fn create(path: &Path, page_size: u32, reserved: u8, settings: &str) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(&format!("PRAGMA page_size={page_size}; {settings}; PRAGMA user_version=1"))
        .unwrap();
    drop(connection);
    if reserved > 0 {
        // As a program would that keeps checksums at the end of its pages.
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        let end = (page_size - u32::from(reserved)) as u16;
        file.write_all_at(&[reserved], 20).unwrap();
        file.write_all_at(&end.to_be_bytes(), 105).unwrap();
    }
    Connection::open(path).unwrap()
}

fn values() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<i64>().prop_map(Value::Integer),
        (0u32..64, any::<bool>()).prop_map(|(bits, minus)| {
            let edge = i64::MAX >> bits;
            Value::Integer(if minus { -edge - 1 } else { edge })
        }),
        (-200i64..200).prop_map(Value::Integer),
        any::<f64>().prop_map(Value::Real),
        (-200i32..200).prop_map(|whole| Value::Real(whole.into())),
        prop::sample::select(vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e300, 9.3e18])
            .prop_map(Value::Real),
        "[0-9]{0,3}|.{0,40}".prop_map(Value::Text),
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Value::Blob),
        (0usize..5000, any::<u8>()).prop_map(|(length, byte)| Value::Blob(vec![byte; length])),
    ]
}

const TYPES: [&str; 14] = [
    "",
    "INTEGER",
    "REAL",
    "double precision",
    "TEXT",
    "BLOB",
    "NUMERIC",
    "FLOAT",
    "INT REAL",
    "FLOATING POINT",
    "VARCHAR(10)",
    "real text",
    "DATETIME",
    "BLOB REAL",
];

#[derive(Debug, Clone)]
struct Shape {
    page_size: u32,
    reserved: u8,
    settings: &'static str,
    types: Vec<&'static str>,
    alias: Option<usize>,
}

fn shapes() -> impl Strategy<Value = Shape> {
    (
        9u32..=16,
        prop::sample::select(vec![0, 0, 8, 32]),
        prop::sample::select(vec![
            "PRAGMA auto_vacuum=0",
            "PRAGMA auto_vacuum=1",
            "PRAGMA auto_vacuum=2; PRAGMA journal_mode=WAL",
            "PRAGMA journal_mode=WAL",
        ]),
        prop::collection::vec(prop::sample::select(TYPES.to_vec()), 1..7),
        prop::option::of(0usize..7),
    )
        .prop_map(|(bits, reserved, settings, types, alias)| Shape {
            page_size: 1 << bits,
            reserved,
            settings,
            alias: alias.map(|at| at % types.len()),
            types,
        })
}

/// How the rowids of an insertion come.
#[derive(Debug, Clone)]
enum Rowids {
    Next,
    Any(i64),
    Beside(i64),
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn pages_give_the_rows_that_sql_gives(
        shape in shapes(),
        batches in prop::collection::vec(
            (prop_oneof![Just(Rowids::Next), any::<i64>().prop_map(Rowids::Any), (-50i64..50).prop_map(Rowids::Beside)],
             prop::collection::vec(prop::collection::vec(values(), 7), 1..8), 1usize..60),
            1..6),
        churn in prop::collection::vec((2i64..9, 0i64..9, any::<bool>(), values()), 0..4),
        added in prop::option::of("[a-z]{0,3}"),
        ranges in prop::collection::vec((any::<i64>(), any::<i64>()), 2),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.db");
        let mut writer = create(&path, shape.page_size, shape.reserved, shape.settings);
        writer.execute_batch("PRAGMA wal_autocheckpoint=0").unwrap();
        let columns: Vec<_> = shape.types.iter().enumerate().map(|(i, kind)| {
            if shape.alias == Some(i) { format!("c{i} INTEGER PRIMARY KEY") } else { format!("c{i} {kind}") }
        }).collect();
        writer.execute_batch(&format!("CREATE TABLE t({})", columns.join(","))).unwrap();
        let transaction = writer.transaction().unwrap();
        let mut known = Vec::new();
        let count = columns.len();
        for (i, (rowids, values, times)) in batches.into_iter().enumerate() {
            for n in 0..times {
                let row = &values[n % values.len()];
                let rowid = match rowids {
                    Rowids::Next => Value::Null,
                    Rowids::Any(base) => Value::Integer(base.wrapping_mul(n as i64 + 1)),
                    Rowids::Beside(base) => Value::Integer(base + n as i64 * 3),
                };
                let fields = (0..count).filter(|c| shape.alias != Some(*c));
                let names: Vec<_> = fields.clone().map(|c| format!(",c{c}")).collect();
                let marks: Vec<_> = fields.clone().map(|c| format!(",?{}", c + 2)).collect();
                let sql = format!("INSERT OR IGNORE INTO t(rowid{}) VALUES(?1{})", names.concat(), marks.concat());
                let bound = std::iter::once(&rowid).chain(row.iter().take(count));
                let mut insert = transaction.prepare_cached(&sql).unwrap();
                // An aliased column's own parameter is not in the statement, or is one that nobody uses.
                let used = insert.parameter_count();
                insert.execute(params_from_iter(bound.take(used))).ok();
                known.push(transaction.last_insert_rowid());
            }
            if let Some((step, offset, delete, value)) = churn.get(i) {
                let at = format!("WHERE rowid % {step} = {}", offset % step);
                if *delete {
                    transaction.execute(&format!("DELETE FROM t {at}"), ()).unwrap();
                } else if let Some(column) = (0..count).find(|c| shape.alias != Some(*c)) {
                    transaction.execute(&format!("UPDATE t SET c{column} = ?1 {at}"), [value]).unwrap();
                }
            }
            if i == 1 && let Some(default) = &added {
                transaction.execute_batch(&format!("ALTER TABLE t ADD COLUMN added REAL DEFAULT '{default}'")).unwrap();
            }
        }
        transaction.commit().unwrap();
        let (_, left) = assert_alike(&path, None);
        // Nothing is left to SQLite but rows that are older than a column.
        prop_assert!(left.is_none() || added.is_some());
        let (first, last) = (known.iter().min().copied().unwrap(), known.iter().max().copied().unwrap());
        for (a, b) in ranges {
            let within = |x: i64| known[x.unsigned_abs() as usize % known.len()].saturating_add(x % 3);
            assert_alike(&path, Some((within(a).min(within(b)), within(a).max(within(b)))));
        }
        assert_alike(&path, Some((first, first)));
        assert_alike(&path, Some((last, i64::MAX)));
    }

    #[test]
    fn damaged_pages_give_what_sql_gives_or_an_error(
        page_bits in 9u32..=12,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u16>(), prop_oneof![any::<u8>(), Just(0), Just(255), Just(5), Just(13)]), 1..6),
        head in any::<bool>(),
        range in prop::option::of((0i64..900, 0i64..900)),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.db");
        let page_size = 1u32 << page_bits;
        let writer = create(&path, page_size, 0, "PRAGMA auto_vacuum=0");
        writer.execute_batch(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, a REAL, b TEXT, c BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 800)
             INSERT INTO t SELECT i, i / 2.0, printf('%.*c', i % 90, 'x'), zeroblob(CASE i % 50 WHEN 0 THEN 3000 ELSE i % 7 END) FROM n;
             DELETE FROM t WHERE id % 11 = 3",
        ).unwrap();
        drop(writer);
        let pages = std::fs::metadata(&path).unwrap().len() / u64::from(page_size);
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        for (page, at, byte) in damage {
            let page = 1 + page.index(pages as usize - 1) as u64;
            // Most of what can go wrong does so in the first bytes of a page.
            let at = u64::from(at) % if head { 24 } else { u64::from(page_size) };
            file.write_all_at(&[byte], page * u64::from(page_size) + at).unwrap();
        }
        let range = range.map(|(a, b)| (a.min(b), a.max(b)));
        let connection = begin(&path);
        let by_sql = read(&connection, range, false);
        let by_page = read(&connection, range, true);
        match (by_sql, by_page) {
            (Ok((by_sql, _)), Ok((by_page, _))) => prop_assert!(by_sql == by_page, "{} rows, {} rows", by_sql.0.len(), by_page.0.len()),
            (_, Err(_)) => {}
            (Err(error), Ok((by_page, left))) => prop_assert!(false, "SQL: {error}; pages gave {} rows, {left:?}", by_page.0.len()),
        }
    }
}

#[test]
fn rows_beyond_the_limit_of_one_piece_are_left_to_sql() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let writer = create(&path, 4096, 0, "PRAGMA journal_mode=WAL");
    writer
        .execute_batch(
            "CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 'x'), (2, zeroblob(1000000)), (3, zeroblob(1048570)), (4, zeroblob(3000000)), (5, 'y')",
        )
        .unwrap();
    assert_eq!(assert_alike(&path, None), (5, Some(2)));
    assert_eq!(assert_alike(&path, Some((5, 9))), (1, None));
}

#[test]
fn rows_older_than_a_column_are_left_to_sql() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let writer = create(&path, 512, 0, "PRAGMA auto_vacuum=1");
    writer
        .execute_batch(
            "CREATE TABLE t(a); INSERT INTO t VALUES(1), (2), (3); ALTER TABLE t ADD COLUMN b REAL DEFAULT 7;
             UPDATE t SET b = 8 WHERE a <> 2",
        )
        .unwrap();
    assert_eq!(assert_alike(&path, None), (3, Some(1)));
}

#[test]
fn tables_of_other_kinds_are_left_to_sql() {
    let directory = tempfile::tempdir().unwrap();
    for (i, (settings, table, left)) in [
        ("PRAGMA encoding='UTF-16le'", "t(a, b)", Some(0)),
        ("PRAGMA encoding='UTF-8'", "t(a PRIMARY KEY, b) WITHOUT ROWID", Some(0)),
        ("PRAGMA encoding='UTF-8'", "t(a, b, c AS (a + b))", Some(0)),
        ("PRAGMA encoding='UTF-8'", "t(a, b REAL, c AS (a + b) STORED)", Some(0)),
        ("PRAGMA encoding='UTF-8'", "t(a INT, b REAL) STRICT", None),
        ("PRAGMA encoding='UTF-8'", "t(a, rowid, b)", None),
    ]
    .into_iter()
    .enumerate()
    {
        let path = directory.path().join(format!("{i}.db"));
        let writer = create(&path, 1024, 0, settings);
        writer
            .execute_batch(&format!(
                "{settings}; CREATE TABLE {table}; INSERT INTO t(a, b) VALUES(1, 2), (2, 3)"
            ))
            .unwrap();
        let connection = begin(&path);
        assert_eq!((i, read(&connection, None, true).unwrap().1), (i, left));
        assert_alike(&path, None);
    }
}

#[test]
fn outside_a_transaction_pages_are_not_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let writer = create(&path, 1024, 0, "PRAGMA journal_mode=WAL");
    writer.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES(1)").unwrap();
    assert_eq!(read(&writer, None, true).unwrap().1, Some(0));
    writer.execute_batch("BEGIN").unwrap();
    assert_eq!(read(&writer, None, true).unwrap().1, None);
}

#[test]
fn a_table_that_poses_as_the_pages_is_not_asked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("t.db");
    let writer = create(&path, 1024, 0, "PRAGMA journal_mode=WAL");
    writer
        .execute_batch(
            "CREATE TABLE posing(pgno, data); PRAGMA writable_schema=ON;
             UPDATE sqlite_schema SET name = 'sqlite_dbpage', tbl_name = 'sqlite_dbpage', sql = 'CREATE TABLE sqlite_dbpage(pgno, data)'",
        )
        .unwrap();
    drop(writer);
    assert!(Layout::of(&begin(&path)).is_none());
}
