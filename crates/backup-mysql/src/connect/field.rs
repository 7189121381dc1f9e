//! Fields of packets, read with every bound checked.

use backup_core::Result;

use crate::error::malformed;

/// What is left of a payload.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

/// A length-encoded field of a row.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Head {
    Null,
    Length(u64),
}

/// The head of the length-encoded field that `bytes` begin with, and how many bytes it takes; nothing if more bytes are
/// needed to know.
pub(crate) fn head(bytes: &[u8]) -> Option<Result<(Head, usize)>> {
    let number = |width: usize| {
        let digits = bytes.get(1..=width)?;
        Some(digits.iter().rev().fold(0u64, |number, digit| number << 8 | u64::from(*digit)))
    };
    let head = match *bytes.first()? {
        short @ 0..=0xfa => (Head::Length(short.into()), 1),
        0xfb => (Head::Null, 1),
        0xfc => (Head::Length(number(2)?), 3),
        0xfd => (Head::Length(number(3)?), 4),
        0xfe => (Head::Length(number(8)?), 9),
        0xff => return Some(Err(malformed("a field with an impossible length"))),
    };
    Some(Ok(head))
}

impl<'a> Fields<'a> {
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or_else(|| malformed("a packet that ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// A little-endian number of at most eight bytes.
    pub(crate) fn number(&mut self, width: usize) -> Result<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// Bytes up to a NUL, which is consumed.
    pub(crate) fn until_nul(&mut self) -> Result<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == 0);
        let text = self.take(end.ok_or_else(|| malformed("a text without an end"))?)?;
        self.byte()?;
        Ok(text)
    }

    /// A length-encoded field; nothing for NULL.
    pub(crate) fn field(&mut self) -> Result<Option<&'a [u8]>> {
        let (head, width) = head(self.0).ok_or_else(|| malformed("a row that ends too early"))??;
        self.take(width)?;
        match head {
            Head::Null => Ok(None),
            Head::Length(length) => {
                let length =
                    usize::try_from(length).map_err(|_| malformed("a field with an impossible length"))?;
                self.take(length).map(Some)
            }
        }
    }

    /// A length-encoded number.
    pub(crate) fn count(&mut self) -> Result<u64> {
        let (head, width) = head(self.0).ok_or_else(|| malformed("a packet that ends too early"))??;
        self.take(width)?;
        match head {
            Head::Null => Err(malformed("no number where there should be one")),
            Head::Length(number) => Ok(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let mut fields = Fields(&bytes);
            while !fields.0.is_empty() && fields.field().is_ok() {}
            let _ = Fields(&bytes).count();
            let _ = Fields(&bytes).until_nul();
        }
    }

    #[test]
    fn lengths_of_every_width_are_read() {
        for (bytes, length, width) in [
            (&[7u8][..], 7, 1),
            (&[0xfc, 1, 2], 0x201, 3),
            (&[0xfd, 1, 2, 3], 0x30201, 4),
            (&[0xfe, 1, 0, 0, 0, 1, 0, 0, 0], 0x1_0000_0001, 9),
        ] {
            assert_eq!(head(bytes).unwrap().unwrap(), (Head::Length(length), width));
            assert!(width == 1 || head(&bytes[..width - 1]).is_none());
        }
        assert_eq!(head(&[0xfb]).unwrap().unwrap(), (Head::Null, 1));
    }
}
