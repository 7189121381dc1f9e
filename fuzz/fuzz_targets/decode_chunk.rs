//! Bytes of any kind: the decoder must never panic, nor take more memory than a few chunks.

#![no_main]

use backup_core::block::{MAX_CHUNK_BYTES, MAX_CHUNK_ROWS, MAX_CHUNK_SEGMENTS, decode_chunk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    check(data);
    // The same behind the beginning of an uncompressed chunk, where no checksum stops what comes next.
    check(&[b"LBC\x01\x04none", data].concat());
});

fn check(stored: &[u8]) {
    if let Ok(chunk) = decode_chunk(stored) {
        assert!(chunk.bytes.len() <= MAX_CHUNK_BYTES);
        assert!(chunk.ends.len() <= MAX_CHUNK_ROWS);
        assert!(chunk.segments.len() <= MAX_CHUNK_SEGMENTS);
        assert_eq!(chunk.segments.last().map_or(0, |segment| segment.bytes.end), chunk.bytes.len());
    }
}
