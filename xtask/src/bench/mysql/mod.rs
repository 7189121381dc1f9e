//! `cargo xtask bench mysql`: lifeboat against the server's own dump program with zstd, and against Debian's mydumper and myloader.

mod peers;

use std::fs;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::measure::{Run, measure, remove, size};
use super::mix;
use super::runs::{HEAD, Runs};
use crate::{Result, program, servers};

const RUNS: usize = 3;
const FEW_TABLES: u32 = 1000;
const TABLES: u32 = 10_000;

/// Words after `bench mysql` choose among the benchmarks: `mix`, `one`, `tables`, none means all; and the server: `mariadb` if not said,
/// `mariadb-11.8`, `mysql`.
pub(crate) fn run(words: &[&str]) -> Result {
    let lifeboat = program::lifeboat(true)?;
    let (servers, words): (Vec<&str>, Vec<&str>) =
        words.iter().partition(|word| ["mariadb", "mariadb-11.8", "mysql"].contains(word));
    let server = servers::mysql(servers.first().copied().unwrap_or("mariadb"))?;
    program::install(&[("mydumper", "mydumper"), ("zstd", "zstd")]);
    let directory = tempfile::tempdir_in(program::root()?.join("target"))?;
    let old_mydumper = peers::mydumper_version()?.contains("mydumper 0.");
    let bench = Bench { lifeboat, directory: directory.path().to_owned(), server, old_mydumper };
    println!("against {}", bench.versions()?);
    // All that is measured fits into the server's memory.
    bench.sql("mysql", "SET GLOBAL innodb_buffer_pool_size = 2147483648")?;
    if !bench.server.is_mariadb {
        // What mydumper 1.0 needs not to crash.
        bench.sql("mysql", "SET GLOBAL explain_format = 'TRADITIONAL'")?;
    }
    let wanted = |word: &str| words.is_empty() || words.contains(&word);
    if wanted("mix") || wanted("one") {
        bench.fill()?;
    }
    if wanted("mix") {
        bench.mix()?;
    }
    if wanted("one") {
        bench.one()?;
    }
    if wanted("tables") {
        bench.tables()?;
    }
    Ok(())
}

struct Bench {
    lifeboat: PathBuf,
    directory: PathBuf,
    server: servers::MySql,
    old_mydumper: bool,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn remove(&self, name: &str) -> Result {
        remove(&self.path(name))
    }

    fn backup(&self, database: &str, repository: &str, jobs: &str, more: &[&str]) -> Result<Run> {
        self.remove(repository)?;
        let mut command = Command::new(&self.lifeboat);
        command.args(["backup", &self.server.url(database), "--repo", repository, "--format", "binary"]);
        measure(command.args(["-j", jobs, "--quiet"]).args(more).current_dir(&self.directory))
    }

    fn restore(&self, repository: &str, database: &str) -> Result<Run> {
        let mut command = Command::new(&self.lifeboat);
        command.args(["restore", "latest", "--repo", repository, "-j", "2", "--quiet", "--target"]);
        measure(command.arg(self.server.url(database)).current_dir(&self.directory))
    }

    fn sql(&self, database: &str, sql: &str) -> Result {
        program::run(self.server.program("").args(["--execute", sql, database]).stdout(Stdio::null()))
    }

    /// Lets the client load into a table what `rows` writes; `columns` stand behind the table's name.
    fn load(
        &self,
        database: &str,
        table: &str,
        columns: &str,
        rows: &mut dyn FnMut(&mut dyn Write) -> Result,
    ) -> Result {
        let mut command = self.server.program("");
        let sql = format!("LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE {table} {columns}");
        command.args(["--local-infile=1", "--execute", &sql, database]);
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut input =
            BufWriter::with_capacity(1 << 20, client.stdin.take().ok_or("the client has no input")?);
        rows(&mut input)?;
        input.flush()?;
        drop(input);
        let status = client.wait()?;
        if status.success() { Ok(()) } else { Err(format!("the client failed: {status}: {sql}").into()) }
    }

    /// An empty database, and a binary log without what was loaded before: it would fill the disk.
    fn fresh(&self, database: &str) -> Result {
        let forget = if self.server.is_mariadb { "RESET MASTER" } else { "RESET BINARY LOGS AND GTIDS" };
        let make = format!("CREATE DATABASE {database} CHARACTER SET utf8mb4");
        self.sql("mysql", &format!("DROP DATABASE IF EXISTS {database}; {make}; {forget}"))
    }

