//! What a network, a dying server and a hostile peer do to a backup or a restore: never a hang, never a short backup, no panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup_core::storage::{MemoryStorage, Storage};
use backup_core::{
    BackupConfig, BackupManager, BackupRef, DatabaseUrl, ErrorKind, Format, Registry, RestoreOptions,
};
use backup_testkit::proxy::{From, Proxy, Then};

mod server;

use server::Server;

/// No operation of these tests takes so long unless it hangs.
const HANGS: Duration = Duration::from_secs(240);

fn manager(storage: &Arc<dyn Storage>) -> BackupManager {
    let mut config = BackupConfig::default();
    config.format = Format::Binary;
    config.jobs = 2;
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::clone(storage))
}

/// Waits, but not for ever.
async fn ends<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(HANGS, Box::pin(work)).await {
        Ok(value) => value,
        Err(_) => panic!("{what} hangs"),
    }
}

fn address(server: &Server) -> SocketAddr {
    let url = server.url("postgres");
    let (host, port) = &url.hosts[0];
    format!("{host}:{}", port.unwrap()).parse().unwrap()
}

/// The URL of a database by way of a proxy.
fn by_way_of(proxy: &Proxy, server: &Server, database: &str, options: &str) -> DatabaseUrl {
    let mut url = server.url(database);
    url.hosts = vec![("127.0.0.1".to_owned(), Some(proxy.address().port()))];
    format!("{}{options}", text(&url)).parse().unwrap()
}

fn text(url: &DatabaseUrl) -> String {
    let password = url.password.as_ref().map_or("", |password| password.expose());
    let (host, port) = &url.hosts[0];
    let password = password.replace(':', "%3A").replace('/', "%2F").replace('@', "%40");
    format!("postgres://{}:{password}@{host}:{}/{}", url.user.as_deref().unwrap(), port.unwrap(), url.path)
}

fn shop(server: &Server) -> String {
    let name = server.create();
    server.psql(
        &name,
        "CREATE TABLE orders (id int PRIMARY KEY, note text);
         INSERT INTO orders SELECT i, md5(i::text) || md5((-i)::text) FROM generate_series(1, 20000) i;
         CREATE TABLE account (id int PRIMARY KEY, amount int NOT NULL);
         INSERT INTO account SELECT i, 100 FROM generate_series(1, 100) i;
         CREATE INDEX ON orders (note);",
    );
    name
}

/// A backup and what it is of.
async fn good(server: &Server) -> (String, Arc<dyn Storage>, BackupRef) {
    let source = shop(server);
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let backup = manager(&storage).backup(&server.url(&source)).await.unwrap();
    (source, storage, BackupRef::from(&backup.id))
}

fn replacing() -> RestoreOptions {
    let mut options = RestoreOptions::default();
    options.drop_existing = true;
    options
}

