//! Tables of which not everything can be had.

/// Each of some tests on each of some servers.
macro_rules! on {
    ($($server:ident: $($test:ident)*;)*) => {$(
        mod $server {$(
            #[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(stringify!($server)).await;
            }
        )*}
    )*};
}

mod clients;
mod computed;
mod geometries;
mod histograms;
mod many;
mod programs;
mod sequences;
mod server;
mod variants;
mod views;

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{BackupConfig, BackupManager, BackupRef, DatabaseUrl, Format, Registry, RestoreOptions};

use crate::server::Server;

fn manager() -> BackupManager {
    manager_of(Format::Binary)
}

fn manager_of(format: Format) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (format, 2);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
}

/// A database that a backup of `source` came back as.
async fn copied(server: &Server, source: &DatabaseUrl, format: Format) -> DatabaseUrl {
    let manager = manager_of(format);
    let backup = manager.backup(source).await.unwrap();
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    target
}

async fn a_table_without_a_tablespace_comes_back_as_one(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE emptied (id INT PRIMARY KEY)",
        "CREATE TABLE of_it (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES emptied (id))",
        "INSERT INTO emptied VALUES (1)",
        "INSERT INTO of_it VALUES (1)",
        "SET foreign_key_checks = 0",
        "ALTER TABLE emptied DISCARD TABLESPACE",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let target = copied(&server, &source, Format::Binary).await;
    assert_eq!(server.ask(Some(&target.path), "SELECT id FROM of_it"), "1\n");
    for database in [&source, &target] {
        let state = server.ask(Some(&database.path), "CHECK TABLE emptied");
        assert!(state.contains("discarded"), "{state}");
    }
}

/// MariaDB keeps the number of the transaction that ended a version, and takes none from anybody.
async fn a_history_by_transactions_is_left_out_and_named(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE kept (a INT, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START, e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END, \
         PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
        "INSERT INTO kept (a) VALUES (1), (3)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(format);
        let whole = manager.backup(&source).await.unwrap();
        assert!(whole.left_out.is_empty(), "{:?}", whole.left_out);
        server.run(Some(&source.path), &["UPDATE kept SET a = a + 1 WHERE a < 3".to_owned()]);
        let backup = manager.backup(&source).await.unwrap();
        assert_eq!(backup.left_out, [format!("history {}.kept", source.path)]);
        let warnings = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().warnings.join("\n");
        assert!(warnings.contains("table kept is versioned by transactions"), "{warnings}");
        let target = server.empty();
        manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
        let present = "SELECT a FROM kept ORDER BY a";
        let expected = server.ask(Some(&source.path), present);
        assert_eq!(
            server.ask(Some(&target.path), &present.replace("kept", "kept FOR SYSTEM_TIME ALL")),
            expected
        );
        let versioned = server.ask(Some(&target.path), "SHOW CREATE TABLE kept");
        assert!(
            versioned.contains("WITH SYSTEM VERSIONING") && versioned.contains("PERIOD FOR SYSTEM_TIME"),
            "{versioned}"
        );
        server.run(Some(&source.path), &["DELETE HISTORY FROM kept".to_owned()]);
    }
}

async fn keys_that_are_not_kept_are_not_kept(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE idle (id INT PRIMARY KEY, a INT, KEY (a)) ENGINE=MyISAM",
        "CREATE TABLE busy (id INT PRIMARY KEY, a INT, KEY (a)) ENGINE=MyISAM",
        "INSERT INTO idle VALUES (1, 1)",
        "ALTER TABLE idle DISABLE KEYS",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let target = copied(&server, &source, Format::Binary).await;
    let disabled = "SELECT TABLE_NAME, INDEX_NAME FROM information_schema.STATISTICS WHERE TABLE_SCHEMA = DATABASE() AND COMMENT = 'disabled'";
    assert_eq!(server.ask(Some(&target.path), disabled), "idle\ta\n");
}

