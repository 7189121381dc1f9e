//! Routines and libraries in other languages, which MySQL does not always print as it reads them.

use super::lex::{Token, tokens, without_qualifiers};
use super::quote::identifier;

/// A routine that uses libraries of its own database without the database's name before them: MySQL prints them with it.
pub(crate) fn without_database_of_libraries(sql: Vec<u8>, database: &str) -> Vec<u8> {
    const USING: &[u8] = b"\n    USING (";
    const BODY: &[u8] = b"\nAS ";
    let place = |words: &[u8]| sql.windows(words.len()).position(|window| window == words);
    let (Some(from), Some(to)) = (place(USING), place(BODY)) else { return sql };
    let Some(Ok(list)) = sql.get(from..to).map(std::str::from_utf8) else { return sql };
    let all: Vec<_> = tokens(list).collect();
    // What stands behind the list is no name of a library.
    let end = all.iter().position(|token| *token == Token::Other(")")).unwrap_or(all.len());
    let is_library = |at: usize| at < end && matches!(all.get(at + 2), Some(Token::Name(_)));
    let list = without_qualifiers(&all, database, is_library);
    let (head, body) = (sql.get(..from).unwrap_or_default(), sql.get(to..).unwrap_or_default());
    [head, list.as_bytes(), body].concat()
}

/// What stands before the name of a language, if that is not one which needs no quotes.
const LANGUAGE: &str = "\n    LANGUAGE ";

/// Whether a statement may be in a language whose name has to be in quotes, which MySQL prints without.
pub(crate) fn may_be_in_another_language(sql: &[u8]) -> bool {
    let places = sql.windows(LANGUAGE.len()).enumerate().filter(|(_, window)| *window == LANGUAGE.as_bytes());
    let mut languages = places.filter_map(|(at, _)| sql.get(at + LANGUAGE.len()..));
    languages.any(|rest| !rest.starts_with(b"JAVASCRIPT\n"))
}

/// The statement with the name of its language in quotes.
pub(crate) fn with_quoted_language(sql: Vec<u8>, language: &str) -> Vec<u8> {
    let printed = format!("{LANGUAGE}{language}\n");
    let Some(at) = sql.windows(printed.len()).position(|window| window == printed.as_bytes()) else {
        return sql;
    };
    let (head, rest) = (sql.get(..at).unwrap_or_default(), sql.get(at + printed.len()..).unwrap_or_default());
    [head, format!("{LANGUAGE}{}\n", identifier(language)).as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_the_same_database_lose_its_name() {
        let sql = "CREATE FUNCTION `f`() RETURNS int\n    LANGUAGE JAVASCRIPT\n    USING (`a, b`.`l` AS `a, b`, `other`.`m`, `a, b`.`n`)\nAS $$ `a, b`. $$";
        let plain = "CREATE FUNCTION `f`() RETURNS int\n    LANGUAGE JAVASCRIPT\n    USING (`l` AS `a, b`, `other`.`m`, `n`)\nAS $$ `a, b`. $$";
        assert_eq!(String::from_utf8(without_database_of_libraries(sql.into(), "a, b")).unwrap(), plain);
    }

    #[test]
    fn a_language_of_several_words_is_in_quotes() {
        let sql = |language: &str| {
            format!("CREATE FUNCTION `f`() RETURNS int\n    LANGUAGE {language}\nAS $$\n    LANGUAGE p\n $$")
                .into_bytes()
        };
        assert_eq!(with_quoted_language(sql("PY-`THON` 3"), "PY-`THON` 3"), sql("`PY-``THON`` 3`"));
        assert_eq!(with_quoted_language(sql("SELECT"), "X"), sql("SELECT"));
        assert!(may_be_in_another_language(&sql("SELECT")));
        assert!(!may_be_in_another_language(b"CREATE FUNCTION `f`()\n    LANGUAGE JAVASCRIPT\nAS $$ $$"));
    }
}
