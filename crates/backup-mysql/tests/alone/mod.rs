//! Rows alone, and some objects alone, beside what is there.

use std::sync::Arc;

use backup_core::{BackupRef, Content, Ctx, DatabaseUrl, ErrorKind, Format, Progress, RestoreOptions};
use backup_testkit::proxy::{From, Proxy, Then};
use backup_testkit::told::Told;

use crate::server::Server;
use crate::{address, backup, by_way_of, manager, manager_of, on, replacing, storage};

on! {
    rows_that_came_without_others_are_held_to_foreign_keys: mariadb mariadb11 mysql;
    rows_alone_are_held_to_the_checks_of_their_table: mariadb mariadb11 mysql;
    rows_alone_bring_their_history_and_leave_none: mariadb mariadb11;
    a_restore_that_is_cut_off_leaves_the_collation_of_the_database: mariadb mariadb11 mysql;
}

fn rows_of(table: &str, mut options: RestoreOptions) -> RestoreOptions {
    options.content = Content::DataOnly;
    options.tables = vec![table.parse().unwrap()];
    options
}

const FAMILY: [&str; 3] = [
    "CREATE TABLE parent (id INT, part INT, PRIMARY KEY (id, part))",
    "CREATE TABLE child (id INT PRIMARY KEY, up INT, part INT, CONSTRAINT fk FOREIGN KEY (up, part) REFERENCES parent (id, part))",
    "CREATE TABLE tree (id INT PRIMARY KEY, up INT, CONSTRAINT self FOREIGN KEY (up) REFERENCES tree (id))",
];

/// A database of these tables, with such rows.
fn family(server: &Server, rows: &[&str]) -> DatabaseUrl {
    let url = server.empty();
    let unchecked = ["SET foreign_key_checks = 0"];
    let statements = FAMILY.iter().chain(&unchecked).chain(rows).map(|sql| (*sql).to_owned());
    server.run(Some(&url.path), &statements.collect::<Vec<_>>());
    url
}

async fn rows_that_came_without_others_are_held_to_foreign_keys(server: Server) {
    let source = family(
        &server,
        &[
            "INSERT INTO parent VALUES (1, 1), (2, 1)",
            "INSERT INTO child VALUES (1, 1, 1), (2, NULL, 7), (3, 9, NULL)",
            "INSERT INTO tree VALUES (1, 1), (2, 9)",
        ],
    );
    let (storage, made) = backup(&source).await;
    let restored = async |target: &DatabaseUrl, options: RestoreOptions| {
        let told = Arc::<Told>::default();
        let manager =
            manager(&storage).with_context(Ctx::new().with_progress(Arc::clone(&told) as Arc<dyn Progress>));
        (manager.restore(&made, target, options).await, told)
    };
    const FK: &str = "foreign key fk of table child: rows refer to some that are not in table parent";
    // Of what was there some has lost what it refers to: that cannot be taken back.
    let target = family(
        &server,
        &["INSERT INTO parent VALUES (1, 1), (5, 1)", "INSERT INTO child VALUES (1, 1, 1), (2, 5, 1)"],
    );
    let (done, told) = restored(&target, rows_of("parent", replacing())).await;
    assert!(done.is_ok() && told.has(FK), "{done:?} {told:?}");
    assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*) FROM parent"), "2\n");
    // What is there stays where nobody can look.
    let proxy = Proxy::start(address(&server), |_| {
        Box::new(|from, said| {
            const LOOKS: &[u8] = b"NOT EXISTS (SELECT 1 FROM";
            let looks = from == From::Client && said.windows(LOOKS.len()).any(|bytes| bytes == LOOKS);
            if looks { Then::Cut } else { Then::Pass }
        })
    });
    let url = by_way_of(&proxy, &server, &target.path, "");
    let (done, told) = restored(&url, rows_of("parent", replacing())).await;
    let unknown = "nobody knows whether rows keep to foreign key fk of table child";
    assert!(done.is_ok() && told.has(unknown), "{done:?} {told:?}");
    assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*) FROM parent"), "2\n");
    assert!(!server.ask(Some(&target.path), "SHOW TABLES").contains("lifeboat"));
    // What comes does not find it.
    let target = family(&server, &["INSERT INTO parent VALUES (1, 2), (2, 1)"]);
    let (done, _) = restored(&target, rows_of("child", RestoreOptions::default())).await;
    let error = done.unwrap_err();
    assert!(error.kind() == ErrorKind::Database && error.to_string().contains(FK), "{error}");
    assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*) FROM child"), "0\n");
    // It does.
    server.run(Some(&target.path), &["INSERT INTO parent VALUES (1, 1)".to_owned()]);
    let (done, told) = restored(&target, rows_of("child", RestoreOptions::default())).await;
    assert!(done.is_ok() && !told.has("rows refer to"), "{done:?} {told:?}");
    // As it was in the source it comes back, with a word.
    let (done, told) = restored(&target, rows_of("tree", RestoreOptions::default())).await;
    assert!(done.is_ok() && told.has("foreign key self of table tree"), "{done:?} {told:?}");
    assert_eq!(server.ask(Some(&target.path), "SELECT COUNT(*) FROM tree"), "2\n");
    let target = server.empty();
    let mut table = RestoreOptions::default();
    table.tables = vec!["tree".parse().unwrap()];
    let (done, told) = restored(&target, table).await;
    assert!(done.is_ok() && told.has("foreign key self of table tree"), "{done:?} {told:?}");
    // A whole database is what it was.
    let target = server.empty();
    restored(&target, RestoreOptions::default()).await.0.unwrap();
    assert_eq!(server.dump(&target.path), server.dump(&source.path));
}

