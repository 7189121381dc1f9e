//! MySQL's JSON. Its numbers may be DECIMALs, which the server prints in full; what it reads in a text it takes for a double, which may be another
//! number, or print with fewer digits. So these numbers are said beside the text.

use std::borrow::Cow;

use super::quote::text;

/// Of how many numbers of one object or array each is said by its path: the server looks for each among all that is in there. One that has more is said
/// as a whole.
const FEW: usize = 500;
/// MySQL has no JSON of more objects and arrays in each other.
const DEEPEST: usize = 100;

/// What is open at some place of a document.
struct Open<'j> {
    step: Step<'j>,
    /// Where it begins.
    from: usize,
    /// How much had been found before.
    before: usize,
    /// How many numbers of its own have been found.
    numbers: usize,
}

/// Which value of an object or an array it is.
enum Step<'j> {
    Key(&'j str),
    Place(usize),
}

/// Whether it is the same once it was read from a text.
pub(crate) fn is_exact(json: &str) -> bool {
    !tokens(json).any(|(_, token)| is_decimal(token))
}

/// What is no longer the same once it was read from a text: its path, and how it is said.
fn changes(json: &str) -> Vec<(String, Cow<'_, str>)> {
    let (mut found, mut open) = (Vec::new(), Vec::<Open<'_>>::new());
    let mut last = "";
    for (from, token) in tokens(json) {
        let mut opens = |step| open.push(Open { step, from, before: found.len(), numbers: 0 });
        match token {
            "{" => opens(Step::Key("")),
            "[" => opens(Step::Place(0)),
            "}" | "]" => {
                let Some(closed) = open.pop() else { continue };
                if closed.numbers > FEW && open.len() < DEEPEST {
                    found.truncate(closed.before);
                    let whole = json.get(closed.from..from + 1).unwrap_or_default();
                    found.push((path(&open), Cow::Owned(built(whole))));
                }
            }
            "," | ":" => match open.last_mut().map(|open| &mut open.step) {
                Some(Step::Place(place)) => *place += 1,
                Some(Step::Key(key)) if token == ":" => *key = last,
                _ => {}
            },
            number if is_decimal(number) => {
                found.push((path(&open), Cow::Borrowed(number)));
                if let Some(open) = open.last_mut() {
                    open.numbers += 1;
                }
            }
            _ => {}
        }
        last = token;
    }
    found
}

/// The punctuation, strings, numbers and words of a document, each with its place.
fn tokens(json: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let rest = json.get(at..)?;
            let first = rest.chars().next()?;
            let is_of_word = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
            let length = match first {
                '"' => quoted(rest),
                c if is_of_word(c) => rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len()),
                c => c.len_utf8(),
            };
            let from = at;
            at += length;
            if !first.is_whitespace() {
                return Some((from, rest.get(..length)?));
            }
        }
    })
}

/// How long the string at the beginning is, with its quotes.
fn quoted(json: &str) -> usize {
    let mut is_hidden = false;
    let end = json.bytes().skip(1).position(|byte| {
        let is_end = byte == b'"' && !is_hidden;
        is_hidden = byte == b'\\' && !is_hidden;
        is_end
    });
    end.map_or(json.len(), |end| end + 2)
}

/// Whether a token is a number, and a double or a whole number would not print so.
fn is_decimal(token: &str) -> bool {
    if !token.starts_with(|c: char| c == '-' || c.is_ascii_digit()) || token.contains(['e', 'E']) {
        return false;
    }
    if !token.contains('.') {
        return token.parse::<i64>().is_err() && token.parse::<u64>().is_err();
    }
    let Ok(double) = token.parse::<f64>() else { return false };
    // A double of these the server prints with an exponent.
    let has_fraction =
        token.split_once('.').is_some_and(|(_, digits)| digits.bytes().any(|digit| digit != b'0'));
    if double != 0.0 && (double.abs() < 1e-15 || double.abs() >= 1e15 && !has_fraction) {
        return true;
    }
    let printed = double.to_string();
    let printed = if printed.contains('.') { printed } else { format!("{printed}.0") };
    printed != token
}

