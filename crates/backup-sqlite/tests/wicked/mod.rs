//! Databases with everything that a backup could get wrong.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code, reason = "a test, shared by several")]

use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ToSql};

/// Text of any bytes: SQLite does not check that text is what the encoding says.
struct RawText<'a>(&'a [u8]);

impl ToSql for RawText<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0)))
    }
}

/// Makes a database in UTF-8 with every kind of object.
pub fn wicked(path: &Path) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch("PRAGMA page_size=1024; PRAGMA auto_vacuum=INCREMENTAL; PRAGMA user_version=-7; PRAGMA application_id=252006;")
        .unwrap();
    fill(&connection);
    connection
        .execute(
            "INSERT INTO classes(v) VALUES (?1), (?2), (?3), (?4)",
            (
                RawText(b"a\0b"),
                RawText(b"\xff\xfe not utf-8 \xc0\x80"),
                RawText(b"\xed\xa0\x80"),
                RawText(b"\0"),
            ),
        )
        .unwrap();
    connection.execute_batch("PRAGMA journal_mode=WAL").unwrap();
}

/// The same in UTF-16, with pages of the largest size.
pub fn wicked_utf16(path: &Path, encoding: &str) {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch(&format!("PRAGMA encoding='{encoding}'; PRAGMA page_size=65536;")).unwrap();
    fill(&connection);
    // Lone surrogates, which no conversion to UTF-8 keeps.
    connection
        .execute_batch(
            "INSERT INTO classes(v) VALUES (CAST(x'00d8' AS TEXT)), (CAST(x'61000000dcdc' AS TEXT)), (CAST(x'fffe0100feff' AS TEXT))",
        )
        .unwrap();
    large(&connection);
}

/// Rows with values of several megabytes, alone and among others.
pub fn large(connection: &Connection) {
    connection
        .execute_batch(
            "CREATE TABLE big(id INTEGER PRIMARY KEY, before TEXT, data BLOB, behind TEXT);
             INSERT INTO big VALUES
               (-5, 'small', x'00ff', 'row'),
               (1, 'b', randomblob(3000001), 'after'),
               (2, NULL, zeroblob(2000000), NULL),
               (3, replace(hex(zeroblob(800000)), '00', 'text'), x'', 'end'),
               (4, 'small', 'again', 4.5),
               (9223372036854775807, 'last', randomblob(1500000), NULL);
             CREATE TABLE big_last(a TEXT, b BLOB);
             INSERT INTO big_last VALUES ('x', randomblob(5000000)), ('y', randomblob(100)), ('z', randomblob(1100000));
             CREATE TABLE big_unique(b BLOB UNIQUE, c);
             INSERT INTO big_unique VALUES (randomblob(1200000), 1), (randomblob(1200000), 2);
             CREATE TABLE big_generated(a BLOB, n AS (length(a)), s AS (substr(a, 1, 3)) STORED);
             INSERT INTO big_generated VALUES (randomblob(1300000));
             CREATE TABLE big_key(k TEXT PRIMARY KEY, b BLOB, c) WITHOUT ROWID;
             INSERT INTO big_key VALUES ('k', randomblob(2500000), 1), ('l', x'01', 2);",
        )
        .unwrap();
}

