//! The judge: pg_dump cannot tell a restored copy from its source, by way of any format.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Ctx, Event, Format, Progress, Registry, RestoreOptions,
};

mod corpora;
mod server;
mod wicked;

use server::Server;

/// Prints what a person would be told.
struct Aloud;

impl Progress for Aloud {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(warning) = event {
            eprintln!("warning: {warning}");
        }
    }
}

fn manager(format: Format) -> BackupManager {
    let mut config = BackupConfig::default();
    config.format = format;
    config.jobs = 2;
    // psql reads scripts as they are.
    "none".clone_into(&mut config.codec);
    BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_postgres::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::new(Aloud)))
}

fn told(error: &backup_core::Error) -> String {
    let mut told = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        told += &format!("\n  because {error}");
        cause = error.source();
    }
    told
}

fn assert_same(expected: &str, found: &str, what: &str) {
    if expected != found {
        let directory = std::env::temp_dir();
        let paths = [directory.join("lifeboat-expected.txt"), directory.join("lifeboat-found.txt")];
        std::fs::write(&paths[0], expected).unwrap();
        std::fs::write(&paths[1], found).unwrap();
        let diff = std::process::Command::new("diff").args(&paths).output().unwrap();
        panic!("{what}:\n{}", String::from_utf8_lossy(&diff.stdout).chars().take(5000).collect::<String>());
    }
}

/// Backs up and restores by every format, and compares; then loads the script by psql.
async fn comes_back(server: &Server, source: &str, what: &str) {
    let expected = server.dump(source);
    for format in [Format::Binary, Format::Sql] {
        let what = format!("{what} by way of {format:?} on PostgreSQL {}", server.major());
        let manager = manager(format);
        let backup = manager.backup(&server.url(source)).await;
        let backup = backup.unwrap_or_else(|error| panic!("{what}: no backup: {}", told(&error)));
        let copy = server.create();
        let restored = manager
            .restore(&BackupRef::from(&backup.id), &server.url(&copy), RestoreOptions::default())
            .await;
        restored.unwrap_or_else(|error| panic!("{what}: no restore: {}", told(&error)));
        assert_same(&expected, &server.dump(&copy), &what);
        if format == Format::Binary {
            let directory = tempfile::tempdir().unwrap();
            let script = directory.path().join("backup.sql");
            manager.export(&BackupRef::from(&backup.id), &script, Format::Sql).await.unwrap();
            let copy = server.create();
            server.load(&copy, &script);
            assert_same(&expected, &server.dump(&copy), &format!("{what} and psql"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pagila_comes_back() {
    for server in server::servers() {
        let Some(source) = corpora::pagila(&server) else { return };
        comes_back(&server, &source, "pagila").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn chinook_comes_back() {
    for server in server::servers() {
        let Some(source) = corpora::chinook(&server) else { return };
        comes_back(&server, &source, "chinook").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_every_kind_comes_back() {
    for server in server::servers() {
        let source = server.create();
        wicked::everything(&server, &source);
        comes_back(&server, &source, "everything").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_was_altered_in_every_way_comes_back() {
    for server in server::servers() {
        let source = server.create();
        wicked::awkward(&server, &source);
        comes_back(&server, &source, "awkward").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_whose_objects_need_each_other_comes_back() {
    for server in server::servers() {
        let source = server.create();
        wicked::circles(&server, &source);
        comes_back(&server, &source, "circles").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_hostile_names_of_every_kind_comes_back() {
    for server in server::servers() {
        let source = server.create();
        wicked::hostile(&server, &source);
        comes_back(&server, &source, "hostile names").await;
        assert!(!std::path::Path::new("hacked").exists());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_comes_back() {
    for server in server::servers() {
        let source = server.create();
        server.psql(&source, include_str!("wicked/pgbench.sql"));
        comes_back(&server, &source, "pgbench").await;
    }
}

/// Databases that are there already, on any of the servers: `LIFEBOAT_TEST_POSTGRES_DATABASES` names them, apart by blanks.
#[tokio::test(flavor = "multi_thread")]
async fn the_databases_that_the_environment_names_come_back() {
    let named = std::env::var("LIFEBOAT_TEST_POSTGRES_DATABASES").unwrap_or_default();
    for server in server::servers() {
        for source in
            named.split_whitespace().filter(|name| server.databases(name).iter().any(|is| is == name))
        {
            comes_back(&server, source, source).await;
        }
    }
}
