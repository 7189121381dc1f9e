//! Files made by somebody who means harm: bombs, huge lengths, deep nesting, names that lead elsewhere, versions to come.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use end_to_end::{Place, shop};
use lifeboat::Hash32;
use lifeboat::codec::{Level, codec};
use serde_json::{Value, json};

const MEGABYTE: u64 = 1 << 20;
/// More than any of these files may cost.
const BOUND: u64 = 600 * MEGABYTE;

fn with_backup(format: &str) -> (Place, String) {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let id = place.backup("shop.db", format);
    (place, id)
}

/// Runs a command to its end; its exit code, what it said, and the most memory that it had, in bytes.
fn measured(mut command: Command) -> (Option<i32>, String, u64) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kilobytes.unwrap_or(0) << 10);
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), peak)
}

/// Fails unless restoring `backup` is refused in good order, and within bounds.
fn is_refused(place: &Place, backup: &str, what: &str) -> u64 {
    let command = place.command(&["restore", backup, "--target", "sqlite:copy.db"]);
    let (code, said, peak) = measured(command);
    assert!(matches!(code, Some(1 | 4 | 10)), "{what}: {code:?}: {said}");
    assert!(said.contains("error: "), "{what}: {said}");
    assert!(peak < BOUND, "{what}: it took {} MiB", peak / MEGABYTE);
    assert!(!place.path("copy.db").exists(), "{what}: the target was touched");
    peak
}

fn encoded(name: &str, raw: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    codec(name).unwrap().encode(raw, &[], Level::of(1), &mut frame).unwrap();
    frame
}

/// What a file holds that was exported: it is compressed whatever its name.
fn plain(file: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    codec("zstd").unwrap().reader(Box::new(file)).unwrap().read_to_end(&mut plain).unwrap();
    plain
}

/// Changes a manifest as somebody can who may write to the repository: its proof fits again.
fn forge(place: &Place, id: &str, change: impl FnOnce(&mut Value, &mut Vec<u8>)) {
    let path = place.path(&format!("backups/manifests/{id}"));
    let file = fs::read(&path).unwrap();
    let mut lines = file.splitn(3, |byte| *byte == b'\n');
    let (header, _) = (lines.next().unwrap(), lines.next().unwrap());
    let mut body = lines.next().unwrap().to_vec();
    let mut header: Value = serde_json::from_slice(header).unwrap();
    change(&mut header, &mut body);
    header["body"]["size"] = json!(body.len());
    header["body"]["hash"] = json!(Hash32::of(&body));
    write_manifest(&path, &header.to_string(), &body);
}

fn write_manifest(path: &PathBuf, header: &str, body: &[u8]) {
    let proof = format!("{{\"hash\":\"{}\",\"signature\":null}}", Hash32::of(header.as_bytes()));
    fs::write(path, [header.as_bytes(), b"\n", proof.as_bytes(), b"\n", body].concat()).unwrap();
}

