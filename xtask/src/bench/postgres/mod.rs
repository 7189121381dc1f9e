//! `cargo xtask bench postgres`: lifeboat against `pg_dump -Fd -j2 -Z zstd:3` and `pg_restore -j2` of the server's version.

mod peer;

use std::fs;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::measure::{Run, measure, remove, size};
use super::mix;
use super::runs::{HEAD, Runs};
use crate::{Result, program, servers};
use peer::Peer;

const RUNS: usize = 3;
const MAJOR: u32 = 18;
const TABLES: u32 = 10_000;

/// Words after `bench postgres` choose among the benchmarks: `mix`, `gzip`, `one`, `tables`; none means all.
pub(crate) fn run(words: &[&str]) -> Result {
    let lifeboat = program::lifeboat(true)?;
    let server = servers::postgres(MAJOR)?;
    let directory = tempfile::tempdir_in(program::root()?.join("target"))?;
    let peer = Peer::find(&server.programs, MAJOR)?;
    println!("against {}", peer.version()?);
    let bench = Bench { lifeboat, directory: directory.path().to_owned(), peer, server };
    let wanted = |word: &str| words.is_empty() || words.contains(&word);
    if wanted("mix") || wanted("gzip") || wanted("one") {
        bench.fill()?;
    }
    if wanted("mix") {
        bench.mix(wanted("gzip"))?;
    }
    if wanted("one") {
        bench.one()?;
    }
    if wanted("tables") {
        let done = bench.tables();
        bench.server.restart_with(&[])?;
        done?;
    }
    Ok(())
}

struct Bench {
    lifeboat: PathBuf,
    directory: PathBuf,
    peer: Peer,
    server: servers::Postgres,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn remove(&self, name: &str) -> Result {
        remove(&self.path(name))
    }

    fn backup(&self, database: &str, repository: &str, more: &[&str]) -> Result<Run> {
        self.remove(repository)?;
        let mut command = Command::new(&self.lifeboat);
        command.args(["backup", &self.server.url(database), "--repo", repository, "--format", "binary"]);
        measure(command.args(["-j", "2", "--quiet"]).args(more).current_dir(&self.directory))
    }

    fn dump(&self, database: &str, directory: &str, more: &[&str]) -> Result<Run> {
        self.remove(directory)?;
        let mut command = self.peer.program("pg_dump");
        command.args(["-Fd", "-j2", "-Z", "zstd:3", "-f"]).arg(self.path(directory)).args(more);
        measure(command.arg("--dbname").arg(self.server.url(database)))
    }

    fn psql(&self, database: &str, sql: &str) -> Result {
        self.load(database, sql, &mut |_| Ok(()))
    }

    /// Lets psql execute `sql`, with what `rows` writes as its input.
    fn load(&self, database: &str, sql: &str, rows: &mut dyn FnMut(&mut dyn Write) -> Result) -> Result {
        let mut command = Command::new(self.server.programs.join("psql"));
        command.args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--command", sql]);
        command.arg("--dbname").arg(self.server.url(database));
        let mut psql = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
        let mut input = BufWriter::with_capacity(1 << 20, psql.stdin.take().ok_or("psql has no input")?);
        rows(&mut input)?;
        input.flush()?;
        drop(input);
        let status = psql.wait()?;
        if status.success() { Ok(()) } else { Err(format!("psql failed: {status}: {sql}").into()) }
    }

