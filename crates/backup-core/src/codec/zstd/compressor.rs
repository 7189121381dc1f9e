//! A frame out of bytes that are all there, straight from where they are. The only unsafe code of lifeboat: see
//! docs/decisions/015-zstd-reads-blocks-in-place.md.

#![allow(unsafe_code)]

use std::ptr::{NonNull, null};

use zstd::zstd_safe::zstd_sys as c;
use zstd::zstd_safe::{compress_bound, get_error_name};

use crate::error::{Error, Result};

/// More than a frame's header and its checksum take: `ZSTD_FRAMEHEADERSIZE_MAX` is 18, an empty last block 3, a checksum 4.
const FRAME_OVERHEAD: usize = 64;

/// A compression context of zstd's, which only this owns.
#[derive(Debug)]
pub(super) struct Compressor(NonNull<c::ZSTD_CCtx>);

// SAFETY: a context belongs to no thread (zstd's manual: "re-use one context per thread", of which only the use by two at
// once would harm), and whatever works with it has it exclusively, by `&mut self`.
unsafe impl Send for Compressor {}

impl Compressor {
    pub(super) fn new() -> Result<Self> {
        // SAFETY: it takes nothing, and gives a context of its own or null.
        let context = unsafe { c::ZSTD_createCCtx() };
        NonNull::new(context).map(Self).ok_or_else(super::no_memory)
    }

    /// Appends a frame of `raw` to `out`, with its length and a checksum; a block of it ends at each of `flush_at`. After
    /// an error nothing must be made with it any more.
    pub(super) fn frame(
        &mut self,
        raw: &[u8],
        flush_at: &[usize],
        level: i32,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        self.begin(raw.len(), level)?;
        let mut begin = 0;
        for &end in flush_at {
            if end > begin
                && end < raw.len()
                && let Some(piece) = raw.get(begin..end)
            {
                self.piece(piece, c::ZSTD_compressContinue, out)?;
                begin = end;
            }
        }
        self.piece(raw.get(begin..).unwrap_or_default(), c::ZSTD_compressEnd, out)
    }

    fn begin(&mut self, length: usize, level: i32) -> Result<()> {
        let length = length as u64;
        // SAFETY: numbers alone go in; every level is taken, what is beyond zstd's being its nearest.
        let mut parameters = unsafe { c::ZSTD_getParams(level, length, 0) };
        parameters.fParams = c::ZSTD_frameParameters { contentSizeFlag: 1, checksumFlag: 1, noDictIDFlag: 1 };
        // SAFETY: the context is ours, and no dictionary of no bytes is read.
        checked(unsafe { c::ZSTD_compressBegin_advanced(self.0.as_ptr(), null(), 0, parameters, length) })?;
        Ok(())
    }

    /// Appends what `step` makes of the next piece of the frame.
    fn piece(&mut self, piece: &[u8], step: Step, out: &mut Vec<u8>) -> Result<()> {
        out.reserve(compress_bound(piece.len()) + FRAME_OVERHEAD);
        let room = out.spare_capacity_mut();
        // SAFETY: both ranges are valid for their lengths, one for reading and the other, which nobody else has, for writing.
        // zstd also looks back into the pieces before: they are of one `raw`, which is borrowed until the frame ends, and
        // `begin` makes it forget those of an earlier frame.
        let written = unsafe {
            step(self.0.as_ptr(), room.as_mut_ptr().cast(), room.len(), piece.as_ptr().cast(), piece.len())
        };
        let written = checked(written)?;
        // SAFETY: zstd has written so many bytes from the beginning of the room, of which it knew the length.
        unsafe { out.set_len(out.len() + written) };
        Ok(())
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        // SAFETY: it was made by `ZSTD_createCCtx`, and goes out of use here.
        unsafe { c::ZSTD_freeCCtx(self.0.as_ptr()) };
    }
}

type Step = unsafe extern "C" fn(
    *mut c::ZSTD_CCtx,
    *mut std::ffi::c_void,
    usize,
    *const std::ffi::c_void,
    usize,
) -> usize;

/// What a function of zstd's gave, unless it is an error.
fn checked(result: usize) -> Result<usize> {
    // SAFETY: a number alone goes in.
    if unsafe { c::ZSTD_isError(result) } == 0 {
        return Ok(result);
    }
    Err(Error::internal(format!("zstd refused to compress: {}", get_error_name(result))))
}