/// A default that counts by a sequence which is not there any more.
async fn defaults_that_count_by_a_lost_sequence_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE SEQUENCE lost",
        "CREATE SEQUENCE kept",
        "CREATE TABLE one (a INT, b INT DEFAULT NEXT VALUE FOR lost, c INT DEFAULT (NEXT VALUE FOR kept + NEXT VALUE FOR lost))",
        "CREATE TABLE other (a INT, b INT DEFAULT NEXT VALUE FOR lost)",
        "INSERT INTO one (a) VALUES (1), (2)",
        "INSERT INTO other (a) VALUES (1)",
        "DROP SEQUENCE lost",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(format);
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let target = server.empty();
        manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&source.path), server.dump(&target.path), "{format:?}");
        // One table alone, beside a sequence of that name, which is somebody's.
        if format == Format::Binary {
            let target = server.empty();
            server.run(Some(&target.path), &["CREATE SEQUENCE lost START 70".to_owned()]);
            let mut options = RestoreOptions::default();
            options.tables = vec!["other".parse().unwrap()];
            manager.restore(&backup, &target, options).await.unwrap();
            assert_eq!(server.ask(Some(&target.path), "SELECT NEXTVAL(lost), a, b FROM other"), "70\t1\t5\n");
        }
    }
}

/// The server does not say what such a table is made of; and it has no rows that could be lost.
async fn a_merge_table_that_its_parts_do_not_fit_is_left_out_with_a_warning(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE one (a INT) ENGINE=MyISAM",
        "CREATE TABLE other (a INT) ENGINE=MyISAM",
        "CREATE TABLE both_of_them (a INT) ENGINE=MERGE UNION=(one, other)",
        "CREATE TRIGGER on_both BEFORE INSERT ON both_of_them FOR EACH ROW SET @a = 1",
        "CREATE VIEW of_both AS SELECT a FROM both_of_them",
        "CREATE TABLE of_one (a INT) ENGINE=MERGE UNION=(one)",
        "INSERT INTO one VALUES (1)",
        "ALTER TABLE other ADD b INT",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let manager = manager();
    let backup = manager.backup(&source).await.unwrap();
    let warnings = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().warnings.join("\n");
    assert!(warnings.contains("MERGE table both_of_them"), "{warnings}");
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.ask(Some(&target.path), "SELECT a FROM of_one"), "1\n");
    let there = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() ORDER BY 1";
    assert_eq!(server.ask(Some(&target.path), there), "of_both\nof_one\none\nother\n");
}

/// As they do where a transaction changes what it made, or somebody has set the time.
async fn versions_that_lasted_no_time_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "SET timestamp = 1500000000.123456, time_zone = '+01:00'",
        "CREATE TABLE fleeting (id INT PRIMARY KEY, f FLOAT, t TEXT CHARACTER SET latin2) WITH SYSTEM VERSIONING",
        "INSERT INTO fleeting VALUES (1, 0.1, 'ő'), (2, NULL, NULL)",
        "DELETE FROM fleeting",
        "INSERT INTO fleeting VALUES (1, 2, 'stays')",
        "SET timestamp = 1500000001",
        "INSERT INTO fleeting VALUES (3, 3, 'it''s')",
        "DELETE FROM fleeting WHERE id = 3",
        "UPDATE fleeting SET f = 3",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let all = "SELECT *, f * 1e0, row_start, row_end FROM fleeting FOR SYSTEM_TIME ALL ORDER BY id, row_start, row_end, f";
    let expected = server.ask(Some(&source.path), all);
    assert_eq!(expected.lines().count(), 5, "{expected}");
    for format in [Format::Binary, Format::Sql] {
        let target = copied(&server, &source, format).await;
        assert_eq!(server.ask(Some(&target.path), all), expected, "by way of {format:?}");
    }
}

/// InnoDB makes such where the clock was put back, and no server takes them.
async fn versions_that_ended_before_they_began_are_left_out_and_named(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "INSERT INTO parent VALUES (1), (2), (3)",
        "SET timestamp = 1500000000",
        "CREATE TABLE child (id INT, FOREIGN KEY (id) REFERENCES parent (id) ON DELETE CASCADE) WITH SYSTEM VERSIONING",
        "INSERT INTO child VALUES (1), (2), (3)",
        "DELETE FROM parent WHERE id = 1",
        "SET timestamp = 1400000000",
        "DELETE FROM parent WHERE id = 2",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let all = "SELECT id, row_start <= row_end FROM child FOR SYSTEM_TIME ALL ORDER BY id";
    assert_eq!(server.ask(Some(&source.path), all), "1\t1\n2\t0\n3\t1\n");
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(format);
        let backup = manager.backup(&source).await.unwrap();
        assert_eq!(backup.left_out, [format!("history {}.child", source.path)]);
        let target = server.empty();
        manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(Some(&target.path), all), "1\t1\n3\t1\n", "by way of {format:?}");
    }
}

