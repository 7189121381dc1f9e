//! The engines that the facade's features link in are found.

use lifeboat::{ErrorKind, Registry};

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_is_linked_and_found_by_its_scheme() {
    let registry = Registry::linked();
    assert_eq!(registry.by_scheme("sqlite").unwrap().name, "sqlite");
    assert!(registry.engines().iter().any(|engine| engine.name == lifeboat::sqlite::ENGINE.name));
}

#[test]
fn an_unknown_engine_is_refused_with_those_there_are_and_how_to_link_another() {
    let error = Registry::linked().by_scheme("frobnicate").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnknownEngine);
    let message = error.to_string();
    assert!(message.contains("frobnicate"), "{message}");
    assert!(message.contains("`pub use backup_sqlite as sqlite;`"), "{message}");
    for engine in Registry::linked().engines() {
        assert!(message.contains(engine.example), "{message}");
    }
}
