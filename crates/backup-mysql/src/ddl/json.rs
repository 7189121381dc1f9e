//! MySQL's JSON. Its numbers may be DECIMALs, which the server prints in full; what it reads in a text it takes for a double, which may be another
//! number, or print with fewer digits. So these numbers are said beside the text.

use super::quote::text;

/// Which value of an object or an array it is.
enum Step<'a> {
    Key(&'a str),
    Place(usize),
}

/// Each number in it that is no longer the same once it was read from a text, and its path.
pub(crate) fn decimals(json: &str) -> Vec<(String, &str)> {
    let (mut found, mut path, mut rest) = (Vec::new(), Vec::<Step<'_>>::new(), json);
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        match first {
            '{' => path.push(Step::Key("")),
            '[' => path.push(Step::Place(0)),
            '}' | ']' => {
                path.pop();
            }
            ',' => {
                if let Some(Step::Place(place)) = path.last_mut() {
                    *place += 1;
                }
            }
            '"' => {
                length = quoted(rest);
                let (string, behind) = rest.split_at(length);
                if behind.trim_start().starts_with(':') {
                    path.pop();
                    path.push(Step::Key(string));
                }
            }
            '-' | '0'..='9' => {
                length =
                    rest.find(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).unwrap_or(rest.len());
                let number = rest.get(..length).unwrap_or_default();
                if is_decimal(number) {
                    found.push((said(&path), number));
                }
            }
            _ => {}
        }
        rest = rest.get(length..).unwrap_or_default();
    }
    found
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

/// Whether a double or a whole number would not print so.
fn is_decimal(number: &str) -> bool {
    if number.contains(['e', 'E']) {
        return false;
    }
    if !number.contains('.') {
        return number.parse::<i64>().is_err() && number.parse::<u64>().is_err();
    }
    let Ok(double) = number.parse::<f64>() else { return false };
    // A double of these the server prints with an exponent.
    let has_fraction =
        number.split_once('.').is_some_and(|(_, digits)| digits.bytes().any(|digit| digit != b'0'));
    if double != 0.0 && (double.abs() < 1e-15 || double.abs() >= 1e15 && !has_fraction) {
        return true;
    }
    let printed = double.to_string();
    let printed = if printed.contains('.') { printed } else { format!("{printed}.0") };
    printed != number
}

fn said(path: &[Step<'_>]) -> String {
    let steps = path.iter().map(|step| match step {
        Step::Key(key) => format!(".{key}"),
        Step::Place(place) => format!("[{place}]"),
    });
    format!("${}", steps.collect::<String>())
}

/// The value in a statement.
pub(crate) fn literal(json: &str) -> String {
    let decimals = decimals(json);
    if decimals.is_empty() {
        return text(json);
    }
    let numbers = decimals.iter().map(|(path, number)| format!(",{},{number}", text(path)));
    format!("JSON_REPLACE({}{})", text(json), numbers.collect::<String>())
}

#[cfg(test)]
mod tests {
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
        let found = decimals(json);
        assert_eq!(found.iter().map(|(path, number)| (path.as_str(), *number)).collect::<Vec<_>>(), expected);
        assert_eq!(literal("1.50"), "JSON_REPLACE('1.50','$',1.50)");
        assert_eq!(literal(r#"["it's", 1.5]"#), r#"'["it''s", 1.5]'"#);
    }
}
