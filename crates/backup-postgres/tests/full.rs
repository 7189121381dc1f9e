//! A server without space for what is restored.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::{ErrorKind, RestoreOptions};

mod backups;
#[path = "../../../tests/src/disk.rs"]
#[allow(dead_code, unreachable_pub, reason = "it is of another crate, and not all of it is of use here")]
mod disk;
mod private;
mod server;

use disk::Disk;
use private::Private;
use server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_is_told_and_the_target_stays_as_it_was() {
    for bin in Private::programs() {
        let private = Private::start(&bin, "host all all 127.0.0.1/32 trust", "", &[]);
        let Some(_disk) = Disk::mount(private.path("small"), "size=24m") else {
            eprintln!("NOT TESTED: nothing can be mounted here");
            return;
        };
        private.own(&private.path("small"));
        let server = Server::new(&format!("postgres://owner@127.0.0.1:{}/postgres", private.port));
        let source = server.create();
        server.psql(
            &source,
            "CREATE TABLE large AS SELECT i, repeat(md5(i::text), 10) AS x FROM generate_series(1, 60000) i",
        );
        let (manager, backup) = backups::backed_up(&server, &source).await;
        let space = format!("CREATE TABLESPACE small LOCATION '{}'", private.path("small").display());
        server.psql("postgres", &space);
        let target = server.create();
        server.psql(&target, "CREATE TABLE precious (x int)");
        server.psql("postgres", &format!("ALTER DATABASE {target} SET TABLESPACE small"));
        let before = server.dump(&target);
        // Whether another database takes its place or a table comes beside what is there.
        let (mut whole, mut beside) = (RestoreOptions::default(), RestoreOptions::default());
        whole.drop_existing = true;
        beside.tables = vec!["large".parse().unwrap()];
        for options in [whole, beside] {
            let error = manager.restore(&backup, &server.url(&target), options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
            assert!(error.to_string().contains("53100") && error.advice().is_some(), "{error}");
            assert_eq!(server.dump(&target), before);
            assert_eq!(server.databases(&target), [target.as_str()]);
        }
        // With the disk the tablespace goes.
        drop((server, private));
    }
}
