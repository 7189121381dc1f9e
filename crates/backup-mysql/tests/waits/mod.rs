//! Other people's locks at the target: a restore that waits too long, or is broken off so that they can go on, says so, and what the target is. And ours at
//! the source, if nothing is heard of us any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backup_core::{Content, Error, ErrorKind, RestoreOptions};
use backup_testkit::proxy::{From, Proxy, Then};

use crate::private::Private;
use crate::server::Server;
use crate::{address, backup, by_way_of, ends, manager, on, replacing, shop};

on! {
    a_table_that_somebody_uses_is_waited_for_and_then_it_is_said_what_the_target_is: mariadb mysql;
    nobody_s_lock_is_waited_for_without_end: mariadb mysql;
    a_restore_that_is_broken_off_by_a_deadlock_is_taken_back: mariadb mysql;
    a_lock_behind_which_all_writers_wait_does_not_outlive_the_network: mariadb mysql;
}

/// What somebody else does at the server, until he has slept enough; returns when he sleeps.
fn somebody(server: &Arc<Server>, database: &str, statements: &[&str]) -> JoinHandle<()> {
    let sleeps = statements.iter().find(|sql| sql.starts_with("DO SLEEP")).unwrap();
    let somebody = std::thread::spawn({
        let (server, database) = (Arc::clone(server), database.to_owned());
        let statements: Vec<_> = statements.iter().map(|sql| (*sql).to_owned()).collect();
        move || server.run(Some(&database), &statements)
    });
    let asleep = format!(
        "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE DB = '{database}' AND INFO LIKE '{sleeps}%'"
    );
    for _ in 0..600 {
        if server.ask(None, &asleep) == "1\n" {
            return somebody;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody sleeps");
}

fn told(error: &Error, code: &str) -> String {
    let told = error.to_string();
    assert!(error.kind() == ErrorKind::Locked && told.contains(code), "{:?}: {told}", error.kind());
    told
}

/// What the product says to wait for is another time here. Once a connection has said `last`, nothing is heard of it any more.
fn impatient(
    server: &Server,
    (says, instead): (&'static [u8], &'static [u8]),
    last: Option<&'static [u8]>,
) -> (Proxy, Arc<AtomicUsize>) {
    let changed = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&changed);
    let place = |said: &[u8], what: &[u8]| said.windows(what.len()).position(|bytes| bytes == what);
    let proxy = Proxy::start(address(server), move |_| {
        let (changed, mut is_last) = (Arc::clone(&changed), false);
        Box::new(move |from, said| {
            if from == From::Server {
                return if is_last { Then::Silence } else { Then::Pass };
            }
            if let Some(at) = place(said, says) {
                said[at..at + instead.len()].copy_from_slice(instead);
                changed.fetch_add(1, Ordering::SeqCst);
            }
            is_last |= last.is_some_and(|last| place(said, last).is_some());
            Then::Pass
        })
    });
    (proxy, counted)
}

async fn a_table_that_somebody_uses_is_waited_for_and_then_it_is_said_what_the_target_is(server: Server) {
    let source = shop(&server);
    let (good, made) = backup(&source).await;
    let target = server.empty();
    manager(&good).restore(&made, &target, RestoreOptions::default()).await.unwrap();
    let server = Arc::new(server);
    let reads = ["START TRANSACTION", "DO (SELECT COUNT(*) FROM orders)", "DO SLEEP(5)", "COMMIT"];
    let reader = somebody(&server, &target.path, &reads);
    let (minute, second) = (b"lock_wait_timeout = 60", b"lock_wait_timeout = 01");
    let (proxy, changed) = impatient(&server, (minute, second), None);
    let url = by_way_of(&proxy, &server, &target.path, "");
    let restored = ends("a restore that waits", manager(&good).restore(&made, &url, replacing())).await;
    assert!(changed.load(Ordering::SeqCst) > 0);
    let told = told(&restored.unwrap_err(), "1205");
    assert!(
        told.contains("DROP") && told.contains("is incomplete") && told.contains("--drop-existing"),
        "{told}"
    );
    let refused = manager(&good).backup(&target).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Incomplete, "{refused}");
    reader.join().unwrap();
    manager(&good).restore(&made, &target, RestoreOptions::default()).await.unwrap();
    assert!(server.dump(&target.path) == server.dump(&source.path));
}

/// Neither where rows are to go, nor by who only looks.
async fn nobody_s_lock_is_waited_for_without_end(server: Server) {
    let source = shop(&server);
    let (good, made) = backup(&source).await;
    let target = server.empty();
    manager(&good).restore(&made, &target, RestoreOptions::default()).await.unwrap();
    let server = Arc::new(server);
    let (proxy, _) = impatient(&server, (b"lock_wait_timeout = 60", b"lock_wait_timeout = 01"), None);
    let url = by_way_of(&proxy, &server, &target.path, "");
    for lock in ["READ", "WRITE"] {
        let holds = [format!("LOCK TABLES orders {lock}"), "DO SLEEP(5)".to_owned()];
        let holder = somebody(&server, &target.path, &holds.each_ref().map(String::as_str));
        let mut rows = replacing();
        rows.content = Content::DataOnly;
        let restored = ends("a restore of rows that waits", manager(&good).restore(&made, &url, rows)).await;
        told(&restored.unwrap_err(), "1205");
        holder.join().unwrap();
    }
}