    fn fresh(&self, database: &str) -> Result {
        self.psql("postgres", &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"))?;
        self.psql("postgres", &format!("CREATE DATABASE {database} TEMPLATE template0"))
    }

    /// Makes the database of the mix.
    fn fill(&self) -> Result {
        eprintln!("making a database of 1 GB");
        self.fresh("bench_mix")?;
        self.psql(
            "bench_mix",
            "CREATE TABLE big (id int, customer int, placed date, state text, amount int, price numeric(12,2), reference text,
               email text, note text, address text);
             CREATE TABLE narrow (a int, b int, c int);
             CREATE TABLE docs (id int, body json, digest bytea);",
        )?;
        self.load("bench_mix", "COPY big FROM stdin", &mut |out| mix::big(out))?;
        self.load("bench_mix", "COPY narrow FROM stdin", &mut |out| mix::narrow(out))?;
        // COPY takes a backslash for the beginning of an escape.
        self.load("bench_mix", "COPY docs FROM stdin", &mut |out| mix::docs(out, "\\\\x"))?;
        for i in 0..mix::SMALL_TABLES {
            let make = format!("CREATE TABLE small{i} (id int PRIMARY KEY, name text, value float8)");
            self.psql("bench_mix", &make)?;
            self.load("bench_mix", &format!("COPY small{i} FROM stdin"), &mut |out| mix::small(out, i))?;
        }
        self.psql(
            "bench_mix",
            "ALTER TABLE big ADD PRIMARY KEY (id); ALTER TABLE narrow ADD PRIMARY KEY (a); ALTER TABLE docs ADD PRIMARY KEY (id);
             CREATE INDEX ON big (customer);",
        )?;
        self.psql("bench_mix", "VACUUM ANALYZE")
    }

    /// Backup and restore of the mix, in alternating runs.
    fn mix(&self, gzip: bool) -> Result {
        let mut runs: [Runs; 5] = Default::default();
        let (mut ours, mut theirs) = (0, 0);
        for run in 0..RUNS {
            eprintln!("mix: run {} of {RUNS}", run + 1);
            // What the restores before have left to write would be counted as theirs.
            self.psql("postgres", "CHECKPOINT")?;
            runs[0].0.push(self.dump("bench_mix", "dump", &[])?);
            runs[1].0.push(self.backup("bench_mix", "repository", &["--no-verify"])?);
            runs[2].0.push(self.backup("bench_mix", "verified", &[])?);
            ours = size(&self.path("repository"))?;
            theirs = size(&self.path("dump"))?;
            self.fresh("bench_copy")?;
            self.psql("postgres", "CHECKPOINT")?;
            let mut restore = self.peer.program("pg_restore");
            restore.arg("-j2").arg("--dbname").arg(self.server.url("bench_copy")).arg(self.path("dump"));
            runs[3].0.push(measure(&mut restore)?);
            self.fresh("bench_copy")?;
            self.psql("postgres", "CHECKPOINT")?;
            let mut restore = Command::new(&self.lifeboat);
            restore.args(["restore", "latest", "--repo", "repository", "-j", "2", "--quiet", "--target"]);
            restore.arg(self.server.url("bench_copy")).current_dir(&self.directory);
            runs[4].0.push(measure(&mut restore)?);
        }
        self.psql("postgres", "DROP DATABASE bench_copy WITH (FORCE)")?;
        let [dump, backup, verified, pg_restore, restore] = &runs;
        println!("\n### 1 GB in a mix of tables, 2 jobs, medians of {RUNS} alternating runs\n\n{HEAD}");
        dump.row("pg_dump -Fd -j2 -Z zstd:3", dump, Some((theirs, theirs)));
        backup.row("lifeboat backup --no-verify", dump, Some((ours, theirs)));
        verified.row("lifeboat backup", dump, None);
        pg_restore.row("pg_restore -j2", pg_restore, None);
        restore.row("lifeboat restore", pg_restore, None);
        if gzip {
            let mut dump = self.peer.program("pg_dump");
            dump.arg("-Fc")
                .arg("-f")
                .arg(self.path("dump.custom"))
                .arg("-d")
                .arg(self.server.url("bench_mix"));
            let custom = Runs(vec![measure(&mut dump)?]);
            let bytes = fs::metadata(self.path("dump.custom"))?.len();
            println!("\n### The same against pg_dump -Fc (gzip), one run\n\n{HEAD}");
            custom.row("pg_dump -Fc", &custom, Some((bytes, bytes)));
            backup.row("lifeboat backup --no-verify (as above)", &custom, Some((ours, bytes)));
        }
        Ok(())
    }

