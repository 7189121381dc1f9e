//! Somebody else restores into the same database at the same time, or makes something there before a restore begins in earnest.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use backup_core::{BackupRef, Content, DatabaseUrl, ErrorKind, RestoreOptions, Result, storage::Storage};
use backup_testkit::proxy::{From, Proxy, Then};

use super::otherwise::set_to;
use super::private::Private;
use super::server::Server;
use super::{address, backup, by_way_of, ends, manager, on, shop};

on! {
    a_restore_is_refused_while_another_is_at_work: mariadb mariadb11 mysql;
    a_restore_that_lost_its_lock_keeps_others_away_while_it_is_at_work: mariadb mariadb11 mysql;
    a_database_that_somebody_makes_meanwhile_is_left_alone: mariadb mysql;
    a_table_that_somebody_makes_meanwhile_is_left_alone: mariadb mysql;
    rows_that_somebody_puts_in_meanwhile_are_left_alone: mariadb mysql;
    a_view_that_somebody_makes_meanwhile_is_left_alone: mariadb mysql;
    what_another_restored_is_left_alone_by_one_that_was_alone_no_longer: mariadb mysql;
    a_server_that_wants_primary_keys_takes_a_restore: mysql;
}

/// A proxy that calls `once` before a client's `words` reach the server for the first time.
fn before(server: &Server, words: String, once: impl Fn() + Send + Sync + 'static) -> Proxy {
    let (once, called) = (Arc::new(once), Arc::new(AtomicUsize::new(0)));
    Proxy::start(address(server), move |_| {
        let (once, called, words) = (Arc::clone(&once), Arc::clone(&called), words.clone());
        Box::new(move |from, said| {
            let is_said = said.windows(words.len()).any(|bytes| bytes == words.as_bytes());
            if from == From::Client && is_said && called.fetch_add(1, Ordering::SeqCst) == 0 {
                once();
            }
            Then::Pass
        })
    })
}

/// The same, with statements of somebody else.
pub(crate) fn before_run(
    server: &Arc<Server>,
    words: String,
    database: Option<&str>,
    statements: &[&str],
) -> Proxy {
    let (server_there, database) = (Arc::clone(server), database.map(str::to_owned));
    let statements: Vec<_> = statements.iter().map(|sql| (*sql).to_owned()).collect();
    before(server, words, move || server_there.run(database.as_deref(), &statements))
}

/// A restore by somebody else, who waits for its end.
fn another(storage: &Arc<dyn Storage>, made: &BackupRef, target: &DatabaseUrl) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let restored = runtime.block_on(manager(storage).restore(made, target, RestoreOptions::default()));
    restored.map(drop)
}

async fn a_restore_is_refused_while_another_is_at_work(server: Server) {
    let source = shop(&server);
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    let other: Arc<Mutex<Option<Result<()>>>> = Arc::default();
    let proxy = before(&server, "LOAD DATA".to_owned(), {
        let (storage, made, target, other) =
            (Arc::clone(&storage), made.clone(), target.clone(), Arc::clone(&other));
        move || *other.lock().unwrap() = Some(another(&storage, &made, &target))
    });
    let url = by_way_of(&proxy, &server, &target.path, "");
    let by = manager(&storage);
    let restored = by.restore(&made, &url, RestoreOptions::default());
    ends("a restore beside another", restored).await.unwrap();
    assert!(server.dump(&target.path) == server.dump(&source.path));
    let refused = other.lock().unwrap().take().unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked, "{refused}");
    assert!(refused.to_string().contains("another restore is at work"), "{refused}");
    // And it goes at once when that has ended.
    let mut replacing = RestoreOptions::default();
    replacing.drop_existing = true;
    manager(&storage).restore(&made, &target, replacing).await.unwrap();
}

