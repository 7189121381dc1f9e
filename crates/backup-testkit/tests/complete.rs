//! No case is left out of its suite: one that the macro does not name would never run.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a file that is not there is a failure")]

use std::path::Path;

/// The names of the cases in the sources of a suite, whose macro is in the file `list`.
fn check(files: &[String], list: &str) {
    let macro_ = list.split("$crate::cases! {").nth(1).unwrap();
    let mut cases = 0;
    for file in files {
        for name in file.lines().filter_map(|line| line.trim_start().strip_prefix("pub async fn ")) {
            let name = name.split('(').next().unwrap();
            assert!(
                macro_.split_whitespace().any(|word| word.trim_end_matches(['(', ')']) == name),
                "{name}"
            );
            cases += 1;
        }
    }
    assert!(cases > 10, "only {cases} cases were found");
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(path)).unwrap()
}

#[test]
fn every_case_of_an_engine_and_of_a_log_is_run() {
    for suite in ["engine", "log"] {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(suite);
        let files: Vec<_> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
            .collect();
        check(&files, &read(&format!("{suite}/mod.rs")));
    }
}

#[test]
fn every_case_of_a_storage_and_of_a_codec_is_run() {
    for path in ["storage.rs", "codec.rs"] {
        check(&[read(path)], &read(path));
    }
}
