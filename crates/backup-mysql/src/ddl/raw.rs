//! Statements that the server prints as bytes: the default of a BINARY column may be any.

use backup_core::{Error, Result};

use super::quote;

/// The statement as text. A text in it that is no UTF-8 becomes a hexadecimal one of the same bytes.
pub(crate) fn to_text(sql: Vec<u8>) -> Result<String> {
    let sql = match String::from_utf8(sql) {
        Ok(sql) => return Ok(sql),
        Err(error) => error.into_bytes(),
    };
    let mut text = Vec::with_capacity(sql.len() * 2);
    let mut rest = sql.as_slice();
    while let Some(first) = rest.first() {
        let length = match first {
            b'\'' | b'`' => quoted(rest),
            _ => 1,
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        if *first == b'\'' && std::str::from_utf8(token).is_err() {
            // Behind the name of its character set without a space it would be a part of that.
            if text.last().is_some_and(u8::is_ascii_alphanumeric) {
                text.push(b' ');
            }
            text.extend(quote::bytes(&unquoted(token)).bytes());
        } else {
            text.extend_from_slice(token);
        }
    }
    String::from_utf8(text).map_err(|error| {
        Error::unsupported("the server prints a definition whose names are not UTF-8").because(error)
    })
}

/// How long the quoted thing at the start is.
pub(crate) fn quoted(sql: &[u8]) -> usize {
    let Some(quote) = sql.first() else { return 0 };
    let mut at = 1;
    while let Some(byte) = sql.get(at) {
        if *byte == b'\\' && *quote == b'\'' {
            at += 2;
        } else if byte == quote {
            if sql.get(at + 1) != Some(quote) {
                return at + 1;
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    sql.len()
}

/// The bytes that a text in quotes stands for.
fn unquoted(quoted: &[u8]) -> Vec<u8> {
    let inner = quoted.strip_prefix(b"'").unwrap_or(quoted);
    let inner = inner.strip_suffix(b"'").unwrap_or(inner);
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\'' => {
                bytes.next();
                plain.push(b'\'');
            }
            b'\\' => match bytes.next() {
                Some(b'0') => plain.push(0),
                Some(b'n') => plain.push(b'\n'),
                Some(b'r') => plain.push(b'\r'),
                Some(b't') => plain.push(b'\t'),
                Some(b'b') => plain.push(8),
                Some(b'Z') => plain.push(0x1a),
                Some(other) => plain.push(*other),
                None => plain.push(b'\\'),
            },
            other => plain.push(*other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_become_hexadecimal() {
        let sql = b"CREATE TABLE `t\xc3\xa9` (\n  `b` binary(4) DEFAULT '\xff''\\\\\\0',\n  `c` text COMMENT 'it''s \xc3\xa9')";
        let text = to_text(sql.to_vec()).unwrap();
        assert_eq!(
            text,
            "CREATE TABLE `té` (\n  `b` binary(4) DEFAULT X'FF275C00',\n  `c` text COMMENT 'it''s é')"
        );
        assert!(to_text(b"CREATE TABLE `\xff` (a int)".to_vec()).is_err());
        assert_eq!(to_text(b"CREATE".to_vec()).unwrap(), "CREATE");
    }
}