    /// Makes the database of the mix.
    fn fill(&self) -> Result {
        eprintln!("making a database of 1 GB");
        self.fresh("bench_mix")?;
        self.sql(
            "bench_mix",
            "CREATE TABLE big (id INT PRIMARY KEY, customer INT, placed DATE, state VARCHAR(20), amount INT, price DECIMAL(12,2),
               reference VARCHAR(20), email VARCHAR(60), note TEXT, address VARCHAR(100));
             CREATE TABLE narrow (a INT PRIMARY KEY, b INT, c INT);
             CREATE TABLE docs (id INT PRIMARY KEY, body JSON, digest BLOB)",
        )?;
        self.load("bench_mix", "big", "", &mut |out| mix::big(out))?;
        self.load("bench_mix", "narrow", "", &mut |out| mix::narrow(out))?;
        let columns = "(id, body, @digest) SET digest = UNHEX(@digest)";
        self.load("bench_mix", "docs", columns, &mut |out| mix::docs(out, ""))?;
        for i in 0..mix::SMALL_TABLES {
            let make = format!("CREATE TABLE small{i} (id INT PRIMARY KEY, name VARCHAR(60), value DOUBLE)");
            self.sql("bench_mix", &make)?;
            self.load("bench_mix", &format!("small{i}"), "", &mut |out| mix::small(out, i))?;
        }
        self.sql("bench_mix", "ALTER TABLE big ADD KEY (customer); ANALYZE TABLE big, narrow, docs")
    }

    /// Backup and restore of the mix, in alternating runs.
    fn mix(&self) -> Result {
        let mut runs: [Runs; 6] = Default::default();
        let (mut ours, mut dumped, mut theirs) = (0, 0, 0);
        for run in 0..RUNS {
            eprintln!("mix: run {} of {RUNS}", run + 1);
            runs[0].0.push(self.dump("bench_mix", "dump.sql.zst")?);
            runs[1].0.push(self.mydumper("bench_mix", "mydumper")?);
            runs[2].0.push(self.backup("bench_mix", "repository", "2", &["--no-verify"])?);
            runs[3].0.push(self.backup("bench_mix", "verified", "2", &[])?);
            ours = size(&self.path("repository"))?;
            dumped = fs::metadata(self.path("dump.sql.zst"))?.len();
            theirs = size(&self.path("mydumper"))?;
            self.fresh("bench_copy")?;
            runs[4].0.push(self.myloader("mydumper", "bench_copy")?);
            self.fresh("bench_copy")?;
            runs[5].0.push(self.restore("repository", "bench_copy")?);
        }
        self.sql("mysql", "DROP DATABASE bench_copy")?;
        let [dump, mydumper, backup, verified, myloader, restore] = &runs;
        println!("\n### 1 GB in a mix of tables, 2 jobs, medians of {RUNS} alternating runs\n\n{HEAD}");
        dump.row(&format!("{} \\| zstd -3 -T2", self.dump_name()), dump, Some((dumped, dumped)));
        mydumper.row(self.mydumper_name(), dump, Some((theirs, dumped)));
        backup.row("lifeboat backup --no-verify", dump, Some((ours, dumped)));
        verified.row("lifeboat backup", dump, None);
        myloader.row("myloader -t 2", myloader, None);
        restore.row("lifeboat restore", myloader, None);
        Ok(())
    }

    /// One large table alone.
    fn one(&self) -> Result {
        let mut runs: [Runs; 2] = Default::default();
        for run in 0..RUNS {
            eprintln!("one table: run {} of {RUNS}", run + 1);
            runs[0].0.push(self.backup("bench_mix", "one", "1", &["--no-verify", "--include", "big"])?);
            runs[1].0.push(self.backup("bench_mix", "two", "2", &["--no-verify", "--include", "big"])?);
        }
        let [one, two] = &runs;
        println!("\n### One table alone, medians of {RUNS} alternating runs\n\n{HEAD}");
        one.row("lifeboat backup --no-verify -j 1", one, None);
        two.row("lifeboat backup --no-verify -j 2", one, None);
        Ok(())
    }

    /// Many tables of a few rows.
    fn tables(&self) -> Result {
        for (database, tables) in [("bench_few", FEW_TABLES), ("bench_tables", TABLES)] {
            eprintln!("making {tables} tables");
            self.fresh(database)?;
            for first in (0..tables).step_by(500) {
                let tables: String = (first..(first + 500).min(tables))
                    .map(|i| {
                        format!("CREATE TABLE t{i} (id INT PRIMARY KEY, name TEXT); INSERT INTO t{i} VALUES (1, 'one'), (2, 'two');")
                    })
                    .collect();
                self.sql(database, &tables)?;
            }
        }
        let mut runs: [Runs; 3] = Default::default();
        for run in 0..RUNS {
            eprintln!("tables: run {} of {RUNS}", run + 1);
            runs[0].0.push(self.dump("bench_tables", "tables.sql.zst")?);
            runs[1].0.push(self.backup("bench_tables", "tables", "2", &["--no-verify"])?);
            runs[2].0.push(self.backup("bench_few", "few", "2", &["--no-verify"])?);
        }
        let [dump, backup, few] = &runs;
        println!("\n### Small tables, 2 jobs, medians of {RUNS} alternating runs\n\n{HEAD}");
        dump.row(&format!("{} \\| zstd, {TABLES} tables", self.dump_name()), dump, None);
        backup.row(&format!("lifeboat backup --no-verify, {TABLES} tables"), dump, None);
        few.row(&format!("lifeboat backup --no-verify, {FEW_TABLES} tables"), dump, None);
        Ok(())
    }
}
