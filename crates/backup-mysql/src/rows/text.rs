//! Rows as LOAD DATA reads them: fields apart by tabs, rows by newlines, and a backslash before what is neither.

use backup_core::Result;

use super::fields::{Found, Scanner};

/// How LOAD DATA is told so.
pub(crate) const FORMAT: &str = r"CHARACTER SET binary FIELDS TERMINATED BY '\t' ENCLOSED BY '' ESCAPED BY '\\' LINES TERMINATED BY '\n' STARTING BY ''";

/// Writes rows in that format.
#[derive(Debug, Default)]
pub(crate) struct TextRows {
    scanner: Scanner,
    pub(crate) out: Vec<u8>,
}

impl TextRows {
    /// Writes the next piece of a row.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        let out = &mut self.out;
        self.scanner.piece(bytes, &mut |field, found| {
            if field > 0 && !matches!(found, Found::More { .. }) {
                out.push(b'\t');
            }
            match found {
                Found::Null => out.extend_from_slice(b"\\N"),
                Found::Value { bytes, .. } | Found::More { bytes, .. } => escape(bytes, out),
            }
            Ok(())
        })
    }

    /// Ends a row of so many fields.
    pub(crate) fn end(&mut self, fields: usize) -> Result<()> {
        self.out.push(b'\n');
        self.scanner.end(fields)
    }
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\t' | b'\n' | 0)) {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain);
        out.push(b'\\');
        out.push(match after.first() {
            Some(b'\t') => b't',
            Some(b'\n') => b'n',
            Some(0) => b'0',
            _ => b'\\',
        });
        rest = after.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn unescape(text: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            plain.push(match (*byte, byte == &b'\\') {
                (_, true) => match bytes.next().unwrap() {
                    b't' => b'\t',
                    b'n' => b'\n',
                    b'0' => 0,
                    other => *other,
                },
                (other, _) => other,
            });
        }
        plain
    }

    proptest! {
        #[test]
        fn what_is_escaped_is_one_field_and_reads_back(bytes: Vec<u8>) {
            let mut out = Vec::new();
            escape(&bytes, &mut out);
            prop_assert!(!out.iter().any(|byte| matches!(byte, b'\t' | b'\n')));
            prop_assert!(out != b"\\N");
            prop_assert_eq!(unescape(&out), bytes);
        }
    }

    #[test]
    fn a_row_has_tabs_between_its_fields() {
        let mut rows = TextRows::default();
        rows.piece(b"\x01a\xfb\x00\x03x\ty").unwrap();
        rows.end(4).unwrap();
        assert_eq!(rows.out, b"a\t\\N\t\tx\\ty\n");
        assert!(rows.end(1).is_err());
    }
}
