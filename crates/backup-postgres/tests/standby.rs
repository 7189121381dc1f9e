//! A standby as the source, servers told apart by what they are, and one that is restarted in the midst of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Ctx, DatabaseUrl, ErrorKind, Event, Format, Progress, Registry,
    RestoreOptions,
};

mod places;
mod private;
mod server;

use private::Private;
use server::Server;

const HBA: &str = "local replication all trust\nhost all all 127.0.0.1/32 trust";

fn manager() -> BackupManager {
    manager_of(2)
}

fn manager_of(jobs: usize) -> BackupManager {
    let mut config = BackupConfig::default();
    (config.format, config.jobs) = (Format::Binary, jobs);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
}

/// Waits until the standby has done what the primary did.
fn catch_up(primary: &Private, standby: &Private) {
    let end = primary.ask("postgres", "SELECT pg_current_wal_insert_lsn()");
    let arrived = format!("SELECT pg_last_wal_replay_lsn() >= '{}'", end.trim());
    let start = Instant::now();
    while standby.ask("postgres", &arrived).trim() != "t" {
        assert!(start.elapsed() < Duration::from_secs(60), "the standby does not follow");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_backed_up_and_told_from_its_primary() {
    for bin in Private::programs() {
        let primary = Private::start(&bin, HBA, "", &[]);
        primary.ask("postgres", "CREATE DATABASE shop");
        primary.ask(
            "shop",
            "CREATE TABLE orders (id serial PRIMARY KEY, at date, note text);
             INSERT INTO orders (at, note) SELECT date '2024-01-01' + i % 700, repeat(md5(i::text), 40) FROM generate_series(1, 60000) i;
             CREATE TABLE parts (id int, x text) PARTITION BY RANGE (id);
             CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000); INSERT INTO parts SELECT i, i FROM generate_series(0, 999) i;
             CREATE MATERIALIZED VIEW days AS SELECT at, count(*) FROM orders GROUP BY at;
             CREATE UNLOGGED TABLE scratch (x int); CREATE SEQUENCE free; SELECT nextval('free');
             SELECT lo_from_bytea(4711, 'large')",
        );
        let standby = primary.standby();
        // It comes behind the copy, so it streams.
        primary.ask(
            "shop",
            "INSERT INTO orders (note) VALUES ('late'); CREATE INDEX ON orders (at); REFRESH MATERIALIZED VIEW days",
        );
        // A sequence that counts is ahead on a standby: by what it may still give without being logged.
        primary.ask("shop", "SELECT setval('free', 7), setval('orders_id_seq', 70000)");
        catch_up(&primary, &standby);
        let place = |server: &Private| format!("127.0.0.1:{}", server.port);
        let url = |hosts: &str, attributes: &str| -> DatabaseUrl {
            format!("postgres://owner@{hosts}/shop?target_session_attrs={attributes}").parse().unwrap()
        };
        let both = format!("{},{}", place(&primary), place(&standby));
        let judge = Server::new(&format!("postgres://owner@{}/postgres", place(&primary)));
        let expected = judge.dump("shop");

        let manager = manager();
        for attributes in ["standby", "read-only", "prefer-standby"] {
            let backup = manager.backup(&url(&both, attributes)).await.unwrap();
            // Only a standby lacks these rows.
            let warnings = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap().warnings;
            assert!(warnings.iter().any(|w| w.contains("scratch")), "{attributes}: {warnings:?}");
            assert!(backup.position.is_none());
        }
        // Of the two only the primary can be restored into, which comes second here.
        let back = format!("{},{}", place(&standby), place(&primary));
        for attributes in ["primary", "read-write"] {
            let mut options = RestoreOptions::default();
            options.create_database = true;
            options.target_database = Some(attributes.to_owned());
            manager.restore(&BackupRef::Latest, &url(&back, attributes), options).await.unwrap();
            assert_eq!(judge.dump(attributes), expected, "{attributes}");
        }
        let mut options = RestoreOptions::default();
        (options.create_database, options.target_database) = (true, Some("none".to_owned()));
        let alone = url(&place(&standby), "any");
        let refused = manager.restore(&BackupRef::Latest, &alone, options).await.unwrap_err();
        assert!(refused.to_string().contains("standby"), "{refused}");
        let nowhere = manager.probe(&url(&place(&standby), "primary")).await.unwrap_err();
        assert!(nowhere.to_string().contains("target_session_attrs"), "{nowhere}");
    }
}

/// Restarts the server when the first rows of a backup, or of a restore, have gone by.
struct Restarts {
    server: Arc<Private>,
    done: AtomicBool,
}

impl Progress for Restarts {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Advanced { rows: 1.., .. }) && !self.done.swap(true, Ordering::SeqCst) {
            self.server.control(&["restart", "--mode=immediate"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_in_the_midst_of_it_ends_a_backup_and_a_restore_and_nothing_is_lost() {
    for bin in Private::programs() {
        let server = Arc::new(Private::start(&bin, HBA, "", &[]));
        server.ask("postgres", "CREATE DATABASE shop");
        server.ask(
            "shop",
            "CREATE TABLE orders (id int PRIMARY KEY, note text); CREATE TABLE others (id int PRIMARY KEY, note text);
             INSERT INTO orders SELECT i, (SELECT string_agg(md5((i * 50 + j)::text), '') FROM generate_series(1, 40) j) FROM generate_series(1, 12000) i;
             INSERT INTO others SELECT * FROM orders",
        );
        let judge = Server::new(&format!("postgres://owner@127.0.0.1:{}/postgres", server.port));
        let expected = judge.dump("shop");
        let url = server.url("owner@127.0.0.1:PORT/shop");
        let manager = manager();
        let restarting = || {
            let restarts = Restarts { server: Arc::clone(&server), done: AtomicBool::new(false) };
            manager.clone().with_context(Ctx::new().with_progress(Arc::new(restarts)))
        };
        let error = restarting().backup(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        assert!(manager.list_backups().await.unwrap().is_empty());
        // It is there again.
        manager.backup(&url).await.unwrap();
        let mut options = RestoreOptions::default();
        options.drop_existing = true;
        let error = restarting().restore(&BackupRef::Latest, &url, options.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
        assert_eq!(judge.dump("shop"), expected);
        server.ask("shop", "DELETE FROM orders");
        manager.restore(&BackupRef::Latest, &url, options).await.unwrap();
        assert_eq!(judge.dump("shop"), expected);
        assert_eq!(judge.databases("shop"), ["shop"]);
    }
}
