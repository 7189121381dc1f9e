//! PLACEHOLDER
use super::{Codec, Level};
use crate::error::{During, Error, Result};
use std::io::{BufRead, Read, Write};
#[derive(Debug, Clone, Copy, Default)]
pub struct Gzip;
impl Codec for Gzip {
    fn name(&self) -> &'static str {
        "gzip"
    }
    fn extension(&self) -> Option<&'static str> {
        Some("gz")
    }
    fn encode(&self, raw: &[u8], _f: &[usize], level: Level, out: &mut Vec<u8>) -> Result<()> {
        let mut e = flate2::write::GzEncoder::new(out, flate2::Compression::new(level.0.unwrap_or(6) as u32));
        e.write_all(raw).during(|| "gz")?;
        e.finish().during(|| "gz")?;
        Ok(())
    }
    fn decode(&self, stored: &[u8], out: &mut Vec<u8>, max_raw: usize) -> Result<()> {
        flate2::read::GzDecoder::new(stored)
            .take(max_raw as u64)
            .read_to_end(out)
            .map_err(|e| Error::damaged(e.to_string()))?;
        Ok(())
    }
    fn decode_frame(&self, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<bool> {
        if input.fill_buf().during(|| "read")?.is_empty() {
            return Ok(false);
        }
        std::io::copy(&mut flate2::bufread::GzDecoder::new(input), out).during(|| "gz")?;
        Ok(true)
    }
    fn reader<'a>(&self, input: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>> {
        Ok(Box::new(flate2::bufread::MultiGzDecoder::new(input)))
    }
}
