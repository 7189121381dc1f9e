//! Peers that say what no server says: damaged packets, requests for files, versions that are no versions, errors at every turn.

use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use backup_core::{
    BackupConfig, BackupManager, BackupRef, DatabaseUrl, ErrorKind, Format, Registry, RestoreOptions, Result,
};
use backup_testkit::chance::Chance;
use backup_testkit::proxy::{From, Proxy, Then};
use futures::StreamExt;

use crate::server::Server;
use crate::{address, backup, by_way_of, changing, ends, head, manager, on, replacing, shop, storage};

on! {
    damaged_packets_of_a_server_are_errors_and_neither_panics_nor_memory: mariadb mysql;
    a_server_that_asks_for_a_file_gets_nothing_whatever_it_was_asked: mariadb mysql;
    what_a_server_says_of_its_version_is_inert_in_scripts_and_for_people: mariadb mariadb11 mysql;
}

/// Damages one packet of a server, as `kind` says.
fn damage(packet: &mut Vec<u8>, kind: usize, chance: &mut Chance) {
    match kind {
        // Lengths of packets.
        0 => packet[..3].fill(0xff),
        1 => packet[..3].fill(0),
        2 => packet[0] = packet[0].wrapping_add(1),
        3 => packet[0] = packet[0].wrapping_sub(1),
        4 => packet[2] = 0x7f,
        // Their order.
        5 => packet[3] = packet[3].wrapping_add(1),
        6 => packet.clear(),
        7 => packet.extend(packet.clone()),
        // Counts and lengths within.
        8 if packet.len() > 4 => packet[4] = [0xfb, 0xfc, 0xfd, 0xfe, 0xff, 0, 1][chance.next(7)],
        9 => {
            packet.splice(4.., [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]).for_each(drop);
            head(packet);
        }
        // Answers that nobody asked for: an end, an OK with more to come, an error, a file, many columns, an empty one.
        10 => {
            let unasked: [&[u8]; 7] = [
                b"\xfe\0\0\x02\0",
                b"\0\0\0\x0a\0\0\0",
                b"\xff\x15\x04#28000no",
                b"\xfb/etc/passwd",
                b"\xfc\xff\xff",
                b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff",
                b"",
            ];
            packet.splice(4.., unasked[chance.next(7)].iter().copied()).for_each(drop);
            head(packet);
        }
        11 => {
            let end = 4 + chance.next(packet.len().saturating_sub(4));
            packet.truncate(end);
            head(packet);
        }
        12 => {
            let end = chance.next(packet.len());
            packet.truncate(end);
        }
        _ => {
            for _ in 0..=chance.next(4) {
                let place = 4 + chance.next(packet.len().saturating_sub(4));
                if let Some(byte) = packet.get_mut(place) {
                    *byte = chance.next(256) as u8;
                }
            }
        }
    }
}

fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    peak.unwrap().parse::<u64>().unwrap() / 1024
}

