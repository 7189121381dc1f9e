//! Whole databases there and back, without the core between: parts are kept in memory as the core would hand them on.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use backup_core::{
    BackupRequest, Ctx, Item, Part, PartKind, PartSource, RestoreRequest, RestoreSession, Result, Script,
    ScriptInfo, ScriptWriter, ServerInfo,
};
use rusqlite::Connection;

use crate::backup::write;
use crate::catalog::plan::plan;
use crate::config::Config;
use crate::connect::Readers;
use crate::ddl::script::SqliteScript;
use crate::restore::Restore;
use crate::rows::RowSink;

mod many;
mod publishing;
#[path = "../../tests/wicked/mod.rs"]
mod wicked;

/// Rows or statements, each in one piece or in fragments.
#[derive(Debug, Default, Clone, PartialEq)]
struct Kept {
    rows: Vec<Vec<Vec<u8>>>,
}

impl RowSink for Kept {
    fn row(&mut self, row: &[u8]) -> Result<()> {
        self.rows.push(vec![row.to_vec()]);
        Ok(())
    }

    fn begin_row(&mut self) -> Result<()> {
        self.rows.push(Vec::new());
        Ok(())
    }

    fn fragment(&mut self, fragment: &[u8]) -> Result<()> {
        assert!(fragment.len() <= 1 << 20);
        // Cut at odd places, as blocks are.
        self.rows.last_mut().unwrap().extend(fragment.chunks(99_991).map(<[u8]>::to_vec));
        Ok(())
    }

    fn end_row(&mut self) -> Result<()> {
        Ok(())
    }
}

struct Replayed<'a> {
    kept: &'a Kept,
    row: usize,
    piece: usize,
}

impl PartSource for Replayed<'_> {
    fn next(&mut self) -> Result<Option<Item<'_>>> {
        let Some(row) = self.kept.rows.get(self.row) else { return Ok(None) };
        let (first, last) = (self.piece == 0, self.piece + 1 == row.len());
        let bytes = &row[self.piece];
        if last {
            (self.row, self.piece) = (self.row + 1, 0);
        } else {
            self.piece += 1;
        }
        Ok(Some(if first && last { Item::Row(bytes) } else { Item::Fragment { bytes, first, last } }))
    }
}

fn replayed(kept: &Kept) -> Replayed<'_> {
    Replayed { kept, row: 0, piece: 0 }
}

struct Kit {
    parts: Vec<Part>,
    kept: BTreeMap<u32, Kept>,
}

fn config(path: &Path) -> Config {
    Config { path: path.to_owned(), busy_timeout: Duration::from_millis(50) }
}

fn back_up(path: &Path, request: &BackupRequest) -> Kit {
    let readers = Readers::open(&Ctx::new(), &config(path), request.jobs).unwrap();
    readers
        .lend(|reader| {
            let parts = plan(&Ctx::new(), reader, request)?;
            let mut kept = BTreeMap::new();
            for part in &parts {
                let mut sink = Kept::default();
                write(reader, readers.layout(), request.content, part, &mut sink)?;
                kept.insert(part.id.0, sink);
            }
            Ok(Kit { parts, kept })
        })
        .unwrap()
}

