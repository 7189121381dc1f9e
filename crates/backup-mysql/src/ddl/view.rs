//! What a view's statement says about others.

use super::lex::{Token, tokens, without_qualifiers};

/// The tables and views of `database` that a definition in `information_schema` reads: there each is named with its database.
pub(crate) fn tables(sql: &str, database: &str) -> Vec<String> {
    let all: Vec<_> = tokens(sql).filter(|token| !matches!(token, Token::Space(_))).collect();
    let mut found = Vec::new();
    for (at, token) in all.iter().enumerate() {
        let follows = |text: &str| all.get(at + 1).is_some_and(|next| next.is(text));
        let (Some(name), Some(start)) = (token.name(), at.checked_sub(2)) else { continue };
        let is_qualified = all.get(start).and_then(|first| first.name()).as_deref() == Some(database)
            && all.get(start + 1) == Some(&Token::Other("."))
            && start.checked_sub(1).and_then(|before| all.get(before)) != Some(&Token::Other("."));
        if is_qualified && !follows(".") && !follows("(") {
            found.push(name);
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Whether the view names tables or functions of `database` with it, as the server prints views that read from several databases.
pub(crate) fn names_database(sql: &str, database: &str) -> bool {
    let all: Vec<_> = tokens(sql).collect();
    all.windows(3).any(|three| {
        matches!(three, [name, Token::Other("."), Token::Name(_)] if name.name().as_deref() == Some(database))
    })
}

/// The statement without `database` before the sequences that it counts by: they are named with it even where nothing else is.
pub(crate) fn without_database_of_sequences(sql: &str, database: &str) -> String {
    let all: Vec<_> = tokens(sql).collect();
    let counts = |at: usize| {
        let before = |back: usize| at.checked_sub(back).and_then(|place| all.get(place));
        let is = |word: &str| before(2).is_some_and(|token| token.is(word));
        before(1) == Some(&Token::Other("(")) && (is("nextval") || is("lastval"))
    };
    without_qualifiers(&all, database, counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_lose_their_database() {
        let view = "CREATE VIEW `v` AS select nextval(`shop`.`s`) AS `n`,`shop`.`a` AS `a`,'nextval(`shop`.`s`)' from `t` `shop`";
        let plain = "CREATE VIEW `v` AS select nextval(`s`) AS `n`,`shop`.`a` AS `a`,'nextval(`shop`.`s`)' from `t` `shop`";
        assert_eq!(without_database_of_sequences(view, "shop"), plain);
    }

    #[test]
    fn a_view_reads_what_is_named_with_its_database() {
        let sql = "select `shop`.`f`(`shop`.`t`.`id`) AS `q`,`alias`.`b` AS `b` from (`shop`.`t` join `shop`.`u` `alias` on(`shop`.`t`.`id` = `alias`.`id`)) where exists(select 1 from `other`.`w` limit 1)";
        assert_eq!(tables(sql, "shop"), ["t", "u"]);
        assert!(names_database(sql, "other") && !names_database(sql, "elsewhere"));
    }
}
