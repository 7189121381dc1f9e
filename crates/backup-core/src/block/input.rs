//! Reading fields from stored bytes that may be damaged.

use crate::error::{Error, Result};
use crate::rows::read_varint;

/// Bytes that are read from front to back; running out of them is an error, not a panic.
#[derive(Debug, Clone, Copy)]
pub(super) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(too_short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or_else(too_short)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A LEB128 number of at most `max`.
    pub(super) fn varint(&mut self, max: usize) -> Result<usize> {
        let value = read_varint(&mut self.0).ok_or_else(|| Error::damaged("a number that is cut off"))?;
        usize::try_from(value)
            .ok()
            .filter(|&value| value <= max)
            .ok_or_else(|| Error::damaged("a number too large"))
    }

    /// Says that everything has been read.
    pub(super) fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::damaged("more bytes than a block should have")) }
    }
}

fn too_short() -> Error {
    Error::damaged("a block that ends too early")
}
