//! What others do to a target while it is restored into, and what becomes of a restore whose end was not heard of.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use backup_core::{Content, Ctx, DatabaseUrl, ErrorKind, Event, Progress, RestoreOptions, Stage};
use backup_testkit::proxy::{From, Proxy, Then};
use backup_testkit::told::Told;

mod backups;
mod server;

use backups::backed_up;
use server::Server;

/// What only the statements say that put a database in the place of another.
const SWAP: &str = "RENAME TO";

/// A way to a database on which `hear` is called with all that is said.
fn listened(
    server: &Server,
    database: &str,
    hear: impl Fn(From, &mut Vec<u8>) -> Then + Clone + Send + 'static,
) -> (Proxy, DatabaseUrl) {
    let mut url = server.url(database);
    let (host, port) = &url.hosts[0];
    let address: SocketAddr = format!("{host}:{}", port.unwrap()).parse().unwrap();
    let proxy = Proxy::start(address, move |_| Box::new(hear.clone()));
    url.hosts = vec![("127.0.0.1".to_owned(), Some(proxy.address().port()))];
    url.options.push(("sslmode".to_owned(), "disable".to_owned()));
    (proxy, url)
}

fn says(said: &[u8], text: &str) -> bool {
    said.windows(text.len()).any(|bytes| bytes == text.as_bytes())
}

/// Executes `sql` in a database when that is about to be swapped for the first time.
fn amid_the_swap(server: &Arc<Server>, database: &str, sql: &'static str) -> (Proxy, DatabaseUrl) {
    let (server, done) = (Arc::clone(server), Arc::new(AtomicBool::new(false)));
    let target = database.to_owned();
    listened(&Arc::clone(&server), database, move |from, said| {
        if from == From::Client && says(said, SWAP) && !done.swap(true, Ordering::SeqCst) {
            // It may be ended as others are; what is there is looked at later.
            let _ = (0..5).find(|_| {
                std::thread::sleep(Duration::from_millis(300));
                catch_unwind(AssertUnwindSafe(|| server.psql(&target, sql))).is_ok()
            });
        }
        Then::Pass
    })
}

/// What would be another if the database were: its number, its connection limit, the databases that are beside it, and what it holds.
fn state(server: &Server, database: &str) -> String {
    let number = format!("SELECT oid, datconnlimit FROM pg_database WHERE datname = '{database}'");
    let beside = server.databases(database).join(" ");
    format!("{} {beside} {}", server.ask("postgres", &number), server.dump(database))
}

fn sample(server: &Server) -> String {
    let source = server.create();
    server.psql(&source, "CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1)");
    source
}

/// Does something when the restored database is about to become the target.
struct AtTheEnd<F>(Mutex<Option<F>>);

impl<F: FnOnce() + Send> Progress for AtTheEnd<F> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Stage(Stage::Publish))
            && let Some(act) = self.0.lock().unwrap().take()
        {
            act();
        }
    }
}

