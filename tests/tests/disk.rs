//! Disks that are full, fail, or lose power under the real binary: it never says "done" of what is not there.
//!
//! `strace` makes the kernel's answers bad, or kills the process at an exact call; a file system of a few pages is really full.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use end_to_end::{Disk, Place, has, missing};

const FORMATS: [&str; 3] = ["binary", "sql", "compressed"];

/// A place with a small database, and a repository with a backup of something else.
fn place() -> (Place, String) {
    let place = Place::new();
    for name in ["older", "small"] {
        let db = rusqlite::Connection::open(place.path(&format!("{name}.db"))).unwrap();
        db.execute_batch(&format!(
            "CREATE TABLE {name} (id INTEGER PRIMARY KEY, note TEXT);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
             INSERT INTO {name} SELECT i, '{name} ' || hex(randomblob(20)) FROM n;"
        ))
        .unwrap();
    }
    let older = place.run(&["backup", "sqlite:older.db", "--format", "binary", "--repo", "first", "-q"]);
    (place, older.trim().to_owned())
}

/// A copy of the repository with its one backup.
fn copy(place: &Place, to: &str) {
    assert!(
        Command::new("cp").arg("-r").arg(place.path("first")).arg(place.path(to)).status().unwrap().success()
    );
}

/// What is listed, each verified.
fn good(place: &Place, repo: &str, what: &str) -> Vec<String> {
    let list: serde_json::Value =
        serde_json::from_str(&place.run(&["list", "--repo", repo, "--json"])).unwrap();
    let ids =
        list["backups"].as_array().unwrap().iter().map(|backup| backup["id"].as_str().unwrap().to_owned());
    let ids: Vec<_> = ids.collect();
    let verified = place.command(&["verify", "--all", "--repo", repo]).output().unwrap();
    assert!(verified.status.success(), "{what}: {}", String::from_utf8_lossy(&verified.stderr));
    ids
}

/// `lifeboat backup` under strace, with what is to be injected; what it did, and strace's log.
fn traced(place: &Place, repo: &str, format: &str, arguments: &[&str]) -> (Output, String) {
    let backup = ["backup", "sqlite:small.db", "--repo", repo, "--format", format, "-j", "1", "-q"];
    traced_words(place, &backup, arguments)
}

/// The same with other words.
fn traced_words(place: &Place, words: &[&str], arguments: &[&str]) -> (Output, String) {
    let mut lifeboat = place.command(words);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-o"]).arg(place.path("log")).args(arguments);
    strace
        .arg(lifeboat.get_program())
        .args(lifeboat.get_args())
        .current_dir(lifeboat.get_current_dir().unwrap());
    let output = strace.output().unwrap();
    lifeboat.env_clear();
    (output, fs::read_to_string(place.path("log")).unwrap())
}

/// Whether calls can be traced here.
fn can_trace() -> bool {
    if !has("strace") {
        return false;
    }
    let works = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).status();
    let works = works.is_ok_and(|status| status.success());
    if !works {
        missing("strace", "may not trace here: failing system calls could not be tested");
    }
    works
}

#[test]
fn a_system_call_that_fails_is_never_a_backup_that_is_done() {
    if !can_trace() {
        return;
    }
    let (place, older) = place();
    let (mut faults, mut failed, mut done) = (0, 0, 0);
    for (calls, error, formats) in [
        ("fsync", "EIO", &FORMATS[..]),
        ("fsync", "EINTR", &["binary"]),
        ("renameat,renameat2", "EIO", &FORMATS),
        ("renameat,renameat2", "ENOSPC", &["sql"]),
        ("mkdirat", "ENOSPC", &["compressed"]),
        ("fchmod", "EPERM", &["binary"]),
    ] {
        for format in formats {
            for n in 1.. {
                let repo = "failing";
                copy(&place, repo);
                let inject = format!("inject={calls}:error={error}:when={n}");
                let trace = format!("trace={calls}");
                let (output, log) = traced(&place, repo, format, &["-e", &trace, "-e", &inject]);
                let what = format!("{format}: {error} at call {n} of {calls}");
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                let listed = good(&place, repo, &what);
                assert!(listed.contains(&older), "{what}");
                let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
                match output.status.code() {
                    Some(0) => assert!(listed.contains(&id), "{what}: it was done and is not there"),
                    Some(_) => assert!(id.is_empty(), "{what}: {id} was printed; {said}"),
                    None => panic!("{what}: {}: {said}", output.status),
                }
                fs::remove_dir_all(place.path(repo)).unwrap();
                if !log.contains("(INJECTED)") {
                    assert_eq!(output.status.code(), Some(0), "{what}: {said}");
                    break;
                }
                faults += 1;
                if output.status.success() { done += 1 } else { failed += 1 }
            }
        }
    }
    println!("{faults} failing system calls: {failed} backups failed, {done} were done and good");
    assert!(faults > 50 && failed > 40, "{faults} faults, {failed} failed");
}

