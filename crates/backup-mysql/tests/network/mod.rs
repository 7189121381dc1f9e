//! Connections that are cut, fall silent, or lose what was said; servers that die.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backup_core::{BackupManager, ErrorKind, RestoreOptions};
use backup_testkit::proxy::{From, Proxy, Then};

use crate::private::Private;
use crate::server::Server;
use crate::{address, backup, by_way_of, changing, ends, manager, on, replacing, shop, storage};

/// The table that a database has while it is being restored.
const MARKER: &str = "lifeboat_restore_is_incomplete";

on! {
    a_backup_whose_connections_are_cut_is_an_error_wherever_they_are: mariadb mysql;
    a_restore_whose_connections_are_cut_leaves_nothing_or_says_that_the_target_is_incomplete: mariadb mysql;
    a_peer_that_falls_silent_is_given_up: mariadb mysql;
    a_server_that_takes_its_time_is_waited_for: mariadb mysql;
    a_session_that_is_killed_amid_rows_ends_the_backup: mariadb mariadb11 mysql;
    a_row_that_is_lost_or_comes_twice_on_its_way_is_an_error: mariadb mysql;
}

/// Bytes at which to cut, spread evenly, and the very first and last.
fn places(bytes: u64, count: u64) -> Vec<u64> {
    let mut places: Vec<u64> = (1..count).map(|i| i * bytes / count).collect();
    places.extend([0, 1, 4, 5, bytes.saturating_sub(1)]);
    places
}

async fn none_is_listed(manager: &BackupManager) {
    assert_eq!(
        manager.list_backups().await.map_or(0, |listed| listed.len()),
        0,
        "there is a backup all the same"
    );
}

async fn a_backup_whose_connections_are_cut_is_an_error_wherever_they_are(server: Server) {
    let source = shop(&server);
    let honest = Proxy::honest(address(&server));
    manager(&storage()).backup(&by_way_of(&honest, &server, &source.path, "")).await.unwrap();
    let (mut failed, places) = (0, places(honest.bytes(), 25));
    for bytes in &places {
        let proxy = Proxy::after(address(&server), *bytes, Then::Cut);
        let storage = storage();
        let url = by_way_of(&proxy, &server, &source.path, "");
        match ends("a backup that is cut", manager(&storage).backup(&url)).await {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Connect, "cut at {bytes}: {error}");
                none_is_listed(&manager(&storage)).await;
                failed += 1;
            }
            // Behind the last row there is nothing left to lose but goodbyes.
            Ok(backup) => {
                assert!(*bytes + 600 > honest.bytes(), "cut at {bytes} of {}: {}", honest.bytes(), backup.id)
            }
        }
    }
    println!("{} cuts of a backup: {failed} errors, nothing listed", places.len());
}

async fn a_restore_whose_connections_are_cut_leaves_nothing_or_says_that_the_target_is_incomplete(
    server: Server,
) {
    let source = shop(&server);
    let (storage, backup) = backup(&source).await;
    let whole = server.dump(&source.path);
    let empty = server.empty();
    let nothing = server.dump(&empty.path);
    let honest = Proxy::honest(address(&server));
    let url = by_way_of(&honest, &server, &empty.path, "");
    manager(&storage).restore(&backup, &url, RestoreOptions::default()).await.unwrap();
    let (mut untouched, mut incomplete, mut whole_ones) = (0, 0, 0);
    for (i, bytes) in places(honest.bytes(), 20).into_iter().enumerate() {
        let target = server.empty();
        let (mut before, mut options) = (nothing.clone(), RestoreOptions::default());
        if i % 2 == 1 {
            server.run(Some(&target.path), &["CREATE TABLE precious (x INT)".to_owned()]);
            (before, options) = (server.dump(&target.path), replacing());
        }
        let proxy = Proxy::after(address(&server), bytes, Then::Cut);
        let url = by_way_of(&proxy, &server, &target.path, "");
        let restored = ends("a restore that is cut", manager(&storage).restore(&backup, &url, options)).await;
        let found = server.dump(&target.path);
        match restored {
            _ if found == whole => whole_ones += 1,
            Ok(_) => panic!("cut at {bytes}: half of it, and no error"),
            Err(_) if found == before => untouched += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Incomplete, "cut at {bytes}: {error}");
                assert!(error.to_string().contains("is incomplete"), "{error}");
                assert!(found.contains(MARKER), "cut at {bytes}: half of it, and unmarked");
                incomplete += 1;
            }
        }
        // What was left is no obstacle.
        if found != whole && found != before {
            manager(&storage).restore(&backup, &target, RestoreOptions::default()).await.unwrap();
            assert!(server.dump(&target.path) == whole, "cut at {bytes}");
        }
    }
    println!(
        "cuts of a restore: {untouched} left the target as it was, {incomplete} incomplete and marked, {whole_ones} whole"
    );
    assert!(untouched > 0 && incomplete > 0);
}

