//! What a view's statement says about others.

use std::collections::BTreeSet;

use super::lex::{Token, tokens, without_qualifiers, words};
use super::quote::identifier;

/// The tables and views of `database` that a definition in `information_schema` reads: there each is named with its database.
pub(crate) fn tables(sql: &str, database: &str) -> Vec<String> {
    let all: Vec<_> = words(sql).collect();
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

/// What a view reads and calls in other databases: names, each with its database.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OfOthers {
    pub(crate) tables: BTreeSet<(String, String)>,
    pub(crate) sequences: BTreeSet<(String, String)>,
    pub(crate) functions: BTreeSet<(String, String)>,
}

/// What a definition in `information_schema` reads and calls in other databases than this.
pub(crate) fn of_others(sql: &str, database: &str) -> OfOthers {
    let all: Vec<_> = words(sql).collect();
    let dot = |at: usize| all.get(at) == Some(&Token::Other("."));
    let mut found = OfOthers::default();
    for (at, three) in all.windows(3).enumerate() {
        let [first, Token::Other("."), second] = three else { continue };
        let (Some(first), Some(second)) = (first.name(), second.name()) else { continue };
        if first == database || at.checked_sub(1).is_some_and(dot) || dot(at + 3) {
            continue;
        }
        let before = all.get(..at).unwrap_or_default().iter().rev();
        let before = before.into_iter().find(|token| **token != Token::Other("("));
        if all.get(at + 3) == Some(&Token::Other("(")) {
            found.functions.insert((first, second));
        } else if is_counted(&all, at) {
            found.sequences.insert((first, second));
        } else if before.is_some_and(|word| ["FROM", "JOIN", "STRAIGHT_JOIN"].iter().any(|one| word.is(one)))
        {
            found.tables.insert((first, second));
        }
    }
    found
}

