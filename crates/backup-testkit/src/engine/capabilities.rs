//! An engine does what it says, and refuses by name what it does not.

use backup_core::{BackupOptions, BackupType, Ctx, ErrorKind, Position};

use super::EngineFixture;
use super::repository::Repository;
use super::restore::sample;

/// A capability that is false is refused as `Unsupported`, not tried.
pub async fn what_is_not_said_to_be_possible_is_unsupported(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let engine = (fixture.factory().from_url)(&source).expect("the engine takes the fixture's URL");
    let server = engine.probe(&Ctx::new()).await.expect("it answers");
    assert!(
        !server.product.is_empty() && !server.version.is_empty() && !server.database.is_empty(),
        "{server:?}"
    );
    if !server.capabilities.globals {
        let mut options = BackupOptions::default();
        options.globals = true;
        let refused = Repository::new(fixture).manager().backup_with(&source, options).await;
        assert_eq!(refused.expect_err("it says that it has none").kind(), ErrorKind::Unsupported);
    }
    if server.log.is_some() {
        return;
    }
    let position = Position("nowhere".into());
    let error = engine.open_log(&Ctx::new(), &position).await.err().expect("it says that it has no log");
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let repository = Repository::new(fixture);
    repository.backup(&source).await;
    for backup_type in [BackupType::Incremental, BackupType::Differential] {
        let mut options = BackupOptions::default();
        options.backup_type = backup_type;
        let refused = repository.manager().backup_with(&source, options.clone()).await;
        assert_eq!(refused.expect_err("it says that it has no log").kind(), ErrorKind::Unsupported);
        options.or_full = true;
        let instead = repository.manager().backup_with(&source, options).await.expect("a full one instead");
        assert_eq!(instead.backup_type, BackupType::Full);
    }
    assert_eq!(repository.listed().await, 3);
}

/// A mistyped option is not silently ignored.
pub async fn unknown_options_are_refused(fixture: &dyn EngineFixture) {
    let mut url = fixture.empty().await;
    url.options.push(("no-such-option".to_owned(), "1".to_owned()));
    let error = (fixture.factory().from_url)(&url).expect_err("there is no such option");
    assert_eq!(error.kind(), ErrorKind::Usage, "{error}");
    assert!(error.to_string().contains("no-such-option"), "{error}");
}
