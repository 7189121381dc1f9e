//! A secret goes where it must, and nowhere else.

use std::sync::{Arc, Mutex, PoisonError};

use backup_core::storage::Key;
use backup_core::{BackupRef, Ctx, Event, Progress};

use super::EngineFixture;
use super::repository::Repository;
use super::restore::sample;
use crate::faults::keys;

/// Looks like nothing else.
const CANARY: &str = "canary-7Vq2xTz9";

/// Keeps what is said.
#[derive(Default)]
struct Heard(Mutex<String>);

impl Progress for Heard {
    fn event(&self, event: Event<'_>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // What parts say is in the backup too, where it is looked for.
        *heard += &format!("{event:?}\n");
    }
}

/// Not in an error, its causes or its `Debug`, not in events, not in the engine's `Debug`, not in a backup.
pub async fn secrets_are_never_repeated(fixture: &dyn EngineFixture) {
    let source = sample(fixture).await;
    let heard = Arc::new(Heard::default());
    let say = |text: String| *heard.0.lock().unwrap_or_else(PoisonError::into_inner) += &text;
    let complain = |error: &backup_core::Error| {
        say(format!("{error}\n{error:?}\n"));
        let mut cause = std::error::Error::source(error);
        while let Some(error) = cause {
            say(format!("{error}\n{error:?}\n"));
            cause = error.source();
        }
    };
    let missing = fixture.renamed(&fixture.empty().await, "missing");
    let mut repository = Repository::new(fixture).under(Ctx::new().with_progress(heard.clone()));
    // What is stored can be searched if nothing is compressed.
    "none".clone_into(&mut repository.config.codec);
    for place in [&source, &missing] {
        let url = fixture.with_secret(place, CANARY);
        say(format!("{url} {url:?}\n"));
        match (fixture.factory().from_url)(&url) {
            Ok(engine) => say(format!("{engine:?} {engine:#?}\n")),
            Err(error) => complain(&error),
        }
        let manager = repository.manager();
        say(format!("{manager:?}"));
        match manager.probe(&url).await {
            Ok(server) => say(format!("{server:?}")),
            Err(error) => complain(&error),
        }
        match manager.backup(&url).await {
            Ok(backup) => {
                let details = manager.get_backup(&BackupRef::from(&backup.id)).await.expect("it is shown");
                say(format!("{details:?}"));
                let target = fixture.with_secret(&fixture.empty().await, CANARY);
                // Once into an empty place, once into one that is not.
                for _ in 0..2 {
                    match repository.try_restore(&BackupRef::from(&backup.id), &target, |_| {}).await {
                        Ok(report) => say(format!("{report:?}")),
                        Err(error) => complain(&error),
                    }
                }
            }
            Err(error) => complain(&error),
        }
    }
    let heard = heard.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if let Some(at) = heard.find(CANARY) {
        let start = heard[..at].rfind('\n').map_or(0, |newline| newline + 1);
        panic!("the secret was said: {}", heard[start..].lines().next().unwrap_or_default());
    }
    for key in keys(&*repository.storage, &Key::ROOT).await {
        let bytes = repository.storage.get(&key, None).await.expect("it is there");
        let found = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
        assert!(!found, "the secret is stored in {key}");
    }
}
