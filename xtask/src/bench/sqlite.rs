//! `cargo xtask bench sqlite`: lifeboat against `sqlite3 .dump | zstd -3`, which is what one would do without it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::{Connection, params};

use super::measure::{Run, largest, measure, median, remove, size};
use crate::sample::{self, Numbers};
use crate::{Result, program};

const RUNS: usize = 3;

/// Words after `bench sqlite` choose among the benchmarks: `speed`, `change`, `blob`, `tables`; none means all.
pub(crate) fn run(words: &[&str]) -> Result {
    let lifeboat = program::lifeboat(true)?;
    program::install(&[("sqlite3", "sqlite3"), ("zstd", "zstd")]);
    let directory = tempfile::tempdir_in(program::root()?.join("target"))?;
    let bench = Bench { lifeboat, directory: directory.path().to_owned() };
    let wanted = |word: &str| words.is_empty() || words.contains(&word);
    if wanted("speed") || wanted("change") {
        eprintln!("making a database of 1 GB");
        mixed(&bench.path("mixed.db"))?;
    }
    if wanted("speed") {
        bench.speed()?;
    }
    if wanted("change") {
        bench.change()?;
    }
    if wanted("blob") {
        bench.blob()?;
    }
    if wanted("tables") {
        bench.tables()?;
    }
    Ok(())
}

struct Bench {
    lifeboat: PathBuf,
    directory: PathBuf,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn lifeboat(&self, arguments: &[&str]) -> Result<Run> {
        measure(Command::new(&self.lifeboat).args(arguments).current_dir(&self.directory).arg("--quiet"))
    }

    fn shell(&self, script: &str) -> Result<Run> {
        let script = format!("set -o pipefail; {script}");
        measure(Command::new("bash").args(["-c", &script]).current_dir(&self.directory))
    }

    fn remove(&self, name: &str) -> Result {
        remove(&self.path(name))
    }

    fn backup(&self, database: &str, repository: &str, verify: bool) -> Result<Run> {
        let source = format!("sqlite:{database}");
        let mut arguments = vec!["backup", &source, "--repo", repository, "--format", "binary", "-j", "2"];
        if !verify {
            arguments.push("--no-verify");
        }
        self.lifeboat(&arguments)
    }

    fn restore(&self, repository: &str) -> Result<Run> {
        self.remove("copy.db")?;
        self.lifeboat(&["restore", "latest", "--repo", repository, "--target", "sqlite:copy.db", "-j", "2"])
    }

    /// Backup and restore of mixed tables, in alternating runs.
    fn speed(&self) -> Result {
        let mut runs: [Vec<Run>; 5] = Default::default();
        let mut ours = 0;
        for run in 0..RUNS {
            eprintln!("speed: run {} of {RUNS}", run + 1);
            // Some file systems make new files slowly for a while after a deletion, so the repositories stay until the end.
            let (repository, verified) = (format!("repository-{run}"), format!("verified-{run}"));
            runs[0].push(self.backup("mixed.db", &repository, false)?);
            runs[1].push(self.backup("mixed.db", &verified, true)?);
            runs[2].push(self.shell("sqlite3 mixed.db .dump | zstd -3 -q -f -o peer.sql.zst")?);
            runs[3].push(self.restore(&repository)?);
            ours = size(&self.path(&repository))?;
            self.remove("peer.db")?;
            runs[4].push(self.shell("zstd -dcq peer.sql.zst | sqlite3 peer.db")?);
        }
        for run in 0..RUNS {
            self.remove(&format!("repository-{run}"))?;
            self.remove(&format!("verified-{run}"))?;
        }
        let wall = |i: usize| median(runs[i].iter().map(|run| run.seconds));
        let peak = |i: usize| largest(runs[i].iter().map(|run| run.peak_mib));
        let mb = |bytes: u64| bytes as f64 / 1e6;
        let source = fs::metadata(self.path("mixed.db"))?.len();
        let theirs = fs::metadata(self.path("peer.sql.zst"))?.len();
        println!(
            "\n### 1 GB of mixed tables ({:.0} MB), 2 jobs, medians of {RUNS} alternating runs\n",
            mb(source)
        );
        println!("| | wall s | ratio | MB | peak MiB |\n|---|---|---|---|---|");
        println!("| sqlite3 .dump, zstd -3 | {:.1} | 1 | {:.0} | |", wall(2), mb(theirs));
        println!(
            "| lifeboat backup | {:.1} | {:.2} | {:.0} | {:.0} |",
            wall(0),
            wall(2) / wall(0),
            mb(ours),
            peak(0)
        );
        println!(
            "| lifeboat backup, verified | {:.1} | {:.2} | | {:.0} |",
            wall(1),
            wall(2) / wall(1),
            peak(1)
        );
        println!("| zstd -dc, sqlite3 | {:.1} | 1 | | |", wall(4));
        println!("| lifeboat restore | {:.1} | {:.2} | | {:.0} |", wall(3), wall(4) / wall(3), peak(3));
        Ok(())
    }

    /// What a second backup stores when some rows of the largest table have changed.
    fn change(&self) -> Result {
        let rows =
            Connection::open(self.path("mixed.db"))?
                .query_row("SELECT max(id) FROM big", [], |row| row.get::<_, i64>(0))?;
        let changes = [
            ("nothing", "0"),
            ("1% in one place", "id BETWEEN ?1 / 2 AND ?1 / 2 + ?1 / 100"),
            ("1% scattered", "id % 100 = 7"),
            ("0.01% scattered", "id % 10000 = 7"),
        ];
        println!("\n### A second backup after a change to the largest table\n");
        println!("| changed | stored anew, MB | of the first |\n|---|---|---|");
        for (what, condition) in changes {
            self.remove("changing")?;
            fs::copy(self.path("mixed.db"), self.path("changing.db"))?;
            self.backup("changing.db", "changing", false)?;
            let first = size(&self.path("changing"))?;
            let db = Connection::open(self.path("changing.db"))?;
            let update = format!("UPDATE big SET amount = amount + 1 WHERE {condition} AND ?1 > 0");
            db.execute(&update, params![rows])?;
            drop(db);
            self.backup("changing.db", "changing", false)?;
            let added = size(&self.path("changing"))? - first;
            println!("| {what} | {:.1} | {:.1}% |", added as f64 / 1e6, 100.0 * added as f64 / first as f64);
        }
        Ok(())
    }

