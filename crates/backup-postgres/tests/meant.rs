//! Only what is meant is executed: text of a server's is one statement, and what took a table's name is not read.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::{ErrorKind, RestoreOptions};
use backup_testkit::proxy::{From, Proxy, Then};

mod backups;
mod server;
mod wire;

use backups::{backed_up, manager};
use wire::{address, by_way_of, changing};

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_is_really_two_statements_is_refused_and_neither_is_executed() {
    const TWO: &str = "'; CREATE TABLE public.evil (x int); SELECT '";
    for server in server::servers() {
        let source = server.create();
        let harmless = "a".repeat(TWO.len());
        server.psql(
            &source,
            &format!("CREATE VIEW v AS SELECT '{harmless}'::text AS x; CREATE TABLE t (x int)"),
        );
        let proxy = changing(address(&server), move |message| {
            let at = message.windows(harmless.len()).position(|bytes| bytes == harmless.as_bytes());
            if let Some(at) = at {
                message[at..at + TWO.len()].copy_from_slice(TWO.as_bytes());
            }
        });
        let manager = manager();
        manager.backup(&by_way_of(&proxy, &server, &source, "?sslmode=disable")).await.unwrap();
        let target = server.create();
        server.psql(&target, "CREATE TABLE precious (x int)");
        let before = server.dump(&target);
        for (table, drop_existing) in [("", true), ("v", false)] {
            let mut options = RestoreOptions::default();
            options.drop_existing = drop_existing;
            options.tables = (!table.is_empty()).then(|| table.parse().unwrap()).into_iter().collect();
            let error = manager.restore(&backup_core::BackupRef::Latest, &server.url(&target), options).await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains("42601") && error.contains("CREATE VIEW"), "{error}");
            assert_eq!(server.dump(&target), before);
            assert_eq!(server.databases(&target), [target.as_str()]);
        }
    }
}

/// A table is locked before it is read. Should somebody get past that, the server does not read a view in its place: whoever made that would
/// choose what we execute.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_in_the_place_of_a_table_is_not_read() {
    for server in server::servers() {
        let knows = "SELECT count(*) FROM pg_settings WHERE name = 'restrict_nonsystem_relation_kind'";
        if server.ask("postgres", knows).trim() != "1" {
            server::missing("the server has not restrict_nonsystem_relation_kind");
            continue;
        }
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE conf (x int); INSERT INTO conf VALUES (1), (2); ALTER EXTENSION plpgsql ADD TABLE conf;
             UPDATE pg_extension SET extconfig = ARRAY['conf'::regclass::oid], extcondition = ARRAY['WHERE x > 1'] WHERE extname = 'plpgsql';
             CREATE FUNCTION harm() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'harmed'; END $$; CREATE VIEW evil AS SELECT harm() AS x",
        );
        backed_up(&server, &source).await;
        let proxy = Proxy::start(address(&server), |_| {
            Box::new(|from, said| {
                let reads = b"FROM ONLY \"public\".\"conf\" WHERE";
                let at = said.windows(reads.len()).position(|bytes| bytes == reads);
                if let (From::Client, Some(at)) = (from, at) {
                    let swapped = b"FROM ONLY \"public\".\"evil\" WHERE";
                    said[at..at + swapped.len()].copy_from_slice(swapped);
                }
                Then::Pass
            })
        });
        let error =
            manager().backup(&by_way_of(&proxy, &server, &source, "?sslmode=disable")).await.unwrap_err();
        let told = error.to_string();
        assert!(told.contains("evil") && told.contains("restricted") && !told.contains("harmed"), "{told}");
        assert_eq!(error.kind(), ErrorKind::Locked, "{told}");
    }
}
