//! Codecs: how bytes are made smaller. A codec sees only bytes.

#[cfg(feature = "gzip")]
mod gzip;
mod none;
#[cfg(test)]
mod tests;
#[cfg(feature = "zstd")]
mod zstd;

use std::fmt::Debug;
use std::io::{Read, Write};
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

#[cfg(feature = "gzip")]
pub use gzip::Gzip;
pub use none::NoCompression;
#[cfg(feature = "zstd")]
pub use zstd::Zstd;

/// How hard to try; what the number means is the codec's own affair. `Level::default()` is its default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Level(pub Option<i32>);

impl Level {
    /// The codec's own level `n`.
    pub const fn of(n: i32) -> Self {
        Self(Some(n))
    }
}

/// A compression format. All methods are CPU work and are called on blocking threads.
pub trait Codec: Debug + Send + Sync + 'static {
    /// The name that manifests record and `--codec` takes.
    fn name(&self) -> &'static str;

    /// What a file of this codec is called after its own ending: "zst", "gz", or nothing.
    fn extension(&self) -> Option<&'static str>;

    /// Appends one self-contained frame holding `raw` to `out`. At every offset in `flush_at` (ascending,
    /// within `raw`) the codec may start its statistics anew, where that pays. Every level is accepted: one
    /// outside the codec's range is moved into it.
    fn encode(&self, raw: &[u8], flush_at: &[usize], level: Level, out: &mut Vec<u8>) -> Result<()>;

    /// Appends what the frame `stored` holds to `out`. Anything but exactly one whole, intact frame, and a
    /// frame of more than `max_raw` bytes, is an [`ErrorKind::Damaged`] error; memory stays within `max_raw`
    /// (plus a constant) whatever the frame declares.
    fn decode(&self, stored: &[u8], out: &mut Vec<u8>, max_raw: usize) -> Result<()>;

    /// Decodes the first frame of a stream of frames and leaves `input` just behind it, writing what it
    /// holds to `out`; `false` when there is nothing left. For the single-file formats.
    fn decode_frame(&self, input: &mut dyn std::io::BufRead, out: &mut dyn Write) -> Result<bool>;

    /// A frame that holds nothing, which every decoder of this codec passes over, and that carries `hash`: the end of
    /// single files, where it proves every byte before it. Always of the same length. `None`, which is the default, where
    /// the codec has no such thing: then only what is decoded is proven.
    fn end_mark(&self, hash: &[u8; 32]) -> Option<Vec<u8>> {
        let _ = hash;
        None
    }

    /// Reads a whole stream of frames as one.
    fn reader<'a>(&self, input: Box<dyn std::io::BufRead + Send + 'a>) -> Result<Box<dyn Read + Send + 'a>>;
}

/// The codecs that are compiled in, the default first.
pub fn codecs() -> Vec<Arc<dyn Codec>> {
    vec![
        #[cfg(feature = "zstd")]
        Arc::new(Zstd),
        #[cfg(feature = "gzip")]
        Arc::new(Gzip),
        Arc::new(NoCompression),
    ]
}

/// The codec called `name`, or an error that lists those there are.
pub fn codec(name: &str) -> Result<Arc<dyn Codec>> {
    codecs().into_iter().find(|codec| codec.name() == name).ok_or_else(|| {
        let known: Vec<_> = codecs().iter().map(|codec| codec.name()).collect();
        Error::new(ErrorKind::Unsupported, format!("codec {name:?} is not compiled in"))
            .hint(format!("compiled in are {}; cargo features of backup-core add others", known.join(", ")))
    })
}

/// The codec whose frames begin like `head`, or no compression.
pub fn sniff(head: &[u8]) -> Result<Arc<dyn Codec>> {
    match head {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => codec("zstd"),
        [0x1f, 0x8b, ..] => codec("gzip"),
        _ => codec("none"),
    }
}
