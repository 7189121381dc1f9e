//! What happens to the file that a restore is for.

use std::path::Path;
use std::sync::Arc;

use backup_core::{BackupRequest, Content, Ctx, ErrorKind, Existing, Part, RestoreRequest, RestoreSession};
use rusqlite::Connection;

use super::{assert_same, back_up, config, restore, shell};
use crate::restore::Restore;

fn small(path: &Path, rows: &str) {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(&format!(
            "CREATE TABLE t(a PRIMARY KEY); INSERT INTO t VALUES {rows}; CREATE TABLE u(a);"
        ))
        .unwrap();
}

fn rows_of(path: &Path) -> String {
    shell(path, "SELECT group_concat(a) FROM t").trim().to_owned()
}

#[test]
fn an_existing_database_is_replaced_only_when_that_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    small(&source, "(1)");
    small(&target, "(2)");
    shell(&target, "PRAGMA journal_mode=WAL; INSERT INTO t VALUES (3)");
    let kit = back_up(&source, &BackupRequest::new(1));
    let mut request = RestoreRequest::new(1);
    assert_eq!(restore(&target, &request, &kit).unwrap_err().kind(), ErrorKind::TargetNotEmpty);
    assert_eq!(rows_of(&target), "2,3");
    request.existing = Existing::Replace;

    let user = Connection::open(&target).unwrap();
    user.execute_batch("BEGIN").unwrap();
    user.query_row("SELECT count(*) FROM t", (), |_| Ok(())).unwrap();
    assert_eq!(restore(&target, &request, &kit).unwrap_err().kind(), ErrorKind::Locked);
    drop(user);
    assert_eq!(rows_of(&target), "2,3");
    assert_eq!(shell(&target, "PRAGMA journal_mode").trim(), "wal");

    restore(&target, &request, &kit).unwrap();
    assert_same(&source, &target);
    let left = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 2);
}

#[test]
fn what_is_no_database_is_never_replaced_and_a_damaged_one_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    small(&source, "(1)");
    let kit = back_up(&source, &BackupRequest::new(1));
    let mut request = RestoreRequest::new(1);
    request.existing = Existing::Replace;
    std::fs::write(&target, "my thesis").unwrap();
    assert_eq!(restore(&target, &request, &kit).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "my thesis");

    small(&directory.path().join("x.db"), "(7)");
    let mut bytes = std::fs::read(directory.path().join("x.db")).unwrap();
    bytes[100] = 0x77;
    std::fs::write(&target, &bytes).unwrap();
    restore(&target, &request, &kit).unwrap();
    assert_same(&source, &target);
    let names = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside: Vec<_> = names.filter(|name| name.contains(".damaged-")).collect();
    assert_eq!(std::fs::read(directory.path().join(&aside[0])).unwrap(), bytes);
}

#[test]
fn a_stale_journal_is_not_played_into_the_new_file() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    small(&source, "(1)");
    let kit = back_up(&source, &BackupRequest::new(1));
    std::fs::write(directory.path().join("target.db-wal"), "stale").unwrap();
    let mut request = RestoreRequest::new(1);
    assert_eq!(restore(&target, &request, &kit).unwrap_err().kind(), ErrorKind::TargetNotEmpty);
    request.existing = Existing::Replace;
    restore(&target, &request, &kit).unwrap();
    assert_same(&source, &target);
}

#[test]
fn the_mode_of_the_old_file_is_kept() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    small(&source, "(1)");
    small(&target, "(2)");
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o640)).unwrap();
    let kit = back_up(&source, &BackupRequest::new(1));
    let mut request = RestoreRequest::new(1);
    request.existing = Existing::Replace;
    restore(&target, &request, &kit).unwrap();
    assert_eq!(std::fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o640);
}

#[test]
fn rows_alone_go_into_tables_that_are_there() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    small(&source, "(1)");
    let mut backup = BackupRequest::new(1);
    backup.content = Content::DataOnly;
    let kit = back_up(&source, &backup);
    let mut request = RestoreRequest::new(1);
    request.content = Content::DataOnly;
    assert_eq!(restore(&target, &request, &kit).unwrap_err().kind(), ErrorKind::NotFound);
    small(&target, "(2)");
    shell(&target, "CREATE TABLE mine(a); INSERT INTO mine VALUES(5)");
    assert_eq!(restore(&target, &request, &kit).unwrap_err().kind(), ErrorKind::TargetNotEmpty);
    assert_eq!(rows_of(&target), "2");
    request.existing = Existing::Replace;
    restore(&target, &request, &kit).unwrap();
    assert_eq!(rows_of(&target), "1");
    assert_eq!(shell(&target, "SELECT a FROM mine").trim(), "5");
}

#[test]
fn some_tables_go_into_a_database_that_has_others() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    small(&source, "(1)");
    shell(&target, "CREATE TABLE mine(a); INSERT INTO mine VALUES(5)");
    let mut backup = BackupRequest::new(1);
    backup.filter = backup_core::Filter::new(["t".parse().unwrap()], []);
    let kit = back_up(&source, &backup);
    let mut request = RestoreRequest::new(1);
    request.partial = true;
    restore(&target, &request, &kit).unwrap();
    assert_eq!((rows_of(&target).as_str(), shell(&target, "SELECT a FROM mine").trim()), ("1", "5"));
    assert_eq!(restore(&target, &request, &kit).unwrap_err().kind(), ErrorKind::TargetNotEmpty);
    request.existing = Existing::Replace;
    restore(&target, &request, &kit).unwrap();
    assert_eq!((rows_of(&target).as_str(), shell(&target, "SELECT a FROM mine").trim()), ("1", "5"));
}

#[test]
fn an_aborted_or_dropped_restore_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    small(&source, "(1)");
    let kit = back_up(&source, &BackupRequest::new(1));
    let parts: Arc<[Part]> = kit.parts.clone().into();
    let begun = || Restore::begin(&Ctx::new(), &config(&target), &RestoreRequest::new(1), &parts).unwrap();
    drop(begun());
    let cancelled = Ctx::new();
    cancelled.cancel();
    tokio::runtime::Runtime::new().unwrap().block_on(Box::new(begun()).abort(&cancelled)).unwrap();
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_table_that_cannot_be_made_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (directory.path().join("source.db"), directory.path().join("target.db"));
    small(&source, "(1)");
    shell(&source, "CREATE TABLE odd(a CHECK (a > 0)); INSERT INTO odd VALUES (1); PRAGMA writable_schema=ON;
                    UPDATE sqlite_schema SET sql = 'CREATE TABLE odd(a CHECK (of_the_application(a)))' WHERE name = 'odd';");
    let kit = back_up(&source, &BackupRequest::new(1));
    let error = restore(&target, &RestoreRequest::new(1), &kit).unwrap_err().to_string();
    assert!(error.contains("main.odd") && error.contains("of_the_application"), "{error}");
    assert!(!target.exists());
}

#[test]
fn rows_that_break_a_check_or_a_foreign_key_come_back() {
    let directory = tempfile::tempdir().unwrap();
    let (source, copy) = (directory.path().join("source.db"), directory.path().join("copy.db"));
    shell(
        &source,
        "CREATE TABLE t(a CHECK (a > 0), b REFERENCES t(a) ON DELETE CASCADE);
                    PRAGMA ignore_check_constraints=ON; INSERT INTO t VALUES (-1, 404)",
    );
    restore(&copy, &RestoreRequest::new(1), &back_up(&source, &BackupRequest::new(1))).unwrap();
    assert_same(&source, &copy);
}
