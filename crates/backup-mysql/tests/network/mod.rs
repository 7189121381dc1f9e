//! Connections that are cut, fall silent, or lose what was said; servers that die.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use std::time::{Duration, Instant};

use backup_core::storage::Storage;
use backup_core::{BackupManager, BackupRef, ErrorKind, RestoreOptions, Result};
use backup_testkit::proxy::{From, Proxy, Then};
use futures::StreamExt;

use crate::private::Private;
use crate::server::Server;
use crate::{address, backup, by_way_of, changing, ends, manager, on, replacing, shop, storage};

on! {
    a_backup_whose_connections_are_cut_is_an_error_wherever_they_are: mariadb mysql;
    a_restore_whose_connections_are_cut_says_what_the_target_is_and_that_is_so: mariadb mysql;
    a_restore_that_loses_one_connection_takes_everything_back: mariadb mysql;
    a_peer_that_falls_silent_is_given_up: mariadb mysql;
    a_server_that_takes_its_time_is_waited_for: mariadb mysql;
    a_session_that_is_killed_amid_rows_ends_the_backup: mariadb mariadb11 mysql;
    a_row_that_is_lost_or_comes_twice_on_its_way_is_an_error: mariadb mysql;
    rows_that_are_inserted_are_not_announced_as_a_load: mysql;
}

const ACCOUNTS: &str =
    "CREATE USER IF NOT EXISTS me@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO me@'%';\n";

