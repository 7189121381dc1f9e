//! Ctrl-C and SIGTERM: the first one stops in good order, the second one at once.

use std::sync::Arc;

use lifeboat::{Ctx, Error, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::progress::Watcher;

/// Starts to listen, within a runtime.
pub(crate) fn watch(ctx: Ctx, watcher: Arc<dyn Watcher>) -> Result<()> {
    let listen = |kind| signal(kind).map_err(|error| Error::io("listen to signals", error));
    let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
    tokio::spawn(async move {
        either(&mut interrupt, &mut terminate).await;
        ctx.cancel();
        watcher.note("stopping; once more to stop at once");
        either(&mut interrupt, &mut terminate).await;
        std::process::exit(130);
    });
    Ok(())
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
