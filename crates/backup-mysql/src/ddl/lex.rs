//! Reading the SQL that the server prints of itself: names in backquotes, texts in quotes, and single characters and words around them.

/// A piece of a statement. All of them together are the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A name, with its backquotes.
    Name(&'a str),
    /// A text, with its quotes.
    Text(&'a str),
    /// Letters, digits, `_`, `$`, and whatever is not ASCII.
    Word(&'a str),
    /// White space.
    Space(&'a str),
    /// Any other character.
    Other(&'a str),
}

impl<'a> Token<'a> {
    pub(crate) fn as_str(self) -> &'a str {
        match self {
            Self::Name(text)
            | Self::Text(text)
            | Self::Word(text)
            | Self::Space(text)
            | Self::Other(text) => text,
        }
    }

    /// The name that a token in backquotes stands for.
    pub(crate) fn name(self) -> Option<String> {
        match self {
            Self::Name(quoted) => {
                Some(quoted.strip_prefix('`')?.strip_suffix('`').unwrap_or_default().replace("``", "`"))
            }
            _ => None,
        }
    }

    pub(crate) fn is(self, text: &str) -> bool {
        !matches!(self, Self::Name(_) | Self::Text(_)) && self.as_str().eq_ignore_ascii_case(text)
    }
}

/// The tokens of what the server printed.
pub(crate) fn tokens(sql: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        let run = |belongs: &dyn Fn(char) -> bool| rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        let length = match first {
            '`' | '\'' | '"' => quoted(rest, first),
            c if c.is_ascii_whitespace() => run(&|c| c.is_ascii_whitespace()),
            c if is_word(c) => run(&is_word),
            c => c.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        Some(match first {
            '`' => Token::Name(token),
            '\'' | '"' => Token::Text(token),
            c if c.is_ascii_whitespace() => Token::Space(token),
            c if is_word(c) => Token::Word(token),
            _ => Token::Other(token),
        })
    })
}

/// The same without white space.
pub(crate) fn words(sql: &str) -> impl Iterator<Item = Token<'_>> {
    tokens(sql).filter(|token| !matches!(token, Token::Space(_)))
}

/// The tokens of what a user wrote, without white space and comments.
pub(crate) fn code(sql: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = sql;
    std::iter::from_fn(move || {
        loop {
            let comment = match rest {
                text if text.starts_with('#') => text.find('\n'),
                text if text.starts_with("--") && text.chars().nth(2).is_none_or(char::is_whitespace) => {
                    text.find('\n')
                }
                // What some servers run is code.
                text if text.starts_with("/*!") || text.starts_with("/*M!") => Some(3),
                text if text.starts_with("/*") => text.find("*/").map(|end| end + 2),
                _ => {
                    let token = tokens(rest).next()?;
                    rest = rest.get(token.as_str().len()..)?;
                    if matches!(token, Token::Space(_)) {
                        continue;
                    }
                    return Some(token);
                }
            };
            rest = rest.get(comment.unwrap_or(rest.len())..)?;
        }
    })
}

/// How long the quoted thing at the start of `sql` is. A doubled quote is part of it; a backslash hides what follows, but not in names.
fn quoted(sql: &str, quote: char) -> usize {
    let mut characters = sql.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' && quote != '`' {
            characters.next();
        } else if c == quote {
            match characters.peek() {
                Some((_, next)) if *next == quote => {
                    characters.next();
                }
                _ => return at + 1,
            }
        }
    }
    sql.len()
}

/// A statement without `database` and the point behind it, at the places of those tokens that `is_one` chooses.
pub(super) fn without_qualifiers(
    all: &[Token<'_>],
    database: &str,
    is_one: impl Fn(usize) -> bool,
) -> String {
    let mut plain = String::new();
    let mut at = 0;
    while let Some(token) = all.get(at) {
        let is_qualifier = token.name().as_deref() == Some(database)
            && all.get(at + 1) == Some(&Token::Other("."))
            && is_one(at);
        if is_qualifier {
            at += 2;
            continue;
        }
        plain.push_str(token.as_str());
        at += 1;
    }
    plain
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn all_tokens_together_are_the_statement(sql in "\\PC*|[`'\"\\\\\n;a (),]*") {
            let together: String = tokens(&sql).map(Token::as_str).collect();
            prop_assert_eq!(together, sql);
        }
    }
}
