//! An engine crate that is only in Cargo.toml is not found; this file does not name it.

use backup_core::Registry;

#[test]
fn a_crate_that_is_only_in_cargo_toml_is_not_found_and_the_error_says_what_to_do() {
    let registry = Registry::linked();
    assert!(registry.engines().is_empty(), "{registry:?}");
    let error = registry.by_scheme("kv").map(|engine| engine.name).expect_err("it is not linked");
    assert!(error.to_string().contains("name it"), "{error}");
}
