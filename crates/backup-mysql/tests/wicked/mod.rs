//! A database with every kind of object and every type, at their extremes.

/// The statements that make it, for a server of this version.
pub(crate) fn statements(is_mariadb: bool, version: (u32, u32)) -> Vec<String> {
    let mut all = vec![
        "SET sql_mode = 'ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO', time_zone = '+03:00', foreign_key_checks = 0".to_owned(),
        "ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_german1_ci".to_owned(),
    ];
    let more: &[&[&str]] = match (is_mariadb, version) {
        (true, (11.., _)) => &[COMMON, MARIADB, MARIADB_11],
        (true, _) => &[COMMON, MARIADB],
        (false, (9.., _)) => &[COMMON, MYSQL, MYSQL_9],
        (false, _) => &[COMMON, MYSQL],
    };
    all.extend(more.iter().copied().flatten().map(|statement| (*statement).to_owned()));
    all
}

const COMMON: &[&str] = &[
    // Numbers.
    "CREATE TABLE numbers (a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT ZEROFILL, d INT, e BIGINT UNSIGNED, f DECIMAL(65,30), \
     g FLOAT, h DOUBLE, i DOUBLE(200,0), j FLOAT(7,3), k BIT(1), l BIT(64), m BOOLEAN, n DECIMAL(10) ZEROFILL)",
    "INSERT INTO numbers VALUES (-128, 65535, 7, -2147483648, 18446744073709551615, 99999999999999999999999999999999999.999999999999999999999999999999, \
     16777216, 0.1, 1e150, 1234.567, b'1', 18446744073709551615, 1, 12), (127, 0, 0, 0, 0, -0.000000000000000000000000000001, \
     1.1754944e-38, 2.2250738585072014e-308, 5, 0, b'0', 0, 0, 0), (NULL, NULL, NULL, NULL, NULL, NULL, 3.4028234e38, \
     1.7976931348623157e308, NULL, -1.1, NULL, 255, NULL, NULL), (0, 1, 2, 3, 4, 5, 1.2345678806304932, 4.9406564584124654e-324, 0, 0, b'1', 10, 0, 1)",
    // Times.
    "CREATE TABLE times (id INT AUTO_INCREMENT PRIMARY KEY, a DATE, b TIME(6), c DATETIME(3), d TIMESTAMP(6) NULL DEFAULT NULL, e YEAR, \
     f TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP) AUTO_INCREMENT = 1000",
    "INSERT INTO times VALUES (0, '0000-00-00', '-838:59:59.000000', '0000-00-00 00:00:00', '1970-01-01 03:00:01.000001', 1901, '2026-03-29 02:30:00'), \
     (1, '2004-04-31', '838:59:59', '9999-12-31 23:59:59.999', '2038-01-19 03:00:00', 0, '2026-10-25 02:30:00'), \
     (2, '2020-00-15', '00:00:00.000001', '2020-02-30 00:00:00', NULL, 2155, '2026-10-25 03:30:00'), (3, NULL, NULL, NULL, '0000-00-00 00:00:00', NULL, '2000-01-01')",
    // Texts and bytes.
    "CREATE TABLE texts (a CHAR(5), b VARCHAR(20) CHARACTER SET utf8mb4, c TEXT CHARACTER SET utf8mb3, d TINYTEXT CHARACTER SET sjis, \
     e VARCHAR(10) CHARACTER SET utf16, f VARCHAR(10) CHARACTER SET gbk, g VARCHAR(10) CHARACTER SET ucs2, h VARCHAR(10) CHARACTER SET utf32, \
     i BINARY(4), j VARBINARY(300), k LONGBLOB, l CHAR(3) CHARACTER SET ascii, m VARCHAR(10) CHARACTER SET cp1251, n VARCHAR(10) CHARACTER SET big5, \
     o BINARY(3) DEFAULT 0xFF00FE COMMENT 'it''s \\\\ a \"comment\"\\nof two lines') ROW_FORMAT=DYNAMIC COMMENT='a ; comment */ of `the` ''table'''",
    "INSERT INTO texts VALUES ('a ', '\u{1f418} \\'\\\"\\\\\\n\\t\\r\\Z\\0', 'ä€', 'ソ表能', '漢字', '中文', 'ucs', '漢', 0x00FF, 0x00090A0D5C27221A, 0xFFFEFD, \
     'abc', 'Привет', '許功蓋', 0x5C0927), ('', '', '', '', '', '', '', '', '', '', '', '', '', '', DEFAULT), \
     (NULL, 'NULL', '\\\\N', NULL, NULL, NULL, NULL, NULL, NULL, NULL, REPEAT(0x00, 70000), NULL, NULL, NULL, NULL)",
    // Members.
    "CREATE TABLE members (id INT PRIMARY KEY, a ENUM('x','y z','it''s') NOT NULL, b ENUM('','0','1','2'), c SET('a','b','c d'), d SET('ä','ö') CHARACTER SET utf8mb4, \
     e ENUM('3','2','1') CHARACTER SET utf16)",
    "INSERT INTO members VALUES (1, 'x', '', 'a,c d', 'ä,ö', '3'), (2, 'it''s', '1', '', '', '1'), (3, 'nonesuch', NULL, NULL, NULL, 2), (4, 'y z', 0, 'b', 'ö', NULL)",
    // Places.
    "CREATE TABLE places (id INT PRIMARY KEY, p POINT NOT NULL, g GEOMETRY, SPATIAL KEY at (p), KEY later (id)) ENGINE=InnoDB",
    "INSERT INTO places VALUES (1, ST_GeomFromText('POINT(1.5 -2)'), ST_GeomFromText('POLYGON((0 0,0 1,1 1,0 0))', 4326)), (2, ST_GeomFromText('POINT(0 0)'), NULL)",
    // Columns of every sort, keys of every sort.
    "CREATE TABLE kinds (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, a INT NOT NULL, b VARCHAR(300) DEFAULT 'x', v INT GENERATED ALWAYS AS (a * 2) VIRTUAL, \
     s VARCHAR(600) GENERATED ALWAYS AS (CONCAT(b, '`', a)) STORED, d DATETIME DEFAULT (NOW() - INTERVAL 1 DAY), j LONGTEXT, \
     PRIMARY KEY (id), UNIQUE KEY u (a, b), KEY prefixed (b(10)), KEY descending (a, id), FULLTEXT KEY words (b), KEY of_virtual (v), \
     CONSTRAINT positive CHECK (a > 0)) ENGINE=InnoDB KEY_BLOCK_SIZE=8 ROW_FORMAT=COMPRESSED",
    "INSERT INTO kinds (id, a, b, j) VALUES (0, 1, 'one', '{\"a\": 1}'), (5, 2, NULL, NULL), (18446744073709551610, 3, 'three', '[]')",
    // Of every engine that keeps rows, and one that keeps none.
    "CREATE TABLE my (id INT PRIMARY KEY, t TEXT, KEY k (t(5))) ENGINE=MyISAM",
    "INSERT INTO my VALUES (1, 'in MyISAM')",
    "CREATE TABLE my2 (id INT PRIMARY KEY, t TEXT, KEY k (t(5))) ENGINE=MyISAM",
    "CREATE TABLE merged (id INT NOT NULL, t TEXT, KEY p (id), KEY k (t(5))) ENGINE=MRG_MyISAM UNION=(my, my2) INSERT_METHOD=LAST",
    "CREATE TABLE volatile_ones (id INT PRIMARY KEY) ENGINE=MEMORY",
    "INSERT INTO volatile_ones VALUES (1), (2)",
    "CREATE TABLE commas (id INT NOT NULL, t VARCHAR(20) NOT NULL) ENGINE=CSV",
    "INSERT INTO commas VALUES (1, 'a,\"b\"')",
    "CREATE TABLE holes (id INT) ENGINE=BLACKHOLE",
    // Partitions.
    "CREATE TABLE parted (id INT NOT NULL, d DATE NOT NULL, PRIMARY KEY (id, d)) PARTITION BY RANGE (YEAR(d)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2 \
     (PARTITION p0 VALUES LESS THAN (2000), PARTITION `p 1` VALUES LESS THAN MAXVALUE)",
    "INSERT INTO parted VALUES (1, '1999-01-01'), (2, '2020-01-01')",
    // Foreign keys, to itself and to another, whose rows come later and one of which is not there.
    "CREATE TABLE child (id INT PRIMARY KEY, up INT, other BIGINT UNSIGNED, CONSTRAINT up FOREIGN KEY (up) REFERENCES child (id) ON DELETE SET NULL, \
     CONSTRAINT `to` FOREIGN KEY (other) REFERENCES kinds (id) ON UPDATE CASCADE)",
    "INSERT INTO child VALUES (1, 2, 0), (2, 1, 5), (3, NULL, 404)",
    // What counts has a key that is not the primary one.
    "CREATE TABLE counts_aside (id INT PRIMARY KEY, n INT NOT NULL AUTO_INCREMENT, o INT, KEY other (o), KEY counts (n)) AUTO_INCREMENT = 50",
    "INSERT INTO counts_aside SELECT id, 0, 1 FROM child",
    // What counts and may be NULL; and options that InnoDB does not know.
    "CREATE TABLE counts_perhaps (n INT AUTO_INCREMENT NULL UNIQUE)",
    "INSERT INTO counts_perhaps VALUES (7)",
    "SET innodb_strict_mode = 0",
    "CREATE TABLE lax (a INT) ROW_FORMAT=COMPACT KEY_BLOCK_SIZE=4",
    // Texts with numbers of their own, which InnoDB takes only in their order and without gaps.
    "CREATE TABLE numbered (id INT PRIMARY KEY, FTS_DOC_ID BIGINT UNSIGNED NOT NULL, t TEXT, u TEXT, UNIQUE KEY FTS_DOC_ID_INDEX (FTS_DOC_ID), \
     KEY plain (t(5)), FULLTEXT KEY f (t), FULLTEXT KEY g (u)) ENGINE=InnoDB",
    "INSERT INTO numbered VALUES (3, 5, 'one', 'two')",
    "INSERT INTO numbered VALUES (2, 60000, 'stone', 'step')",
    "INSERT INTO numbered VALUES (1, 120000, 'three', 'four')",
    "DELETE FROM numbered WHERE id = 2",
    // A key to a table that is not there.
    "CREATE TABLE orphan (a INT, KEY (a), CONSTRAINT nowhere FOREIGN KEY (a) REFERENCES never_there (id))",
    "INSERT INTO orphan VALUES (1)",
    // The largest FLOAT of its digits, which is a bit more than they can say.
    "CREATE TABLE large_floats (a FLOAT(30,0), b FLOAT(12,4) UNSIGNED)",
    "INSERT IGNORE INTO large_floats VALUES (2e30, 2e30), (-2e30, 0), (NULL, 1.5), (-0e0, 0)",
    "CREATE TABLE negative_zeros (f FLOAT, d DOUBLE, few DOUBLE(10,2), n INT)",
    "INSERT INTO negative_zeros VALUES (-0e0, -0e0, -0e0, 1), (0e0, 0e0, 0e0, 2)",
    // What is generated is warned of, and is no change of what was stored.
    "CREATE TABLE derived (a VARCHAR(20), d DATE GENERATED ALWAYS AS (CAST(a AS DATE)) STORED, s TINYINT GENERATED ALWAYS AS (LENGTH(a) * 100) STORED, \
     g INT GENERATED ALWAYS AS (s + 1) VIRTUAL, h INT GENERATED ALWAYS AS (g * 2) VIRTUAL)",
    "INSERT IGNORE INTO derived (a) VALUES ('no date'), ('2020-01-01'), (NULL)",
    // A trigger whose column is gone, and one of a table that is put aside for a view.
    "CREATE TABLE fading (a INT, `b c` INT)",
    "INSERT INTO fading VALUES (1, 2)",
    "CREATE TRIGGER of_what_faded BEFORE INSERT ON fading FOR EACH ROW SET NEW.a = NEW.`b c` + 1 /* don't NEW.x */",
    "ALTER TABLE fading DROP COLUMN `b c`",
    // Programs, in sessions of their own.
    "SET sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,ALLOW_INVALID_DATES'",
    "CREATE FUNCTION twice(x INT) RETURNS INT DETERMINISTIC RETURN x * 2",
    "CREATE PROCEDURE quoting(IN a VARCHAR(10), OUT b VARCHAR(20)) COMMENT 'it''s; a comment' BEGIN /* a comment; within */ DECLARE \"c\" INT; SET b = a || ';;'; -- another\nEND",
    "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
    "CREATE PROCEDURE unescaped() COMMENT 'a \\ ''b' SELECT 'c\\d'",
    "CREATE EVENT unescaped ON SCHEDULE AT '2037-01-01 00:00:00' DISABLE COMMENT 'c\\c' DO SELECT 'd\\d'",
    "SET sql_mode = ''",
    "ALTER DATABASE COLLATE latin1_swedish_ci",
    "CREATE PROCEDURE collated(a VARCHAR(10)) SELECT a",
    "ALTER DATABASE COLLATE latin1_german1_ci",
    "SET NAMES latin1",
    "CREATE PROCEDURE in_latin1() SELECT 'plain'",
    // The bytes here are others' letters there; of these the server keeps some in UTF-8 and some as they came.
    "SET NAMES cp1251",
    "CREATE FUNCTION `фу`(`па` CHAR(5)) RETURNS ENUM('же','ща') CHARSET cp1251 DETERMINISTIC COMMENT 'ко''м' RETURN 'ща'",
    "CREATE EVENT `со` ON SCHEDULE AT '2037-01-01 00:00:00' DISABLE COMMENT 'ко;м' DO BEGIN SELECT 'ща' AS `па`; END",
    "CREATE PROCEDURE `пр`() COMMENT 'ко' SELECT 'ща'",
    "CREATE VIEW `ви` AS SELECT 'ща' AS `па`",
    "CREATE TABLE letters (a INT)",
    "CREATE TRIGGER `тр` BEFORE INSERT ON letters FOR EACH ROW SET @`па` = 'ща'",
    "SET NAMES utf8mb4",
    "SET collation_connection = ucs2_general_ci",
    "CREATE EVENT in_ucs2 ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DISABLE DO SELECT 'x'",
    "CREATE VIEW in_ucs2 AS SELECT CONCAT(CONVERT(a USING ucs2), 'x') COLLATE ucs2_general_ci AS a FROM letters",
    "SET NAMES utf8mb4",
    "CREATE PROCEDURE in_utf8() SELECT 'ä€'",
    "CREATE TABLE log_of (what TEXT)",
    "CREATE TRIGGER first_one BEFORE INSERT ON child FOR EACH ROW SET NEW.other = COALESCE(NEW.other, 1)",
    "CREATE TRIGGER second_one AFTER INSERT ON child FOR EACH ROW BEGIN INSERT INTO log_of VALUES ('a; b'); INSERT INTO log_of VALUES (NEW.id); END",
    "CREATE TRIGGER a_third AFTER INSERT ON child FOR EACH ROW FOLLOWS second_one INSERT INTO log_of VALUES ('third')",
    "CREATE TRIGGER zero BEFORE INSERT ON child FOR EACH ROW PRECEDES first_one SET NEW.up = NULL",
    // Views on views, on functions, with options; in an order that is not that of their names.
    "CREATE VIEW zz AS SELECT id, twice(a) AS t FROM kinds",
    "CREATE ALGORITHM = MERGE SQL SECURITY INVOKER VIEW aa AS SELECT t FROM zz WHERE t > 1",
    "CREATE VIEW checked AS SELECT id, a FROM kinds WHERE a < 100 WITH CASCADED CHECK OPTION",
    "CREATE VIEW `to` AS SELECT 1 AS `a``b`, 'x''y' AS c, aa.t FROM aa JOIN numbers ON numbers.a = aa.t",
    // Invalid views: of a table, a column, a function and a view that are not there.
    "CREATE TABLE soon_gone (a INT, b TEXT)",
    "CREATE TABLE soon_less (a INT, b TEXT, KEY (a))",
    "INSERT INTO soon_less VALUES (1, 'kept')",
    "CREATE FUNCTION soon_no_more(a INT, b INT) RETURNS INT DETERMINISTIC RETURN 1",
    "CREATE VIEW of_nothing AS SELECT x.a, CONCAT(x.b, 'y') AS c FROM soon_gone x WHERE x.a > 1",
    "CREATE VIEW of_no_column AS SELECT b FROM soon_less",
    "CREATE TRIGGER on_what_is_put_aside BEFORE INSERT ON soon_less FOR EACH ROW SET @x = 1",
    "CREATE FUNCTION writing() RETURNS INT DETERMINISTIC MODIFIES SQL DATA BEGIN INSERT INTO log_of VALUES ('written'); RETURN 1; END",
    "CREATE VIEW that_writes AS SELECT writing() AS w",
    "CREATE VIEW of_no_function AS SELECT soon_no_more(a, (1 + 2)) AS f FROM soon_less",
    "CREATE VIEW a_of_nothing AS SELECT c FROM of_nothing",
    "DROP TABLE soon_gone",
    "ALTER TABLE soon_less DROP COLUMN b",
    "DROP FUNCTION soon_no_more",
    // Events, one whose time has come and gone.
    "SET time_zone = 'SYSTEM'",
    "CREATE EVENT later ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DISABLE COMMENT 'never; mind' DO BEGIN SELECT 1; SELECT 2; END",
    "SET time_zone = '+05:00', timestamp = 1000000000",
    "CREATE EVENT expired ON SCHEDULE AT '2001-09-09 08:00:00' ON COMPLETION NOT PRESERVE DISABLE DO SELECT 1",
    "SET timestamp = DEFAULT",
];

