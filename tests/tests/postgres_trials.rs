//! Trials of the real binary with PostgreSQL: signals, values that are large.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use end_to_end::Place;

#[path = "../../crates/backup-postgres/tests/server/mod.rs"]
mod server;

use server::Server;

fn start(place: &Place, arguments: &[&str]) -> Child {
    place.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn backup(place: &Place, server: &Server, database: &str) -> String {
    let url = server.url_text(database);
    place.run(&["backup", &url, "--quiet", "--format", "binary", "-j", "2"]).trim().to_owned()
}

/// Waits until `ready`, and not for ever.
fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(120), "{what} never comes");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn terminate(child: &Child) {
    let kill = std::process::Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
}

/// Our sessions with databases whose names begin like this.
fn sessions(server: &Server, database: &str) -> usize {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lifeboat' AND starts_with(datname, '{database}')"
    );
    server.ask("postgres", &sql).trim().parse().unwrap()
}

#[test]
fn a_signal_lets_go_of_the_server() {
    for server in server::servers() {
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE held (x text); INSERT INTO held SELECT md5(i::text) FROM generate_series(1, 1000) i; CREATE TABLE other (x int)",
        );
        let place = Place::new();
        let url = server.url_text(&source);
        // It waits for a lock that nobody gives it.
        let holder = std::thread::spawn({
            let (url, done) = (url.clone(), place.path("done"));
            move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let (client, connection) =
                        tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                    tokio::spawn(connection);
                    client.batch_execute("BEGIN; LOCK TABLE held").await.unwrap();
                    while !done.exists() {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                });
            }
        });
        let held = format!(
            "SELECT count(*) FROM pg_locks WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = '{source}')"
        );
        let locked = format!(
            "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' AND relation::regclass::text LIKE '%' AND database = (SELECT oid FROM pg_database WHERE datname = '{source}')"
        );
        wait_for("the lock", || server.ask("postgres", &locked).trim() != "0");
        let mut child = start(&place, &["backup", &url, "--format", "binary", "-j", "2"]);
        wait_for("the wait for the lock", || server.ask("postgres", &held).trim() != "0");
        assert!(sessions(&server, &source) > 0);
        terminate(&child);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        wait_for("the end of its sessions", || sessions(&server, &source) == 0);
        assert_eq!(place.files("backups/backups").len(), 0);
        std::fs::write(place.path("done"), "").unwrap();
        holder.join().unwrap();

        // The same amid a restore, whatever it is at.
        let id = backup(&place, &server, &source);
        let target = server.create();
        server.psql(&target, "CREATE TABLE precious (x int)");
        let restored = server.dump(&source);
        let mut expected = server.dump(&target);
        let url = server.url_text(&target);
        let mut stopped = 0;
        for milliseconds in (20..=160).step_by(20) {
            let mut child = start(&place, &["restore", &id, "--target", &url, "--drop-existing", "--yes"]);
            std::thread::sleep(Duration::from_millis(milliseconds));
            terminate(&child);
            let ended = child.wait().unwrap();
            match ended.code() {
                Some(0) => expected.clone_from(&restored),
                Some(130) => stopped += 1,
                // It did not even listen yet.
                _ => assert_eq!(ended.signal(), Some(15), "{ended}"),
            }
            wait_for("the end of its sessions", || sessions(&server, &target) == 0);
            assert_eq!(server.databases(&target), [target.as_str()], "after {milliseconds} ms: {ended}");
            assert!(server.dump(&target) == expected, "after {milliseconds} ms: {ended}");
        }
        assert!(stopped > 0, "no signal came amid a restore");
    }
}

#[test]
fn a_value_that_is_large_comes_back_in_little_memory_and_one_that_is_too_large_is_an_error() {
    for server in server::servers() {
        let source = server.create();
        // As text twice as many bytes, of one row.
        server.psql(
            &source,
            "CREATE TABLE t (id int, x bytea); ALTER TABLE t ALTER x SET STORAGE EXTERNAL;
             INSERT INTO t SELECT 1, decode(repeat(md5('a') || md5('b'), 4000000), 'hex');
             INSERT INTO t VALUES (2, 'small');
             SELECT lo_from_bytea(4711, decode(repeat(md5('c'), 2000000), 'hex'));",
        );
        let place = Place::new();
        let url = server.url_text(&source);
        let backup = place.peak(&["backup", &url, "--quiet", "--format", "binary", "-j", "2"]);
        let target = server.create();
        let restore = place.peak(&["restore", "latest", "--target", &server.url_text(&target), "-j", "2"]);
        assert!(server.contents(&target) == server.contents(&source));
        println!("a row of 256 MB as text: backup {backup} MiB, restore {restore} MiB");
        assert!(backup < 200 && restore < 200, "backup {backup} MiB, restore {restore} MiB");
        // The server itself cannot say this one: then there is no backup.
        server.psql(&source, "INSERT INTO t SELECT 3, x || x || x || x || x FROM t WHERE id = 1");
        let listed = place.run(&["list", "--quiet"]).matches(&source).count();
        let said = place.fails(1, &["backup", &url, "--format", "binary"]);
        assert!(said.contains("SQLSTATE"), "{said}");
        assert_eq!(place.run(&["list", "--quiet"]).matches(&source).count(), listed);
    }
}
