//! Every format with every codec gives back a database that its own shell cannot tell from the source.

#![allow(clippy::unwrap_used, reason = "all of it is tests")]

use std::path::Path;

use end_to_end::{Place, dump, has, shop};

#[path = "../../crates/backup-sqlite/tests/wicked/mod.rs"]
mod wicked;

type Make = fn(&Path);

const SOURCES: [(&str, Make); 4] = [
    ("shop", shop),
    ("wicked", wicked::wicked),
    ("utf16le", |path| wicked::wicked_utf16(path, "UTF-16le")),
    ("utf16be", |path| wicked::wicked_utf16(path, "UTF-16be")),
];

#[test]
fn every_format_and_codec_brings_back_the_same_dump() {
    if !has("sqlite3") {
        return;
    }
    for (name, make) in SOURCES {
        let place = Place::new();
        make(&place.path(name));
        let source = dump(&place.path(name));
        for format in ["sql", "binary", "compressed"] {
            for codec in ["zstd", "gzip", "none"] {
                let url = format!("sqlite:{name}");
                let id = place.run(&["backup", &url, "--format", format, "--codec", codec, "-q"]);
                let copy = place.restore(id.trim(), &format!("{format}-{codec}.db"), &[]);
                assert!(dump(&copy) == source, "{name} as {format} with {codec} came back differently");
            }
        }
        place.run(&["verify", "--all"]);
    }
}

#[test]
fn single_files_are_restored_where_no_repository_is() {
    if !has("sqlite3") {
        return;
    }
    let place = Place::new();
    wicked::wicked(&place.path("source.db"));
    let source = dump(&place.path("source.db"));
    for (format, kind) in [("sql", "sql"), ("compressed", "tar")] {
        for (codec, ending) in [("zstd", ".zst"), ("gzip", ".gz"), ("none", "")] {
            let repository = format!("repository-{format}-{codec}");
            let url = "sqlite:source.db";
            let id = place.run(&[
                "backup",
                url,
                "--repo",
                &repository,
                "--format",
                format,
                "--codec",
                codec,
                "-q",
            ]);
            let carried = format!("elsewhere-{format}-{codec}");
            let file = format!("{repository}/files/{}.{kind}{ending}", id.trim());
            std::fs::rename(place.path(&file), place.path(&carried)).unwrap();
            std::fs::remove_dir_all(place.path(&repository)).unwrap();
            let copy = place.restore(&format!("./{carried}"), &format!("{carried}.db"), &[]);
            assert!(dump(&copy) == source, "{carried} came back differently");
        }
    }
}

#[test]
fn a_binary_backup_is_exported_to_both_single_files() {
    if !has("sqlite3") {
        return;
    }
    let place = Place::new();
    wicked::wicked(&place.path("source.db"));
    let source = dump(&place.path("source.db"));
    for from in ["binary", "compressed"] {
        let id = place.backup("source.db", from);
        for (to, file) in
            [("sql", "sql.zst"), ("sql", "sql"), ("compressed", "tar.gz"), ("compressed", "tar")]
        {
            let file = format!("{from}.{file}");
            if (from, to) == ("compressed", "compressed") {
                continue;
            }
            place.run(&["export", &id, "-o", &file, "--format", to]);
            let copy = place.restore(&file, &format!("{file}.db"), &[]);
            assert!(dump(&copy) == source, "{file} came back differently");
        }
    }
}

#[test]
fn a_second_backup_stores_only_what_changed_and_an_unchanged_one_nothing_but_its_manifest() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    place.backup("shop.db", "binary");
    let chunks = place.files("backups/chunks");
    place.backup("shop.db", "binary");
    assert_eq!(
        place.files("backups/chunks").len(),
        chunks.len(),
        "an unchanged database has the same chunks"
    );
    let db = rusqlite::Connection::open(place.path("shop.db")).unwrap();
    db.execute("UPDATE audit SET what = 'changed' WHERE rowid = 7", []).unwrap();
    place.backup("shop.db", "binary");
    let added = place.files("backups/chunks").len() - chunks.len();
    assert!((1..=3).contains(&added), "{added} chunks for one row");
}

#[test]
fn one_table_comes_back_with_its_indexes_and_under_another_name() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let id = place.backup("shop.db", "binary");
    place.run(&["restore", &id, "--target", "sqlite:x.db", "--target-database", "y.db", "--table", "orders"]);
    assert!(!place.path("x.db").exists());
    let db = rusqlite::Connection::open(place.path("y.db")).unwrap();
    let names: String = db
        .query_row(
            "SELECT group_concat(name, ',') FROM (SELECT name FROM sqlite_schema ORDER BY name)",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(names, "audited,orders,orders_by_customer");
    let rows: i64 = db.query_row("SELECT count(*) FROM orders", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 20_000);
}
