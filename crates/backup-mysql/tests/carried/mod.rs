//! From MySQL to MariaDB and back: what can be carried is, and what cannot is a list before anything is touched.

use std::path::PathBuf;
use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Content, Ctx, DatabaseUrl, ErrorKind, Format, Progress, Registry,
    RestoreOptions,
};

use backup_testkit::told::Told;

use crate::server::Server;

fn manager(told: &Arc<Told>) -> BackupManager {
    manager_of(told, Format::Binary)
}

fn manager_of(told: &Arc<Told>, format: Format) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (format, 2);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::clone(told) as Arc<dyn Progress>))
}

/// Every server with those of the other product.
fn pairs() -> Vec<(Server, Server)> {
    let pairs = [("mysql", "mariadb"), ("mysql", "mariadb11"), ("mariadb", "mysql"), ("mariadb11", "mysql")];
    pairs.iter().filter_map(|(from, to)| Some((Server::find(from)?, Server::find(to)?))).collect()
}

/// A file of the sample databases, if they are there.
fn corpus(path: &str) -> Option<PathBuf> {
    let above = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut files = above.map(|directory| directory.join("shared/corpora").join(path));
    let found = files.find(|file| file.exists());
    if found.is_none() {
        let required = std::env::var("LIFEBOAT_TEST_REQUIRE").unwrap_or_default();
        assert!(
            !required.split(',').any(|name| name == "corpora"),
            "corpora are required: there is no {path}"
        );
        eprintln!("NOT TESTED: corpora: there is no {path}");
    }
    found
}

/// All rows of all tables, in hexadecimal, and how many there are.
fn rows(server: &Server, database: &str) -> String {
    let tables = format!(
        "SELECT CONCAT('SELECT ''', TABLE_NAME, ''', COUNT(*), SHA2(GROUP_CONCAT(r ORDER BY r), 256) FROM (SELECT CONCAT_WS('','', ', \
         GROUP_CONCAT('IFNULL(HEX(`', COLUMN_NAME, '`), ''-'')' ORDER BY ORDINAL_POSITION), ') AS r FROM `', TABLE_NAME, '`) AS t') \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = '{database}' AND TABLE_NAME NOT LIKE 'v%' GROUP BY TABLE_NAME ORDER BY TABLE_NAME"
    );
    let long = "SET SESSION group_concat_max_len = 100000000".to_owned();
    let queries = server.ask(None, &tables);
    let queries = queries.lines().map(|query| {
        let rows = server.feed(
            Some(database),
            format!("{long};\n{query};\n").as_bytes(),
            &["--batch", "--skip-column-names"],
        );
        String::from_utf8(rows).unwrap()
    });
    queries.collect()
}