/// Bytes at which to cut, spread evenly, and the very first and last.
fn places(bytes: u64, count: u64) -> Vec<u64> {
    let mut places: Vec<u64> = (1..count).map(|i| i * bytes / count).collect();
    places.extend([0, 1, 8, 9, bytes.saturating_sub(1)]);
    places
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_connections_are_cut_is_an_error_wherever_they_are() {
    let Some(server) = server::server() else { return };
    let source = shop(&server);
    let honest = Proxy::honest(address(&server));
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    manager(&storage).backup(&by_way_of(&honest, &server, &source, "?sslmode=disable")).await.unwrap();
    let (mut failed, places) = (0, places(honest.bytes(), 40));
    for bytes in &places {
        let proxy = Proxy::after(address(&server), *bytes, Then::Cut);
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let url = by_way_of(&proxy, &server, &source, "?sslmode=disable");
        let made = ends("a backup that is cut", manager(&storage).backup(&url)).await;
        let listed = manager(&storage).list_backups().await.map_or(0, |listed| listed.len());
        match made {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Connect, "cut at {bytes}: {error}");
                assert_eq!(listed, 0, "cut at {bytes}: there is a backup all the same");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_connections_are_cut_leaves_the_target_as_it_was_or_whole() {
    let Some(server) = server::server() else { return };
    let (source, storage, backup) = good(&server).await;
    let whole = server.dump(&source);
    let target = server.create();
    server.psql(&target, "CREATE TABLE precious (x int)");
    let before = server.dump(&target);
    let honest = Proxy::honest(address(&server));
    let url = by_way_of(&honest, &server, &target, "?sslmode=disable");
    manager(&storage).restore(&backup, &url, replacing()).await.unwrap();
    let (mut kept, mut replaced, places) = (0, 0, places(honest.bytes(), 25));
    for bytes in &places {
        server.psql("postgres", &format!("DROP DATABASE \"{target}\" WITH (FORCE)"));
        server.psql("postgres", &format!("CREATE DATABASE \"{target}\" TEMPLATE template0"));
        server.psql(&target, "CREATE TABLE precious (x int)");
        let proxy = Proxy::after(address(&server), *bytes, Then::Cut);
        let url = by_way_of(&proxy, &server, &target, "?sslmode=disable");
        let restored =
            ends("a restore that is cut", manager(&storage).restore(&backup, &url, replacing())).await;
        let found = server.dump(&target);
        if found == before {
            assert!(restored.is_err(), "cut at {bytes}");
            kept += 1;
        } else {
            assert!(found == whole, "cut at {bytes}: half of it");
            replaced += 1;
        }
    }
    // What was left is no obstacle.
    manager(&storage).restore(&backup, &server.url(&target), replacing()).await.unwrap();
    assert!(server.dump(&target) == whole);
    println!(
        "{} cuts of a restore: {kept} left the target as it was, {replaced} had replaced it",
        places.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_is_given_up() {
    let Some(server) = server::server() else { return };
    let source = shop(&server);
    let honest = Proxy::honest(address(&server));
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    manager(&storage).backup(&by_way_of(&honest, &server, &source, "?sslmode=disable")).await.unwrap();
    let mut silences = 0;
    for i in 0..8 {
        let proxy = Proxy::after(address(&server), i * honest.bytes() / 8, Then::Silence);
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let options = "?sslmode=disable&silence_timeout=2&connect_timeout=2";
        let url = by_way_of(&proxy, &server, &source, options);
        let error = ends("a backup in silence", manager(&storage).backup(&url)).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Connect | ErrorKind::TimedOut), "{error}");
        silences += 1;
    }
    println!("{silences} silences, each an error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_its_time_is_waited_for() {
    let Some(server) = server::server() else { return };
    let source = server.create();
    server.psql(&source, "CREATE VIEW slow AS SELECT pg_sleep(7)::text AS x; CREATE MATERIALIZED VIEW m AS SELECT * FROM slow WITH NO DATA");
    server.psql(&source, "REFRESH MATERIALIZED VIEW m");
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let backup = manager(&storage).backup(&server.url(&source)).await.unwrap();
    let target = server.create();
    let url: DatabaseUrl = format!("{}?silence_timeout=1", server.url_text(&target)).parse().unwrap();
    ends(
        "a slow restore",
        manager(&storage).restore(&BackupRef::from(&backup.id), &url, RestoreOptions::default()),
    )
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_killed_in_the_midst_of_rows_ends_the_backup() {
    for server in server::servers() {
        let source = shop(&server);
        let server = Arc::new(server);
        let killed = Arc::new(AtomicUsize::new(0));
        let proxy = Proxy::start(address(&server), {
            let (server, killed, source) = (Arc::clone(&server), Arc::clone(&killed), source.clone());
            move |_| {
                let (server, killed, source) = (Arc::clone(&server), Arc::clone(&killed), source.clone());
                Box::new(move |from, said| {
                    // The first rows of the table are under way, and by far not the last ones.
                    let digest = b"c4ca4238a0b923820dcc509a6f75849b";
                    if from == From::Server
                        && said.windows(digest.len()).any(|bytes| bytes == digest)
                        && killed.load(Ordering::SeqCst) == 0
                    {
                        let sql = format!(
                            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{source}' AND pid <> pg_backend_pid()"
                        );
                        let count = server.ask("postgres", &sql).trim().parse::<usize>().unwrap();
                        killed.fetch_add(count, Ordering::SeqCst);
                    }
                    Then::Pass
                })
            }
        });
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let url = by_way_of(&proxy, &server, &source, "?sslmode=disable");
        let error = ends("a backup without a server", manager(&storage).backup(&url)).await.unwrap_err();
        assert!(killed.load(Ordering::SeqCst) > 0, "{error}");
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        assert_eq!(manager(&storage).list_backups().await.map_or(0, |listed| listed.len()), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_sent_in_clear_to_whoever_asks() {
    // An address that is not within the machine, so that others could listen.
    let Ok(socket) = UdpSocket::bind("0.0.0.0:0") else { return };
    let outside = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let Ok(outside) = outside.map(|address| address.ip()) else {
        return server::missing("the machine has no address but its own");
    };
    if outside.is_loopback() {
        return server::missing("the machine has no address but its own");
    }
    let listener = std::net::TcpListener::bind((outside, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    std::thread::spawn({
        let heard = Arc::clone(&heard);
        move || {
            use std::io::{Read, Write};
            for mut client in listener.incoming().flatten() {
                let mut bytes = [0; 1024];
                let count = client.read(&mut bytes).unwrap_or(0);
                heard.lock().unwrap().extend_from_slice(&bytes[..count]);
                // No TLS, and the password as it is.
                let answer: &[u8] = if count == 8 { b"N" } else { b"R\0\0\0\x08\0\0\0\x03" };
                let _ = client.write_all(answer);
                while let Ok(count @ 1..) = client.read(&mut bytes) {
                    heard.lock().unwrap().extend_from_slice(&bytes[..count]);
                    let _ = client.write_all(b"R\0\0\0\x08\0\0\0\x03");
                }
            }
        }
    });
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    for mode in ["disable", "prefer", "require"] {
        let url =
            format!("postgres://me:canary-password@{outside}:{port}/db?sslmode={mode}").parse().unwrap();
        let error = ends("a rogue", manager(&storage).backup(&url)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        assert!(mode == "require" || error.to_string().contains("asks for the password"), "{error}");
    }
    let heard = heard.lock().unwrap();
    assert!(!heard.is_empty());
    assert!(!heard.windows(6).any(|bytes| bytes == b"canary"), "the password was sent");
}
