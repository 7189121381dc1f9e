//! Servers that make something else of the same statement: older ones, and those that are set otherwise. A proxy lets a server seem to be one.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use backup_core::{BackupRef, Content, Ctx, DatabaseUrl, ErrorKind, Format, Progress, RestoreOptions};
use backup_testkit::proxy::{From, Proxy, Then};
use backup_testkit::told::Told;

use crate::private::Private;
use crate::server::Server;
use crate::{address, backup, by_way_of, changing, manager, manager_of, on, replacing, storage};

on! {
    a_backup_of_mysql_5_7_comes_back_with_its_collations_and_without_its_modes: mysql;
    tables_are_made_as_they_were_whatever_the_server_adds: mariadb mariadb11 mysql;
    a_primary_key_that_the_server_made_is_in_the_backup: mysql;
    values_that_do_not_fit_are_refused_whatever_the_format: mariadb mariadb11 mysql;
    values_that_are_no_members_come_back_whatever_the_format: mariadb mariadb11 mysql;
    the_encryption_of_a_database_comes_back: mysql;
    warnings_that_the_server_does_not_show_are_told: mysql;
}

fn replace(said: &mut [u8], what: &[u8], instead: &[u8]) {
    assert_eq!(what.len(), instead.len());
    let mut at = 0;
    while let Some(found) = said[at..].windows(what.len()).position(|bytes| bytes == what) {
        said[at + found..at + found + what.len()].copy_from_slice(instead);
        at += found + what.len();
    }
}

/// A server whose sessions begin with these settings.
pub(crate) fn set_to(server: &Server, settings: &'static str) -> Proxy {
    const SAID: &str = "wait_timeout = 604800, net_write_timeout = 604800, net_read_timeout = 604800";
    let instead = format!("{settings:<width$}", width = SAID.len());
    Proxy::start(address(server), move |_| {
        let instead = instead.clone();
        Box::new(move |from, said| {
            if from == From::Client {
                replace(said, SAID.as_bytes(), instead.as_bytes());
            }
            Then::Pass
        })
    })
}

async fn comes_back_by_way_of(server: &Server, source: &DatabaseUrl, proxy: &Proxy) {
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(&storage(), format);
        let made = manager.backup(&by_way_of(proxy, server, &source.path, "")).await.unwrap();
        let target = server.empty();
        let url = by_way_of(proxy, server, &target.path, "");
        manager.restore(&BackupRef::from(&made.id), &url, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&target.path), server.dump(&source.path), "by way of {format:?}");
    }
}

/// Which prints no collation that a character set has there by default, and has modes that are no more.
async fn a_backup_of_mysql_5_7_comes_back_with_its_collations_and_without_its_modes(server: Server) {
    let source = server.empty();
    let statements = [
        "SET sql_mode = 'HIGH_NOT_PRECEDENCE,ANSI_QUOTES'",
        "CREATE TABLE t (a VARCHAR(9) PRIMARY KEY, b VARCHAR(9) CHARACTER SET latin1) DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_general_ci",
        "INSERT INTO t VALUES ('ss', 'a'), ('\u{df}', 'b')",
        "CREATE FUNCTION f (a CHAR(1) CHARACTER SET utf8mb4) RETURNS INT DETERMINISTIC RETURN 1",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let (major, minor) = server.version();
    let version = format!("{major}.{minor}.").into_bytes();
    let proxy = changing(address(&server), move |said| {
        replace(said, &version, b"5.7.");
        replace(said, b"HIGH_NOT_PRECEDENCE", b"NO_AUTO_CREATE_USER");
        replace(said, b" COLLATE=utf8mb4_general_ci", b"                           ");
        replace(said, b" COLLATE utf8mb4_general_ci", b"                           ");
    });
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(&storage(), format);
        let made = manager.backup(&by_way_of(&proxy, &server, &source.path, "")).await.unwrap();
        let target = server.empty();
        manager.restore(&BackupRef::from(&made.id), &target, RestoreOptions::default()).await.unwrap();
        let collations = "SELECT COLLATION_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() \
                          UNION ALL SELECT COLLATION_NAME FROM information_schema.PARAMETERS WHERE SPECIFIC_SCHEMA = DATABASE() AND PARAMETER_NAME = 'a' ORDER BY 1";
        let expected = "latin1_swedish_ci\nutf8mb4_general_ci\nutf8mb4_general_ci\n";
        assert_eq!(server.ask(Some(&target.path), collations), expected);
        let modes = "SELECT SQL_MODE FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()";
        assert_eq!(server.ask(Some(&target.path), modes), "ANSI_QUOTES\n");
        assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*) FROM t"), "2\n");
    }
}

