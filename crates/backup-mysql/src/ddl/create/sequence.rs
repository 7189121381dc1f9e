//! Sequences that were made as the tables that they are.

use super::CreateTable;
use crate::ddl::lex::{Token, words};

/// What CREATE SEQUENCE says of its columns, but for one whose words are not the same in all versions.
const USUAL: [&str; 4] = [
    "'start value when sequences is created or value if RESTART is used'",
    "'increment value'",
    "'number of sequence values to cache'",
    "'How many cycles have been done'",
];
const CYCLES: &str = "'0 if no cycles are allowed, ";

impl CreateTable<'_> {
    /// Whether CREATE SEQUENCE would say something else of the columns.
    pub(crate) fn is_no_usual_sequence(&self) -> bool {
        let comments = self.items.iter().map(|item| {
            let comment = words(item.sql).skip_while(|word| !word.is("COMMENT")).nth(1);
            comment.map_or("", Token::as_str)
        });
        let comments: Vec<_> = comments.collect();
        let [start, increment, cache, done] = USUAL;
        !matches!(comments.as_slice(), ["", "", "", a, b, c, cycles, d]
            if [*a, *b, *c, *d] == [start, increment, cache, done] && cycles.starts_with(CYCLES))
    }
}
