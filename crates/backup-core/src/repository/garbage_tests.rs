//! The passes of prune, on lists made by hand.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration as Length;

use bytes::Bytes;

use super::*;
use crate::context::Ctx;
use crate::repository::{Purpose, Terms};
use crate::storage::{MemoryStorage, PutMode, Storage};

fn entry(number: u32) -> ChunkEntry {
    let id = Hash32::of(&number.to_le_bytes());
    ChunkEntry { id, stored_hash: id, stored_size: 1, raw_size: 1 }
}

async fn listed(storage: &dyn Storage) -> BTreeSet<String> {
    let metas: Vec<ObjectMeta> = storage.list(&"chunks".parse().unwrap()).try_collect().await.unwrap();
    metas.into_iter().map(|meta| meta.key.name().to_owned()).collect()
}

/// However few chunks are known at once: what is named stays, what was named until just now waits, all else goes.
#[tokio::test]
async fn in_any_number_of_passes_the_same_chunks_stay() {
    let all = 3000;
    let (named, recent) = (0..1200, 1000..1500);
    for pass in [40, 400, 1 << 20] {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let repository = Repository::init(Arc::clone(&storage), None, &[]).await.unwrap();
        for number in 0..all {
            storage
                .put(&entry(number).key(false).unwrap(), Bytes::from_static(b"1"), PutMode::Create)
                .await
                .unwrap();
        }
        let terms = Terms { length: Length::from_secs(600), wait: Length::ZERO };
        let lease = repository.lease(&Ctx::new(), terms, Purpose::Prune).await.unwrap();
        // An hour later, everything is old.
        let (now, waiting_time) = (Utc::now() + Duration::hours(1), Duration::minutes(1));
        let collector =
            Collector { repository: &repository, lease: &lease, dry_run: false, now, waiting_time, pass };
        let records = async |range: std::ops::Range<u32>| {
            // Two lists that overlap, as those of two backups do.
            let (start, end) = (range.start, range.end);
            let middle = (start + end) / 2;
            let mut records = Vec::new();
            for half in [start..middle + 50, middle - 50..end] {
                let entries: Vec<_> = half.map(entry).collect();
                records.extend(repository.store_lists(&entries).await.unwrap());
            }
            records.into_iter().map(|record| (record.id, record.chunks)).collect::<BTreeSet<_>>()
        };
        let mut needed = Needed {
            names: Names { lists: records(named.clone()).await, ..Names::default() },
            first: Chunks { directories: 0..0, ids: Vec::new() },
            records: Vec::new(),
            recently: Vec::new(),
        };
        let found = collector.collect(&needed.names.lists, 0..DIRECTORIES, Lost::Matters).await;
        needed.first = found.map_err(|unread| unread.error).unwrap();
        assert!(needed.first.ids.len() <= pass && needed.first.ids.capacity() <= pass.max(1400));
        let passes_more = needed.first.directories.end < DIRECTORIES;
        assert_eq!(passes_more, pass < 1200, "{:?}", needed.first.directories);
        let recent_lists = records(recent.clone()).await;
        let lists =
            recent_lists.iter().map(|(id, chunks)| super::super::ListRecord { id: *id, chunks: *chunks });
        let collected = collector.run(needed, &[dropped(&repository, lists.collect())]).await.unwrap();
        let expected: BTreeSet<String> =
            named.clone().chain(recent.clone()).map(|number| entry(number).id.to_string()).collect();
        assert_eq!(listed(&*storage).await, expected, "at most {pass} at once");
        assert_eq!(collected.chunks.objects, u64::from(all) - 1500);
        // And the two lists.
        assert_eq!((collected.kept.objects, collected.waiting.objects), (1200, 302));
        lease.end(Ok(())).await.unwrap();
    }
}

/// The header of a backup of these lists.
fn dropped(repository: &Repository, lists: Vec<super::super::ListRecord>) -> Header {
    let lists: Vec<_> =
        lists.iter().map(|list| serde_json::json!({ "id": list.id, "chunks": list.chunks })).collect();
    serde_json::from_value(serde_json::json!({
        "lifeboat": 1, "writer": "test", "id": "20260101-000000-00000000", "repository": repository.config().id,
        "ordinal": 1, "engine": "fake", "product": "Fake", "database": "d", "type": "full", "format": "binary",
        "parent": null, "base": null, "started": Utc::now(), "finished": Utc::now(), "start": null, "end": null,
        "log": null, "content": "all", "partial": false, "rows": 0, "raw-size": 0, "stored-size": 0,
        "new-size": 0, "codec": "none", "file": null, "lists": lists,
        "body": { "size": 0, "hash": "00".repeat(32), "codec": "none", "sealed": null },
    }))
    .unwrap()
}

#[test]
fn chunks_that_all_begin_alike_end_it() {
    let mut ids: Vec<u128> = (0..100).map(|number| 7 << 120 | number).collect();
    let error = make_room(&mut ids.clone(), 7..8, 100).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    // Where others are below them, these come first.
    ids.extend(0..10);
    assert_eq!(make_room(&mut ids, 0..8, 100).unwrap(), 7);
    assert_eq!(ids.len(), 10);
}