async fn a_peer_that_falls_silent_is_given_up(server: Server) {
    let source = shop(&server);
    let honest = Proxy::honest(address(&server));
    manager(&storage()).backup(&by_way_of(&honest, &server, &source.path, "")).await.unwrap();
    let silences = (0..8).map(async |i| {
        let proxy = Proxy::after(address(&server), i * honest.bytes() / 8, Then::Silence);
        let url = by_way_of(&proxy, &server, &source.path, "&silence-timeout=1&connect-timeout=1");
        let error = ends("a backup in silence", manager(&storage()).backup(&url)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Connect | ErrorKind::TimedOut), "{error}");
    });
    futures::future::join_all(silences).await;
    // One connection alone of which nothing arrives any more, while others are answered.
    for of in [1, 2] {
        let proxy = Proxy::start(address(&server), move |number| {
            let mut bytes = 0;
            Box::new(move |from, said| {
                bytes += if from == From::Server { said.len() } else { 0 };
                if number == of && bytes > 3000 { Then::Silence } else { Then::Pass }
            })
        });
        let url = by_way_of(&proxy, &server, &source.path, "&silence-timeout=1&connect-timeout=5");
        let error = ends("a backup in silence", manager(&storage()).backup(&url)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut, "{error}");
        assert!(error.to_string().contains("nothing arrives"), "{error}");
    }
}

async fn a_server_that_takes_its_time_is_waited_for(server: Server) {
    let source = server.empty();
    server.run(Some(&source.path), &["CREATE TABLE t (a INT PRIMARY KEY)".to_owned()]);
    let waits = Arc::new(AtomicUsize::new(0));
    let server = Arc::new(server);
    let locked = {
        let (server, source) = (Arc::clone(&server), source.path.clone());
        std::thread::spawn(move || {
            server.run(
                Some(&source),
                &["LOCK TABLES t WRITE", "DO SLEEP(5)", "UNLOCK TABLES"].map(str::to_owned),
            );
        })
    };
    while !server.ask(None, "SHOW PROCESSLIST").contains("DO SLEEP(5)") {
        assert!(waits.fetch_add(1, Ordering::SeqCst) < 100);
    }
    let url = format!("{}?silence-timeout=1", server.url_text(&source.path)).parse().unwrap();
    ends("a backup that waits", manager(&storage()).backup(&url)).await.unwrap();
    locked.join().unwrap();
}

/// Of a connection by way of a proxy that calls `once` when the first rows are under way, and by far not the last ones.
pub(crate) fn amid_rows(server: &Server, once: impl Fn() + Send + Sync + 'static) -> Proxy {
    let (once, called) = (Arc::new(once), Arc::new(AtomicUsize::new(0)));
    Proxy::start(address(server), move |_| {
        let (once, called) = (Arc::clone(&once), Arc::clone(&called));
        Box::new(move |from, said| {
            let digest = b"6b86b273ff34fce19d6b804eff5a3f57";
            let is_row = from == From::Server && said.windows(digest.len()).any(|bytes| bytes == digest);
            if is_row && called.fetch_add(1, Ordering::SeqCst) == 0 {
                once();
            }
            Then::Pass
        })
    })
}

