//! Passwords are not repeated, files are private, planted links are not followed, and what is there is not destroyed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "all of it is tests")]

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use end_to_end::{Place, has, shop};

const CANARY: &str = "canary-7Vq2xTz9";

/// Passwords in URLs, on the line and in the configuration file, whatever else is wrong with these.
#[test]
fn a_password_is_in_no_output_no_file_and_no_argument() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let mut said = 0;
    let mut check = |arguments: &[&str]| {
        for more in [&["-v"][..], &["--json"], &["-v", "--json"], &[]] {
            let output = place.command(&[arguments, more].concat()).output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            assert!(!text.is_empty() && !output.status.success(), "{arguments:?}");
            let text = String::from_utf8(text).unwrap();
            assert!(!text.contains(CANARY), "{arguments:?}: {text}");
            said += 1;
        }
    };
    let urls = [
        format!("postgres://me:{CANARY}@host/db"),
        format!("postgres://me:{CANARY}@host:notaport/db"),
        format!("cobol://{CANARY}:{CANARY}@[::1/db"),
        format!("sqlite://me:{CANARY}@host/shop.db"),
        format!("sqlite:shop.db?password={CANARY}"),
        format!("sqlite:shop.db?busy-timeout={CANARY}"),
        format!("postgres://me:%zz{CANARY}@host/db"),
        format!("://me:{CANARY}@host"),
    ];
    for url in &urls {
        check(&["backup", url]);
        check(&["restore", "latest", "--target", url]);
        for entry in [
            format!("url = {url:?}"),
            format!("url = {url:?}\nurl = {url:?}"),
            format!("url = {url:?}\nnonsense = 1"),
            format!("url = [{url:?}]"),
            format!("url = {url:?} trailing"),
            format!("url = {url:?}\nformat = {CANARY:?}\npassword = {CANARY:?}"),
        ] {
            fs::write(place.path("lifeboat.toml"), format!("[source.it]\n{entry}\n")).unwrap();
            check(&["backup", "it"]);
        }
        fs::remove_file(place.path("lifeboat.toml")).unwrap();
    }
    for (path, contents) in place.files("") {
        let found = contents.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "{}", path.display());
    }
    println!("{said} outputs without the canary");
}

