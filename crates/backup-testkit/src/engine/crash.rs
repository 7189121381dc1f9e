//! A repository that fails under a backup, at every call in turn; and two backups at once.

use std::sync::Arc;

use backup_core::{BackupRef, DatabaseUrl, ErrorKind, Format};

use super::content::rows;
use super::repository::{Repository, assert_same, folder, told};
use super::restore::{other, sample};
use super::{EngineFixture, Table};
use crate::faults::{Call, FailAt, FailNth, Faulty, Point, Recording, ShortNth, StopNth, Unsynced, keys};

/// The calls that a backup into this repository makes, unless that fails.
async fn points(repository: &Repository<'_>, source: &DatabaseUrl) -> Vec<Point> {
    let calls = Arc::new(Recording::default());
    repository.behind(Faulty::around(Arc::clone(&repository.storage), calls.clone())).backup(source).await;
    calls.points()
}

/// Of `all` places, counted from 1, those to be tried: some spread evenly, and the last few, among which is that where a backup is committed.
fn places(fixture: &dyn EngineFixture, all: u64) -> impl Iterator<Item = u64> + use<> {
    const LAST: usize = 4;
    let spread = fixture.places().min(all);
    let mut tried: Vec<u64> = (1..=spread).map(|i| i * all / spread).collect();
    tried.extend((1..=all).rev().take(LAST));
    tried.sort_unstable();
    tried.dedup();
    tried.into_iter()
}

/// The formats that this engine has.
fn formats(fixture: &dyn EngineFixture) -> impl Iterator<Item = Format> + use<> {
    let scripts = fixture.factory().script.is_some();
    let all = [Format::Binary, Format::Compressed, Format::Sql].into_iter();
    all.filter(move |format| *format != Format::Sql || scripts)
}

/// Nothing is listed, and the next backup works, over whatever the failed ones left.
pub async fn a_backup_whose_repository_fails_anywhere_leaves_nothing(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let expected = fixture.dump(&source).await;
    for format in formats(fixture) {
        let points = points(&Repository::new(fixture).unverified().format(format), &source).await;
        let repository = Repository::new(fixture).unverified().format(format);
        let (mut listed, mut failed) = (0, 0);
        for place in places(fixture, points.len() as u64) {
            let point = &points[place as usize - 1];
            let fault = Arc::new(FailAt::new(point, ErrorKind::NoSpace));
            let faulty = repository.behind(Faulty::around(Arc::clone(&repository.storage), fault.clone()));
            let done = faulty.manager().backup(&source).await;
            match done {
                // What failed ones stored is not stored again, so later ones make fewer calls.
                Ok(_) => listed += 1,
                Err(error) => {
                    let what = format!("{format:?}, {point}: {}", told(&error));
                    assert!(fault.has_failed(), "{what}");
                    assert_eq!(error.kind(), ErrorKind::NoSpace, "{what}");
                    failed += 1;
                }
            }
            assert_eq!(
                repository.listed().await,
                listed,
                "{format:?}: failing at {point} left a backup, or lost one"
            );
        }
        assert!(
            failed > fixture.places().min(20) / 2,
            "{format:?}: failed at {failed} of {} calls",
            points.len()
        );
        println!("{format:?}: failed at {failed} of {} calls", points.len());
        let copy = repository.copy(&source).await;
        assert_same(
            &expected,
            &fixture.dump(&copy).await,
            &format!("the copy after failed backups as {format:?}"),
        );
    }
}

/// A process that is gone, or a power cut, at every call in turn, whether that call arrives or not: the backup is not there,
/// or it is there and good. A rerun works, and sends no chunk again that is there; an older backup stays good.
pub async fn a_backup_that_is_cut_off_anywhere_is_not_there_or_good(fixture: &dyn EngineFixture) {
    let (source, older) = (small(fixture).await, other(fixture).await);
    for format in formats(fixture) {
        let repository = Repository::new(fixture).unverified().format(format);
        repository.backup(&older).await;
        let calls = points(&repository, &source).await.len() as u64;
        let (mut points, mut committed, mut kept) = (0, 0, 0);
        for arrives in [false, true] {
            // One more than there are calls, and it is done.
            for n in places(fixture, calls).chain([u64::MAX]) {
                let repository = Repository::new(fixture).unverified().format(format);
                let older = repository.backup(&older).await;
                let stop = Arc::new(StopNth::new(n, arrives));
                let dying = repository.behind(Faulty::around(Arc::clone(&repository.storage), stop.clone()));
                let ended = stop.until(dying.manager().backup(&source)).await;
                let what = format!("{format:?}, stopped at call {n}, which arrives: {arrives}");
                let listed = repository.manager().list_backups().await.expect("backups are listed");
                for backup in &listed {
                    let verified = repository.manager().verify(&BackupRef::from(&backup.id)).await;
                    verified.unwrap_or_else(|error| panic!("{what}: {}: {}", backup.id, told(&error)));
                }
                assert!(listed.iter().any(|backup| backup.id == older.id), "{what}: the older one is gone");
                if let Some(done) = ended {
                    done.unwrap_or_else(|error| panic!("{what}: {}", told(&error)));
                    assert_eq!(listed.len(), 2, "{what}: it was done and is not there");
                    continue;
                }
                points += 1;
                committed += listed.len() - 1;
                let chunks = folder("chunks");
                let there = keys(&*repository.storage, &chunks).await;
                let calls = Arc::new(Recording::default());
                let again = repository.behind(Faulty::around(Arc::clone(&repository.storage), calls.clone()));
                let backup = again.backup(&source).await;
                let sent = calls.of(Call::Put, &chunks);
                assert!(sent.iter().all(|key| !there.contains(key)), "{what}: a chunk was sent again");
                kept += there.len();
                let verified = repository.manager().verify(&BackupRef::from(&backup.id)).await;
                verified.unwrap_or_else(|error| panic!("{what}: the rerun: {}", told(&error)));
            }
        }
        assert!(points > 10 && committed > 0, "{format:?}: {points} points, {committed} committed");
        println!(
            "{format:?}: stopped at {points} points, {committed} were committed and good; {kept} chunks were not sent again"
        );
    }
}