/// Of backups and of restores, by way of LOAD DATA too.
async fn damaged_packets_of_a_server_are_errors_and_neither_panics_nor_memory(server: Server) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &[
            "CREATE TABLE t (x INT PRIMARY KEY, y TEXT, e ENUM('a'))",
            "INSERT INTO t VALUES (1, 'one', 'a'), (2, NULL, NULL), (3, REPEAT('long', 500), 'a')",
            "CREATE VIEW v AS SELECT x FROM t",
            "CREATE PROCEDURE p() SELECT 1",
        ]
        .map(str::to_owned),
    );
    let (good, made) = backup(&source).await;
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
    let targets: Vec<_> = (0..4).map(|_| server.empty()).collect();
    let (server, source, good, made, targets) = (&server, &source, &good, &made, &targets);
    // Most of them wait for a server that seems silent, so several can at once.
    let runs = futures::stream::iter(0..160u64).map(async |i| {
        let (mut count, mut chance) = (0, Chance(i));
        // The login has some ten packets, what comes behind hundreds.
        let nth = if i % 2 == 0 { chance.next(30) } else { chance.next(600) };
        let mut chance = Chance(i);
        let proxy = changing(address(server), move |packet| {
            if count == nth {
                damage(packet, i as usize % 14, &mut chance);
            }
            count += 1;
        });
        let options = "&silence-timeout=1&connect-timeout=2";
        let result: Result<()> = if i % 4 == 3 {
            let target = &targets[i as usize / 4 % targets.len()];
            let url = by_way_of(&proxy, server, &target.path, options);
            let manager = manager(good);
            let restored = manager.restore(made, &url, replacing());
            ends("a restore of nonsense", restored).await.map(drop)
        } else {
            let url = by_way_of(&proxy, server, &source.path, options);
            let storage = storage();
            let manager = manager(&storage);
            ends("a backup of nonsense", manager.backup(&url)).await.map(drop)
        };
        if let Err(error) = &result {
            let kind = error.kind();
            assert!(kind != ErrorKind::Cancelled && kind != ErrorKind::Internal, "run {i}: {error}");
        }
        result.is_ok()
    });
    let made: Vec<bool> = runs.buffer_unordered(8).collect().await;
    assert_eq!(panics.load(Ordering::SeqCst), 0);
    let grown = peak_mib().saturating_sub(before);
    assert!(grown < 200, "{grown} MiB");
    let (runs, made) = (made.len(), made.iter().filter(|made| **made).count());
    println!("{runs} damaged conversations: {made} ended well, the others are errors; no panic, {grown} MiB");
    assert!(runs > made, "nothing was damaged");
}

/// In answer to any statement of a backup or of a restore, and in the middle of any answer.
async fn a_server_that_asks_for_a_file_gets_nothing_whatever_it_was_asked(server: Server) {
    let source = server.empty();
    server.run(
        Some(&source.path),
        &["CREATE TABLE t (x INT PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)"].map(str::to_owned),
    );
    let (good, made) = backup(&source).await;
    let directory = tempfile::tempdir().unwrap();
    let canary = directory.path().join("canary");
    std::fs::write(&canary, "canary-of-this-machine").unwrap();
    let file = canary.to_str().unwrap().as_bytes().to_vec();
    let (server, source, good, made, file) = (&server, &source, &good, &made, &file);
    // In the place of the answer `nth`: how many there were, and whether the operation refused to send a file.
    let try_one = async |restores: bool, nth: usize| {
        let (heard, answers) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
        let rogue = Proxy::start(address(server), {
            let (heard, answers, file) = (Arc::clone(&heard), Arc::clone(&answers), file.clone());
            move |_| {
                let (heard, answers, file) = (Arc::clone(&heard), Arc::clone(&answers), file.clone());
                Box::new(move |from, said| {
                    if from == From::Client {
                        heard.lock().unwrap().extend_from_slice(said);
                    } else if said.get(3) != Some(&0) && answers.fetch_add(1, Ordering::SeqCst) == nth {
                        said.truncate(4);
                        said.push(0xfb);
                        said.extend(&file);
                        head(said);
                    }
                    Then::Pass
                })
            }
        });
        let options = "&silence-timeout=1&connect-timeout=2";
        let result: Result<()> = if restores {
            let target = server.empty();
            let url = by_way_of(&rogue, server, &target.path, options);
            let manager = manager(good);
            let restored = manager.restore(made, &url, RestoreOptions::default());
            ends("a restore at a rogue", restored).await.map(drop)
        } else {
            let url = by_way_of(&rogue, server, &source.path, options);
            let storage = storage();
            let manager = manager(&storage);
            ends("a backup at a rogue", manager.backup(&url)).await.map(drop)
        };
        let heard = heard.lock().unwrap();
        assert!(!heard.windows(22).any(|bytes| bytes == b"canary-of-this-machine"), "answer {nth}");
        let answers = answers.load(Ordering::SeqCst);
        // Asked in the midst of rows, or behind the last answer that counts, it is no request.
        (answers, result.is_err_and(|error| error.to_string().contains("asked for a file")))
    };
    let (mut asked, mut refused) = (0, 0);
    for restores in [false, true] {
        let (answers, _) = try_one(restores, usize::MAX).await;
        let tries =
            futures::stream::iter((0..answers).step_by(2)).map(async |nth| try_one(restores, nth).await.1);
        let tries: Vec<bool> = tries.buffer_unordered(6).collect().await;
        asked += tries.len();
        refused += tries.iter().filter(|refused| **refused).count();
    }
    println!("{asked} requests for a file, {refused} refused by name, none answered");
    assert!(refused > 40);
}

