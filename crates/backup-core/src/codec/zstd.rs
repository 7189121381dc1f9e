//! Zstandard: the default.

mod compressor;

use std::io::{BufRead, Read, Write};

use zstd::stream::raw::{DParameter, InBuffer, OutBuffer};
use zstd::zstd_safe::{self, DCtx, get_error_name};

use super::{Codec, Level};
use crate::error::{During, Error, Result};
use crate::pool::Pool;
use compressor::Compressor;

/// The level that is used when none is asked for.
const DEFAULT_LEVEL: i32 = 3;
/// What every frame begins with.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// What a frame begins with that decoders skip.
const SKIPPABLE: [u8; 4] = [0x50, 0x2a, 0x4d, 0x18];
/// The largest window that any level of zstd itself asks for: 128 MiB.
const WINDOW_LOG_MAX: u32 = 27;

/// Zstandard frames that know their length and end in a checksum of what they hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct Zstd;

// A context is worth keeping: its tables are larger than most of what it compresses.
static ENCODERS: Pool<Compressor> = Pool::new();
static DECODERS: Pool<DCtx<'static>> = Pool::new();

impl Codec for Zstd {
    fn name(&self) -> &'static str {
        "zstd"
    }

    fn extension(&self) -> Option<&'static str> {
        Some("zst")
    }

    fn encode(&self, raw: &[u8], flush_at: &[usize], level: Level, out: &mut Vec<u8>) -> Result<()> {
        let level = level.0.unwrap_or(DEFAULT_LEVEL);
        let level = level.clamp(zstd_safe::min_c_level(), zstd_safe::max_c_level());
        let mut compressor = match ENCODERS.take() {
            Some(compressor) => compressor,
            None => Compressor::new()?,
        };
        // Given back only if all went well.
        compressor.frame(raw, flush_at, level, out)?;
        ENCODERS.give(compressor);
        Ok(())
    }

    fn decode(&self, stored: &[u8], out: &mut Vec<u8>, max_raw: usize) -> Result<()> {
        if !stored.starts_with(&MAGIC) {
            return Err(Error::damaged("not a zstd frame"));
        }
        if zstd_safe::find_frame_compressed_size(stored).map_err(broken)? != stored.len() {
            return Err(Error::damaged("bytes behind the end of a zstd frame"));
        }
        let declared = zstd_safe::get_frame_content_size(stored)
            .map_err(|_| Error::damaged("a zstd frame without a readable header"))?;
        if declared.is_some_and(|declared| declared > max_raw as u64) {
            return Err(too_long(max_raw));
        }
        with_decoder(window_log(max_raw), |context| {
            decode(context, stored, declared.map_or(0, |declared| declared as usize), out, max_raw)
        })
    }

    fn decode_frame(&self, input: &mut dyn BufRead, out: &mut dyn Write) -> Result<bool> {
        with_decoder(WINDOW_LOG_MAX, |context| {
            let mut buffer = Vec::with_capacity(DCtx::out_size());
            loop {
                match stream_frame(context, input, out, &mut buffer)? {
                    Frame::Data => return Ok(true),
                    Frame::Skippable => {}
                    Frame::None => return Ok(false),
                }
            }
        })
    }

    fn end_mark(&self, hash: &[u8; 32]) -> Option<Vec<u8>> {
        let length = (hash.len() as u32).to_le_bytes();
        Some([&SKIPPABLE[..], &length, hash].concat())
    }

    fn reader<'a>(&self, input: Box<dyn BufRead + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>> {
        let decoder = zstd::stream::read::Decoder::with_buffer(input).during(|| "start the zstd decoder")?;
        Ok(Box::new(decoder))
    }
}

fn with_decoder<T>(window_log: u32, work: impl FnOnce(&mut DCtx<'static>) -> Result<T>) -> Result<T> {
    let mut context = match DECODERS.take() {
        Some(context) => context,
        None => DCtx::try_create().ok_or_else(no_memory)?,
    };
    context.set_parameter(DParameter::WindowLogMax(window_log)).map_err(broken)?;
    let value = work(&mut context)?;
    // Given back only if all went well: a half-read frame must not be the next one's start.
    DECODERS.give(context);
    Ok(value)
}

/// Decodes the one frame that `stored` is. A frame that declares its length is decoded in one go, straight into
/// `out`; one that does not grows `out` bit by bit.
fn decode(
    context: &mut DCtx<'static>,
    stored: &[u8],
    declared: usize,
    out: &mut Vec<u8>,
    max_raw: usize,
) -> Result<()> {
    let before = out.len();
    out.reserve(declared.max(1));
    let mut input = InBuffer::around(stored);
    loop {
        let written = out.len();
        let mut output = OutBuffer::around_pos(out, written);
        let left = context.decompress_stream(&mut output, &mut input).map_err(broken)?;
        if out.len() - before > max_raw {
            return Err(too_long(max_raw));
        }
        if left == 0 {
            return Ok(());
        }
        if out.len() < out.capacity() {
            return Err(Error::damaged("a zstd frame that ends too early"));
        }
        out.reserve((out.len() - before + 1).min(DCtx::out_size()));
    }
}

enum Frame {
    Data,
    Skippable,
    None,
}

/// Reads the next frame of a stream, whichever kind it is.
fn stream_frame(
    context: &mut DCtx<'static>,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    buffer: &mut Vec<u8>,
) -> Result<Frame> {
    let mut magic = [0; 4];
    let mut seen = 0;
    loop {
        let available = input.fill_buf().during(|| "read a zstd frame")?;
        if available.is_empty() && seen == 0 {
            return Ok(Frame::None);
        }
        let ended = available.is_empty();
        let mut source = InBuffer::around(available);
        buffer.clear();
        let mut output = OutBuffer::around(buffer);
        let left = context.decompress_stream(&mut output, &mut source).map_err(broken)?;
        let taken = source.pos();
        for (place, byte) in magic.iter_mut().skip(seen).zip(available) {
            *place = *byte;
        }
        seen += taken;
        input.consume(taken);
        out.write_all(buffer).during(|| "write what a zstd frame holds")?;
        if left == 0 {
            let skippable = magic[0] & 0xf0 == 0x50 && magic[1..] == [0x2a, 0x4d, 0x18];
            return Ok(if skippable { Frame::Skippable } else { Frame::Data });
        }
        if ended && buffer.is_empty() {
            return Err(Error::damaged("a zstd frame that ends too early"));
        }
    }
}

/// The smallest window that holds `max_raw` bytes, within what zstd knows.
fn window_log(max_raw: usize) -> u32 {
    max_raw.max(1 << 17).next_power_of_two().trailing_zeros().min(WINDOW_LOG_MAX)
}

fn broken(code: usize) -> Error {
    Error::damaged(format!("a broken zstd frame: {}", get_error_name(code)))
}

fn no_memory() -> Error {
    Error::internal("no memory for zstd")
}

fn too_long(max_raw: usize) -> Error {
    Error::damaged(format!("a zstd frame of more than {max_raw} bytes"))
}
