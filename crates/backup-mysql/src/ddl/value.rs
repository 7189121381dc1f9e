//! Rows as literals of an INSERT.

use backup_core::{Column, Error, Result};

use super::quote::{self, identifier};
use crate::catalog::column::Kind;
use crate::rows::fields::{Found, Scanner};

/// The last moments of a TIMESTAMP in UTC, before MariaDB 11.5 and since: versions of rows that are present end then.
pub(crate) const LAST_MOMENTS: [&str; 2] = ["2038-01-19 03:14:07.999999", "2106-02-07 06:28:15.999999"];
/// That of the server which reads it.
pub(crate) const PRESENT: &str =
    "COALESCE(FROM_UNIXTIME(4294967295.999999),FROM_UNIXTIME(2147483647.999999))";

/// What an INSERT into `table` begins with.
pub(crate) fn insert(table: &str, columns: &[Column]) -> String {
    let names: Vec<_> = columns.iter().map(|column| identifier(&column.name)).collect();
    format!("INSERT INTO {} ({}) VALUES\n", identifier(table), names.join(","))
}

/// Writes rows as literals in parentheses.
#[derive(Debug)]
pub(crate) struct Literals<'a> {
    kinds: &'a [Kind],
    scanner: Scanner,
    /// How the value that is written in pieces ends.
    end: &'static str,
    hexadecimal: bool,
    begun: bool,
    /// What has come of a value that is looked at whole.
    gathered: Option<(Kind, Vec<u8>)>,
    pub(crate) out: Vec<u8>,
}

impl<'a> Literals<'a> {
    pub(crate) fn new(kinds: &'a [Kind]) -> Self {
        Self {
            kinds,
            scanner: Scanner::default(),
            end: "",
            hexadecimal: false,
            begun: false,
            gathered: None,
            out: Vec::new(),
        }
    }

    /// Writes the next piece of a row.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.out.push(b'(');
        }
        let (kinds, out, end, hexadecimal) =
            (self.kinds, &mut self.out, &mut self.end, &mut self.hexadecimal);
        let gathered = &mut self.gathered;
        self.scanner.piece(bytes, &mut |field, found| {
            if let (Found::More { last, bytes }, Some((kind, begun))) = (found, gathered.as_mut()) {
                begun.extend_from_slice(bytes);
                if last {
                    looked_at(*kind, begun, out)?;
                    *gathered = None;
                }
                return Ok(());
            }
            if let Found::More { last, bytes } = found {
                if *hexadecimal {
                    digits(bytes, out)
                } else {
                    escape(bytes, out)
                }
                if last {
                    out.extend_from_slice(end.as_bytes());
                }
                return Ok(());
            }
            if field > 0 {
                out.push(b',');
            }
            let Found::Value { whole, bytes } = found else {
                let is_absent = kinds.get(field) == Some(&Kind::Absent);
                out.extend_from_slice(if is_absent { b"DEFAULT" } else { b"NULL" });
                return Ok(());
            };
            let kind =
                *kinds.get(field).ok_or_else(|| Error::damaged("a row with more fields than columns"))?;
            if matches!(kind, Kind::Number | Kind::Float | Kind::Index) {
                if !whole
                    || bytes.is_empty()
                    || !bytes.iter().all(|b| b.is_ascii_digit() || b"+-.eE".contains(b))
                {
                    return Err(Error::damaged("a number that is none"));
                }
                // Among integers there is no negative zero.
                let is_negative_zero = kind == Kind::Float && bytes == b"-0";
                out.extend_from_slice(if is_negative_zero { b"-0e0" } else { bytes });
                return Ok(());
            }
            if matches!(kind, Kind::Json | Kind::RowEnd) {
                if whole {
                    return looked_at(kind, bytes, out);
                }
                *gathered = Some((kind, bytes.to_vec()));
                return Ok(());
            }
            // Text in quotes is read in the character set of the session; any other bytes are not read at all.
            let in_quotes = match kind {
                Kind::Plain | Kind::Ascii => true,
                Kind::Text => whole && std::str::from_utf8(bytes).is_ok(),
                _ => false,
            };
            *hexadecimal = !in_quotes;
            *end = "'";
            out.extend_from_slice(if in_quotes { b"'" } else { b"X'" });
            if *hexadecimal {
                digits(bytes, out)
            } else {
                escape(bytes, out)
            }
            if whole {
                out.extend_from_slice(end.as_bytes());
            }
            Ok(())
        })
    }

    /// Whether a row was begun and not ended.
    pub(crate) fn is_open(&self) -> bool {
        self.begun
    }

    /// Ends a row.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.begun = false;
        self.out.push(b')');
        self.scanner.end(self.kinds.len())
    }
}

