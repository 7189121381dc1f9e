//! What went wrong when several work at once.

use crate::context::Ctx;
use crate::error::{Error, ErrorKind, Result};

/// The first error stops the others, whose complaints about that say nothing new.
#[derive(Debug, Default)]
pub(super) struct Failure(Option<Error>);

impl Failure {
    /// Notes an error of one worker, and stops those that share `ctx`.
    pub(super) fn note(&mut self, ctx: &Ctx, error: Error) {
        ctx.cancel();
        if self.0.as_ref().is_none_or(|first| first.kind() == ErrorKind::Cancelled) {
            self.0 = Some(error);
        }
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// The error to report, if there was one.
    pub(super) fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}