/// Between the first look and the statement that would have made it.
async fn a_database_that_somebody_makes_meanwhile_is_left_alone(server: Server) {
    let source = shop(&server);
    let (storage, made) = backup(&source).await;
    let server = Arc::new(server);
    let name = format!("{}_new", source.path);
    let url = server.database(&name);
    let makes = format!("CREATE DATABASE `{name}`");
    let precious = format!("CREATE TABLE `{name}`.precious (a INT)");
    let proxy = before_run(&server, makes.clone(), None, &[&makes, &precious]);
    let by_proxy = by_way_of(&proxy, &server, &url.path, "");
    let mut options = RestoreOptions::default();
    options.create_database = true;
    let by = manager(&storage);
    let restored = by.restore(&made, &by_proxy, options);
    let error = ends("a restore into a new database", restored).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetNotEmpty, "{error}");
    assert_eq!(server.ask(Some(&name), "SHOW TABLES"), "precious\n");
}

async fn a_table_that_somebody_makes_meanwhile_is_left_alone(server: Server) {
    let source = shop(&server);
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    let server = Arc::new(server);
    let marker = format!("CREATE TABLE `{}`.`lifeboat_restore_is_incomplete`", target.path);
    let proxy = before_run(&server, marker, Some(&target.path), &["CREATE TABLE precious (a INT)"]);
    let url = by_way_of(&proxy, &server, &target.path, "");
    let by = manager(&storage);
    let restored = by.restore(&made, &url, RestoreOptions::default());
    let error = ends("a restore into what was empty", restored).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetNotEmpty, "{error}");
    assert!(error.to_string().contains("precious"), "{error}");
    assert_eq!(server.ask(Some(&target.path), "SHOW TABLES"), "precious\n");
}

/// Into a table that had none.
async fn rows_that_somebody_puts_in_meanwhile_are_left_alone(server: Server) {
    let source = shop(&server);
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    let mut options = RestoreOptions::default();
    options.content = Content::SchemaOnly;
    manager(&storage).restore(&made, &target, options.clone()).await.unwrap();
    // By when it was looked at, and the session is asked for that marks it.
    let rows = ["INSERT INTO account VALUES (100000, 7)"];
    let server = Arc::new(server);
    let proxy = before_run(&server, "SELECT @@GLOBAL.local_infile".to_owned(), Some(&target.path), &rows);
    let url = by_way_of(&proxy, &server, &target.path, "");
    options.content = Content::DataOnly;
    let error = ends("a restore of rows", manager(&storage).restore(&made, &url, options)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TargetNotEmpty, "{error}");
    assert_eq!(server.ask(Some(&target.path), "SELECT * FROM account"), "100000\t7\n");
}

/// Beside other things: of the name that one of the backup's has.
async fn a_view_that_somebody_makes_meanwhile_is_left_alone(server: Server) {
    let source = shop(&server);
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    let server = Arc::new(server);
    let makes = "CREATE ALGORITHM".to_owned();
    let proxy = before_run(&server, makes, Some(&target.path), &["CREATE VIEW rich AS SELECT 7 AS theirs"]);
    let url = by_way_of(&proxy, &server, &target.path, "");
    let mut options = RestoreOptions::default();
    options.tables = vec!["rich".parse().unwrap(), "account".parse().unwrap()];
    let by = manager(&storage);
    let restored = by.restore(&made, &url, options);
    let error = ends("a restore of a view", restored).await.unwrap_err();
    assert!(error.to_string().contains("1050"), "{error}");
    assert_eq!(server.ask(Some(&target.path), "SHOW TABLES"), "rich\n");
    assert_eq!(server.ask(Some(&target.path), "SELECT theirs FROM rich"), "7\n");
}

