//! What the server says of a query and does not read itself: the marks of CYCLE are constants, and it says `'Y'::text`, which is an expression.
//! And an argument without a name is one of no characters to it, if others have names.

use std::borrow::Cow;
use std::ops::Range;

/// The query as the server can read it.
pub(super) fn readable(sql: &str) -> Cow<'_, str> {
    if !sql.contains("CYCLE") {
        return Cow::Borrowed(sql);
    }
    let tokens = tokens(sql);
    let mut marks = Vec::new();
    for at in 0..tokens.len() {
        if let Some((first, second)) = marks_at(sql, &tokens, at) {
            marks.extend(constant(sql, &tokens, first));
            marks.extend(constant(sql, &tokens, second));
        }
    }
    let (mut readable, mut end) = (String::new(), 0);
    for (range, text) in marks {
        readable += sql.get(end..range.start).unwrap_or_default();
        readable += &text;
        end = range.end;
    }
    readable += sql.get(end..).unwrap_or_default();
    Cow::Owned(readable)
}

/// A function whose body of SQL uses one argument without a name, by its number. The server says `""`, or `f.""` where tables have columns.
pub(super) fn with_argument(sql: &str, number: i32) -> String {
    let tokens = tokens(sql);
    let (mut readable, mut end) = (String::new(), 0);
    for (at, range) in tokens.iter().enumerate() {
        if text(sql, &tokens, at) != Some("\"\"") {
            continue;
        }
        let is_qualified = at >= 2 && text(sql, &tokens, at - 1) == Some(".");
        let start =
            tokens.get(at - if is_qualified { 2 } else { 0 }).map_or(range.start, |first| first.start);
        readable += sql.get(end..start).unwrap_or_default();
        readable += &format!("${number}");
        end = range.end;
    }
    readable + sql.get(end..).unwrap_or_default()
}

/// The tokens of both marks, if `CYCLE a, b SET c TO mark DEFAULT mark USING d` begins at this token.
fn marks_at(sql: &str, tokens: &[Range<usize>], at: usize) -> Option<(Range<usize>, Range<usize>)> {
    let is = |at: usize, word: &str| text(sql, tokens, at) == Some(word);
    if !is(at, "CYCLE") {
        return None;
    }
    let mut set = at + 2;
    while is(set, ",") {
        set += 2;
    }
    let first = set + 3;
    if !is(set, "SET") || !is(set + 2, "TO") {
        return None;
    }
    let until = |from: usize, word: &str| (from..tokens.len()).find(|at| is(*at, word));
    let default = until(first, "DEFAULT")?;
    let using = until(default, "USING")?;
    Some((first..default, default + 1..using))
}

/// How a mark is said that has a type: `text 'Y'` for `'Y'::text`. A NULL needs none.
fn constant(sql: &str, tokens: &[Range<usize>], mark: Range<usize>) -> Option<(Range<usize>, String)> {
    let value = text(sql, tokens, mark.start)?;
    if text(sql, tokens, mark.start + 1) != Some("::") {
        return None;
    }
    let all = tokens.get(mark.start)?.start..tokens.get(mark.end - 1)?.end;
    let of_type = sql.get(tokens.get(mark.start + 2)?.start..all.end)?;
    let is_text = value.starts_with('\'') || value.starts_with("E'");
    match value {
        "NULL" => Some((all, value.to_owned())),
        // Bits of a type are a text to it.
        _ if value.starts_with("B'") => Some((all, format!("{of_type} {}", value.get(1..)?))),
        _ if is_text => Some((all, format!("{of_type} {value}"))),
        _ => None,
    }
}

fn text<'a>(sql: &'a str, tokens: &[Range<usize>], at: usize) -> Option<&'a str> {
    sql.get(tokens.get(at)?.clone())
}

/// Where the tokens are of what the server writes: words, names and texts in their quotes, and all else by the character, but for `::`.
fn tokens(sql: &str) -> Vec<Range<usize>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(c) = sql.get(at..).and_then(|rest| rest.chars().next()) {
        let rest = sql.get(at..).unwrap_or_default();
        let length = match c {
            '\'' => quoted(rest, '\'', false),
            '"' => quoted(rest, '"', false),
            'E' if rest.starts_with("E'") => 1 + quoted(rest.get(1..).unwrap_or_default(), '\'', true),
            'B' if rest.starts_with("B'") => 1 + quoted(rest.get(1..).unwrap_or_default(), '\'', false),
            '$' => dollar_quoted(rest),
            ':' if rest.starts_with("::") => 2,
            c if is_of_word(c) => rest.find(|c| !is_of_word(c)).unwrap_or(rest.len()),
            c => c.len_utf8(),
        };
        if !c.is_whitespace() {
            tokens.push(at..at + length);
        }
        at += length;
    }
    tokens
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of what stands in quotes at the beginning of `text`.
fn quoted(text: &str, quote: char, escapes: bool) -> usize {
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
            return at + 1;
        }
    }
    text.len()
}

/// The length of a text between two tags of dollars, or of a single dollar.
fn dollar_quoted(text: &str) -> usize {
    let tag = text.get(1..).and_then(|rest| rest.find(|c| !is_of_word(c))).and_then(|end| {
        let tag = text.get(..end + 2)?;
        tag.ends_with('$').then_some(tag)
    });
    let end = tag.and_then(|tag| Some(text.get(tag.len()..)?.find(tag)? + 2 * tag.len()));
    end.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_without_a_name_is_said_by_its_number_and_nothing_else_is_touched() {
        assert_eq!(
            with_argument("SELECT (\"\" + a), '\"\"', \"a\"\"b\", \"f g\".\"\", f.\"\";", 2),
            "SELECT ($2 + a), '\"\"', \"a\"\"b\", $2, $2;"
        );
    }

    #[test]
    fn marks_of_a_type_are_said_as_constants_and_nothing_else_is_touched() {
        let said = " CYCLE x, \"Y, SET\" SET is_cycle TO 'it''s ''DEFAULT'''::text DEFAULT E'\\\\\\'N'::character varying(3) USING path";
        let read = " CYCLE x, \"Y, SET\" SET is_cycle TO text 'it''s ''DEFAULT''' DEFAULT character varying(3) E'\\\\\\'N' USING path";
        assert_eq!(readable(said), read);
        assert_eq!(readable(read), read);
        let said = "CYCLE x SET c TO '(1,1)'::point DEFAULT NULL::point USING p) SELECT 1 CYCLE y SET d TO 1 DEFAULT '-1'::integer USING q";
        let read = "CYCLE x SET c TO point '(1,1)' DEFAULT NULL USING p) SELECT 1 CYCLE y SET d TO 1 DEFAULT integer '-1' USING q";
        assert_eq!(readable(said), read);
        let said = "CYCLE x SET c TO B'10'::\"bit\" DEFAULT B'01'::bit varying USING p";
        let read = "CYCLE x SET c TO \"bit\" '10' DEFAULT bit varying '01' USING p";
        assert_eq!(readable(said), read);
        for untouched in [
            "CYCLE x SET c TO true DEFAULT false USING p",
            "SELECT 'CYCLE x SET c TO ''Y''::text DEFAULT ''N''::text USING p' AS \"CYCLE\"",
            "SELECT $$CYCLE x SET c TO 'Y'::text DEFAULT 'N'::text USING p$$, $1, $a$ $$ CYCLE $a$",
            "UPDATE t SET \"CYCLE\" = 'Y'::text",
            "CYCLE x SET c TO 'Y'::text",
            "CYCLE",
            "'CYCLE",
        ] {
            assert_eq!(readable(untouched), untouched);
        }
    }
}