/// A default where none is said, and a primary key where there is none.
async fn tables_are_made_as_they_were_whatever_the_server_adds(server: Server) {
    let source = server.empty();
    let statements = [
        "SET explicit_defaults_for_timestamp = 1",
        "CREATE TABLE t (a INT, b TIMESTAMP NOT NULL, c TIMESTAMP NULL)",
        "INSERT INTO t VALUES (1, '2020-01-01', NULL)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let settings = if server.is_mariadb() {
        "explicit_defaults_for_timestamp = 0"
    } else {
        "explicit_defaults_for_timestamp = 0,sql_generate_invisible_primary_key = 1"
    };
    comes_back_by_way_of(&server, &source, &set_to(&server, settings)).await;
}

async fn a_primary_key_that_the_server_made_is_in_the_backup(server: Server) {
    let source = server.empty();
    let statements = [
        "SET sql_generate_invisible_primary_key = 1",
        "CREATE TABLE t (a INT)",
        "INSERT INTO t VALUES (1), (2)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let proxy = set_to(&server, "show_gipk_in_create_table_and_information_schema = 0");
    comes_back_by_way_of(&server, &source, &proxy).await;
}

async fn values_that_do_not_fit_are_refused_whatever_the_format(server: Server) {
    let source = server.empty();
    let statements = ["CREATE TABLE t (a VARCHAR(9), b INT)", "INSERT INTO t VALUES ('abcdefghi', 7)"];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let storage = storage();
        let made = manager_of(&storage, format).backup(&source).await.unwrap();
        let target = server.empty();
        server.run(Some(&target.path), &["CREATE TABLE t (a VARCHAR(3), b INT)".to_owned()]);
        let mut options = RestoreOptions::default();
        options.content = Content::DataOnly;
        let refused = manager_of(&storage, format)
            .restore(&BackupRef::from(&made.id), &target, options)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Database, "{refused}");
        assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*) FROM t"), "0\n", "{format:?}");
    }
}

