//! An engine crate that is named in code is found; this file names it and nothing in it.

use backup_core::Registry;
use example_engine as _;

#[test]
fn a_crate_that_is_named_in_code_is_found() {
    let names: Vec<_> = Registry::linked().engines().iter().map(|engine| engine.name).collect();
    assert_eq!(names, ["kv"]);
    assert!(Registry::linked().by_scheme("kv").is_ok());
}
