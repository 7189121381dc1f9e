//! A repository that fails under a backup, at every call in turn; and two backups at once.

use std::sync::Arc;

use backup_core::{DatabaseUrl, ErrorKind, Format};

use super::EngineFixture;
use super::repository::{Repository, assert_same, told};
use super::restore::sample;
use crate::faults::{Call, Counting, FailNth, Faulty};

/// The calls that a backup makes, unless its repository fails.
async fn calls(fixture: &dyn EngineFixture, source: &DatabaseUrl, format: Format) -> u64 {
    let repository = Repository::new(fixture).unverified().format(format);
    let counting = Arc::new(Counting::default());
    repository.behind(Faulty::around(Arc::clone(&repository.storage), counting.clone())).backup(source).await;
    Call::ALL.into_iter().map(|call| counting.of(call)).sum()
}

/// Nothing is listed, and the next backup works, over whatever the failed ones left.
pub async fn a_backup_whose_repository_fails_anywhere_leaves_nothing(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let expected = fixture.dump(&source).await;
    for format in [Format::Binary, Format::Compressed, Format::Sql] {
        if format == Format::Sql && fixture.factory().script.is_none() {
            continue;
        }
        let calls = calls(fixture, &source, format).await;
        let repository = Repository::new(fixture).unverified().format(format);
        let mut listed = 0;
        for n in 1..=calls {
            let fault = Arc::new(FailNth::with_kind(&Call::ALL, n, ErrorKind::NoSpace));
            let faulty = repository.behind(Faulty::around(Arc::clone(&repository.storage), fault.clone()));
            let done = faulty.manager().backup(&source).await;
            match done {
                // What failed ones stored is not stored again, so later ones make fewer calls.
                Ok(_) => listed += 1,
                Err(error) => {
                    let what = format!("{format:?}, call {n} of {calls}: {}", told(&error));
                    assert!(fault.has_failed(), "{what}");
                    assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}");
                }
            }
            assert_eq!(
                repository.listed().await,
                listed,
                "{format:?}: failing at call {n} of {calls} left a backup, or lost one"
            );
        }
        let copy = repository.copy(&source).await;
        assert_same(
            &expected,
            &fixture.dump(&copy).await,
            &format!("the copy after failed backups as {format:?}"),
        );
    }
}

/// Both are listed, verified, and restore.
pub async fn two_backups_at_once_are_both_good(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let expected = fixture.dump(&source).await;
    let repository = Repository::new(fixture);
    // The first backup makes the repository; at once, they would both make one.
    repository.manager().init().await.expect("a repository is made");
    let (one, two) = tokio::join!(repository.backup(&source), repository.backup(&source));
    assert_ne!(one.id, two.id);
    assert_eq!(repository.listed().await, 2);
    for backup in [one, two] {
        assert!(backup.verified.is_some(), "{backup:?}");
        let target = fixture.empty().await;
        repository.restore(&backup, &target).await;
        assert_same(&expected, &fixture.dump(&target).await, "the copy of one of two backups");
    }
}