async fn carry(from: &Server, source: &DatabaseUrl, to: &Server, told: &Arc<Told>) -> DatabaseUrl {
    let manager = manager(told);
    manager.backup(source).await.unwrap();
    let copy = to.empty();
    if let Err(error) = manager.restore(&BackupRef::Latest, &copy, RestoreOptions::default()).await {
        panic!("from {:?} to {:?}: {error}", from.version(), to.version());
    }
    copy
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sample_database_is_carried_to_the_other_product() {
    let Some(script) = corpus("chinook/Chinook_MySql.sql") else { return };
    let script = std::fs::read_to_string(script).unwrap();
    let of_database = |line: &&str| {
        let line = line.to_ascii_uppercase();
        line.starts_with("DROP DATABASE") || line.starts_with("CREATE DATABASE") || line.starts_with("USE ")
    };
    let script: String =
        script.lines().filter(|line| !of_database(line)).map(|line| format!("{line}\n")).collect();
    for (from, to) in pairs() {
        let source = from.empty();
        from.feed(Some(&source.path), script.as_bytes(), &[]);
        let copy = carry(&from, &source, &to, &Arc::default()).await;
        let expected = rows(&from, &source.path);
        assert!(expected.contains("Track\t3503\t"), "{expected}");
        assert_eq!(rows(&to, &copy.path), expected);
        let keys = |server: &Server, name: &str| {
            let sql = format!(
                "SELECT TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_NAME, REPLACE(DELETE_RULE, 'RESTRICT', 'NO ACTION') FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = '{name}' ORDER BY 1, 2"
            );
            server.ask(None, &sql)
        };
        assert!(keys(&to, &copy.path).lines().count() > 10);
        assert_eq!(keys(&to, &copy.path), keys(&from, &source.path));
    }
}

/// In MariaDB JSON is the text that MySQL printed, however deep it is, and whatever its keys are called.
#[tokio::test(flavor = "multi_thread")]
async fn decimals_in_json_are_carried_as_the_text_that_they_are() {
    for (from, to) in pairs().into_iter().filter(|(from, _)| !from.is_mariadb()) {
        let source = from.empty();
        let deep = format!("{}1.50{}", "JSON_ARRAY(".repeat(60), ")".repeat(60));
        let statements = [
            "CREATE TABLE exact (id INT PRIMARY KEY, j JSON)".to_owned(),
            format!(
                "INSERT INTO exact VALUES (1, {deep}), (2, JSON_OBJECT('/* a */', 1.50, '\\\\', 0.10, '*/', JSON_OBJECT('b', 2.0)))"
            ),
            "INSERT INTO exact WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 700) SELECT 3, \
             JSON_OBJECT('m', JSON_OBJECTAGG(CONCAT('k/\"', i), i + 0.50), 'a', JSON_ARRAYAGG(IF(i < 650, CAST(i + 0.10 AS JSON), JSON_OBJECT('*/', 1.10)))) FROM n"
                .to_owned(),
        ];
        from.run(Some(&source.path), &statements);
        let json = "SELECT CONVERT(j USING utf8mb4) FROM exact ORDER BY id";
        let expected = from.ask(Some(&source.path), json);
        assert!(
            expected.contains("[[1.50]]") && expected.contains("*/") && expected.contains("649.10"),
            "{expected}"
        );
        for format in [Format::Binary, Format::Sql] {
            let manager = manager_of(&Arc::default(), format);
            manager.backup(&source).await.unwrap();
            for server in [&from, &to] {
                let copy = server.empty();
                manager.restore(&BackupRef::Latest, &copy, RestoreOptions::default()).await.unwrap();
                assert_eq!(server.ask(Some(&copy.path), json), expected, "by way of {format:?}");
            }
        }
    }
}

/// What either product has, in its own words.
const BOTH: [&str; 9] = [
    // Words of the grammar that stand before parentheses.
    "CREATE PROCEDURE words_before () BEGIN DECLARE i INT DEFAULT 0; REPEAT SET i = i + 1; UNTIL (i > 2) END REPEAT; END",
    "CREATE VIEW v_point AS SELECT ST_AsText(POINT(1, 2)) AS p",
    "CREATE TABLE a (id INT AUTO_INCREMENT PRIMARY KEY, f FLOAT, d DECIMAL(30,10), e ENUM('x','Y''s'), b BIT(9), j JSON, g GEOMETRY NOT NULL, \
     w VARCHAR(30) CHARACTER SET utf8mb4 DEFAULT 'w', t TIMESTAMP NULL, u VARCHAR(20) CHARACTER SET utf8mb3, k INT AS (f + 1) STORED, \
     l TEXT DEFAULT ('long'), c CHAR(36) DEFAULT (UUID()), n DATETIME DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, KEY (w), UNIQUE KEY (d), CHECK (f > 0))",
    "INSERT INTO a (f, d, e, b, j, g, w, t, u, n, c) VALUES (16777216, 1.5, 'Y''s', b'101', '{\"a\": [1, \"ä\"]}', ST_GeomFromText('POINT(1 2)'), 'ä😀', '2020-03-29 01:30:00', 'ß', '2020-01-01', 'c')",
    "INSERT INTO a (f, d, e, b, j, g, w, t, u, n, c) VALUES (1.1, 2.5, NULL, NULL, NULL, ST_GeomFromText('LINESTRING(1 2, 3 4)'), '', NULL, '', '2020-01-01', 'd')",
    "CREATE VIEW v AS SELECT id, UPPER(w) AS w FROM a WHERE f > 1",
    "CREATE FUNCTION twice (x INT) RETURNS INT DETERMINISTIC RETURN 2 * x",
    "CREATE TRIGGER tr BEFORE INSERT ON a FOR EACH ROW SET NEW.f = twice(NEW.f)",
    "CREATE EVENT ev ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO DELETE FROM a",
];

#[tokio::test(flavor = "multi_thread")]
async fn what_both_products_have_is_carried_and_what_changes_is_said() {
    for (from, to) in pairs() {
        let source = from.empty();
        let own: &[&str] = if from.is_mariadb() {
            &[
                "CREATE TABLE o (id INT PRIMARY KEY, h INT INVISIBLE DEFAULT 3, p TEXT COMPRESSED, d TEXT DEFAULT 'x', u CHAR(36) DEFAULT UUID(), KEY k (h) IGNORED, KEY s (u DESC)) \
                 PAGE_CHECKSUM=1 DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci",
                "INSERT INTO o (id, h, p, u) VALUES (1, 2, 'ä', 'u')",
                "CREATE TABLE o2 (a VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci PRIMARY KEY)",
                "INSERT INTO o2 VALUES ('ä'), ('b')",
                "ALTER DATABASE COMMENT 'said'",
            ]
        } else {
            &[
                "CREATE TABLE o (id INT PRIMARY KEY, h INT INVISIBLE DEFAULT 3, g GEOMETRY NOT NULL SRID 4326, gc GEOMETRYCOLLECTION, c INT CHECK (c > 1) NOT ENFORCED, KEY k (h) INVISIBLE, KEY s (c DESC)) \
                 DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_0900_as_cs",
                "INSERT INTO o (id, h, g, c) VALUES (1, 2, ST_GeomFromText('POINT(1 2)', 4326), 0)",
                "CREATE TABLE o2 (a VARCHAR(20) COLLATE utf8mb4_sv_0900_ai_ci PRIMARY KEY)",
                "INSERT INTO o2 VALUES ('ä'), ('b')",
            ]
        };
        let statements: Vec<_> = BOTH.iter().chain(own).map(|sql| (*sql).to_owned()).collect();
        from.run(Some(&source.path), &statements);
        let told = Arc::<Told>::default();
        let copy = carry(&from, &source, &to, &told).await;
        assert_eq!(rows(&to, &copy.path), rows(&from, &source.path));
        let indexes = to.ask(Some(&copy.path), "SHOW CREATE TABLE o");
        if from.is_mariadb() {
            assert!(told.has("columns are no longer compressed"));
            assert!(told.has("the collation utf8mb4_uca1400_ai_ci becomes utf8mb4_unicode_520_ci"));
            assert!(told.has("utf8mb4_uca1400_nopad_ai_ci becomes utf8mb4_0900_ai_ci"));
            assert!(told.has("the comment of the database is left out"));
            assert!(indexes.contains("KEY `k` (`h`) /*!80000 INVISIBLE */"), "{indexes}");
            assert!(indexes.contains("DEFAULT '3' /*!80023 INVISIBLE */"), "{indexes}");
            assert!(
                indexes.contains("DEFAULT (uuid())") && indexes.contains("KEY `s` (`u` DESC)"),
                "{indexes}"
            );
        } else {
            assert!(told.has("JSON becomes LONGTEXT"));
            assert!(told.has("the attribute SRID of columns is left out (table "));
            assert!(told.has("NOT ENFORCED are left out"));
            let is_older = to.version() < (11, 4);
            let becomes = "utf8mb4_0900_as_cs becomes utf8mb4_uca1400_nopad_as_cs";
            assert_eq!(told.has(becomes), is_older);
            assert_eq!(
                told.has("utf8mb4_sv_0900_ai_ci becomes utf8mb4_uca1400_swedish_nopad_ai_ci"),
                is_older
            );
            assert!(indexes.contains("KEY `k` (`h`) IGNORED") && indexes.contains("INVISIBLE"), "{indexes}");
            assert!(!indexes.contains("CHECK") && indexes.contains("`c` DESC"), "{indexes}");
            let json = to.ask(Some(&copy.path), "SHOW CREATE TABLE a");
            assert!(json.contains("json_valid(`j`)") && json.contains("utf8mb3_general_ci"), "{json}");
        }
        let programs = "SELECT twice(4), (SELECT w FROM v WHERE id = 1)";
        assert_eq!(to.ask(Some(&copy.path), programs), from.ask(Some(&source.path), programs));
        let event = format!(
            "SELECT EVENT_NAME, STARTS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{}'",
            copy.path
        );
        assert_eq!(to.ask(None, &event), "ev\t2037-01-01 00:00:00\n");
        assert!(told.has("should that not understand a statement, the restore fails"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_other_product_does_not_know_is_one_list_before_anything_is_touched() {
    for (from, to) in pairs() {
        let source = from.empty();
        let (statements, mut unknown): (Vec<&str>, Vec<&str>) = if from.is_mariadb() {
            (
                vec![
                    "CREATE SEQUENCE s",
                    "CREATE TABLE n (id INT DEFAULT NEXT VALUE FOR s)",
                    "CREATE TABLE v (a INT) WITH SYSTEM VERSIONING",
                    "CREATE TABLE p (a DATE, b DATE, PERIOD FOR app (a, b))",
                    "CREATE TABLE t (i INET6, u UUID, l TEXT, UNIQUE (l))",
                    "CREATE TABLE e (a INT) ENGINE=Aria",
                    "CREATE TABLE m (a INT) ENGINE=MyISAM PARTITION BY HASH (a) PARTITIONS 2",
                    "CREATE TABLE o (a INT) PARTITION BY LIST (a) (PARTITION `p` VALUES IN (1), PARTITION `others` DEFAULT)",
                    "CREATE TABLE c (a VARCHAR(10) COLLATE utf8mb4_uca1400_as_cs, b VARCHAR(10) CHARACTER SET latin1 COLLATE latin1_swedish_nopad_ci)",
                    "CREATE VIEW f AS SELECT JSON_DETAILED('[]') AS a",
                    "SET sql_mode = 'ORACLE'",
                    "CREATE PACKAGE k AS FUNCTION f RETURN INT; END",
                    "SET sql_mode = 'EMPTY_STRING_IS_NULL'",
                    "CREATE PROCEDURE q () SELECT DECODE_ORACLE(1, 1, 1)",
                ],
                vec![
                    "sequences (sequence ",
                    "packages (package ",
                    "system-versioned tables (table ",
                    "application-time periods (table ",
                    "the type INET6 (table ",
                    "the type UUID (table ",
                    "unique indexes of whole long texts (table ",
                    "the engine Aria (table ",
                    "partitions of the engine MyISAM (table ",
                    "partitions for what is in no other (table ",
                    "the collation utf8mb4_uca1400_as_cs (table ",
                    "the collation latin1_swedish_nopad_ci (table ",
                    "the function json_detailed() (view ",
                    "the function decode_oracle() (procedure ",
                    "the sql_mode ORACLE (package ",
                    "the sql_mode EMPTY_STRING_IS_NULL (procedure ",
                ],
            )
        } else {
            (
                vec![
                    "CREATE TABLE i (a VARCHAR(10), m JSON, KEY f ((LOWER(a))), KEY mv ((CAST(m AS UNSIGNED ARRAY))))",
                    "CREATE TABLE p (a TEXT, FULLTEXT KEY n (a) WITH PARSER ngram)",
                    "CREATE TABLE c (a VARCHAR(10) COLLATE utf8mb4_ja_0900_as_cs, b VARCHAR(10) CHARACTER SET gb18030)",
                    "CREATE TABLE g (b BINARY(16), t CHAR(36) AS (BIN_TO_UUID(b)) STORED, k INT DEFAULT (REGEXP_INSTR('a', 'a', 1, 1)), CHECK (REGEXP_LIKE(t, 'a')))",
                    "CREATE VIEW v AS SELECT 1 MEMBER OF ('[1]') AS a, CAST('1' AS JSON) AS b, ANY_VALUE(2) AS c",
                    "SET sql_mode = 'TIME_TRUNCATE_FRACTIONAL'",
                    "CREATE PROCEDURE q () SELECT UUID_TO_BIN('x')",
                    "CREATE TABLE ve (a VECTOR(3))",
                ],
                vec![
                    "functional indexes (table ",
                    "the full-text parser ngram (table ",
                    "the collation utf8mb4_ja_0900_as_cs (table ",
                    "the collation gb18030_chinese_ci (table ",
                    "the function bin_to_uuid() (table ",
                    "the function regexp_like() (table ",
                    "MEMBER OF (view ",
                    "CAST(... AS JSON) (view ",
                    "the function any_value() (view ",
                    "the sql_mode TIME_TRUNCATE_FRACTIONAL (procedure ",
                    "the function uuid_to_bin() (procedure ",
                ],
            )
        };
        if !from.is_mariadb() && to.version() < (11, 7) {
            unknown.push("the type VECTOR (table ");
        }
        let statements: Vec<_> = statements.into_iter().map(str::to_owned).collect();
        from.run(Some(&source.path), &statements);
        let manager = manager(&Arc::default());
        manager.backup(&source).await.unwrap();
        let target = to.empty();
        to.run(
            Some(&target.path),
            &["CREATE TABLE precious (a INT)".to_owned(), "INSERT INTO precious VALUES (1)".to_owned()],
        );
        let before = to.dump(&target.path);
        let mut options = RestoreOptions::default();
        options.drop_existing = true;
        let refused = manager.restore(&BackupRef::Latest, &target, options).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Unsupported, "{refused}");
        let list = refused.to_string();
        for unknown in unknown {
            assert!(list.contains(unknown), "{unknown} is not in: {list}");
        }
        assert_eq!(to.dump(&target.path), before);
        // Some of it can be had all the same.
        let mut options = RestoreOptions::default();
        let plain = if from.is_mariadb() { "t2" } else { "i2" };
        from.run(
            Some(&source.path),
            &[format!("CREATE TABLE {plain} (a INT)"), format!("INSERT INTO {plain} VALUES (7)")],
        );
        manager.backup(&source).await.unwrap();
        options.tables = vec![plain.parse().unwrap()];
        manager.restore(&BackupRef::Latest, &target, options).await.unwrap();
        assert_eq!(to.ask(Some(&target.path), &format!("SELECT a FROM {plain}")), "7\n");
    }
}

/// Of options, too, that `information_schema` does not tell of.
#[tokio::test(flavor = "multi_thread")]
async fn options_that_mariadb_has_not_are_left_out_and_named() {
    for (from, to) in pairs().into_iter().filter(|(from, _)| !from.is_mariadb()) {
        let source = from.empty();
        let statements = [
            "CREATE TABLE t (id INT PRIMARY KEY, d INT SECONDARY_ENGINE_ATTRIBUTE='{\"x\": \"*/ 2\"}', n INT NOT SECONDARY, KEY (d) SECONDARY_ENGINE_ATTRIBUTE='{}') \
             SECONDARY_ENGINE_ATTRIBUTE='{\"s\": \"it\'\'s\"}' AUTOEXTEND_SIZE=4M COMMENT='of t'",
            "INSERT INTO t VALUES (1, 2, 3)",
            "CREATE TABLE u (id INT PRIMARY KEY, n INT NOT SECONDARY) SECONDARY_ENGINE=rapid",
        ];
        from.run(Some(&source.path), &statements.map(str::to_owned));
        let told = Arc::new(Told::default());
        let copy = carry(&from, &source, &to, &told).await;
        assert_eq!(to.ask(Some(&copy.path), "SELECT id, d, n FROM t"), "1\t2\t3\n");
        let told = told.warnings().join("\n");
        for what in [
            "of table t AUTOEXTEND_SIZE, NOT SECONDARY, SECONDARY_ENGINE_ATTRIBUTE is left out",
            "the option SECONDARY_ENGINE is left out (table ",
        ] {
            assert!(told.contains(what), "{what} is not in: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_version_is_asked_too() {
    let (Some(from), Some(to)) = (Server::find("mariadb11"), Server::find("mariadb")) else { return };
    let source = from.empty();
    let statements = [
        "CREATE TABLE v (a INT PRIMARY KEY, b VECTOR(3) NOT NULL, VECTOR INDEX (b))",
        "CREATE VIEW w AS SELECT VEC_ToText(b) AS t FROM v",
        "CREATE TABLE c (a VARCHAR(10) COLLATE utf8mb4_0900_as_cs)",
        "CREATE SEQUENCE plain",
        "CREATE TABLE record (a INT)",
        "CREATE PROCEDURE plain_words () INSERT INTO record (a) VALUES (1)",
        "CREATE VIEW plain_json AS SELECT * FROM JSON_TABLE('[1]', '$[*]' COLUMNS (a INT PATH '$')) j",
        "CREATE SEQUENCE typed AS INT UNSIGNED",
    ];
    from.run(Some(&source.path), &statements.map(str::to_owned));
    let manager = manager(&Arc::default());
    manager.backup(&source).await.unwrap();
    let target = to.empty();
    let refused = manager.restore(&BackupRef::Latest, &target, RestoreOptions::default()).await.unwrap_err();
    let list = refused.to_string();
    for unknown in [
        "MariaDB 10.11",
        "the type VECTOR (table ",
        "vector indexes (table ",
        "the function vec_totext() (view ",
        "sequences of other types than BIGINT (sequence ",
    ] {
        assert!(list.contains(unknown), "{unknown} is not in: {list}");
    }
    assert!(!list.contains("0900") && !list.contains("plain"), "{list}");
}

/// Present rows end in the last moment of a TIMESTAMP, which MariaDB 11.5 has put off.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_system_versioned_tables_are_as_present_or_past_in_another_version() {
    const ROWS: [&str; 3] = [
        "SELECT id, v FROM t ORDER BY id",
        "SELECT id, v FROM named ORDER BY id",
        "SELECT v, ROW_START, IF(ROW_END > '2037-12-31', 'present', ROW_END) FROM t FOR SYSTEM_TIME ALL ORDER BY 1, 2",
    ];
    let (Some(older), Some(newer)) = (Server::find("mariadb"), Server::find("mariadb11")) else { return };
    for (from, to) in [(&older, &newer), (&newer, &older), (&newer, &newer)] {
        let source = from.empty();
        let statements = [
            "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(20)) WITH SYSTEM VERSIONING",
            "INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'gone')",
            "UPDATE t SET v = 'changed' WHERE id = 2",
            "DELETE FROM t WHERE id = 3",
            "CREATE TABLE named (id INT PRIMARY KEY, v VARCHAR(20), b TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (b, e)) WITH SYSTEM VERSIONING",
            "INSERT INTO named (id, v) VALUES (7, 'x')",
        ];
        from.run(Some(&source.path), &statements.map(str::to_owned));
        let expected = ROWS.map(|rows| from.ask(Some(&source.path), rows));
        assert_eq!(expected[0], "1\ta\n2\tchanged\n");
        for format in [Format::Binary, Format::Sql] {
            let what = format!("{format:?} from {:?} into {:?}", from.version(), to.version());
            let manager = manager_of(&Arc::default(), format);
            manager.backup(&source).await.unwrap();
            let copy = to.empty();
            if let Err(error) = manager.restore(&BackupRef::Latest, &copy, RestoreOptions::default()).await {
                panic!("{what}: {error}");
            }
            assert_eq!(ROWS.map(|rows| to.ask(Some(&copy.path), rows)), expected, "{what}");
        }
    }
}

/// JSON of MariaDB's is text.
#[tokio::test(flavor = "multi_thread")]
async fn rows_alone_come_from_texts_into_json() {
    let (Some(from), Some(to)) = (Server::find("mariadb"), Server::find("mysql")) else { return };
    let table = "CREATE TABLE t (id INT PRIMARY KEY, j JSON, l LONGTEXT)".to_owned();
    let source = from.empty();
    let row = r#"INSERT INTO t VALUES (1, '{"a": ["ä", 1.5]}', '{"a":  1}'), (2, NULL, NULL)"#;
    from.run(Some(&source.path), &[table.clone(), row.to_owned()]);
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(&Arc::default(), format);
        manager.backup(&source).await.unwrap();
        let target = to.empty();
        to.run(Some(&target.path), &[table.clone(), "INSERT INTO t VALUES (7, NULL, NULL)".to_owned()]);
        let mut options = RestoreOptions::default();
        (options.content, options.drop_existing) = (Content::DataOnly, true);
        manager.restore(&BackupRef::Latest, &target, options).await.unwrap();
        let expected = "1\t{\"a\": [\"ä\", 1.5]}\t{\"a\":  1}\n2\tNULL\tNULL\n";
        assert_eq!(to.ask(Some(&target.path), "SELECT * FROM t ORDER BY id"), expected, "{format:?}");
    }
}