fn path(open: &[Open<'_>]) -> String {
    let steps = open.iter().map(|open| match open.step {
        Step::Key(key) => format!(".{key}"),
        Step::Place(place) => format!("[{place}]"),
    });
    format!("${}", steps.collect::<String>())
}

/// The value in a statement. What is said beside its text MariaDB passes over, where JSON is nothing but that.
pub(crate) fn literal(json: &str) -> String {
    let changes = changes(json);
    if changes.is_empty() {
        return text(json);
    }
    format!("/*!50708 JSON_REPLACE(*/{}/*!50708 {})*/", text(json), listed(&changes))
}

fn listed(changes: &[(String, Cow<'_, str>)]) -> String {
    changes.iter().map(|(path, said)| format!(",{},{said}", commented(path))).collect()
}

/// A text in a comment: nothing in it may end that, nor begin another. JSON and paths take any character of a string by its number, too.
fn commented(json: &str) -> String {
    text(&json.replace('*', "\\u002a"))
}

/// An object or an array out of its values.
fn built(json: &str) -> String {
    let (mut depth, mut from, mut pieces) = (0usize, 1, Vec::new());
    for (at, token) in tokens(json) {
        match token {
            "{" | "[" => depth += 1,
            "}" | "]" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == usize::from(matches!(token, "," | ":")) {
            pieces.push(json.get(from..at).unwrap_or_default().trim());
            from = at + 1;
        }
    }
    if !json.starts_with('{') {
        let values: Vec<_> = pieces.into_iter().map(value).collect();
        return format!("JSON_ARRAY({})", values.join(","));
    }
    let members = pieces.chunks(2).map(|member| match member {
        [key, one] => format!("{},{}", self::key(key), value(one)),
        _ => String::new(),
    });
    format!("JSON_OBJECT({})", members.collect::<Vec<_>>().join(","))
}

fn key(json: &str) -> String {
    let plain = json.get(1..json.len().saturating_sub(1)).unwrap_or_default();
    if plain.contains(['\\', '*']) { format!("JSON_UNQUOTE({})", commented(json)) } else { text(plain) }
}

fn value(json: &str) -> String {
    if is_decimal(json) {
        return json.to_owned();
    }
    let changes = changes(json);
    if changes.is_empty() {
        return format!("CAST({} AS JSON)", commented(json));
    }
    format!("JSON_REPLACE({}{})", commented(json), listed(&changes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_that_are_no_doubles_are_found() {
        let json = r#"{"": 1.10, "a\"}": [1.5, {"ä b": -12345678901234567890.12}, "2.50", 18446744073709551615], "c": 123456789012345678901, "d": [[], {}, [1, 0.10]], "e": 1.10e5, "f": 0.00001, "g": 100000000000000000000.0, "h": -0.0, "i": 0.0000000000000001, "k": 1234567890123456.5}"#;
        let expected = [
            (r#"$."""#, "1.10"),
            (r#"$."a\"}"[1]."ä b""#, "-12345678901234567890.12"),
            (r#"$."c""#, "123456789012345678901"),
            (r#"$."d"[2][1]"#, "0.10"),
            (r#"$."g""#, "100000000000000000000.0"),
            (r#"$."i""#, "0.0000000000000001"),
        ];
        let found = changes(json);
        let found: Vec<_> = found.iter().map(|(path, number)| (path.as_str(), number.as_ref())).collect();
        assert_eq!(found, expected);
        assert!(!is_exact(json) && is_exact(r#"[1.5, "1.50"]"#));
        assert_eq!(literal("1.50"), "/*!50708 JSON_REPLACE(*/'1.50'/*!50708 ,'$',1.50)*/");
        assert_eq!(
            literal(r#"{"/* */": 1.50}"#),
            r#"/*!50708 JSON_REPLACE(*/'{"/* */": 1.50}'/*!50708 ,'$."/\\u002a \\u002a/"',1.50)*/"#
        );
        assert_eq!(literal(r#"["it's", 1.5]"#), r#"'["it''s", 1.5]'"#);
    }

    #[test]
    fn what_has_many_is_said_as_a_whole() {
        let many = |one: &str| vec![one; FEW + 1].join(", ");
        let array = format!(r#"{{"a": [{}, "/*", [1.5, 2.50], {{}}], "b": 3.50}}"#, many("1.50"));
        let said = format!(
            r#",'$."a"',JSON_ARRAY({},CAST('"/\\u002a"' AS JSON),JSON_REPLACE('[1.5, 2.50]','$[1]',2.50),CAST('{{}}' AS JSON)),'$."b"',3.50"#,
            many("1.50").replace(' ', "")
        );
        assert!(literal(&array).ends_with(&format!("/*!50708 {said})*/")), "{}", literal(&array));
        let object = format!(r#"{{{}, "a*b": "x", "k\"": 1.50}}"#, many(r#""k": 1.50"#));
        let said = format!(
            r#"JSON_OBJECT({},JSON_UNQUOTE('"a\\u002ab"'),CAST('"x"' AS JSON),JSON_UNQUOTE('"k\\""'),1.50)"#,
            many("'k',1.50").replace(' ', "")
        );
        assert!(literal(&object).ends_with(&format!(",'$',{said})*/")), "{}", literal(&object));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(json in "\\PC*|[\\[\\]{}:,\"\\\\.0-9e -]*") {
            let _ = (literal(&json), is_exact(&json), built(&json), key(&json));
        }
    }
}
