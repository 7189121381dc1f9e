//! What the end-to-end tests share: the real binary, other people's tools, and how they judge.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod chain;
mod disk;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

pub use chain::Chain;
pub use disk::Disk;

/// Whether the program `name` is there. Where it is not, says so loudly, and fails if `LIFEBOAT_TEST_REQUIRE` names it: a
/// test that did not run must not look like one that passed.
pub fn has(name: &str) -> bool {
    let found =
        Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        missing(name, "is not installed; `cargo xtask test` installs it");
    }
    found
}

/// Says loudly that something could not be tested, and fails if `LIFEBOAT_TEST_REQUIRE` names it.
pub fn missing(name: &str, why: &str) {
    let required = std::env::var("LIFEBOAT_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|required| required == name), "{name} is required, and {why}");
    eprintln!("NOT TESTED: {name} {why}");
}

/// Runs a program to its end and returns what it printed.
pub fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {stderr}", output.status);
    output.stdout
}

/// The judge of SQLite: what its own shell says of a whole database.
pub fn dump(database: &Path) -> Vec<u8> {
    output(Command::new("sqlite3").arg("-readonly").arg(database).arg(".dump"))
}

/// A directory with databases, a repository and the real binary.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// An empty one.
    pub fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `lifeboat`, in this directory.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let tests = std::env::current_exe().unwrap();
        let binary = tests.ancestors().nth(2).unwrap().join("lifeboat");
        assert!(binary.exists(), "build the binary first: cargo build --package backup-cli");
        let mut command = Command::new(binary);
        command.args(arguments).current_dir(self.directory.path()).stdin(Stdio::null());
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("LIFEBOAT_"))
        {
            command.env_remove(name);
        }
        // Host keys are this place's own.
        command.env("XDG_CONFIG_HOME", self.path("config"));
        command
    }

    /// Runs `lifeboat`, which must succeed, and returns what it printed.
    pub fn run(&self, arguments: &[&str]) -> String {
        String::from_utf8(output(&mut self.command(arguments))).unwrap()
    }

    /// Runs `lifeboat`, which must fail with this exit code and give advice; returns what it said.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let Output { status, stderr, stdout } = self.command(arguments).output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains("error: ") && said.contains("\nhint: "), "{arguments:?}: {said}");
        assert!(stdout.is_empty(), "{arguments:?} printed a result: {}", String::from_utf8_lossy(&stdout));
        said
    }

    /// Runs `lifeboat`, which must succeed, and returns the most memory that it had, in MiB.
    pub fn peak(&self, arguments: &[&str]) -> u64 {
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        let ended = loop {
            if let Some(ended) = child.try_wait().unwrap() {
                break ended;
            }
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
            peak = peak.max(kib.unwrap_or(0) / 1024);
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        assert!(ended.success(), "{arguments:?}: {ended}");
        peak
    }

    /// Runs `lifeboat` and returns its exit code.
    pub fn code(&self, arguments: &[&str]) -> Option<i32> {
        self.command(arguments).output().unwrap().status.code()
    }

    /// Backs up `database` in `format` and returns the backup's id.
    pub fn backup(&self, database: &str, format: &str) -> String {
        let source = format!("sqlite:{database}");
        self.run(&["backup", &source, "--format", format, "--quiet"]).trim().to_owned()
    }

    /// Restores into a new file, which it returns.
    pub fn restore(&self, backup: &str, copy: &str, arguments: &[&str]) -> PathBuf {
        let target = format!("sqlite:{copy}");
        self.run(&[&["restore", backup, "--target", &target, "-j", "2"], arguments].concat());
        self.path(copy)
    }

    /// An identity that is kept elsewhere than on the host: its file, and its recipient.
    pub fn identity(&self, name: &str) -> (String, String) {
        let identity = lifeboat::Identity::generate();
        let file = self.path(name);
        fs::write(&file, format!("{}\n", identity.to_secret().expose())).unwrap();
        (file.to_str().unwrap().to_owned(), identity.recipient().to_string())
    }

    /// Makes a sealed repository, and returns the file `name` of its identity, which vouches for this host.
    pub fn init_sealed(&self, name: &str, arguments: &[&str]) -> String {
        let (file, recipient) = self.identity(name);
        let made = self.run(&[&["init", "--recipient", &recipient, "--json"], arguments].concat());
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        let line = made["repository"]["vouching-line"].as_str().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, format!("{line}\n{text}")).unwrap();
        file
    }

    /// Every file below a directory, with its contents.
    pub fn files(&self, below: &str) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut ahead = vec![self.path(below)];
        while let Some(path) = ahead.pop() {
            if path.is_dir() {
                ahead.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            } else if let Ok(contents) = fs::read(&path) {
                files.push((path, contents));
            }
        }
        files.sort();
        files
    }
}

/// A small shop with a few of everything that is ordinary.
pub fn shop(path: &Path) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(
        "CREATE TABLE customer (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL);
         CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customer, amount REAL, note TEXT);
         CREATE INDEX orders_by_customer ON orders (customer);
         CREATE VIEW large_orders AS SELECT * FROM orders WHERE amount > 100;
         CREATE TABLE audit (what TEXT);
         CREATE TRIGGER audited AFTER INSERT ON orders BEGIN INSERT INTO audit VALUES ('order ' || new.id); END;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO customer SELECT i, 'customer ' || i FROM n;
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO orders SELECT i, i % 5000 + 1, i * 0.37, 'it''s order' || char(10) || i FROM n;",
    )
    .unwrap();
}

/// Adds `bytes` that no codec makes smaller, in rows of a kilobyte, to a table of their own; other ones each time.
pub fn noise_table(path: &Path, bytes: usize) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS noise (id INTEGER PRIMARY KEY, bytes BLOB);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO noise (bytes) SELECT randomblob(1024) FROM n WHERE {rows} > 0;",
        rows = bytes / 1024
    ))
    .unwrap();
}