/// DECIMALs in JSON, which LOAD DATA would read as doubles.
async fn rows_that_are_inserted_are_not_announced_as_a_load(server: Server) {
    let source = server.empty();
    let numbers = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 1000)";
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE exact (id INT PRIMARY KEY, j JSON)".to_owned(),
            format!("INSERT INTO exact {numbers} SELECT i, JSON_ARRAY(1.50, REPEAT('x', 3000)) FROM n"),
        ],
    );
    let (storage, made) = backup(&source).await;
    let (loads, inserts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = [("LOAD DATA", Arc::clone(&loads)), ("INSERT INTO `exact`", Arc::clone(&inserts))];
    let proxy = Proxy::start(address(&server), move |_| {
        let counts = counts.clone();
        Box::new(move |from, said| {
            for (words, count) in counts.iter().filter(|_| from == From::Client) {
                let found = said.windows(words.len()).filter(|window| *window == words.as_bytes()).count();
                count.fetch_add(found, Ordering::SeqCst);
            }
            Then::Pass
        })
    });
    let target = server.empty();
    let url = by_way_of(&proxy, &server, &target.path, "");
    manager(&storage).restore(&made, &url, RestoreOptions::default()).await.unwrap();
    assert_eq!(server.dump(&target.path), server.dump(&source.path));
    assert!(inserts.load(Ordering::SeqCst) > 3);
    assert_eq!(loads.load(Ordering::SeqCst), 0);
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
    let (mut failed, places) = (0, places(honest.bytes(), 12));
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

/// After a restore that failed, over connections that work: the target is what it was, or it is incomplete and that was said. Then it is no source
/// of backups, and the next restore needs no help. Returns whether it is what it was.
async fn is_as_it_was_or_said(
    server: &Server,
    (good, made): (&Arc<dyn Storage>, &BackupRef),
    source: &str,
    target: &str,
    (before, error): (&str, &backup_core::Error),
) -> bool {
    server.wait_until_left(target);
    let as_it_was = server.dump(target) == before;
    if !as_it_was {
        let told = error.to_string();
        assert!(told.contains("is incomplete") && told.contains("--drop-existing"), "{told}");
        let url = server.url_text(target).parse().unwrap();
        // Cut off while it was told that the mark is gone, it is complete and nobody knows.
        if let Err(refused) = manager(&storage()).backup(&url).await {
            assert_eq!(refused.kind(), ErrorKind::Incomplete, "{refused}");
            manager(good).restore(made, &url, RestoreOptions::default()).await.unwrap();
        }
        assert!(server.dump(target) == server.dump(source));
    }
    as_it_was
}

/// And they stay cut: nothing can be taken back.
async fn a_restore_whose_connections_are_cut_says_what_the_target_is_and_that_is_so(server: Server) {
    let source = shop(&server);
    let (good, made) = backup(&source).await;
    let measured = server.empty();
    let honest = Proxy::honest(address(&server));
    let url = by_way_of(&honest, &server, &measured.path, "");
    manager(&good).restore(&made, &url, RestoreOptions::default()).await.unwrap();
    let (mut kept, mut halves, mut whole) = (0, 0, 0);
    let places = places(honest.bytes(), 9);
    for (i, bytes) in places.iter().enumerate() {
        let target = server.empty();
        if i % 2 == 1 {
            let precious = ["CREATE TABLE precious (a INT)", "INSERT INTO precious VALUES (1)"];
            server.run(Some(&target.path), &precious.map(str::to_owned));
        }
        let before = server.dump(&target.path);
        let proxy = Proxy::after(address(&server), *bytes, Then::Cut);
        let url = by_way_of(&proxy, &server, &target.path, "&connect-timeout=2");
        let restored = ends("a restore that is cut", manager(&good).restore(&made, &url, replacing())).await;
        drop(proxy);
        let Err(error) = restored else {
            // Behind the end there is nothing left to lose but goodbyes.
            assert!(server.dump(&target.path) == server.dump(&source.path), "cut at {bytes}");
            whole += 1;
            continue;
        };
        assert!(matches!(error.kind(), ErrorKind::Connect | ErrorKind::Database), "cut at {bytes}: {error}");
        let is = is_as_it_was_or_said(&server, (&good, &made), &source.path, &target.path, (&before, &error));
        if is.await { kept += 1 } else { halves += 1 }
    }
    println!(
        "{} cuts of a restore: {kept} as it was, {halves} incomplete and said so, {whole} whole",
        places.len()
    );
    assert!(kept > 0 && halves > 0 && whole < 5);
}

/// Over others it still reaches the server.
async fn a_restore_that_loses_one_connection_takes_everything_back(server: Server) {
    let source = shop(&server);
    let (good, made) = backup(&source).await;
    let target = server.empty();
    let before = server.dump(&target.path);
    let mut lost = 0;
    for after in [0, 1, 2, 5, 20, 100, 300, 600, 1000, 1400].map(|kib: usize| kib << 10) {
        let (passed, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let proxy = Proxy::start(address(&server), move |_| {
            let (passed, cut) = (Arc::clone(&passed), Arc::clone(&cut));
            Box::new(move |_, said| {
                let over = passed.fetch_add(said.len(), Ordering::SeqCst) + said.len() > after;
                if over && cut.fetch_add(1, Ordering::SeqCst) == 0 { Then::Cut } else { Then::Pass }
            })
        });
        let url = by_way_of(&proxy, &server, &target.path, "");
        let manager = manager(&good);
        let restored = manager.restore(&made, &url, RestoreOptions::default());
        match ends("a restore that loses a connection", restored).await {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Connect, "cut at {after}: {error}");
                assert!(server.dump(&target.path) == before, "cut at {after}: {error}");
                lost += 1;
            }
            Ok(_) => {
                assert!(server.dump(&target.path) == server.dump(&source.path), "cut at {after}");
                server.run(
                    None,
                    &[
                        format!("DROP DATABASE `{}`", target.path),
                        format!("CREATE DATABASE `{}`", target.path),
                    ],
                );
            }
        }
    }
    assert!(lost > 5, "{lost}");
}

