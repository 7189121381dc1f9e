//! What goes in comes out.

use backup_core::{BackupRef, ErrorKind, Format};

use super::repository::{Repository, assert_same, told};
use super::{EngineFixture, Row, Table};
use crate::storage::noise;

const FORMATS: [Format; 3] = [Format::Binary, Format::Compressed, Format::Sql];

/// Backs the database up in every format that the engine has, restores each, and compares.
async fn comes_back_in_every_format(fixture: &dyn EngineFixture, source: &backup_core::DatabaseUrl) {
    let expected = fixture.dump(source).await;
    for format in FORMATS {
        let repository = Repository::new(fixture).format(format);
        if format == Format::Sql && fixture.factory().script.is_none() {
            let error = repository.manager().backup(source).await.expect_err("it has no script writer");
            assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
            continue;
        }
        let copy = repository.copy(source).await;
        assert_same(&expected, &fixture.dump(&copy).await, &format!("the copy by way of {format:?}"));
    }
}

/// Every type with its extremes, and every kind of object.
pub async fn every_type_and_object_comes_back_in_every_format(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    fixture.everything(&source).await;
    comes_back_in_every_format(fixture, &source).await;
}

/// Names and texts that would be commands if anybody let them: CVE-2025-8714 and its kin.
pub async fn hostile_names_and_texts_come_back_in_every_format(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    fixture.table(&source, Table::keyed("victim")).await;
    let names = fixture.hostile_names();
    let texts: Vec<Row> = names.iter().zip(1..).map(|(name, id)| (id, -id, Some(name.clone()))).collect();
    fixture.insert(&source, "victim", &texts).await;
    for name in &names {
        let columns = ["id", name, "note"];
        fixture.table(&source, Table { name, columns, keyed: true }).await;
        fixture.insert(&source, name, &[(1, 1, Some(name.clone())), (2, 2, None)]).await;
    }
    comes_back_in_every_format(fixture, &source).await;
}

/// Rows that refer to each other, which no order of loading satisfies.
pub async fn foreign_key_cycles_come_back_in_every_format(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    fixture.cycle(&source).await;
    comes_back_in_every_format(fixture, &source).await;
}

/// Tables without rows are still tables.
pub async fn an_empty_database_comes_back(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    fixture.table(&source, Table::keyed("nothing")).await;
    fixture.table(&source, Table::keyless("nothing either")).await;
    comes_back_in_every_format(fixture, &source).await;
}

/// Values larger than a block and than a chunk, and of just the size of a block.
pub async fn huge_values_come_back(fixture: &dyn EngineFixture) {
    const BLOCK: usize = 1 << 20;
    let source = fixture.empty().await;
    fixture.table(&source, Table::keyed("huge")).await;
    for (id, size) in [9 * BLOCK + 7, BLOCK - 40, BLOCK, 3, 5 * BLOCK, 0].into_iter().enumerate() {
        fixture.insert(&source, "huge", &[(id as i64, 0, Some(text(id as u64, size)))]).await;
    }
    comes_back_in_every_format(fixture, &source).await;
}

/// Text that no codec makes much smaller.
pub(super) fn text(seed: u64, length: usize) -> String {
    noise(seed, length).into_iter().map(|byte| char::from(b' ' + byte % 90)).collect()
}

/// Rows with texts of `size` bytes, the same for the same ids.
pub(super) fn rows(ids: std::ops::Range<i64>, size: usize) -> Vec<Row> {
    ids.map(|id| (id, 100, Some(text(id.unsigned_abs() + 1, size)))).collect()
}

/// Under XOR every pair of equal rows would count for nothing.
pub async fn duplicate_rows_do_not_cancel_in_a_digest(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    let (x, y): (Row, Row) = ((1, 1, Some("x".into())), (2, 2, Some("y".into())));
    for (name, rows) in [
        ("none", vec![]),
        ("xx", vec![x.clone(), x.clone()]),
        ("yy", vec![y.clone(), y.clone()]),
        ("xy", vec![x, y]),
    ] {
        fixture.table(&source, Table::keyless(name)).await;
        if !rows.is_empty() {
            fixture.insert(&source, name, &rows).await;
        }
    }
    let repository = Repository::new(fixture);
    let backup = repository.backup(&source).await;
    let details = repository.manager().get_backup(&BackupRef::from(&backup.id)).await.expect("it is shown");
    let digest = |name: &str| {
        let table = details.tables.iter().find(|summary| summary.table.name == name);
        table.unwrap_or_else(|| panic!("no table {name} among {:?}", details.tables)).digest
    };
    assert_eq!(["xx", "yy", "xy"].map(|name| digest(name).rows), [2; 3]);
    // A table without rows may have no part at all, or one that comes to nothing.
    let none = details.tables.iter().find(|summary| summary.table.name == "none").map_or(0, |t| t.digest.sum);
    let sums = std::collections::BTreeSet::from([none, digest("xx").sum, digest("yy").sum, digest("xy").sum]);
    assert_eq!(sums.len(), 4, "tables of different rows have the same digest: {:?}", details.tables);
    let copy = repository.copy(&source).await;
    assert_same(&fixture.dump(&source).await, &fixture.dump(&copy).await, "the copy");
}

