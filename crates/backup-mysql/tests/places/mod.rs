//! The place in the binary log that a backup has is exactly that of its data.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupInfo, BackupManager, BackupRef, DatabaseUrl, Format, Registry, RestoreOptions,
};

use crate::server::Server;

fn manager(jobs: usize) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (Format::Binary, jobs);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
}

/// One event of the binary log: its file, its kind, where it ends, and what it is.
struct Event {
    file: String,
    kind: String,
    end: u64,
    info: String,
}

/// The log since a place.
fn events(server: &Server, file: &str, offset: u64) -> Vec<Event> {
    let files = server.ask(None, "SHOW BINARY LOGS");
    let files = files.lines().map(|line| line.split('\t').next().unwrap().to_owned());
    let mut events = Vec::new();
    for now in files.skip_while(|now| now != file) {
        let from = if now == file { format!(" FROM {offset}") } else { String::new() };
        for line in server.ask(None, &format!("SHOW BINLOG EVENTS IN '{now}'{from}")).lines() {
            let fields: Vec<_> = line.splitn(6, '\t').collect();
            let (kind, end, info) = (fields[2].to_owned(), fields[4].parse().unwrap(), fields[5].to_owned());
            events.push(Event { file: now.clone(), kind, end, info });
        }
    }
    events
}

/// Where the log is now.
fn now(server: &Server) -> (String, u64) {
    let status = if server.is_mariadb() { "SHOW MASTER STATUS" } else { "SHOW BINARY LOG STATUS" };
    let status = server.ask(None, status);
    let fields: Vec<_> = status.trim_end().split('\t').collect();
    (fields[0].to_owned(), fields[1].parse().unwrap())
}

/// Compares a backup with the log: of as many changes as come before its place its counter has counted.
async fn check(
    server: &Server,
    manager: &BackupManager,
    source: &DatabaseUrl,
    backup: &BackupInfo,
    start: &(String, u64),
) {
    let place = &backup.position.as_ref().unwrap().0;
    let (file, offset) = (place["file"].as_str().unwrap(), place["offset"].as_u64().unwrap());
    let gtid = place["gtid"].as_str().unwrap();
    let (mut before, mut last, mut next) = (0, None, None);
    let mut is_behind = false;
    for event in events(server, &start.0, start.1) {
        is_behind |= event.file == file && event.end > offset || event.file.as_str() > file;
        if event.kind.eq_ignore_ascii_case("gtid") {
            if is_behind {
                next.get_or_insert(event.info)
            } else {
                last.insert(event.info)
            };
        } else if event.kind == "Table_map"
            && event.info.contains(&format!("({}.counter)", source.path))
            && !is_behind
        {
            before += 1;
        }
    }
    let target = server.empty();
    manager.restore(&BackupRef::from(&backup.id), &target, RestoreOptions::default()).await.unwrap();
    let counted: u64 = server.ask(Some(&target.path), "SELECT n FROM counter").trim().parse().unwrap();
    assert_eq!(counted, before, "{place}");
    // And so have its transactions.
    let last = last.unwrap();
    if server.is_mariadb() {
        assert_eq!(last.rsplit(' ').next(), Some(gtid), "{last}");
    } else {
        let is_in =
            |set: &str| server.ask(None, &format!("SELECT GTID_SUBSET({set}, '{gtid}')")).trim() == "1";
        let set = |said: &str| said.split('=').nth(1).unwrap().trim().to_owned();
        assert!(is_in(&set(&last)), "{last} {gtid}");
        assert!(next.is_none_or(|next| !is_in(&set(&next))), "{gtid}");
    }
}

/// Changes go on all the while, from several connections.
async fn the_place_is_that_of_the_data(kind: &str) {
    let Some(server) = Server::find(kind) else { return };
    let server = Arc::new(server);
    let source = server.empty();
    server.run(
        Some(&source.path),
        &["CREATE TABLE counter (id INT PRIMARY KEY, n INT)", "INSERT INTO counter VALUES (1, 0)"]
            .map(str::to_owned),
    );
    let start = now(&server);
    let done = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..3)
        .map(|_| {
            let (server, done, source) = (Arc::clone(&server), Arc::clone(&done), source.path.clone());
            std::thread::spawn(move || {
                let mut changes = vec!["SET SESSION binlog_format = 'ROW'".to_owned()];
                changes.extend((0..100).map(|_| "UPDATE counter SET n = n + 1".to_owned()));
                while !done.load(Ordering::SeqCst) {
                    server.run(Some(&source), &changes);
                }
            })
        })
        .collect();
    // The first backup has something before it, too.
    while server.ask(Some(&source.path), "SELECT n FROM counter").trim() == "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut backups = Vec::new();
    for jobs in [1, 2, 4, 4, 3, 4] {
        let manager = manager(jobs);
        let backup = manager.backup(&source).await.unwrap();
        backups.push((manager, backup));
    }
    done.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.join().unwrap();
    }
    for (manager, backup) in &backups {
        check(&server, manager, &source, backup, &start).await;
    }
}

macro_rules! on {
    ($($server:ident)*) => {$(
        mod $server {
            #[tokio::test(flavor = "multi_thread")]
            async fn the_place_is_that_of_the_data() {
                super::the_place_is_that_of_the_data(stringify!($server)).await;
            }
        }
    )*};
}

on! { mariadb mariadb11 mysql }
