//! Targets that are not what the source was: by another name, older, with less room, and as a killed restore left them.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use backup_core::storage::Storage;
use backup_core::{BackupRef, Ctx, DatabaseUrl, Format, Progress, RestoreOptions};
use backup_testkit::proxy::{From, Proxy, Then};
use backup_testkit::told::Told;

use crate::server::{Account, Server};
use crate::{address, backup, by_way_of, changing, manager, manager_of, on, replacing, storage};

on! {
    what_stands_in_for_a_database_is_not_taken_for_real_when_it_is_left: mariadb mariadb11 mysql;
    a_server_that_takes_no_history_has_the_rows_of_the_present: mariadb mariadb11;
    programs_that_name_their_database_are_told_where_it_has_another_name: mariadb mariadb11 mysql;
    tables_in_memory_have_the_room_that_they_had: mariadb mariadb11 mysql;
}

async fn restored(
    storage: &Arc<dyn Storage>,
    made: &BackupRef,
    target: &DatabaseUrl,
    options: RestoreOptions,
) -> (backup_core::Result<()>, Arc<Told>) {
    let told = Arc::<Told>::default();
    let manager =
        manager(storage).with_context(Ctx::new().with_progress(Arc::clone(&told) as Arc<dyn Progress>));
    (manager.restore(made, target, options).await.map(|_| ()), told)
}

/// Of a view of a database that is gone. One that cannot be reached any more takes nothing back, as one that is killed.
async fn what_stands_in_for_a_database_is_not_taken_for_real_when_it_is_left(server: Server) {
    let source = server.empty();
    let far = server.database(&format!("{}_far", source.path)).path;
    let statements = [
        "CREATE TABLE t (a INT PRIMARY KEY)".to_owned(),
        format!("CREATE DATABASE {far}"),
        format!("CREATE TABLE {far}.u (z INT)"),
        format!("CREATE VIEW broken AS SELECT u.z, t.a FROM {far}.u JOIN t"),
        format!("DROP DATABASE {far}"),
    ];
    server.run(Some(&source.path), &statements);
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    let is_gone = Arc::new(AtomicBool::new(false));
    let proxy = Proxy::start(address(&server), {
        let is_gone = Arc::clone(&is_gone);
        move |_| {
            let is_gone = Arc::clone(&is_gone);
            Box::new(move |from, said| {
                const MAKES: &[u8] = b"VIEW `broken`";
                let makes = from == From::Client && said.windows(MAKES.len()).any(|bytes| bytes == MAKES);
                if makes || is_gone.load(Ordering::SeqCst) {
                    said.clear();
                    is_gone.store(true, Ordering::SeqCst);
                    return Then::Cut;
                }
                Then::Pass
            })
        }
    });
    let url = by_way_of(&proxy, &server, &target.path, "");
    let (done, _) = restored(&storage, &made, &url, RestoreOptions::default()).await;
    assert!(done.is_err());
    let tables =
        format!("SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{far}' ORDER BY 1");
    assert_eq!(server.ask(None, &tables), "lifeboat_stands_in\nu\n");
    let (done, told) = restored(&storage, &made, &target, RestoreOptions::default()).await;
    assert!(done.is_ok() && !told.has("is not restored"), "{done:?} {told:?}");
    assert_eq!(server.ask(None, &tables), "");
    let view = "SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA = DATABASE()";
    let said = |database: &str| server.ask(Some(database), view).replace(&format!("`{database}`"), "here");
    assert!(said(&target.path).contains("`u`"));
    assert_eq!(said(&target.path), said(&source.path));
    // One of its name that somebody has made since is not touched.
    let target = server.empty();
    let left = [
        "CREATE TABLE lifeboat_restore_is_incomplete (name VARCHAR(255) PRIMARY KEY)".to_owned(),
        format!("INSERT INTO lifeboat_restore_is_incomplete VALUES ('{far}')"),
        format!("CREATE DATABASE {far}"),
        format!("CREATE TABLE {far}.theirs (a INT)"),
    ];
    server.run(Some(&target.path), &left);
    restored(&storage, &made, &target, RestoreOptions::default()).await.0.unwrap();
    assert_eq!(server.ask(None, &tables), "theirs\n");
}

