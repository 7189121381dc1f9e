//! PLACEHOLDER
use super::{Codec, Level};
use crate::error::{During, Error, Result};
use std::io::{BufRead, Read, Write};
#[derive(Debug, Clone, Copy, Default)]
pub struct Zstd;
impl Codec for Zstd {
    fn name(&self) -> &'static str {
        "zstd"
    }
    fn extension(&self) -> Option<&'static str> {
        Some("zst")
    }
    fn encode(&self, raw: &[u8], _f: &[usize], level: Level, out: &mut Vec<u8>) -> Result<()> {
        let v = zstd::bulk::compress(raw, level.0.unwrap_or(3)).during(|| "zstd")?;
        out.extend(v);
        Ok(())
    }
    fn decode(&self, stored: &[u8], out: &mut Vec<u8>, max_raw: usize) -> Result<()> {
        let v = zstd::bulk::decompress(stored, max_raw).map_err(|e| Error::damaged(e.to_string()))?;
        out.extend(v);
        Ok(())
    }
    fn decode_frame(&self, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<bool> {
        if input.fill_buf().during(|| "read")?.is_empty() {
            return Ok(false);
        }
        let mut d = zstd::stream::read::Decoder::with_buffer(input).during(|| "z")?.single_frame();
        std::io::copy(&mut d, out).during(|| "zstd")?;
        Ok(true)
    }
    fn reader<'a>(&self, input: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>> {
        Ok(Box::new(zstd::stream::read::Decoder::with_buffer(input).during(|| "z")?))
    }
}
