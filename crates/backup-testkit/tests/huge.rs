//! Values near 1 GiB and past 4 GiB: whole in every format, in memory that does not know of their size.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a fixture that fails is a panic")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use backup_core::codec::Level;
use backup_core::storage::MemoryStorage;
use backup_core::{
    BackupConfig, BackupManager, BackupRef, BackupRequest, BackupSession, Column, Ctx, DatabaseUrl, Engine,
    EngineFactory, Error, Format, Item, LogPoint, Object, Part, PartKind, PartReader, PartWriter, Phase,
    Registry, RestoreOptions, RestoreRequest, RestoreSession, Result, RowLayout, ServerInfo, async_trait,
};

mod statements;
use statements::Statements;

/// A database with one value, `giant:BYTES`, that is made up as it is read; a restore into it compares what comes.
static GIANT: EngineFactory = EngineFactory::new("giant", &["giant"], "giant:4294967296", |url| {
    let bytes = url.path.parse().map_err(|_| Error::usage("not a number of bytes"))?;
    Ok(Arc::new(Giant(Arc::new(Value { bytes, restored: AtomicU64::new(0) }))))
})
.with_script(|| Box::new(Statements));

/// How many bytes the last restore was given, all of them right.
static RESTORED: AtomicU64 = AtomicU64::new(0);

/// What a value is made of, over and over, but for its ends.
const PATTERN: usize = 4096;
const END: u64 = 1000;
const FRAGMENT: usize = 256 << 10;

static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut state = 1u64;
    let text = (0..FRAGMENT + PATTERN).map(|i| {
        if i % PATTERN == 0 {
            state = 1;
        }
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        b'a' + (state >> 33) as u8 % 26
    });
    text.collect()
});

#[derive(Debug)]
struct Value {
    bytes: u64,
    restored: AtomicU64,
}

impl Value {
    /// The bytes of it from `start` on, as many as fit into `fragment`.
    fn fill(&self, start: u64, fragment: &mut Vec<u8>) {
        let length = (self.bytes - start).min(FRAGMENT as u64) as usize;
        let phase = start as usize % PATTERN;
        fragment.clear();
        fragment.extend_from_slice(&TEXT[phase..phase + length]);
        // Its ends are like nothing else in it, so that no end can be taken for another.
        let end = start + length as u64;
        for (byte, at) in fragment.iter_mut().zip(start..).take(END as usize) {
            if at < END {
                *byte = b'A' + (at % 26) as u8;
            }
        }
        let tail = self.bytes.saturating_sub(END);
        for at in tail.max(start)..end {
            fragment[(at - start) as usize] = b'0' + (at % 10) as u8;
        }
    }