#[test]
fn a_kill_at_any_sync_or_rename_leaves_only_good_backups() {
    if !can_trace() {
        return;
    }
    let (place, older) = place();
    let (mut kills, mut committed) = (0, 0);
    for calls in ["fsync", "renameat,renameat2", "mkdirat"] {
        for format in FORMATS {
            for n in 1.. {
                let repo = "killed";
                copy(&place, repo);
                let inject = format!("inject={calls}:signal=KILL:when={n}");
                let (output, _) =
                    traced(&place, repo, format, &["-e", &format!("trace={calls}"), "-e", &inject]);
                let what = format!("{format}: killed at call {n} of {calls}");
                let listed = good(&place, repo, &what);
                assert!(listed.contains(&older), "{what}");
                let was_killed = output.status.signal() == Some(9);
                if was_killed {
                    kills += 1;
                    committed += listed.len() - 1;
                    let again =
                        place.run(&["backup", "sqlite:small.db", "--repo", repo, "--format", format, "-q"]);
                    assert!(good(&place, repo, &what).contains(&again.trim().to_owned()), "{what}");
                }
                fs::remove_dir_all(place.path(repo)).unwrap();
                if !was_killed {
                    assert!(output.status.success() && listed.len() == 2, "{what}");
                    break;
                }
            }
        }
    }
    println!(
        "{kills} kills at exact system calls: {committed} backups were committed and good, every rerun worked"
    );
    assert!(kills > 30, "{kills}");
}

/// What a power cut can take is what was not synced. So: every file is synced before it gets its name, and every name (of files,
/// and of directories that were made) is synced before the manifest gets its own, and that before anything is said.
#[test]
fn everything_is_durable_before_the_manifest_is_and_that_before_the_program_says_so() {
    if !can_trace() {
        return;
    }
    let (place, _) = place();
    let trace = "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,link,linkat,mkdir,mkdirat";
    for format in FORMATS {
        let repo = format!("made/for/{format}");
        let (output, log) = traced(&place, &repo, format, &["-s", "0", "-e", trace]);
        assert!(output.status.success());
        let root = place.path("").canonicalize().unwrap();
        let calls = Call::all(&log, &root);
        let manifest = calls
            .iter()
            .find(|call| call.is("rename") && call.target().parent().unwrap().ends_with("manifests"))
            .unwrap_or_else(|| panic!("{format}: no manifest in {log}"));
        let synced = |path: &Path, from: usize, until: usize| {
            calls.iter().any(|call| {
                call.is("sync") && call.paths[0] == *path && call.began > from && call.ended < until
            })
        };
        let said = calls.iter().find(|call| call.is("write") && call.number == Some(1));
        let said = said.unwrap_or_else(|| panic!("{format}: nothing was said in {log}"));
        let (mut files, mut names) = (0, 0);
        for call in calls.iter().filter(|call| call.ended <= manifest.ended) {
            let what = format!("{format}: {call:?}");
            let until = if call.ended == manifest.ended { said.began } else { manifest.began };
            if call.is("rename") {
                let source = call.source();
                let written =
                    calls.iter().filter(|call| call.is("write") && call.paths.first() == Some(&source));
                let last = written.map(|call| call.ended).filter(|ended| *ended < call.began).max();
                let last = last.unwrap_or_else(|| panic!("{what}: nothing was written"));
                assert!(synced(&source, last, call.began), "{what}: it was renamed before it was synced");
                files += 1;
            }
            if call.is("rename") || call.is("mkdir") {
                let directory = call.target().parent().unwrap().to_owned();
                assert!(synced(&directory, call.ended, until), "{what}: its name was not synced");
                names += 1;
            }
        }
        println!("{format}: {files} files and {names} names, all synced before the next step relied on them");
        assert!(files > 3 && names > 6, "{format}: {log}");
    }
}

