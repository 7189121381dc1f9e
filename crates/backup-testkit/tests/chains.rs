//! Chains: what core makes of a log, on the fake engine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

use std::path::PathBuf;
use std::sync::Arc;

use backup_core::storage::{MemoryStorage, Storage};
use backup_core::{
    BackupConfig, BackupInfo, BackupManager, BackupOptions, BackupRef, BackupType, DatabaseUrl, ErrorKind,
    Format, Registry, RestoreOptions, RestoreReport, Result,
};
use backup_testkit::fake::{self, Change, FakeDatabase, Tables};
use chrono::{DateTime, Utc};

/// A fake database whose clock is told, and a repository.
struct Place {
    directory: tempfile::TempDir,
    storage: Arc<dyn Storage>,
    config: BackupConfig,
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
}

impl Place {
    fn new() -> Self {
        let mut config = BackupConfig::default();
        config.format = Format::Binary;
        config.jobs = 2;
        let it =
            Self { directory: tempfile::tempdir().unwrap(), storage: Arc::new(MemoryStorage::new()), config };
        it.database().create_at(at(0)).unwrap();
        it.commit(
            0,
            vec![Change::Table("account".into(), vec!["id".into(), "amount".into(), "note".into()])],
        );
        it.commit(0, (0..4).map(|id| Change::Insert("account".into(), (id, 100, None))).collect());
        it
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.fake"))
    }

    fn database(&self) -> FakeDatabase {
        FakeDatabase::at(self.path("shop"))
    }

    fn url(&self, name: &str) -> DatabaseUrl {
        format!("fake:{}", self.path(name).display()).parse().unwrap()
    }

    fn commit(&self, second: i64, changes: Vec<Change>) {
        self.database().commit_at(changes, at(second)).unwrap();
    }

    /// Commits a transaction that cannot be made twice, or left out, without showing; returns what is there then.
    fn change(&self, second: i64) -> Tables {
        let n = self.database().last().unwrap() as i64;
        self.commit(
            second,
            vec![
                Change::Add("account".into(), n % 4, -1),
                Change::Add("account".into(), (n + 1) % 4, 1),
                Change::Insert("account".into(), (1000 + n, 0, Some(format!("transaction {n}")))),
            ],
        );
        self.database().tables().unwrap()
    }

    fn manager(&self) -> BackupManager {
        BackupManager::new(self.config.clone())
            .with_registry(Registry::new().with(&fake::ENGINE))
            .with_storage(Arc::clone(&self.storage))
    }

    async fn try_backup(&self, backup_type: BackupType) -> Result<BackupInfo> {
        let mut options = BackupOptions::default();
        options.backup_type = backup_type;
        self.manager().backup_with(&self.url("shop"), options).await
    }

    async fn backup(&self, backup_type: BackupType) -> BackupInfo {
        self.try_backup(backup_type).await.unwrap_or_else(|error| panic!("{error}"))
    }

    async fn try_restore(
        &self,
        backup: &BackupRef,
        change: impl FnOnce(&mut RestoreOptions),
    ) -> Result<(RestoreReport, Tables)> {
        let mut options = RestoreOptions::default();
        options.drop_existing = true;
        change(&mut options);
        let report = self.manager().restore(backup, &self.url("copy"), options).await?;
        Ok((report, FakeDatabase::at(self.path("copy")).tables()?))
    }

    async fn restored(&self, backup: &BackupInfo) -> Tables {
        let restored = self.try_restore(&BackupRef::from(&backup.id), |_| {}).await;
        restored.unwrap_or_else(|error| panic!("{error}")).1
    }

    async fn restored_at(&self, backup: &BackupRef, second: i64) -> Result<Tables> {
        self.try_restore(backup, |options| options.point_in_time = Some(at(second)))
            .await
            .map(|(_, tables)| tables)
    }
}

