//! What a network, a dying server and a hostile peer do to a backup or a restore: never a hang, never a short backup, no panic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use backup_core::storage::{MemoryStorage, Storage};
use backup_core::{
    BackupConfig, BackupManager, BackupRef, DatabaseUrl, ErrorKind, Format, Registry, RestoreOptions, Result,
};
use backup_testkit::chance::Chance;
use backup_testkit::proxy::{From, Proxy, Then};
use futures::StreamExt;

mod server;
mod wire;

use server::Server;
use wire::{address, by_way_of, changing};

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
    for server in server::servers() {
        let source = shop(&server);
        let honest = Proxy::honest(address(&server));
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        manager(&storage).backup(&by_way_of(&honest, &server, &source, "?sslmode=disable")).await.unwrap();
        let (mut failed, places) = (0, places(honest.bytes(), 12));
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
                    assert!(
                        *bytes + 600 > honest.bytes(),
                        "cut at {bytes} of {}: {}",
                        honest.bytes(),
                        backup.id
                    )
                }
            }
        }
        println!("{} cuts of a backup: {failed} errors, nothing listed", places.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_whose_connections_are_cut_leaves_the_target_as_it_was_or_whole() {
    for server in server::servers() {
        let (source, storage, backup) = good(&server).await;
        let whole = server.dump(&source);
        let target = server.create();
        server.psql(&target, "CREATE TABLE precious (x int)");
        let before = server.dump(&target);
        let honest = Proxy::honest(address(&server));
        let url = by_way_of(&honest, &server, &target, "?sslmode=disable");
        manager(&storage).restore(&backup, &url, replacing()).await.unwrap();
        let (mut kept, mut replaced, places) = (0, 0, places(honest.bytes(), 9));
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_falls_silent_is_given_up() {
    for server in server::servers() {
        let source = shop(&server);
        let honest = Proxy::honest(address(&server));
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        manager(&storage).backup(&by_way_of(&honest, &server, &source, "?sslmode=disable")).await.unwrap();
        let mut silences = 0;
        for i in 0..6 {
            let proxy = Proxy::after(address(&server), i * honest.bytes() / 6, Then::Silence);
            let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
            let options = "?sslmode=disable&silence_timeout=2&connect_timeout=2";
            let url = by_way_of(&proxy, &server, &source, options);
            let error = ends("a backup in silence", manager(&storage).backup(&url)).await.unwrap_err();
            assert!(matches!(error.kind(), ErrorKind::Connect | ErrorKind::TimedOut), "{error}");
            silences += 1;
        }
        println!("{silences} silences, each an error");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_its_time_is_waited_for() {
    for server in server::servers() {
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

/// Damages one message of a server, as `kind` says.
fn damage(message: &mut Vec<u8>, kind: usize, chance: &mut Chance) {
    let length =
        |message: &mut Vec<u8>, length: i32| message.splice(1..5, length.to_be_bytes()).for_each(drop);
    let place = |message: &Vec<u8>, chance: &mut Chance| 5 + chance.next(message.len().saturating_sub(5));
    match kind {
        0 => length(message, -1),
        1 => length(message, i32::MAX),
        2 => length(message, 3),
        3 => length(message, i32::MIN),
        4 => {
            let much = message.len() as i32 + 1000;
            length(message, much);
        }
        // Counts and lengths within.
        5 if message.len() > 7 => message[5..7].fill(0xff),
        6 if message.len() > 11 => message[7..11].fill(0xff),
        7 if message.len() > 11 => message[7..11].copy_from_slice(&i32::MAX.to_be_bytes()),
        8 => message.clear(),
        9 => {
            let again = message.clone();
            message.extend(again);
        }
        10 => message[0] = b"RSKZTDC12nNEGHWdcAv3st"[chance.next(22)],
        11 => {
            let unasked: [&[u8]; 6] = [
                b"T\0\0\0\x06\0\0",
                b"D\0\0\0\x06\0\0",
                b"Z\0\0\0\x05I",
                b"d\0\0\0\x07row",
                b"c\0\0\0\x04",
                b"C\0\0\0\x0bSELECT\0",
            ];
            message.splice(0..0, unasked[chance.next(6)].iter().copied()).for_each(drop);
        }
        12 => {
            let end = chance.next(message.len());
            message.truncate(end);
        }
        _ => {
            for _ in 0..=chance.next(4) {
                let place = place(message, chance);
                if let Some(byte) = message.get_mut(place) {
                    *byte = chance.next(256) as u8;
                }
            }
        }
    }
}

/// A proxy that damages the `nth` message of the server, of all connections.
fn damaging(server: SocketAddr, nth: usize, kind: usize, seed: u64) -> Proxy {
    let (mut count, mut chance) = (0, Chance(seed));
    changing(server, move |message| {
        count += 1;
        if count == nth + 1 {
            damage(message, kind, &mut chance);
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_lost_or_comes_twice_on_its_way_is_an_error() {
    for server in server::servers() {
        let source = shop(&server);
        for times in [0, 2] {
            let mut row = 0;
            let proxy = changing(address(&server), move |message| {
                row += usize::from(message[0] == b'd');
                if message[0] == b'd' && row == 10_000 {
                    *message = message.repeat(times);
                }
            });
            let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
            let url = by_way_of(&proxy, &server, &source, "?sslmode=disable");
            let error = ends("a backup", manager(&storage).backup(&url)).await.unwrap_err();
            assert!(error.to_string().contains("have arrived"), "{error}");
            assert_eq!(error.kind(), ErrorKind::Connect);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_of_its_version_is_inert_in_scripts_and_for_people() {
    const HOSTILE: &str = "18\n\\! touch hacked\n'; $$ */ DROP TABLE orders; --\u{7}";
    for server in server::servers() {
        let source = shop(&server);
        let version = server.ask("postgres", "SHOW server_version").trim().to_owned();
        let field = [&(version.len() as u32).to_be_bytes(), version.as_bytes()].concat();
        let instead = [&(HOSTILE.len() as u32).to_be_bytes(), HOSTILE.as_bytes()].concat();
        let proxy = changing(address(&server), move |message| {
            let place = message.windows(field.len()).position(|bytes| bytes == field);
            if let (b'D', Some(place)) = (message[0], place) {
                message.splice(place..place + field.len(), instead.iter().copied()).for_each(drop);
                let length = message.len() as u32 - 1;
                message.splice(1..5, length.to_be_bytes()).for_each(drop);
            }
        });
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let mut config = BackupConfig::default();
        config.codec = "none".to_owned();
        let manager = BackupManager::new(config)
            .with_registry(Registry::new().with(&backup_postgres::ENGINE))
            .with_storage(Arc::clone(&storage));
        let url = by_way_of(&proxy, &server, &source, "?sslmode=disable");
        let backup = ends("a backup", manager.backup(&url)).await.unwrap();
        let details = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
        assert_eq!(details.server.version, HOSTILE);
        let script = storage.get(&backup.path.parse().unwrap(), None).await.unwrap();
        let lines = String::from_utf8_lossy(&script).into_owned();
        assert!(!lines.lines().any(|line| line.trim_start().starts_with("\\!")), "{}", &lines[..2000]);
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("script.sql"), &script).unwrap();
        let copy = server.create();
        server.load(&copy, &directory.path().join("script.sql"));
        assert_eq!(server.dump(&copy), server.dump(&source));
        manager.restore(&BackupRef::Latest, &server.url(&copy), replacing()).await.unwrap();
        assert_eq!(server.dump(&copy), server.dump(&source));
    }
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    peak.unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_messages_of_a_server_are_errors_and_neither_panics_nor_memory() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE t (x int, y text); INSERT INTO t SELECT i, i::text FROM generate_series(1, 50) i",
        );
        let panics = Arc::new(AtomicUsize::new(0));
        let usual = std::panic::take_hook();
        std::panic::set_hook({
            let panics = Arc::clone(&panics);
            Box::new(move |panic| {
                panics.fetch_add(1, Ordering::SeqCst);
                usual(panic);
            })
        });
        let before = peak_mib();
        let options = "?sslmode=disable&silence_timeout=1&connect_timeout=2";
        let (server, source) = (&server, &source);
        // Most of them wait for a server that seems silent, so several can at once.
        let runs = futures::stream::iter(0..90u64).map(async |i| {
            // The login has some twenty messages, the catalogs hundreds.
            let mut chance = Chance(i);
            let nth = if i % 2 == 0 { chance.next(40) } else { chance.next(1500) };
            let proxy = damaging(address(server), nth, i as usize % 15, i);
            let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
            let url = by_way_of(&proxy, server, source, options);
            let result: Result<_> = ends("a backup of nonsense", manager(&storage).backup(&url)).await;
            if let Err(error) = &result {
                assert!(error.kind() != ErrorKind::Cancelled, "run {i}: {error}");
            }
            result.is_ok()
        });
        let made: Vec<bool> = runs.buffer_unordered(6).collect().await;
        assert_eq!(panics.load(Ordering::SeqCst), 0);
        let grown = peak_mib().saturating_sub(before);
        assert!(grown < 200, "{grown} MiB");
        let (runs, made) = (made.len(), made.iter().filter(|made| **made).count());
        println!(
            "{runs} damaged conversations: {made} made a backup, the others are errors; no panic, {grown} MiB"
        );
        assert!(runs > made, "nothing was damaged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_not_sent_in_clear_to_whoever_asks() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
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
            format!("postgres://me:canary-password@127.0.0.1:{port}/db?sslmode={mode}").parse().unwrap();
        let error = ends("a rogue", manager(&storage).backup(&url)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        assert!(mode == "require" || error.to_string().contains("asks for the password"), "{error}");
    }
    let was_told = || heard.lock().unwrap().windows(6).any(|bytes| bytes == b"canary");
    assert!(!heard.lock().unwrap().is_empty());
    assert!(!was_told(), "the password was sent");
    // Who says so lets a server of this machine have it.
    let url =
        format!("postgres://me:canary-password@127.0.0.1:{port}/db?clear_password=allow&connect_timeout=1");
    let error = ends("a rogue", manager(&storage).backup(&url.parse().unwrap())).await.unwrap_err();
    assert!(was_told(), "{error}");
}
