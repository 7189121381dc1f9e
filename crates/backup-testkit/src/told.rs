//! What a person would be warned of.

use std::sync::{Mutex, PoisonError};

use backup_core::{Event, Progress};

/// Keeps the warnings of an operation.
#[derive(Debug, Default)]
pub struct Told(Mutex<Vec<String>>);

impl Told {
    /// All warnings so far.
    pub fn warnings(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a warning has this text in it.
    pub fn has(&self, text: &str) -> bool {
        self.warnings().iter().any(|warning| warning.contains(text))
    }
}

impl Progress for Told {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(warning) = event {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).push(warning.to_owned());
        }
    }
}
