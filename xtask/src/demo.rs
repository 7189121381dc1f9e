//! `cargo xtask demo`: the main job, on a database that needs no server.

use std::fs;
use std::path::Path;
use std::process::Command;

use rusqlite::Connection;

use crate::{Result, program, sample};

pub(crate) fn run() -> Result {
    let lifeboat = program::lifeboat(false)?;
    let directory = tempfile::tempdir()?;
    let demo = Demo { lifeboat: &lifeboat, directory: directory.path() };

    step("A shop with 200,000 orders (SQLite)");
    sample::shop(&directory.path().join("shop.db"), 200_000)?;
    let before = facts(&directory.path().join("shop.db"))?;
    println!("{}", before.summary());

    step("Back it up");
    demo.run(&["backup", "sqlite:shop.db", "--format", "binary"])?;

    step("Business goes on: 500 orders change");
    let db = Connection::open(directory.path().join("shop.db"))?;
    let changed =
        db.execute("UPDATE orders SET amount = amount + 1 WHERE id BETWEEN 150000 AND 150499", [])?;
    drop(db);
    let at_backup = facts(&directory.path().join("shop.db"))?;
    println!("{changed} rows changed");

    step("Back it up again: only what changed is stored");
    demo.run(&["backup", "sqlite:shop.db", "--format", "binary"])?;
    demo.run(&["list"])?;

    step("Verify every backup: read, decode, hash and count everything");
    demo.run(&["verify", "--all"])?;

    step("Lose the database");
    for file in ["shop.db", "shop.db-wal", "shop.db-shm"] {
        match fs::remove_file(directory.path().join(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    println!("shop.db is gone");

    step("Restore it");
    demo.run(&["restore", "latest", "--target", "sqlite:shop.db"])?;

    step("Compare");
    let restored = facts(&directory.path().join("shop.db"))?;
    println!("lost:     {}\nrestored: {}", at_backup.summary(), restored.summary());
    if restored != at_backup {
        return Err("the restored database is not the one that was lost".into());
    }
    if restored == before {
        return Err("the comparison sees no difference between two different databases".into());
    }
    println!("\nEvery object and every row is back, equal to the last bit.");
    Ok(())
}

fn step(what: &str) {
    println!("\n── {what}");
}

struct Demo<'a> {
    lifeboat: &'a Path,
    directory: &'a Path,
}

impl Demo<'_> {
    fn run(&self, arguments: &[&str]) -> Result {
        println!("$ lifeboat {}", arguments.join(" "));
        let mut command = Command::new(self.lifeboat);
        command
            .args(arguments)
            .current_dir(self.directory)
            .env_remove("LIFEBOAT_REPO")
            .env_remove("LIFEBOAT_CONFIG");
        program::run(&mut command)
    }
}

/// Everything that is in a database: its objects, and every row with the type of every value.
#[derive(PartialEq)]
struct Facts {
    objects: Vec<(String, String, Option<String>)>,
    rows: Vec<(String, Vec<String>)>,
}

impl Facts {
    fn summary(&self) -> String {
        let rows: usize = self.rows.iter().map(|(_, rows)| rows.len()).sum();
        format!("{} objects, {rows} rows", self.objects.len())
    }
}

fn facts(path: &Path) -> Result<Facts> {
    let db = Connection::open(path)?;
    let objects: Vec<(String, String, Option<String>)> = db
        .prepare("SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<std::result::Result<_, _>>()?;
    let mut rows = Vec::new();
    for (_, table, _) in objects.iter().filter(|(kind, ..)| kind == "table") {
        let mut select = db.prepare(&format!("SELECT * FROM \"{table}\""))?;
        let columns = select.column_count();
        let mut found: Vec<String> = select
            .query_map([], |row| (0..columns).map(|i| Ok(format!("{:?}", row.get_ref(i)?))).collect())?
            .collect::<std::result::Result<_, _>>()?;
        found.sort_unstable();
        rows.push((table.clone(), found));
    }
    Ok(Facts { objects, rows })
}