    /// Compares what comes next of it.
    fn compare(&self, came: &[u8]) -> Result<()> {
        let mut expected = Vec::new();
        for piece in came.chunks(FRAGMENT) {
            let start = self.restored.fetch_add(piece.len() as u64, Ordering::SeqCst);
            if start + piece.len() as u64 > self.bytes {
                return Err(Error::damaged("more came than there is"));
            }
            self.fill(start, &mut expected);
            if expected.get(..piece.len()) != Some(piece) {
                return Err(Error::damaged(format!("other bytes came at {start}")));
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Giant(Arc<Value>);

#[async_trait]
impl Engine for Giant {
    async fn probe(&self, _ctx: &Ctx) -> Result<ServerInfo> {
        Ok(ServerInfo::new("Giant", "1", "giant"))
    }

    async fn begin_backup(&self, _ctx: &Ctx, _request: BackupRequest) -> Result<Box<dyn BackupSession>> {
        Ok(Box::new(Session(Arc::clone(&self.0))))
    }

    async fn begin_restore(
        &self,
        _ctx: &Ctx,
        _request: RestoreRequest,
        _parts: Arc<[Part]>,
    ) -> Result<Box<dyn RestoreSession>> {
        Ok(Box::new(Session(Arc::clone(&self.0))))
    }
}

struct Session(Arc<Value>);

#[async_trait]
impl BackupSession for Session {
    fn position(&self) -> Option<&LogPoint> {
        None
    }

    async fn plan(&self, _ctx: &Ctx) -> Result<Vec<Part>> {
        let table = Object::new("table", "giants");
        let create = Part::sql(0, Phase::PreData, table.clone());
        let columns = vec![Column::new("value", "any")];
        let rows = Part::rows(1, table, RowLayout::Opaque, columns).after(vec![create.id]);
        Ok(vec![create, rows.size_hint(self.0.bytes)])
    }

    async fn dump(&self, _ctx: &Ctx, part: &Part, out: &mut PartWriter) -> Result<()> {
        if part.kind == PartKind::Sql {
            return out.statement("a table of giants").await;
        }
        let (mut at, mut fragment) = (0, Vec::new());
        out.begin_row()?;
        while at < self.0.bytes {
            self.0.fill(at, &mut fragment);
            out.fragment(&fragment).await?;
            at += fragment.len() as u64;
        }
        out.end_row().await?;
        out.row(b"small").await
    }

    async fn finish(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl RestoreSession for Session {
    async fn load(&self, _ctx: &Ctx, part: &Part, input: &mut PartReader) -> Result<()> {
        let is_table = part.phase == Phase::PreData;
        let mut small = 0;
        while let Some(item) = input.next().await? {
            match item {
                Item::Fragment { bytes, .. } => self.0.compare(bytes)?,
                Item::Row(b"small") if !is_table => small += 1,
                Item::Row(b"a table of giants") if is_table => {}
                other => return Err(Error::damaged(format!("{other:?} came")).during("load")),
            }
        }
        if !is_table && small != 1 {
            return Err(Error::damaged("the small row is lost"));
        }
        Ok(())
    }

    async fn finish(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        RESTORED.store(self.0.restored.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    }

    async fn abort(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        Ok(())
    }
}

/// The peak of this process's memory since the last call, in MiB; 0 where the system does not say.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    kib.unwrap_or(0) / 1024
}

async fn there_and_back(bytes: u64, format: Format) {
    let mut config = BackupConfig::default();
    config.format = format;
    config.jobs = 2;
    config.level = Level::of(1);
    config.verify = false;
    let manager = BackupManager::new(config)
        .with_registry(Registry::new().with(&GIANT))
        .with_storage(Arc::new(MemoryStorage::new()));
    let url: DatabaseUrl = format!("giant:{bytes}").parse().unwrap();
    peak();
    let backup = manager.backup(&url).await.unwrap();
    let what = format!("{bytes} bytes as {format:?}");
    let details = manager.get_backup(&BackupRef::from(&backup.id)).await.unwrap();
    assert_eq!(details.parts[1].digest.rows, 2, "{what}");
    assert_eq!(details.parts[1].bytes, bytes + 5, "{what}");
    assert!(backup.raw_size >= bytes, "{what}: {backup:?}");
    let mut options = RestoreOptions::default();
    options.jobs = Some(1);
    RESTORED.store(0, Ordering::SeqCst);
    manager.restore(&BackupRef::from(&backup.id), &url, options).await.unwrap();
    assert_eq!(RESTORED.load(Ordering::SeqCst), bytes, "{what}");
    // Another length is told apart: what follows is not what is expected there.
    let other: DatabaseUrl = format!("giant:{}", bytes - (1 << 20)).parse().unwrap();
    let refused = manager.restore(&BackupRef::from(&backup.id), &other, RestoreOptions::default()).await;
    assert!(refused.is_err(), "{what}: the fixture notices nothing");
    let peak = peak();
    println!("{what}: backed up and restored whole, stored in {} bytes, peak {peak} MiB", backup.size);
    assert!(peak < 512, "{what}: {peak} MiB");
}

#[test]
fn a_value_near_a_gibibyte_and_one_past_four_are_whole_in_every_format() {
    backup_testkit::run(async {
        there_and_back((1 << 30) + 1, Format::Binary).await;
        for format in [Format::Binary, Format::Compressed, Format::Sql] {
            there_and_back((1 << 32) + 12_345, format).await;
        }
    });
}
