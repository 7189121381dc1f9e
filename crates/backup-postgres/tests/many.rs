//! More objects than a server's lock table has room for, and than a plan should have parts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Ctx, ErrorKind, Event, Format, Progress, Registry, RestoreOptions,
};

mod private;
mod server;

use private::Private;
use server::Server;

/// A server whose lock table has room for few locks, and more tables than that.
const SMALL: &str = "max_locks_per_transaction = 10\nmax_connections = 20\nmax_wal_senders = 0\nmax_worker_processes = 1\nautovacuum = off\nautovacuum_max_workers = 1";
const TABLES: usize = 1000;

fn manager(progress: Arc<dyn Progress>) -> BackupManager {
    let mut config = BackupConfig::default();
    config.format = Format::Binary;
    config.jobs = 2;
    config.verify = false;
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(progress))
}

/// Has somebody lock a table when the rows are about to be read, and others of its kind a while later.
struct Locking {
    server: Arc<Server>,
    database: String,
    locks: Mutex<Option<JoinHandle<()>>>,
}

impl Progress for Locking {
    fn event(&self, event: Event<'_>) {
        let mut locks = self.locks.lock().unwrap();
        if !matches!(event, Event::Planned { .. }) || locks.is_some() {
            return;
        }
        let (server, database) = (Arc::clone(&self.server), self.database.clone());
        let others: Vec<String> = (420..430).map(|i| format!("t_{i}")).collect();
        // What is waited for is looked at for a deadlock once, after a second.
        let sql =
            format!("BEGIN; LOCK TABLE t_43; SELECT pg_sleep(1.5); LOCK TABLE {}; COMMIT", others.join(", "));
        *locks = Some(std::thread::spawn(move || drop(server.psql(&database, &sql))));
        let held = "SELECT count(*) FROM pg_locks WHERE granted AND relation = 't_43'::regclass";
        while self.server.ask(&self.database, held).trim() != "1" {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// Does something when the rows are about to be read.
struct Meanwhile {
    server: Server,
    database: String,
    sql: &'static str,
    done: AtomicBool,
}

impl Meanwhile {
    fn new(server: Server, database: &str, sql: &'static str) -> Self {
        Self { server, database: database.to_owned(), sql, done: AtomicBool::new(sql.is_empty()) }
    }
}

impl Progress for Meanwhile {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Planned { .. }) && !self.done.swap(true, Ordering::SeqCst) {
            self.server.psql(&self.database, self.sql);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_tables_than_can_be_locked_are_backed_up_and_what_changes_meanwhile_is_named() {
    for bin in Private::programs() {
        let small = Private::start(&bin, "host all all 127.0.0.1/32 trust", SMALL, &[]);
        more_than_can_be_locked(&format!("postgres://owner@127.0.0.1:{}/postgres", small.port)).await;
    }
}

async fn more_than_can_be_locked(url: &str) {
    let server = Server::new(url);
    let source = server.create();
    let make = format!(
        "DO $$ BEGIN FOR i IN 1..{TABLES} LOOP EXECUTE format('CREATE TABLE t_%s (a int NOT NULL, b int)', i);
           IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END $$;
         INSERT INTO t_42 VALUES (1, 2); INSERT INTO t_43 SELECT i, i FROM generate_series(1, 1000) i;"
    );
    server.psql(&source, &make);
    assert!(!server.can_dump(&source), "pg_dump has room to lock all of them");
    let undisturbed = manager(Arc::new(Meanwhile::new(Server::new(url), &source, "")));
    let backup = undisturbed.backup(&server.url(&source)).await.unwrap();
    let details = undisturbed.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
    assert_eq!(details.tables.len(), TABLES);
    assert_eq!(backup.rows, 1001);
    let copy = server.create();
    let mut options = RestoreOptions::default();
    options.tables = vec!["t_43".parse().unwrap()];
    undisturbed.restore(&BackupRef::Latest, &server.url(&copy), options).await.unwrap();
    assert_eq!(server.ask(&copy, "SELECT sum(a + b) FROM t_43").trim(), "1001000");
    // A session that waits for a table has locked no other that the one waited for may want.
    let locking = Arc::new(Locking {
        server: Arc::new(Server::new(url)),
        database: source.clone(),
        locks: Mutex::default(),
    });
    let beside_locks = manager(Arc::clone(&locking) as Arc<dyn Progress>);
    assert_eq!(beside_locks.backup(&server.url(&source)).await.unwrap().rows, 1001);
    let locks = locking.locks.lock().unwrap().take().unwrap();
    locks.join().unwrap();
    // Whoever truncates leaves nothing that a snapshot could show; other changes are found out at the end; and what takes a table's name
    // is not executed.
    for sql in [
        "TRUNCATE t_43",
        "ALTER TABLE t_43 ADD COLUMN c int",
        "CREATE FUNCTION evil() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'executed'; END $$;
         ALTER TABLE t_43 RENAME TO gone; CREATE VIEW t_43 AS SELECT evil() AS a, evil() AS b, evil() AS c",
    ] {
        let disturbed = manager(Arc::new(Meanwhile::new(Server::new(url), &source, sql)));
        let error = disturbed.backup(&server.url(&source)).await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains("t_43") && !told.contains("executed"), "{sql}: {told}");
        assert!(matches!(error.kind(), ErrorKind::Locked | ErrorKind::Database), "{sql}: {error:?}");
        assert!(disturbed.list_backups().await.unwrap().is_empty(), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_large_objects_are_some_hundred_parts_and_come_back() {
    let Some(server) = server::server() else { return };
    let source = server.create();
    server.psql(
        &source,
        "SELECT count(lo_from_bytea(500000 + i * 3, convert_to(repeat('large ' || i, i % 100), 'UTF8'))) FROM generate_series(1, 3000) i;
         SELECT lo_put(500003, 3000000, 'far behind')",
    );
    let manager = manager(Arc::new(Meanwhile::new(server::server().unwrap(), &source, "")));
    let backup = manager.backup(&server.url(&source)).await.unwrap();
    let details = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
    assert!(details.parts.len() < 1500, "{} parts", details.parts.len());
    let copy = server.create();
    manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
    assert_eq!(server.contents(&source), server.contents(&copy));
}
