//! Restoring: where, what, and what is left when it fails.

use std::collections::BTreeSet;
use std::sync::Arc;

use backup_core::{BackupRef, Ctx, DatabaseUrl, ErrorKind};

use super::content::rows;
use super::repository::{Repository, assert_same, told};
use super::{EngineFixture, Table};
use crate::faults::{Call, Counting, FailNth, Faulty};

/// A database with some tables, one of them of several chunks.
pub(super) async fn sample(fixture: &dyn EngineFixture) -> DatabaseUrl {
    let url = fixture.empty().await;
    for name in ["one", "two", "three"] {
        fixture.table(&url, Table::keyed(name)).await;
        fixture.insert(&url, name, &rows(0..100, 50)).await;
    }
    for start in (100..6100).step_by(500) {
        fixture.insert(&url, "two", &rows(start..start + 500, 1000)).await;
    }
    url
}

/// A database that is something else.
pub(super) async fn other(fixture: &dyn EngineFixture) -> DatabaseUrl {
    let url = fixture.empty().await;
    fixture.table(&url, Table::keyed("precious")).await;
    fixture.insert(&url, "precious", &rows(7..9, 20)).await;
    url
}

/// What a place holds, to be compared with what it holds later.
#[derive(Debug, PartialEq)]
pub(crate) struct Held {
    traces: BTreeSet<String>,
    dump: Option<String>,
}

impl Held {
    /// `exists` says whether there is a database to dump.
    pub(crate) async fn at(fixture: &dyn EngineFixture, url: &DatabaseUrl, exists: bool) -> Self {
        let dump = if exists { Some(fixture.dump(url).await) } else { None };
        Self { traces: fixture.traces(url).await, dump }
    }
}

/// A pattern selects a table, and what it needs, and nothing else.
pub async fn one_table_is_restored_alone(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    let names = fixture.hostile_names();
    let wanted = names.first().map_or("two", String::as_str);
    for name in ["one", wanted, "three"] {
        fixture.table(&source, Table::keyed(name)).await;
        fixture.insert(&source, name, &rows(0..100, 50)).await;
    }
    let alone = fixture.empty().await;
    fixture.table(&alone, Table::keyed(wanted)).await;
    fixture.insert(&alone, wanted, &rows(0..100, 50)).await;
    let repository = Repository::new(fixture);
    let backup = repository.backup(&source).await;
    let target = fixture.empty().await;
    let quoted = format!("\"{}\"", wanted.replace('"', "\"\""));
    let restored = repository
        .try_restore(&BackupRef::from(&backup.id), &target, |options| {
            options.tables.push(quoted.parse().expect("a pattern"));
        })
        .await;
    let report = restored.unwrap_or_else(|error| panic!("no restore: {}", told(&error)));
    assert_eq!(report.rows, 100);
    assert_same(&fixture.dump(&alone).await, &fixture.dump(&target).await, "one table restored");
    let restored = repository
        .try_restore(&BackupRef::from(&backup.id), &target, |options| {
            options.tables.push("no_such_table".parse().expect("a pattern"));
        })
        .await;
    assert_eq!(restored.expect_err("it matches nothing").kind(), ErrorKind::Usage);
}

/// The name asked for wins over the one in the URL, whose database stays as it is.
pub async fn a_database_is_restored_under_another_name(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let repository = Repository::new(fixture);
    let backup = repository.backup(&source).await;
    let named = other(fixture).await;
    let before = fixture.dump(&named).await;
    let restored = repository
        .try_restore(&BackupRef::from(&backup.id), &named, |options| {
            options.target_database = Some("elsewhere".to_owned());
        })
        .await;
    restored.unwrap_or_else(|error| panic!("no restore: {}", told(&error)));
    let elsewhere = fixture.renamed(&named, "elsewhere");
    assert_same(&fixture.dump(&source).await, &fixture.dump(&elsewhere).await, "the copy under another name");
    assert_same(&before, &fixture.dump(&named).await, "the database that the URL names");
}

/// Nothing is dropped, added or locked.
pub async fn a_target_that_is_not_empty_is_refused_untouched(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let repository = Repository::new(fixture);
    let backup = repository.backup(&source).await;
    let target = other(fixture).await;
    let before = Held::at(fixture, &target, true).await;
    let error = repository.try_restore(&BackupRef::from(&backup.id), &target, |_| {}).await;
    let error = error.expect_err("the target is not empty");
    assert_eq!(error.kind(), ErrorKind::TargetNotEmpty, "{}", told(&error));
    assert_eq!(before, Held::at(fixture, &target, true).await);
}