#[test]
fn bombs_and_huge_lengths_take_bounded_memory() {
    let mut tried = Vec::new();
    // Scripts of a gigabyte and more, of a few kilobytes.
    let place = Place::new();
    let blanks = vec![b' '; 64 << 20];
    for (name, frames, file) in [("zstd", 24, "bomb.sql.zst"), ("gzip", 8, "bomb.sql.gz")] {
        let mut bomb = encoded(name, b"-- lifeboat script 1\n");
        bomb.extend(encoded(name, &blanks).repeat(frames));
        fs::write(place.path(file), bomb).unwrap();
        tried.push((file, is_refused(&place, file, file)));
    }
    // One frame of many gigabytes that says so, and one that is no file of ours at all.
    for (what, header) in [("a huge script", &b"-- lifeboat script 1\n"[..]), ("a huge tar", &[0; 512])] {
        let mut frames = encoded("zstd", header);
        // A frame with a declared size of 2^62 bytes and nothing behind it.
        frames.extend([0x28, 0xb5, 0x2f, 0xfd, 0xe0]);
        frames.extend((1u64 << 62).to_le_bytes());
        fs::write(place.path("huge.zst"), frames).unwrap();
        tried.push((what, is_refused(&place, "huge.zst", what)));
    }
    // Archives: entries that say they are huge, and one frame that is.
    let (place, id) = with_backup("binary");
    place.run(&["export", &id, "-o", "whole.tar", "--format", "compressed"]);
    let whole = plain(&fs::read(place.path("whole.tar")).unwrap());
    assert_eq!(whole[257..262], *b"ustar");
    for size in [
        &b"77777777777\0"[..],
        b"00777777777\0",
        &[0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        let mut tar = whole.clone();
        tar[124..136].copy_from_slice(size);
        sum(&mut tar[..512]);
        fs::write(place.path("huge.tar"), &tar).unwrap();
        tried.push(("a tar entry", is_refused(&place, "huge.tar", "a tar entry that says it is huge")));
        let mut frame = tar[..512].to_vec();
        frame.resize(128 << 20, 0);
        fs::write(place.path("huge.tar.zst"), encoded("zstd", &frame).repeat(4)).unwrap();
        tried.push(("a tar frame", is_refused(&place, "huge.tar.zst", "a huge tar frame")));
    }
    // The body of a manifest.
    let (place, id) = with_backup("binary");
    let manifest = fs::read(place.path(&format!("backups/manifests/{id}"))).unwrap();
    forge(&place, &id, |_, body| *body = encoded("zstd", &vec![b' '; 1 << 30]));
    tried.push(("a manifest's body", is_refused(&place, &id, "a manifest's body")));
    fs::write(place.path(&format!("backups/manifests/{id}")), manifest).unwrap();
    // Every chunk says that it is as large as can be said.
    let (path, list) = place.files("backups/lists").pop().unwrap();
    let mut list = list;
    for (chunk, _) in place.files("backups/chunks") {
        let name: Vec<u8> = hex(chunk.file_name().unwrap().to_str().unwrap());
        let at = list.chunks(72).position(|_| false).unwrap_or(8);
        let at = (at..list.len()).step_by(72).find(|at| list[*at..at + 32] == name).unwrap();
        let mut bomb = b"LBC\x01\x04zstd".to_vec();
        bomb.extend([0xff; 12]);
        bomb.extend([0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0]);
        bomb.extend([0xff; 24]);
        list[at + 32..at + 64].copy_from_slice(&Hash32::of(&bomb).0);
        list[at + 64..at + 68].copy_from_slice(&(bomb.len() as u32).to_le_bytes());
        fs::write(chunk, bomb).unwrap();
    }
    let name = Hash32::of(&list).to_string();
    let folder = place.path(&format!("backups/lists/{}", &name[..2]));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(&name), list).unwrap();
    fs::remove_file(path).unwrap();
    forge(&place, &id, |header, _| header["lists"][0]["id"] = json!(name));
    tried.push(("chunks", is_refused(&place, &id, "chunks that say they are huge")));
    let peak = tried.iter().map(|(_, peak)| peak / MEGABYTE).max().unwrap();
    println!("{} bombs and huge lengths, all refused; at most {peak} MiB: {tried:?}", tried.len());
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// Makes the checksum of a tar header right.
fn sum(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    // As our own writer has it.
    header[148..156].copy_from_slice(format!("{sum:07o}\0").as_bytes());
}

/// Little that is stored can be named so often that no memory holds it.
#[test]
fn what_is_named_again_and_again_is_refused() {
    let (place, id) = with_backup("binary");
    forge(&place, &id, |header, _| {
        let list = header["lists"][0].clone();
        header["lists"] = json!(vec![list; 10_000]);
    });
    is_refused(&place, &id, "a list that is named again and again");
    for arguments in [&["verify", &id][..], &["show", &id]] {
        assert_eq!(place.code(arguments), Some(4), "{arguments:?}");
    }
}

#[test]
fn a_backup_is_named_by_its_id_whatever_else_begins_with_it() {
    let (place, id) = with_backup("binary");
    let path = |id: &str| place.path(&format!("backups/manifests/{id}"));
    let manifest = fs::read(path(&id)).unwrap();
    let header = manifest.split(|byte| *byte == b'\n').next().unwrap();
    let longer = format!("{id}-x");
    let header = String::from_utf8(header.to_vec()).unwrap().replace(&id, &longer);
    write_manifest(&path(&longer), &header, b"");
    for arguments in [&["verify", &id][..], &["show", &id], &["delete", &id, "--yes"]] {
        assert_eq!(place.code(arguments), Some(0), "{arguments:?}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_no_overflow() {
    let mut tried = 0;
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let (place, id) = with_backup("binary");
    let path = place.path(&format!("backups/manifests/{id}"));
    let manifest = fs::read(&path).unwrap();
    let header = String::from_utf8(manifest.split(|byte| *byte == b'\n').next().unwrap().to_vec()).unwrap();
    for depth in [200, 10_000, 25_000] {
        let nested = header.replacen("\"end\":null", &format!("\"end\":{}", deep(depth)), 1);
        assert_ne!(nested, header);
        write_manifest(&path, &nested, b"");
        is_refused(&place, &id, "a manifest");
        // Both in what is known and in what is not.
        let nested = header.replacen('{', &format!("{{\"unknown\":{},", deep(depth)), 1);
        write_manifest(&path, &nested, b"");
        is_refused(&place, &id, "a manifest");
        tried += 2;
    }
    fs::write(&path, &manifest).unwrap();
    for depth in [200, 1_000_000] {
        forge(&place, &id, |_, body| *body = encoded("zstd", deep(depth).as_bytes()));
        is_refused(&place, &id, "a body");
        fs::write(&path, &manifest).unwrap();
        let script = format!("-- lifeboat script 1\n-- lifeboat end {}\n", deep(depth.min(1500)));
        fs::write(place.path("deep.sql"), script).unwrap();
        is_refused(&place, "deep.sql", "a script");
        tried += 2;
    }
    let config = place.path("backups/lifeboat.json");
    for depth in [200, 400_000] {
        fs::write(&config, format!("{{\"format\": 1, \"recipients\": {}}}", deep(depth))).unwrap();
        is_refused(&place, &id, "lifeboat.json");
        tried += 1;
    }
    println!("{tried} deep nestings, all refused");
}

#[test]
fn names_that_lead_elsewhere_or_collide_are_refused() {
    let mut tried = 0;
    let (place, id) = with_backup("sql");
    let manifest = fs::read(place.path(&format!("backups/manifests/{id}"))).unwrap();
    fs::write(place.path("outside.sql.zst"), "-- lifeboat script 1\n").unwrap();
    let absolute = place.path("outside.sql.zst").display().to_string();
    let long = "x/".repeat(400);
    for name in [
        "../outside.sql.zst",
        "files/../../outside.sql.zst",
        &absolute,
        "files/a\0b",
        "",
        "/",
        ".",
        "..",
        "Files/x",
        "files//x",
        "files/.x",
        "files\\x",
        &long,
    ] {
        forge(&place, &id, |header, _| header["file"]["key"] = json!(name));
        is_refused(&place, &id, name);
        fs::write(place.path(&format!("backups/manifests/{id}")), &manifest).unwrap();
        tried += 1;
    }
    for name in ["../../../etc/passwd", "A".repeat(64).as_str(), "0".repeat(63).as_str(), "", "\0"] {
        forge(&place, &id, |header, _| header["lists"][0]["id"] = json!(name));
        is_refused(&place, &id, name);
        fs::write(place.path(&format!("backups/manifests/{id}")), &manifest).unwrap();
        tried += 1;
    }
    // A manifest that says that it is another backup, or that lies under a name that leads elsewhere.
    for name in ["../x", "/x", "20200101-000000-00000000", "X"] {
        forge(&place, &id, |header, _| header["id"] = json!(name));
        is_refused(&place, &id, name);
        fs::write(place.path(&format!("backups/manifests/{id}")), &manifest).unwrap();
        tried += 1;
    }
    // Archives.
    let (place, id) = with_backup("binary");
    place.run(&["export", &id, "-o", "whole.tar", "--format", "compressed"]);
    let whole = plain(&fs::read(place.path("whole.tar")).unwrap());
    assert_eq!(whole[257..262], *b"ustar");
    let (entries, end) = whole.split_at(whole.len() - 1024);
    let mut entry = |name: &[u8], kind: u8, link: &[u8]| {
        let mut header = entries[..512].to_vec();
        header[..100].fill(0);
        header[..name.len()].copy_from_slice(name);
        header[124..136].copy_from_slice(b"00000000000\0");
        header[156] = kind;
        header[157..157 + link.len()].copy_from_slice(link);
        sum(&mut header);
        fs::write(place.path("evil.tar"), [entries, &header, end].concat()).unwrap();
        let what = format!("an entry {:?} of kind {}", name.escape_ascii().to_string(), char::from(kind));
        is_refused(&place, "evil.tar", &what);
        tried += 1;
    };
    for name in [
        &b"../evil"[..],
        b"/tmp/evil",
        b"chunks/../../evil",
        b"CHUNKS/ab/evil",
        b"Lifeboat.json",
        b"lifeboat.json",
        b"a\0b",
        b"",
        b".hidden",
        b"a//b",
        b"a/",
        b"\xff",
    ] {
        entry(name, b'0', b"");
    }
    for kind in [b'1', b'2', b'3', b'5', b'6', b'L', b'K', b'x', b'g', 0] {
        entry(b"chunks/evil", kind, b"/etc/passwd");
    }
    // It is these that are refused: without them it is restored.
    fs::write(place.path("good.tar"), [entries, end].concat()).unwrap();
    place.restore("good.tar", "copy.db", &[]);
    println!("{tried} names and kinds of entries, all refused");
}

#[test]
fn what_a_newer_version_wrote_is_refused_with_the_version_that_reads_it() {
    let (place, id) = with_backup("binary");
    forge(&place, &id, |header, _| {
        header["lifeboat"] = json!(2);
        header["writer"] = json!("lifeboat 9.7.5");
    });
    for arguments in [&["restore", &id, "--target", "sqlite:copy.db"][..], &["verify", &id], &["show", &id]] {
        let output = place.command(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        assert!(said.contains("lifeboat 9.7.5") && said.contains("format 2"), "{arguments:?}: {said}");
    }
    let output = place.command(&["list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains(&id), "it must not be forgotten");
    fs::write(place.path("newer.sql"), "-- lifeboat script 2\nSELECT 1;\n").unwrap();
    let output = place.command(&["restore", "newer.sql", "--target", "sqlite:copy.db"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("format 2") && said.contains("newer lifeboat"), "{said}");
    assert!(!place.path("copy.db").exists());
}