/// A JSON value as a literal.
fn said(json: &[u8]) -> Result<Vec<u8>> {
    let json = std::str::from_utf8(json);
    let json = json.map_err(|error| Error::damaged("JSON that is no UTF-8").because(error))?;
    Ok(super::json::literal(json).into_bytes())
}

fn digits(bytes: &[u8], out: &mut Vec<u8>) {
    let quoted = quote::bytes(bytes);
    out.extend_from_slice(quoted.get(2..quoted.len() - 1).unwrap_or_default().as_bytes());
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    for byte in bytes {
        match byte {
            b'\'' => out.extend_from_slice(b"''"),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0 => out.extend_from_slice(b"\\0"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0x1a => out.extend_from_slice(b"\\Z"),
            other => out.push(*other),
        }
    }
}

/// Writes a value of a kind that is looked at whole.
fn looked_at(kind: Kind, value: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if kind == Kind::Json {
        out.extend(said(value)?);
    } else if LAST_MOMENTS.iter().any(|last| last.as_bytes() == value) {
        out.extend_from_slice(PRESENT.as_bytes());
    } else {
        out.push(b'\'');
        escape(value, out);
        out.push(b'\'');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_literals_of_their_kinds() {
        let kinds = [Kind::Number, Kind::Text, Kind::Bytes, Kind::Text, Kind::Plain, Kind::Json];
        let mut literals = Literals::new(&kinds);
        literals.piece(b"\x0212\x03a'\n\x02\x00\xff\x01\xff\xfb\x02{}").unwrap();
        literals.end().unwrap();
        assert_eq!(literals.out, br"(12,'a''\n',X'00FF',X'FF',NULL,'{}')");
        literals.out.clear();
        literals.piece(b"\x011\xfb\xfb\xfb\xfb\x061.").unwrap();
        literals.piece(b"50").unwrap();
        literals.piece(b"00").unwrap();
        literals.end().unwrap();
        assert_eq!(
            literals.out,
            b"(1,NULL,NULL,NULL,NULL,/*!50708 JSON_REPLACE(*/'1.5000'/*!50708 ,'$',1.5000)*/)"
        );
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        assert!(Literals::new(&[Kind::Number]).piece(b"\x051;DRO").is_err());
        let mut literals = Literals::new(&[Kind::Number]);
        assert!(literals.piece(b"\x011\x012").is_err());
    }

    #[test]
    fn a_version_that_is_present_ends_in_the_last_moment_of_whichever_server_reads_it() {
        let row = |end: &str| {
            let mut row = vec![end.len() as u8];
            row.extend_from_slice(end.as_bytes());
            row
        };
        let written = |row: &[u8], cut: usize| {
            let mut literals = Literals::new(&[Kind::RowEnd]);
            literals.piece(&row[..cut]).unwrap();
            literals.piece(&row[cut..]).unwrap();
            literals.end().unwrap();
            String::from_utf8(literals.out).unwrap()
        };
        for last in LAST_MOMENTS {
            let row = row(last);
            for cut in 0..row.len() {
                assert_eq!(written(&row, cut), format!("({PRESENT})"), "{last} at {cut}");
            }
        }
        assert_eq!(written(&row("2026-12-01 10:00:00.000001"), 0), "('2026-12-01 10:00:00.000001')");
    }
}