/// What was deleted stays deleted: the record is durable before the manifest goes, and that the manifest is gone before anything is said.
#[test]
fn a_deletion_is_durable_before_the_program_says_so() {
    if !can_trace() {
        return;
    }
    let (place, _) = place();
    let trace = "trace=write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat";
    for format in FORMATS {
        let repo = format!("deleted-{format}");
        copy(&place, &repo);
        let id = place.run(&["backup", "sqlite:small.db", "--repo", &repo, "--format", format, "-q"]);
        let delete = ["delete", id.trim(), "--yes", "--repo", &repo, "--json"];
        let (output, log) = traced_words(&place, &delete, &["-s", "0", "-e", trace]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let calls = Call::all(&log, &place.path("").canonicalize().unwrap());
        let synced = |path: &Path, from: usize, until: usize| {
            calls.iter().any(|call| {
                call.is("sync") && call.paths[0] == *path && call.began > from && call.ended < until
            })
        };
        let below = |call: &Call, folder: &str| call.target().parent().is_some_and(|at| at.ends_with(folder));
        let said = calls.iter().find(|call| call.is("write") && call.number == Some(1)).unwrap();
        let manifest = calls.iter().find(|call| call.is("unlink") && below(call, "manifests"));
        let manifest = manifest.unwrap_or_else(|| panic!("{format}: no manifest went in {log}"));
        let record = calls.iter().find(|call| call.is("rename") && below(call, "deleted")).unwrap();
        let parent = |call: &Call| call.target().parent().unwrap().to_owned();
        assert!(synced(&parent(record), record.ended, manifest.began), "{format}: {log}");
        let mut gone = 0;
        for call in calls.iter().filter(|call| call.is("unlink") && !below(call, "locks")) {
            // What never had its name is no object.
            if is_temporary(call.target()) {
                continue;
            }
            assert!(synced(&parent(call), call.ended, said.began), "{format}: {call:?} in {log}");
            gone += 1;
        }
        println!("{format}: {gone} objects deleted, each of it durable before anything was said");
    }
}

fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// A system call of the log, with the lines at which it began and ended.
#[derive(Debug)]
struct Call {
    name: &'static str,
    /// The directories or files of its file descriptors, and its names, as paths.
    paths: Vec<PathBuf>,
    /// The first file descriptor.
    number: Option<u32>,
    began: usize,
    ended: usize,
}

impl Call {
    fn is(&self, name: &str) -> bool {
        self.name == name
    }

    fn source(&self) -> PathBuf {
        self.paths[0].clone()
    }

    fn target(&self) -> &Path {
        self.paths.last().unwrap()
    }

    /// All calls that went well.
    fn all(log: &str, root: &Path) -> Vec<Self> {
        let mut unfinished = std::collections::HashMap::new();
        let mut calls = Vec::new();
        for (line, text) in log.lines().enumerate() {
            let Some((thread, text)) = text.split_once(' ') else { continue };
            let text = text.trim_start();
            if let Some(begin) = text.strip_suffix(" <unfinished ...>") {
                unfinished.insert(thread, (line, begin.to_owned()));
            } else if let Some(rest) = text.strip_prefix("<... ") {
                let (began, begin) = unfinished.remove(thread).unwrap();
                let end = rest.split_once("resumed>").unwrap().1;
                calls.extend(Self::parse(&(begin + end), began, line, root));
            } else {
                calls.extend(Self::parse(text, line, line, root));
            }
        }
        calls
    }

    fn parse(text: &str, began: usize, ended: usize, root: &Path) -> Option<Self> {
        let (name, rest) = text.split_once('(')?;
        let name = match name {
            "write" | "pwrite64" => "write",
            "fsync" | "fdatasync" => "sync",
            "rename" | "renameat" | "renameat2" => "rename",
            "mkdir" | "mkdirat" => "mkdir",
            "unlink" | "unlinkat" => "unlink",
            _ => return None,
        };
        let (arguments, result) = rest.rsplit_once(" = ")?;
        if result.starts_with('-') {
            return None;
        }
        let mut paths: Vec<PathBuf> = Vec::new();
        let mut number = None;
        let mut directory = root.to_owned();
        for argument in arguments.split(", ") {
            let argument = argument.trim_end().trim_end_matches(')');
            if let Some((fd, path)) = argument.strip_suffix('>').and_then(|argument| argument.split_once('<'))
            {
                number = number.or_else(|| fd.parse().ok());
                directory = PathBuf::from(path);
                if name == "sync" || name == "write" {
                    paths.push(directory.clone());
                }
            } else if let Some(word) = argument.strip_prefix('"').and_then(|word| word.strip_suffix('"'))
                && name != "write"
            {
                paths.push(directory.join(word));
            }
        }
        Some(Self { name, paths, number, began, ended })
    }
}

/// Limits on the size of files give really short writes, and then an error; where nobody ignores the signal, death.
#[test]
fn a_limit_on_the_size_of_files_is_an_error_or_death_and_never_a_backup() {
    let (place, older) = place();
    let mut limits = 0;
    for (format, trap) in FORMATS.iter().flat_map(|format| [(format, "trap '' XFSZ"), (format, ":")]) {
        // Blocks of 512 bytes.
        for blocks in 0..200 {
            copy(&place, "limited");
            let backup =
                place.command(&["backup", "sqlite:small.db", "--repo", "limited", "--format", format, "-q"]);
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("{trap}; ulimit -c 0; ulimit -f {blocks}; exec \"$0\" \"$@\""));
            shell
                .arg(backup.get_program())
                .args(backup.get_args())
                .current_dir(backup.get_current_dir().unwrap());
            let output = shell.output().unwrap();
            let what = format!("{format} with files of at most {blocks} blocks ({trap})");
            let listed = good(&place, "limited", &what);
            assert!(listed.contains(&older), "{what}");
            fs::remove_dir_all(place.path("limited")).unwrap();
            if output.status.success() {
                assert_eq!(listed.len(), 2, "{what}");
                break;
            }
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.signal() == Some(25) || output.status.code() == Some(1), "{what}: {said}");
            limits += 1;
        }
    }
    println!("{limits} limits: no backup was done that was not whole");
    assert!(limits > 20, "{limits}");
}

