//! Contents and targets that are awkward.

use std::sync::Arc;

use backup_core::storage::Storage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Content, ErrorKind, Format, Registry, RestoreOptions,
};

use crate::private::Private;
use crate::server::Server;
use crate::{backup, manager, manager_of, on, replacing, shop, storage};

on! {
    bytes_that_no_character_set_allows_come_back_as_they_are: mariadb mariadb11 mysql;
    triggers_do_not_fire_at_a_load: mariadb mysql;
    an_invalid_view_is_warned_of: mariadb mysql;
}

async fn bytes_that_no_character_set_allows_come_back_as_they_are(server: Server) {
    let source = server.empty();
    let all: String = (0..=255).map(|byte| format!("{byte:02X}")).collect();
    let mut statements = vec!["SET SESSION sql_mode = ''".to_owned()];
    let mut digests = Vec::new();
    for (i, (charset, bytes)) in [
        ("latin1", all.as_str()),
        ("cp1251", &all),
        ("binary", &all),
        ("latin7", &all),
        ("ascii", "00010A0D1A5C277F80FF"),
        // Lone surrogates, either half, and the wrong way round.
        ("ucs2", "D8000041DC00"),
        ("ucs2", "DC00D800FFFF0000FFFE"),
        ("utf16", "D83DDE000041"),
        ("utf32", "0001F6000000D800"),
        ("utf8mb3", "EDA080C3A900EFBFBF"),
        ("utf8mb4", "F09F9880EDA08041FF00F48FBFBF"),
        ("sjis", "835C5C81FFFC00"),
        ("gbk", "D2BB815C80FF"),
        ("big5", "A55CFE"),
        ("ujis", "8FA2AFFF"),
    ]
    .into_iter()
    .enumerate()
    {
        statements.push(format!("CREATE TABLE t{i} (id INT PRIMARY KEY, x VARCHAR(300) CHARACTER SET {charset}, y LONGTEXT CHARACTER SET {charset}) CHARACTER SET {charset}").replace("VARCHAR(300) CHARACTER SET binary", "VARBINARY(300)"));
        // What the server takes of it, it has; and it may have taken any of it before it looked.
        statements.push(format!("INSERT IGNORE INTO t{i} VALUES (1, X'{bytes}', X'{bytes}'), (2, '', NULL)"));
        statements.push(format!("INSERT IGNORE INTO t{i} VALUES (3, CHAR(0xD800 USING {charset}), CONVERT(CONVERT(X'{bytes}' USING ucs2) USING {charset}))"));
        digests.push(format!("SELECT {i}, id, HEX(x), HEX(y) FROM t{i}"));
    }
    server.run(Some(&source.path), &statements);
    let digest = digests.join(" UNION ALL ") + " ORDER BY 1, 2";
    let expected = server.ask(Some(&source.path), &digest);
    assert!(expected.contains(&all) && expected.contains("D8000041DC00"), "{expected}");
    for format in [Format::Binary, Format::Sql] {
        let storage = storage();
        let mut config = BackupConfig::default();
        config.format = format;
        let manager = BackupManager::new(config)
            .with_registry(Registry::new().with(&backup_mysql::ENGINE))
            .with_storage(Arc::clone(&storage));
        let backup = manager.backup(&source).await.unwrap();
        let copy = server.empty();
        manager.restore(&BackupRef::from(&backup.id), &copy, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(Some(&copy.path), &digest), expected, "by way of {format:?}");
    }
}

/// Neither where they are made behind the rows, nor where rows go into tables that have them already: there the restore is refused.
async fn triggers_do_not_fire_at_a_load(server: Server) {
    for format in [Format::Binary, Format::Sql] {
        triggers_do_not_fire(&server, format).await;
    }
}

