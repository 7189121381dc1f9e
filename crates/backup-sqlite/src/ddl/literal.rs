//! Values as literals.

use std::io::Write;

use backup_core::{Error, Result};

use super::quote;
use crate::catalog::settings::Encoding;

/// An integer. The lowest has no literal of its own: its digits without the sign are one too many.
pub(crate) fn integer(value: i64) -> String {
    if value == i64::MIN { format!("({}-1)", i64::MIN + 1) } else { value.to_string() }
}

/// Text whose bytes are in `encoding`: in quotes where it can be, else as bytes.
pub(crate) fn text(bytes: &[u8], encoding: Encoding) -> String {
    match decoded(bytes, encoding).filter(|text| !text.contains('\0')) {
        Some(text) => quoted(&text),
        None => format!("CAST({} AS TEXT)", blob(bytes)),
    }
}

/// Text that holds no NUL, such as a schema has. The shell drops a carriage return at the end of a line, even within quotes, so those are put
/// in by SQLite.
pub(crate) fn quoted(text: &str) -> String {
    if !text.contains('\r') {
        return quote::text(text);
    }
    let mut mark = "\\r".to_owned();
    while text.contains(&mark) {
        mark.push('_');
    }
    format!("replace({},{},char(13))", quote::text(&text.replace('\r', &mark)), quote::text(&mark))
}

/// Bytes.
pub(crate) fn blob(bytes: &[u8]) -> String {
    let mut out = b"X'".to_vec();
    write_hex(bytes, &mut out);
    out.push(b'\'');
    String::from_utf8(out).unwrap_or_default()
}

/// Bytes as hexadecimal digits.
pub(crate) fn write_hex(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.extend(
        bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]),
    );
}

/// Writes bytes as hexadecimal digits.
pub(crate) fn stream_hex(bytes: &[u8], out: &mut impl Write) -> Result<()> {
    let mut digits = Vec::new();
    for piece in bytes.chunks(64 << 10) {
        digits.clear();
        write_hex(piece, &mut digits);
        out.write_all(&digits).map_err(|error| Error::io("write the script", error))?;
    }
    Ok(())
}

fn decoded(bytes: &[u8], encoding: Encoding) -> Option<String> {
    let unit = match encoding {
        Encoding::Utf8 => return String::from_utf8(bytes.to_vec()).ok(),
        Encoding::Utf16Le => u16::from_le_bytes,
        Encoding::Utf16Be => u16::from_be_bytes,
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    // SQLite takes a byte order mark at the start for one, and does not convert the two that are no characters.
    let converts = units.first() != Some(&0xfeff) && !units.iter().any(|unit| *unit >= 0xfffe);
    if rest.is_empty() && converts { String::from_utf16(&units).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;

    fn stored(expression: &str, encoding: Encoding) -> (String, Vec<u8>) {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&format!("{}; CREATE TABLE t(a)", encoding.statement())).unwrap();
        connection.execute(&format!("INSERT INTO t VALUES({expression})"), ()).unwrap();
        connection
            .query_row("SELECT typeof(a), CAST(a AS BLOB) FROM t", (), |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    }

    #[test]
    fn integers_at_the_edges_stay_integers() {
        let connection = Connection::open_in_memory().unwrap();
        for value in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX] {
            let found: i64 =
                connection.query_row(&format!("SELECT {}", integer(value)), (), |row| row.get(0)).unwrap();
            assert_eq!(found, value);
        }
    }

    #[test]
    fn a_carriage_return_is_not_written_as_it_is() {
        for value in ["a\r\nb", "\r", "\\r\r\\r_"] {
            let literal = text(value.as_bytes(), Encoding::Utf8);
            assert!(!literal.contains('\r'), "{literal}");
            assert_eq!(stored(&literal, Encoding::Utf8), ("text".to_owned(), value.as_bytes().to_vec()));
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_as_text_and_as_blob(bytes: Vec<u8>) {
            prop_assert_eq!(stored(&text(&bytes, Encoding::Utf8), Encoding::Utf8), ("text".to_owned(), bytes.clone()));
            prop_assert_eq!(stored(&blob(&bytes), Encoding::Utf8), ("blob".to_owned(), bytes));
        }

        #[test]
        fn any_utf16_comes_back(units: Vec<u16>) {
            let le: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
            prop_assert_eq!(stored(&text(&le, Encoding::Utf16Le), Encoding::Utf16Le), ("text".to_owned(), le));
            let be: Vec<u8> = units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
            prop_assert_eq!(stored(&text(&be, Encoding::Utf16Be), Encoding::Utf16Be), ("text".to_owned(), be));
        }
    }
}