async fn values_that_are_no_members_come_back_whatever_the_format(server: Server) {
    let source = server.empty();
    let statements = [
        "SET sql_mode = ''",
        "CREATE TABLE t (e ENUM('x','y'), n ENUM('','y'), s SET('x'), g INT AS (e + 'z') VIRTUAL)",
        "INSERT INTO t (e, n, s) VALUES ('none', 'none', 'none'), ('x', '', 'x'), (NULL, NULL, NULL)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let expected = server.ask(Some(&source.path), "SELECT e + 0, n + 0, s + 0 FROM t");
    assert!(expected.starts_with("0\t0\t0\n"), "{expected}");
    for format in [Format::Binary, Format::Sql] {
        let manager = manager_of(&storage(), format);
        let made = manager.backup(&source).await.unwrap();
        let target = server.empty();
        manager.restore(&BackupRef::from(&made.id), &target, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(Some(&target.path), "SELECT e + 0, n + 0, s + 0 FROM t"), expected);
    }
}

async fn the_encryption_of_a_database_comes_back(server: Server) {
    let source = server.empty();
    server.run(Some(&source.path), &["ALTER DATABASE DEFAULT ENCRYPTION = 'Y'".to_owned()]);
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    let manager = manager_of(&Arc::clone(&storage), Format::Binary);
    manager.restore(&made, &target, RestoreOptions::default()).await.unwrap();
    let encryption =
        "SELECT DEFAULT_ENCRYPTION FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = DATABASE()";
    assert_eq!(server.ask(Some(&target.path), encryption), "YES\n");
}

/// As many as hide a warning that matters. MariaDB does not warn of what is generated.
async fn warnings_that_the_server_does_not_show_are_told(server: Server) {
    let source = server.empty();
    let statements = [
        "CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(9), g INT AS (s + 0) STORED)",
        "SET SESSION sql_mode = '', cte_max_recursion_depth = 100000",
        "INSERT INTO t (id, s) WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 66000) SELECT i, 'x' FROM n",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let (storage, made) = backup(&source).await;
    let (target, told) = (server.empty(), Arc::<Told>::default());
    let manager =
        manager(&storage).with_context(Ctx::new().with_progress(Arc::clone(&told) as Arc<dyn Progress>));
    manager.restore(&made, &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*), SUM(g) FROM t"), "66000\t0\n");
    assert!(told.has("table t: the server warned 66000 times"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_the_target_does_not_take_is_told() {
    let Some(program) = Private::program() else { return };
    let Some(server) = Server::find("mariadb") else { return };
    let mut private = Private::new(
        "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n",
        &[],
    );
    let source = server.empty();
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let sql = format!(
        "CREATE TABLE `else ``where` (a INT) ENGINE=MyISAM DATA DIRECTORY='{}'",
        directory.path().display()
    );
    server.run(Some(&source.path), &[sql]);
    let (storage, made) = backup(&source).await;
    private.start(&program, &["--skip-symbolic-links"]);
    let told = Arc::<Told>::default();
    let manager =
        manager(&storage).with_context(Ctx::new().with_progress(Arc::clone(&told) as Arc<dyn Progress>));
    let mut options = RestoreOptions::default();
    options.create_database = true;
    manager.restore(&made, &private.url("me:secret@127.0.0.1:PORT/short"), options).await.unwrap();
    assert!(told.has("table else `where is made otherwise than it was"), "{told:?}");
}

/// What a server refuses of the last things that are made is refused first.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_will_not_let_happen_at_the_end_is_said_at_the_start() {
    let Some(program) = Private::program() else { return };
    let Some(server) = Server::find("mariadb") else { return };
    let mut private = Private::new(
        "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret', poor@'%' IDENTIFIED BY 'secret', setter@'%' IDENTIFIED BY 'secret';\n\
         GRANT ALL ON *.* TO me@'%';\nGRANT ALL ON late.* TO poor@'%', setter@'%';\nGRANT SET USER ON *.* TO setter@'%';\n",
        &[],
    );
    private.start(&program, &["--log-bin", "--server-id=1"]);
    let source = server.empty();
    let late = |what: &str| {
        server.run(Some(&source.path), &[what.to_owned()]);
    };
    late("CREATE TABLE t (a INT)");
    let at = private.url("me:secret@127.0.0.1:PORT/late");
    let restored = async |account: &str, no_owner: bool| {
        let (storage, made) = backup(&source).await;
        let told = Arc::<Told>::default();
        let manager =
            manager(&storage).with_context(Ctx::new().with_progress(Arc::clone(&told) as Arc<dyn Progress>));
        let mut options = replacing();
        (options.create_database, options.no_owner) = (true, no_owner);
        let mut url = at.clone();
        url.user = Some(account.to_owned());
        (manager.restore(&made, &url, options).await, told)
    };
    assert!(restored("poor", false).await.0.is_ok());
    // By SUPER, with a word of warning; and by nobody else.
    late("CREATE FUNCTION f () RETURNS INT DETERMINISTIC RETURN 1");
    let (done, told) = restored("me", false).await;
    assert!(done.is_ok() && told.has("is one of these not"), "{done:?}");
    let error = restored("setter", false).await.0.unwrap_err();
    assert!(error.message().contains("lets only SUPER") && error.message().contains(".f"), "{error}");
    private.start(&program, &[]);
    assert!(restored("setter", false).await.0.is_ok());
    let error = restored("poor", false).await.0.unwrap_err();
    assert!(error.message().contains("may not make what acts as others"), "{error}");
    assert!(restored("poor", true).await.0.is_ok());
    // A time zone that only the source knows.
    let zone = format!("Lifeboat/{}", std::process::id());
    late(&format!(
        "INSERT INTO mysql.time_zone (Use_leap_seconds) VALUES ('N'); SET @id = LAST_INSERT_ID(); \
         INSERT INTO mysql.time_zone_name VALUES ('{zone}', @id); \
         INSERT INTO mysql.time_zone_transition_type VALUES (@id, 0, 3600, 0, 'LBT')"
    ));
    late(&format!("SET time_zone = '{zone}'; CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO SELECT 1"));
    let error = restored("me", false).await.0.unwrap_err();
    assert!(error.message().contains(&format!("no time zone {zone} (event ")), "{error}");
    late("DROP EVENT e");
    late(&format!(
        "SELECT Time_zone_id INTO @id FROM mysql.time_zone_name WHERE Name = '{zone}'; \
         DELETE FROM mysql.time_zone_transition_type WHERE Time_zone_id = @id; \
         DELETE FROM mysql.time_zone_name WHERE Time_zone_id = @id; \
         DELETE FROM mysql.time_zone WHERE Time_zone_id = @id"
    ));
}
