//! Trials of a database that is at work while it is backed up, and of contents that are awkward.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use backup_core::storage::{MemoryStorage, Storage};
use backup_core::{
    BackupConfig, BackupManager, BackupOptions, BackupRef, Ctx, DatabaseUrl, ErrorKind, Event, Format,
    Progress, Registry, RestoreOptions,
};
use backup_testkit::proxy::{From, Proxy, Then};
use tokio_postgres::NoTls;

mod server;

use server::Server;

fn manager(storage: &Arc<dyn Storage>, format: Format, jobs: usize) -> BackupManager {
    let mut config = BackupConfig::default();
    config.format = format;
    config.jobs = jobs;
    // psql reads scripts as they are.
    "none".clone_into(&mut config.codec);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::clone(storage))
}

fn storage() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_amid_transfers_between_accounts_all_sum_to_the_same() {
    for server in server::servers() {
        let source = server.create();
        let setup: String = (0..8)
            .map(|i| format!("CREATE TABLE account{i} (id int PRIMARY KEY, amount int NOT NULL); INSERT INTO account{i} SELECT n, 100 FROM generate_series(1, 200) n;"))
            .collect();
        server.psql(&source, &setup);
        let (done, transfers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut clients = Vec::new();
        for seed in 0..2usize {
            let (done, transfers) = (Arc::clone(&done), Arc::clone(&transfers));
            let (client, connection) =
                tokio_postgres::connect(&server.url_text(&source), NoTls).await.unwrap();
            tokio::spawn(connection);
            clients.push(tokio::spawn(async move {
                let mut number = seed;
                // Else the two may lie in wait for each other as long as a backup takes.
                client.batch_execute("SET deadlock_timeout = '10ms'").await.unwrap();
                while !done.load(Ordering::SeqCst) && !client.is_closed() {
                    number = number.wrapping_mul(1_103_515_245).wrapping_add(12345);
                    let (from, to, id) = (number / 64 % 8, number / 512 % 8, 1 + number / 4096 % 200);
                    let sql = format!(
                        "BEGIN; UPDATE account{from} SET amount = amount - 1 WHERE id = {id}; UPDATE account{to} SET amount = amount + 1 WHERE id = {id}; COMMIT"
                    );
                    // Two that deadlock try again.
                    match client.batch_execute(&sql).await {
                        Ok(()) => transfers.fetch_add(1, Ordering::SeqCst),
                        Err(_) => { let _ = client.batch_execute("ROLLBACK").await; 0 }
                    };
                }
            }));
        }
        let sum =
            (0..8).map(|i| format!("(SELECT sum(amount) FROM account{i})")).collect::<Vec<_>>().join(" + ");
        let (mut backups, mut amid) = (0, 0);
        for format in [Format::Binary, Format::Sql, Format::Compressed, Format::Binary] {
            let (storage, before) = (storage(), transfers.load(Ordering::SeqCst));
            let manager = manager(&storage, format, 4);
            let backup = manager.backup(&server.url(&source)).await.unwrap();
            let copy = server.create();
            manager
                .restore(&BackupRef::from(&backup.id), &server.url(&copy), RestoreOptions::default())
                .await
                .unwrap();
            assert_eq!(server.ask(&copy, &format!("SELECT {sum}")).trim(), "160000");
            amid += usize::from(transfers.load(Ordering::SeqCst) > before);
            backups += 1;
        }
        assert!(amid > 0, "nothing happened meanwhile");
        done.store(true, Ordering::SeqCst);
        for client in clients {
            client.await.unwrap();
        }
        println!("{backups} backups, {amid} of them amid {} transfers", transfers.load(Ordering::SeqCst));
    }
}

fn address(url: &DatabaseUrl) -> SocketAddr {
    let (host, port) = &url.hosts[0];
    format!("{host}:{}", port.unwrap()).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_changed_amid_the_rows_is_not_in_the_backup_and_what_would_change_them_waits() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE orders (id int PRIMARY KEY, note text); INSERT INTO orders SELECT i, md5(i::text) FROM generate_series(1, 20000) i;
             CREATE TABLE later (x int); INSERT INTO later VALUES (1);",
        );
        let expected = server.dump(&source);
        let (server, changes) = (Arc::new(server), Arc::new(AtomicUsize::new(0)));
        let mut url = server.url(&source);
        let proxy = Proxy::start(address(&url), {
            let (server, changes, source) = (Arc::clone(&server), Arc::clone(&changes), source.clone());
            move |_| {
                let (server, changes, source) = (Arc::clone(&server), Arc::clone(&changes), source.clone());
                Box::new(move |from, said| {
                    let digest = b"c4ca4238a0b923820dcc509a6f75849b";
                    if from == From::Server
                        && said.windows(digest.len()).any(|bytes| bytes == digest)
                        && changes.fetch_add(1, Ordering::SeqCst) == 0
                    {
                        for (table, change) in [
                            ("orders", "ALTER TABLE orders DROP COLUMN note"),
                            ("later", "DROP TABLE later"),
                            ("later", "TRUNCATE later"),
                            ("orders", "ALTER TABLE orders RENAME TO other"),
                        ] {
                            let waits = format!(
                                "DO $$ BEGIN SET LOCAL lock_timeout = '200ms'; {change}; RAISE EXCEPTION '{table} was changed'; EXCEPTION WHEN lock_not_available THEN NULL; END $$"
                            );
                            server.psql(&source, &waits);
                        }
                        server.psql(&source, "UPDATE orders SET note = 'changed'; DELETE FROM later; CREATE TABLE newcomer (x int); CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'");
                    }
                    Then::Pass
                })
            }
        });
        url.hosts = vec![("127.0.0.1".to_owned(), Some(proxy.address().port()))];
        url.options.push(("sslmode".to_owned(), "disable".to_owned()));
        let storage = storage();
        let manager = manager(&storage, Format::Binary, 2);
        let backup = manager.backup(&url).await.unwrap();
        assert!(changes.load(Ordering::SeqCst) > 0);
        let copy = server.create();
        manager
            .restore(&BackupRef::from(&backup.id), &server.url(&copy), RestoreOptions::default())
            .await
            .unwrap();
        assert!(server.dump(&copy) == expected, "on {}", server.major());
        assert!(server.dump(&source) != expected);
    }
}

