//! The one place where names and texts become SQL.

/// An identifier in a statement, whatever is in it.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text in a statement. Right in every `sql_mode` without NO_BACKSLASH_ESCAPES, and in every client.
pub(crate) fn text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('\'');
    for c in text.chars() {
        match c {
            '\'' => quoted.push_str("''"),
            '\\' => quoted.push_str("\\\\"),
            '\0' => quoted.push_str("\\0"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\u{1a}' => quoted.push_str("\\Z"),
            c => quoted.push(c),
        }
    }
    quoted.push('\'');
    quoted
}

/// Bytes in a statement.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut quoted = String::with_capacity(bytes.len() * 2 + 3);
    quoted.push_str("X'");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            quoted.push(DIGITS.get(usize::from(digit)).map_or('0', |digit| char::from(*digit)));
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::lex::{Token, tokens};
    use super::*;

    proptest! {
        #[test]
        fn a_quoted_name_is_one_token_and_reads_back(name in "\\PC*|[`'\"\\\\\n;a]*") {
            let quoted = identifier(&name);
            let found: Vec<_> = tokens(&quoted).collect();
            prop_assert_eq!(found.len(), 1);
            prop_assert_eq!(found[0].name(), Some(name));
        }

        #[test]
        fn a_quoted_text_is_one_token(value in "\\PC*|[`'\"\\\\\n;a]*") {
            let quoted = text(&value);
            let found: Vec<_> = tokens(&quoted).collect();
            prop_assert!(matches!(found.as_slice(), [Token::Text(whole)] if *whole == quoted));
            prop_assert!(!quoted.contains('\n'));
        }

        #[test]
        fn bytes_are_hexadecimal(value: Vec<u8>) {
            prop_assert_eq!(bytes(&value).len(), value.len() * 2 + 3);
        }
    }
}
