//! What an engine promises, through nothing but its public face. Whole backups and restores are tested with the manager, in
//! the workspace's `tests/`; the parts themselves in `src/round_trip.rs`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use backup_core::{BackupRequest, Ctx, ErrorKind, PartKind, Phase};

mod wicked;

fn engine(path: &std::path::Path) -> std::sync::Arc<dyn backup_core::Engine> {
    let url = format!("sqlite:{}", path.display()).parse().unwrap();
    (backup_sqlite::ENGINE.from_url)(&url).unwrap()
}

#[tokio::test]
async fn probe_says_what_holds_for_this_file() {
    let directory = tempfile::tempdir().unwrap();
    let (wal, rollback) = (directory.path().join("wal.db"), directory.path().join("rollback.db"));
    wicked::wicked(&wal);
    wicked::wicked_utf16(&rollback, "UTF-16le");
    let server = engine(&wal).probe(&Ctx::new()).await.unwrap();
    let capabilities = server.capabilities;
    assert!(capabilities.concurrent_writers && capabilities.parallel_snapshot && capabilities.atomic_replace);
    assert!(server.log.is_none());
    assert!(!engine(&rollback).probe(&Ctx::new()).await.unwrap().capabilities.concurrent_writers);
    let missing = engine(&directory.path().join("missing.db")).probe(&Ctx::new()).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn the_plan_is_the_same_whatever_the_number_of_jobs() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wicked.db");
    wicked::wicked(&path);
    let ctx = Ctx::new();
    let mut plans = Vec::new();
    for jobs in [1, 4] {
        let session = engine(&path).begin_backup(&ctx, BackupRequest::new(jobs)).await.unwrap();
        plans.push(session.plan(&ctx).await.unwrap());
        session.finish(&ctx).await.unwrap();
    }
    assert_eq!(plans[0], plans[1]);
    let plan = &plans[0];
    assert!(plan.iter().any(|part| part.object.name == "alien" && part.phase == Phase::PreData));
    let shadow =
        plan.iter().find(|part| part.object.name == "docs_content" && part.kind != PartKind::Sql).unwrap();
    assert_eq!(shadow.object.selected_as(), "docs");
}

#[tokio::test]
async fn a_log_is_refused_in_so_many_words() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.db");
    wicked::wicked(&path);
    let position = backup_core::Position(serde_json::Value::Null);
    let Err(error) = engine(&path).open_log(&Ctx::new(), &position).await else { panic!("there is no log") };
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("full"), "{error}");
}

#[tokio::test]
async fn a_cancelled_operation_ends_as_cancelled() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("x.db");
    wicked::wicked(&path);
    let ctx = Ctx::new();
    let session = engine(&path).begin_backup(&ctx, BackupRequest::new(2)).await.unwrap();
    ctx.cancel();
    assert_eq!(session.plan(&ctx).await.unwrap_err().kind(), ErrorKind::Cancelled);
}