/// As MariaDB before 10.11.
async fn a_server_that_takes_no_history_has_the_rows_of_the_present(server: Server) {
    let source = server.empty();
    let statements = [
        "CREATE TABLE t (a INT PRIMARY KEY, b VARCHAR(9)) WITH SYSTEM VERSIONING",
        "CREATE TABLE named (a INT, s TIMESTAMP(6) GENERATED ALWAYS AS ROW START, e TIMESTAMP(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
        "INSERT INTO t VALUES (1, 'one'), (2, NULL)",
        "INSERT INTO named (a) VALUES (3)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let (major, minor) = server.version();
    let version = format!("{major}.{minor}.").into_bytes();
    let older = format!("10.{:0>width$}.", 8, width = version.len() - 4).into_bytes();
    let proxy = changing(address(&server), move |said| {
        let found = said.windows(version.len()).position(|bytes| bytes == version);
        if let Some(at) = found {
            said[at..at + older.len()].copy_from_slice(&older);
        }
    });
    let (old, made) = backup(&by_way_of(&proxy, &server, &source.path, "")).await;
    let target = server.empty();
    let url = by_way_of(&proxy, &server, &target.path, "");
    let (done, told) = restored(&old, &made, &url, RestoreOptions::default()).await;
    assert!(done.is_ok() && told.has("the server takes no times of versions"), "{done:?} {told:?}");
    for rows in
        ["SELECT a, b FROM t FOR SYSTEM_TIME ALL ORDER BY a", "SELECT a FROM named FOR SYSTEM_TIME ALL"]
    {
        assert_eq!(server.ask(Some(&target.path), rows), server.ask(Some(&source.path), rows));
    }
    // What is no more is refused, in the list of what the target does not have; by whatever clock it ended.
    let deleted = ["SET timestamp = 2000000000", "DELETE FROM t WHERE a = 1"];
    server.run(Some(&source.path), &deleted.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let storage = storage();
        let made = manager_of(&storage, format).backup(&source).await.unwrap();
        let target = server.empty();
        let url = by_way_of(&proxy, &server, &target.path, "");
        let (done, _) = restored(&storage, &BackupRef::from(&made.id), &url, RestoreOptions::default()).await;
        let error = done.unwrap_err();
        assert!(error.to_string().contains("no history of system-versioned tables: table "), "{error}");
        assert_eq!(server.ask(Some(&target.path), "SHOW TABLES"), "");
    }
}

async fn programs_that_name_their_database_are_told_where_it_has_another_name(server: Server) {
    let source = server.empty();
    let name = &source.path;
    let statements = [
        "CREATE TABLE t (a INT)".to_owned(),
        format!("CREATE EVENT deletes ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO DELETE FROM {name}.t"),
        format!("CREATE PROCEDURE looks() SELECT * FROM `{name}` . `t`"),
        format!(
            "CREATE TRIGGER writes BEFORE INSERT ON t FOR EACH ROW SET @a = (SELECT MAX(a) FROM {name}.t)"
        ),
        format!("CREATE FUNCTION silent() RETURNS INT DETERMINISTIC RETURN '{name}.t' /* {name}.t */"),
    ];
    server.run(Some(name), &statements);
    let (storage, made) = backup(&source).await;
    let (done, told) = restored(&storage, &made, &server.empty(), RestoreOptions::default()).await;
    done.unwrap();
    let warnings = told.warnings();
    let warning =
        warnings.iter().find(|warning| warning.contains(&format!("name the database {name}:"))).unwrap();
    for program in ["event", "procedure", "trigger"] {
        assert!(warning.contains(&format!("{program} {name}.")), "{warning}");
    }
    assert!(!warning.contains("silent") && !warning.contains("table "), "{warning}");
    let (done, told) = restored(&storage, &made, &source, replacing()).await;
    done.unwrap();
    assert!(!told.has("name the database"), "{told:?}");
}

/// Which is more than a server gives one where nothing else is said.
async fn tables_in_memory_have_the_room_that_they_had(server: Server) {
    let source = server.empty();
    let depth = if server.is_mariadb() { "max_recursive_iterations" } else { "cte_max_recursion_depth" };
    let statements = [
        format!("SET SESSION max_heap_table_size = 256 << 20, {depth} = 100000"),
        "CREATE TABLE heap (id INT PRIMARY KEY, t CHAR(250)) ENGINE=MEMORY DEFAULT CHARSET=utf8mb4".to_owned(),
        "INSERT INTO heap WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT i, i FROM n".to_owned(),
    ];
    server.run(Some(&source.path), &statements);
    for format in [Format::Binary, Format::Sql] {
        let storage = storage();
        let made = manager_of(&storage, format).backup(&source).await.unwrap();
        let target = server.empty();
        let (done, _) =
            restored(&storage, &BackupRef::from(&made.id), &target, RestoreOptions::default()).await;
        done.unwrap();
        assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*), SUM(t) FROM heap"), "30000\t450015000\n");
    }
    // Their rows take a lot of it.
    server.run(Some(&source.path), &["DROP TABLE heap".to_owned()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_without_a_directory_that_mysql_does_not_know() {
    let Some(server) = Server::find("mysql") else { return };
    let Some(other) = Server::find("mariadb") else { return };
    let source = other.empty();
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let place = directory.path().display();
    let statements = [
        format!("CREATE TABLE elsewhere (a INT) DATA DIRECTORY='{place}'"),
        format!(
            "CREATE TABLE parted (a INT) PARTITION BY HASH (a) (PARTITION p DATA DIRECTORY = '{place}', PARTITION q)"
        ),
        "INSERT INTO elsewhere VALUES (1)".to_owned(),
        "INSERT INTO parted VALUES (1), (2)".to_owned(),
    ];
    other.run(Some(&source.path), &statements);
    let (storage, made) = backup(&source).await;
    // Who may say so has the server leave it out.
    for file in [None, Some("FILE ON *.*".to_owned())] {
        let target = server.empty();
        let grants: Vec<_> = file.into_iter().chain([format!("ALL ON `{}`.*", target.path)]).collect();
        let account = Account::new(&server, "place", &grants);
        let (done, told) = restored(&storage, &made, &account.url(&target), RestoreOptions::default()).await;
        done.unwrap();
        for table in ["elsewhere", "parted"] {
            assert!(told.has(&format!("table `{table}` is not in the directory that it was in")), "{told:?}");
        }
        let rows = "SELECT (SELECT COUNT(*) FROM elsewhere), (SELECT COUNT(*) FROM parted)";
        assert_eq!(server.ask(Some(&target.path), rows), "1\t2\n");
    }
}
