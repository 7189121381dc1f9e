//! More objects than a server's lock table has room for, more than a plan should have parts, and tables of more blocks than one part reads.

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
mod wire;

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

/// Locks keep tables, but not the names of their schemas.
#[tokio::test(flavor = "multi_thread")]
async fn tables_that_take_the_names_of_others_amid_the_rows_are_named() {
    for (server, other) in server::servers().into_iter().zip(server::servers()) {
        let source = server.create();
        server.psql(
            &source,
            "CREATE SCHEMA app; CREATE TABLE app.t (a int); INSERT INTO app.t VALUES (1); CREATE SCHEMA app_new; CREATE TABLE app_new.t (a int)",
        );
        let swap = "ALTER SCHEMA app RENAME TO old; ALTER SCHEMA app_new RENAME TO app; ALTER SCHEMA old RENAME TO app_new";
        let error = manager(Arc::new(Meanwhile::new(other, &source, swap)))
            .backup(&server.url(&source))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(error.to_string().contains("others took the names of these"), "{error}");
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

/// Tables of three parts and of two, on pages of one row each: some of the rows are dead, and in the middle there are none.
const SPARSE: &str = "
CREATE UNLOGGED TABLE sparse (id int PRIMARY KEY, x text) WITH (fillfactor = 10, autovacuum_enabled = off);
INSERT INTO sparse SELECT i, repeat(md5(i::text), 20) FROM generate_series(0, 19999) i;
DELETE FROM sparse WHERE id BETWEEN 8000 AND 16500;
UPDATE sparse SET x = 'moved' WHERE id % 100 = 0;
CREATE TYPE kind AS ENUM ('a', 'b');
CREATE TABLE by_kind (kind kind, id int, x text) PARTITION BY HASH (kind);
CREATE UNLOGGED TABLE by_kind_0 PARTITION OF by_kind FOR VALUES WITH (MODULUS 1, REMAINDER 0) WITH (fillfactor = 10, autovacuum_enabled = off);
INSERT INTO by_kind SELECT CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END::kind, i, repeat(md5(i::text), 20) FROM generate_series(0, 8999) i;
DELETE FROM by_kind WHERE id < 4000";

#[tokio::test(flavor = "multi_thread")]
async fn a_large_table_is_read_by_ranges_of_blocks_and_none_of_its_rows_is_lost() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, SPARSE);
        let expected = server.dump(&source);
        let manager =
            manager(Arc::new(Meanwhile::new(Server::new(&server.url_text("postgres")), &source, "")));
        let backup = manager.backup(&server.url(&source)).await.unwrap();
        let details = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
        let pieces = |name: &str| {
            let of_rows = |part: &&backup_core::Part| {
                part.object.name == name && matches!(part.kind, backup_core::PartKind::Rows { .. })
            };
            details.parts.iter().map(|part| &part.part).filter(of_rows).count()
        };
        assert_eq!([pieces("sparse"), pieces("by_kind_0")], [3, 2]);
        let copy = server.create();
        manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
        assert_eq!(server.dump(&copy), expected, "on {}", server.major());
    }
}

/// How many statements a backup of the objects alone takes, and how long.
async fn statements(server: &Server, source: &str) -> (usize, std::time::Duration) {
    use backup_testkit::proxy::{From, Proxy, Then};
    let count = Arc::new(Mutex::new(0));
    let proxy = Proxy::start(wire::address(server), {
        let count = Arc::clone(&count);
        move |_| {
            let count = Arc::clone(&count);
            Box::new(move |from, said| {
                // Those of the simple protocol, and those that are parsed first: a message of either is said at once.
                let is_statement = from == From::Client && matches!(said.first(), Some(b'Q' | b'P'));
                *count.lock().unwrap() += usize::from(is_statement);
                Then::Pass
            })
        }
    });
    let url = wire::by_way_of(&proxy, server, source, "?sslmode=disable");
    let manager = manager(Arc::new(Meanwhile::new(Server::new(&server.url_text("postgres")), source, "")));
    let mut options = backup_core::BackupOptions::default();
    options.content = backup_core::Content::SchemaOnly;
    let began = std::time::Instant::now();
    manager.backup_with(&url, options).await.unwrap();
    let count = *count.lock().unwrap();
    (count, began.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_tables_take_as_many_statements_as_a_few_and_no_more_time_than_they_have_to() {
    // One is enough: what asks is the same.
    let Some(server) = server::servers().pop() else { return };
    let make = |tables: usize| {
        format!(
            "CREATE DOMAIN checked AS int; CREATE FUNCTION small(checked) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 < 10'; ALTER DOMAIN checked ADD CHECK (small(VALUE));
             CREATE TABLE root (k int, x checked) PARTITION BY RANGE (k);
             DO $$ BEGIN FOR i IN 1..{tables} LOOP
               IF i % 10 = 0 THEN EXECUTE format('CREATE TABLE p_%s PARTITION OF root FOR VALUES FROM (%s) TO (%s)', i, i, i + 1);
               ELSE EXECUTE format('CREATE TABLE t_%s (a checked, b int DEFAULT 1)', i); END IF;
               IF i % 50 = 0 THEN COMMIT; END IF; END LOOP; END $$"
        )
    };
    let mut taken = Vec::new();
    for tables in [100, 1000, 10_000] {
        let source = server.create();
        server.psql(&source, &make(tables));
        taken.push(statements(&server, &source).await);
    }
    println!("statements and time: {taken:?}");
    // Tables are locked some hundred at a time.
    assert!(taken[0].0 < 150 && taken[2].0 < taken[0].0 + 60, "{taken:?}");
    assert!(taken[2].1 < taken[1].1 * 40, "{taken:?}");
}