fn fill(connection: &Connection) {
    // The shell prints these too, so what it makes of them is compared.
    connection.execute_batch("PRAGMA foreign_keys=OFF").unwrap();
    connection
        .execute_batch(
            r#"
CREATE TABLE classes(id INTEGER PRIMARY KEY, v);
INSERT INTO classes(v) VALUES (NULL), (0), (1), (-1), (127), (128), (9223372036854775807), (-9223372036854775807-1),
  (0.0), (-0.0), (1.5), (1e308), (5e-324), (2.2250738585072014e-308), (9e999), (-9e999), (0.1), (0.30000000000000004), (1e15), (1e23),
  (''), ('text'), ('it''s "quoted"'), (char(10) || 'line' || char(13, 10)), (char(0x1F600)), (x''), (x'00'), (x'deadbeef');
CREATE TABLE affinities(i INTEGER, t TEXT, r REAL, n NUMERIC, b BLOB, any);
INSERT INTO affinities VALUES (1, '1', 1.0, 1, '1', '1'), ('x', 1, 1, 1.5, 1, 1), (x'31', x'31', x'31', x'31', x'31', x'31'),
  (1.5, 1.5, 9007199254740993, '1e3', 1.0, 1.0), (NULL, NULL, NULL, NULL, NULL, NULL);

CREATE TABLE strict_one(i INT, r REAL, t TEXT, b BLOB, a ANY) STRICT;
INSERT INTO strict_one VALUES (1, 2, 'three', x'04', '5'), (NULL, 1e300, '', x'', 5);
CREATE TABLE strict_key(id INTEGER PRIMARY KEY, a ANY NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO strict_key VALUES (9, '9'), (-9, 9.5);
CREATE TABLE composite(a TEXT COLLATE NOCASE, b INT, c, PRIMARY KEY(b DESC, a)) WITHOUT ROWID;
INSERT INTO composite VALUES ('A', 1, 1), ('b', 1, 2), ('a', 2, NULL);

CREATE TABLE generated(a INT, v AS (a * 2) VIRTUAL, s TEXT GENERATED ALWAYS AS ('s' || a) STORED, z INT DEFAULT (1 + 1));
INSERT INTO generated(a) VALUES (1), (2), (NULL);
CREATE INDEX generated_v ON generated(v, s);

CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, x);
INSERT INTO counted(x) VALUES ('a'), ('b'), ('c');
DELETE FROM counted WHERE id > 1;
CREATE TABLE dropped(id INTEGER PRIMARY KEY AUTOINCREMENT);
INSERT INTO dropped VALUES (41);
CREATE TABLE counted_empty(id INTEGER PRIMARY KEY AUTOINCREMENT);
INSERT INTO counted_empty VALUES (17);
DELETE FROM counted_empty;
INSERT INTO sqlite_sequence VALUES ('not a table', 99), ('text', 'x'), (NULL, NULL);

CREATE TABLE "na""me; DROP TABLE classes; --"("co""l" TEXT, [b['"] INT, `c``d`, "select", " ", "new
line", "it's");
INSERT INTO "na""me; DROP TABLE classes; --" VALUES (1, 2, 3, 4, 5, 6, 7);
CREATE TABLE "line
break /* ' */"(a);
INSERT INTO "line
break /* ' */" VALUES ('x');
CREATE TABLE "" ("" INT);
INSERT INTO "" VALUES (1);
CREATE TABLE "größe.schön"("ключ" TEXT, "😀" INT);
INSERT INTO "größe.schön" VALUES ('значение', 1);
CREATE TABLE 'single'(a);
CREATE TABLE "order"("group" PRIMARY KEY, "index" UNIQUE, CHECK ("group" <> 'x'), UNIQUE("group", "index"));
INSERT INTO "order" VALUES (1, 2), (NULL, NULL), (NULL, NULL);

CREATE TABLE has_rowid(rowid TEXT, b); INSERT INTO has_rowid VALUES ('r', 1);
CREATE TABLE has_two(rowid TEXT, oid, b); INSERT INTO has_two(_rowid_, rowid, oid, b) VALUES (77, 'r', 'o', 1);
CREATE TABLE has_all(RowID TEXT, oid, _rowid_); INSERT INTO has_all VALUES ('r', 'o', '_');
CREATE TABLE sparse(a);
INSERT INTO sparse(rowid, a) VALUES (-9223372036854775808, 'min'), (-1, 'minus'), (0, 'zero'), (9223372036854775807, 'max');
CREATE TABLE desc_key(id INTEGER PRIMARY KEY DESC, a); INSERT INTO desc_key VALUES (5, 1), (3, 2);
CREATE TABLE typeless(a, b, c DEFAULT 'it''s', d DEFAULT x'00', e DEFAULT -1.5, f DEFAULT CURRENT_TIMESTAMP);
INSERT INTO typeless(a) VALUES (1);
CREATE TABLE empty(a NOT NULL, b);
CREATE TABLE as_select AS SELECT id, v AS "weird name" FROM classes WHERE id < 4;

CREATE TABLE parent(id INTEGER PRIMARY KEY, child INT REFERENCES child(id) DEFERRABLE INITIALLY DEFERRED);
CREATE TABLE child(id INTEGER PRIMARY KEY, parent INT REFERENCES parent(id) ON DELETE CASCADE, other REFERENCES nowhere(x));
INSERT INTO parent VALUES (1, 1), (2, 404);
INSERT INTO child VALUES (1, 1, 'no such'), (2, 404, NULL);

CREATE INDEX "in""dex" ON classes(v COLLATE NOCASE DESC, id);
CREATE UNIQUE INDEX partial ON affinities(t) WHERE t > '5' AND i IS NOT NULL;
CREATE INDEX expression ON affinities(lower(t), i + 1, coalesce(any, 'none') || 'x');
CREATE INDEX counted_x ON counted(x);

CREATE VIEW fine AS SELECT c.id, c.v FROM classes c;
CREATE VIEW "vi""ew"(a, "b c") AS SELECT 1, 'x' -- a comment at the end
;
CREATE VIEW invalid AS SELECT gone FROM nowhere;
CREATE VIEW loops AS SELECT * FROM loops_too;
CREATE VIEW loops_too AS SELECT * FROM loops;
CREATE VIEW slash AS SELECT 1
/
2 /* not
go
ended */;
CREATE TRIGGER fires AFTER INSERT ON counted BEGIN INSERT INTO classes(v) VALUES ('fired'); DELETE FROM empty; END;
CREATE TRIGGER refuses BEFORE INSERT ON affinities BEGIN SELECT RAISE(ABORT, 'never'); END;
CREATE TRIGGER instead INSTEAD OF INSERT ON fine BEGIN INSERT INTO classes(v) VALUES (new.v); END;
CREATE TRIGGER broken AFTER UPDATE OF v ON classes WHEN new.v > 1 BEGIN SELECT gone FROM nowhere; END;

CREATE VIRTUAL TABLE docs USING fts5(title, body, tokenize='porter unicode61', prefix='2 3');
INSERT INTO docs VALUES ('first', 'the quick brown fox'), ('second', 'it''s lazy dogs'), ('третий', 'текст');
DELETE FROM docs WHERE rowid = 2;
CREATE VIRTUAL TABLE contentless USING fts5(body, content='');
INSERT INTO contentless(rowid, body) VALUES (7, 'nothing is kept');
CREATE TABLE articles(id INTEGER PRIMARY KEY, text);
INSERT INTO articles VALUES (1, 'external content'), (2, 'kept elsewhere');
CREATE VIRTUAL TABLE external USING fts5(text, content='articles', content_rowid='id');
INSERT INTO external(external) VALUES ('rebuild');
CREATE VIRTUAL TABLE old3 USING fts3(a, b);
INSERT INTO old3 VALUES ('some words', 'more words');
CREATE VIRTUAL TABLE old4 USING fts4(a, tokenize=porter);
INSERT INTO old4 VALUES ('running words');
CREATE VIRTUAL TABLE "fts ""x""" USING fts5(a);
INSERT INTO "fts ""x""" VALUES ('quoted');
CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, y0, y1, +label);
INSERT INTO boxes VALUES (1, 0, 1, 0, 1, 'unit'), (2, -5.5, 5.5, -5.5, 5.5, 'large');
CREATE TABLE docs_of_mine(a); INSERT INTO docs_of_mine VALUES ('no shadow');
"#,
        )
        .unwrap();
    connection.execute_batch("CREATE TABLE dos(\r\n a\r\n); CREATE VIEW dos_view AS\r\nSELECT 1").unwrap();
    let columns: Vec<_> = (0..2000).map(|i| format!("c{i} INT")).collect();
    connection
        .execute_batch(&format!(
            "CREATE TABLE wide({}); INSERT INTO wide(c0, c1999) VALUES (1, 'last')",
            columns.join(",")
        ))
        .unwrap();
    connection
        .execute_batch(
            "CREATE TABLE many(a INT, b TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)
             INSERT INTO many SELECT i, 'row ' || i FROM n;
             CREATE INDEX many_a ON many(a DESC);
             ANALYZE;
             DROP TABLE dropped;
             INSERT INTO sqlite_sequence VALUES ('dropped', 41);
             PRAGMA legacy_alter_table=ON;
             ALTER TABLE typeless RENAME TO \"renamed 'table'\";
             ALTER TABLE empty ADD COLUMN added TEXT DEFAULT 'later';
             PRAGMA writable_schema=ON;
             INSERT INTO sqlite_schema VALUES
               ('table', 'alien', 'alien', 0, 'CREATE VIRTUAL TABLE alien USING no_such_module(a, ''b'')');
             CREATE TABLE alien_shadow(k, v);
             INSERT INTO alien_shadow VALUES (1, x'00');
             UPDATE sqlite_schema SET sql = 'create  table single (a)' WHERE name = 'single';
             PRAGMA writable_schema=RESET;",
        )
        .unwrap();
}
