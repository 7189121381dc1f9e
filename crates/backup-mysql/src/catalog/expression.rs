//! What an expression may depend on besides the row that it is computed from.

use crate::ddl::lex::{Token, tokens};

/// Functions whose results depend on the time zone, or on how the session says names and numbers.
const OF_SESSIONS: [&str; 9] = [
    "from_unixtime",
    "unix_timestamp",
    "dayname",
    "monthname",
    "date_format",
    "time_format",
    "str_to_date",
    "format",
    "convert_tz",
];
/// Words whose results depend on nothing else, of numbers and texts.
const PLAIN: [&str; 48] = [
    "abs",
    "and",
    "between",
    "case",
    "char_length",
    "charset",
    "coalesce",
    "concat",
    "concat_ws",
    "crc32",
    "else",
    "end",
    "false",
    "greatest",
    "hex",
    "if",
    "ifnull",
    "in",
    "is",
    "json_extract",
    "json_unquote",
    "json_value",
    "latin1",
    "lcase",
    "least",
    "left",
    "length",
    "lower",
    "md5",
    "mod",
    "not",
    "null",
    "octet_length",
    "or",
    "replace",
    "right",
    "sha",
    "sha1",
    "sha2",
    "substr",
    "substring",
    "then",
    "trim",
    "true",
    "ucase",
    "unhex",
    "upper",
    "when",
];

/// Whether an expression may depend on the session.
pub(super) fn depends(expression: &str, dependent: &[String]) -> bool {
    names_session(expression, dependent) || divides(expression)
}

/// Whether it may by what it names: these columns, or a function.
pub(super) fn names_session(expression: &str, dependent: &[String]) -> bool {
    tokens(expression).any(|token| match token {
        Token::Name(_) => token.name().is_some_and(|name| dependent.contains(&name)),
        Token::Word(word) => OF_SESSIONS.iter().any(|one| word.eq_ignore_ascii_case(one)),
        _ => false,
    })
}

/// A quotient has as many digits as the session says.
fn divides(expression: &str) -> bool {
    let all: Vec<_> = tokens(expression).collect();
    let is_star = |token: Option<&Token<'_>>| token == Some(&Token::Other("*"));
    all.iter().enumerate().any(|(at, token)| {
        let before = at.checked_sub(1).and_then(|before| all.get(before));
        *token == Token::Other("/") && !is_star(all.get(at + 1)) && !is_star(before)
    })
}

/// A difference of unsigned numbers is below zero, or none, as the session says.
pub(super) fn subtracts(expression: &str) -> bool {
    tokens(expression).any(|token| token == Token::Other("-"))
}

/// Whether it surely depends on nothing, if the columns that it names are such that `is_plain`.
pub(super) fn is_independent(expression: &str, is_plain: impl Fn(&str) -> bool) -> bool {
    !divides(expression)
        && !subtracts(expression)
        && tokens(expression).all(|token| match token {
            Token::Name(_) => token.name().is_some_and(|name| is_plain(&name)),
            Token::Word(word) => {
                word.starts_with(|c: char| c.is_ascii_digit() || c == '_')
                    || PLAIN.iter().any(|one| word.eq_ignore_ascii_case(one))
            }
            _ => true,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_depends_on_the_session_is_known() {
        let timestamps = ["ts".to_owned()];
        for (expression, is_it) in [
            ("cast(`ts` as date)", true),
            ("cast(`other` as date)", false),
            ("from_unixtime(`a`)", true),
            ("`a` / `b`", true),
            ("`other` > TIMESTAMP/*WITH LOCAL TIME ZONE*/'2020-01-01'", false),
            ("concat(`a`,'`ts` / x')", false),
        ] {
            assert_eq!(depends(expression, &timestamps), is_it, "{expression}");
        }
    }

    #[test]
    fn what_depends_on_nothing_is_known() {
        for (expression, is_it) in [
            ("concat(`a`,_utf8mb4'x',lower(`b`)) + 1", true),
            ("`a` - `b`", false),
            ("`a` regexp 'x'", false),
            ("cast(`a` as date)", false),
            ("length(`time`)", false),
        ] {
            assert_eq!(is_independent(expression, |name| name != "time"), is_it, "{expression}");
        }
    }
}
