//! docs/writing-an-engine.md shows this crate, and for the change log the testkit's fake engine, as they are.

#![allow(clippy::unwrap_used, reason = "a file that is not there is a failure")]

use std::path::Path;

#[test]
fn every_rust_excerpt_of_the_guide_stands_in_this_crate_or_in_the_fake_engine() {
    let crate_ = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(crate_.join("../../docs/writing-an-engine.md")).unwrap();
    let fake = crate_.join("../../crates/backup-testkit/src/fake");
    let sources: Vec<String> = [crate_.join("src"), fake]
        .iter()
        .flat_map(|directory| std::fs::read_dir(directory).unwrap())
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    let excerpts: Vec<_> =
        guide.split("```rust\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()).collect();
    assert!(excerpts.len() >= 10, "only {} excerpts: are they still fenced as rust?", excerpts.len());
    for excerpt in excerpts {
        // Whole lines, as they stand there.
        let lines = format!("{excerpt}\n");
        assert!(sources.iter().any(|source| source.contains(&lines)), "nowhere in the sources:\n{excerpt}");
    }
}

#[test]
fn every_file_that_the_guide_names_is_there() {
    let crate_ = Path::new(env!("CARGO_MANIFEST_DIR"));
    let guide = std::fs::read_to_string(crate_.join("../../docs/writing-an-engine.md")).unwrap();
    let links: Vec<_> = guide.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()).collect();
    assert!(!links.is_empty());
    for link in links.into_iter().filter(|link| !link.starts_with('#')) {
        assert!(crate_.join("../../docs").join(link).exists(), "{link}");
    }
}
