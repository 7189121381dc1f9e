//! Scratch databases: a backup is proven by restoring it, and nothing of that is left.

use std::time::{Duration, Instant};

use backup_core::{BackupRef, ErrorKind, RestoreRequest};

use super::EngineFixture;
use super::repository::{Repository, told};
use super::restore::{Held, other, sample};

/// A backup is restored beside a target, compared as equal, and the target and everything around it are as before: whether nothing is
/// there or a database that somebody needs. An engine that makes no scratch databases says that it cannot.
pub async fn a_scratch_database_is_compared_and_leaves_nothing(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    fixture.everything(&source).await;
    let repository = Repository::new(fixture);
    let backup = repository.backup(&source).await;
    let tables = repository.manager().get_backup(&BackupRef::from(&backup.id)).await;
    let tables =
        tables.unwrap_or_else(|error| panic!("it is not there: {}", told(&error))).tables.len() as u64;
    for (target, exists) in
        [(fixture.empty().await, false), (other(fixture).await, true), (source.clone(), true)]
    {
        let before = Held::at(fixture, &target, exists).await;
        let compared = repository.manager().verify_restore(&BackupRef::from(&backup.id), &target).await;
        match compared {
            Ok(report) => {
                assert!(report.is_equal(), "{report:?}");
                assert_eq!((report.equal, report.rows), (tables, backup.rows));
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", told(&error)),
        }
        assert_eq!(Held::at(fixture, &target, exists).await, before, "something was left at {target}");
    }
}

/// A scratch database goes when it is discarded and when it is dropped, with a restore that was begun in it and not finished.
pub async fn a_scratch_database_that_is_cut_off_leaves_nothing(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let target = fixture.empty().await;
    let before = fixture.traces(&target).await;
    let ctx = backup_core::Ctx::new();
    let bind = |url| (fixture.factory().from_url)(url).unwrap_or_else(|error| panic!("{}", told(&error)));
    for discard in [true, false] {
        let scratch = match bind(&target).scratch(&ctx).await {
            Ok(scratch) => scratch,
            Err(error) => return assert_eq!(error.kind(), ErrorKind::Unsupported, "{}", told(&error)),
        };
        let session = bind(&source).begin_backup(&ctx, backup_core::BackupRequest::new(1)).await;
        let session = session.unwrap_or_else(|error| panic!("{}", told(&error)));
        let parts = session.plan(&ctx).await.unwrap_or_else(|error| panic!("{}", told(&error)));
        let mut request = RestoreRequest::new(1);
        request.create_database = true;
        let restore = scratch.engine().begin_restore(&ctx, request, parts.into()).await;
        let restore = restore.unwrap_or_else(|error| panic!("{}", told(&error)));
        if discard {
            drop(restore);
            scratch.discard().await.unwrap_or_else(|error| panic!("{}", told(&error)));
        } else {
            drop((restore, scratch));
            // Nobody has waited for it.
            let deadline = Instant::now() + Duration::from_secs(60);
            while fixture.traces(&target).await != before && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        assert_eq!(fixture.traces(&target).await, before, "discarded: {discard}");
    }
}