/// In Roman, V is a U, and J an I.
async fn members_that_a_collation_takes_for_each_other_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let statements = [
        "SET sql_mode = ''",
        "CREATE TABLE roman (n INT, e ENUM('u','v','i','j') CHARACTER SET utf8mb4 COLLATE utf8mb4_roman_ci, s SET('v','u') CHARACTER SET utf8mb4 COLLATE utf8mb4_roman_ci)",
        "INSERT INTO roman VALUES (1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 0)",
    ];
    comes_back_the_same(&server, &statements).await;
}

/// Every bit of them, by way of their texts.
async fn doubles_in_json_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let mut random = 42u64;
    let mut next = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        random
    };
    let mut doubles = vec![1_092.014_000_000_000_1];
    while doubles.len() < 2000 {
        let (bits, places) = (next(), next() >> 60);
        let any = f64::from_bits(bits ^ (bits >> 32));
        doubles.extend(Some(any).filter(|any| any.is_finite()));
        doubles.push((bits >> 11) as f64 / 10f64.powi(places as i32));
    }
    let rows = doubles.iter().map(|double| format!("(JSON_OBJECT('v', {double:e}))"));
    let statements = [
        "CREATE TABLE doubles (id INT AUTO_INCREMENT PRIMARY KEY, j JSON)".to_owned(),
        format!("INSERT INTO doubles (j) VALUES {}", rows.collect::<Vec<_>>().join(",")),
    ];
    server.run(Some(&source.path), &statements);
    let all = "SELECT id, j FROM doubles ORDER BY id";
    let expected = server.ask(Some(&source.path), all);
    for format in [Format::Binary, Format::Sql] {
        let target = copied(&server, &source, format).await;
        let restored = server.ask(Some(&target.path), all);
        let differ = restored.lines().zip(expected.lines()).find(|(is, was)| is != was);
        assert_eq!(differ, None, "by way of {format:?}");
        assert_eq!(restored.lines().count(), doubles.len());
    }
}

async fn comes_back_the_same(server: &Server, statements: &[&str]) {
    let source = server.empty();
    server.run(Some(&source.path), &statements.iter().map(|sql| (*sql).to_owned()).collect::<Vec<_>>());
    let expected = server.dump(&source.path);
    for format in [Format::Binary, Format::Sql] {
        let target = copied(server, &source, format).await;
        assert_eq!(server.dump(&target.path), expected, "by way of {format:?}");
    }
}

