//! Quoting: the only place where a name or a text becomes part of a statement.

/// A name as an identifier: `a"b` becomes `"a""b"`.
pub(crate) fn identifier(name: &str) -> String {
    enclose(name, '"')
}

/// Text as a literal: `it's` becomes `'it''s'`. The text must not hold NUL, at which SQLite would stop reading.
pub(crate) fn text(text: &str) -> String {
    enclose(text, '\'')
}

fn enclose(inner: &str, quote: char) -> String {
    let mut quoted = String::with_capacity(inner.len() + 2);
    quoted.push(quote);
    for c in inner.chars() {
        if c == quote {
            quoted.push(quote);
        }
        quoted.push(c);
    }
    quoted.push(quote);
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::*;

    proptest! {
        #[test]
        fn a_quoted_name_is_that_name_and_nothing_more(name in "[^\0]*", other in "[^\0]*") {
            let connection = Connection::open_in_memory().unwrap();
            let columns = format!("{}, {}", identifier(&name), identifier(&other));
            let unique = !name.eq_ignore_ascii_case(&other);
            let sql = format!("CREATE TABLE {} ({})", identifier(&name), columns);
            prop_assume!(!name.to_ascii_lowercase().starts_with("sqlite_"));
            prop_assert_eq!(connection.execute_batch(&sql).is_ok(), unique);
            if unique {
                let found: String = connection.query_row("SELECT name FROM sqlite_schema", (), |row| row.get(0)).unwrap();
                prop_assert_eq!(found, name);
            }
        }

        #[test]
        fn a_quoted_text_is_that_text(value in "[^\0]*") {
            let connection = Connection::open_in_memory().unwrap();
            let found: String = connection.query_row(&format!("SELECT {}", text(&value)), (), |row| row.get(0)).unwrap();
            prop_assert_eq!(found, value);
        }
    }
}