/// Ends the session that keeps others away from the target amid rows, or all sessions of the restore, and lets another restore try. What became of
/// the one and of the other.
async fn alone_no_longer(server: &Arc<Server>, target: &DatabaseUrl, all: bool) -> [Result<()>; 2] {
    let source = shop(server);
    let (storage, made) = backup(&source).await;
    let other: Arc<Mutex<Option<Result<()>>>> = Arc::default();
    let kill = {
        let (server, target) = (Arc::clone(server), target.clone());
        move || {
            let lock = format!("CONCAT('lifeboat restore ', LEFT(SHA2('{}', 256), 40))", target.path);
            let (holder, others) = (format!("ID = IS_USED_LOCK({lock})"), format!("DB = '{}'", target.path));
            let ended = if all { format!("{holder} OR {others}") } else { holder };
            let ended =
                server.ask(None, &format!("SELECT ID FROM information_schema.PROCESSLIST WHERE {ended}"));
            let kill: Vec<_> = ended.split_whitespace().map(|id| format!("KILL {id}")).collect();
            assert_eq!(kill.len() > 1, all, "{kill:?}");
            server.run(None, &kill);
        }
    };
    let proxy = Proxy::start(address(server), {
        let (storage, made, target, other) =
            (Arc::clone(&storage), made.clone(), target.clone(), Arc::clone(&other));
        move |_| {
            let (storage, made, target, other, kill) =
                (Arc::clone(&storage), made.clone(), target.clone(), Arc::clone(&other), kill.clone());
            Box::new(move |from, said| {
                // What is said meanwhile, on whichever connection, waits for the end of it.
                let mut other = other.lock().unwrap();
                let is_said = said.windows(9).any(|words| words == b"LOAD DATA");
                if from == From::Client && is_said && other.is_none() {
                    kill();
                    *other = Some(another(&storage, &made, &target));
                }
                Then::Pass
            })
        }
    });
    let url = by_way_of(&proxy, server, &target.path, "");
    let by = manager(&storage);
    // It has one session more, and that is at rest meanwhile.
    let mut options = RestoreOptions::default();
    options.jobs = Some(1);
    let restored = ends("a restore that is not alone", by.restore(&made, &url, options)).await;
    let other = other.lock().unwrap().take().unwrap();
    if other.is_ok() {
        assert!(server.dump(&target.path) == server.dump(&source.path));
    }
    [restored.map(drop), other]
}

async fn what_another_restored_is_left_alone_by_one_that_was_alone_no_longer(server: Server) {
    let target = server.empty();
    let server = Arc::new(server);
    let [error, other] = alone_no_longer(&server, &target, true).await;
    other.unwrap();
    let error = error.unwrap_err();
    assert!(error.to_string().contains("one has been at work since"), "{error}");
}

async fn a_restore_that_lost_its_lock_keeps_others_away_while_it_is_at_work(server: Server) {
    let target = server.empty();
    let server = Arc::new(server);
    let [error, refused] = alone_no_longer(&server, &target, false).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Locked, "{refused}");
    assert!(refused.to_string().contains("another restore is at work"), "{refused}");
    let error = error.unwrap_err();
    assert!(error.to_string().contains("the connection was lost that kept other restores away"), "{error}");
    assert_eq!(server.ask(Some(&target.path), "SHOW TABLES"), "");
}

/// Who marks the database has not said otherwise for his session.
async fn a_server_that_wants_primary_keys_takes_a_restore(server: Server) {
    let source = shop(&server);
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    let proxy = set_to(&server, "sql_require_primary_key = ON");
    let url = by_way_of(&proxy, &server, &target.path, "");
    let by = manager(&storage);
    let restored = by.restore(&made, &url, RestoreOptions::default());
    ends("a restore that wants keys", restored).await.unwrap();
    assert!(server.dump(&target.path) == server.dump(&source.path));
}

/// A MariaDB says so for all sessions or for none.
#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_wants_primary_keys_takes_a_restore() {
    let Some(program) = Private::program() else { return };
    let accounts = "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n";
    let mut private = Private::new(accounts, &[]);
    private.start(&program, &["--innodb-force-primary-key=ON"]);
    let server = Server::at(&private.text("mariadb://me:secret@127.0.0.1:PORT/mysql"));
    let source = shop(&server);
    let (storage, made) = backup(&source).await;
    let target = server.empty();
    manager(&storage).restore(&made, &target, RestoreOptions::default()).await.unwrap();
    assert!(server.dump(&target.path) == server.dump(&source.path));
}
