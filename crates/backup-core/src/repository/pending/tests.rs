use super::*;
use crate::repository::{HostKey, Identity, Keys};
use crate::storage::MemoryStorage;

struct Place {
    storage: Arc<MemoryStorage>,
    host: HostKey,
}

impl Place {
    async fn new() -> Self {
        let host = HostKey::generate(vec![Identity::generate().recipient()]).unwrap();
        let storage = Arc::new(MemoryStorage::new());
        Repository::init(storage.clone(), Some(&host), &[]).await.unwrap();
        Self { storage, host }
    }

    async fn repository(&self) -> Repository {
        let keys = Keys { hosts: vec![self.host.clone()], ..Keys::default() };
        Repository::open(self.storage.clone(), &keys).await.unwrap()
    }

    async fn pending(&self, backup: &str) -> Pending {
        let repository = self.repository().await;
        let seal = repository.seal().unwrap().unwrap();
        Pending::new(&repository, &backup.parse().unwrap(), seal)
    }

    async fn known(&self) -> Known {
        let mut known = Known::default();
        self.repository().await.add_pending(&Ctx::new(), &mut known).await.unwrap();
        known
    }

    async fn records(&self) -> Vec<Key> {
        let folder = FOLDER.parse().unwrap();
        self.storage.list(&folder).map(|meta| meta.unwrap().key).collect().await
    }
}

fn entry(id: u32, stored: u8) -> ChunkEntry {
    let stored_hash = Hash32([stored; 32]);
    ChunkEntry { id: Hash32::of(&id.to_le_bytes()), stored_hash, stored_size: 1, raw_size: 1 }
}

fn found(known: &Known, id: u32) -> Vec<u8> {
    let mut found: Vec<_> = known.candidates(&entry(id, 0).id).map(|entry| entry.stored_hash.0[0]).collect();
    found.sort_unstable();
    found
}

#[tokio::test]
async fn what_was_noted_is_known_again_until_the_backup_is_committed() {
    let place = Place::new().await;
    let (one, two) = (place.pending("one").await, place.pending("two").await);
    let notes = (0..5000u32).map(|id| (if id % 2 == 0 { &one } else { &two }, id));
    let notes = notes.map(|(pending, id)| async move { pending.note(&entry(id, 7)).await });
    stream::iter(notes).buffer_unordered(64).try_collect::<Vec<_>>().await.unwrap();
    one.note(&entry(1, 8)).await.unwrap();
    assert!((6..50).contains(&place.records().await.len()), "{:?}", place.records().await.len());
    let mut known = place.known().await;
    assert!((2..5000).all(|id| found(&known, id) == [7]));
    assert_eq!((found(&known, 1), found(&known, 5000)), (vec![7, 8], vec![]));
    // What a backup vouches for goes first, and is not named twice.
    known = Known::default();
    known.chunks.insert(entry(1, 9).id, entry(1, 9));
    place.repository().await.add_pending(&Ctx::new(), &mut known).await.unwrap();
    assert_eq!(found(&known, 1), [9]);
    one.remove().await.unwrap();
    let known = place.known().await;
    assert_eq!((found(&known, 1), found(&known, 2)), (vec![7], vec![]));
    two.remove().await.unwrap();
    assert!(place.records().await.is_empty());
}

#[tokio::test]
async fn a_note_that_could_not_be_written_is_written_with_the_next() {
    let place = Place::new().await;
    let pending = place.pending("one").await;
    {
        // It is dropped while it waits for its turn, as a backup that is cancelled drops it.
        let _held = pending.written.lock().await;
        let _ = futures::poll!(Box::pin(pending.note(&entry(1, 1))));
    }
    pending.note(&entry(2, 2)).await.unwrap();
    let known = place.known().await;
    assert_eq!((found(&known, 1), found(&known, 2)), (vec![1], vec![2]));
}

#[tokio::test]
async fn a_record_that_is_forged_foreign_or_flipped_anywhere_names_nothing() {
    let place = Place::new().await;
    place.pending("one").await.note(&entry(1, 1)).await.unwrap();
    let key = place.records().await.remove(0);
    let whole = place.storage.get(&key, None).await.unwrap();
    let put = |bytes: Vec<u8>| {
        let key = key.clone();
        async { place.storage.put(&{ key }, bytes.into(), PutMode::Overwrite).await.unwrap() }
    };
    let mut caught = 0;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.to_vec();
            flipped[at] ^= 1 << bit;
            put(flipped).await;
            let known = place.known().await;
            // Another case of a hexadecimal digit in the proof says the same, and is the same record.
            assert!(known.pending.is_empty() || known.pending == [entry(1, 1)], "bit {bit} of byte {at}");
            caught += usize::from(known.pending.is_empty());
        }
        put(whole[..at].to_vec()).await;
        assert!(place.known().await.pending.is_empty(), "cut at {at}");
    }
    assert!(caught > whole.len() * 7, "{caught}");
    // Signed by somebody else, of another repository, for others, for another purpose, or by nobody.
    let other = Place::new().await;
    let seal = other.repository().await.seal().unwrap().unwrap();
    let mut forged = Vec::new();
    let mut pending = place.pending("one").await;
    pending.signing = seal.signing.clone();
    forged.push(pending.encode(&[entry(2, 2)]).unwrap());
    let mut pending = place.pending("one").await;
    pending.repository = other.host.repository.clone();
    forged.push(pending.encode(&[entry(2, 2)]).unwrap());
    let mut pending = place.pending("one").await;
    pending.recipients = seal.recipients;
    forged.push(pending.encode(&[entry(2, 2)]).unwrap());
    let record = |purpose, key: Option<&SigningKey>| {
        let good = place.host.clone();
        let (list, bytes) = lists::encode(&[entry(2, 2)]);
        let record = PendingRecord {
            lifeboat: 1,
            repository: good.repository,
            backup: "one".parse().unwrap(),
            recipients: good.recipients,
            list,
        };
        let line = serde_json::to_vec(&record).unwrap();
        let proof = serde_json::to_vec(&Proof::of(&line, purpose, key)).unwrap();
        [&line[..], b"\n", &proof, b"\n", &bytes].concat().into()
    };
    forged.push(record(Purpose::Mark, Some(&place.host.signing)));
    forged.push(record(Purpose::Pending, None));
    for (number, record) in forged.iter().enumerate() {
        put(record.to_vec()).await;
        assert!(place.known().await.pending.is_empty(), "forgery {number}");
    }
    put(record(Purpose::Pending, Some(&place.host.signing)).to_vec()).await;
    assert_eq!(place.known().await.pending, [entry(2, 2)]);
}
