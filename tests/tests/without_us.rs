//! What was backed up comes back without lifeboat, too.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::path::Path;
use std::process::{Command, Stdio};

use end_to_end::{Place, dump, has, output, shop};

#[path = "../../crates/backup-sqlite/tests/wicked/mod.rs"]
mod wicked;

#[test]
fn a_script_is_loaded_by_the_database_s_own_shell() {
    if !(has("sqlite3") && has("zstd")) {
        return;
    }
    for make in [shop as fn(&Path), wicked::wicked] {
        let place = Place::new();
        make(&place.path("source.db"));
        let id = place.backup("source.db", "sql");
        let script = place.path(&format!("backups/files/{id}.sql.zst"));
        let mut zstd = Command::new("zstd").arg("-dc").arg(script).stdout(Stdio::piped()).spawn().unwrap();
        output(
            Command::new("sqlite3")
                .arg("-bail")
                .arg(place.path("copy.db"))
                .stdin(zstd.stdout.take().unwrap()),
        );
        assert!(zstd.wait().unwrap().success());
        assert!(dump(&place.path("copy.db")) == dump(&place.path("source.db")));
    }
}

#[test]
fn an_archive_unpacked_by_tar_is_a_repository() {
    if !(has("sqlite3") && has("zstd")) {
        return;
    }
    let place = Place::new();
    shop(&place.path("source.db"));
    let id = place.backup("source.db", "compressed");
    let archive = place.path(&format!("backups/files/{id}.tar.zst"));
    std::fs::create_dir(place.path("unpacked")).unwrap();
    let mut zstd = Command::new("zstd").arg("-dc").arg(archive).stdout(Stdio::piped()).spawn().unwrap();
    let unpacked = place.path("unpacked");
    output(Command::new("tar").arg("-x").arg("-C").arg(unpacked).stdin(zstd.stdout.take().unwrap()));
    assert!(zstd.wait().unwrap().success());
    place.run(&["verify", "latest", "--repo", "unpacked"]);
    let copy = place.restore("latest", "copy.db", &["--repo", "unpacked"]);
    assert!(dump(&copy) == dump(&place.path("source.db")));
}

/// The statements and rows that `docs/recover.py` finds, given to the shell in their order, are the database.
#[test]
fn the_recovery_script_gets_a_binary_backup_out() {
    if !(has("sqlite3") && has("zstd") && has("python3")) {
        return;
    }
    let recover = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/recover.py");
    for codec in ["zstd", "gzip", "none"] {
        let place = Place::new();
        shop(&place.path("source.db"));
        let id = place.run(&["backup", "sqlite:source.db", "--format", "binary", "--codec", codec, "-q"]);
        let directory = place.path("recovered");
        output(
            Command::new("python3").arg(&recover).arg(place.path("backups")).arg(id.trim()).arg(&directory),
        );
        let mut files: Vec<_> =
            std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        assert!(files.iter().all(|file| file.extension().is_some_and(|ending| ending == "sql")), "{files:?}");
        // SQLite makes the table of its counters itself, and has counted while the rows came in: docs/sqlite.md.
        let of_counters = |file: &Path, phase: &str| {
            file.to_string_lossy().contains(&format!("-{phase}-table-sqlite_sequence"))
        };
        let mut sql = Vec::new();
        for file in files.iter().filter(|file| !of_counters(file, "pre-data")) {
            if of_counters(file, "data") {
                sql.extend_from_slice(b"DELETE FROM sqlite_sequence;\n");
            }
            sql.extend(std::fs::read(file).unwrap());
        }
        std::fs::write(place.path("all.sql"), sql).unwrap();
        let all = std::fs::File::open(place.path("all.sql")).unwrap();
        let mut shell = Command::new("sqlite3");
        shell.args(["-bail", "-cmd", "PRAGMA synchronous=OFF"]).arg(place.path("copy.db")).stdin(all);
        output(&mut shell);
        assert!(dump(&place.path("copy.db")) == dump(&place.path("source.db")), "{codec}");
    }
}