fn at_the_end(act: impl FnOnce() + Send + 'static) -> Ctx {
    Ctx::new().with_progress(Arc::new(AtTheEnd(Mutex::new(Some(act)))))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_empty_and_is_not_any_more_stays() {
    for server in server::servers() {
        let server = Arc::new(server);
        let (manager, backup) = backed_up(&server, &sample(&server)).await;
        let refused = |error: backup_core::Error, target: &str| {
            assert_eq!(error.kind(), ErrorKind::TargetNotEmpty, "{error}");
            assert!(error.to_string().contains(&format!("database {target} ")), "{error}");
        };
        // It is noticed before the swap, when nobody's session is ended yet.
        let target = server.create();
        let (client, connection) =
            tokio_postgres::connect(&server.url_text(&target), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let filled = Arc::new(Mutex::new(String::new()));
        let ctx = at_the_end({
            let (server, target, filled) = (Arc::clone(&server), target.clone(), Arc::clone(&filled));
            move || {
                server.psql(&target, "CREATE TABLE precious AS SELECT 1 AS x");
                *filled.lock().unwrap() = server.dump(&target)
                    + &server
                        .ask("postgres", &format!("SELECT oid FROM pg_database WHERE datname = '{target}'"));
            }
        });
        let restored = manager.clone().with_context(ctx);
        let restored = restored.restore(&backup, &server.url(&target), RestoreOptions::default()).await;
        refused(restored.unwrap_err(), &target);
        let now = server.dump(&target)
            + &server.ask("postgres", &format!("SELECT oid FROM pg_database WHERE datname = '{target}'"));
        assert_eq!(now, *filled.lock().unwrap());
        assert_eq!(server.databases(&target), [target.as_str()]);
        client.batch_execute("SELECT * FROM precious").await.unwrap();

        // And at the last moment, at which nobody can be kept out yet.
        let target = server.create();
        server.psql("postgres", &format!("ALTER DATABASE {target} CONNECTION LIMIT 7"));
        let sql = "CREATE TABLE IF NOT EXISTS precious AS SELECT 1 AS x";
        let expected = {
            let like = server.create();
            server.psql(&like, sql);
            server.dump(&like)
        };
        let number = format!("SELECT oid, datconnlimit FROM pg_database WHERE datname = '{target}'");
        let before = server.ask("postgres", &number);
        let (_proxy, url) = amid_the_swap(&server, &target, sql);
        refused(manager.restore(&backup, &url, RestoreOptions::default()).await.unwrap_err(), &target);
        assert_eq!(server.ask("postgres", &number), before);
        assert_eq!(server.dump(&target), expected);
        assert_eq!(server.databases(&target), [target.as_str()]);
        refused(manager.restore(&backup, &url, RestoreOptions::default()).await.unwrap_err(), &target);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_held_on_to_at_the_last_moment_stays() {
    for server in server::servers() {
        let server = Arc::new(server);
        let (manager, backup) = backed_up(&server, &sample(&server)).await;
        for drop_existing in [false, true] {
            let target = server.create();
            let sql = "SET client_min_messages = error;
                       CREATE SUBSCRIPTION held CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE)";
            let (_proxy, url) = amid_the_swap(&server, &target, sql);
            let mut options = RestoreOptions::default();
            options.drop_existing = drop_existing;
            let error = manager.restore(&backup, &url, options.clone()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
            assert!(
                error.to_string().contains(&format!("{target} cannot be replaced: a subscription")),
                "{error}"
            );
            assert_eq!(server.databases(&target), [target.as_str()]);
            let held = "SELECT subname FROM pg_subscription s JOIN pg_database d ON d.oid = subdbid AND datname = current_database()";
            assert_eq!(server.ask(&target, held), "held\n");
            server.psql(&target, "DROP SUBSCRIPTION held");
            manager.restore(&backup, &url, options).await.unwrap();
            assert_eq!(server.ask(&target, "SELECT id FROM orders"), "1\n");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_be_ended_and_leaves_in_time_makes_no_failure_of_a_restore() {
    for server in server::servers() {
        let server = Arc::new(server);
        let (manager, backup) = backed_up(&server, &sample(&server)).await;
        let target = server.create();
        server.psql(&target, "CREATE TABLE old (x int)");
        let role = format!("lb_patient_{}", server.major());
        server.psql(
            "postgres",
            &format!(
                "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN CREATEDB PASSWORD 'only for tests'; ALTER DATABASE {target} OWNER TO {role}"
            ),
        );
        let url = server.url_text(&target);
        let (_, place) = url.rsplit_once('@').unwrap();
        let url: DatabaseUrl = format!("postgres://{role}:only%20for%20tests@{place}").parse().unwrap();
        let superuser: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::default();
        let ctx = at_the_end({
            let (server, target, superuser) = (Arc::clone(&server), target.clone(), Arc::clone(&superuser));
            move || {
                let there = Arc::clone(&server);
                let name = target.clone();
                *superuser.lock().unwrap() =
                    Some(std::thread::spawn(move || drop(there.psql(&name, "SELECT pg_sleep(2)"))));
                let sleeps = format!(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = '{target}' AND query ~ '^SELECT pg_sleep'"
                );
                while server.ask("postgres", &sleeps).trim() != "1" {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        let mut options = RestoreOptions::default();
        (options.drop_existing, options.no_owner) = (true, true);
        let restored = manager.clone().with_context(ctx).restore(&backup, &url, options).await;
        let superuser = superuser.lock().unwrap().take();
        superuser.unwrap().join().unwrap();
        restored.unwrap();
        assert_eq!(server.ask(&target, "SELECT id FROM orders"), "1\n");
        assert_eq!(server.databases(&target), [target.as_str()]);
        server.psql("postgres", &format!("DROP DATABASE {target}; DROP ROLE {role}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_answer_to_the_swap_is_lost_it_is_asked_what_became_of_it() {
    for server in server::servers() {
        let (manager, backup) = backed_up(&server, &sample(&server)).await;
        let mut options = RestoreOptions::default();
        options.drop_existing = true;
        for is_heard in [false, true] {
            let target = server.create();
            server.psql(&target, "CREATE TABLE old (x int)");
            let before = state(&server, &target);
            let (swapping, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
            let (_proxy, url) = listened(&server, &target, move |from, said| {
                if done.load(Ordering::SeqCst) {
                    return Then::Pass;
                }
                let swaps = from == From::Client && says(said, SWAP);
                let is_lost = if is_heard {
                    from == From::Server && swapping.load(Ordering::SeqCst) && says(said, "COMMIT")
                } else {
                    swaps
                };
                swapping.fetch_or(swaps, Ordering::SeqCst);
                if is_lost {
                    done.store(true, Ordering::SeqCst);
                    said.clear();
                    return Then::Cut;
                }
                Then::Pass
            });
            let restored = manager.restore(&backup, &url, options.clone()).await;
            if is_heard {
                restored.unwrap();
                assert_eq!(server.ask(&target, "SELECT id FROM orders"), "1\n");
                assert_eq!(server.databases(&target), [target.as_str()]);
            } else {
                let error = restored.unwrap_err();
                assert!(error.kind() == ErrorKind::Connect && error.to_string().contains(&target), "{error}");
                assert_eq!(state(&server, &target), before);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_not_claimed_and_nothing_is_dropped() {
    let Some(server) = server::server() else { return };
    let (manager, backup) = backed_up(&server, &sample(&server)).await;
    let mut options = RestoreOptions::default();
    options.drop_existing = true;
    let target = server.create();
    let unfinished = format!("{target}-lifeboat-restoring");
    server.expect(&unfinished);
    let is_gone = Arc::new(AtomicBool::new(false));
    let (_proxy, url) = listened(&server, &target, move |from, said| {
        is_gone.fetch_or(from == From::Client && says(said, SWAP), Ordering::SeqCst);
        if is_gone.load(Ordering::SeqCst) {
            said.clear();
            return Then::Cut;
        }
        Then::Pass
    });
    let error = manager.restore(&backup, &url, options.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error}");
    let told = error.to_string();
    assert!(told.contains(&format!("it is not known whether {target} is the restored database")), "{told}");
    assert!(told.contains(&unfinished) && !told.contains("as it was"), "{told}");
    assert_eq!(server.databases(&target), [target.clone(), unfinished]);
    manager.restore(&backup, &server.url(&target), options).await.unwrap();
    assert_eq!(server.databases(&target), [target.as_str()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_alone_that_do_not_all_come_leave_sequences_as_they_were() {
    const FAR: &str = "SELECT last_value, is_called FROM a_id_seq UNION ALL SELECT last_value, is_called FROM b UNION ALL SELECT last_value, is_called FROM z";
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE a (id int GENERATED ALWAYS AS IDENTITY (START 5), x int); INSERT INTO a (x) VALUES (1), (2);
             CREATE SEQUENCE b; SELECT setval('b', 41); CREATE SEQUENCE z; SELECT setval('z', 42)",
        );
        let (manager, backup) = backed_up(&server, &source).await;
        let target = server.create();
        let mut options = RestoreOptions::default();
        options.content = Content::SchemaOnly;
        manager.restore(&backup, &server.url(&target), options.clone()).await.unwrap();
        server.psql(&target, "SELECT setval('b', 9)");
        let (before, dump) = (server.ask(&target, FAR), server.dump(&target));
        let (_proxy, url) = listened(&server, &target, |from, said| {
            if from == From::Client && says(said, "setval('\"public\".\"z\"'") {
                said.clear();
                return Then::Cut;
            }
            Then::Pass
        });
        options.content = Content::DataOnly;
        manager.restore(&backup, &url, options.clone()).await.unwrap_err();
        assert_eq!(server.ask(&target, FAR), before, "on {}", server.major());
        assert_eq!(server.dump(&target), dump);
        manager.restore(&backup, &server.url(&target), options.clone()).await.unwrap();
        assert_eq!(server.dump(&target), server.dump(&source));

        // Who does not own them sets them all the same, and is told.
        if server.major() < 15 {
            continue;
        }
        let role = format!("lb_setter_{}", server.major());
        server.psql(
            &target,
            &format!(
                "DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN PASSWORD 'only for tests'; GRANT SET ON PARAMETER session_replication_role TO {role};
                 DELETE FROM a; SELECT setval('b', 9); GRANT SELECT, INSERT ON a TO {role}; GRANT SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {role}"
            ),
        );
        let text = server.url_text(&target);
        let (_, place) = text.rsplit_once('@').unwrap();
        let url: DatabaseUrl = format!("postgres://{role}:only%20for%20tests@{place}").parse().unwrap();
        let told = Arc::new(Told::default());
        let manager = manager.with_context(Ctx::new().with_progress(told.clone()));
        let restored = manager.restore(&backup, &url, options).await;
        server.psql(&target, &format!("DROP OWNED BY {role}; DROP ROLE {role}"));
        restored.unwrap();
        assert_eq!(server.dump(&target), server.dump(&source));
        for name in ["public.a_id_seq", "public.b", "public.z"] {
            assert!(told.has(name), "{name}: {:?}", told.warnings());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_would_wait_for_each_other_are_refused() {
    use backup_core::{Object, Part, PartId, Phase, RestoreRequest};
    for server in server::servers() {
        let target = server.create();
        let part = |id: u32, gate: &str| {
            let object = Object::new("function", format!("{gate}_{id}"));
            let spec = serde_json::json!({ "gate": gate, "owners-from": 1 });
            Part::sql(id, Phase::PreData, object).spec(spec)
        };
        let engine = (backup_postgres::ENGINE.from_url)(&server.url(&target)).unwrap();
        let begin = |parts: Vec<Part>| {
            let engine = Arc::clone(&engine);
            async move { engine.begin_restore(&Ctx::new(), RestoreRequest::new(1), parts.into()).await }
        };
        let circle = vec![part(0, "contents"), part(1, "objects").after([PartId(0)])];
        let error = begin(circle).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        let told = error.to_string();
        assert!(told.contains("objects_1") && told.contains("contents_0"), "{told}");
        let order = vec![part(0, "objects"), part(1, "objects").after([PartId(0)]), part(2, "rows")];
        let session = begin(order).await.unwrap();
        session.abort(&Ctx::new()).await.unwrap();
        assert_eq!(server.databases(&target), [target.as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_had_and_a_deadlock_are_told_and_tables_stay_as_they_were() {
    for server in server::servers() {
        let server = Arc::new(server);
        let source = server.create();
        let shop = "CREATE TABLE customers (id int PRIMARY KEY); CREATE TABLE orders (id int PRIMARY KEY); INSERT INTO orders VALUES (1)";
        server.psql(&source, shop);
        let (manager, backup) = backed_up(&server, &source).await;
        let target = server.create();
        server.psql(&target, &format!("{shop}; INSERT INTO orders VALUES (2)"));
        let before = state(&server, &target);
        let mut options = RestoreOptions::default();
        options.drop_existing = true;
        options.tables = vec!["customers".parse().unwrap(), "orders".parse().unwrap()];
        // The restore has the one table and wants the other, which somebody has who may want the one.
        for (timeout, wants, code) in
            [("lock_timeout=300", "", "55P03"), ("lock_timeout=20000", "LOCK TABLE customers;", "40P01")]
        {
            let other = std::thread::spawn({
                let (server, target) = (Arc::clone(&server), target.clone());
                move || {
                    let waits =
                        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'orders'::regclass";
                    // Whoever looks for a deadlock gives way.
                    server.psql(
                        &target,
                        &format!(
                            "SET deadlock_timeout = '1min'; BEGIN; LOCK TABLE orders;
                             DO $$ BEGIN WHILE ({waits}) = 0 LOOP PERFORM pg_sleep(0.02); END LOOP; END $$;
                             {wants} SELECT pg_sleep(0.5); COMMIT"
                        ),
                    )
                }
            });
            let held = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND relation = 'orders'::regclass";
            while server.ask(&target, held).trim() != "1" {
                std::thread::sleep(Duration::from_millis(20));
            }
            let url = format!("{}?{timeout}", server.url_text(&target)).parse().unwrap();
            let error = manager.restore(&backup, &url, options.clone()).await.unwrap_err();
            other.join().unwrap();
            assert!(error.to_string().contains(code), "{error}");
            assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
            assert!(error.advice().is_some(), "{error}");
            assert_eq!(state(&server, &target), before);
        }
        manager.restore(&backup, &server.url(&target), options).await.unwrap();
        assert_eq!(server.ask(&target, "SELECT id FROM orders"), "1\n");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_account_may_not_keep_of_the_target_is_told_before_anything_is_loaded() {
    for server in server::servers() {
        let (manager, backup) = backed_up(&server, &sample(&server)).await;
        let target = server.create();
        let (owner, grantor) = (format!("lb_owner_of_{target}"), format!("lb_grantor_of_{target}"));
        server.expect_role(&owner);
        server.expect_role(&grantor);
        server.psql(
            &target,
            &format!(
                "CREATE ROLE {owner} LOGIN CREATEDB PASSWORD 'only for tests'; CREATE ROLE {grantor}; ALTER DATABASE {target} OWNER TO {owner};
                 CREATE TABLE precious (x int); GRANT CREATE ON DATABASE {target} TO {grantor} WITH GRANT OPTION;
                 SET ROLE {grantor}; GRANT CREATE ON DATABASE {target} TO PUBLIC"
            ),
        );
        let before = state(&server, &target);
        let url = server.url_text(&target);
        let (_, place) = url.rsplit_once('@').unwrap();
        let url: DatabaseUrl = format!("postgres://{owner}:only%20for%20tests@{place}").parse().unwrap();
        let mut options = RestoreOptions::default();
        (options.drop_existing, options.no_owner) = (true, true);
        let is_late = Arc::new(AtomicBool::new(false));
        let ctx = at_the_end({
            let is_late = Arc::clone(&is_late);
            move || is_late.store(true, Ordering::SeqCst)
        });
        let restored = manager.clone().with_context(ctx);
        let error = restored.restore(&backup, &url, options.clone()).await.unwrap_err();
        assert!(!is_late.load(Ordering::SeqCst), "{error}");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(error.to_string().contains("keep what belonged to the database"), "{error}");
        assert_eq!(state(&server, &target), before);
        server.psql(&target, &format!("SET ROLE {grantor}; REVOKE CREATE ON DATABASE {target} FROM PUBLIC"));
        manager.restore(&backup, &url, options).await.unwrap();
        assert_eq!(server.ask(&target, "SELECT id FROM orders"), "1\n");
    }
}