/// A database of a few chunks.
async fn small(fixture: &dyn EngineFixture) -> DatabaseUrl {
    let url = fixture.empty().await;
    for (name, count, size) in [("one", 50, 20), ("two", 1500, 1000)] {
        fixture.table(&url, Table::keyed(name)).await;
        fixture.insert(&url, name, &rows(0..count, size)).await;
    }
    url
}

/// A storage that does as it is told and whose answer is lost, from every call on in turn: whatever is listed is good.
pub async fn a_backup_whose_storage_loses_the_answer_is_not_there_or_good(fixture: &dyn EngineFixture) {
    let source = small(fixture).await;
    for format in formats(fixture) {
        let repository = Repository::new(fixture).unverified().format(format);
        repository.manager().init().await.expect("a repository is made");
        let calls = points(&repository, &source).await.len() as u64;
        let (mut points, mut committed) = (0, 0);
        for once in [false, true] {
            for n in places(fixture, calls).chain([u64::MAX]) {
                let repository = Repository::new(fixture).unverified().format(format);
                repository.manager().init().await.expect("a repository is made");
                let fault = FailNth::new(&Call::ALL, n).afterwards();
                let fault = Arc::new(if once { fault.once() } else { fault });
                let faulty =
                    repository.behind(Faulty::around(Arc::clone(&repository.storage), fault.clone()));
                let done = faulty.manager().backup(&source).await;
                let what = format!("{format:?}, answers lost from call {n} on (or only that one: {once})");
                let listed = repository.manager().list_backups().await.expect("backups are listed");
                for backup in &listed {
                    let verified = repository.manager().verify(&BackupRef::from(&backup.id)).await;
                    verified.unwrap_or_else(|error| panic!("{what}: {}", told(&error)));
                }
                assert!(done.is_err() || listed.len() == 1, "{what}: it was done and is not there");
                committed += listed.len();
                if !fault.has_failed() {
                    done.unwrap_or_else(|error| panic!("{what}: {}", told(&error)));
                    continue;
                }
                points += 1;
            }
        }
        assert!(points > 10 && committed > 2, "{format:?}: {points} points, {committed} committed");
        println!(
            "{format:?}: answers lost at {points} points, {committed} backups were there, all of them good"
        );
    }
}

/// A storage that loses half of what one call brings, at every such call in turn, and says that all is well: the backup is
/// not reported done, or it is good.
pub async fn a_storage_that_lies_about_a_write_is_found_out(fixture: &dyn EngineFixture) {
    let source = small(fixture).await;
    for format in formats(fixture) {
        let repository = Repository::new(fixture).format(format);
        repository.manager().init().await.expect("a repository is made");
        let points = points(&repository, &source).await;
        let writes =
            points.iter().filter(|point| matches!(point.call, Call::Put | Call::Write)).count() as u64;
        let mut caught = 0;
        for n in places(fixture, writes).chain([u64::MAX]) {
            let repository = Repository::new(fixture).format(format);
            repository.manager().init().await.expect("a repository is made");
            let short = Arc::new(ShortNth::new(n));
            let lying = repository.behind(Faulty::around(Arc::clone(&repository.storage), short.clone()));
            let done = lying.manager().backup(&source).await;
            if !short.has_lost() {
                done.unwrap_or_else(|error| panic!("{format:?}: {}", told(&error)));
                continue;
            }
            match done {
                Err(_) => caught += 1,
                // What lost its half was no part of the backup: its mark, or a lease.
                Ok(backup) => {
                    let verified = repository.manager().verify(&BackupRef::from(&backup.id)).await;
                    verified.unwrap_or_else(|error| panic!("{format:?}, write {n}: {}", told(&error)));
                    caught += 1;
                }
            }
        }
        assert!(caught > 3, "{format:?}: {caught}");
        println!("{format:?}: {caught} short writes, all found out");
    }
}

/// A storage that forgets, when the power goes, what it had said was durable: what is lost is missed, never restored as if it
/// were whole.
pub async fn a_backup_that_its_storage_forgets_is_missed(fixture: &dyn EngineFixture) {
    let source = small(fixture).await;
    for format in formats(fixture) {
        let repository = Repository::new(fixture).format(format);
        repository.manager().init().await.expect("a repository is made");
        let storage = Arc::new(Unsynced::new(Arc::clone(&repository.storage)));
        let first = repository.behind(storage.clone()).backup(&source).await;
        storage.sync();
        let second = repository.behind(storage.clone()).backup(&source).await;
        assert!(storage.cut_power().await.expect("power can be cut") > 0, "there was nothing to lose");
        let listed = repository.manager().list_backups().await.expect("backups are listed");
        assert!(listed.iter().all(|backup| backup.id != second.id), "{format:?}: it is listed and not there");
        let verified = repository.manager().verify(&BackupRef::from(&first.id)).await;
        verified.unwrap_or_else(|error| panic!("{format:?}: the last durable one: {}", told(&error)));
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