/// By rows of somebody else who has written more, and so is the one that may go on.
async fn a_restore_that_is_broken_off_by_a_deadlock_is_taken_back(server: Server) {
    let source = shop(&server);
    let (good, made) = backup(&source).await;
    let target = server.empty();
    let mut schema = RestoreOptions::default();
    schema.content = Content::SchemaOnly;
    manager(&good).restore(&made, &target, schema).await.unwrap();
    let ballast = [
        "CREATE TABLE ballast (id INT AUTO_INCREMENT PRIMARY KEY, a CHAR(64), b CHAR(64), KEY (a), KEY (b))"
            .to_owned(),
    ];
    server.run(Some(&target.path), &ballast);
    let rows_of_both = "SELECT (SELECT COUNT(*) FROM orders) + (SELECT COUNT(*) FROM account)";
    let server = Arc::new(server);
    let of_source = format!("INSERT INTO ballast (a, b) SELECT note, note FROM `{}`.orders", source.path);
    let writes = [
        "START TRANSACTION",
        &of_source,
        &of_source,
        "INSERT INTO orders VALUES (20000, 'in the way')",
        "DO SLEEP(4)",
        "INSERT INTO orders VALUES (1, 'in the way')",
        "ROLLBACK",
    ];
    let writer = somebody(&server, &target.path, &writes);
    let mut rows = RestoreOptions::default();
    rows.content = Content::DataOnly;
    let restored =
        ends("a restore in a deadlock", manager(&good).restore(&made, &target, rows.clone())).await;
    told(&restored.unwrap_err(), "1213");
    writer.join().unwrap();
    assert_eq!(server.ask(Some(&target.path), rows_of_both), "0\n");
    server.run(Some(&target.path), &["DROP TABLE ballast".to_owned()]);
    manager(&good).restore(&made, &target, rows).await.unwrap();
    assert!(server.dump(&target.path) == server.dump(&source.path));
}

/// A server of one's own that waits for rows no longer than a second.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_somebody_holds_are_waited_for_and_then_it_is_said_what_the_target_is() {
    let Some(program) = Private::program() else { return };
    let accounts = "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n";
    let mut private = Private::new(accounts, &[]);
    private.start(&program, &["--innodb-lock-wait-timeout=1"]);
    let server = Server::at(&private.text("mariadb://me:secret@127.0.0.1:PORT/mysql"));
    let source = shop(&server);
    let (good, made) = backup(&source).await;
    let target = server.empty();
    manager(&good).restore(&made, &target, RestoreOptions::default()).await.unwrap();
    let server = Arc::new(server);
    let holds = ["START TRANSACTION", "UPDATE orders SET note = 'x' WHERE id = 7", "DO SLEEP(6)", "ROLLBACK"];
    let holder = somebody(&server, &target.path, &holds);
    let mut rows = replacing();
    rows.content = Content::DataOnly;
    let restored =
        ends("a restore of rows that waits", manager(&good).restore(&made, &target, rows.clone())).await;
    let told = told(&restored.unwrap_err(), "1205");
    assert!(told.contains("DELETE") && told.contains("is incomplete"), "{told}");
    holder.join().unwrap();
    manager(&good).restore(&made, &target, rows).await.unwrap();
    assert!(server.dump(&target.path) == server.dump(&source.path));
}

/// The server itself ends it, though the connection is still there.
async fn a_lock_behind_which_all_writers_wait_does_not_outlive_the_network(server: Server) {
    let source = shop(&server);
    let lock: &[u8] =
        if server.is_mariadb() { b"BACKUP STAGE BLOCK_COMMIT" } else { b"FLUSH TABLES WITH READ LOCK" };
    let wait = (&b", wait_timeout = 90"[..], &b", wait_timeout = 08"[..]);
    let (proxy, changed) = impatient(&server, wait, Some(lock));
    let url = by_way_of(&proxy, &server, &source.path, "&silence-timeout=1&connect-timeout=1");
    let error = ends("a backup in silence", manager(&crate::storage()).backup(&url)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Connect), "{error}");
    assert_eq!(changed.load(Ordering::SeqCst), 1, "{error}");
    let began = Instant::now();
    server.run(Some(&source.path), &["UPDATE account SET amount = 7".to_owned()]);
    let waited = began.elapsed();
    let expected = Duration::from_secs(1)..Duration::from_secs(20);
    assert!(expected.contains(&waited), "writers waited {waited:?}");
    drop(proxy);
}