async fn what_a_server_says_of_its_version_is_inert_in_scripts_and_for_people(server: Server) {
    // The server's greeting says it, and the product's name with it.
    let product = if server.is_mariadb() { "5.5.5-10.11.2-MariaDB" } else { "9.7.0" };
    let hostile = format!("{product}\n\\! touch hacked\n'; */ DROP TABLE orders; --\u{7}");
    let source = shop(&server);
    let instead = hostile.clone();
    let proxy = changing(address(&server), move |packet| {
        if packet.get(3) == Some(&0) && packet.get(4) == Some(&10) {
            let end = packet.iter().skip(5).position(|byte| *byte == 0).unwrap() + 5;
            packet.splice(5..end, instead.bytes()).for_each(drop);
            head(packet);
        }
    });
    let storage = storage();
    let mut config = BackupConfig::default();
    (config.codec, config.format) = ("none".to_owned(), Format::Sql);
    let manager = BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::clone(&storage));
    let url = by_way_of(&proxy, &server, &source.path, "");
    let backup = ends("a backup", manager.backup(&url)).await.unwrap();
    let details = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
    assert_eq!(details.server.version, hostile.trim_start_matches("5.5.5-"));
    let script = storage.get(&backup.path.parse().unwrap(), None).await.unwrap();
    let lines = String::from_utf8_lossy(&script).into_owned();
    assert!(!lines.lines().any(|line| line.trim_start().starts_with("\\!")), "{}", &lines[..2000]);
    let copy = server.empty();
    server.feed(Some(&copy.path), &script, &["--comments"]);
    assert_eq!(server.dump(&copy.path), server.dump(&source.path));
    manager.restore(&BackupRef::Latest, &copy, replacing()).await.unwrap();
    assert_eq!(server.dump(&copy.path), server.dump(&source.path));
    assert!(!std::path::Path::new("hacked").exists());
}

/// Says this to whoever connects, and an OK to whatever he answers.
fn peer(greeting: Vec<u8>) -> DatabaseUrl {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mysql://me:canary@{}/db", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut client in listener.incoming().flatten() {
            let _ = client.write_all(&greeting);
            let mut bytes = [0; 1024];
            if client.read(&mut bytes).is_ok_and(|count| count > 0) {
                let _ = client.write_all(b"\x07\0\0\x02\0\0\0\x02\0\0\0");
                while client.read(&mut bytes).is_ok_and(|count| count > 0) {}
            }
        }
    });
    url.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_older_than_known_or_no_server_is_named() {
    let greeting = |version: &str| {
        let mut greeting = vec![0, 0, 0, 0, 10];
        greeting.extend(version.as_bytes());
        greeting.extend(b"\0\x07\0\0\x0012345678\0\xff\xf7\x2d\x02\0\x0f\0\x15\0\0\0\0\0\0\0\0\0\x00123456789012\0mysql_native_password\0");
        head(&mut greeting);
        greeting
    };
    for (said, kind, expected) in [
        (greeting("5.6.51-log"), ErrorKind::Unsupported, "MySQL 5.6.51-log is older"),
        (greeting("5.5.5-10.4.34-MariaDB"), ErrorKind::Unsupported, "MariaDB 10.4.34-MariaDB is older"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n".to_vec(), ErrorKind::Connect, "the server sent"),
        (b"+OK ready\r\n".to_vec(), ErrorKind::Connect, "the server sent"),
        (b"\x17\0\0\0\xff\x10\x04#08004Too many users".to_vec(), ErrorKind::Connect, "Too many users"),
    ] {
        let mut url = peer(said);
        url.options.push(("connect-timeout".to_owned(), "2".to_owned()));
        let error = ends("a backup of nothing", manager(&storage()).backup(&url)).await.unwrap_err();
        let told = error.to_string();
        assert!(error.kind() == kind && told.contains(expected), "{:?}: {told}", error.kind());
        assert!(!told.contains("canary"), "{told}");
    }
}
