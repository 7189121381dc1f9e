//! Damaged backups are noticed, before their target is touched.

use backup_core::storage::{Key, Storage};
use backup_core::{BackupRef, DatabaseUrl, ErrorKind, Format};

use super::EngineFixture;
use super::repository::{Repository, told};
use super::restore::{Held, sample};
use crate::faults::{flip, keys, remove, truncate};

/// What a backup is made of. Marks are not: one that is damaged counts as none.
async fn objects(storage: &dyn Storage) -> Vec<Key> {
    let all = keys(storage, &Key::ROOT).await;
    all.into_iter().filter(|key| !key.as_str().starts_with("marks/")).collect()
}

/// Where damaged backups are restored to, which never changes it.
struct Untouched<'a> {
    fixture: &'a dyn EngineFixture,
    target: DatabaseUrl,
    before: Held,
}

impl<'a> Untouched<'a> {
    async fn new(fixture: &'a dyn EngineFixture) -> Self {
        let target = fixture.empty().await;
        let before = Held::at(fixture, &target, false).await;
        Self { fixture, target, before }
    }

    /// Fails unless both verifying and restoring notice, and the target stays as it is.
    async fn notices(&self, repository: &Repository<'_>, backup: &BackupRef, what: &str) {
        let verified = repository.manager().verify(backup).await;
        let error = verified.err().unwrap_or_else(|| panic!("{what}: it was verified all the same"));
        refused_as_it_should_be(&error, what);
        let restored = repository.try_restore(backup, &self.target, |_| {}).await;
        let error = restored.err().unwrap_or_else(|| panic!("{what}: it was restored all the same"));
        refused_as_it_should_be(&error, what);
        let held = Held::at(self.fixture, &self.target, false).await;
        assert_eq!(self.before, held, "{what}: the target was touched");
    }
}

/// Damage is damage, unless it makes the file look like something else.
fn refused_as_it_should_be(error: &backup_core::Error, what: &str) {
    let kind = error.kind();
    let expected = [
        ErrorKind::Damaged,
        ErrorKind::NewerFormat,
        ErrorKind::NoRepository,
        ErrorKind::NotFound,
        ErrorKind::Foreign,
        ErrorKind::Unsupported,
    ];
    assert!(expected.contains(&kind), "{what}: {kind:?}: {}", told(error));
}

async fn backup(fixture: &dyn EngineFixture, repository: &Repository<'_>) -> BackupRef {
    let source = sample(fixture).await;
    BackupRef::from(&repository.backup(&source).await.id)
}

fn formats(fixture: &dyn EngineFixture) -> Vec<Format> {
    let mut formats = vec![Format::Binary, Format::Compressed];
    formats.extend(fixture.factory().script.map(|_| Format::Sql));
    formats
}

/// In every object of a backup, at its start, at its end and at places between.
pub async fn every_flipped_byte_is_noticed(fixture: &dyn EngineFixture) {
    for format in formats(fixture) {
        let repository = Repository::new(fixture).format(format);
        let backup = backup(fixture, &repository).await;
        let untouched = Untouched::new(fixture).await;
        for key in objects(&*repository.storage).await {
            let size =
                repository.storage.head(&key).await.expect("it answers").expect("it is there").size as usize;
            for at in [0, size / 3, size / 2, size - 1] {
                flip(&*repository.storage, &key, at).await;
                let what = format!("{format:?}: byte {at} of {size} of {key} flipped");
                untouched.notices(&repository, &backup, &what).await;
                flip(&*repository.storage, &key, at).await;
            }
        }
        // Mended, it is good again: it was the flips that were noticed.
        let verified = repository.manager().verify(&backup).await;
        verified.unwrap_or_else(|error| panic!("{format:?}: {}", told(&error)));
    }
}

/// Objects that lost their end, and objects that are gone.
pub async fn what_is_cut_off_or_missing_is_noticed(fixture: &dyn EngineFixture) {
    for format in formats(fixture) {
        let repository = Repository::new(fixture).format(format);
        let backup = backup(fixture, &repository).await;
        let untouched = Untouched::new(fixture).await;
        for key in objects(&*repository.storage).await {
            let whole = repository.storage.get(&key, None).await.expect("it is there");
            for length in [0, 1, whole.len() / 2, whole.len() - 1] {
                truncate(&*repository.storage, &key, length).await;
                let what = format!("{format:?}: {key} cut off behind {length} of {} bytes", whole.len());
                untouched.notices(&repository, &backup, &what).await;
                let put =
                    repository.storage.put(&key, whole.clone(), backup_core::storage::PutMode::Overwrite);
                put.await.expect("it is mended");
            }
            remove(&*repository.storage, &key).await;
            untouched.notices(&repository, &backup, &format!("{format:?}: {key} removed")).await;
            let put = repository.storage.put(&key, whole, backup_core::storage::PutMode::Overwrite);
            put.await.expect("it is mended");
        }
        let verified = repository.manager().verify(&backup).await;
        verified.unwrap_or_else(|error| panic!("{format:?}: {}", told(&error)));
    }
}
