//! The place in the write-ahead log that a backup has is exactly that of its data.

use std::process::{Command, Stdio};

use backup_core::{BackupInfo, BackupRef, RestoreOptions};

use crate::private::Private;

const HBA: &str = "host all all 127.0.0.1/32 trust";

/// What is counted.
const SETUP: &str = "CREATE TABLE counter (id int PRIMARY KEY, n int); INSERT INTO counter VALUES (1, 0); CREATE TABLE stop ();
    CREATE TABLE kept (n int); CREATE PUBLICATION counted FOR TABLE counter WITH (publish = 'update')";

/// A slot that is told what is committed, and where.
const JUDGE: &str = "SELECT pg_create_logical_replication_slot('judge', 'pgoutput')";

/// Counts in transactions of their own, with time to spare between them, until it is told to stop.
const COUNT: &str = "DO $$ BEGIN
    WHILE to_regclass('stop') IS NOT NULL LOOP
        UPDATE counter SET n = n + 1; COMMIT; PERFORM pg_sleep(random() * 0.02);
    END LOOP; END $$";

/// How many times it had been counted at a place, as the log says: whatever was updated and committed up to there.
fn counted(server: &Private, lsn: &str) -> String {
    let sql = format!(
        "WITH said AS (SELECT lsn, xid, get_byte(data, 0) AS what
                       FROM pg_logical_slot_peek_binary_changes('judge', NULL, NULL, 'proto_version', '1', 'publication_names', 'counted'))
         SELECT count(*) FROM said WHERE what = ascii('C') AND lsn <= '{lsn}' AND xid::text IN (SELECT xid::text FROM said WHERE what = ascii('U'))"
    );
    server.ask("shop", &sql)
}

fn lsn(backup: &BackupInfo) -> Option<String> {
    Some(backup.position.as_ref()?.0["lsn"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_place_is_that_of_the_data_or_there_is_none() {
    for bin in Private::programs() {
        let server = Private::start(&bin, HBA, "wal_level = logical\nmax_prepared_transactions = 1", &[]);
        server.ask("postgres", "CREATE DATABASE shop");
        server.ask("shop", SETUP);
        server.ask("shop", JUDGE);
        let source = server.url("owner@127.0.0.1:PORT/shop");
        let socket = server.path("");
        let mut writers: Vec<_> = (0..3)
            .map(|_| {
                let mut psql = Command::new(bin.join("psql"));
                psql.args(["--no-psqlrc", "--username=owner", "--dbname=shop", "--command", COUNT]);
                psql.arg("--host").arg(&socket).arg(format!("--port={}", server.port));
                psql.stdin(Stdio::null()).spawn().unwrap()
            })
            .collect();
        // The first backup has something before it, too.
        while server.ask("shop", "SELECT n FROM counter").trim() == "0" {
            assert!(writers.iter_mut().all(|writer| writer.try_wait().unwrap().is_none()));
        }
        let mut backups = Vec::new();
        for jobs in [1, 2, 4, 1, 2, 4] {
            let manager = crate::manager_of(jobs);
            let backup = manager.backup(&source).await.unwrap();
            backups.push((manager, backup));
        }
        server.ask("shop", "DROP TABLE stop");
        for writer in &mut writers {
            assert!(writer.wait().unwrap().success());
        }
        let placed: Vec<_> =
            backups.iter().filter_map(|(manager, backup)| Some((manager, backup, lsn(backup)?))).collect();
        assert!(!placed.is_empty(), "no backup found a moment at which nobody wrote");
        for (manager, backup, lsn) in placed {
            let target = server.url("owner@127.0.0.1:PORT/copy");
            let mut options = RestoreOptions::default();
            (options.create_database, options.drop_existing) = (true, true);
            manager.restore(&BackupRef::from(&backup.id), &target, options).await.unwrap();
            assert_eq!(server.ask("copy", "SELECT n FROM counter"), counted(&server, &lsn), "{lsn}");
        }

        // Where somebody writes all the while, it is not known what is before its place.
        let manager = crate::manager_of(2);
        server.ask("shop", "BEGIN; INSERT INTO kept VALUES (1); PREPARE TRANSACTION 'kept'");
        assert_eq!(lsn(&manager.backup(&source).await.unwrap()), None);
        server.ask("shop", "COMMIT PREPARED 'kept'");
        assert!(lsn(&manager.backup(&source).await.unwrap()).is_some());
    }
}