/// Amid a backup or a restore, whatever it is at: it ends soon, and says what the target is.
async fn a_peer_that_falls_silent_is_given_up(server: Server) {
    let source = shop(&server);
    let (good, made) = backup(&source).await;
    let honest = Proxy::honest(address(&server));
    manager(&storage()).backup(&by_way_of(&honest, &server, &source.path, "")).await.unwrap();
    let of_backup = honest.bytes();
    let measured = server.empty();
    let url = by_way_of(&honest, &server, &measured.path, "");
    manager(&good).restore(&made, &url, RestoreOptions::default()).await.unwrap();
    let of_restore = honest.bytes() - of_backup;
    // Before anybody falls silent with a lock under which nobody makes anything.
    let targets: Vec<_> = (0..8).map(|_| server.empty()).collect();
    let before = server.dump(&targets[0].path);
    let (server, source, good, made) = (&server, &source, &good, &made);
    let (targets, before) = (&targets, &before);
    let options = "&silence-timeout=2&connect-timeout=2";
    let tries = futures::stream::iter(0..16).map(async |i| {
        let (target, nth) = (targets.get(i / 2).filter(|_| i % 2 == 1), i as u64 / 2);
        let bytes = if target.is_some() { of_restore } else { of_backup };
        let proxy = Proxy::after(address(server), nth * bytes / 8, Then::Silence);
        let began = Instant::now();
        let result: Result<()> = if let Some(target) = target {
            let url = by_way_of(&proxy, server, &target.path, options);
            let manager = manager(good);
            let restored = manager.restore(made, &url, RestoreOptions::default());
            ends("a restore in silence", restored).await.map(drop)
        } else {
            let storage = storage();
            let url = by_way_of(&proxy, server, &source.path, options);
            let manager = manager(&storage);
            let made = ends("a backup in silence", manager.backup(&url)).await.map(drop);
            none_is_listed(&manager).await;
            made
        };
        let error = result.unwrap_err();
        let took = began.elapsed();
        assert!(matches!(error.kind(), ErrorKind::Connect | ErrorKind::TimedOut), "{i}: {error}");
        assert!(took < Duration::from_secs(60), "{i}: {took:?}: {error}");
        drop(proxy);
        if let Some(target) = target {
            let copy = &target.path;
            is_as_it_was_or_said(server, (good, made), &source.path, copy, (before, &error)).await;
        }
        took
    });
    let took: Vec<Duration> = tries.buffer_unordered(8).collect().await;
    println!("{} silences, each an error after {:?} at the most", took.len(), took.iter().max());
}

/// A whole server, with all that it knew of transactions and locks, and another in its place.
async fn a_server_that_is_started_again(program: std::path::PathBuf, mut private: Private, url: &str) {
    private.start(&program, &[]);
    let server = Server::at(&private.text(url));
    let source = shop(&server);
    let (private, started) = (Arc::new(Mutex::new(private)), Arc::new(AtomicUsize::new(0)));
    let proxy = amid_rows(&server, {
        let (private, started) = (Arc::clone(&private), Arc::clone(&started));
        move || {
            private.lock().unwrap().start(&program, &[]);
            started.fetch_add(1, Ordering::SeqCst);
        }
    });
    let storage = storage();
    let url = by_way_of(&proxy, &server, &source.path, "");
    let error = ends("a backup of two servers", manager(&storage).backup(&url)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    none_is_listed(&manager(&storage)).await;
    // The other one is as good as the first.
    while started.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    manager(&storage).backup(&source).await.unwrap();
    drop(server);
    private.lock().unwrap().stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mariadb_that_is_started_again_amid_rows_ends_the_backup() {
    let Some(program) = Private::program() else { return };
    let private = Private::new(ACCOUNTS, &[]);
    a_server_that_is_started_again(program, private, "mariadb://me:secret@127.0.0.1:PORT/mysql").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mysql_that_is_started_again_amid_rows_ends_the_backup() {
    let Some(program) = Private::mysql() else { return };
    let private = Private::of_mysql(&program, ACCOUNTS);
    a_server_that_is_started_again(program, private, "mysql://me:secret@127.0.0.1:PORT/mysql").await;
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
