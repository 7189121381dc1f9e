//! Names and texts in SQL. Nothing else quotes.

/// A name as an identifier: always in quotes, so that no word and no character is special.
pub(crate) fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A name in its schema.
pub(crate) fn qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// A text, under `standard_conforming_strings = on`, which every session and script of ours sets.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A statement that executes the body of a block of PL/pgSQL.
pub(crate) fn block(body: &str) -> String {
    format!("DO LANGUAGE plpgsql {}", literal(body))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads what stands between `quote`s, as PostgreSQL's lexer does; `None` if anything stands behind.
    fn read(quoted: &str, quote: char) -> Option<String> {
        let mut chars = quoted.strip_prefix(quote)?.chars();
        let mut text = String::new();
        loop {
            match chars.next()? {
                c if c == quote => match chars.next() {
                    Some(c) if c == quote => text.push(quote),
                    None => return Some(text),
                    Some(_) => return None,
                },
                c => text.push(c),
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_quoted_is_one_token_that_means_the_same(text in "\\PC*|[\"'\\\\\n$;-]*") {
            prop_assert_eq!(read(&ident(&text), '"'), Some(text.clone()));
            prop_assert_eq!(read(&literal(&text), '\''), Some(text));
        }
    }

    #[test]
    fn a_qualified_name_is_two_identifiers() {
        assert_eq!(qualified("a.b", "c\"d"), "\"a.b\".\"c\"\"d\"");
    }
}
