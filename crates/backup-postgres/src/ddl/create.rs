//! Statements that make something, whether or not they take the place of what is there.

use std::borrow::Cow;

const CREATE: &str = "CREATE ";
const OR_REPLACE: &str = "OR REPLACE ";

/// The statement that takes the place of what is there.
pub(crate) fn replacing(sql: &str) -> Cow<'_, str> {
    match sql.strip_prefix(CREATE) {
        Some(rest) if !rest.starts_with(OR_REPLACE) => Cow::Owned(format!("{CREATE}{OR_REPLACE}{rest}")),
        _ => Cow::Borrowed(sql),
    }
}

/// The statement that does not.
pub(crate) fn making(sql: &str) -> Cow<'_, str> {
    match sql.strip_prefix(CREATE).and_then(|rest| rest.strip_prefix(OR_REPLACE)) {
        Some(rest) => Cow::Owned(format!("{CREATE}{rest}")),
        None => Cow::Borrowed(sql),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_how_a_statement_begins_is_said_otherwise() {
        let (makes, replaces) = (
            "CREATE FUNCTION f AS 'CREATE OR REPLACE x'",
            "CREATE OR REPLACE FUNCTION f AS 'CREATE OR REPLACE x'",
        );
        for sql in [makes, replaces] {
            assert_eq!((making(sql).as_ref(), replacing(sql).as_ref()), (makes, replaces));
        }
        assert_eq!((making("SET a = b"), replacing("SET a = b")), ("SET a = b".into(), "SET a = b".into()));
    }
}
