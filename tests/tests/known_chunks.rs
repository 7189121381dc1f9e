//! What earlier backups stored is found out before the database is asked for anything that it would have to hold for us.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]
#![allow(clippy::large_futures, reason = "each is run once")]

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use backup_testkit::faults::{Call, Fault, Faulty};
use end_to_end::{Place, shop};
use lifeboat::storage::{Key, MemoryStorage};
use lifeboat::{BackupConfig, BackupManager, Ctx, Event, Format, Progress, Result};

/// Which chunk lists were read, and when which stage began.
#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl Progress for Log {
    fn event(&self, event: Event<'_>) {
        if let Event::Stage(stage) = event {
            self.0.lock().unwrap().push(format!("{stage:?}"));
        }
    }
}

#[backup_core::async_trait]
impl Fault for Log {
    async fn before(&self, call: Call, key: &Key) -> Result<()> {
        if call == Call::Get && key.words().next() == Some("lists") {
            self.0.lock().unwrap().push(key.to_string());
        }
        Ok(())
    }
}

#[tokio::test]
async fn each_list_is_read_once_before_the_snapshot_and_none_for_a_single_file() {
    let place = Place::new();
    let database = place.path("shop.db");
    shop(&database);
    let source = format!("sqlite:{}", database.display()).parse().unwrap();
    let storage = Arc::new(MemoryStorage::new());
    let backup = async |format: Format| {
        let log = Arc::new(Log::default());
        let mut config = BackupConfig::default();
        (config.format, config.verify) = (format, false);
        let manager = BackupManager::new(config)
            .with_storage(Faulty::around(storage.clone(), log.clone()))
            .with_context(Ctx::new().with_progress(log.clone()));
        manager.backup(&source).await.unwrap();
        let said = log.0.lock().unwrap().clone();
        let snapshot = said.iter().position(|said| said == "Plan").unwrap();
        let lists = |said: &[String]| -> Vec<String> {
            said.iter().filter(|said| said.starts_with("lists/")).cloned().collect()
        };
        (lists(&said[..snapshot]), lists(&said[snapshot..]))
    };
    backup(Format::Binary).await;
    backup(Format::Binary).await;
    let db = rusqlite::Connection::open(&database).unwrap();
    db.execute_batch("UPDATE customer SET name = 'somebody else'").unwrap();
    backup(Format::Binary).await;
    let (before, after) = backup(Format::Binary).await;
    assert_eq!((before.len(), after.len()), (2, 0), "{before:?}");
    assert_eq!(before.iter().collect::<BTreeSet<_>>().len(), 2);
    for format in [Format::Sql, Format::Compressed] {
        assert_eq!(backup(format).await, (Vec::new(), Vec::new()));
    }
}