fn restore(path: &Path, request: &RestoreRequest, kit: &Kit) -> Result<()> {
    let ctx = Ctx::new();
    let restore = Restore::begin(&ctx, &config(path), request, &kit.parts)?;
    for part in &kit.parts {
        restore.load_from(&ctx, part, &mut replayed(&kit.kept[&part.id.0]))?;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(Box::new(restore).finish(&ctx))
}

fn shell(path: &Path, command: &str) -> String {
    let output = Command::new("sqlite3").arg(path).arg(command).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[track_caller]
fn assert_same(source: &Path, copy: &Path) {
    for command in [
        ".dump",
        ".dump --preserve-rowids",
        "PRAGMA page_size; PRAGMA encoding; PRAGMA auto_vacuum; PRAGMA user_version; PRAGMA application_id; PRAGMA journal_mode;",
        "SELECT type, name, tbl_name, sql, rootpage > 0 FROM sqlite_schema ORDER BY type, name",
    ] {
        let (expected, found) = (shell(source, command), shell(copy, command));
        if let Some((a, b)) = expected.lines().zip(found.lines()).find(|(a, b)| a != b) {
            let short = |line: &str| line.chars().take(300).collect::<String>();
            panic!("{command}\nsource: {}\ncopy:   {}", short(a), short(b));
        }
        assert_eq!(expected.lines().count(), found.lines().count(), "{command}");
        assert_eq!(expected.len(), found.len(), "{command}");
    }
}

/// The bytes of every value, by the same reader that makes backups.
#[track_caller]
fn assert_same_rows(source: &Path, copy: &Path) {
    let rows = |path: &Path| {
        let kit = back_up(path, &BackupRequest::new(1));
        let of = |part: &Part| (format!("{} {:?}", part.object, part.spec), kit.kept[&part.id.0].clone());
        kit.parts.iter().filter(|part| matches!(part.kind, PartKind::Rows { .. })).map(of).collect::<Vec<_>>()
    };
    for (a, b) in rows(source).into_iter().zip(rows(copy)) {
        assert!(a == b, "{} is different from {}", a.0, b.0);
    }
}

#[track_caller]
fn assert_sound(copy: &Path) {
    let connection = Connection::open(copy).unwrap();
    let mut found: Vec<String> = Vec::new();
    let mut statement = connection.prepare("PRAGMA integrity_check").unwrap();
    found.extend(statement.query_map((), |row| row.get(0)).unwrap().map(Result::unwrap_or_default_string));
    assert!(
        found
            .iter()
            .all(|line| line == "ok" || line.contains("NULL value") || line.contains("no such module")),
        "{found:?}"
    );
}

trait OrDefault {
    fn unwrap_or_default_string(self) -> String;
}

impl OrDefault for rusqlite::Result<String> {
    fn unwrap_or_default_string(self) -> String {
        self.unwrap_or_else(|error| error.to_string())
    }
}

fn script(kit: &Kit) -> (Vec<u8>, BTreeMap<u32, Kept>) {
    let info = ScriptInfo::new(ServerInfo::new("SQLite", "3", "x"), std::time::SystemTime::UNIX_EPOCH.into());
    let mut whole = Vec::new();
    let mut statements = BTreeMap::new();
    SqliteScript.header(&info, &mut Script::new(&mut whole)).unwrap();
    for part in &kit.parts {
        let mut text = Vec::new();
        let mut script = Script::new(&mut text);
        SqliteScript.part(part, &mut replayed(&kit.kept[&part.id.0]), &mut script).unwrap();
        let places = script.into_places().1;
        let at = |place: &backup_core::Place| {
            let start = place.offset as usize;
            vec![text[start..start + place.length as usize].to_vec()]
        };
        statements.insert(part.id.0, Kept { rows: places.iter().map(at).collect() });
        whole.extend(text);
    }
    SqliteScript.footer(&info, &mut Script::new(&mut whole)).unwrap();
    (whole, statements)
}

/// Through parts, through our own restore of the script, and through the shell.
fn every_way(source: &Path, directory: &Path) {
    let kit = back_up(source, &BackupRequest::new(2));
    let copy = directory.join("copy.db");
    restore(&copy, &RestoreRequest::new(2), &kit).unwrap();
    assert_same(source, &copy);
    assert_same_rows(source, &copy);
    assert_sound(&copy);

    let (text, statements) = script(&kit);
    let mut parts = kit.parts.clone();
    parts.iter_mut().for_each(|part| part.kind = PartKind::Sql);
    let copy = directory.join("from_script.db");
    restore(&copy, &RestoreRequest::new(2), &Kit { parts, kept: statements }).unwrap();
    assert_same(source, &copy);
    assert_same_rows(source, &copy);

    let (copy, file) = (directory.join("from_shell.db"), directory.join("script.sql"));
    std::fs::write(&file, text).unwrap();
    let input = std::fs::File::open(&file).unwrap();
    let output = Command::new("sqlite3").arg("-bail").arg(&copy).stdin(Stdio::from(input)).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
    assert_same(source, &copy);
    assert_same_rows(source, &copy);
    let left: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("lifeboat")), "{left:?}");
}

#[test]
fn a_wicked_database_comes_back_the_same_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("wicked.db");
    wicked::wicked(&source);
    every_way(&source, directory.path());
    let copy = Connection::open(directory.path().join("copy.db")).unwrap();
    for check in [
        "INSERT INTO docs(docs) VALUES('integrity-check')",
        "INSERT INTO external(external, rank) VALUES('integrity-check', 1)",
        "INSERT INTO contentless(contentless) VALUES('integrity-check')",
        "INSERT INTO old4(old4) VALUES('integrity-check')",
    ] {
        copy.execute(check, ()).unwrap_or_else(|error| panic!("{check}: {error}"));
    }
    let boxes: String = copy.query_row("SELECT rtreecheck('boxes')", (), |row| row.get(0)).unwrap();
    assert_eq!(boxes, "ok");
    let hit: String =
        copy.query_row("SELECT title FROM docs WHERE docs MATCH 'foxes'", (), |row| row.get(0)).unwrap();
    assert_eq!(hit, "first");
}

#[test]
fn a_wicked_database_in_utf16_comes_back_the_same_every_way() {
    for encoding in ["UTF-16le", "UTF-16be"] {
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("wicked.db");
        wicked::wicked_utf16(&source, encoding);
        every_way(&source, directory.path());
    }
}

#[test]
fn large_values_come_back_the_same_every_way() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("large.db");
    let connection = Connection::open(&source).unwrap();
    connection.execute_batch("PRAGMA page_size=512").unwrap();
    wicked::large(&connection);
    every_way(&source, directory.path());
}

#[test]
fn an_empty_database_comes_back_empty() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("empty.db");
    std::fs::write(&source, b"").unwrap();
    let kit = back_up(&source, &BackupRequest::new(1));
    restore(&directory.path().join("copy.db"), &RestoreRequest::new(1), &kit).unwrap();
    assert_same(&source, &directory.path().join("copy.db"));
}

#[test]
fn a_large_table_is_read_in_ranges_that_make_up_the_whole() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("split.db");
    let connection = Connection::open(&source).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE t(a, b);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000)
             INSERT INTO t SELECT i, randomblob(1000) FROM n; DELETE FROM t WHERE a BETWEEN 20000 AND 30000;",
        )
        .unwrap();
    let kit = back_up(&source, &BackupRequest::new(2));
    let ranges = kit.parts.iter().filter(|part| part.spec.get("range").is_some()).count();
    assert!(ranges >= 3, "{ranges}");
    let copy = directory.path().join("copy.db");
    restore(&copy, &RestoreRequest::new(2), &kit).unwrap();
    assert_same(&source, &copy);
    let hints: u64 = kit.parts.iter().map(|part| part.size_hint).sum();
    assert!((70_000_000..120_000_000).contains(&hints), "{hints}");
    assert_eq!(back_up(&source, &BackupRequest::new(1)).parts, kit.parts);
}
