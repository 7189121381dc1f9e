//! Verification: everything that a backup needs is read, decoded, hashed and counted again.

use futures::{StreamExt, TryStreamExt, stream};

use super::open::{Contents, Opened};
use crate::context::Ctx;
use crate::error::{During, Error, Result};
use crate::info::VerifyReport;
use crate::progress::Event;
use crate::repository::{Header, PartRecord, Repository};
use crate::single_file::FileSource;

pub(super) async fn run(ctx: &Ctx, jobs: usize, opened: Opened) -> Result<VerifyReport> {
    let bytes = opened.parts.iter().map(|record| record.bytes).sum::<u64>()
        + opened.file.as_ref().map_or(0, |(source, _)| source.stored().size());
    ctx.emit(Event::Planned { parts: opened.parts.len() as u64, bytes });
    let mut report = VerifyReport {
        parts: opened.parts.len() as u64,
        rows: opened.parts.iter().map(PartRecord::rows).sum(),
        decoded: true,
        ..VerifyReport::default()
    };
    if let Some((source, _)) = &opened.file {
        report.bytes = source.stored().size();
    }
    opened.check_file(ctx).await?;
    match &opened.contents {
        Contents::Chunks(chunks) => {
            report.chunks = chunks.entries().len() as u64;
            if opened.file.is_none() {
                report.bytes = chunks.entries().iter().map(|entry| u64::from(entry.stored_size)).sum();
            }
            let source = opened.contents.parts();
            let counted = stream::iter(&opened.parts).map(|record| {
                let mut reader = source.open(ctx, record);
                async move {
                    // Counts and digests are compared at the end of the part.
                    while reader.next().await.during(|| format!("read {}", record.part.object))?.is_some() {}
                    Ok::<(), Error>(())
                }
            });
            // Boxed, since the compiler cannot see that such a closure's future is Send.
            counted.buffer_unordered(jobs.max(1)).boxed().try_collect::<()>().await?;
        }
        Contents::Script(script) => {
            let checked = script.check(ctx).await?;
            if checked.header.id != opened.header.id {
                return Err(Error::damaged(format!("its script is that of {}", checked.header.id)));
            }
            let of_script = |record: &PartRecord| (record.part.id, record.digest, record.script.clone());
            if !checked.parts.iter().map(of_script).eq(opened.parts.iter().map(of_script)) {
                return Err(Error::damaged(
                    "the script's own manifest says something else than the repository's",
                ));
            }
        }
    }
    Ok(report)
}

/// What can be said of a sealed backup without an identity: all stored bytes are hashed, and nothing is decoded.
pub(super) async fn stored(
    ctx: &Ctx,
    jobs: usize,
    repository: &Repository,
    header: &Header,
) -> Result<VerifyReport> {
    let (header, ..) = repository.manifest_file(ctx, &header.id).await?;
    let chunks = repository.stored_chunks(ctx, &header).await?;
    let mut report = VerifyReport { chunks: chunks.entries().len() as u64, ..VerifyReport::default() };
    report.bytes = chunks.entries().iter().map(|entry| u64::from(entry.stored_size)).sum();
    let file = header.file.as_ref().map_or(0, |record| record.size);
    ctx.emit(Event::Planned { parts: 0, bytes: report.bytes + file });
    if let Some(record) = &header.file {
        let source = FileSource::object(repository.storage(), record.key.parse()?).await?;
        source.check(ctx, record.size, record.hash).await?;
        report.bytes += record.size;
    }
    let places = 0..chunks.entries().len() as u32;
    let checks = stream::iter(places).map(|place| {
        let chunks = chunks.clone();
        async move {
            let bytes = chunks.fetch(ctx, place).await?.len() as u64;
            ctx.emit(Event::Advanced { rows: 0, bytes });
            Ok::<(), Error>(())
        }
    });
    checks.buffer_unordered(jobs.max(1)).boxed().try_collect::<()>().await?;
    Ok(report)
}
