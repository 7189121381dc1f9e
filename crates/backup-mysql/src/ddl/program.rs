//! What a program says, as somebody wrote it.

use super::lex::{Token, code};

/// Whether it names something with `database` before it. An alias of a table may look the same.
pub(crate) fn names(sql: &str, database: &str) -> bool {
    let all: Vec<_> = code(sql).collect();
    let is_it = |token: &Token<'_>| match token {
        Token::Name(_) => token.name().as_deref() == Some(database),
        Token::Word(word) => word.eq_ignore_ascii_case(database),
        // By the mode ANSI_QUOTES it is a name.
        Token::Text(text) => text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) == Some(database),
        _ => false,
    };
    all.iter().enumerate().any(|(at, token)| {
        let before = at.checked_sub(1).and_then(|before| all.get(before));
        let is_first = !matches!(before, Some(Token::Other("." | "@")));
        is_first && is_it(token) && all.get(at + 1) == Some(&Token::Other("."))
    })
}

#[cfg(test)]
mod tests {
    use super::names;

    #[test]
    fn a_database_is_named_before_what_is_in_it() {
        for sql in [
            "DELETE FROM shop.t",
            "CALL `shop` . p()",
            "BEGIN SELECT \"shop\".\"f\"(1); END",
            "SELECT Shop.t.a",
        ] {
            assert!(names(sql, "shop"), "{sql}");
        }
        for sql in [
            "SELECT 'shop.t'",
            "DELETE FROM t -- shop.t\n",
            "SELECT other.shop.a, shop, @shop.x",
            "SELECT shops.t",
        ] {
            assert!(!names(sql, "shop"), "{sql}");
        }
    }
}