const MARIADB: &[&str] = &[
    "CREATE TABLE by_transactions (a INT, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START INVISIBLE, e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END INVISIBLE, \
     PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
    "CREATE TABLE counts_doubles (d DOUBLE AUTO_INCREMENT PRIMARY KEY)",
    "INSERT IGNORE INTO counts_doubles VALUES (1e19), (-1e19)",
    "CREATE SEQUENCE counting START WITH 5 INCREMENT BY -3 MINVALUE -1000 MAXVALUE 100 CACHE 7 CYCLE",
    "DO NEXTVAL(counting)",
    "CREATE SEQUENCE untouched",
    "CREATE TABLE counted (id BIGINT DEFAULT NEXT VALUE FOR counting PRIMARY KEY, t TEXT)",
    "INSERT INTO counted (t) VALUES ('first'), ('second')",
    "CREATE TABLE versioned (id INT PRIMARY KEY, x INT) WITH SYSTEM VERSIONING",
    "INSERT INTO versioned VALUES (1, 1), (2, 1)",
    "UPDATE versioned SET x = 2 WHERE id = 1",
    "DELETE FROM versioned WHERE id = 2",
    "CREATE TABLE in_periods (id INT, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, a DATE, b DATE, \
     PERIOD FOR SYSTEM_TIME (s, e), PERIOD FOR p (a, b), UNIQUE (id, p WITHOUT OVERLAPS)) WITH SYSTEM VERSIONING",
    "INSERT INTO in_periods (id, a, b) VALUES (1, '2020-01-01', '2021-01-01')",
    "DELETE FROM in_periods FOR PORTION OF p FROM '2020-03-01' TO '2020-04-01'",
    "CREATE TABLE more_types (a INET6, b UUID, c INET4, d JSON, e INT INVISIBLE, f TEXT COMPRESSED, KEY ignored (e) IGNORED)",
    "INSERT INTO more_types (a, b, c, d, e, f) VALUES ('::1', UUID(), '1.2.3.4', '{\"a\": 1}', 7, REPEAT('x', 1000)), (NULL, NULL, NULL, NULL, NULL, NULL)",
    "CREATE TABLE violated (a INT)",
    "INSERT INTO violated VALUES (1), (-1)",
    "SET check_constraint_checks = 0",
    "ALTER TABLE violated ADD CONSTRAINT positive CHECK (a > 0)",
    "SET check_constraint_checks = 1",
    "CREATE TABLE virtual_ones (v INT GENERATED ALWAYS AS (7) VIRTUAL)",
    "INSERT INTO virtual_ones (v) VALUES (DEFAULT), (DEFAULT), (DEFAULT)",
    "CREATE TABLE years (y YEAR(2), PRIMARY KEY (y))",
    "INSERT INTO years VALUES ('0000'), ('2000'), (1999)",
    // Options that their engine does not know.
    "SET sql_mode = 'IGNORE_BAD_TABLE_OPTIONS'",
    "CREATE TABLE opted (a INT fancy='it''s', KEY k (a) plain=1) ENGINE=MyISAM TRANSACTIONAL=0 whatever='*/ x'",
    "SET sql_mode = ''",
    // Foreign keys whose keys are gone, on either side.
    "CREATE TABLE keyless (a INT, b INT, KEY for_self (a), KEY fk (b), CONSTRAINT self FOREIGN KEY (b) REFERENCES keyless (a))",
    "CREATE TABLE keyless_too (c INT, KEY k (c), CONSTRAINT other FOREIGN KEY (c) REFERENCES keyless (a))",
    "INSERT INTO keyless VALUES (1, 1)",
    "INSERT INTO keyless_too VALUES (1)",
    "SET foreign_key_checks = 0",
    "ALTER TABLE keyless DROP KEY for_self, DROP KEY fk",
    "ALTER TABLE keyless_too DROP KEY k",
    "CREATE VIEW that_counts AS SELECT NEXTVAL(untouched) AS n",
    "CREATE TABLE history_apart (a INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME (PARTITION past HISTORY, PARTITION present CURRENT)",
    "INSERT INTO history_apart VALUES (1)",
    "UPDATE history_apart SET a = 2",
    "CREATE TABLE aria_ones (id INT) ENGINE=Aria TRANSACTIONAL=0",
    "INSERT INTO aria_ones VALUES (1)",
    "SET sql_mode = 'ORACLE'",
    "CREATE PACKAGE tools AS FUNCTION f RETURN INT; PROCEDURE p; END",
    "CREATE PACKAGE BODY tools AS v INT := 1; FUNCTION f RETURN INT AS BEGIN RETURN v; END; PROCEDURE p AS BEGIN SELECT f(); END; END",
    "SET sql_mode = ''",
];

