//! What a sealed single file holds. Opened once, and read wherever it is asked for: one piece at a time.

use std::fmt;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::source::{FileSource, SourceReader, into_error};
use crate::context::Ctx;
use crate::error::{Error, ErrorKind, Result};
use crate::repository::Unsealer;

type Reader = age::stream::StreamReader<BufReader<SourceReader>>;

/// The clear contents of an age file.
#[derive(Clone)]
pub(crate) struct Unsealed {
    pub(super) stored: Box<FileSource>,
    /// How many bytes it holds.
    pub(super) size: u64,
    reader: Arc<Mutex<Reader>>,
}

impl fmt::Debug for Unsealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Unsealed").field(&self.stored).finish()
    }
}

impl FileSource {
    /// What the sealed file holds. Errors: `WrongKey`, `Damaged`.
    pub(crate) async fn unsealed(self, ctx: &Ctx, unsealer: &Unsealer) -> Result<Self> {
        let (stored, unsealer, name) = (self.reader(ctx), unsealer.clone(), self.name());
        let (reader, size) = ctx
            .blocking(move || {
                let mut reader = unsealer.reader(stored, &name)?;
                let size = reader.seek(SeekFrom::End(0)).map_err(|error| damaged(&name, error))?;
                reader.seek(SeekFrom::Start(0)).map_err(|error| damaged(&name, error))?;
                Ok((reader, size))
            })
            .await?;
        Ok(Self::Sealed(Unsealed { stored: Box::new(self), size, reader: Arc::new(Mutex::new(reader)) }))
    }
}

impl Unsealed {
    pub(super) async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let (reader, name) = (Arc::clone(&self.reader), self.stored.name());
        let read = move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
            let position = reader.stream_position().map_err(|error| damaged(&name, error))?;
            if position != range.start {
                reader.seek(SeekFrom::Start(range.start)).map_err(|error| damaged(&name, error))?;
            }
            reader.read_exact(&mut bytes).map_err(|error| damaged(&name, error))?;
            Ok(bytes.into())
        };
        tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| Error::internal("a reading thread did not end").because(error))?
    }
}

/// What is not one of our own errors is what age says of bytes that it did not write.
fn damaged(name: &str, error: std::io::Error) -> Error {
    match into_error(error) {
        error if error.kind() == ErrorKind::Io => {
            Error::damaged(format!("{name} cannot be unsealed to its end")).because(error)
        }
        error => error,
    }
}
