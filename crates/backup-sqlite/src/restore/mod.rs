//! One running restore: a new file beside the target, put in its place when it is finished.

mod existing;
mod load;
mod schema;
pub(crate) mod staging;
mod target;

use std::path::Path;
use std::sync::{Arc, Mutex as Cell, PoisonError};

use backup_core::{
    Content, Ctx, Error, Existing, Part, PartKind, PartReader, RestoreRequest, RestoreSession, Result,
    RowLayout, async_trait,
};
use tokio::sync::Mutex;

use crate::config::Config;
use load::Loading;
use staging::Staging;
use target::{Exclusive, Present};

/// The new file, and what it will replace.
#[derive(Debug)]
pub(crate) struct Restore {
    // Fields are dropped in this order: the connection before its file.
    loading: Arc<Mutex<Option<Loading>>>,
    staging: Staging,
    /// The existing database, if the restored rows go into a copy of it.
    held: Cell<Option<Exclusive>>,
    config: Config,
    existing: Existing,
}

impl Restore {
    /// Checks everything that can be checked; touches nothing but its own new file.
    pub(crate) fn begin(
        ctx: &Ctx,
        config: &Config,
        request: &RestoreRequest,
        parts: &[Part],
    ) -> Result<Self> {
        for part in parts {
            let fits = match &part.kind {
                PartKind::Sql => true,
                PartKind::Rows { layout, .. } => *layout == RowLayout::Tagged,
                _ => false,
            };
            if !fits {
                return Err(Error::unsupported(format!("{} is not of a SQLite backup", part.object)));
            }
        }
        let mut config = config.clone();
        if let Ok(path) = config.path.canonicalize() {
            // A link stays a link: the file that it leads to is replaced.
            config.path = path;
        }
        let present = target::look(&config)?;
        let into_existing =
            request.content == Content::DataOnly || (request.partial && present == Present::Database);
        if !into_existing {
            target::allow(present, request.existing)?;
        } else if present != Present::Database {
            return Err(existing::missing(&config));
        }
        ctx.check()?;
        for other in staging::others(config.path.parent().unwrap_or(Path::new("/"))) {
            ctx.warn(format!(
                "{} belongs to another restore; if none is running, one was cut off, and the file can be removed",
                other.display()
            ));
        }
        let staging = Staging::beside(&config.path)?;
        let mut held = None;
        if into_existing {
            held = Some(Exclusive::take(&config)?);
        }
        let loading = match &mut held {
            None => Loading::into_new(&staging, parts)?,
            Some(exclusive) => {
                exclusive.copy(&config.path, staging.path())?;
                existing::prepare(Loading::into_copy(&staging)?, request, parts)?
            }
        };
        Ok(Self {
            loading: Arc::new(Mutex::new(Some(loading))),
            staging,
            held: Cell::new(held),
            config,
            existing: request.existing,
        })
    }
}

#[cfg(test)]
impl Restore {
    /// Loads a part that comes from a test and not from the core.
    pub(crate) fn load_from(
        &self,
        ctx: &Ctx,
        part: &Part,
        source: &mut dyn backup_core::PartSource,
    ) -> Result<()> {
        self.loading.blocking_lock().as_mut().unwrap().part(ctx, part, source)
    }
}

#[async_trait]
impl RestoreSession for Restore {
    async fn load(&self, ctx: &Ctx, part: &Part, input: &mut PartReader) -> Result<()> {
        // There is one writer. The lock is fair, so parts come in the order in which core begins them.
        let mut loading = ctx.run(async { Ok(Arc::clone(&self.loading).lock_owned().await) }).await?;
        let (ctx, part) = (ctx.clone(), part.clone());
        input
            .blocking(move |input| {
                let loading = loading.as_mut().ok_or_else(|| Error::internal("the restore is over"))?;
                loading.part(&ctx, &part, input)
            })
            .await
    }

    async fn finish(self: Box<Self>, ctx: &Ctx) -> Result<()> {
        let loading = ctx.run(async { Ok(self.loading.lock().await.take()) }).await?;
        let inner = ctx.clone();
        ctx.blocking(move || {
            let this = *self;
            let held = this.held.into_inner().unwrap_or_else(PoisonError::into_inner);
            let loading = loading.ok_or_else(|| Error::internal("the restore is over"))?;
            loading.complete(&inner, this.staging.path())?;
            target::publish(&inner, this.staging, &this.config, this.existing, held)
        })
        .await
    }

    async fn abort(self: Box<Self>, _ctx: &Ctx) -> Result<()> {
        // A part that is still being loaded ends at its next read: its reader is gone or cancelled.
        let loading = self.loading.lock().await.take();
        // Not through `ctx`, which may be cancelled: removing the file is all that is left to do.
        let done = tokio::task::spawn_blocking(move || {
            drop(loading);
            drop(self);
        });
        done.await.map_err(|error| Error::internal("the restore could not be taken back").because(error))
    }
}