/// No core dump, although it was asked for; and no other program, so that there is nobody else's argument or environment.
#[test]
fn there_is_no_core_dump_and_no_child() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let backup = place.command(&["backup", "sqlite:shop.db", "--format", "binary", "--limit", "20KiB/s"]);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg("ulimit -c unlimited; exec \"$0\" \"$@\"")
        .arg(backup.get_program())
        .args(backup.get_args());
    shell.current_dir(backup.get_current_dir().unwrap()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = shell.spawn().unwrap();
    std::thread::sleep(Duration::from_millis(700));
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().filter(|word| *word == "0").count(), 2, "{core}");
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
    assert!(children.is_empty(), "{children}");
    child.kill().unwrap();
    child.wait().unwrap();
    if !has("strace") {
        return;
    }
    let backup = place.command(&["backup", "sqlite:shop.db", "--repo", "traced", "-q"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-e", "trace=execve,execveat", "-o"]).arg(place.path("log"));
    strace.arg(backup.get_program()).args(backup.get_args()).current_dir(backup.get_current_dir().unwrap());
    assert!(strace.status().unwrap().success());
    let log = fs::read_to_string(place.path("log")).unwrap();
    assert_eq!(log.matches("exec").count(), 1, "{log}");
}

#[test]
fn files_are_private_under_any_umask() {
    let mut files = 0;
    for umask in ["000", "022", "077", "177", "277", "777"] {
        let place = Place::new();
        shop(&place.path("shop.db"));
        let run = |arguments: &[&str]| {
            let command = place.command(arguments);
            let mut shell = Command::new("sh");
            shell.arg("-c").arg(format!("umask {umask}; exec \"$0\" \"$@\""));
            shell.arg(command.get_program()).args(command.get_args());
            shell.current_dir(command.get_current_dir().unwrap());
            let output = shell.output().unwrap();
            assert!(output.status.success(), "{umask}: {}", String::from_utf8_lossy(&output.stderr));
        };
        run(&["backup", "sqlite:shop.db", "--repo", "new/repository", "--format", "binary"]);
        run(&["backup", "sqlite:shop.db", "--repo", "new/repository", "--format", "sql"]);
        for (format, file) in [("sql", "new/out.sql"), ("compressed", "new/out.tar")] {
            let newest = newest(&place);
            let wanted = if format == "sql" { newest.1 } else { newest.0 };
            run(&["export", &wanted, "--repo", "new/repository", "-o", file, "--format", format]);
        }
        let mut ahead = vec![place.path("new")];
        while let Some(path) = ahead.pop() {
            let metadata = fs::symlink_metadata(&path).unwrap();
            let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(metadata.permissions().mode() & 0o7777, expected, "{umask}: {}", path.display());
            files += 1;
            if metadata.is_dir() {
                ahead.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            }
        }
    }
    println!("{files} files and directories, all private");
}

/// The ids of both backups, the older one first.
fn newest(place: &Place) -> (String, String) {
    let list = place.run(&["list", "--repo", "new/repository", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let id = |n: usize| list["backups"][n]["id"].as_str().unwrap().to_owned();
    (id(0), id(1))
}

#[test]
fn links_planted_where_something_is_written_are_not_followed() {
    let mut links = 0;
    let place = Place::new();
    shop(&place.path("shop.db"));
    fs::create_dir(place.path("outside")).unwrap();
    fs::write(place.path("outside/precious"), "precious").unwrap();
    let untouched = |what: &str| {
        let files = place.files("outside");
        assert!(files.len() == 1 && files[0].1 == b"precious", "{what}: {files:?}");
    };
    let id = place.backup("shop.db", "binary");
    // Where an export goes: to a file, to nothing, to a directory.
    for target in ["outside/precious", "outside/new", "outside"] {
        symlink(place.path(target), place.path("out.sql")).unwrap();
        place.fails(1, &["export", &id, "-o", "out.sql", "--format", "sql"]);
        untouched(target);
        fs::remove_file(place.path("out.sql")).unwrap();
        links += 1;
    }
    // Where a restore goes.
    for (target, code) in [("outside/precious", 1), ("outside/new", 1)] {
        symlink(place.path(target), place.path("copy.db")).unwrap();
        for more in [&[][..], &["--drop-existing", "--yes"]] {
            let restore = [&["restore", &id, "--target", "sqlite:copy.db"], more].concat();
            let output = place.command(&restore).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
            untouched(target);
            links += 1;
        }
        fs::remove_file(place.path("copy.db")).unwrap();
    }
    // Within a repository: each of its folders, and lifeboat.json.
    for folder in ["chunks", "lists", "manifests", "files", "marks", "locks"] {
        for format in ["binary", "sql", "compressed"] {
            let repo = place.path("planted");
            place.run(&["init", "--repo", "planted"]);
            let _ = fs::remove_dir_all(repo.join(folder));
            symlink(place.path("outside"), repo.join(folder)).unwrap();
            let backup = ["backup", "sqlite:shop.db", "--repo", "planted", "--format", format];
            let output = place.command(&backup).output().unwrap();
            // A mark that cannot be written is warned of: the backup is good.
            let needed = folder != "marks" && (folder != "files" || format != "binary");
            assert_eq!(
                output.status.success(),
                !needed,
                "{folder} {format}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
            untouched(folder);
            fs::remove_dir_all(repo).unwrap();
            links += 1;
        }
    }
    fs::create_dir(place.path("linked")).unwrap();
    symlink(place.path("outside/precious"), place.path("linked/lifeboat.json")).unwrap();
    assert!(
        !place.command(&["backup", "sqlite:shop.db", "--repo", "linked"]).output().unwrap().status.success()
    );
    untouched("lifeboat.json");
    println!("{} links, none followed", links + 1);
}

/// Refused unless a flag says so, and before anything of it is touched; what is no database is never replaced at all.
#[test]
fn a_target_that_holds_something_is_refused_untouched() {
    let place = Place::new();
    shop(&place.path("shop.db"));
    let mut refused = 0;
    for format in ["binary", "sql", "compressed"] {
        let id = place.backup("shop.db", format);
        let damaged = {
            let mut bytes = fs::read(place.path("shop.db")).unwrap();
            bytes[100..3000].fill(0xff);
            bytes
        };
        let targets: [(&str, Vec<u8>, bool); 4] = [
            ("other.db", other(&place.path("made.db")), true),
            ("damaged.db", damaged, true),
            ("letter.txt", b"Dear Sir or Madam".repeat(100), false),
            ("image.png", b"\x89PNG\r\n\x1a\n".repeat(500), false),
        ];
        for (name, bytes, is_database) in targets {
            let directory = place.path("target");
            fs::create_dir(&directory).unwrap();
            let path = directory.join(name);
            fs::write(&path, &bytes).unwrap();
            let target = format!("sqlite:target/{name}");
            let restore = ["restore", &id, "--target", &target];
            let mut attempts = vec![(restore.to_vec(), 1), ([&restore[..], &["--yes"]].concat(), 1)];
            if is_database {
                attempts.push(([&restore[..], &["--drop-existing"]].concat(), 2));
            } else {
                attempts.push(([&restore[..], &["--drop-existing", "--yes"]].concat(), 1));
            }
            for (arguments, code) in attempts {
                place.fails(code, &arguments);
                assert!(fs::read(&path).unwrap() == bytes, "{name}: {arguments:?}");
                assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "{name}: {arguments:?}");
                refused += 1;
            }
            fs::remove_dir_all(directory).unwrap();
        }
    }
    println!("{refused} restores into something else, all refused and nothing touched");
}

fn other(path: &Path) -> Vec<u8> {
    let _ = fs::remove_file(path);
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("CREATE TABLE precious (what TEXT); INSERT INTO precious VALUES ('all there is')")
        .unwrap();
    drop(db);
    fs::read(path).unwrap()
}