/// A disk that is really full, page by page.
#[test]
fn a_disk_that_is_full_at_any_page_leaves_what_is_there_intact() {
    let (place, older) = place();
    let Some(disk) = Disk::mount(place.path("disk"), "size=20m,mode=0700") else {
        missing("mount", "is not allowed here: a full disk could not be tested");
        return;
    };
    let mut full = 0;
    for format in FORMATS {
        for pages in 0.. {
            copy(&place, "disk/repo");
            disk.remount(&format!("size={}k", disk.used() + 4 * pages));
            let backup = ["backup", "sqlite:small.db", "--repo", "disk/repo", "--format", format, "-q"];
            let output = place.command(&backup).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("{format} with {pages} free pages: {said}");
            disk.remount("size=20m");
            let listed = good(&place, "disk/repo", &what);
            assert!(listed.contains(&older), "{what}");
            let done = output.status.success();
            if !done {
                assert_eq!(output.status.code(), Some(1), "{what}");
                assert!(said.contains("No space left"), "{what}");
                full += 1;
                place.run(&backup);
            }
            fs::remove_dir_all(place.path("disk/repo")).unwrap();
            if done {
                assert_eq!(listed.len(), 2, "{what}");
                break;
            }
            assert!(pages < 200, "{what}");
        }
    }
    println!("full at {full} pages: each an error, nothing half-made, every rerun worked");
    assert!(full > 10, "{full}");
}

/// What is wrong with the repository is found before anybody asks the database for anything: there is none.
#[test]
fn a_repository_that_cannot_be_used_is_told_before_the_database_is_looked_at() {
    let (place, _) = place();
    let backup = |repo: &str| {
        let output = place.command(&["backup", "sqlite:there/is/none.db", "--repo", repo]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // With a repository that can be used, the database is what is missing.
    let (_, said) = backup("first");
    assert!(said.contains("none.db") && said.contains("No such file"), "{said}");
    let mut told = BTreeSet::new();
    let mut refused = |repo: &str, expected: &str| {
        let (code, said) = backup(repo);
        assert!(said.contains(expected) && !said.contains("No such file"), "{repo}: {said}");
        assert!(matches!(code, Some(1 | 10)), "{repo}: {code:?}: {said}");
        told.insert(repo.to_owned());
    };
    fs::create_dir(place.path("foreign")).unwrap();
    fs::write(place.path("foreign/README"), "precious").unwrap();
    refused("foreign", "no repository");
    fs::write(place.path("file"), "no directory").unwrap();
    refused("file", "file");
    fs::create_dir(place.path("other")).unwrap();
    fs::write(place.path("other/lifeboat.json"), "{\"name\": \"something else\"}").unwrap();
    refused("other", "not a lifeboat repository");
    if let Some(disk) = Disk::mount(place.path("disk"), "mode=0700") {
        copy(&place, "disk/repo");
        disk.remount("ro");
        refused("disk/repo", "Read-only");
        refused("disk/new", "Read-only");
    } else {
        missing("mount", "is not allowed here: a read-only repository could not be tested");
    }
    println!("{} repositories refused before the database was looked at", told.len());
}
