//! What every operation carries along: the way to cancel it, and somebody who watches its progress.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::progress::{Event, Progress, Quiet, Warnings};

/// The cancel token and the progress observer of one operation. Cloning it is cheap; clones share both.
#[derive(Clone)]
pub struct Ctx {
    cancel: CancellationToken,
    progress: Arc<dyn Progress>,
}

impl Ctx {
    /// A context that nobody watches or cancels.
    pub fn new() -> Self {
        Self { cancel: CancellationToken::new(), progress: Arc::new(Quiet) }
    }

    /// Sends events to `progress`.
    #[must_use]
    pub fn with_progress(mut self, progress: Arc<dyn Progress>) -> Self {
        self.progress = progress;
        self
    }

    pub(crate) fn progress(&self) -> &Arc<dyn Progress> {
        &self.progress
    }

    /// Stops when `cancel` is cancelled.
    #[must_use]
    pub fn with_cancel(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The same context, and what it is warned of from now on.
    pub(crate) fn remembering_warnings(&self) -> (Self, Arc<Warnings>) {
        let warnings = Arc::new(Warnings::new(Arc::clone(&self.progress)));
        (self.clone().with_progress(Arc::clone(&warnings) as Arc<dyn Progress>), warnings)
    }

    /// A context that is cancelled with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { cancel: self.cancel.child_token(), progress: Arc::clone(&self.progress) }
    }

    /// Cancels the operation and all that share this context.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Whether it was cancelled. Loops that wait for nothing ask this now and then.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// An error if it was cancelled.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Returns once it is cancelled.
    pub async fn cancelled(&self) {
        self.cancel.cancelled().await;
    }

    /// Runs `work` until it is done or the context is cancelled, whichever comes first; in the latter case
    /// `work` is dropped where it stands.
    pub async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::cancelled()),
            result = work => result,
        }
    }

    /// Waits for so long, unless it is cancelled.
    pub async fn sleep(&self, time: Duration) -> Result<()> {
        self.run(async {
            tokio::time::sleep(time).await;
            Ok(())
        })
        .await
    }

    /// Runs CPU work or blocking calls on a thread that may block. `work` itself must watch for cancellation
    /// if it takes long: this waits for its end.
    pub async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.check()?;
        match tokio::task::spawn_blocking(work).await {
            Ok(result) => result,
            Err(error) if error.is_panic() => Err(Error::internal("a worker thread panicked").because(error)),
            Err(_) => Err(Error::cancelled()),
        }
    }

    /// Tells the observer.
    pub fn emit(&self, event: Event<'_>) {
        self.progress.event(event);
    }

    /// Tells the observer something that a person should know.
    pub fn warn(&self, message: impl AsRef<str>) {
        self.emit(Event::Warning(message.as_ref()));
    }

    /// Tells the observer how something is being done, where there was a choice.
    pub fn note(&self, message: impl AsRef<str>) {
        self.emit(Event::Note(message.as_ref()));
    }
}

impl Default for Ctx {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx").field("cancelled", &self.is_cancelled()).finish_non_exhaustive()
    }
}