    /// One large table alone, which pg_dump does not split.
    fn one(&self) -> Result {
        let mut runs: [Runs; 2] = Default::default();
        let (mut ours, mut theirs) = (0, 0);
        for run in 0..RUNS {
            eprintln!("one table: run {} of {RUNS}", run + 1);
            runs[0].0.push(self.dump("bench_mix", "dump", &["--table=public.big"])?);
            runs[1].0.push(self.backup(
                "bench_mix",
                "repository",
                &["--no-verify", "--include", "public.big"],
            )?);
            ours = size(&self.path("repository"))?;
            theirs = size(&self.path("dump"))?;
        }
        let [dump, backup] = &runs;
        println!("\n### One table alone, 2 jobs, medians of {RUNS} alternating runs\n\n{HEAD}");
        dump.row("pg_dump -Fd -j2 -Z zstd:3 -t big", dump, Some((theirs, theirs)));
        backup.row("lifeboat backup --no-verify", dump, Some((ours, theirs)));
        Ok(())
    }

    /// Many tables of a few rows: at a server's default settings, and with room for all the locks that pg_dump wants.
    fn tables(&self) -> Result {
        const DEFAULTS: [(&str, &str); 2] = [("max_connections", "100"), ("max_prepared_transactions", "0")];
        eprintln!("making {TABLES} tables");
        self.server.restart_with(&DEFAULTS)?;
        self.fresh("bench_tables")?;
        // All in one transaction would need as many locks.
        for first in (0..TABLES).step_by(500) {
            let tables: String = (first..(first + 500).min(TABLES))
                .map(|i| {
                    format!("CREATE TABLE t{i} (id int PRIMARY KEY, name text); INSERT INTO t{i} VALUES (1, 'one'), (2, 'two');")
                })
                .collect();
            self.psql("bench_tables", &tables)?;
        }
        self.psql("bench_tables", "ANALYZE")?;
        println!("\n### {TABLES} small tables, 2 jobs\n\n{HEAD}");
        let one = |run: Result<Run>| run.map(|run| Runs(vec![run]));
        let peer = match one(self.dump("bench_tables", "dump", &[])) {
            Ok(dump) => {
                dump.row("pg_dump at default settings", &dump, None);
                Some(dump)
            }
            Err(error) => {
                let said = error.to_string();
                let said = said.lines().find(|line| line.contains("error")).unwrap_or(&said);
                println!("| pg_dump at default settings: fails | | | | | | | |");
                eprintln!("pg_dump at default settings: {said}");
                None
            }
        };
        match one(self.backup("bench_tables", "repository", &["--no-verify"])) {
            Ok(backup) => {
                backup.row("lifeboat backup at default settings", peer.as_ref().unwrap_or(&backup), None);
            }
            Err(error) => {
                println!("| lifeboat at default settings: fails | | | | | | | |");
                eprintln!("lifeboat at default settings: {error}");
            }
        }
        self.server.restart_with(&[&DEFAULTS[..], &[("max_locks_per_transaction", "512")]].concat())?;
        let mut runs: [Runs; 2] = Default::default();
        for run in 0..RUNS {
            eprintln!("tables: run {} of {RUNS}", run + 1);
            runs[0].0.push(self.dump("bench_tables", "dump", &[])?);
            runs[1].0.push(self.backup("bench_tables", "repository", &["--no-verify"])?);
        }
        let bytes = (size(&self.path("repository"))?, size(&self.path("dump"))?);
        let [dump, backup] = &runs;
        dump.row("pg_dump, max_locks_per_transaction = 512", dump, Some((bytes.1, bytes.1)));
        backup.row("lifeboat backup --no-verify, the same", dump, Some(bytes));
        Ok(())
    }
}
