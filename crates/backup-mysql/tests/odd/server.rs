//! What a server keeps of a database beside its objects.

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Ctx, DatabaseUrl, Format, Progress, Registry, RestoreOptions,
};
use backup_testkit::told::Told;

use super::comes_back_the_same;
use crate::server::{Account, Server};

const FORMATS: [Format; 2] = [Format::Binary, Format::Sql];

fn manager(format: Format, told: &Arc<Told>) -> BackupManager {
    let mut config = BackupConfig::default();
    config.format = format;
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::clone(told) as Arc<dyn Progress>))
}

async fn carry(source: &DatabaseUrl, target: &DatabaseUrl, format: Format) -> Arc<Told> {
    let told = Arc::<Told>::default();
    let manager = manager(format, &told);
    let backup = manager.backup(source).await.unwrap();
    manager.restore(&BackupRef::from(&backup.id), target, RestoreOptions::default()).await.unwrap();
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_is_one_again() {
    let Some(server) = Server::find("mysql") else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE t (a INT PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "CREATE VIEW v AS SELECT a FROM t",
        "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' DO DELETE FROM t",
        "ALTER DATABASE READ ONLY = 1",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in FORMATS {
        let target = server.empty();
        carry(&source, &target, format).await;
        let shown = |database: &str| server.ask(None, &format!("SHOW CREATE DATABASE `{database}`"));
        assert!(shown(&target.path).contains("READ ONLY = 1"));
        assert_eq!(shown(&target.path).replace(&target.path, &source.path), shown(&source.path));
        assert_eq!(server.ask(Some(&target.path), "SELECT a FROM v"), "1\n");
        // Nothing is dropped of it then.
        let mut options = RestoreOptions::default();
        options.drop_existing = true;
        let manager = manager(format, &Arc::default());
        let backup = manager.backup(&source).await.unwrap();
        let refused = manager.restore(&BackupRef::from(&backup.id), &target, options).await.unwrap_err();
        assert!(refused.to_string().contains("is READ ONLY"), "{refused}");
        assert_eq!(server.ask(Some(&target.path), "SELECT a FROM v"), "1\n");
        server.run(None, &[format!("ALTER DATABASE `{}` READ ONLY = 0", target.path)]);
    }
    if let Some(other) = Server::find("mariadb") {
        let target = other.empty();
        let told = carry(&source, &target, Format::Binary).await;
        assert!(told.has("the database is not READ ONLY"));
        assert_eq!(other.ask(Some(&target.path), "SELECT a FROM v"), "1\n");
    }
    server.run(None, &[format!("ALTER DATABASE `{}` READ ONLY = 0", source.path)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reference_systems_of_somebody_come_along() {
    let Some(server) = Server::find("mysql") else { return };
    let source = server.empty();
    let id = 90_000_000 + std::process::id();
    let other = id + 1;
    let make = |id: u32| {
        format!(
            "CREATE SPATIAL REFERENCE SYSTEM {id} NAME 'it''s mine {id}' ORGANIZATION 'us' IDENTIFIED BY {id} DESCRIPTION 'said' \
             DEFINITION 'GEOGCS[\"a \\\\\\\\ b\",DATUM[\"d\",SPHEROID[\"s\",6378137,298.257223563]],PRIMEM[\"Greenwich\",0],UNIT[\"degree\",0.017453292519943278],AXIS[\"Lat\",NORTH],AXIS[\"Lon\",EAST]]'"
        )
    };
    let statements = [
        make(id),
        make(other),
        format!("CREATE TABLE bound (a GEOMETRY NOT NULL SRID {id})"),
        "CREATE TABLE loose (a GEOMETRY)".to_owned(),
        format!("INSERT INTO bound VALUES (ST_GeomFromText('POINT(1 2)', {id}))"),
        format!("INSERT INTO loose VALUES (ST_GeomFromText('POINT(1 2)', {other})), (POINT(3, 4)), (NULL)"),
    ];
    server.run(Some(&source.path), &statements);
    let systems = format!(
        "SELECT * FROM information_schema.ST_SPATIAL_REFERENCE_SYSTEMS WHERE SRS_ID IN ({id}, {other}) ORDER BY SRS_ID"
    );
    let rows = "SELECT ST_AsText(a), ST_SRID(a) FROM bound UNION ALL SELECT ST_AsText(a), ST_SRID(a) FROM loose ORDER BY 1";
    let (made, filled) = (server.ask(None, &systems), server.ask(Some(&source.path), rows));
    assert_eq!(made.lines().count(), 2);
    let forget = |database: &str| {
        let drop = |id: u32| format!("DROP SPATIAL REFERENCE SYSTEM {id}");
        server.run(None, &[format!("DROP DATABASE `{database}`"), drop(id), drop(other)]);
    };
    let told = Arc::<Told>::default();
    let managers = FORMATS.map(|format| manager(format, &told));
    let mut backups = Vec::new();
    for manager in &managers {
        backups.push(BackupRef::from(&manager.backup(&source).await.unwrap().id));
    }
    forget(&source.path);
    for (manager, backup) in managers.iter().zip(&backups) {
        let target = server.empty();
        manager.restore(backup, &target, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.ask(None, &systems), made);
        assert_eq!(server.ask(Some(&target.path), rows), filled);
        forget(&target.path);
    }
}

/// As far as the account may read and write them.
async fn statistics_come_back_as_they_were(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE `it's \\ ``odd``` (`a \"b` INT, t VARCHAR(20), d DATE, KEY (t), KEY both_of_them (t, d))",
        "INSERT INTO `it's \\ ``odd``` VALUES (1, 'x', '2001-02-03'), (2, 'ü''\\\\', NULL), (3, NULL, '2001-02-04')",
        "ANALYZE TABLE `it's \\ ``odd``` PERSISTENT FOR ALL",
        "INSERT INTO `it's \\ ``odd``` VALUES (10, 'later', '2009-02-03')",
        "CREATE TABLE plain (a INT)",
        // Who keeps it locked may read no table of the server's own.
        "CREATE TABLE locked (a INT, KEY (a)) ENGINE=MyISAM",
        "INSERT INTO locked VALUES (1), (2)",
        "ANALYZE TABLE locked PERSISTENT FOR ALL",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let kept = |database: &str| {
        let all = [
            "SELECT * FROM mysql.table_stats WHERE db_name = DATABASE() ORDER BY 2",
            "SELECT column_name, HEX(min_value), HEX(max_value), nulls_ratio, avg_length, avg_frequency, hist_size, hist_type, HEX(histogram) \
             FROM mysql.column_stats WHERE db_name = DATABASE() ORDER BY table_name, 1",
            "SELECT * FROM mysql.index_stats WHERE db_name = DATABASE() ORDER BY 2, 3, 4",
        ];
        let all = all.map(|kept| server.ask(Some(database), kept));
        all.concat().replace(database, "here")
    };
    let made = kept(&source.path);
    assert!(made.contains("both_of_them"), "{made}");
    let target = server.empty();
    carry(&source, &target, Format::Binary).await;
    assert_eq!(kept(&target.path), made);
    let target = server.empty();
    carry(&source, &target, Format::Sql).await;
    assert_eq!(kept(&target.path), "");
    // Who may not see them makes a backup without.
    let account = Account::new(
        &server,
        "statistics",
        &[
            format!("ALL ON `{}`.*", source.path),
            "RELOAD ON *.*".to_owned(),
            "SELECT ON mysql.proc".to_owned(),
        ],
    );
    let target = server.empty();
    let told = Arc::<Told>::default();
    let manager = manager(Format::Binary, &told);
    let backup = manager.backup(&account.url(&source)).await.unwrap();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    assert_eq!(kept(&target.path), "");
    assert!(!told.has("statistics"));
}

/// Which MariaDB keeps of columns, and does not print.
async fn numbers_of_reference_systems_come_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE TABLE places (`g``1` GEOMETRY REF_SYSTEM_ID=101 NOT NULL, p POINT REF_SYSTEM_ID=4326, plain POINT, SPATIAL KEY (`g``1`))",
        "INSERT INTO places VALUES (POINT(1, 2), NULL, POINT(3, 4))",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let numbers = "SELECT G_GEOMETRY_COLUMN, SRID FROM information_schema.GEOMETRY_COLUMNS WHERE F_TABLE_SCHEMA = DATABASE() ORDER BY 1";
    let said = server.ask(Some(&source.path), numbers);
    assert!(said.contains("101") && said.contains("4326"), "{said}");
    for format in FORMATS {
        let target = server.empty();
        carry(&source, &target, format).await;
        assert_eq!(server.ask(Some(&target.path), numbers), said);
        assert_eq!(server.dump(&target.path), server.dump(&source.path));
    }
    if let Some(other) = Server::find("mysql") {
        let target = other.empty();
        carry(&source, &target, Format::Binary).await;
        assert_eq!(other.ask(Some(&target.path), "SELECT COUNT(*) FROM places"), "1\n");
    }
}

/// Whatever the server calls it.
async fn a_role_that_is_missing_is_named_once(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let role = format!("lb_role_{}", std::process::id());
    let statements = [
        format!("CREATE ROLE {role}"),
        format!("CREATE DEFINER={role} VIEW v AS SELECT 1 AS a"),
        format!("CREATE DEFINER={role} PROCEDURE p() SELECT 1"),
        "CREATE TABLE t (a INT)".to_owned(),
        format!("CREATE DEFINER={role} TRIGGER tr BEFORE INSERT ON t FOR EACH ROW SET @a = 1"),
        format!("CREATE DEFINER={role} VIEW lost AS SELECT a FROM t"),
        "ALTER TABLE t CHANGE a b INT".to_owned(),
        format!("DROP ROLE {role}"),
    ];
    server.run(Some(&source.path), &statements);
    let target = server.empty();
    let told = carry(&source, &target, Format::Binary).await;
    let warnings = told.warnings().join("\n");
    assert!(warnings.contains(&format!("the target has no account {role}: ")), "{warnings}");
}

/// Nor can anybody say that they are there.
async fn accounts_that_cannot_be_seen_are_named(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let (source, target) = (server.empty(), server.empty());
    let own = if server.is_mariadb() { "SET USER" } else { "SET_ANY_DEFINER, ALLOW_NONEXISTENT_DEFINER" };
    let grants = [format!("ALL ON `{}`.*", target.path), format!("{own} ON *.*")];
    let account = Account::new(&server, "unseeing", &grants);
    let statements = [
        "CREATE DEFINER=whoever@nowhere VIEW v AS SELECT 1 AS a".to_owned(),
        "CREATE DEFINER=whoever@nowhere PROCEDURE p() SELECT 1".to_owned(),
        format!("CREATE DEFINER={}@`%` PROCEDURE q() SELECT 1", account.name),
    ];
    server.run(Some(&source.path), &statements);
    let told = Arc::<Told>::default();
    let manager = manager(Format::Binary, &told);
    let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
    manager.restore(&backup, &account.url(&target), RestoreOptions::default()).await.unwrap();
    let asked: Vec<_> = told.warnings().into_iter().filter(|said| said.contains("account")).collect();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(
        asked[0].starts_with("whether the target has an account whoever@nowhere is not known"),
        "{asked:?}"
    );
}

/// Or without, where this one has none: that is said before anything is touched.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_a_tablespace_come_back_with_it() {
    let Some(server) = Server::find("mysql") else { return };
    let (source, space) = (server.empty(), format!("lb_space_{}", std::process::id()));
    let statements = [
        format!("CREATE TABLESPACE {space} ADD DATAFILE '{space}.ibd'"),
        format!("CREATE TABLE within (a INT PRIMARY KEY) TABLESPACE {space} COMMENT 'TABLESPACE `x`'"),
        "CREATE TABLE of_all (a INT) TABLESPACE innodb_system".to_owned(),
        "CREATE TABLE parted (a INT) TABLESPACE innodb_file_per_table PARTITION BY HASH (a) (PARTITION p TABLESPACE innodb_file_per_table, PARTITION q)".to_owned(),
        "INSERT INTO within VALUES (1)".to_owned(),
    ];
    server.run(Some(&source.path), &statements);
    let before = server.dump(&source.path);
    for format in FORMATS {
        let told = Arc::<Told>::default();
        let manager = manager(format, &told);
        let backup = BackupRef::from(&manager.backup(&source).await.unwrap().id);
        let target = server.empty();
        manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&target.path), before);
        server.run(
            None,
            &[
                format!("DROP DATABASE `{}`", target.path),
                format!("ALTER TABLE `{}`.within TABLESPACE innodb_file_per_table", source.path),
                format!("DROP TABLESPACE {space}"),
            ],
        );
        assert!(!told.has("tablespace"), "{:?}", told.warnings());
        let target = server.empty();
        manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
        assert!(told.has(&format!("the server has no tablespace {space}: ")), "{:?}", told.warnings());
        assert_eq!(told.warnings().iter().filter(|warning| warning.contains("tablespace")).count(), 1);
        let dumped = server.dump(&target.path).replace("/*!50100  */ ", "");
        assert_eq!(dumped, before.replace(&format!("/*!50100 TABLESPACE `{space}` */ "), ""));
        let again = format!("ALTER TABLE `{}`.within TABLESPACE {space}", source.path);
        server.run(None, &[format!("CREATE TABLESPACE {space} ADD DATAFILE '{space}.ibd'"), again]);
    }
    // Who may not see which there are hears of it when the table is made.
    let account = Account::new(
        &server,
        "space",
        &[format!("ALL ON `{}`.*", source.path), "BACKUP_ADMIN, RELOAD, SHOW_ROUTINE ON *.*".to_owned()],
    );
    let told = Arc::<Told>::default();
    let manager = manager(Format::Binary, &told);
    let backup = BackupRef::from(&manager.backup(&account.url(&source)).await.unwrap().id);
    server.run(None, &[format!("DROP DATABASE `{}`", source.path), format!("DROP TABLESPACE {space}")]);
    let target = server.empty();
    manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
    assert!(told.has("table `within` is not in the tablespace that it was in"), "{:?}", told.warnings());
    assert_eq!(server.ask(Some(&target.path), "SELECT a FROM within"), "1\n");
    if let Some(other) = Server::find("mariadb") {
        let target = other.empty();
        manager.restore(&backup, &target, RestoreOptions::default()).await.unwrap();
        assert_eq!(other.ask(Some(&target.path), "SELECT a FROM within"), "1\n");
    }
}

/// Of its own as well as of the session that made it.
async fn a_comment_with_a_nul_comes_back(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let source = server.empty();
    let statements = [
        "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' COMMENT 'it''s\\0behind' DO SELECT ' COMMENT '".to_owned(),
    ];
    server.run(Some(&source.path), &statements);
    let comment = "SELECT HEX(comment), body_utf8, definer FROM mysql.event WHERE db = DATABASE()";
    let said = server.ask(Some(&source.path), comment);
    assert!(said.contains("7300"), "{said}");
    for format in FORMATS {
        let target = server.empty();
        carry(&source, &target, format).await;
        assert_eq!(server.ask(Some(&target.path), comment), said);
    }
    comes_back_the_same(
        &server,
        &["CREATE EVENT plain ON SCHEDULE EVERY 1 YEAR STARTS '2037-01-01' COMMENT 'a' DO SELECT 1"],
    )
    .await;
}

on! {
    mariadb: accounts_that_cannot_be_seen_are_named statistics_come_back_as_they_were numbers_of_reference_systems_come_back a_role_that_is_missing_is_named_once a_comment_with_a_nul_comes_back;
    mariadb11: accounts_that_cannot_be_seen_are_named statistics_come_back_as_they_were numbers_of_reference_systems_come_back a_role_that_is_missing_is_named_once a_comment_with_a_nul_comes_back;
    mysql: accounts_that_cannot_be_seen_are_named;
}
