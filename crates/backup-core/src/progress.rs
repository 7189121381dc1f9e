//! Progress: what happens, told to whoever wants to draw or log it. The library itself draws nothing.

use std::sync::{Arc, Mutex, PoisonError};

use crate::part::Part;

/// Somebody who watches an operation.
pub trait Progress: Send + Sync {
    /// Called from any thread, often: return at once.
    fn event(&self, event: Event<'_>);
}

/// One thing that happened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A stage of the operation began.
    Stage(Stage),
    /// How much there is to do in this stage: parts, and bytes if they are known or guessed.
    Planned {
        /// How many parts.
        parts: u64,
        /// Roughly how many bytes.
        bytes: u64,
    },
    /// A part was begun.
    PartStarted(&'a Part),
    /// So many more rows and bytes of the database went by.
    Advanced {
        /// Rows since the last event.
        rows: u64,
        /// Bytes since the last event, before compression.
        bytes: u64,
    },
    /// A part is complete.
    PartFinished(&'a Part),
    /// A chunk was handed to the repository.
    ChunkStored {
        /// Its size before compression.
        raw: u64,
        /// Its size as stored.
        stored: u64,
        /// Whether it had to be written: if not, it was there already.
        new: bool,
    },
    /// Something that a person should know and that is no failure.
    Warning(&'a str),
    /// How something is being done, where there was a choice.
    Note(&'a str),
}

/// A stage of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stage {
    /// Reaching the database.
    Connect,
    /// Reading what is in the database.
    Plan,
    /// Reading the database and storing it.
    Dump,
    /// Making the backup visible.
    Commit,
    /// Checking what is stored.
    Verify,
    /// Checking the whole repository.
    Check,
    /// Writing the target database.
    Load,
    /// Making the target database visible.
    Publish,
    /// Writing a single file out of a backup.
    Export,
    /// Sending backups to another repository.
    Copy,
}

/// Remembers warnings, and passes everything on.
pub(crate) struct Warnings {
    inner: Arc<dyn Progress>,
    heard: Mutex<Vec<String>>,
}

impl Warnings {
    pub(crate) fn new(inner: Arc<dyn Progress>) -> Self {
        Self { inner, heard: Mutex::default() }
    }

    pub(crate) fn so_far(&self) -> Vec<String> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Progress for Warnings {
    fn event(&self, event: Event<'_>) {
        if let Event::Warning(warning) = event {
            self.heard.lock().unwrap_or_else(PoisonError::into_inner).push(warning.to_owned());
        }
        self.inner.event(event);
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {
    fn event(&self, _event: Event<'_>) {}
}