#[tokio::test]
async fn incrementals_continue_one_another_and_a_differential_replaces_them() {
    for format in [Format::Binary, Format::Compressed, Format::Sql] {
        let mut place = Place::new();
        place.config.format = format;
        let mut expected = vec![place.database().tables().unwrap()];
        let mut backups = vec![place.backup(BackupType::Full).await];
        assert_eq!(backups[0].format, format);
        for step in 1..=6 {
            for second in 0..7 {
                place.change(step * 10 + second);
            }
            expected.push(place.database().tables().unwrap());
            let kind = if step % 3 == 0 { BackupType::Differential } else { BackupType::Incremental };
            let backup = place.backup(kind).await;
            let before = backups.last().unwrap();
            assert_eq!((backup.backup_type, backup.format), (kind, Format::Binary));
            if kind == BackupType::Differential {
                assert_eq!(
                    (&backup.parent, &backup.start),
                    (&Some(backups[0].id.clone()), &backups[0].position)
                );
                assert_eq!(backup.transactions, 7 * step as u64);
            } else {
                assert_eq!((&backup.parent, &backup.start), (&Some(before.id.clone()), &before.position));
                assert_eq!(backup.transactions, 7);
            }
            assert_eq!(backup.base, Some(backups[0].id.clone()));
            // The server keeps no log that is safe.
            assert_eq!(place.database().forgotten().unwrap(), place.database().last().unwrap());
            backups.push(backup);
        }
        for (backup, expected) in backups.iter().zip(&expected) {
            assert!(place.restored(backup).await == *expected, "{} as {format:?}", backup.id);
        }
        let (report, _) = place.try_restore(&BackupRef::Latest, |_| {}).await.unwrap();
        assert_eq!(report.replayed, [backups[6].id.clone()], "a differential needs no incrementals");
        let (report, _) = place.try_restore(&BackupRef::from(&backups[5].id), |_| {}).await.unwrap();
        assert_eq!(report.replayed.len(), 3, "the differential and two incrementals behind it");
    }
}

#[tokio::test]
async fn a_restore_stops_just_before_the_first_later_transaction() {
    let place = Place::new();
    // In log order, and not in order of time.
    let seconds = [10, 20, 20, 15, 40, 30, 25, 50, 45, 60];
    let full = place.backup(BackupType::Full).await;
    let mut states = vec![place.database().tables().unwrap()];
    for (n, second) in seconds.into_iter().enumerate() {
        states.push(place.change(second));
        if n % 3 == 1 {
            place.backup(BackupType::Incremental).await;
        }
    }
    place.backup(BackupType::Incremental).await;
    for second in 0..60 {
        let stop = seconds.iter().position(|commit| *commit > second).unwrap();
        for backup in [BackupRef::Latest, BackupRef::from(&full.id)] {
            let restored =
                place.restored_at(&backup, second).await.unwrap_or_else(|error| panic!("{second}: {error}"));
            assert!(restored == states[stop], "second {second}");
        }
    }
    for second in [-1, 60, 1000] {
        let before = place.try_restore(&BackupRef::Latest, |_| {}).await.unwrap().1;
        let error = place.restored_at(&BackupRef::Latest, second).await.unwrap_err();
        assert_eq!((error.kind(), error.kind().exit_code()), (ErrorKind::Unreachable, 5), "{error}");
        assert_eq!(FakeDatabase::at(place.path("copy")).tables().unwrap(), before);
    }
}

#[tokio::test]
async fn a_copied_chain_comes_with_all_that_it_continues_and_restores_to_every_point_the_same() {
    let place = Place::new();
    let full = place.backup(BackupType::Full).await;
    let mut backups = vec![full.clone()];
    for (n, second) in [10, 20, 30, 40].into_iter().enumerate() {
        place.change(second);
        let kind = if n == 2 { BackupType::Differential } else { BackupType::Incremental };
        backups.push(place.backup(kind).await);
    }
    // Its own key, so that every chunk has another name there.
    let mut there = Place { directory: tempfile::tempdir().unwrap(), ..Place::new() };
    there.config.codec = "none".into();
    let copied = place.manager().copy(&there.manager(), &[BackupRef::from(&backups[4].id)]).await.unwrap();
    let ids: Vec<_> = copied.copied.iter().map(|copied| copied.backup.clone()).collect();
    // The differential takes the place of the two incrementals before it.
    assert_eq!(ids, [backups[0].id.clone(), backups[3].id.clone(), backups[4].id.clone()]);
    let rest = place.manager().copy(&there.manager(), &[]).await.unwrap();
    assert_eq!((rest.copied.len(), rest.there.len()), (2, 3));
    let again = place.manager().copy(&there.manager(), &[]).await.unwrap();
    assert_eq!((again.copied.len(), again.there.len()), (0, 5));
    let order = |infos: Vec<BackupInfo>| -> Vec<_> {
        infos.into_iter().map(|info| (info.id, info.ordinal, info.parent, info.base, info.position)).collect()
    };
    assert_eq!(
        order(there.manager().list_backups().await.unwrap()),
        order(place.manager().list_backups().await.unwrap())
    );
    for backup in &backups {
        assert!(there.restored(backup).await == place.restored(backup).await, "{}", backup.id);
    }
    for second in 0..40 {
        let [ours, copied] = [
            place.restored_at(&BackupRef::Latest, second).await,
            there.restored_at(&BackupRef::Latest, second).await,
        ];
        assert!(ours.unwrap() == copied.unwrap(), "second {second}");
    }
    println!(
        "5 backups copied, {} chunks sent",
        copied.copied.iter().chain(&rest.copied).map(|c| c.chunks_sent).sum::<u64>()
    );
}