/// What comes of CREATE ... SELECT, and of ALTER TABLE.
async fn tables_that_no_one_statement_makes_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let statements = [
        "CREATE TABLE left_out (a INT NOT NULL COMMENT 'it''s', b ENUM('x','y') CHARACTER SET latin2 NOT NULL, c TIMESTAMP NOT NULL, d TEXT NOT NULL)",
        "CREATE TABLE undefaulted (z VARCHAR(9) DEFAULT 'z', KEY (a), UNIQUE (b), CHECK (a < 9)) ENGINE=MyISAM COMMENT 'not the ''usual'' one' \
         SELECT b, a, 1 AS one, c, d FROM (SELECT 1 AS o) o LEFT JOIN left_out ON left_out.a = o.o",
        "CREATE TABLE nothing_else SELECT a FROM (SELECT 1 AS o) o LEFT JOIN left_out ON left_out.a = o.o",
        "CREATE TABLE parted PARTITION BY KEY (a) SELECT a, 2 AS b FROM (SELECT 1 AS o) o LEFT JOIN left_out ON left_out.a = o.o",
        "ALTER TABLE parted ADD c INT AS (a + 1) VIRTUAL, ADD d INT NOT NULL DEFAULT 4 FIRST",
        "CREATE TABLE unique_late (a INT, b INT NOT NULL, c INT, UNIQUE (a), UNIQUE (c), UNIQUE (b))",
        "ALTER TABLE unique_late MODIFY c INT NOT NULL",
        "INSERT INTO unique_late VALUES (1, 2, 3)",
        "CREATE TABLE primary_late (a INT, b INT, UNIQUE (b), UNIQUE (a)) ENGINE=MyISAM",
        "ALTER TABLE primary_late ADD PRIMARY KEY (a)",
        "CREATE TABLE said_to_be_encrypted (a INT) ENGINE=InnoDB ENCRYPTED=YES PARTITION BY RANGE (a) SUBPARTITION BY HASH (a) \
         (PARTITION p VALUES LESS THAN (9) ENCRYPTED=NO (SUBPARTITION s, SUBPARTITION t))",
        "CREATE SEQUENCE formatted",
        "ALTER TABLE formatted ROW_FORMAT=COMPACT",
        "SET foreign_key_checks = 0",
        "CREATE TABLE refers (a INT, b VARCHAR(3), CONSTRAINT mistyped FOREIGN KEY (a) REFERENCES referred (id), CONSTRAINT typed FOREIGN KEY (b) REFERENCES referred (id))",
        "CREATE TABLE referred (id VARCHAR(10) PRIMARY KEY)",
        "INSERT INTO refers VALUES (1, NULL)",
        "CREATE TABLE refers_to_none (a INT, CONSTRAINT none FOREIGN KEY (a) REFERENCES without_it (it))",
        "CREATE TABLE without_it (id INT PRIMARY KEY)",
    ];
    comes_back_the_same(&server, &statements).await;
}

/// As a partition that was exchanged without a look at its rows may have.
async fn rows_without_a_partition_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let statements = [
        "CREATE TABLE ranged (a INT, b VARCHAR(5), KEY (a)) PARTITION BY RANGE (a) (PARTITION `p 0` VALUES LESS THAN (10), PARTITION p1 VALUES LESS THAN (20))",
        "CREATE TABLE listed (a VARCHAR(5)) PARTITION BY LIST COLUMNS (a) (PARTITION p0 VALUES IN ('x', NULL))",
        "INSERT INTO ranged VALUES (1, 'gone'), (11, 'kept')",
        "CREATE TABLE range_of_others (a INT, b VARCHAR(5), KEY (a))",
        "CREATE TABLE list_of_others (a VARCHAR(5))",
        "INSERT INTO range_of_others VALUES (15, 'other'), (100, 'none'), (3, 'its')",
        "INSERT INTO list_of_others VALUES ('y'), (NULL)",
        "ALTER TABLE ranged EXCHANGE PARTITION `p 0` WITH TABLE range_of_others WITHOUT VALIDATION",
        "ALTER TABLE listed EXCHANGE PARTITION p0 WITH TABLE list_of_others WITHOUT VALIDATION",
    ];
    comes_back_the_same(&server, &statements).await;
}

/// As a table, with comments of its own.
async fn a_sequence_that_was_made_as_a_table_comes_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE counting (next_not_cached_value BIGINT(21) NOT NULL COMMENT 'it''s', minimum_value BIGINT(21) NOT NULL, maximum_value BIGINT(21) NOT NULL, \
         start_value BIGINT(21) NOT NULL, increment BIGINT(21) NOT NULL, cache_size BIGINT(21) UNSIGNED NOT NULL, cycle_option TINYINT(1) UNSIGNED NOT NULL, \
         cycle_count BIGINT(21) NOT NULL COMMENT 'rounds') SEQUENCE=1 COMMENT='of the table'",
        "INSERT INTO counting VALUES (7, 3, 100, 5, 2, 0, 1, 4)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let all = "SELECT COLUMN_NAME, COLUMN_COMMENT, (SELECT TABLE_COMMENT FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE()), counting.* \
               FROM information_schema.COLUMNS JOIN counting WHERE TABLE_SCHEMA = DATABASE() ORDER BY ORDINAL_POSITION";
    for format in [Format::Binary, Format::Sql] {
        let target = copied(&server, &source, format).await;
        assert_eq!(server.ask(Some(&target.path), all), server.ask(Some(&source.path), all));
    }
}

