//! Gzip: slower and larger than zstd, and readable everywhere.

use std::io::{BufRead, ErrorKind as Io, Read, Write};

use flate2::Compression;
use flate2::bufread::{GzDecoder, MultiGzDecoder};
use flate2::write::GzEncoder;

use super::{Codec, Level};
use crate::error::{During, Error, Result};

const DEFAULT_LEVEL: i32 = 6;

/// Gzip members, which end in the length and a CRC-32 of what they hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Gzip;

impl Codec for Gzip {
    fn name(&self) -> &'static str {
        "gzip"
    }

    fn extension(&self) -> Option<&'static str> {
        Some("gz")
    }

    fn encode(&self, raw: &[u8], flush_at: &[usize], level: Level, out: &mut Vec<u8>) -> Result<()> {
        let level = level.0.unwrap_or(DEFAULT_LEVEL).clamp(0, 9).unsigned_abs();
        let mut encoder = GzEncoder::new(out, Compression::new(level));
        let mut begin = 0;
        for &end in flush_at {
            if end > begin
                && let Some(piece) = raw.get(begin..end)
            {
                encoder.write_all(piece).during(|| "compress with gzip")?;
                // A sync flush starts new Huffman tables and keeps the window.
                encoder.flush().during(|| "compress with gzip")?;
                begin = end;
            }
        }
        encoder.write_all(raw.get(begin..).unwrap_or_default()).during(|| "compress with gzip")?;
        encoder.finish().during(|| "compress with gzip")?;
        Ok(())
    }

    fn decode(&self, stored: &[u8], out: &mut Vec<u8>, max_raw: usize) -> Result<()> {
        let before = out.len();
        let mut decoder = GzDecoder::new(stored);
        // The member may declare anything at its end, so memory grows only with what really comes out.
        decoder.by_ref().take(max_raw as u64 + 1).read_to_end(out).map_err(broken)?;
        if out.len() - before > max_raw {
            return Err(Error::damaged(format!("a gzip member of more than {max_raw} bytes")));
        }
        if !decoder.into_inner().is_empty() {
            return Err(Error::damaged("bytes behind the end of a gzip member"));
        }
        Ok(())
    }

    fn decode_frame(&self, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<bool> {
        if input.fill_buf().during(|| "read a gzip member")?.is_empty() {
            return Ok(false);
        }
        let mut decoder = GzDecoder::new(input);
        let mut buffer = vec![0; 64 << 10];
        loop {
            let read = decoder.read(&mut buffer).map_err(broken)?;
            if read == 0 {
                return Ok(true);
            }
            out.write_all(buffer.get(..read).unwrap_or_default())
                .during(|| "write what a gzip member holds")?;
        }
    }

    fn end_mark(&self, hash: &[u8; 32]) -> Option<Vec<u8>> {
        // An empty member with a comment; no time, no system. Behind it no data, its checksum and its length.
        let head = [0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 0xff];
        let comment = format!("lifeboat end {}\0", hex::encode(hash));
        let empty = [3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        Some([&head[..], comment.as_bytes(), &empty].concat())
    }

    fn reader<'a>(&self, input: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>> {
        Ok(Box::new(MultiGzDecoder::new(input)))
    }
}

/// The decoder reports both its own findings and those of the reader below it.
fn broken(error: std::io::Error) -> Error {
    match error.kind() {
        Io::InvalidInput | Io::InvalidData | Io::UnexpectedEof => {
            Error::damaged("a broken gzip member").because(error)
        }
        _ => Error::io("read a gzip member", error),
    }
}
