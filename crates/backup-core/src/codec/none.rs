//! No compression.

use std::io::{BufRead, Read, Write};

use super::{Codec, Level};
use crate::error::{During, Error, Result};

/// Stores bytes as they are. Integrity is then the business of the hashes that cover every stored object.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCompression;

impl Codec for NoCompression {
    fn name(&self) -> &'static str {
        "none"
    }

    fn extension(&self) -> Option<&'static str> {
        None
    }

    fn encode(&self, raw: &[u8], _flush_at: &[usize], _level: Level, out: &mut Vec<u8>) -> Result<()> {
        out.extend_from_slice(raw);
        Ok(())
    }

    fn decode(&self, stored: &[u8], out: &mut Vec<u8>, max_raw: usize) -> Result<()> {
        if stored.len() > max_raw {
            return Err(Error::damaged(format!("{} bytes where at most {max_raw} belong", stored.len())));
        }
        out.extend_from_slice(stored);
        Ok(())
    }

    fn decode_frame(&self, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<bool> {
        let copied = std::io::copy(input, out).during(|| "read uncompressed bytes")?;
        Ok(copied > 0)
    }

    fn reader<'a>(&self, input: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>> {
        Ok(Box::new(input))
    }
}