/// ARCHIVE takes no number below the one that it counts from.
async fn archived_numbers_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let statements = [
        "CREATE TABLE archived (n INT NOT NULL AUTO_INCREMENT, t VARCHAR(30) COMMENT 'AUTO_INCREMENT=1', KEY (n)) ENGINE=ARCHIVE COMMENT='AUTO_INCREMENT=2'",
        "INSERT INTO archived VALUES (100, 'one'), (105, 'other')",
        "CREATE TABLE nothing_yet (n INT NOT NULL AUTO_INCREMENT, KEY (n)) ENGINE=ARCHIVE AUTO_INCREMENT=50",
    ];
    comes_back_the_same(&server, &statements).await;
}

async fn a_primary_key_that_came_late_does_so_again(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let statements = [
        "CREATE TABLE late (a INT, b VARCHAR(9) CHARACTER SET latin2, UNIQUE b (b), UNIQUE a (a))",
        "ALTER TABLE late ADD PRIMARY KEY (a)",
        "INSERT INTO late VALUES (1, 'x'), (2, NULL)",
    ];
    comes_back_the_same(&server, &statements).await;
}

async fn rows_without_a_number_come_back_without_one(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let mut statements = vec!["SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'".to_owned()];
    for engine in ["InnoDB", "MyISAM"] {
        let table = format!("of_{}", engine.to_lowercase());
        statements
            .push(format!("CREATE TABLE {table} (n INT AUTO_INCREMENT NULL UNIQUE, a INT) ENGINE={engine}"));
        statements.push(format!("INSERT INTO {table} VALUES (0, 0), (1, 1), (2, 2), (3, 3), (7, 7)"));
        statements.push(format!("UPDATE {table} SET n = NULL WHERE a IN (1, 3)"));
    }
    statements.push(
        "CREATE TABLE at_its_end (n TINYINT AUTO_INCREMENT NULL, t TEXT, KEY (n)) AUTO_INCREMENT=130"
            .to_owned(),
    );
    statements.push("INSERT INTO at_its_end VALUES (1, 'it''s'), (1, 'ä'), (127, 'last')".to_owned());
    statements.push("UPDATE at_its_end SET n = NULL WHERE n = 1".to_owned());
    statements.push("DELETE FROM at_its_end WHERE n = 127".to_owned());
    comes_back_the_same(&server, &statements.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

on! {
    mariadb: defaults_that_count_by_a_lost_sequence_come_back versions_that_ended_before_they_began_are_left_out_and_named members_that_a_collation_takes_for_each_other_come_back a_sequence_that_was_made_as_a_table_comes_back tables_that_no_one_statement_makes_come_back rows_without_a_number_come_back_without_one versions_that_lasted_no_time_come_back a_merge_table_that_its_parts_do_not_fit_is_left_out_with_a_warning keys_that_are_not_kept_are_not_kept a_table_without_a_tablespace_comes_back_as_one a_history_by_transactions_is_left_out_and_named;
    mariadb11: defaults_that_count_by_a_lost_sequence_come_back versions_that_ended_before_they_began_are_left_out_and_named members_that_a_collation_takes_for_each_other_come_back a_sequence_that_was_made_as_a_table_comes_back rows_without_a_partition_come_back tables_that_no_one_statement_makes_come_back rows_without_a_number_come_back_without_one versions_that_lasted_no_time_come_back a_merge_table_that_its_parts_do_not_fit_is_left_out_with_a_warning keys_that_are_not_kept_are_not_kept a_table_without_a_tablespace_comes_back_as_one a_history_by_transactions_is_left_out_and_named;
    mysql: doubles_in_json_come_back members_that_a_collation_takes_for_each_other_come_back a_primary_key_that_came_late_does_so_again archived_numbers_come_back rows_without_a_partition_come_back rows_without_a_number_come_back_without_one a_merge_table_that_its_parts_do_not_fit_is_left_out_with_a_warning keys_that_are_not_kept_are_not_kept a_table_without_a_tablespace_comes_back_as_one;
}