const MARIADB_11: &[&str] = &[
    "CREATE TABLE vectors (id INT PRIMARY KEY, v VECTOR(3) NOT NULL, VECTOR INDEX near (v) M=8 DISTANCE=cosine)",
    "INSERT INTO vectors VALUES (1, VEC_FromText('[1.1,-2.5,3e-9]')), (2, VEC_FromText('[0,0,1]'))",
    "CREATE SEQUENCE typed AS TINYINT UNSIGNED START WITH 250 CYCLE",
    "DO NEXTVAL(typed)",
    "CREATE PROCEDURE with_default(a INT DEFAULT 5) SELECT a",
];

const MYSQL: &[&str] = &[
    "CREATE TABLE more_kinds (id INT PRIMARY KEY, v VECTOR(3), j JSON, b VARCHAR(20) DEFAULT (UUID()), e INT INVISIBLE DEFAULT 3, \
     KEY functional ((LOWER(b)), id), KEY unseen (e) INVISIBLE, KEY many ((CAST(j->'$.tags' AS UNSIGNED ARRAY))), \
     FULLTEXT KEY grams (b) WITH PARSER ngram, CONSTRAINT lax CHECK (e < 5) NOT ENFORCED)",
    "INSERT INTO more_kinds (id, v, j, b, e) VALUES (1, STRING_TO_VECTOR('[1.1,-2.5,3e-9]'), '{\"tags\": [1, 2], \"b\": \"ä\\\\n\"}', 'one', 9), \
     (2, NULL, '1.0', 'Two', 1), (3, NULL, NULL, 'three', NULL)",
    // What a text does not say: DECIMALs.
    "CREATE TABLE exactly (id INT PRIMARY KEY, j JSON, e ENUM('a'))",
    "INSERT IGNORE INTO exactly VALUES (1, JSON_OBJECT('it''s \"a\"', 1.10, 'b', JSON_ARRAY(0.1, 12345678901234567890.123456789012345)), 'a'), (2, '[1.5, 1e100]', 'no'), \
     (3, CAST(123456789012345678901234567890.0 AS JSON), 'none'), (4, NULL, NULL)",
    "INSERT INTO exactly SELECT id + 10, JSON_OBJECT('filling', REPEAT('x', 100000), 'n', 1.50), e FROM exactly",
    "CREATE TABLE on_earth (g GEOMETRY NOT NULL SRID 4326, p POINT SRID 0, SPATIAL KEY (g))",
    "INSERT INTO on_earth VALUES (ST_GeomFromText('POINT(10 20)', 4326), POINT(1, 2))",
    "CREATE TABLE generated_places (a INT, p POINT AS (POINT(a, 1)) STORED NOT NULL SRID 0, q GEOMETRY AS (POINT(1, a)) VIRTUAL, SPATIAL KEY (p))",
    "INSERT INTO generated_places (a) VALUES (1), (2)",
    // A text in a definition in another character set than the definition.
    "CREATE TABLE spoken (a VARCHAR(10) CHARACTER SET latin2, b VARCHAR(20) CHARACTER SET latin2 GENERATED ALWAYS AS (CONCAT(a, 'ő')) STORED, KEY (b))",
    "INSERT INTO spoken (a) VALUES ('ű')",
    // Columns of which less was said than has to be said to make them.
    "CREATE TABLE of_a_select SELECT CONVERT(b USING cp1251) AS a, CONVERT(b USING utf8mb3) AS b, MAX(id) AS m FROM more_kinds GROUP BY b",
    "CREATE TABLE turned (a VARCHAR(5) NOT NULL, b TEXT COMMENT 'CHARACTER SET x', c ENUM('a') DEFAULT 'a', d INT, KEY (a)) CHARACTER SET greek",
    "INSERT INTO turned VALUES ('α', 'β', 'a', 1)",
    "ALTER TABLE turned DEFAULT CHARACTER SET hebrew",
    "CREATE TABLE undefaulted (a INT, b VARCHAR(3) CHARACTER SET koi8r, c TIMESTAMP NULL, d TEXT, e POINT, f JSON, g POINT)",
    "ALTER TABLE undefaulted ALTER a DROP DEFAULT, ALTER b DROP DEFAULT, ALTER c DROP DEFAULT, ALTER f DROP DEFAULT, ALTER g DROP DEFAULT",
    // The server says of these partitions that they are wrong, as often as it opens them.
    "CREATE TABLE by_odd_letters (a VARCHAR(2) CHARACTER SET cp1250) PARTITION BY LIST COLUMNS (a) (PARTITION p VALUES IN (0x81))",
    "INSERT INTO by_odd_letters VALUES (0x81)",
    // Foreign keys to what is not unique.
    "SET restrict_fk_on_non_standard_key = OFF",
    "CREATE TABLE not_unique (a INT, b INT, KEY (a))",
    "CREATE TABLE of_not_unique (a INT, FOREIGN KEY (a) REFERENCES not_unique (a))",
    "INSERT INTO not_unique VALUES (1, 1), (1, 2)",
    "INSERT INTO of_not_unique VALUES (1)",
];

const MYSQL_9: &[&str] = &[
    "CREATE LIBRARY shared COMMENT 'it''s; shared' LANGUAGE JAVASCRIPT AS $$ export function f(n) { return n + 1; /* `shared`; 'ä' */ } $$",
    "CREATE LIBRARY `an other` LANGUAGE JAVASCRIPT AS $$ export const one = 1 $$",
    "CREATE FUNCTION in_javascript(n INT) RETURNS INT DETERMINISTIC LANGUAGE JAVASCRIPT USING (shared AS s, `an other`) AS $$ return s.f(n) $$",
];