/// A filter of a backup includes and excludes, and a pattern that matches nothing is refused.
pub async fn a_filter_selects_tables(fixture: &dyn EngineFixture) {
    let (source, expected) = (fixture.empty().await, fixture.empty().await);
    for name in ["keep_one", "keep_two", "drop_one"] {
        for url in [&source, &expected].into_iter().take(if name.starts_with("keep") { 2 } else { 1 }) {
            fixture.table(url, Table::keyed(name)).await;
            fixture.insert(url, name, &rows(0..3, 10)).await;
        }
    }
    let expected = fixture.dump(&expected).await;
    let repository = Repository::new(fixture);
    for (include, exclude) in [(Some("keep*"), None), (None, Some("drop_one")), (Some("*"), Some("drop*"))] {
        let mut options = backup_core::BackupOptions::default();
        options.include.extend(include.map(|pattern| pattern.parse().expect("a pattern")));
        options.exclude.extend(exclude.map(|pattern| pattern.parse().expect("a pattern")));
        let backup = repository.manager().backup_with(&source, options).await;
        let backup = backup.unwrap_or_else(|error| panic!("no backup: {}", told(&error)));
        let target = fixture.empty().await;
        repository.restore(&backup, &target).await;
        let what = format!("a backup with {include:?} and without {exclude:?}");
        assert_same(&expected, &fixture.dump(&target).await, &what);
    }
    let mut options = backup_core::BackupOptions::default();
    options.include.push("keep_oen".parse().expect("a pattern"));
    let error = repository.manager().backup_with(&source, options).await.expect_err("it matches nothing");
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
}

/// A backup in chunks, taken out of its repository as one file, is the same backup.
pub async fn an_export_restores_like_its_backup(fixture: &dyn EngineFixture) {
    let source = fixture.empty().await;
    fixture.everything(&source).await;
    fixture.table(&source, Table::keyed("bulk")).await;
    for start in (0..3000).step_by(500) {
        fixture.insert(&source, "bulk", &rows(start..start + 500, 2000)).await;
    }
    let expected = fixture.dump(&source).await;
    let repository = Repository::new(fixture);
    let backup = repository.backup(&source).await;
    let directory = tempfile::tempdir().expect("a scratch directory");
    for (format, name) in [(Format::Compressed, "backup.tar.zst"), (Format::Sql, "backup.sql")] {
        if format == Format::Sql && fixture.factory().script.is_none() {
            continue;
        }
        let path = directory.path().join(name);
        let export =
            || async { repository.manager().export(&BackupRef::from(&backup.id), &path, format).await };
        let report = export().await.unwrap_or_else(|error| panic!("no export: {}", told(&error)));
        assert_eq!(report.size, std::fs::metadata(&path).expect("the file is there").len());
        assert_eq!(export().await.expect_err("the file is there already").kind(), ErrorKind::AlreadyExists);
        let target = fixture.empty().await;
        // A file needs no repository.
        let elsewhere = Repository::new(fixture);
        let restored = elsewhere.try_restore(&BackupRef::File(path), &target, |_| {}).await;
        restored.unwrap_or_else(|error| panic!("{format:?} is not restored: {}", told(&error)));
        assert_same(
            &expected,
            &fixture.dump(&target).await,
            &format!("the copy by way of an exported {format:?}"),
        );
    }
}

/// A script is of use to somebody who does not have us. Nothing is tested where the fixture has no client.
pub async fn a_script_loads_with_the_databases_own_client(fixture: &dyn EngineFixture) {
    if fixture.factory().script.is_none() {
        return;
    }
    let source = fixture.empty().await;
    fixture.everything(&source).await;
    for (name, id) in fixture.hostile_names().iter().zip(1..) {
        fixture.table(&source, Table::keyed(name)).await;
        fixture.insert(&source, name, &[(id, id, Some(name.clone()))]).await;
    }
    let mut repository = Repository::new(fixture);
    "none".clone_into(&mut repository.config.codec);
    let backup = repository.backup(&source).await;
    let directory = tempfile::tempdir().expect("a scratch directory");
    let path = directory.path().join("backup.sql");
    let exported = repository.manager().export(&BackupRef::from(&backup.id), &path, Format::Sql).await;
    exported.unwrap_or_else(|error| panic!("no export: {}", told(&error)));
    let target = fixture.empty().await;
    if fixture.load_script(&target, &path).await {
        assert_same(
            &fixture.dump(&source).await,
            &fixture.dump(&target).await,
            "the copy by the database's client",
        );
    } else {
        eprintln!("the database's own client is not here: nothing was tested");
    }
}