async fn a_session_that_is_killed_amid_rows_ends_the_backup(server: Server) {
    let source = shop(&server);
    let (server, killed) = (Arc::new(server), Arc::new(AtomicUsize::new(0)));
    let proxy = amid_rows(&server, {
        let (server, killed, source) = (Arc::clone(&server), Arc::clone(&killed), source.path.clone());
        move || {
            let of = format!(
                "SELECT CONCAT('KILL ', ID) FROM information_schema.PROCESSLIST WHERE DB = '{source}' AND ID <> CONNECTION_ID()"
            );
            let kills: Vec<_> = server.ask(None, &of).lines().map(str::to_owned).collect();
            killed.fetch_add(kills.len(), Ordering::SeqCst);
            server.run(None, &kills);
        }
    });
    let storage = storage();
    let url = by_way_of(&proxy, &server, &source.path, "");
    let error = ends("a backup without sessions", manager(&storage).backup(&url)).await.unwrap_err();
    assert!(killed.load(Ordering::SeqCst) > 0, "{error}");
    assert!(matches!(error.kind(), ErrorKind::Connect | ErrorKind::Database), "{error}");
    none_is_listed(&manager(&storage)).await;
}

/// One that comes back at once does not continue the snapshot of the one that died.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_restarted_amid_rows_ends_the_backup() {
    let Some(program) = Private::program() else { return };
    let mut private = Private::new(
        "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n",
        &[],
    );
    private.start(&program, &[]);
    let url = private.url("me:secret@127.0.0.1:PORT/shop");
    let (source, backup) = {
        let Some(server) = Server::find("mariadb") else { return };
        backup(&shop(&server)).await
    };
    let mut options = RestoreOptions::default();
    options.create_database = true;
    manager(&source).restore(&backup, &url, options).await.unwrap();
    let address = private.address();
    let private = Arc::new(std::sync::Mutex::new(private));
    let restarted = Arc::new(AtomicUsize::new(0));
    let proxy = Proxy::start(address, {
        let (private, restarted) = (Arc::clone(&private), Arc::clone(&restarted));
        move |_| {
            let (private, restarted, program) =
                (Arc::clone(&private), Arc::clone(&restarted), program.clone());
            Box::new(move |from, said| {
                let digest = b"6b86b273ff34fce19d6b804eff5a3f57";
                if from == From::Server
                    && said.windows(digest.len()).any(|bytes| bytes == digest)
                    && restarted.fetch_add(1, Ordering::SeqCst) == 0
                {
                    private.lock().unwrap().start(&program, &[]);
                }
                Then::Pass
            })
        }
    });
    let storage = storage();
    let url = format!("mariadb://me:secret@{}/shop?sslmode=disable", proxy.address()).parse().unwrap();
    let error = ends("a backup without a server", manager(&storage).backup(&url)).await.unwrap_err();
    assert_eq!((restarted.load(Ordering::SeqCst), error.kind()), (1, ErrorKind::Connect), "{error}");
    none_is_listed(&manager(&storage)).await;
    manager(&storage).backup(&url).await.unwrap();
}

async fn a_row_that_is_lost_or_comes_twice_on_its_way_is_an_error(server: Server) {
    let source = shop(&server);
    for times in [0, 2] {
        let mut row = 0;
        let proxy = changing(address(&server), move |packet| {
            row += usize::from(packet.len() > 64 && packet[4] <= 5);
            if row == 10_000 {
                *packet = packet.repeat(times);
                row += 1;
            }
        });
        let url = by_way_of(&proxy, &server, &source.path, "");
        let error = ends("a backup", manager(&storage()).backup(&url)).await.unwrap_err();
        assert!(error.to_string().contains("packets out of order"), "{error}");
        assert_eq!(error.kind(), ErrorKind::Connect);
    }
}