async fn triggers_do_not_fire(server: &Server, format: Format) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE t (a INT PRIMARY KEY, b INT)",
            "CREATE TABLE log_of (what TEXT)",
            "INSERT INTO t VALUES (1, 1), (2, 2)",
            "CREATE TRIGGER changes BEFORE INSERT ON t FOR EACH ROW SET NEW.b = NEW.b + 100",
            "CREATE TRIGGER logs AFTER DELETE ON t FOR EACH ROW INSERT INTO log_of VALUES ('gone')",
        ]
        .map(str::to_owned),
    );
    let manager = manager_of(&storage(), format);
    let made = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    let expected = server.dump(&source.path);
    let copy = server.empty();
    manager.restore(&made, &copy, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.dump(&copy.path), expected);
    manager.restore(&made, &copy, replacing()).await.unwrap();
    assert_eq!(server.dump(&copy.path), expected);
    let mut rows = replacing();
    rows.content = Content::DataOnly;
    let error = manager.restore(&made, &copy, rows.clone()).await.unwrap_err();
    let told = error.to_string();
    assert!(
        error.kind() == ErrorKind::Unsupported && told.contains("changes") && told.contains("logs"),
        "{told}"
    );
    assert_eq!(server.dump(&copy.path), expected);
    server.run(Some(&copy.path), &["DROP TRIGGER changes", "DROP TRIGGER logs"].map(str::to_owned));
    server.run(Some(&copy.path), &["UPDATE t SET b = 0".to_owned()]);
    manager.restore(&made, &copy, rows).await.unwrap();
    assert_eq!(
        server.ask(Some(&copy.path), "SELECT * FROM t"),
        server.ask(Some(&source.path), "SELECT * FROM t")
    );
}

async fn an_invalid_view_is_warned_of(server: Server) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE gone (a INT)",
            "CREATE TABLE stays (a INT)",
            "INSERT INTO stays VALUES (1)",
            "CREATE VIEW broken AS SELECT a FROM gone",
            "DROP TABLE gone",
        ]
        .map(str::to_owned),
    );
    let (storage, made) = backup(&source).await;
    let warnings = manager(&storage).get_backup(&made).await.unwrap().warnings.join("\n");
    assert!(warnings.contains("view broken"), "{warnings}");
    let copy = server.empty();
    manager(&storage).restore(&made, &copy, RestoreOptions::default()).await.unwrap();
    let view =
        "SELECT VIEW_DEFINITION LIKE '%gone%' FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()";
    assert_eq!(server.ask(Some(&copy.path), "SELECT * FROM stays"), "1\n");
    assert_eq!(server.ask(Some(&copy.path), view), server.ask(Some(&source.path), view));
}

/// A server of one's own whose packets and tables are small.
#[tokio::test(flavor = "multi_thread")]
async fn a_target_without_room_is_taken_back_and_small_packets_are_kept_to() {
    let Some(program) = Private::program() else { return };
    let Some(server) = Server::find("mariadb") else { return };
    let accounts = "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n";
    let mut private = Private::new(accounts, &[]);
    let source = shop(&server);
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE large (id INT PRIMARY KEY, b LONGBLOB, e ENUM('a'))",
            "SET SESSION sql_mode = ''",
            "INSERT IGNORE INTO large SELECT id, REPEAT(UNHEX('00FF'), 150000), 'no member' FROM orders WHERE id <= 30",
            "CREATE TABLE heap (id INT, t CHAR(200)) ENGINE=MEMORY",
            "INSERT INTO heap SELECT id, note FROM orders",
            "CREATE TABLE packed (id INT, t VARCHAR(200)) ENGINE=MyISAM",
            "INSERT INTO packed SELECT id, note FROM orders",
        ]
        .map(str::to_owned),
    );
    let (storage, made) = backup(&source).await;
    let expected = digests(&storage, &made).await;
    // By INSERTs no longer than the server reads, and by packets that know no such bound.
    let usual = "--max-heap-table-size=64M";
    for settings in [
        [usual, "--local-infile=0", "--max-allowed-packet=1M"],
        [usual, "--local-infile=1", "--max-allowed-packet=1M"],
    ] {
        private.start(&program, &settings);
        let url = private.url("me:secret@127.0.0.1:PORT/packets");
        let mut options = replacing();
        options.create_database = true;
        let restored = manager(&storage).restore(&made, &url, options).await;
        restored.unwrap_or_else(|error| panic!("{settings:?}: {error}"));
        let (again, copy) = backup(&url).await;
        assert_eq!(digests(&again, &copy).await, expected);
    }
    // By default of another engine, and read-only.
    private.start(&program, &[usual, "--default-storage-engine=MyISAM", "--transaction-read-only=1"]);
    let mut options = RestoreOptions::default();
    options.create_database = true;
    let url = private.url("me:secret@127.0.0.1:PORT/otherwise");
    manager(&storage).restore(&made, &url, options).await.unwrap();
    // A row that no packet holds, and one that its table has no room for.
    let mut options = RestoreOptions::default();
    options.create_database = true;
    for (settings, kind, expected) in [
        ([usual, "--local-infile=0", "--max-allowed-packet=512K"], ErrorKind::Unsupported, "table large"),
        (
            ["--myisam-data-pointer-size=2", "--local-infile=1", "--max-allowed-packet=1M"],
            ErrorKind::NoSpace,
            "1114",
        ),
        (
            ["--myisam-data-pointer-size=2", "--local-infile=0", "--max-allowed-packet=1M"],
            ErrorKind::NoSpace,
            "1114",
        ),
    ] {
        private.start(&program, &settings);
        let url = private.url("me:secret@127.0.0.1:PORT/small");
        let error = manager(&storage).restore(&made, &url, options.clone()).await.unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(expected), "{:?}: {error}", error.kind());
        // The database that it made is gone again.
        let error = manager(&storage).backup(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    }
}

