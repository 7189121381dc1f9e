use lifeboat::{BackupConfig, BackupManager, BackupOptions, BackupRef, Format, RestoreOptions};
#[tokio::test(flavor = "multi_thread")]
async fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    let src = std::env::var("SMOKE_DB").unwrap();
    let mut config = BackupConfig::default();
    config.directory = dir.path().join("repo");
    let manager = BackupManager::new(config);
    for format in [Format::Binary, Format::Compressed, Format::Sql] {
        let mut o = BackupOptions::default();
        o.format = Some(format);
        let t = std::time::Instant::now();
        let info = manager.backup_with(&format!("sqlite:{src}").parse().unwrap(), o).await.unwrap();
        eprintln!("{info:?} {:?}", t.elapsed());
        let copy = dir.path().join(format!("{format:?}.db"));
        manager
            .restore(
                &BackupRef::from(&info.id),
                &format!("sqlite:{}", copy.display()).parse().unwrap(),
                RestoreOptions::default(),
            )
            .await
            .unwrap();
        let (a, b) = (end_to_end::dump(src.as_ref()), end_to_end::dump(&copy));
        assert!(a == b, "{format:?} differs");
        eprintln!("{} bytes of dump equal", a.len());
    }
}