    /// One value of 300 MB.
    fn blob(&self) -> Result {
        let db = sample::create(&self.path("blob.db"))?;
        db.execute_batch("CREATE TABLE picture (id INTEGER PRIMARY KEY, title TEXT, pixels BLOB)")?;
        db.execute("INSERT INTO picture VALUES (1, 'large', ?1)", [Numbers::new(3).bytes(300_000_000)])?;
        drop(db);
        let (backup, restore) = (self.backup("blob.db", "blobs", true)?, self.restore("blobs")?);
        println!("\n### A row with a value of 300 MB\n");
        println!("| | wall s | peak MiB |\n|---|---|---|");
        println!("| backup, verified | {:.1} | {:.0} |", backup.seconds, backup.peak_mib);
        println!("| restore | {:.1} | {:.0} |", restore.seconds, restore.peak_mib);
        Ok(())
    }

    /// Many tiny tables: the time of each must not depend on how many there are.
    fn tables(&self) -> Result {
        println!("\n### Tiny tables\n");
        println!(
            "| tables | backup s | µs a table | restore s | µs a table | peak MiB |\n|---|---|---|---|---|---|"
        );
        for count in [5_000u32, 10_000, 20_000] {
            let name = format!("tables{count}.db");
            let db = sample::create(&self.path(&name))?;
            db.execute_batch("BEGIN")?;
            for i in 0..count {
                db.execute_batch(&format!(
                    "CREATE TABLE t{i} (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t{i} VALUES (1, 'one'), (2, 'two');"
                ))?;
            }
            db.execute_batch("COMMIT")?;
            drop(db);
            let repository = format!("repository{count}");
            let (backup, restore) = (self.backup(&name, &repository, false)?, self.restore(&repository)?);
            let each = |run: &Run| run.seconds * 1e6 / f64::from(count);
            println!(
                "| {count} | {:.2} | {:.0} | {:.2} | {:.0} | {:.0} |",
                backup.seconds,
                each(&backup),
                restore.seconds,
                each(&restore),
                backup.peak_mib.max(restore.peak_mib)
            );
        }
        Ok(())
    }
}

/// About 1 GB in the mix that the peers of other engines are measured with: wide rows of 300 bytes make two thirds of it, then
/// a narrow table, documents, and 200 small tables.
fn mixed(path: &Path) -> Result {
    let db = sample::create(path)?;
    let mut numbers = Numbers::new(2);
    db.execute_batch(
        "CREATE TABLE big (id INTEGER PRIMARY KEY, customer INTEGER, placed TEXT, state TEXT, amount INTEGER,
           price REAL, reference TEXT, email TEXT, note TEXT, address TEXT);
         CREATE TABLE narrow (a INTEGER, b INTEGER, c INTEGER);
         CREATE TABLE docs (id INTEGER PRIMARY KEY, body TEXT, digest BLOB);
         BEGIN;",
    )?;
    let mut insert = db.prepare("INSERT INTO big VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")?;
    for id in 1..=2_400_000i64 {
        let customer = numbers.below(200_000);
        let state = ["new", "paid", "sent", "returned"][numbers.below(4) as usize];
        let (placed, price) = (sample::day(&mut numbers), numbers.below(1_000_000) as f64 / 100.0);
        let (amount, reference) = (1 + numbers.below(20), format!("{:016x}", numbers.next()));
        let (email, words) = (format!("customer.{customer}@example.org"), 12 + numbers.below(18));
        let (note, address) = (numbers.text(words), numbers.text(6));
        insert
            .execute(params![id, customer, placed, state, amount, price, reference, email, note, address])?;
    }
    let mut insert = db.prepare("INSERT INTO narrow VALUES (?1, ?2, ?3)")?;
    for i in 0..4_000_000i64 {
        insert.execute(params![i, numbers.below(1000), numbers.next() as i32])?;
    }
    let mut insert = db.prepare("INSERT INTO docs VALUES (?1, ?2, ?3)")?;
    for id in 1..=80_000i64 {
        let items: Vec<String> = (0..20)
            .map(|i| {
                format!(
                    "{{\"id\":{},\"name\":\"{}\",\"price\":{}}}",
                    id * 20 + i,
                    numbers.text(3),
                    numbers.below(9999)
                )
            })
            .collect();
        let (body, length) =
            (format!("{{\"order\":{id},\"items\":[{}]}}", items.join(",")), numbers.below(3000) as usize);
        insert.execute(params![id, body, numbers.bytes(length)])?;
    }
    for i in 0..200 {
        db.execute_batch(&format!("CREATE TABLE small{i} (id INTEGER PRIMARY KEY, name TEXT, value REAL)"))?;
        let mut insert = db.prepare(&format!("INSERT INTO small{i} VALUES (?1, ?2, ?3)"))?;
        for id in 0..100i64 {
            insert.execute(params![id, numbers.text(2), numbers.below(1000) as f64 / 7.0])?;
        }
    }
    db.execute_batch(
        "COMMIT; CREATE INDEX big_by_customer ON big (customer); CREATE INDEX docs_by_digest ON docs (digest);
         PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;",
    )?;
    Ok(())
}