/// What was there is gone, what was backed up is there.
pub async fn an_existing_database_is_replaced(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let repository = Repository::new(fixture);
    let backup = repository.backup(&source).await;
    let target = other(fixture).await;
    for _ in 0..2 {
        let replace = |options: &mut backup_core::RestoreOptions| options.drop_existing = true;
        let replaced = repository.try_restore(&BackupRef::from(&backup.id), &target, replace).await;
        replaced.unwrap_or_else(|error| panic!("no restore: {}", told(&error)));
        assert_same(&fixture.dump(&source).await, &fixture.dump(&target).await, "the database in its place");
    }
}

/// Fails at every read of the repository in turn, of those that a restore makes without checking first.
async fn fail_at_every_get(fixture: &dyn EngineFixture, target: &DatabaseUrl, exists: bool, untouched: bool) {
    let source = sample(fixture).await;
    let repository = Repository::new(fixture);
    let backup = BackupRef::from(&repository.backup(&source).await.id);
    let unchecked = |options: &mut backup_core::RestoreOptions| {
        options.skip_verification = true;
        options.drop_existing = exists;
        // How often a chunk that several parts share is read would otherwise depend on which of them comes first.
        options.jobs = Some(1);
    };
    let counting = Arc::new(Counting::default());
    let counted = repository.behind(Faulty::around(Arc::clone(&repository.storage), counting.clone()));
    let scratch = fixture.empty().await;
    let restored = counted.try_restore(&backup, &scratch, unchecked).await;
    restored.unwrap_or_else(|error| panic!("no restore: {}", told(&error)));
    let gets = counting.of(Call::Get);
    assert!(gets > 3, "{gets} reads are too few to fail in the middle of a load");
    let before = Held::at(fixture, target, exists).await;
    for n in 1..=gets {
        let fault = Arc::new(FailNth::new(&[Call::Get], n));
        let faulty = repository.behind(Faulty::around(Arc::clone(&repository.storage), fault.clone()));
        let restored = faulty.try_restore(&backup, target, unchecked).await;
        assert!(fault.has_failed(), "a restore made less than {n} reads, and others {gets}");
        let error = restored.expect_err("a restore went well without all of its backup");
        assert_eq!(error.kind(), ErrorKind::Io, "read {n} of {gets}: {}", told(&error));
        if untouched {
            let after = Held::at(fixture, target, exists).await;
            assert!(
                before == after,
                "failing at read {n} of {gets} left {:?} of {:?}",
                after.traces,
                before.traces
            );
        }
    }
    let restored = repository.try_restore(&backup, target, unchecked).await;
    restored.unwrap_or_else(|error| panic!("no restore after failed ones: {}", told(&error)));
    assert_same(&fixture.dump(&source).await, &fixture.dump(target).await, "the copy after failed ones");
}

/// A load that fails anywhere leaves an empty target empty, and the next one works.
pub async fn a_load_that_fails_leaves_the_target_as_it_was(fixture: &dyn EngineFixture) {
    let target = fixture.empty().await;
    fail_at_every_get(fixture, &target, false, true).await;
}

/// One that would have replaced a database leaves that, where the engine says that it replaces in one step. Where it does
/// not, the next one works all the same.
pub async fn a_replacement_that_fails_leaves_the_old_database(fixture: &dyn EngineFixture) {
    let target = other(fixture).await;
    let engine = (fixture.factory().from_url)(&target).expect("the engine takes the fixture's URL");
    let atomic = engine.probe(&Ctx::new()).await.expect("it answers").capabilities.atomic_replace;
    fail_at_every_get(fixture, &target, true, atomic).await;
}

/// Jobs are for speed.
pub async fn a_restore_with_one_job_is_the_same(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let expected = fixture.dump(&source).await;
    let repository = Repository::new(fixture);
    let backup = BackupRef::from(&repository.backup(&source).await.id);
    for jobs in [1, 8] {
        let target = fixture.empty().await;
        let restored = repository.try_restore(&backup, &target, |options| options.jobs = Some(jobs)).await;
        restored.unwrap_or_else(|error| panic!("no restore: {}", told(&error)));
        assert_same(&expected, &fixture.dump(&target).await, &format!("the copy by {jobs} jobs"));
    }
}