async fn rows_alone_are_held_to_the_checks_of_their_table(server: Server) {
    let source = server.empty();
    let statements = ["CREATE TABLE t (a INT CHECK (a > 0))", "INSERT INTO t VALUES (1), (2)"];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    for format in [Format::Binary, Format::Sql] {
        let storage = storage();
        let made = manager_of(&storage, format).backup(&source).await.unwrap();
        for (check, fits) in [("a > 1", false), ("a < 9", true)] {
            let target = server.empty();
            server
                .run(Some(&target.path), &[format!("CREATE TABLE t (a INT, CONSTRAINT c CHECK ({check}))")]);
            let restored = manager(&storage);
            let rows = rows_of("t", RestoreOptions::default());
            let done = restored.restore(&BackupRef::from(&made.id), &target, rows).await;
            assert_eq!(done.is_ok(), fits, "{done:?}");
            let count = server.ask(Some(&target.path), "SELECT COUNT(*) FROM t");
            assert_eq!(count, if fits { "2\n" } else { "0\n" });
        }
    }
}

async fn rows_alone_bring_their_history_and_leave_none(server: Server) {
    const ALL: &str = "SELECT a, b, row_start, row_end FROM t FOR SYSTEM_TIME ALL ORDER BY 1, 2, 3";
    let source = server.empty();
    let table = "CREATE TABLE t (a INT PRIMARY KEY, b INT CHECK (b < 9)) WITH SYSTEM VERSIONING";
    let rows = ["INSERT INTO t VALUES (1, 1), (2, 1)", "UPDATE t SET b = 2 WHERE a = 1"];
    server.run(Some(&source.path), &[table, rows[0], rows[1]].map(str::to_owned));
    let (storage, made) = backup(&source).await;
    let expected = server.ask(Some(&source.path), ALL);
    let others = ["INSERT INTO t VALUES (7, 7)", "UPDATE t SET b = 8"];
    let gone = ["INSERT INTO t VALUES (7, 7)", "DELETE FROM t"];
    for there in [others, gone] {
        let target = server.empty();
        server.run(Some(&target.path), &[table, there[0], there[1]].map(str::to_owned));
        let refused =
            manager(&storage).restore(&made, &target, rows_of("t", RestoreOptions::default())).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::TargetNotEmpty);
        manager(&storage).restore(&made, &target, rows_of("t", replacing())).await.unwrap();
        assert_eq!(server.ask(Some(&target.path), ALL), expected);
    }
    // Nor does it when it is taken back.
    let target = server.empty();
    server.run(Some(&target.path), &[table.replace("b < 9", "b < 2")]);
    let refused = manager(&storage).restore(&made, &target, rows_of("t", RestoreOptions::default())).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Database);
    assert_eq!(server.ask(Some(&target.path), ALL), "");
}

/// In the moment in which it is the one that a program was made in.
async fn a_restore_that_is_cut_off_leaves_the_collation_of_the_database(server: Server) {
    let source = server.empty();
    let statements = [
        "ALTER DATABASE COLLATE latin1_german2_ci",
        "CREATE PROCEDURE collated(a VARCHAR(10)) SELECT a",
        "ALTER DATABASE COLLATE latin1_danish_ci",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    let shown = || server.ask(None, &format!("SHOW CREATE DATABASE `{}`", target.path));
    let before = shown();
    let proxy = Proxy::start(address(&server), |_| {
        Box::new(|from, said| {
            const MAKES: &[u8] = b"PROCEDURE `collated`";
            let makes = said.windows(MAKES.len()).any(|bytes| bytes == MAKES);
            if from == From::Client && makes { Then::Cut } else { Then::Pass }
        })
    });
    let mut options = RestoreOptions::default();
    options.tables = vec!["collated".parse().unwrap()];
    let url = by_way_of(&proxy, &server, &target.path, "");
    let error = manager(&storage).restore(&made, &url, options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    assert_eq!(shown(), before);
    let left = "SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()";
    assert_eq!(server.ask(Some(&target.path), left), "0\n");
}
