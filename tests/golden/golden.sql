-- The database of the golden repositories: a little of everything, none of it large.
PRAGMA user_version = 7;
CREATE TABLE "every type" (id INTEGER PRIMARY KEY AUTOINCREMENT, i INTEGER, r REAL, t TEXT, b BLOB, n NUMERIC, "odd ""name""" ANY);
INSERT INTO "every type" VALUES (1, 9223372036854775807, 1.5, 'plain', x'00ff10', 12, NULL);
INSERT INTO "every type" VALUES (2, -9223372036854775808, -2.25e300, 'it''s' || char(10) || 'two lines', x'', 0.1, 'text');
INSERT INTO "every type" VALUES (3, NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO "every type" VALUES (40, 0, 0.0, 'Großer Tisch 表 🐘', zeroblob(40), -1, x'beef');
CREATE TABLE pair (a TEXT, b INTEGER, c INTEGER GENERATED ALWAYS AS (b * 2) VIRTUAL, PRIMARY KEY (a, b)) WITHOUT ROWID;
INSERT INTO pair (a, b) VALUES ('x', 1), ('x', 2), ('y', 1);
CREATE TABLE twice (word TEXT);
INSERT INTO twice VALUES ('same'), ('same'), (''), (NULL);
CREATE TABLE many (id INTEGER PRIMARY KEY, price REAL, note TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
INSERT INTO many SELECT i, i * 0.25, 'note ' || (i % 7) FROM n;
CREATE INDEX many_by_note ON many (note, price DESC) WHERE price > 1;
CREATE VIEW cheap AS SELECT * FROM many WHERE price < 10;
CREATE TABLE log (what TEXT);
CREATE TRIGGER logged AFTER INSERT ON pair BEGIN INSERT INTO log VALUES ('pair ' || new.a || '; done'); END;
