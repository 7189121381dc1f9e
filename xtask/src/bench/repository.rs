//! `cargo xtask bench repository`: what a repository of many backups and many chunks takes to be listed, checked and pruned.
//!
//! The repository is made by hand, as docs/format.md says: a real backup of a small database is the first, and the others are its
//! manifest under other names, with lists that name chunks of their own besides. Every chunk is a real one, of 64 bytes.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use backup_core::Hash32;
use backup_core::block::{ChunkEncoder, RawChunk, Segment, SegmentKind, TableHints};
use backup_core::codec::{Level, NoCompression};
use serde_json::{Value, json};

use super::measure::{Run, largest, measure, median};
use crate::{Result, program};

const RUNS: usize = 3;

/// Words after `bench repository`: how many backups, and how many chunks in all.
pub(crate) fn run(words: &[&str]) -> Result {
    let (backups, chunks) = match words {
        [] => (1_000, 1_000_000),
        [backups, chunks] => (backups.parse()?, chunks.parse()?),
        _ => return Err("give the number of backups and of chunks".into()),
    };
    let lifeboat = program::lifeboat(true)?;
    let directory = tempfile::tempdir_in(program::root()?.join("target"))?;
    let bench = Bench { lifeboat, directory: directory.path().to_owned() };
    eprintln!("making a repository of {backups} backups and {chunks} chunks");
    bench.make(backups, chunks)?;
    println!("\n{backups} backups, {chunks} chunks\n\n| | wall s | peak MiB |\n|---|---|---|");
    for (name, arguments) in
        [("list", &["list"][..]), ("check", &["check"]), ("check --read-data", &["check", "--read-data"])]
    {
        let runs: Vec<Run> = (0..RUNS).map(|_| bench.lifeboat(arguments)).collect::<Result<_>>()?;
        let (seconds, peak) =
            (median(runs.iter().map(|run| run.seconds)), largest(runs.iter().map(|run| run.peak_mib)));
        println!("| {name} | {seconds:.2} | {peak:.0} |");
    }
    bench.prune(backups)
}

struct Bench {
    lifeboat: PathBuf,
    directory: PathBuf,
}

impl Bench {
    fn lifeboat(&self, arguments: &[&str]) -> Result<Run> {
        measure(Command::new(&self.lifeboat).args(arguments).current_dir(&self.directory).arg("--quiet"))
    }

    /// Prunes where nothing is garbage, and then where a tenth of the backups has gone, and with them their chunks.
    fn prune(&self, backups: usize) -> Result {
        let print = |name: &str, run: Run| println!("| {name} | {:.2} | {:.0} |", run.seconds, run.peak_mib);
        print("prune, all kept", self.lifeboat(&["prune"])?);
        let mut config = String::from("[retention]\n");
        config += &format!("max-backups = {}\n", backups - backups / 10);
        fs::write(self.directory.join("lifeboat.toml"), config)?;
        print("prune, a tenth of the backups dropped", self.short_lease(&["prune", "--yes"])?);
        // The waiting time is six times the lease.
        std::thread::sleep(std::time::Duration::from_secs(7));
        print("prune, a tenth of the chunks deleted", self.short_lease(&["prune", "--yes"])?);
        Ok(())
    }

    fn short_lease(&self, arguments: &[&str]) -> Result<Run> {
        let mut command = Command::new(&self.lifeboat);
        command.env("LIFEBOAT_TEST_LEASE", "1");
        measure(command.args(arguments).current_dir(&self.directory).arg("--quiet"))
    }

    fn make(&self, backups: usize, chunks: usize) -> Result {
        rusqlite::Connection::open(self.directory.join("small.db"))?
            .execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)")?;
        self.lifeboat(&["backup", "sqlite:small.db", "--format", "binary"])?;
        let repository = self.directory.join("backups");
        let description: Value = serde_json::from_slice(&fs::read(repository.join("lifeboat.json"))?)?;
        let key = Hash32::try_from(description["chunk-key"].as_str().ok_or("no chunk-key")?.to_owned())?;
        let manifest = fs::read_dir(repository.join("manifests"))?.next().ok_or("no manifest")??.path();
        let template = fs::read(&manifest)?;
        let mut lines = template.splitn(3, |byte| *byte == b'\n');
        let (header, _, body) = (lines.next(), lines.next(), lines.next());
        let mut header: Value = serde_json::from_slice(header.ok_or("no header")?)?;
        let body = body.ok_or("no body")?.to_owned();
        let real_list = header["lists"][0]["id"].as_str().ok_or("no list")?.to_owned();
        // The chunks of the real backup come first, where its part list looks for them.
        let real = fs::read(repository.join("lists").join(&real_list[..2]).join(&real_list))?;
        let encoder = ChunkEncoder { codec: Arc::new(NoCompression), level: Level::default() };
        let mut directories = HashSet::new();
        for backup in 1..backups {
            let mut list = real.clone();
            for chunk in backup * chunks / backups..(backup + 1) * chunks / backups {
                list.extend(self::chunk(&repository, &key.0, &encoder, chunk as u64, &mut directories)?);
            }
            let id = Hash32::of(&list).to_string();
            put(&repository.join("lists").join(&id[..2]), &id, &list, &mut directories)?;
            let name = format!("20260101-{:06}-{backup:08x}", backup % 1_000_000);
            header["id"] = json!(name);
            header["ordinal"] = json!(backup + 1);
            header["lists"] = json!([{ "id": id, "chunks": (list.len() - 8) / 72 }]);
            let line = serde_json::to_vec(&header)?;
            let proof = json!({ "hash": Hash32::of(&line).to_string(), "signature": null }).to_string();
            let file = [&line[..], b"\n", proof.as_bytes(), b"\n", &body].concat();
            put(&repository.join("manifests"), &name, &file, &mut directories)?;
            let mark =
                json!({ "body": header["body"]["hash"], "verified": header["finished"], "writer": "bench" });
            put(&repository.join("marks"), &name, mark.to_string().as_bytes(), &mut directories)?;
        }
        Ok(())
    }
}

/// Stores a chunk that holds `number`, and returns its entry in a list.
fn chunk(
    repository: &Path,
    key: &[u8; 32],
    encoder: &ChunkEncoder,
    number: u64,
    directories: &mut HashSet<PathBuf>,
) -> Result<Vec<u8>> {
    let bytes = number.to_le_bytes().repeat(8);
    let segment = Segment { kind: SegmentKind::Bytes, bytes: 0..bytes.len(), rows: 0..0 };
    let chunk = RawChunk { bytes, ends: Vec::new(), segments: vec![segment] };
    let mut stored = Vec::new();
    encoder.encode(&chunk, &[Arc::new(TableHints::default())], &mut stored)?;
    let id = Hash32(chunk.hash(key));
    let name = id.to_string();
    put(&repository.join("chunks").join(&name[..2]), &name, &stored, directories)?;
    let mut entry = [id.0, Hash32::of(&stored).0].concat();
    entry.extend((stored.len() as u32).to_le_bytes());
    entry.extend((chunk.bytes.len() as u32).to_le_bytes());
    Ok(entry)
}

fn put(directory: &Path, name: &str, bytes: &[u8], directories: &mut HashSet<PathBuf>) -> Result {
    if directories.insert(directory.to_owned()) {
        fs::create_dir_all(directory)?;
    }
    fs::write(directory.join(name), bytes)?;
    Ok(())
}
