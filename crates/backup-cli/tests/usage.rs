//! The program as a user meets it, as far as that needs no database.

#![cfg(feature = "sqlite")] // the examples are of it
#![allow(clippy::unwrap_used, clippy::panic)] // clippy knows tests, but not what they call

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A directory to run in, and nothing of the environment that could change what happens.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_lifeboat"))
            .args(args)
            .current_dir(self.path())
            .env_remove("LIFEBOAT_REPO")
            .env_remove("LIFEBOAT_CONFIG")
            .env_remove("LIFEBOAT_HOST_KEY")
            .env("XDG_CONFIG_HOME", self.path())
            .env("COLUMNS", "80")
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn entries(&self) -> usize {
        std::fs::read_dir(self.path()).unwrap().count()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The exit code is `code`, stdout is empty, and stderr says all of `words`.
#[track_caller]
fn refused(output: &Output, code: i32, words: &[&str]) {
    let stderr = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stdout(output), "");
    for word in words {
        assert!(stderr.contains(word), "{word:?} is not in: {stderr}");
    }
}

#[test]
fn an_unknown_scheme_is_a_usage_error_that_lists_the_engines_and_makes_nothing() {
    let place = Place::new();
    let output = place.run(&["backup", "frobnicate://host/db"]);
    refused(&output, 2, &["error: no engine for \"frobnicate\"\n", "\nhint: "]);
    let engines = stdout(&place.run(&["engines", "--json"]));
    let engines: serde_json::Value = serde_json::from_str(&engines).unwrap();
    assert_eq!(engines["version"], 1);
    for engine in engines["engines"].as_array().unwrap() {
        assert!(stderr(&output).contains(engine["example"].as_str().unwrap()));
    }
    refused(&place.run(&["restore", "latest", "--target", "frobnicate:x"]), 2, &["frobnicate"]);
    assert_eq!(place.entries(), 0);
}

#[test]
fn a_bare_path_and_an_unknown_name_are_refused_with_what_to_write() {
    let place = Place::new();
    refused(&place.run(&["backup", "shop"]), 2, &["no source called \"shop\"", "sqlite:path/to.db"]);
    std::fs::write(place.path().join("shop.db"), "").unwrap();
    refused(&place.run(&["backup", "shop.db"]), 2, &["sqlite:shop.db"]);
}

#[test]
fn an_unknown_configuration_key_is_refused_with_its_line() {
    let place = Place::new();
    std::fs::write(place.path().join("lifeboat.toml"), "[repository]\nurll = \"backups\"\n").unwrap();
    refused(&place.run(&["list"]), 2, &["lifeboat.toml, line 2", "\"urll\"", "hint: did you mean \"url\"?"]);
    refused(&place.run(&["list", "--config", "missing.toml"]), 2, &["missing.toml"]);
}

#[test]
fn a_repository_on_an_unknown_storage_is_refused_with_what_there_is() {
    refused(&Place::new().run(&["list", "--repo", "s3://bucket/prefix"]), 2, &["s3://", "file:///"]);
}

#[test]
fn what_needs_a_repository_says_that_there_is_none() {
    let place = Place::new();
    for args in [
        &["list"][..],
        &["show", "latest"],
        &["verify", "--all"],
        &["delete", "20250131-020000-5f3a9c01", "--yes"],
        &["export", "latest", "-o", "shop.sql"],
        &["restore", "latest", "--target", "sqlite:copy.db"],
    ] {
        refused(&place.run(args), 10, &["error: ", "\nhint: "]);
    }
    assert_eq!(place.entries(), 0);
}

#[test]
fn a_destructive_command_without_a_terminal_needs_yes() {
    let place = Place::new();
    refused(&place.run(&["delete", "20250131-020000-5f3a9c01"]), 2, &["--yes"]);
    let restore = ["restore", "latest", "--target", "sqlite:copy.db", "--drop-existing"];
    refused(&place.run(&restore), 2, &["--drop-existing", "--yes"]);
}

#[test]
fn an_error_in_json_is_one_line_on_stderr() {
    let place = Place::new();
    for (args, kind, code) in [
        (&["--json", "list", "--repo", "s3://bucket"][..], "usage", 2),
        (&["--json", "list"], "no-repository", 10),
        (&["--json", "frobnicate"], "usage", 2),
    ] {
        let output = place.run(args);
        refused(&output, code, &[]);
        let error: serde_json::Value = serde_json::from_str(&stderr(&output)).unwrap();
        assert_eq!(error["version"], 1);
        assert_eq!(error["error"]["kind"], kind);
        assert_eq!(error["error"]["exit-code"], code);
    }
}

#[test]
fn a_password_in_a_url_is_not_repeated() {
    let place = Place::new();
    for url in ["frobnicate://u:canary@h/db", "sqlite://u:canary@h:99999/db"] {
        let output = place.run(&["-v", "backup", url]);
        assert_eq!(output.status.code(), Some(2));
        assert!(!stderr(&output).contains("canary"), "{}", stderr(&output));
    }
}

#[test]
fn flags_that_make_no_sense_are_usage_errors() {
    let place = Place::new();
    for args in [
        &["frobnicate"][..],
        &["backup"],
        &["backup", "sqlite:a", "--limit", "fast"],
        &["backup", "sqlite:a", "--tag", "web"],
        &["backup", "sqlite:a", "-j", "0"],
        &["backup", "sqlite:a", "--schema-only", "--data-only"],
        &["restore", "latest"],
        &["restore", "latest", "--target", "sqlite:a", "--point-in-time", "yesterday"],
        &["restore", "No Such ID", "--target", "sqlite:a"],
        &["verify"],
        &["verify", "latest", "--all"],
    ] {
        refused(&place.run(args), 2, &["error: "]);
    }
}

#[test]
fn the_help_fits_a_screen_and_ends_in_examples() {
    let output = Place::new().run(&["--help"]);
    let help = stdout(&output);
    assert_eq!(output.status.code(), Some(0));
    assert!(help.lines().count() <= 45, "{} lines:\n{help}", help.lines().count());
    assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
    assert!(help.trim_end().lines().last().is_some_and(|line| line.starts_with("  lifeboat ")), "{help}");
}

#[test]
fn every_command_has_an_example_that_the_parser_accepts() {
    let place = Place::new();
    for command in backup_cli::command().get_subcommands() {
        let name = command.get_name();
        let help = stdout(&place.run(&[name, "--help"]));
        let (_, examples) = help.rsplit_once("Example").unwrap_or_else(|| panic!("{name} has no example"));
        for line in examples.lines().skip(1) {
            // As a shell would split it: the examples quote nothing that has spaces in it.
            let words = line.split(['#', '>']).next().unwrap_or_default().split_whitespace();
            let words: Vec<String> = words.map(|word| word.replace('\'', "")).collect();
            assert_eq!(words.first().map(String::as_str), Some("lifeboat"), "{line}");
            assert!(words.iter().any(|word| word == name), "{line}");
            backup_cli::command().try_get_matches_from(&words).unwrap();
        }
    }
}

#[test]
fn there_are_completions_for_bash() {
    let output = Place::new().run(&["completions", "bash"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("complete -F _lifeboat"), "{}", stdout(&output));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let script = format!("{:?} completions bash | true", env!("CARGO_BIN_EXE_lifeboat"));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert_eq!(stderr(&output), "");
}