/// Has others wait to alter tables from when the rows are about to be read on.
struct Altering {
    server: Arc<Server>,
    database: String,
    tables: Vec<&'static str>,
    waiting: Mutex<Vec<JoinHandle<()>>>,
}

impl Progress for Altering {
    fn event(&self, event: Event<'_>) {
        let mut waiting = self.waiting.lock().unwrap();
        if !matches!(event, Event::Planned { .. }) || !waiting.is_empty() {
            return;
        }
        waiting.extend(self.tables.iter().map(|table| {
            let (server, database) = (Arc::clone(&self.server), self.database.clone());
            let alter = format!("ALTER TABLE {table} ADD COLUMN late int");
            std::thread::spawn(move || drop(server.psql(&database, &alter)))
        }));
        let count = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        while self.server.ask(&self.database, count).trim() != self.tables.len().to_string() {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_to_alter_tables_keeps_no_session_from_reading_them() {
    for server in server::servers() {
        let source = server.create();
        let small: String = (0..60)
            .map(|i| format!("CREATE TABLE small_{i} (x int); INSERT INTO small_{i} VALUES ({i});"))
            .collect();
        let large: String = (0..6)
            .map(|i| {
                format!(
                    "CREATE TABLE large_{i} AS SELECT x, md5(x::text) AS y FROM generate_series(1, 20000) x;"
                )
            })
            .collect();
        server.psql(&source, &(small + &large));
        let expected = server.dump(&source);
        let altering = Arc::new(Altering {
            server: Arc::new(server),
            database: source.clone(),
            tables: vec![
                "small_3", "small_30", "small_31", "small_7", "large_0", "large_2", "large_3", "large_5",
            ],
            waiting: Mutex::default(),
        });
        let server = &altering.server;
        let url = format!("{}?lock_timeout=1000", server.url_text(&source)).parse().unwrap();
        let storage = storage();
        let ctx = Ctx::new().with_progress(Arc::clone(&altering) as Arc<dyn Progress>);
        let backup = manager(&storage, Format::Binary, 4).with_context(ctx).backup(&url).await.unwrap();
        for waiting in std::mem::take(&mut *altering.waiting.lock().unwrap()) {
            waiting.join().unwrap();
        }
        let altered = "SELECT count(*) FROM pg_attribute WHERE attname = 'late'";
        assert_eq!(server.ask(&source, altered).trim(), altering.tables.len().to_string());
        let copy = server.create();
        manager(&storage, Format::Binary, 4)
            .restore(&BackupRef::from(&backup.id), &server.url(&copy), RestoreOptions::default())
            .await
            .unwrap();
        assert!(server.dump(&copy) == expected, "on {}", server.major());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_ends_while_others_wait_to_alter_its_tables() {
    for server in server::servers() {
        let source = server.create();
        // More than is rendered ahead of its turn.
        let tables: String = (0..4)
            .map(|i| {
                format!(
                    "CREATE TABLE large_{i} AS SELECT x, repeat(md5(x::text), 40) AS y FROM generate_series(1, 12000) x;"
                )
            })
            .collect();
        server.psql(&source, &tables);
        let expected = server.dump(&source);
        let server = Arc::new(server);
        for jobs in [2, 3] {
            let altering = Arc::new(Altering {
                server: Arc::clone(&server),
                database: source.clone(),
                tables: vec!["large_0", "large_1", "large_2"],
                waiting: Mutex::default(),
            });
            let storage = storage();
            let ctx = Ctx::new().with_progress(Arc::clone(&altering) as Arc<dyn Progress>);
            // That it is to be a script is said for this one alone.
            let mut options = BackupOptions::default();
            options.format = Some(Format::Sql);
            let manager = manager(&storage, Format::Binary, jobs);
            let url = server.url(&source);
            let watched = manager.clone().with_context(ctx);
            let backup = watched.backup_with(&url, options);
            let backup = tokio::time::timeout(Duration::from_secs(60), backup).await;
            for waiting in std::mem::take(&mut *altering.waiting.lock().unwrap()) {
                waiting.join().unwrap();
            }
            let backup = backup.unwrap_or_else(|_| panic!("the backup does not end")).unwrap();
            let copy = server.create();
            let backup = BackupRef::from(&backup.id);
            manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
            assert!(server.dump(&copy) == expected, "{jobs} jobs on {}", server.major());
            server.psql(
                &source,
                "ALTER TABLE large_0 DROP late; ALTER TABLE large_1 DROP late; ALTER TABLE large_2 DROP late",
            );
        }
    }
}

/// Has somebody replace the rows of a table when these are about to be read, unless that would have to wait.
struct Refilling {
    server: Arc<Server>,
    database: String,
    asked: AtomicUsize,
}

impl Progress for Refilling {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Planned { .. }) && self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
            let refill = "DO $$ BEGIN SET LOCAL lock_timeout = '300ms'; TRUNCATE conf; INSERT INTO conf VALUES (7); EXCEPTION WHEN lock_not_available THEN NULL; END $$";
            self.server.psql(&self.database, refill);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_that_an_extension_is_configured_by_are_locked_like_others() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE conf (x int); INSERT INTO conf VALUES (1), (2), (3); ALTER EXTENSION plpgsql ADD TABLE conf;
             UPDATE pg_extension SET extconfig = ARRAY['conf'::regclass::oid], extcondition = ARRAY[''] WHERE extname = 'plpgsql'",
        );
        let server = Arc::new(server);
        for jobs in [1, 2] {
            let refilling = Arc::new(Refilling {
                server: Arc::clone(&server),
                database: source.clone(),
                asked: AtomicUsize::new(0),
            });
            let ctx = Ctx::new().with_progress(Arc::clone(&refilling) as Arc<dyn Progress>);
            let manager = manager(&storage(), Format::Binary, jobs).with_context(ctx);
            let backup = manager.backup(&server.url(&source)).await.unwrap();
            assert!(refilling.asked.load(Ordering::SeqCst) > 0);
            let backup = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
            let rows: Vec<_> =
                backup.tables.iter().map(|table| (table.table.name.as_str(), table.digest.rows)).collect();
            assert_eq!(rows, [("conf", 3)], "{jobs} jobs on {}", server.major());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_somebody_holds_is_an_error_that_says_so() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, "CREATE TABLE held (x int)");
        let (client, connection) = tokio_postgres::connect(&server.url_text(&source), NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute("BEGIN; LOCK TABLE held").await.unwrap();
        // Whichever ends first, the wait for a lock or what a statement may take.
        for (timeouts, kind, code) in [
            ("lock_timeout=300", ErrorKind::Locked, "55P03"),
            ("statement_timeout=300", ErrorKind::TimedOut, "57014"),
        ] {
            let url = format!("{}?{timeouts}", server.url_text(&source)).parse().unwrap();
            let error = manager(&storage(), Format::Binary, 2).backup(&url).await.unwrap_err();
            assert!(error.kind() == kind && error.to_string().contains(code), "{error}");
        }
        client.batch_execute("ROLLBACK").await.unwrap();
        manager(&storage(), Format::Binary, 2).backup(&server.url(&source)).await.unwrap();
    }
}

/// Somebody who does the same over and over, each statement by itself.
struct Busy {
    done: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    ended: tokio::task::JoinHandle<()>,
}

impl Busy {
    async fn with(server: &Server, database: &str, statements: &'static [&'static str]) -> Self {
        let (client, connection) = tokio_postgres::connect(&server.url_text(database), NoTls).await.unwrap();
        tokio::spawn(connection);
        let (done, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let ended = tokio::spawn({
            let (done, rounds) = (Arc::clone(&done), Arc::clone(&rounds));
            async move {
                while !done.load(Ordering::SeqCst) {
                    let round = rounds.fetch_add(1, Ordering::SeqCst).to_string();
                    for sql in statements {
                        client.batch_execute(&sql.replace("ROUND", &round)).await.unwrap();
                    }
                }
            }
        });
        Self { done, rounds, ended }
    }

    fn rounds(&self) -> usize {
        self.rounds.load(Ordering::SeqCst)
    }

    async fn end(self) {
        self.done.store(true, Ordering::SeqCst);
        self.ended.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_refreshes_and_drops_other_tables_all_the_while_is_no_hindrance() {
    for server in server::servers() {
        let source = server.create();
        let others: String = (0..100)
            .map(|i| format!("CREATE TABLE other_{i} (id int PRIMARY KEY, x text DEFAULT 'x');"))
            .collect();
        server.psql(
            &source,
            &format!(
                "{others} CREATE TABLE kept AS SELECT i AS x FROM generate_series(1, 1000) i;
                 CREATE MATERIALIZED VIEW sums AS SELECT sum(x) FROM kept; CREATE UNIQUE INDEX ON sums (sum); CREATE TABLE emptied (x int)"
            ),
        );
        let busy = Busy::with(
            &server,
            &source,
            &[
                "CREATE TABLE etl_ROUND (id serial PRIMARY KEY, x text DEFAULT 'x' CHECK (x <> ''))",
                "INSERT INTO etl_ROUND (x) SELECT 'row' FROM generate_series(1, 10)",
                "ANALYZE etl_ROUND",
                "REFRESH MATERIALIZED VIEW sums",
                "REINDEX TABLE emptied",
                "GRANT SELECT ON emptied TO PUBLIC",
                "DROP TABLE etl_ROUND",
            ],
        )
        .await;
        for jobs in [1, 2, 4] {
            let before = busy.rounds();
            let storage = storage();
            let manager = manager(&storage, Format::Binary, jobs);
            let backup = manager.backup(&server.url(&source)).await.unwrap();
            assert!(busy.rounds() > before + 1, "nothing happened meanwhile");
            let copy = server.create();
            let backup = BackupRef::from(&backup.id);
            manager.restore(&backup, &server.url(&copy), RestoreOptions::default()).await.unwrap();
            let sums = "SELECT sum(x) FROM kept UNION ALL SELECT sum FROM sums";
            assert_eq!(server.ask(&copy, sums), "500500\n500500\n", "{jobs} jobs on {}", server.major());
        }
        busy.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_altered_all_the_while_is_named_and_can_be_left_out() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, "CREATE TABLE kept (x int); CREATE VIEW changing AS SELECT 0 AS x");
        let busy =
            Busy::with(&server, &source, &["CREATE OR REPLACE VIEW changing AS SELECT ROUND AS x"]).await;
        let url = format!("{}?lock_timeout=1000", server.url_text(&source)).parse().unwrap();
        let storage = storage();
        let manager = manager(&storage, Format::Binary, 2);
        let error = manager.backup(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(error.to_string().contains("public.changing"), "{error}");
        assert!(!error.to_string().contains("kept"), "{error}");
        let mut options = BackupOptions::default();
        options.exclude = vec!["public.changing".parse().unwrap()];
        manager.backup_with(&url, options).await.unwrap();
        busy.end().await;
        manager.backup(&url).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_path_in_which_others_have_put_something_is_inert() {
    for server in server::servers() {
        let source = server.create();
        // Whoever may create in a schema that comes before pg_catalog can have anything called that is not named in full.
        server.psql(
            &source,
            &format!(
                "CREATE SCHEMA evil; CREATE TABLE evil.caught (what text);
                 CREATE FUNCTION evil.lower(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
                 CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
                 CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
                 CREATE FUNCTION evil.format_type(oid, int) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
                 CREATE FUNCTION evil.array_agg(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
                 CREATE FUNCTION evil.setval(regclass, bigint, boolean) RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
                 CREATE FUNCTION evil.equal(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
                 CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked'; END $$;
                 CREATE OPERATOR evil.= (FUNCTION = evil.equal, LEFTARG = oid, RIGHTARG = oid);
                 CREATE OPERATOR evil.= (FUNCTION = evil.same, LEFTARG = text, RIGHTARG = text);
                 CREATE VIEW evil.pg_class AS SELECT 1 / 0 AS oid; CREATE VIEW evil.pg_namespace AS SELECT 1 / 0 AS oid;
                 CREATE DOMAIN evil.int4 AS text;
                 CREATE TABLE public.t (id serial PRIMARY KEY, name text CHECK (name <> ''), at date DEFAULT now());
                 INSERT INTO public.t (name) VALUES ('a'), ('B'); CREATE INDEX ON public.t (lower(name)); CREATE UNIQUE INDEX ON public.t (name text_pattern_ops);
                 CREATE VIEW public.v AS SELECT lower(name) AS name FROM public.t WHERE name = 'a'; CREATE MATERIALIZED VIEW public.m AS SELECT * FROM public.v;
                 SELECT lo_from_bytea(4711, 'large');
                 ALTER DATABASE {source} SET search_path = evil, pg_catalog, public",
            ),
        );
        let expected = server.schema(&source);
        let rows = |database: &str| {
            server.ask(database, "SET search_path = pg_catalog; SELECT name, at FROM public.t ORDER BY 1; SELECT name FROM public.m; SELECT nextval('public.t_id_seq')")
        };
        for format in [Format::Binary, Format::Sql] {
            let storage = storage();
            let mut config = BackupConfig::default();
            (config.format, config.jobs) = (format, 2);
            // psql reads scripts as they are.
            "none".clone_into(&mut config.codec);
            let manager = BackupManager::new(config)
                .with_registry(Registry::new().with(&backup_postgres::ENGINE))
                .with_storage(storage);
            manager.backup(&server.url(&source)).await.unwrap();
            let copy = server.create();
            // The account may have such a path in the target, too.
            server.psql(
                "postgres",
                &format!("ALTER DATABASE {copy} SET search_path = evil, pg_catalog, public"),
            );
            manager.restore(&BackupRef::Latest, &server.url(&copy), RestoreOptions::default()).await.unwrap();
            assert_eq!(server.schema(&copy), expected);
            let directory = tempfile::tempdir().unwrap();
            let script = directory.path().join("script.sql");
            manager.export(&BackupRef::Latest, &script, Format::Sql).await.unwrap();
            let loaded = server.create();
            server.load(&loaded, &script);
            assert_eq!(server.schema(&loaded), expected);
            assert_eq!(rows(&copy), rows(&loaded));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_no_encoding_allows_come_back_as_they_are() {
    for server in server::servers() {
        for (encoding, insert) in [
            // PostgreSQL takes any bytes but NUL for SQL_ASCII.
            (
                "SQL_ASCII",
                "INSERT INTO t VALUES (E'\\xff\\xfe caf\\xe9 \\xed\\xa0\\x80'), (E'\\xc3\\xa9'), (E'\\\\ \\t \\r \\n \\b')",
            ),
            ("LATIN1", "INSERT INTO t VALUES (E'caf\\xe9 \\xa4')"),
            ("UTF8", "INSERT INTO t VALUES (E'caf\\u00e9 \\U0001F600 \\u202e')"),
            ("EUC_JP", "INSERT INTO t VALUES (convert_from('\\xa4a2', 'EUC_JP'))"),
        ] {
            let source = server.create();
            server.psql("postgres", &format!("DROP DATABASE {source}"));
            server.psql("postgres", &format!("CREATE DATABASE {source} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"));
            let own = format!("SET client_encoding = '{encoding}'; CREATE TABLE t (x text); {insert}");
            server.psql(&source, &own);
            let bytes = "SELECT string_agg(encode(textsend(x), 'hex') || ':' || encode(convert_to(x, getdatabaseencoding()), 'hex'), ',' ORDER BY encode(convert_to(x, getdatabaseencoding()), 'hex')) FROM t";
            let digest = format!("SET client_encoding = '{encoding}'; {bytes}");
            let expected = server.ask(&source, &digest);
            for format in [Format::Binary, Format::Sql] {
                let storage = storage();
                let manager = manager(&storage, format, 2);
                let backup = manager.backup(&server.url(&source)).await.unwrap();
                // A script says the encoding of its rows, whatever that of the session is which loads it.
                let directory = tempfile::tempdir().unwrap();
                let script = directory.path().join("backup.sql");
                manager.export(&BackupRef::from(&backup.id), &script, Format::Sql).await.unwrap();
                let loaded = format!("{source}_{format:?}_psql").to_lowercase();
                server.expect(&loaded);
                server.psql("postgres", &format!("CREATE DATABASE {loaded} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"));
                server.load(&loaded, &script);
                assert_eq!(
                    server.ask(&loaded, &digest),
                    expected,
                    "{encoding} by psql on {}",
                    server.major()
                );
                let copy = format!("{source}_{format:?}").to_lowercase();
                server.expect(&copy);
                let mut options = RestoreOptions::default();
                options.create_database = true;
                manager.restore(&BackupRef::from(&backup.id), &server.url(&copy), options).await.unwrap();
                assert_eq!(
                    server.ask(&copy, &digest),
                    expected,
                    "{encoding} by way of {format:?} on {}",
                    server.major()
                );
            }
        }
    }
}