/// As MySQL is unless somebody sets it: no files, and engines that lifeboat does not know if somebody asks for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_mysql_as_it_comes_takes_large_rows_and_tables_of_unknown_engines_are_refused() {
    let Some(program) = Private::mysql() else { return };
    let accounts = "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n";
    let mut private = Private::of_mysql(&program, accounts);
    private.start(&program, &["--federated", "--max-allowed-packet=8M"]);
    let server = Server::at(&private.text("mysql://me:secret@127.0.0.1:PORT/mysql"));
    assert_eq!(server.ask(None, "SELECT @@local_infile"), "0\n");
    let source = server.empty();
    let statements = [
        "CREATE TABLE large (id INT PRIMARY KEY, b LONGBLOB, t LONGTEXT)",
        "INSERT INTO large VALUES (1, REPEAT(UNHEX('00FF'), 1 << 20), 'ä'), (2, NULL, REPEAT('x', 3 << 20)), (3, 'small', '')",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(&storage(), format);
        let made = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let copy = server.empty();
        manager.restore(&made, &copy, RestoreOptions::default()).await.unwrap();
        let rows = "SELECT id, SHA2(b, 256), SHA2(t, 256) FROM large ORDER BY id";
        assert_eq!(server.ask(Some(&copy.path), rows), server.ask(Some(&source.path), rows), "{format:?}");
    }
    let made = backup(&source).await;
    for settings in [
        ["--federated", "--default-storage-engine=MyISAM"],
        ["--innodb-default-row-format=compact", "--transaction-read-only=1"],
    ] {
        private.start(&program, &settings);
        let mut options = replacing();
        options.create_database = true;
        let url = private.text("mysql://me:secret@127.0.0.1:PORT/otherwise");
        manager(&made.0).restore(&made.1, &url.parse().unwrap(), options).await.unwrap();
    }
    private.start(&program, &["--federated"]);
    // Whose rows are at another server: leaving them out silently would be no backup.
    let elsewhere = private.text(&format!("mysql://me:secret@127.0.0.1:PORT/{}/large", source.path));
    server.run(
        Some(&source.path),
        &[format!("CREATE TABLE away (id INT PRIMARY KEY) ENGINE=FEDERATED CONNECTION='{elsewhere}'")],
    );
    let error = manager(&storage()).backup(&source).await.unwrap_err();
    let told = error.to_string();
    assert!(
        error.kind() == ErrorKind::Unsupported && told.contains("away") && told.contains("FEDERATED"),
        "{:?}: {told}",
        error.kind()
    );
    assert!(!told.contains("secret"), "{told}");
    drop(server);
    private.stop();
}

/// What a backup says of the rows of each of its tables.
async fn digests(storage: &Arc<dyn Storage>, made: &BackupRef) -> Vec<String> {
    let details = manager(storage).get_backup(made).await.unwrap();
    let mut digests: Vec<_> =
        details.tables.iter().map(|table| format!("{:?} {:?}", table.table.name, table.digest)).collect();
    digests.sort();
    digests
}
