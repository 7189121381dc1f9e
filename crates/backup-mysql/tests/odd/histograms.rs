//! What the optimizer of MySQL knows of columns.

use std::sync::Arc;

use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, Ctx, DatabaseUrl, Format, Progress, Registry, RestoreOptions,
};
use backup_testkit::told::Told;

use crate::server::Server;

const HISTOGRAMS: &str = "SELECT TABLE_NAME, COLUMN_NAME, JSON_REMOVE(HISTOGRAM, '$.\"last-updated\"') FROM information_schema.COLUMN_STATISTICS \
     WHERE SCHEMA_NAME = DATABASE() ORDER BY 1, 2";

async fn carry(source: &DatabaseUrl, target: &DatabaseUrl, format: Format, told: &Arc<Told>) {
    let mut config = BackupConfig::default();
    config.format = format;
    let manager = BackupManager::new(config)
        .with_registry(Registry::new().with(&backup_mysql::ENGINE))
        .with_storage(Arc::new(MemoryStorage::new()))
        .with_context(Ctx::new().with_progress(Arc::clone(told) as Arc<dyn Progress>));
    let backup = manager.backup(source).await.unwrap();
    manager.restore(&BackupRef::from(&backup.id), target, RestoreOptions::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn histograms_come_back_as_they_were_and_another_product_does_without() {
    let Some(server) = Server::find("mysql") else { return };
    let source = server.empty();
    let statements = [
        // Without STATS_AUTO_RECALC = 0 the server renews what is AUTO UPDATE some seconds after the rows came.
        "CREATE TABLE `it's \\ ``odd``` (`a */ b` INT, t VARCHAR(20), d DATE, KEY (t)) STATS_AUTO_RECALC = 0",
        "INSERT INTO `it's \\ ``odd``` VALUES (1, 'x', '2001-02-03'), (2, 'ü''\\\\', NULL), (3, NULL, '2001-02-04')",
        "ANALYZE TABLE `it's \\ ``odd``` UPDATE HISTOGRAM ON `a */ b`, t WITH 8 BUCKETS",
        "ANALYZE TABLE `it's \\ ``odd``` UPDATE HISTOGRAM ON d WITH 2 BUCKETS AUTO UPDATE",
        // Other rows than those that it knows of.
        "INSERT INTO `it's \\ ``odd``` VALUES (10, 'later', '2009-02-03')",
        "CREATE TABLE plain (a INT)",
    ];
    server.run(Some(&source.path), &statements.map(str::to_owned));
    let made = server.ask(Some(&source.path), HISTOGRAMS);
    assert_eq!(made.lines().count(), 3);
    for format in [Format::Binary, Format::Sql] {
        let (target, told) = (server.empty(), Arc::<Told>::default());
        carry(&source, &target, format, &told).await;
        assert_eq!(server.ask(Some(&target.path), HISTOGRAMS), made, "{format:?}");
        assert!(!told.has("histograms"));
    }
    if let Some(other) = Server::find("mariadb") {
        let (target, told) = (other.empty(), Arc::<Told>::default());
        carry(&source, &target, Format::Binary, &told).await;
        assert_eq!(other.ask(Some(&target.path), "SELECT COUNT(*) FROM `it's \\ ``odd```"), "4\n");
        assert!(told.has("the histograms of columns are left out"));
    }
}
