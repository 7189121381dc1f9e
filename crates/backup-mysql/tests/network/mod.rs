//! Connections that are cut, fall silent, or lose what was said; servers that die.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use backup_core::{BackupManager, ErrorKind};
use backup_testkit::proxy::{From, Proxy, Then};

use crate::server::Server;
use crate::{address, by_way_of, changing, ends, manager, on, shop, storage};

on! {
    a_backup_whose_connections_are_cut_is_an_error_wherever_they_are: mariadb mysql;
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