/// Whether the name at this place is that of a sequence, as what counts by it is printed.
pub(crate) fn is_counted(all: &[Token<'_>], at: usize) -> bool {
    const COUNTS: [&str; 3] = ["nextval", "lastval", "setval"];
    let before = |back: usize| at.checked_sub(back).and_then(|place| all.get(place));
    let counts = before(2).is_some_and(|token| COUNTS.iter().any(|word| token.is(word)));
    counts && before(1) == Some(&Token::Other("("))
}

/// Whether the view names tables or functions of `database` with it, as the server prints views that read from several databases.
pub(crate) fn names_database(sql: &str, database: &str) -> bool {
    let all: Vec<_> = tokens(sql).collect();
    all.windows(3).any(|three| {
        matches!(three, [name, Token::Other("."), Token::Name(_)] if name.name().as_deref() == Some(database))
    })
}

/// The statement without `database` before what is named with it even where tables are not: sequences, and the columns of a view whose definer is
/// gone.
pub(crate) fn in_any_database(sql: &str, database: &str) -> String {
    let all: Vec<_> = tokens(sql).collect();
    let dot = |at: usize| all.get(at) == Some(&Token::Other("."));
    let is_first = |at: usize| at.checked_sub(1).is_none_or(|before| !dot(before));
    let names_tables = (0..all.len()).any(|at| {
        let is_database = all.get(at).and_then(|token| token.name()).as_deref() == Some(database);
        is_database && is_first(at) && dot(at + 1) && !dot(at + 3)
    });
    without_qualifiers(&all, database, |at| {
        is_counted(&all, at) || !names_tables && is_first(at) && dot(at + 3)
    })
}

/// The statement of a view by another name.
pub(crate) fn called(sql: &str, name: &str) -> String {
    let (mut is_behind, mut is_called) = (false, false);
    let said = tokens(sql).map(|token| {
        if is_behind && !is_called && token.name().is_some() {
            is_called = true;
            return identifier(name);
        }
        is_behind |= token.is("VIEW");
        token.as_str().to_owned()
    });
    said.collect()
}

/// Whether a column is said to have no name, which is not how a column gets none.
pub(crate) fn has_nameless_column(sql: &str) -> bool {
    let all: Vec<_> = words(sql).collect();
    all.windows(2).any(|pair| matches!(pair, [word, Token::Name("``")] if word.is("AS")))
}

/// The statement that says the names of its columns behind that of the view, unless it does, and others in the place of none.
pub(crate) fn with_columns(sql: &str, names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| identifier(name)).collect();
    let (mut said, mut words) = (String::new(), [Token::Other(""); 2]);
    let mut is_named = false;
    for token in tokens(sql) {
        let [before, last] = words;
        // Behind the name of the view.
        if !is_named && before.is("VIEW") && !matches!(token, Token::Space(_)) {
            if token != Token::Other("(") {
                said.push_str(&format!("({}) ", names.join(",")));
            }
            is_named = true;
        }
        let is_nameless = token == Token::Name("``") && last.is("AS");
        said.push_str(if is_nameless { "`nameless`" } else { token.as_str() });
        if !matches!(token, Token::Space(_)) {
            words = [last, token];
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_lose_their_database() {
        let view = "CREATE VIEW `v` AS select nextval(`shop`.`s`) AS `n`,`shop`.`a` AS `a`,'nextval(`shop`.`s`)' from `t` `shop`";
        let plain = "CREATE VIEW `v` AS select nextval(`s`) AS `n`,`shop`.`a` AS `a`,'nextval(`shop`.`s`)' from `t` `shop`";
        assert_eq!(in_any_database(view, "shop"), plain);
    }

    #[test]
    fn columns_lose_a_database_that_tables_have_not() {
        let view = "CREATE VIEW `v` AS select `shop`.`t`.`a` AS `a`,`x`.`shop`.`t` from `t`";
        let plain = "CREATE VIEW `v` AS select `t`.`a` AS `a`,`x`.`shop`.`t` from `t`";
        assert_eq!(in_any_database(view, "shop"), plain);
        let of_several = "CREATE VIEW `v` AS select `shop`.`t`.`a` AS `a` from `shop`.`t` join `other`.`t`";
        assert_eq!(in_any_database(of_several, "shop"), of_several);
    }

    #[test]
    fn a_column_without_a_name_is_named_behind_the_view() {
        let view = "CREATE ALGORITHM=UNDEFINED DEFINER=`a`@`%` SQL SECURITY DEFINER VIEW `v` AS select `t`.`a` AS ``,'AS ``' AS `b` from `t`";
        assert!(has_nameless_column(view) && !has_nameless_column(&view.replace("AS ``,", "AS `x`,")));
        assert_eq!(
            with_columns(view, &[String::new(), "b".to_owned()]),
            "CREATE ALGORITHM=UNDEFINED DEFINER=`a`@`%` SQL SECURITY DEFINER VIEW `v` (``,`b`) AS select `t`.`a` AS `nameless`,'AS ``' AS `b` from `t`"
        );
        let said = "CREATE VIEW `v` (``) AS select 1 AS ``";
        assert_eq!(with_columns(said, &[]), "CREATE VIEW `v` (``) AS select 1 AS `nameless`");
    }

    #[test]
    fn a_view_may_be_made_by_another_name() {
        let view = "CREATE ALGORITHM=UNDEFINED DEFINER=`VIEW`@`%` SQL SECURITY DEFINER VIEW `v` AS select `v`.`a` AS `a` from `v`";
        assert_eq!(
            called(view, "w"),
            "CREATE ALGORITHM=UNDEFINED DEFINER=`VIEW`@`%` SQL SECURITY DEFINER VIEW `w` AS select `v`.`a` AS `a` from `v`"
        );
    }

    #[test]
    fn what_is_of_other_databases_is_found() {
        let sql = "select `x`.`a` AS `a`,`shop`.`f`(1),`other`.`g`(`other`.`t`.`b`),nextval(`other`.`s`) from ((`other`.`t` join `far`.`u` `x` on(`x`.`a` = `t`.`b`)) join `shop`.`v`)";
        let OfOthers { tables, sequences, functions } = of_others(sql, "shop");
        let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
        assert_eq!(tables, BTreeSet::from([pair("far", "u"), pair("other", "t")]));
        assert_eq!(functions, BTreeSet::from([pair("other", "g")]));
        assert_eq!(sequences, BTreeSet::from([pair("other", "s")]));
    }

    #[test]
    fn a_view_reads_what_is_named_with_its_database() {
        let sql = "select `shop`.`f`(`shop`.`t`.`id`) AS `q`,`alias`.`b` AS `b` from (`shop`.`t` join `shop`.`u` `alias` on(`shop`.`t`.`id` = `alias`.`id`)) where exists(select 1 from `other`.`w` limit 1)";
        assert_eq!(tables(sql, "shop"), ["t", "u"]);
        assert!(names_database(sql, "other") && !names_database(sql, "elsewhere"));
    }
}
